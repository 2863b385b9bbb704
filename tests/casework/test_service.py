import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.casework.rows import acts, add_contact, add_tree, case_of, escalate, hand_over, ordered, says, state_of
from tests.escalation.rows import add_agency, add_report
from waterwatch.casework import queries, service
from waterwatch.casework.service import Answer
from waterwatch.casework.tables import CaseAnswer
from waterwatch.escalation.tables import Case
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Invalid, NotFound
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.officers.case_queries import others_near
from waterwatch.reports.intake import ReceivedPhoto

Tree = tuple[uuid.UUID, uuid.UUID, uuid.UUID]
SAID = Answer("已派员现场核查，正在溯源。", planned_on=date(2026, 6, 30))


@pytest.fixture
def acting(settings: Settings, officer: Actor, now: datetime) -> dict[str, Any]:
    """An officer acts twenty minutes after the case was handed over."""
    return {"settings": settings, "actor": officer, "now": now + timedelta(minutes=20)}


def test_an_answer_moves_its_case_at_once_and_waits_for_the_lead(
    session: Session, case: Case, acting: dict[str, Any]
) -> None:
    answer_id = service.answer(session, case.id, SAID, **acting)
    assert (case.state, case.answered_at, case.acknowledged_at) == ("answered", acting["now"], acting["now"])
    # 60 days after the delivery
    assert case.state_deadline_at == case.finish_by == datetime(2026, 7, 19, 2, 30, tzinfo=UTC)
    (shown,) = queries.answers_of_case(session, case.id)
    assert (shown.answer_id, shown.kind, shown.state, shown.words) == (answer_id, "answer", "held", SAID.words)
    assert (shown.planned_on, shown.via) == (date(2026, 6, 30), "link")
    assert state_of(session, case.incident_id) == "open"
    assert queries.public_answers(session, [case.incident_id]) == {case.incident_id: []}
    assert acts(session, case.id)[-2:] == ["answer.received", "case.answered"]


def test_once_published_it_is_on_the_page_and_the_incident_is_answered(
    session: Session, case: Case, lead: Actor, acting: dict[str, Any]
) -> None:
    report_id = add_report(session, case.incident_id, now=acting["now"])
    add_contact(session, report_id, acting["now"])
    answer_id = service.answer(session, case.id, SAID, **acting)
    clock = session.execute(text("SELECT state_deadline_at FROM incident WHERE id = :id"), {"id": case.incident_id})
    before = clock.scalar_one()
    service.publish_answer(session, answer_id, actor=lead, now=acting["now"])
    service.publish_answer(session, answer_id, actor=lead, now=acting["now"])
    (shown,) = queries.public_answers(session, [case.incident_id])[case.incident_id]
    assert (shown.words, shown.agency_name) == (SAID.words, "区局ecology_environment")
    assert state_of(session, case.incident_id) == "answered"
    assert ordered(session, service.TOPIC_ANSWER_PUBLIC) == [{"answer_id": str(answer_id)}]
    # What an agency says confirms nothing: the colour still fades when it would have.
    clock = session.execute(text("SELECT state_deadline_at FROM incident WHERE id = :id"), {"id": case.incident_id})
    assert clock.scalar_one() == before
    assert acts(session, case.id).count("answer.published") == 1


def test_where_no_lead_checks_an_answer_is_public_at_once_unless_it_came_by_mail(
    session: Session, case: Case, unchecked: Settings, acting: dict[str, Any]
) -> None:
    acting["settings"] = unchecked
    service.answer(session, case.id, Answer("邮件答复", via="email"), **acting)
    service.answer(session, case.id, SAID, **acting)
    assert [one.state for one in queries.answers_of_case(session, case.id)] == ["held", "published"]


def test_nobody_is_told_of_an_answer_who_did_not_ask_to_be(
    session: Session, case: Case, unchecked: Settings, acting: dict[str, Any]
) -> None:
    add_report(session, case.incident_id, now=acting["now"])
    service.answer(session, case.id, SAID, **(acting | {"settings": unchecked}))
    assert ordered(session, service.TOPIC_ANSWER_PUBLIC) == []


