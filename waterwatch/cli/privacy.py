"""``waterwatch privacy``: what was erased, listed to be kept apart from the backups, and done again after a restore."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TextIO

import click
from sqlalchemy.orm import Session, sessionmaker

from waterwatch.contacts import service as contacts
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.errors import DomainError, NotFound
from waterwatch.kernel.settings import Settings, SettingsError
from waterwatch.mine import service as mine
from waterwatch.reports import service as reports

OPERATOR = Actor.system("operator")


def _erase_contact(session: Session, report_id: uuid.UUID, *, now: datetime) -> None:
    contacts.erase_contact(session, report_id, "author", actor=OPERATOR, now=now)


# Act in the audit → what does it again. What time alone erases is the sweep's, after a restore as before.
REPLAYED: Mapping[str, Callable[..., None]] = MappingProxyType(
    {
        "report.withdrawn": reports.withdraw,
        "contact.erased": _erase_contact,
        "person.deleted": mine.delete_account,
    }
)


@click.command("list")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), required=True, help="From this day on, UTC.")
def list_command(since: datetime) -> None:
    """List what people had erased: one act and one id a line, no word of what it was."""
    begun = since.replace(tzinfo=UTC)
    with _sessions() as sessions, transaction(sessions) as session:
        for action, subject_id in audit.acts(session, tuple(REPLAYED), since=begun):
            click.echo(f"{action} {subject_id}")


@click.command("replay")
@click.argument("listed", type=click.File("r"))
def replay_command(listed: TextIO) -> None:
    """Erase again what LISTED names, after a restore. What is gone already, or is not there, is passed over."""
    orders = [_order(number, line) for number, line in enumerate(listed, start=1) if line.strip()]
    left = 0
    with _sessions() as sessions:
        for action, subject_id in orders:
            try:
                with transaction(sessions) as session:
                    REPLAYED[action](session, subject_id, now=utc_now())
            except NotFound:  # it came after the backup, and went with all else
                continue
            except DomainError as error:
                left += 1
                click.echo(f"没有删除 · not erased: {action} {subject_id}: {error.error_code}", err=True)
    click.echo(f"已重新删除 · erased again: {len(orders) - left}")
    if left:
        raise SystemExit(1)


def _order(number: int, line: str) -> tuple[str, uuid.UUID]:
    action, _space, subject_id = line.strip().partition(" ")
    try:
        if action in REPLAYED:
            return action, uuid.UUID(subject_id)
    except ValueError:
        pass
    raise click.ClickException(f"第 {number} 行看不懂 · line {number} cannot be read")


@contextmanager
def _sessions() -> Iterator[sessionmaker[Session]]:
    try:
        settings = Settings.from_environ()
    except SettingsError as error:
        click.echo(f"✗ {error}", err=True)
        raise SystemExit(2) from None
    engine = make_engine(settings.database_url, pool_size=1)
    try:
        yield make_sessions(engine)
    finally:
        engine.dispose()
