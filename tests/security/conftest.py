"""The application and its visitors."""

from tests.web.conftest import database_url, people, peopled_database, settings, visitor

__all__ = ["database_url", "people", "peopled_database", "settings", "visitor"]
