import uuid
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.casework.rows import acts, case_of, escalate, hand_over, letters, state_of
from tests.escalation.rows import add_incident, insert
from waterwatch.casework import incoming, pressing, queries, service
from waterwatch.casework.service import Answer
from waterwatch.escalation.tables import Case
from waterwatch.inbox.reading import Contents
from waterwatch.inbox.service import record_sorted
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings


def add_mail(
    session: Session, case: Case, words: str, settings: Settings, now: datetime
) -> tuple[uuid.UUID, uuid.UUID]:
    """A mail that answers a case's letter, sorted: (delivery, mail)."""
    delivery_id = letters(session, case)[0].id
    mail_id = insert(
        session,
        "incoming_mail",
        purpose="case",
        delivery_id=delivery_id,
        state="received",
        state_since=now,
        received_at=now,
        has_null_sender=False,
        fingerprint=new_id().bytes * 2,
        sha256=bytes(32),
        raw_bytes=1,
        object_key=f"quarantine/mail/{new_id()}",
        keep_until=now + timedelta(days=90),
    )
    contents = Contents(kind="answer", status=None, text=words, subject="回复", sender="a@gov.example", attachments=())
    record_sorted(session, mail_id, contents, settings=settings, now=now)
    session.flush()
    return delivery_id, mail_id


def test_a_mail_moves_nothing_until_a_lead_has_read_it_and_then_as_of_when_it_came(
    session: Session, case: Case, lead: Actor, unchecked: Settings, now: datetime
) -> None:
    at = now + timedelta(hours=1)
    delivery_id, mail_id = add_mail(session, case, "收到，已派员处理。", unchecked, at)
    answer_id = incoming.answered_by_mail(session, delivery_id, mail_id, settings=unchecked, now=at)
    assert incoming.answered_by_mail(session, delivery_id, mail_id, settings=unchecked, now=at) == answer_id
    assert answer_id is not None
    assert (case.state, case.acknowledged_at, case.answered_at) == ("delivered", None, None)
    assert [one.state for one in queries.answers_of_case(session, case.id)] == ["held"]
    service.publish_answer(session, answer_id, actor=lead, now=at + timedelta(hours=5))
    # It answered when it wrote, not when somebody of ours had time.
    assert (case.state, case.acknowledged_at, case.answered_at) == ("answered", at, at)
    assert state_of(session, case.incident_id) == "answered"


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("not_an_answer", "delivered"),
        ("not_from_the_agency", "delivered"),
        ("other", "delivered"),
        ("personal_data", "answered"),
        ("abuse", "answered"),
    ],
)
def test_a_mail_that_is_kept_from_the_public_counts_only_if_it_is_the_agencys_word(
    session: Session, case: Case, lead: Actor, settings: Settings, now: datetime, reason: str, state: str
) -> None:
    at = now + timedelta(hours=1)
    delivery_id, mail_id = add_mail(session, case, "您的来信已收到，我们会尽快处理。", settings, at)
    answer_id = incoming.answered_by_mail(session, delivery_id, mail_id, settings=settings, now=at)
    assert answer_id is not None
    service.withhold_answer(session, answer_id, reason, actor=lead, now=at + timedelta(hours=5))
    assert (case.state, case.acknowledged_at) == (state, at if state == "answered" else None)


def test_a_mail_of_the_round_before_moves_nothing_in_the_new_one(
    session: Session, case: Case, lead: Actor, officer: Actor, settings: Settings, now: datetime
) -> None:
    at = now + timedelta(hours=1)
    delivery_id, mail_id = add_mail(session, case, "正在处理。", settings, at)
    answer_id = incoming.answered_by_mail(session, delivery_id, mail_id, settings=settings, now=at)
    assert answer_id is not None
    done = Answer("已清理。")
    service.report_done(session, case.id, done, settings=settings, actor=officer, now=at + timedelta(hours=1))
    report_id, later = new_id(), at + timedelta(hours=2)
    pressing.reopen(session, case.incident_id, report_id, settings=settings, actor=lead, now=later)
    service.publish_answer(session, answer_id, actor=lead, now=later + timedelta(hours=1))
    assert (case.state, case.acknowledged_at, case.answered_at) == ("queued", None, None)


@pytest.mark.parametrize("words", ["", " \n\u200b "])
def test_a_mail_without_words_waits_for_the_lead_and_acknowledges_then(
    session: Session, case: Case, lead: Actor, settings: Settings, now: datetime, words: str
) -> None:
    delivery_id, mail_id = add_mail(session, case, words, settings, now)
    answer_id = incoming.answered_by_mail(session, delivery_id, mail_id, settings=settings, now=now)
    (held,) = queries.answers_of_case(session, case.id)
    assert (held.answer_id, held.kind, held.words) == (answer_id, "comment", "（邮件里没有文字）")
    assert (case.state, held.state) == ("delivered", "held")
    service.publish_answer(session, held.answer_id, actor=lead, now=now + timedelta(hours=5))
    assert (case.state, case.acknowledged_at, case.answered_at) == ("acknowledged", now, None)


