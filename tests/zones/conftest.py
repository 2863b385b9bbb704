"""The tests of zones bring files in as those of waters do."""

from tests.imports.conftest import owner, run

__all__ = ["owner", "run"]
