"""Runs migrations in one transaction each, one migrator at a time, never waiting long for a lock others hold."""

from typing import Any

from alembic import context
from sqlalchemy import create_engine, pool, text

from waterwatch.accountability import tables as accountability
from waterwatch.accounts import tables as accounts
from waterwatch.advisories import tables as advisories
from waterwatch.agencies import tables as agencies
from waterwatch.bulletins import tables as bulletins
from waterwatch.casework import tables as casework
from waterwatch.contacts import tables as contacts
from waterwatch.duplicates import tables as duplicates
from waterwatch.escalation import tables as escalation
from waterwatch.fairness import tables as fairness
from waterwatch.imports import tables as imports
from waterwatch.inbox import tables as inbox
from waterwatch.incidents import tables as incidents
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.db import Base
from waterwatch.mapping import tables as mapping
from waterwatch.mapping import tiles_tables as tiles
from waterwatch.mine import tables as mine
from waterwatch.moderation import tables as moderation
from waterwatch.officers import tables as officers
from waterwatch.photos import tables as photos
from waterwatch.postbox import tables as postbox
from waterwatch.reports import tables as reports
from waterwatch.triage import tables as triage
from waterwatch.watches import tables as watches
from waterwatch.waters import tables as waters
from waterwatch.workdays import tables as workdays
from waterwatch.zones import tables as zones

# Imported for their tables: the guard test compares them with the migrated database.
ROOMS = (
    accountability,
    accounts,
    advisories,
    agencies,
    audit,
    bulletins,
    casework,
    duplicates,
    contacts,
    escalation,
    fairness,
    imports,
    inbox,
    incidents,
    mapping,
    mine,
    moderation,
    officers,
    outbox,
    photos,
    postbox,
    reports,
    tiles,
    triage,
    watches,
    waters,
    workdays,
    zones,
)
MIGRATION_LOCK = 0x57415445_4D494752  # "WATE MIGR"


def is_ours(_object: Any, name: str | None, kind: str, is_reflected: bool, compare_to: Any) -> bool:
    """Leave PostGIS's own tables alone."""
    return not (kind == "table" and is_reflected and compare_to is None and name in {"spatial_ref_sys"})


def run_migrations() -> None:
    """Connect with the URL given by :func:`waterwatch.kernel.migrate.make_config` and migrate."""
    engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.execute(text("SET statement_timeout = '15min'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_object=is_ours,
            transaction_per_migration=True,
            compare_type=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})


run_migrations()
