"""The application and its visitors."""

from tests.web.conftest import app, database_url, people, peopled_database, settings, visitor

__all__ = ["app", "database_url", "people", "peopled_database", "settings", "visitor"]
