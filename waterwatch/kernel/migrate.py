"""Bringing a database to the newest schema. One migration at a time runs against a database, by advisory lock."""

from functools import lru_cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine

from waterwatch.kernel.db import normalise_url

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def make_config(url: str | None = None) -> Config:
    """Alembic's configuration in code: there is no alembic.ini to drift from the settings."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("version_path_separator", "os")
    if url is not None:
        config.attributes["url"] = normalise_url(url)
    return config


def upgrade(url: str, *, revision: str = "head") -> None:
    """Run every outstanding migration. ``url`` must log in as the owner of the schema, not as the restricted role."""
    command.upgrade(make_config(url), revision)


@lru_cache(maxsize=1)
def expected_head() -> str:
    """The revision the code expects: the one head of ``migrations/versions``."""
    head = ScriptDirectory.from_config(make_config()).get_current_head()
    assert head is not None
    return head


def current_revision(engine: Engine) -> str | None:
    """The revision a database is at, or None when it was never migrated."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def owner_engine(url: str) -> Engine:
    """An engine that keeps the login role's rights: for migrations and operators' commands only."""
    return create_engine(normalise_url(url))
