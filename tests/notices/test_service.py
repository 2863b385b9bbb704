"""Who is told what, and how often: asked first, each step once, never more than they wanted."""

import re
import uuid
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.casework.rows import add_tree, case_of, escalate, hand_over
from tests.escalation.rows import add_incident, insert
from tests.moderation.rows import add_waiting, count
from tests.reports.rows import submission
from waterwatch.casework import service as casework
from waterwatch.casework.service import Answer
from waterwatch.contacts import queries as contacts
from waterwatch.contacts import service as contacts_service
from waterwatch.contacts.rules import Contact
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Gone, NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.notices import rules, service
from waterwatch.postbox import service as postbox
from waterwatch.postbox.service import Mail
from waterwatch.reports import intake

WANG = Contact("wang@example.org", None, by_mail=True, may_ask=True)


@pytest.fixture
def report_id(session: Session, settings: Settings, now: datetime) -> uuid.UUID:
    """A report as its author sent it, with a mail address."""
    receipt = intake.submit(session, submission(now=now, language="en"), settings=settings, now=now)
    contacts_service.keep(session, receipt.report_id, WANG, settings=settings, now=now)
    return receipt.report_id


def contact_of(session: Session, report_id: uuid.UUID) -> uuid.UUID:
    state = contacts.state_of(session, report_id)
    assert state is not None
    return state.contact_id


def mails(session: Session, settings: Settings, now: datetime) -> list[Mail]:
    """What waits to be sent, opened as the worker does."""
    later = now + timedelta(days=2)
    waiting = session.execute(text("SELECT id FROM posting WHERE sealed IS NOT NULL ORDER BY id")).scalars().all()
    held = [postbox.claim(session, one, settings=settings, now=later) for one in waiting]
    return [Mail(**one.content) for one in held if one is not None]


def link(mail: Mail, path: str) -> str:
    found = re.search(rf"http://localhost/n/{path}/(\S+)", mail.text)
    assert found is not None, mail.text
    return found[1]


def ask(session: Session, report_id: uuid.UUID, settings: Settings, now: datetime) -> bool:
    return service.ask(session, contact_of(session, report_id), settings=settings, now=now)


def confirmed(session: Session, report_id: uuid.UUID, settings: Settings, now: datetime) -> None:
    contacts_service.confirm(session, contact_of(session, report_id), now=now)


