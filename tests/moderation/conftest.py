"""The application and its visitors, for the desk's pages."""

from tests.web.conftest import app, database_url, people, peopled_database, settings, visitor

__all__ = ["app", "database_url", "people", "peopled_database", "settings", "visitor"]
