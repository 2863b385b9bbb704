"""The built-in waters, loaded once; every test works in a transaction that is rolled back."""

from tests.waters.conftest import session, waters_engine

__all__ = ["session", "waters_engine"]