def test_what_is_withheld_is_nowhere_and_what_was_public_is_taken_back(
    session: Session, case: Case, lead: Actor, unchecked: Settings, acting: dict[str, Any]
) -> None:
    acting["settings"] = unchecked
    answer_id = service.report_done(session, case.id, Answer("已清理完毕。"), **acting)
    assert state_of(session, case.incident_id) == "resolved_claimed"
    service.withhold_answer(session, answer_id, "personal_data", actor=lead, now=acting["now"])
    assert queries.public_answers(session, [case.incident_id])[case.incident_id] == []
    assert (state_of(session, case.incident_id), case.state) == ("answered", "closed")
    service.publish_answer(session, answer_id, actor=lead, now=acting["now"])
    assert state_of(session, case.incident_id) == "resolved_claimed"


def test_withholding_needs_a_reason_we_know(session: Session, case: Case, lead: Actor, acting: dict[str, Any]) -> None:
    answer_id = service.answer(session, case.id, SAID, **acting)
    for reason, code in (("", "missing"), ("不喜欢", "choice_unknown")):
        with pytest.raises(Invalid) as raised:
            service.withhold_answer(session, answer_id, reason, actor=lead, now=acting["now"])
        assert raised.value.errors == {"reason": [code]}


def test_done_is_a_claim_once_every_competent_agency_has_made_it_in_public(
    session: Session, incident_id: uuid.UUID, case: Case, lead: Actor, settings: Settings, acting: dict[str, Any]
) -> None:
    water = add_agency(session, "水务局", ["water@gov.example"], kind="water")
    escalate(session, incident_id, settings, acting["now"])
    second = case_of(session, incident_id, water)
    hand_over(session, second, settings, acting["now"])
    first_answer = service.report_done(session, case.id, Answer("已清理。"), **acting)
    service.publish_answer(session, first_answer, actor=lead, now=acting["now"])
    assert (case.state, case.closed_at, case.state_deadline_at) == ("closed", acting["now"], None)
    assert state_of(session, incident_id) == "answered"
    last_answer = service.report_done(session, second.id, Answer("排口已封。"), **acting)
    assert state_of(session, incident_id) == "answered"
    service.publish_answer(session, last_answer, actor=lead, now=acting["now"])
    assert state_of(session, incident_id) == "resolved_claimed"
    closed_at = session.execute(text("SELECT closed_at FROM incident WHERE id = :id"), {"id": incident_id})
    assert closed_at.scalar_one() is None  # an agency's word closes nothing: the water still carries its colour


def test_an_answer_without_words_or_with_a_day_past_is_refused_with_all_that_is_wrong(
    session: Session, case: Case, acting: dict[str, Any]
) -> None:
    photos = tuple(received() for _ in range(7))
    with pytest.raises(Invalid) as raised:
        service.answer(session, case.id, Answer(" \u200b\n", planned_on=date(2026, 5, 19), photos=photos), **acting)
    assert raised.value.errors == {"words": ["missing"], "photo": ["too_many"], "planned_on": ["out_of_range"]}


def test_the_same_source_says_a_thing_once(session: Session, case: Case, acting: dict[str, Any]) -> None:
    said = Answer("收到，正在办理。", via="email", source_key="mail:1")
    first = service.answer(session, case.id, said, **acting)
    assert service.answer(session, case.id, said, **acting) == first
    assert len(queries.answers_of_case(session, case.id)) == 1


def test_two_officers_who_answer_at_once_are_both_kept_in_order(
    session: Session, case: Case, acting: dict[str, Any]
) -> None:
    service.answer(session, case.id, Answer("第一"), **acting)
    later = acting | {"now": acting["now"] + timedelta(seconds=1)}
    service.answer(session, case.id, Answer("第二", is_comment=True), **later)
    assert [(one.words, one.kind) for one in queries.answers_of_case(session, case.id)] == [
        ("第一", "answer"),
        ("第二", "comment"),
    ]
    assert case.answered_at == acting["now"]


def test_in_a_closed_case_an_agency_may_still_say_something(
    session: Session, case: Case, acting: dict[str, Any]
) -> None:
    service.report_done(session, case.id, Answer("已清理。"), **acting)
    service.answer(session, case.id, Answer("补充说明。"), **acting)
    assert case.state == "closed"


