"""The application and its visitors, for the desk's pages."""

import pytest

from tests.web.conftest import database_url, people, peopled_database, settings, visitor

__all__ = ["database_url", "people", "peopled_database", "settings", "visitor"]


@pytest.fixture(scope="session", autouse=True)
def _detectors_are_loaded(detectors: None) -> None:
    """Most tests here make photos safe."""
