"""Whoever lies below an incident is warned once, told what changes, and told when it is over."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from tests.advisories.rows import STEP_DEG, River, add_chain, network_of
from tests.escalation.rows import add_agency, insert
from tests.incidents.rows import open_on
from tests.moderation.rows import add_moderator
from tests.reports.rows import LAT, LON
from waterwatch.advisories import forecasts
from waterwatch.advisories.rules import Ruling
from waterwatch.escalation import ending, public_queries, rerouting, rules, service, warnings
from waterwatch.escalation.tables import Case, CaseStretch, Delivery
from waterwatch.incidents.rules import Severity
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
SYSTEM = Actor.system("tests")
HOUR = timedelta(hours=1)

Follow = Callable[..., list[Case]]


def box(west: float, east: float, south: float = LAT - 0.5, north: float = LAT + 0.5) -> str:
    return f"MULTIPOLYGON((({west} {south}, {east} {south}, {east} {north}, {west} {north}, {west} {south})))"


UPPER = box(LON - 1, LON + STEP_DEG * 0.9)  # the incident's own area
LOWER = box(LON + STEP_DEG * 1.5, LON + 2)


@pytest.fixture
def moderator(session: Session) -> Actor:
    return add_moderator(session, "甲", now=NOW)


@pytest.fixture
def follow(session: Session, settings: Settings) -> Follow:
    def run(incident_id: uuid.UUID, now: datetime = NOW, **more: Any) -> list[Case]:
        """The cases as rows that follow what becomes of them."""
        session.flush()
        network = network_of(session)
        forecasts.reckon(session, [incident_id], network, settings=settings, actor=SYSTEM, now=now)
        cases = warnings.follow(session, incident_id, settings=settings, actor=SYSTEM, now=now, **more)
        session.flush()
        session.expire_all()
        return [session.get_one(Case, case.id) for case in cases]

    return run


@pytest.fixture
def river(session: Session) -> River:
    return add_chain(session, 5)


@pytest.fixture
def incident_id(session: Session, river: River, moderator: Actor) -> uuid.UUID:
    incident, _report = open_on(
        session, river.ids[0], moderator, now=NOW, at=(LON + 0.02, LAT), severity=Severity.MAJOR
    )
    session.flush()
    return incident.id


def add_zone(
    session: Session, river: River, nth: int, operator_id: uuid.UUID | None, kind: str = "intake"
) -> uuid.UUID:
    source_id = insert(session, "source", code=f"source-{new_id()}", title="tests", licence="CC0")
    west = LON + STEP_DEG * (nth + 0.5)
    at = f"POINT({west} {LAT})" if kind == "intake" else box(west, west + 0.001, LAT, LAT + 0.001)
    return insert(
        session, "protected_zone", kind=kind, geom=at, source_id=source_id, source_key=str(new_id()),
        operator_id=operator_id,
    )  # fmt: skip


def letters(session: Session) -> list[tuple[str, str, int, int | None, str]]:
    rows = session.query(Delivery).order_by(Delivery.address, Delivery.number).all()
    return [(row.address, row.says, row.severity, row.raised_from, row.state) for row in rows]


def said_in(session: Session, case: Case) -> list[tuple[str, str]]:
    rows = session.query(Delivery).filter_by(case_id=case.id).order_by(Delivery.address, Delivery.number)
    return [(row.says, row.state) for row in rows]


def sent(session: Session) -> None:
    """Every letter that waits has gone, and its case is delivered."""
    session.flush()
    session.execute(
        text("UPDATE delivery SET state = 'sent', sent_at = :now, attempts = 1 WHERE state = 'pending'"), {"now": NOW}
    )
    session.execute(
        text("UPDATE escalation_case SET state = 'delivered', delivered_at = :now WHERE state = 'queued'"), {"now": NOW}
    )
    session.expire_all()


def grade(session: Session, incident_id: uuid.UUID, severity: int) -> None:
    session.execute(
        text("UPDATE incident SET severity = :s, graded_severity = :s WHERE id = :id"),
        {"s": severity, "id": incident_id},
    )
    session.expire_all()


def test_the_agency_below_has_one_case_and_a_letter_by_each_way_and_the_one_above_none(
    session: Session, river: River, incident_id: uuid.UUID, follow: Follow
) -> None:
    add_agency(session, "上游局", ["up@example.org"], area=UPPER)
    below = add_agency(session, "下游局", ["a@example.org", "b@example.org"], area=LOWER)
    [case] = follow(incident_id)
    assert (case.agency_id, case.role, case.state, case.severity) == (below, "downstream", "queued", 2)
    assert (case.acknowledge_by, case.answer_by, case.remind_at) == (None, None, None)
    assert letters(session) == [
        ("a@example.org", "warning", 2, None, "pending"),
        ("b@example.org", "warning", 2, None, "pending"),
    ]
    stretch = session.get_one(CaseStretch, case.id)
    assert stretch.feature_ids == list(river.feature_ids[1:])
    follow(incident_id)
    assert len(letters(session)) == 2
    assert session.query(Case).count() == 1


def test_both_banks_of_a_border_river_are_told_and_each_of_its_own_reaches(
    session: Session, river: River, incident_id: uuid.UUID, follow: Follow
) -> None:
    north = add_agency(
        session, "北岸局", ["n@example.org"], area=box(LON + 0.06, LON + 0.14, LAT, LAT + 1), level="county"
    )
    south = add_agency(
        session, "南岸局", ["s@example.org"], area=box(LON + 0.06, LON + 0.19, LAT - 1, LAT), level="county"
    )
    cases = {case.agency_id: case for case in follow(incident_id)}
    assert set(cases) == {north, south}
    found = {one: session.get_one(CaseStretch, cases[one].id).feature_ids for one in cases}
    assert found == {north: list(river.feature_ids[1:3]), south: list(river.feature_ids[1:4])}


def test_who_runs_an_intake_on_the_way_is_told_and_who_runs_one_beside_it_is_not(
    session: Session, river: River, incident_id: uuid.UUID, follow: Follow
) -> None:
    works = add_agency(session, "自来水厂", ["w@example.org"], area=box(80, 81))
    bathers = add_agency(session, "浴场", ["x@example.org"], area=box(82, 83))
    zone_id = add_zone(session, river, 3, works)
    add_zone(session, river, 3, bathers, kind="bathing")
    [case] = follow(incident_id)
    stretch = session.get_one(CaseStretch, case.id)
    assert case.agency_id == works
    assert zone_id in stretch.zone_ids
    assert stretch.feature_ids == [river.feature_ids[3]]


@pytest.mark.parametrize("is_refused", [False, True])
def test_an_agency_that_has_the_case_itself_or_refused_it_is_warned_of_its_own_waters_as_well_and_told_the_end(
    session: Session, river: River, incident_id: uuid.UUID, follow: Follow, settings: Settings, is_refused: bool
) -> None:
    add_agency(session, "全江局", ["all@example.org"], area=box(LON - 1, LON + 2))
    [case] = service.escalate(session, incident_id, settings=settings, actor=SYSTEM, now=NOW)
    sent(session)
    if is_refused:
        rules.CASE.move(case, "refused_not_ours", now=NOW)
    [warned] = follow(incident_id)
    assert (warned.role, warned.agency_id) == ("downstream", case.agency_id)
    assert session.get_one(CaseStretch, warned.id).feature_ids == list(river.feature_ids[1:])
    assert said_in(session, case) == [("case", "sent")]
    assert said_in(session, warned) == [("warning", "pending")]
    sent(session)
    service.escalate(session, incident_id, settings=settings, actor=SYSTEM, now=NOW)
    follow(incident_id)
    assert len(letters(session)) == 2
    grade(session, incident_id, 1)
    follow(incident_id, NOW + HOUR)
    assert said_in(session, warned) == [("warning", "sent"), ("warning_over", "pending")]
    assert (warned.state, case.state) == ("withdrawn", "refused_not_ours" if is_refused else "delivered")


def test_one_that_becomes_competent_later_is_told_of_the_case_by_one_of_its_own_and_its_warning_stands(
    session: Session, incident_id: uuid.UUID, follow: Follow, settings: Settings
) -> None:
    add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    [case] = follow(incident_id)
    sent(session)
    service.acknowledge(session, case.id, actor=SYSTEM, now=NOW + HOUR)
    assert (case.state, case.acknowledge_by, case.state_deadline_at) == ("acknowledged", None, None)
    session.execute(text("UPDATE jurisdiction SET geom = ST_GeomFromText(:wkt, 4326)"), {"wkt": box(LON - 1, LON + 2)})
    later = NOW + 2 * HOUR
    [own] = service.escalate(session, incident_id, settings=settings, actor=SYSTEM, now=later)
    session.flush()
    assert (own.role, own.state, own.severity, own.acknowledged_at) == ("competent", "queued", 3, None)
    assert said_in(session, own) == [("case", "pending")]
    assert follow(incident_id, later) == [case]
    assert (case.role, case.state, case.severity) == ("downstream", "acknowledged", 2)
    assert said_in(session, case) == [("warning", "sent")]


def test_a_graver_level_is_told_once_and_a_milder_one_after_an_hour(
    session: Session, incident_id: uuid.UUID, follow: Follow
) -> None:
    add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    follow(incident_id)
    sent(session)
    grade(session, incident_id, 4)
    [case] = follow(incident_id, NOW + HOUR / 4)
    follow(incident_id, NOW + HOUR / 4)
    assert case.severity == 3
    assert letters(session)[1:] == [("a@example.org", "warning", 3, 2, "pending")]
    sent(session)
    grade(session, incident_id, 2)
    follow(incident_id, NOW + HOUR / 2)
    assert letters(session)[2:] == [("a@example.org", "warning", 1, None, "pending")]
    due_at = session.execute(text("SELECT max(due_at) FROM delivery")).scalar_one()
    assert due_at == NOW + HOUR / 4 + HOUR


def test_a_letter_that_waits_tells_the_level_that_holds_when_it_goes(
    session: Session, incident_id: uuid.UUID, follow: Follow
) -> None:
    add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    follow(incident_id)
    grade(session, incident_id, 4)
    follow(incident_id)
    assert letters(session) == [("a@example.org", "warning", 3, None, "pending")]


def test_what_may_come_clearly_sooner_is_told_and_what_comes_later_is_not(
    session: Session, incident_id: uuid.UUID, follow: Follow
) -> None:
    add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    [case] = follow(incident_id)
    sent(session)
    stretch = session.get_one(CaseStretch, case.id)
    real = stretch.first_at
    assert real is not None
    stretch.first_at = real - 3 * HOUR  # it was told sooner than it will come
    follow(incident_id, NOW + 2 * HOUR)
    assert len(letters(session)) == 1
    stretch.first_at = real + 2 * HOUR
    follow(incident_id, NOW + 2 * HOUR)
    assert letters(session)[1:] == [("a@example.org", "warning", 2, None, "pending")]
    assert session.get_one(CaseStretch, case.id).first_at == real


@pytest.mark.parametrize("is_ruling", [True, False])
def test_who_may_have_been_warned_is_told_that_it_is_over_and_what_waits_goes_no_more(
    session: Session, incident_id: uuid.UUID, follow: Follow, moderator: Actor, is_ruling: bool
) -> None:
    add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    [case] = follow(incident_id)
    sent(session)
    insert(session, "agency_contact", agency_id=case.agency_id, channel="email", address="b@example.org", position=1)
    if is_ruling:
        forecasts.rule(
            session, incident_id, "sewage_outfall", Ruling(is_withheld=True, reason="看错了"), actor=moderator, now=NOW
        )
    else:
        session.execute(
            text("UPDATE incident SET state = 'retracted', closed_at = :now WHERE id = :id"),
            {"now": NOW, "id": incident_id},
        )
    assert follow(incident_id, NOW + HOUR) == []
    assert case.state == "withdrawn"
    assert letters(session) == [
        ("a@example.org", "warning", 2, None, "sent"),
        ("a@example.org", "warning_over", 2, None, "pending"),
    ]
    follow(incident_id, NOW + HOUR)
    assert len(letters(session)) == 2


def test_a_warning_nobody_has_tried_to_send_is_simply_cancelled(
    session: Session, incident_id: uuid.UUID, follow: Follow
) -> None:
    add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    follow(incident_id)
    grade(session, incident_id, 1)
    follow(incident_id)
    assert letters(session) == [("a@example.org", "warning", 2, None, "cancelled")]


def test_what_comes_back_is_told_again_to_those_who_heard_that_it_was_over(
    session: Session, incident_id: uuid.UUID, follow: Follow
) -> None:
    add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    [case] = follow(incident_id)
    sent(session)
    grade(session, incident_id, 1)
    follow(incident_id, NOW + HOUR)
    grade(session, incident_id, 3)
    follow(incident_id, NOW + HOUR)
    # Nobody had heard that it was over.
    assert case.state == "delivered"
    assert [(says, state) for _to, says, _level, _before, state in letters(session)] == [
        ("warning", "sent"), ("warning_over", "cancelled")
    ]  # fmt: skip
    grade(session, incident_id, 1)
    follow(incident_id, NOW + 2 * HOUR)
    sent(session)
    session.refresh(case)
    assert case.state == "withdrawn"
    grade(session, incident_id, 3)
    [again] = follow(incident_id, NOW + 3 * HOUR)
    assert (again.id, again.state) == (case.id, "queued")
    assert letters(session)[-1] == ("a@example.org", "warning", 2, None, "pending")


@pytest.mark.parametrize("what", ["graver", "sooner", "neither"])
def test_what_comes_back_before_its_end_was_told_tells_what_is_new(
    session: Session, incident_id: uuid.UUID, follow: Follow, what: str
) -> None:
    add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    [case] = follow(incident_id)
    sent(session)
    grade(session, incident_id, 1)
    follow(incident_id, NOW + HOUR)
    stretch = session.get_one(CaseStretch, case.id)
    real = stretch.first_at
    assert real is not None
    stretch.first_at = real + (2 * HOUR if what == "sooner" else -HOUR)
    grade(session, incident_id, 4 if what == "graver" else 3)
    follow(incident_id, NOW + 2 * HOUR)
    new = {"graver": [("warning", 3, 2)], "sooner": [("warning", 2, None)], "neither": []}
    live = [(says, level, before) for _to, says, level, before, state in letters(session) if state != "cancelled"]
    assert live == [("warning", 2, None), *new[what]]
    assert case.state == "delivered"
    # What they know is what they were told, and no more.
    known = session.get_one(CaseStretch, case.id).first_at
    assert known == (real - HOUR if what == "neither" else real)
    follow(incident_id, NOW + 2 * HOUR)
    assert len([1 for *_more, state in letters(session) if state == "pending"]) == len(new[what])


def test_a_ruling_that_shortens_it_ends_only_the_warnings_beyond(
    session: Session, river: River, incident_id: uuid.UUID, follow: Follow, moderator: Actor
) -> None:
    near = add_agency(session, "近局", ["a@example.org"], area=box(LON + 0.06, LON + 0.09), level="county")
    add_agency(session, "远局", ["b@example.org"], area=box(LON + 0.16, LON + 0.3), level="county")
    assert len(follow(incident_id)) == 2
    sent(session)
    forecasts.rule(
        session, incident_id, "sewage_outfall", Ruling(limit_km=10.0, reason="下面有闸"), actor=moderator, now=NOW
    )
    [left] = follow(incident_id, NOW + HOUR)
    assert left.agency_id == near
    assert [(to, says) for to, says, *_more in letters(session)] == [
        ("a@example.org", "warning"), ("b@example.org", "warning"), ("b@example.org", "warning_over")
    ]  # fmt: skip


def test_one_without_address_is_loud_to_the_leads_and_told_once_it_has_one(
    session: Session, incident_id: uuid.UUID, follow: Follow
) -> None:
    agency_id = add_agency(session, "下游局", [], area=LOWER)
    [case] = follow(incident_id)
    follow(incident_id)
    assert case.state == "no_contact"
    alarms = session.execute(text("SELECT reason FROM case_alarm")).scalars().all()
    assert alarms == ["warning_no_address"]
    insert(session, "agency_contact", agency_id=agency_id, channel="email", address="a@example.org", position=0)
    follow(incident_id)
    assert case.state == "queued"
    assert letters(session) == [("a@example.org", "warning", 2, None, "pending")]


def test_the_public_sees_no_case_of_who_is_only_warned(
    session: Session, incident_id: uuid.UUID, follow: Follow
) -> None:
    add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    follow(incident_id)
    sent(session)
    assert public_queries.cases_of(session, incident_id) == []


def test_the_end_of_an_incident_leaves_the_warning_to_the_forecast(
    session: Session, incident_id: uuid.UUID, follow: Follow, settings: Settings
) -> None:
    add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    [case] = follow(incident_id)
    ending.end_cases(session, incident_id, actor=SYSTEM, now=NOW)
    service.withdraw_cases(session, incident_id, settings=settings, actor=SYSTEM, now=NOW)
    assert (case.state, letters(session)[0][-1]) == ("queued", "pending")


def test_the_number_of_questions_does_not_grow_with_the_agencies_or_the_reaches(
    session: Session, moderator: Actor, follow: Follow, settings: Settings
) -> None:
    def asked(agencies: int, reaches: int) -> int:
        river = add_chain(session, reaches, lat=LAT + agencies)
        incident, _report = open_on(
            session, river.ids[0], moderator, now=NOW, at=(LON + 0.02, LAT + agencies), severity=Severity.MAJOR
        )
        for nth in range(agencies):
            area = box(LON + 0.06, LON + 0.2 + nth / 1000, LAT + agencies - 0.3, LAT + agencies + 0.3)
            add_agency(session, f"局{nth}", [f"a{nth}@example.org"], area=area)
        session.flush()
        forecasts.reckon(session, [incident.id], network_of(session), settings=settings, actor=SYSTEM, now=NOW)
        session.flush()
        statements: list[str] = []

        def note(*facts: Any) -> None:
            statements.append(facts[2])

        connection = session.connection()
        event.listen(connection, "before_cursor_execute", note)
        assert len(warnings.follow(session, incident.id, settings=settings, actor=SYSTEM, now=NOW)) == agencies
        event.remove(connection, "before_cursor_execute", note)
        return len(statements)

    few = asked(1, 3)
    assert asked(12, 30) == few
    assert few <= 10


@pytest.mark.parametrize("acts", ["reroute", "inform_superior"])
def test_one_that_was_warned_may_be_handed_the_case_or_have_to_see_to_it(
    session: Session, incident_id: uuid.UUID, follow: Follow, settings: Settings, acts: str
) -> None:
    own = add_agency(session, "区局", ["own@example.org"], area=UPPER, level="county")
    above = add_agency(session, "市局", ["above@example.org"], area=LOWER)
    session.execute(text("UPDATE agency SET parent_id = :above WHERE id = :own"), {"above": above, "own": own})
    service.escalate(session, incident_id, settings=settings, actor=SYSTEM, now=NOW)
    [warned] = follow(incident_id)
    sent(session)
    case = session.query(Case).filter_by(agency_id=own).one()
    act = {"settings": settings, "actor": SYSTEM, "now": NOW + HOUR}
    if acts == "reroute":
        rules.CASE.move(case, "refused_not_ours", now=NOW + HOUR)
        made = rerouting.reroute(session, case, None, **act)  # type: ignore[arg-type]
    else:
        made = rerouting.inform_superior(session, case, **act)  # type: ignore[arg-type]
    session.flush()
    assert made is not None
    expected = {"reroute": ("competent", None, "case"), "inform_superior": ("supervising", case.id, "overdue")}
    assert (made.role, made.supervises_id, said_in(session, made)[-1][0]) == expected[acts]
    assert (made.state, made.severity) == ("queued", 3)
    assert follow(incident_id, NOW + HOUR) == [warned]
    assert (warned.role, said_in(session, warned)) == ("downstream", [("warning", "sent")])
