"""What is asked of contacts. Whoever asks for the address itself says why: see ``service.show``."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from waterwatch.contacts.tables import PushSubscription, ReportContact


@dataclass(frozen=True)
class ContactState:
    """What is known of a contact without opening it."""

    contact_id: uuid.UUID
    has_email: bool
    has_phone: bool
    by_mail: bool
    may_ask: bool
    is_confirmed: bool
    created_at: datetime


def state_of(session: Session, report_id: uuid.UUID) -> ContactState | None:
    """What a report's author has left, or None."""
    found = session.scalars(select(ReportContact).where(ReportContact.report_id == report_id)).one_or_none()
    if found is None:
        return None
    return ContactState(
        found.id,
        found.has_email,
        found.has_phone,
        found.by_mail,
        found.may_ask,
        found.confirmed_at is not None,
        found.created_at,
    )


def lock_contact(session: Session, report_id: uuid.UUID) -> ReportContact | None:
    """A report's contact, locked until the transaction ends, or None."""
    return _locked(session, ReportContact.report_id == report_id)


def lock_contact_by_id(session: Session, contact_id: uuid.UUID) -> ReportContact | None:
    """A contact by its own id, locked, or None: it was changed or erased since."""
    return _locked(session, ReportContact.id == contact_id)


def _locked(session: Session, where: object) -> ReportContact | None:
    statement = select(ReportContact).where(where).with_for_update().execution_options(populate_existing=True)  # type: ignore[arg-type]
    return session.scalars(statement).one_or_none()


def subscriptions_of(session: Session, report_id: uuid.UUID) -> list[PushSubscription]:
    """The browsers that follow a report, oldest first."""
    wanted = select(PushSubscription).where(PushSubscription.report_id == report_id)
    return list(session.scalars(wanted.order_by(PushSubscription.created_at, PushSubscription.id)))


_IS_TOLD = text("""
SELECT EXISTS (SELECT FROM report_contact WHERE report_id = :report_id)
    OR EXISTS (SELECT FROM push_subscription WHERE report_id = :report_id)
""")


def is_anybody_told(session: Session, report_id: uuid.UUID) -> bool:
    """Whether somebody left a way to be told of a report: for nearly all of them no job need be ordered."""
    return bool(session.execute(_IS_TOLD, {"report_id": report_id}).scalar_one())


def count_subscriptions(session: Session, report_id: uuid.UUID) -> int:
    """How many browsers follow a report."""
    wanted = select(func.count()).where(PushSubscription.report_id == report_id)
    return int(session.execute(wanted).scalar_one())