@pytest.mark.parametrize(("state", "code"), [("withdrawn", "case_taken_back"), ("refused_not_ours", "case_refused")])
def test_in_a_case_that_is_no_longer_its_own_an_agency_says_nothing(
    session: Session, case: Case, acting: dict[str, Any], state: str, code: str
) -> None:
    session.execute(text("UPDATE escalation_case SET state = :state WHERE id = :id"), {"id": case.id, "state": state})
    with pytest.raises(Conflict) as raised:
        service.answer(session, case.id, SAID, **acting)
    assert raised.value.error_code == code


def test_nothing_is_said_in_a_case_that_is_not_there(session: Session, acting: dict[str, Any]) -> None:
    with pytest.raises(NotFound):
        service.answer(session, new_id(), SAID, **acting)


@pytest.mark.parametrize("state", ["queued", "dead", "no_contact"])
def test_who_answers_has_received_it_whatever_our_mail_server_thought(
    session: Session, case: Case, acting: dict[str, Any], state: str
) -> None:
    values = {"id": case.id, "state": state}
    session.execute(
        text(
            "UPDATE escalation_case SET state = :state, delivered_at = NULL, acknowledge_by = NULL,"
            " answer_by = NULL, finish_by = NULL WHERE id = :id"
        ),
        values,
    )
    session.expire_all()
    service.answer(session, case.id, SAID, **acting)
    assert (case.state, case.delivered_at, case.acknowledged_at) == ("answered", acting["now"], acting["now"])
    assert case.finish_by == acting["now"] + timedelta(days=60)


def received() -> ReceivedPhoto:
    photo_id = new_id()
    return ReceivedPhoto(photo_id, f"quarantine/2026/05/{photo_id}", 5, photo_id.bytes * 2)


def test_a_picture_of_an_answer_is_made_safe_before_anybody_sees_it(
    session: Session, case: Case, acting: dict[str, Any]
) -> None:
    photo = received()
    service.answer(session, case.id, Answer("见照片。", photos=(photo,)), **acting)
    assert ordered(session, "photos.sanitise") == [{"photo_id": str(photo.photo_id)}]
    (shown,) = queries.answers_of_case(session, case.id)
    assert (shown.photos, shown.photos_waiting) == ((), 1)


def test_a_case_refused_goes_to_the_agency_named(
    session: Session, incident_id: uuid.UUID, case: Case, acting: dict[str, Any]
) -> None:
    water = add_agency(session, "水务局", ["water@gov.example"], kind="water", observation_kind="foam")
    onward_id = service.refuse_not_ours(session, case.id, Answer("属水务部门职责。"), water, **acting)
    onward = case_of(session, incident_id, water)
    assert (onward.id, onward.state, onward.role, says(session, onward)) == (onward_id, "queued", "competent", ["case"])
    assert (case.state, case.state_deadline_at) == ("refused_not_ours", None)
    assert acts(session, case.id)[-3:] == ["answer.received", "case.refused_not_ours", "case.rerouted"]


def test_a_case_refused_without_a_name_goes_a_level_up_and_never_to_one_that_refused_it(
    session: Session, incident_id: uuid.UUID, tree: Tree, case: Case, settings: Settings, acting: dict[str, Any]
) -> None:
    county, prefecture, province = tree
    service.refuse_not_ours(session, case.id, Answer("不在辖区。"), **acting)
    second = case_of(session, incident_id, prefecture)
    hand_over(session, second, settings, acting["now"])
    third_id = service.refuse_not_ours(session, second.id, Answer("属地管理。"), county, **acting)
    third = case_of(session, incident_id, province)
    assert (third.id, case_of(session, incident_id, county).state) == (third_id, "refused_not_ours")


def test_where_all_refused_it_is_loud(
    session: Session, incident_id: uuid.UUID, tree: Tree, case: Case, acting: dict[str, Any]
) -> None:
    for agency_id in tree:
        service.refuse_not_ours(session, case_of(session, incident_id, agency_id).id, Answer("不归我们管。"), **acting)
    nobody = case_of(session, incident_id, None)
    assert (nobody.state, acts(session, nobody.id)) == ("no_contact", ["case.opened", "case.no_contact"])


