"""The application, its visitors and its people, as for every test over HTTP."""

from tests.web.conftest import app, database_url, people, peopled_database, settings, visitor

__all__ = ["app", "database_url", "people", "peopled_database", "settings", "visitor"]