def test_the_first_mail_tells_nothing_and_asks_once(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    assert ask(session, report_id, settings, now) is True
    assert ask(session, report_id, settings, now) is False
    (mail,) = mails(session, settings, now)
    (code,) = session.execute(text("SELECT code FROM report")).scalars()
    whole = mail.subject + mail.text + mail.html
    assert (mail.address, mail.language) == ("wang@example.org", "en")
    assert all(secret not in whole for secret in (code, "/f/", "114.3", "sewage"))
    assert service.confirm(session, link(mail, "confirm"), settings=settings, now=now) == report_id
    assert ask(session, report_id, settings, now) is False


def test_before_the_address_has_said_yes_no_step_is_told(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    assert service.tell(session, report_id, "graded", settings=settings, now=now) == 0
    confirmed(session, report_id, settings, now)
    assert service.tell(session, report_id, "graded", settings=settings, now=now) == 1
    assert service.tell(session, report_id, "graded", settings=settings, now=now) == 0
    (mail,) = mails(session, settings, now)
    token = re.search(r"http://localhost/f/(\S+)", mail.text)
    assert token is not None
    assert mail.unsubscribe_url is not None
    assert link(mail, "stop") in mail.unsubscribe_url


def test_a_refusal_is_told_in_kind_words(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    confirmed(session, report_id, settings, now)
    session.execute(text("UPDATE report SET state = 'refused', refusal_code = 'unclear', refusal_words = 'CANARY'"))
    service.tell(session, report_id, "refused", settings=settings, now=now)
    (mail,) = mails(session, settings, now)
    assert "About half of all reports" in mail.text
    assert "The photo does not show" in mail.text
    assert "CANARY" not in mail.text + mail.html


@pytest.mark.parametrize("language", ["zh-Hans", "zh-Hant", "en"])
def test_every_step_has_words_in_every_language(
    session: Session, settings: Settings, now: datetime, language: str
) -> None:
    report_id = intake.submit(session, submission(now=now, language=language), settings=settings, now=now).report_id
    contacts_service.keep(session, report_id, WANG, settings=settings, now=now)
    confirmed(session, report_id, settings, now)
    steps = [*rules.CASE_STEPS.values(), "graded", "patrol_confirmed", "refused"]
    assert [service.tell(session, report_id, step, settings=settings, now=now) for step in steps] == [1] * 5
    written = mails(session, settings, now)
    assert len({mail.text for mail in written}) == 5
    is_chinese = [bool(re.search(r"[\u4e00-\u9fff]", mail.text + mail.subject)) for mail in written]
    assert is_chinese == [language != "en"] * 5
    if language == "zh-Hant":
        assert "進展" in written[0].subject


def test_stopping_drops_what_still_waits(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    confirmed(session, report_id, settings, now)
    service.tell(session, report_id, "graded", settings=settings, now=now)
    (mail,) = mails(session, settings, now)
    for _twice in range(2):
        service.stop(session, link(mail, "stop"), settings=settings, now=now)
    assert count(session, "posting", "state = 'dropped' AND sealed IS NULL") == 1
    assert service.tell(session, report_id, "handed_over", settings=settings, now=now) == 0


def test_links_are_for_one_thing_and_for_a_week(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    ask(session, report_id, settings, now)
    (mail,) = mails(session, settings, now)
    with pytest.raises(NotFound):
        service.confirm(session, link(mail, "stop"), settings=settings, now=now)
    with pytest.raises(NotFound):
        service.stop(session, link(mail, "confirm"), settings=settings, now=now)
    with pytest.raises(Gone):
        service.confirm(session, link(mail, "confirm"), settings=settings, now=now + timedelta(days=7, seconds=1))


def test_an_address_typed_by_strangers_is_asked_three_times_a_day_and_no_more(
    session: Session, settings: Settings, now: datetime
) -> None:
    asked = []
    for _stranger in range(5):
        report_id = add_waiting(session, None, now=now)
        contacts_service.keep(session, report_id, WANG, settings=settings, now=now)
        asked.append(ask(session, report_id, settings, now))
    assert asked == [True, True, True, False, False]


def test_a_case_is_told_to_all_whose_reports_it_rests_on(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    from tests.escalation.rows import add_incident
    from waterwatch.escalation.queries import reports_behind

    incident_id = add_incident(session, now=now)
    other = add_waiting(session, None, now=now)
    for position, one in enumerate((report_id, other)):
        insert(
            session,
            "incident_report",
            incident_id=incident_id,
            report_id=one,
            joined_at=now + timedelta(minutes=position),
        )
    case_id = insert(
        session,
        "escalation_case",
        incident_id=incident_id,
        state="no_contact",
        state_since=now,
        severity=3,
        created_at=now,
    )
    assert reports_behind(session, case_id) == [report_id, other]


def test_what_a_judgement_means_to_its_author() -> None:
    assert [rules.judged_step(state, "foam") for state in ("accepted", "merged", "refused", "in_review")] == [
        "graded",
        "graded",
        "refused",
        None,
    ]
    assert rules.judged_step("accepted", "all_clear") == "patrol_confirmed"
    assert rules.judged_step("merged", "all_clear") == "graded"


def test_a_public_answer_is_told_once_and_a_claim_asks_to_look(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    ask(session, report_id, settings, now)
    confirmed(session, report_id, settings, now)
    session.execute(text("UPDATE report SET state = 'accepted', language = 'zh-Hans'"))
    incident_id = add_incident(session, now=now)
    session.execute(
        text("INSERT INTO incident_report (report_id, incident_id, joined_at) VALUES (:report, :incident, :now)"),
        {"report": report_id, "incident": incident_id, "now": now},
    )
    county, *_above = add_tree(session)
    escalate(session, incident_id, settings, now)
    case = case_of(session, incident_id, county)
    hand_over(session, case, settings, now)
    open_settings = settings.model_copy(update={"answers_are_checked": False})
    told = {"settings": open_settings, "actor": Actor.agency_link(county), "now": now}
    casework.answer(session, case.id, Answer("王先生反映的问题已转办"), **told)
    casework.report_done(session, case.id, Answer("已清理"), **told)
    session.flush()
    orders = session.execute(
        text("SELECT payload ->> 'answer_id' FROM outbox WHERE topic = :topic ORDER BY id"),
        {"topic": casework.TOPIC_ANSWER_PUBLIC},
    )
    for answer_id in [*orders.scalars()] * 2:
        service.say_answer(session, uuid.UUID(answer_id), settings=settings, now=now)
    _confirmation, *texts = [mail.text for mail in mails(session, settings, now)]
    assert ["有了答复" in one for one in texts] == [True, False]
    assert ["真的好了吗" in one for one in texts] == [False, True]
    # A mail may be read over somebody's shoulder: nothing of what was written, by whom or where is in it.
    assert [one for one in texts if "王先生" in one or "区局" in one or "长江" in one] == []