def test_a_mail_about_a_case_taken_back_changes_nothing(
    session: Session, case: Case, settings: Settings, now: datetime
) -> None:
    session.execute(text("UPDATE escalation_case SET state = 'withdrawn' WHERE id = :id"), {"id": case.id})
    session.expire_all()
    delivery_id, mail_id = add_mail(session, case, "收到", settings, now)
    assert incoming.answered_by_mail(session, delivery_id, mail_id, settings=settings, now=now) is None
    assert case.state == "withdrawn"


def test_a_mail_that_is_forgotten_says_nothing(session: Session, case: Case, settings: Settings, now: datetime) -> None:
    assert (
        incoming.answered_by_mail(session, letters(session, case)[0].id, new_id(), settings=settings, now=now) is None
    )
    assert case.state == "delivered"


def test_a_citys_system_acknowledges_answers_and_claims_to_be_done_once_a_lead_has_read_it(
    session: Session, case: Case, lead: Actor, unchecked: Settings, now: datetime
) -> None:
    delivery_id = letters(session, case)[0].id
    told = {"settings": unchecked, "now": now}
    assert incoming.told_by_remote(session, delivery_id, "open", "", **told) is None
    assert case.state == "acknowledged"
    incoming.told_by_remote(session, delivery_id, "open", "已分派<b>队伍</b>", **told)
    assert case.state == "answered"
    first = incoming.told_by_remote(session, delivery_id, "closed", "", **told)
    assert incoming.told_by_remote(session, delivery_id, "closed", "", **told) == first
    assert case.state == "closed"
    assert [(one.kind, one.words, one.via) for one in queries.answers_of_case(session, case.id)] == [
        ("answer", "已分派<b>队伍</b>", "open311"),
        ("done", "（该部门的系统显示：已办结）", "open311"),
    ]
    # Its words are nobody's we know: also where no lead looks at answers, one looks at these.
    assert {one.state for one in queries.answers_of_case(session, case.id)} == {"held"}
    assert state_of(session, case.incident_id) == "open"
    assert first is not None
    service.publish_answer(session, first, actor=lead, now=now)
    # However surely it says so: no machine's word shows the water clean.
    assert state_of(session, case.incident_id) == "resolved_claimed"
    assert "incident.verified_clean" not in acts(session, case.incident_id)


@pytest.fixture
def digest(
    session: Session, case: Case, tree: tuple[uuid.UUID, uuid.UUID, uuid.UUID], settings: Settings, now: datetime
) -> tuple[Case, Case]:
    """Two cases of one agency that went in one mail."""
    other_incident = add_incident(session, now=now)
    escalate(session, other_incident, settings, now)
    other = case_of(session, other_incident, tree[0])
    hand_over(session, other, settings, now)
    digest_id = insert(session, "digest", agency_id=tree[0], message_id="<digest.1@waters.example>", created_at=now)
    for one in (case, other):
        letters(session, one)[0].digest_id = digest_id
    session.flush()
    return case, other


def test_a_mail_that_answers_a_digest_moves_no_case_and_says_so_to_the_lead(
    session: Session, digest: tuple[Case, Case], lead: Actor, settings: Settings, now: datetime
) -> None:
    case, _other = digest
    delivery_id, mail_id = add_mail(session, case, "第二件已派人。", settings, now)
    answer_id = incoming.answered_by_mail(session, delivery_id, mail_id, settings=settings, now=now)
    assert answer_id is not None
    assert [one.state for one in digest] == ["delivered", "delivered"]
    (held,) = queries.held_answers(session)
    codes = session.execute(text("SELECT code FROM incident ORDER BY code")).scalars().all()
    assert (held.answer_id, held.case_id, held.digest_codes) == (answer_id, case.id, codes)
    service.publish_answer(session, answer_id, actor=lead, now=now)
    assert [one.state for one in digest] == ["answered", "delivered"]


def test_a_mail_that_answers_a_digest_whose_first_case_was_taken_back_is_kept_with_the_next(
    session: Session, digest: tuple[Case, Case], settings: Settings, now: datetime
) -> None:
    case, other = digest
    session.execute(text("UPDATE escalation_case SET state = 'withdrawn' WHERE id = :id"), {"id": case.id})
    session.expire_all()
    delivery_id, mail_id = add_mail(session, case, "收到", settings, now)
    assert incoming.answered_by_mail(session, delivery_id, mail_id, settings=settings, now=now) is not None
    assert [one.case_id for one in queries.held_answers(session)] == [other.id]
