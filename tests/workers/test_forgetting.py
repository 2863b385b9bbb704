"""The sweep forgets how authors may be reached: when their reports have ended, and when nobody answered."""

import uuid
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import add_incident, insert
from tests.moderation.rows import add_waiting, count
from waterwatch.contacts import service as contacts
from waterwatch.contacts.rules import Contact
from waterwatch.kernel import outbox
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from workers import handlers, sweep

WANG = Contact("wang@example.org", None, by_mail=True, may_ask=True)
LONG_AGO, LATELY = timedelta(days=91), timedelta(days=89)


@pytest.fixture
def context(settings: Settings, sessions: sessionmaker[Session]) -> JobContext:
    return JobContext(settings, sessions, ObjectStore(settings.objects_url))


def leave(session: Session, settings: Settings, state: str, since: datetime) -> uuid.UUID:
    """A report that has been in a state since then, and its author's contact."""
    code = "unclear" if state == "refused" else None
    report_id = add_waiting(session, None, now=since, state=state, refusal_code=code)
    contacts.keep(session, report_id, WANG, settings=settings, now=since)
    return report_id


@pytest.mark.parametrize(("ago", "left"), [(LONG_AGO, 0), (LATELY, 1)])
@pytest.mark.parametrize("state", ["refused", "accepted"])
def test_ninety_days_after_the_end_a_contact_is_gone(
    context: JobContext, state: str, ago: timedelta, left: int
) -> None:
    with transaction(context.sessions) as session:
        leave(session, context.settings, state, utc_now() - ago)
    assert sweep.forget_contacts(context) == 1 - left
    with transaction(context.sessions) as session:
        assert count(session, "report_contact") == left
        acts = session.execute(text("SELECT after->>'reason' FROM audit_entry WHERE action = 'contact.erased'"))
        assert acts.scalars().all() == ["ended"] * (1 - left)
    assert sweep.forget_contacts(context) == 0


@pytest.mark.parametrize(("closed", "left"), [(None, 1), (LATELY, 1), (LONG_AGO, 0)])
def test_as_long_as_its_incident_goes_on_the_author_can_be_told(
    context: JobContext, closed: timedelta | None, left: int
) -> None:
    begun = utc_now() - timedelta(days=200)
    with transaction(context.sessions) as session:
        report_id = leave(session, context.settings, "accepted", begun)
        incident_id = add_incident(session, now=begun)
        insert(session, "incident_report", incident_id=incident_id, report_id=report_id, joined_at=begun)
        if closed is not None:
            session.execute(
                text("UPDATE incident SET closed_at = :at, state = 'expired', state_deadline_at = NULL"),
                {"at": utc_now() - closed},
            )
    sweep.forget_contacts(context)
    with transaction(context.sessions) as session:
        assert count(session, "report_contact") == left


@pytest.mark.parametrize(
    ("ago", "may_ask", "left"),
    [(timedelta(days=8), False, 0), (timedelta(days=6), False, 1), (timedelta(days=8), True, 1)],
)
def test_an_address_that_never_answered_is_forgotten_after_a_week(
    context: JobContext, ago: timedelta, may_ask: bool, left: int
) -> None:
    with transaction(context.sessions) as session:
        report_id = add_waiting(session, None, now=utc_now())
        contact = Contact("wang@example.org", None, by_mail=True, may_ask=may_ask)
        contacts.keep(session, report_id, contact, settings=context.settings, now=utc_now() - ago)
    sweep.forget_contacts(context)
    with transaction(context.sessions) as session:
        assert count(session, "report_contact") == left


@pytest.mark.parametrize(
    ("state", "ago", "erased"),
    [("refused", LONG_AGO, 1), ("refused", LATELY, 0), ("withdrawn", LATELY, 1), ("accepted", LONG_AGO, 0)],
)
def test_what_ended_is_erased_when_its_time_is_over(
    context: JobContext, state: str, ago: timedelta, erased: int
) -> None:
    """A withdrawn one that is not erased was withdrawn before withdrawing did that."""
    with transaction(context.sessions) as session:
        leave(session, context.settings, state, utc_now() - ago)
        session.execute(text("UPDATE report SET note = 'x'"))
    assert [sweep.erase_ended(context) for _twice in range(2)] == [erased, 0]
    with transaction(context.sessions) as session:
        assert count(session, "report", "note IS NULL AND erased_at IS NOT NULL") == erased
        assert count(session, "report_contact") == 1 - erased


def test_work_on_a_photo_that_was_taken_back_ends_quietly(context: JobContext) -> None:
    photo_id = new_id()
    with transaction(context.sessions) as session:
        outbox.emit(session, "photos.sanitise", {"photo_id": str(photo_id)}, now=utc_now())
        (ring,) = outbox.lease(session, window=8, lease_s=30, topics=["photos.sanitise"])
    with transaction(context.sessions) as session:
        message = outbox.begin(session, ring.id, ring.lease_no, lease_s=30)
    assert message is not None
    handlers.refuse_photo(context, message)
    handlers.sanitise(context, message)
    with transaction(context.sessions) as session:
        assert count(session, "outbox", "done_at IS NOT NULL") == 1
