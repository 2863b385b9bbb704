"""The application, its visitors and its people, as for every test over HTTP."""

from tests.web.conftest import database_url, people, peopled_database, settings, visitor

__all__ = ["database_url", "people", "peopled_database", "settings", "visitor"]