def test_whoever_has_the_case_already_is_not_told_it_again(
    session: Session, incident_id: uuid.UUID, case: Case, settings: Settings, acting: dict[str, Any]
) -> None:
    water = add_agency(session, "水务局", ["water@gov.example"], kind="water")
    escalate(session, incident_id, settings, acting["now"])
    held = case_of(session, incident_id, water)
    assert service.refuse_not_ours(session, case.id, Answer("属水务。"), water, **acting) == held.id
    assert says(session, held) == ["case"]


def test_a_suggestion_must_be_another_agency_that_exists(session: Session, case: Case, acting: dict[str, Any]) -> None:
    for agency_id in (case.agency_id, new_id()):
        with pytest.raises(Invalid) as raised:
            service.refuse_not_ours(session, case.id, Answer("不归我们管。"), agency_id, **acting)
        assert raised.value.errors == {"suggested_agency": ["choice_unknown"]}


def test_waterworks_are_neither_named_nor_offered_as_the_right_agency(
    session: Session, case: Case, acting: dict[str, Any]
) -> None:
    works = add_agency(session, "第一自来水厂", ["ban@works.example"], kind="waterworks")
    water = add_agency(session, "水务局", ["water@gov.example"], kind="water")
    offered = [one.agency_id for one in others_near(session, case.id, language="zh-Hans")]
    assert (water in offered, works in offered) == (True, False)
    with pytest.raises(Invalid) as raised:
        service.refuse_not_ours(session, case.id, Answer("不归我们管。"), works, **acting)
    assert raised.value.errors == {"suggested_agency": ["choice_unknown"]}


def test_several_offices_work_on_one_case(session: Session, case: Case, lead: Actor, acting: dict[str, Any]) -> None:
    at = {"actor": lead, "now": acting["now"]}
    first = service.assign(session, case.id, None, " 水政监察\n大队 ", **at)
    assert service.assign(session, case.id, None, "水政监察 大队", **at) == first
    second = service.assign(session, case.id, lead.id, None, **at)
    assert [(one.office, one.person_id) for one in queries.assignments_of(session, [case.id])[case.id]] == [
        ("水政监察 大队", None),
        (None, lead.id),
    ]
    service.unassign(session, first, **at)
    assert [one.assignment_id for one in queries.assignments_of(session, [case.id])[case.id]] == [second]
    with pytest.raises(Invalid):
        service.assign(session, case.id, None, " ", **at)


def test_the_audit_holds_no_word_of_what_was_said(
    session: Session, case: Case, lead: Actor, acting: dict[str, Any]
) -> None:
    answer_id = service.answer(session, case.id, Answer("王局长说电话13800000000"), **acting)
    service.withhold_answer(session, answer_id, "personal_data", actor=lead, now=acting["now"])
    service.assign(session, case.id, None, "王局长办公室", actor=lead, now=acting["now"])
    entries = session.execute(text("SELECT before::text || after::text FROM audit_entry"))
    assert [entry for entry in entries.scalars() if entry and ("王局长" in entry or "138" in entry)] == []


def test_what_waits_for_the_lead_is_listed_oldest_first(
    session: Session, case: Case, lead: Actor, acting: dict[str, Any]
) -> None:
    first = service.answer(session, case.id, Answer("一"), **acting)
    second = service.answer(session, case.id, Answer("二"), **(acting | {"now": acting["now"] + timedelta(minutes=1)}))
    assert [one.answer_id for one in queries.held_answers(session)] == [first, second]
    service.publish_answer(session, first, actor=lead, now=acting["now"])
    assert [one.answer_id for one in queries.held_answers(session)] == [second]
    assert [one.answer_id for one in queries.checked_answers(session, "published")] == [first]
    assert session.get(CaseAnswer, first).state_deadline_at is None  # type: ignore[union-attr]


def test_a_tree_of_another_kind_takes_no_part(
    session: Session, incident_id: uuid.UUID, case: Case, acting: dict[str, Any]
) -> None:
    add_tree(session, "agriculture")
    onward = service.refuse_not_ours(session, case.id, Answer("不归我们管。"), **acting)
    kind = session.execute(
        text("SELECT a.kind FROM escalation_case c JOIN agency a ON a.id = c.agency_id WHERE c.id = :id"),
        {"id": onward},
    )
    assert kind.scalar_one() == "ecology_environment"
