"""``waterwatch privacy``: what was erased, listed to be kept apart from the backups, and done again after a restore."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TextIO

import click
from sqlalchemy.orm import Session, sessionmaker

from waterwatch.contacts import queries as contact_queries
from waterwatch.contacts import service as contacts
from waterwatch.contacts.tables import ReportContact
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.errors import DomainError, NotFound
from waterwatch.kernel.settings import Settings, SettingsError
from waterwatch.mine import service as mine
from waterwatch.reports import service as reports

OPERATOR = Actor.system("operator")


@dataclass(frozen=True)
class Order:
    """One act to be done again: what, to whom, and when it was done first."""

    action: str
    subject_id: uuid.UUID
    at: datetime


def _withdraw(session: Session, order: Order, *, now: datetime) -> None:
    reports.withdraw(session, order.subject_id, now=now)


def _erase_contact(session: Session, order: Order, *, now: datetime) -> None:
    if (kept := _contact_of_then(session, order)) is not None:
        contacts.erase_contact(session, kept.report_id, "author", actor=OPERATOR, now=now)


def _stop_mail(session: Session, order: Order, *, now: datetime) -> None:
    if (kept := _contact_of_then(session, order)) is not None:
        contacts.stop_mail(session, kept.id, now=now)


def _delete_account(session: Session, order: Order, *, now: datetime) -> None:
    mine.delete_account(session, order.subject_id, now=now)


def _contact_of_then(session: Session, order: Order) -> ReportContact | None:
    """The contact, unless its author left it after the act: that one nobody had erased."""
    kept = contact_queries.lock_contact(session, order.subject_id)
    return kept if kept is not None and kept.created_at <= order.at else None


# Act in the audit → what does it again. What time alone erases is the sweep's, after a restore as before.
REPLAYED: Mapping[str, Callable[..., None]] = MappingProxyType(
    {
        "report.withdrawn": _withdraw,
        "contact.erased": _erase_contact,
        "contact.mail_stopped": _stop_mail,  # an address that was kept for nothing else went with it
        "person.deleted": _delete_account,
    }
)


@click.command("list")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), required=True, help="From this day on, UTC.")
def list_command(since: datetime) -> None:
    """List what people had erased: an act, an id and its time a line, no word of what it was."""
    begun = since.replace(tzinfo=UTC)
    with _sessions() as sessions, transaction(sessions) as session:
        for action, subject_id, at in audit.acts(session, tuple(REPLAYED), since=begun):
            click.echo(f"{action} {subject_id} {at.astimezone(UTC).isoformat()}")


@click.command("replay")
@click.argument("listed", type=click.File("r", encoding="utf-8", errors="replace"))
def replay_command(listed: TextIO) -> None:
    """Erase again what LISTED names, after a restore. What is gone already, or is not there, is passed over."""
    orders = [_order(number, line) for number, line in enumerate(listed, start=1) if line.strip()]
    left = 0
    with _sessions() as sessions:
        for order in orders:
            try:
                with transaction(sessions) as session:
                    REPLAYED[order.action](session, order, now=utc_now())
            except NotFound:  # it came after the backup, and went with all else
                continue
            except DomainError as error:
                left += 1
                click.echo(f"没有删除 · not erased: {order.action} {order.subject_id}: {error.error_code}", err=True)
    click.echo(f"已执行 · carried out: {len(orders) - left}")
    if left:
        raise SystemExit(1)


def _order(number: int, line: str) -> Order:
    try:
        action, subject_id, at = line.split()
        order = Order(action, uuid.UUID(subject_id), datetime.fromisoformat(at))
        if action in REPLAYED and order.at.tzinfo is not None:
            return order
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
