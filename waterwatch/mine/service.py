"""Use cases of one's own reports: take one into the account by its link, let it go, delete the whole account.

Nothing here commits. Which reports are whose is nobody else's to know: the audit is told neither that somebody keeps
one nor when, because a report that came a minute before would be theirs.
"""

import uuid
from datetime import UTC, datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from waterwatch.accounts.rules import needs_second_factor
from waterwatch.accounts.tables import Person
from waterwatch.contacts import service as contacts
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Forbidden, NotFound
from waterwatch.mine import queries
from waterwatch.mine.tables import ReportOwner
from waterwatch.postbox import service as postbox
from waterwatch.reports import queries as reports


def keep(session: Session, person_id: uuid.UUID, token: str, *, now: datetime) -> bool:
    """Take the report a follow link opens into an account. Whether it is new there; twice is once.

    The link is the only proof there is. Raises :class:`NotFound` ``link_unknown``.
    """
    report = reports.report_by_follow_token(session, token)
    values = {"person_id": person_id, "report_id": report.report_id, "added_at": day_of(now)}
    statement = insert(ReportOwner).values(**values).on_conflict_do_nothing().returning(ReportOwner.report_id)
    return session.execute(statement).first() is not None


def let_go(session: Session, person_id: uuid.UUID, report_id: uuid.UUID) -> None:
    """Take a report out of an account; the report and its link stay. Twice is once."""
    session.execute(delete(ReportOwner).where(ReportOwner.person_id == person_id, ReportOwner.report_id == report_id))


def delete_account(session: Session, person_id: uuid.UUID, *, now: datetime) -> None:
    """Erase somebody: the account, what it kept, and the contacts left with reports nobody else keeps. Those stay.

    Raises :class:`NotFound`, :class:`Forbidden` ``staff_account``: whoever acts for an organisation has left their name
    under decisions, and is taken out by its administrator.
    """
    person = session.scalars(select(Person).where(Person.id == person_id).with_for_update()).one_or_none()
    if person is None:
        raise NotFound("person_unknown")
    if needs_second_factor({membership.role.name for membership in person.memberships}):
        raise Forbidden("staff_account")
    for report_id in queries.lock_owned_alone(session, person_id):
        contacts.erase(session, report_id, "account_deleted", actor=Actor.anonymous(), now=now)
    postbox.drop(session, subject_id=person_id, now=now)
    session.execute(delete(Person).where(Person.id == person_id))
    session.expunge(person)
    audit.record(
        session,
        action="person.deleted",
        subject_kind="person",
        subject_id=person_id,
        actor=Actor.person(person_id, None),
        now=now,
    )


def day_of(now: datetime) -> datetime:
    """The beginning of a day, UTC: as exactly as it may be known when somebody took a report into their account."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
