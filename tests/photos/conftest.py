"""What the tests of photos share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _detectors_are_loaded(detectors: None) -> None:
    """Most tests here make photos safe."""
