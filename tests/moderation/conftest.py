"""The application and its visitors, for the desk's pages."""

from tests.web.conftest import app, people, peopled_database, visitor

__all__ = ["app", "people", "peopled_database", "visitor"]
