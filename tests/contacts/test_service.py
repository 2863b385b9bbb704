"""Contacts: sealed, apart from the report, shown on logged demand alone, and erased when they have served."""

import uuid
from datetime import datetime

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.moderation.rows import add_moderator, add_waiting, count
from tests.reports.rows import acts_on
from waterwatch.contacts import queries, service
from waterwatch.contacts.rules import Contact
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Forbidden, Gone, Invalid, NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.reports import service as reports

NOBODY = Actor.anonymous()
WANG = Contact("wang@example.org", "+86 138 0013 8000", by_mail=True, may_ask=True)
MAIL_ONLY = Contact("wang@example.org", None, by_mail=True, may_ask=False)


@pytest.fixture
def report_id(session: Session, now: datetime) -> uuid.UUID:
    return add_waiting(session, None, now=now)


def everything(session: Session) -> str:
    """All that is written anywhere an address could have gone."""
    tables = ("report", "report_contact", "posting", "outbox", "audit_entry")
    return "".join(
        str(session.execute(text(f"SELECT string_agg(t::text, ' ') FROM {name} t")).scalar()) for name in tables
    )


def test_a_contact_is_sealed_and_its_address_stands_nowhere(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    service.keep(session, report_id, WANG, settings=settings, now=now)
    for secret in ("wang", "example.org", "138 0013", "1380013", b"wang@example.org".hex(), b"0013".hex()):
        assert secret not in everything(session)
    kept = queries.lock_contact(session, report_id)
    assert kept is not None
    assert service.read(kept, settings=settings) == WANG


def test_what_is_known_without_opening_it(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    assert queries.state_of(session, report_id) is None
    contact_id = service.keep(session, report_id, MAIL_ONLY, settings=settings, now=now)
    state = queries.state_of(session, report_id)
    assert state is not None
    assert (state.contact_id, state.has_email, state.has_phone, state.is_confirmed) == (contact_id, True, False, False)


def test_another_contact_takes_the_place_of_the_first_and_its_links_die(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    first = service.keep(session, report_id, MAIL_ONLY, settings=settings, now=now)
    second = service.keep(session, report_id, MAIL_ONLY, settings=settings, now=now)
    assert count(session, "report_contact") == 1
    with pytest.raises(Gone, match="contact_gone"):
        service.confirm(session, first, now=now)
    service.stop_mail(session, first, now=now)
    assert service.confirm(session, second, now=now) == report_id


def test_stopping_the_mails_erases_an_address_kept_for_nothing_else(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    for contact, left in ((MAIL_ONLY, 0), (WANG, 1)):
        contact_id = service.keep(session, report_id, contact, settings=settings, now=now)
        for _twice in range(2):
            service.stop_mail(session, contact_id, now=now)
        assert count(session, "report_contact") == left
    assert acts_on(session, report_id).count("contact.mail_stopped") == 2


def test_the_lead_moderator_sees_it_for_a_reason_that_stays_in_the_audit(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    lead = add_moderator(session, "lead", now=now)
    service.keep(session, report_id, WANG, settings=settings, now=now)
    assert service.show(session, report_id, "ask_author", actor=lead, settings=settings, now=now) == WANG
    row = session.execute(text("SELECT actor_id, after FROM audit_entry WHERE action = 'contact.shown'")).one()
    assert (row.actor_id, row.after) == (lead.id, {"reason": "ask_author"})


@pytest.mark.parametrize(
    ("reason", "error"),
    [("", Invalid), ("curious", Invalid), ("ask_author", Forbidden)],
)
def test_without_a_good_reason_nothing_is_shown_and_nothing_written(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime, reason: str, error: type[Exception]
) -> None:
    lead = add_moderator(session, "lead", now=now)
    service.keep(session, report_id, MAIL_ONLY, settings=settings, now=now)
    with pytest.raises(error):
        service.show(session, report_id, reason, actor=lead, settings=settings, now=now)
    assert "contact.shown" not in acts_on(session, report_id)


def test_there_may_be_none_to_see(session: Session, report_id: uuid.UUID, settings: Settings, now: datetime) -> None:
    with pytest.raises(NotFound, match="contact_unknown"):
        service.show(session, report_id, "legal_demand", actor=NOBODY, settings=settings, now=now)


def test_withdrawing_erases_it_at_once(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    service.keep(session, report_id, WANG, settings=settings, now=now)
    reports.withdraw(session, report_id, now=now)
    assert count(session, "report_contact") == 0
    assert acts_on(session, report_id)[-2:] == ["report.withdrawn", "contact.erased"]
    assert service.erase(session, report_id, "author", actor=NOBODY, now=now) is False
