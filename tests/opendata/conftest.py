"""The API of a running application, as programs meet it."""

from collections.abc import Callable

import pytest

from waterwatch.kernel.settings import Settings


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Settings:
    """A system that takes as many reports as anybody sends."""
    many = "1000000/hour"
    return make_settings(
        database_url=database_url,
        redis_url=redis_url,
        report_rate_limit=many,
        photo_rate_limit=many,
        page_rate_limit=many,
        cors_origins="https://reports.example.org",
    )
