"""The migrated database is the one the tables describe, CHECK for CHECK."""

import uuid
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, Engine, create_engine, text

from tests.conftest import _administer, _with_database
from waterwatch.kernel import migrate
from waterwatch.kernel.db import Base

ROOT = Path(__file__).resolve().parents[2]
_OLD_PHOTO = text("""
INSERT INTO photo (id, state, state_since, refusal_code, sha256, original_bytes, received_at, original_delete_after)
VALUES (:id, :state, now(), :code, decode(repeat('ab', 32), 'hex'), 1, now(), now())
""")


def declared_checks() -> set[tuple[str, str]]:
    return {
        (table.name, str(constraint.name))
        for table in Base.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }


def test_every_module_of_tables_is_compared() -> None:
    """Else it would be where another test happened to import it, and only there."""
    there = {path.relative_to(ROOT).with_suffix("") for path in (ROOT / "waterwatch").glob("*/*tables.py")}
    told = (ROOT / "migrations" / "env.py").read_text()
    missing = [path for path in there if f"from waterwatch.{path.parent.name} import {path.name}" not in told]
    assert missing == []


def test_every_declared_check_exists_in_the_database(shared_engine: Engine) -> None:
    # Alembic's own comparison does not look at CHECKs at all.
    with shared_engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT t.relname, c.conname FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid "
                "JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = 'public' WHERE c.contype = 'c'"
            )
        )
        present = {(row.relname, row.conname) for row in rows}
    declared = {(table, name if name.startswith("ck_") else f"ck_{table}_{name}") for table, name in declared_checks()}
    assert declared - present == set()


def test_every_check_is_declared_with_a_name_of_its_own() -> None:
    unnamed = [(table, name) for table, name in declared_checks() if name in ("None", "")]
    assert unnamed == []


def test_tables_and_migrations_agree(shared_engine: Engine) -> None:
    with shared_engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"include_object": lambda _o, name, kind, *_rest: not (kind == "table" and name == "spatial_ref_sys")},
        )
        assert compare_metadata(context, Base.metadata) == []


def test_there_is_one_migration_head_and_the_head_file_names_it() -> None:
    script = ScriptDirectory.from_config(migrate.make_config())
    assert script.get_heads() == [(migrate.MIGRATIONS / "HEAD").read_text().strip()]


def test_migrations_are_numbered_without_a_gap() -> None:
    numbers = sorted(int(path.name[:4]) for path in (migrate.MIGRATIONS / "versions").glob("0*.py"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_migrating_a_migrated_database_changes_nothing(database_url: str, engine: Engine) -> None:
    before = migrate.current_revision(engine)
    command.upgrade(migrate.make_config(database_url), "head")
    assert migrate.current_revision(engine) == before == migrate.expected_head()


def test_pictures_older_than_the_detectors_wait_for_them_after_the_upgrade(admin_url: str) -> None:
    name = f"ww_upgrade_{uuid.uuid4().hex[:10]}"
    _administer(admin_url, "CREATE DATABASE {name}", name)
    url = _with_database(admin_url, name)
    try:
        migrate.upgrade(url, revision="0005")
        engine = create_engine(url)
        with engine.begin() as connection:
            for state, code in (("ready", None), ("refused", "empty_file")):
                connection.execute(_OLD_PHOTO, {"id": uuid.uuid4(), "state": state, "code": code})
        migrate.upgrade(url)
        with engine.connect() as connection:
            waiting = connection.execute(text("SELECT state FROM photo WHERE redaction_wanted_at < now()"))
            assert waiting.scalars().all() == ["ready"]
        engine.dispose()
    finally:
        _administer(admin_url, "DROP DATABASE IF EXISTS {name} WITH (FORCE)", name)
