"""What becomes of an incident when its grades and reports change: level, clock, place and extent follow them."""

import uuid
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.incidents.rows import (
    LAT,
    LON,
    add_lake,
    add_moderator,
    add_river,
    add_waiting,
    audited,
    extent_of,
    join,
    judgement,
    levels,
    open_on,
)
from waterwatch.incidents import service
from waterwatch.incidents.queries import incident_by_id, reports_of, secondable_by
from waterwatch.incidents.rules import STEP_DOWN_AFTER, Held, Severity, held_severity
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Forbidden, Invalid, NotFound

BLUE, YELLOW, ORANGE, RED = Severity
DAY = timedelta(days=1)
METRES_A_HUNDREDTH = 958.5  # of a hundredth of a degree of longitude at this latitude


@pytest.fixture
def river(session: Session) -> uuid.UUID:
    return add_river(session, "长江")


@pytest.fixture
def first(session: Session, now: datetime) -> Actor:
    return add_moderator(session, "first", now=now)


@pytest.fixture
def other(session: Session, now: datetime) -> Actor:
    return add_moderator(session, "other", now=now)


held = st.builds(Held, st.sampled_from(Severity), st.booleans())


@given(st.lists(held, min_size=1))
def test_what_counts_most_holds_and_red_acts_only_when_two_said_so(grades: list[Held]) -> None:
    answer = held_severity(grades)
    assert answer is not None
    graded, acting = answer
    assert graded == max(grade.level for grade in grades)
    assert acting == (ORANGE if graded == RED and Held(RED, True) not in grades else graded)


def test_of_no_grade_nothing_follows() -> None:
    assert held_severity([]) is None


def test_a_grade_names_its_report_and_a_regrade_none(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, report_id = open_on(session, river, first, now=now)
    service.regrade(session, incident.id, judgement(severity=ORANGE), actor=first, now=now + DAY)
    session.flush()
    rows = session.execute(text("SELECT basis, report_id, superseded_by_id IS NULL FROM grade ORDER BY graded_at, id"))
    assert [tuple(row) for row in rows] == [("report", report_id, False), ("regrade", None, True)]


def test_a_regrade_may_lower_and_taken_back_it_was_never_given(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, _report = open_on(session, river, first, now=now, severity=ORANGE)
    service.regrade(session, incident.id, judgement("foam", BLUE), actor=first, now=now + DAY)
    assert (levels(incident), incident.kind) == ((1, 1), "foam")
    assert incident.state_deadline_at == now + DAY + STEP_DOWN_AFTER[BLUE]
    assert incident.last_confirmed_at == now
    service.undo_regrade(session, incident.id, former_kind="sewage_outfall", actor=first, now=now + 2 * DAY)
    assert (levels(incident), incident.kind) == ((3, 3), "sewage_outfall")
    assert incident.state_deadline_at == now + STEP_DOWN_AFTER[ORANGE]
    assert audited(session, incident) == ["opened", "regraded", "regrade_undone"]
    with pytest.raises(Conflict) as caught:
        service.undo_regrade(session, incident.id, former_kind="sewage_outfall", actor=first, now=now + 2 * DAY)
    assert caught.value.error_code == "no_regrade"


def test_a_regrade_says_in_the_audit_what_was_before_and_after(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, _report = open_on(session, river, first, now=now)
    service.regrade(session, incident.id, judgement(severity=ORANGE), actor=first, now=now)
    row = session.execute(text("SELECT before, after FROM audit_entry WHERE action = 'incident.regraded'")).one()
    assert (row.before["severity"], row.after["severity"]) == (2, 3)


def test_a_regrade_that_departs_from_the_rubric_needs_a_reason(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, _report = open_on(session, river, first, now=now)
    bare = service.Judgement(judgement().inputs, RED)
    with pytest.raises(Invalid):
        service.regrade(session, incident.id, bare, actor=first, now=now)


def test_red_given_anew_waits_for_a_second_anew(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, now: datetime
) -> None:
    incident, _report = open_on(session, river, first, now=now, severity=RED)
    service.second_red(session, incident.id, actor=other, now=now)
    assert levels(incident) == (4, 4)
    service.regrade(session, incident.id, judgement(severity=RED), actor=other, now=now + DAY)
    assert levels(incident) == (4, 3)
    assert first.id is not None
    assert other.id is not None
    assert secondable_by(session, [incident.id], other.id) == set()
    assert secondable_by(session, [incident.id], first.id) == {incident.id}
    with pytest.raises(Forbidden):
        service.second_red(session, incident.id, actor=other, now=now + DAY)
    service.second_red(session, incident.id, actor=first, now=now + DAY)
    assert levels(incident) == (4, 4)


def test_what_time_has_lowered_no_regrade_taken_back_raises_again(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, _report = open_on(session, river, first, now=now, severity=ORANGE)
    service.regrade(session, incident.id, judgement(severity=YELLOW), actor=first, now=now)
    then = now + STEP_DOWN_AFTER[YELLOW]
    service.step_down(session, incident.id, now=then)
    service.undo_regrade(session, incident.id, former_kind="sewage_outfall", actor=first, now=then)
    assert levels(incident) == (1, 1)
    join(session, incident, first, now=then + DAY, severity=ORANGE)
    assert levels(incident) == (3, 3)


def test_a_later_report_after_a_regrade_counts_beside_it(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, _report = open_on(session, river, first, now=now, severity=ORANGE)
    service.regrade(session, incident.id, judgement("foam", BLUE), actor=first, now=now + DAY)
    join(session, incident, first, now=now + 2 * DAY, severity=YELLOW)
    assert levels(incident) == (2, 2)


def test_reports_that_were_another_matter_become_an_incident_of_their_own(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, here = open_on(session, river, first, now=now, severity=YELLOW)
    there = join(session, incident, first, now=now + DAY, at=(LON + 0.02, LAT + 0.002), severity=ORANGE)
    assert levels(incident) == (3, 3)
    made = service.split(session, incident.id, [there], judgement("oil_slick", ORANGE), actor=first, now=now + 2 * DAY)
    assert (list(reports_of(session, incident.id)), list(reports_of(session, made.id))) == ([here], [there])
    assert (levels(incident), levels(made)) == ((2, 2), (3, 3))
    assert (made.kind, made.state, made.opened_at) == ("oil_slick", "open", now + 2 * DAY)
    assert (incident.last_confirmed_at, made.last_confirmed_at) == (now, now + DAY)
    assert incident.state_deadline_at == now + STEP_DOWN_AFTER[YELLOW]
    view = incident_by_id(session, made.id)
    assert view is not None
    assert (view.lon, view.lat) == pytest.approx((LON + 0.02, LAT))
    assert (audited(session, incident), audited(session, made)) == (["opened", "joined", "split"], ["split_off"])


def test_of_a_report_that_left_no_place_stays_behind(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, here = open_on(session, river, first, now=now)
    join(session, incident, first, now=now, at=(LON + 0.02, LAT + 0.002))
    service.split(session, incident.id, [here], judgement(), actor=first, now=now)
    row = session.execute(
        text("SELECT ST_X(exact_point) AS lon, ST_X(public_point) AS public FROM incident WHERE id = :id"),
        {"id": incident.id},
    ).one()
    assert tuple(row) == pytest.approx((LON + 0.02, LON + 0.02))
    assert extent_of(session, incident)["west"] == pytest.approx(LON + 0.02)


@pytest.mark.parametrize(
    ("which", "code"), [("none", "nothing_would_stay"), ("all", "nothing_would_stay"), ("strange", "report_not_here")]
)
def test_a_split_leaves_something_on_both_sides(
    session: Session, river: uuid.UUID, first: Actor, now: datetime, which: str, code: str
) -> None:
    incident, here = open_on(session, river, first, now=now)
    _second, elsewhere = open_on(session, river, first, now=now)
    reports = {"none": [], "all": [here], "strange": [here, elsewhere]}[which]
    with pytest.raises(Conflict) as caught:
        service.split(session, incident.id, reports, judgement(), actor=first, now=now)
    assert caught.value.error_code == code


def test_what_was_split_off_is_not_touched_by_what_the_first_takes_back(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, _here = open_on(session, river, first, now=now, severity=ORANGE)
    there = join(session, incident, first, now=now, severity=ORANGE)
    service.regrade(session, incident.id, judgement("foam", BLUE), actor=first, now=now)
    made = service.split(session, incident.id, [there], judgement("foam", BLUE), actor=first, now=now)
    service.undo_regrade(session, incident.id, former_kind="sewage_outfall", actor=first, now=now)
    service.regrade(session, made.id, judgement("foam", BLUE), actor=first, now=now)
    assert (levels(incident), levels(made)) == ((3, 3), (1, 1))


def test_two_incidents_that_were_one_are_joined_at_the_higher_level(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    into, here = open_on(session, river, first, now=now, severity=YELLOW)
    gone, there = open_on(session, river, first, now=now + DAY, at=(LON + 0.01, LAT), severity=ORANGE)
    older, oldest = open_on(session, river, first, now=now)
    service.absorb(session, gone.id, older.id, actor=first, now=now + DAY)
    assert service.absorb(session, into.id, gone.id, actor=first, now=now + 2 * DAY) is into
    assert set(reports_of(session, into.id)) == {here, there, oldest}
    assert reports_of(session, gone.id) == []
    assert (levels(into), into.last_confirmed_at) == ((3, 3), now + DAY)
    assert (gone.state, gone.closed_at, gone.state_deadline_at) == ("merged", now + 2 * DAY, None)
    session.refresh(older)
    assert (gone.merged_into_id, older.merged_into_id) == (into.id, into.id)
    assert extent_of(session, into)["extent_m"] == pytest.approx(METRES_A_HUNDREDTH, rel=1e-3)
    assert audited(session, gone)[-1] == "merged"
    assert audited(session, into)[-1] == "absorbed"


def test_an_incident_is_not_joined_to_itself_nor_to_one_that_ended(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, _report = open_on(session, river, first, now=now)
    ended, _other = open_on(session, river, first, now=now)
    service.retract(session, ended.id, actor=first, now=now)
    for into, gone, code in (
        (incident, incident, "same_incident"),
        (incident, ended, "incident_is_closed"),
        (ended, incident, "incident_is_closed"),
    ):
        with pytest.raises(Conflict) as caught:
            service.absorb(session, into.id, gone.id, actor=first, now=now)
        assert caught.value.error_code == code


def test_a_withdrawn_incident_is_closed_for_good(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, report_id = open_on(session, river, first, now=now)
    service.retract(session, incident.id, actor=first, now=now + DAY)
    assert (incident.state, incident.closed_at) == ("retracted", now + DAY)
    assert list(reports_of(session, incident.id)) == [report_id]
    with pytest.raises(Conflict):
        service.retract(session, incident.id, actor=first, now=now + DAY)
    with pytest.raises(Conflict):
        service.regrade(session, incident.id, judgement(), actor=first, now=now + DAY)


def test_one_that_expired_can_still_be_withdrawn_and_ended_when_it_did(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, _report = open_on(session, river, first, now=now, kind="foam", severity=BLUE)
    ended = now + STEP_DOWN_AFTER[BLUE]
    service.step_down(session, incident.id, now=ended)
    service.retract(session, incident.id, actor=first, now=ended + DAY)
    assert (incident.state, incident.closed_at) == ("retracted", ended)


def test_a_report_taken_away_takes_its_grade_its_confirmation_and_its_place_along(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, here = open_on(session, river, first, now=now, severity=YELLOW)
    there = join(session, incident, first, now=now + DAY, at=(LON + 0.01, LAT), severity=ORANGE)
    assert extent_of(session, incident)["extent_m"] == pytest.approx(METRES_A_HUNDREDTH, rel=1e-3)
    assert service.detach(session, there, actor=first, now=now + 2 * DAY) is incident
    assert (levels(incident), incident.last_confirmed_at) == ((2, 2), now)
    assert incident.state_deadline_at == now + STEP_DOWN_AFTER[YELLOW]
    assert extent_of(session, incident)["extent_m"] == 0
    kept = session.execute(text("SELECT reversed_by FROM grade WHERE report_id = :id"), {"id": there}).scalar_one()
    assert kept == first.id
    service.detach(session, here, actor=first, now=now + 2 * DAY)
    assert incident.state == "retracted"
    with pytest.raises(NotFound):
        service.detach(session, here, actor=first, now=now + 2 * DAY)


def test_reports_along_a_reach_make_a_stretch_of_it(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, _report = open_on(session, river, first, now=now, at=(LON + 0.003, LAT + 0.001))
    assert extent_of(session, incident)["kind"] == "ST_Point"
    for step in (0.0, 0.01, 0.007):
        join(session, incident, first, now=now, at=(LON + step, LAT - 0.001))
    found = extent_of(session, incident)
    assert (found["kind"], found["is_valid"]) == ("ST_LineString", True)
    assert (found["west"], found["east"]) == pytest.approx((LON, LON + 0.01))
    assert found["extent_m"] == pytest.approx(METRES_A_HUNDREDTH, rel=1e-3)


def test_a_report_on_another_water_counts_only_where_the_two_are_near(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    near = add_river(session, "小河", lat=LAT + 0.002)
    far = add_river(session, "远河", lat=LAT + 0.02)
    incident, _report = open_on(session, river, first, now=now)
    join(session, incident, first, now=now, at=(LON + 0.05, LAT + 0.02), water_feature_id=far)
    assert extent_of(session, incident)["extent_m"] == 0
    join(session, incident, first, now=now, at=(LON + 0.01, LAT + 0.002), water_feature_id=near)
    assert extent_of(session, incident)["extent_m"] == pytest.approx(METRES_A_HUNDREDTH, rel=1e-3)


def test_reports_on_a_lake_make_a_piece_of_its_water(session: Session, first: Actor, now: datetime) -> None:
    lake = add_lake(session)
    incident, _report = open_on(session, lake, first, now=now, at=(114.0201, 30.0801))
    assert extent_of(session, incident)["kind"] == "ST_Point"
    for at in ((114.0801, 30.0801), (114.0801, 30.0201)):
        join(session, incident, first, now=now, at=at)
    found = extent_of(session, incident)
    assert (found["kind"], found["is_valid"]) == ("ST_MultiPolygon", True)  # a spit of land parts it
    covered = session.execute(
        text("""SELECT ST_CoveredBy(i.public_extent, ST_Buffer(f.geom, 1e-9)) FROM incident i
                JOIN water_feature f ON f.id = i.water_feature_id WHERE i.id = :id"""),
        {"id": incident.id},
    ).scalar_one()
    assert covered
    # From (114.02, 30.08) to (114.08, 30.02): the nodes of the grid that stand for the places.
    assert found["extent_m"] == pytest.approx(8810, rel=2e-3)


def test_a_stretch_of_a_reach_of_several_lines_is_one_on_each(session: Session, first: Actor, now: datetime) -> None:
    river = add_river(session, "断河")
    parts = f"MULTILINESTRING(({LON} {LAT}, {LON + 0.01} {LAT}), ({LON + 0.02} {LAT}, {LON + 0.04} {LAT}))"
    session.execute(
        text("UPDATE water_feature SET geom = ST_GeomFromText(:parts, 4326) WHERE id = :id"),
        {"parts": parts, "id": river},
    )
    incident, _report = open_on(session, river, first, now=now, at=(LON + 0.005, LAT))
    for step in (0.01, 0.02, 0.025):
        join(session, incident, first, now=now, at=(LON + step, LAT))
    found = extent_of(session, incident)
    assert found["kind"] in ("ST_MultiLineString", "ST_GeometryCollection")
    assert found["extent_m"] == pytest.approx(METRES_A_HUNDREDTH, rel=1e-3)


def add_patrol(session: Session, river: uuid.UUID, *, now: datetime, state: str = "accepted") -> uuid.UUID:
    report_id = add_waiting(session, river, now=now, kind="all_clear")
    session.execute(text("UPDATE report SET state = :state WHERE id = :id"), {"state": state, "id": report_id})
    return report_id


def test_a_patrol_ends_an_incident_and_taken_away_opens_it_again(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, _report = open_on(session, river, first, now=now)
    patrol = add_patrol(session, river, now=now + DAY)
    service.verify_clean(session, incident.id, patrol, actor=first, now=now + DAY)
    assert (incident.state, incident.closed_at) == ("verified_clean", now + DAY)
    service.detach(session, patrol, actor=first, now=now + 2 * DAY)
    assert (incident.state, incident.closed_at) == ("reopened", None)
    assert incident.state_deadline_at == now + STEP_DOWN_AFTER[YELLOW]
    assert audited(session, incident) == ["opened", "verified_clean", "unverified"]


def test_only_an_accepted_patrol_verifies_and_only_once(
    session: Session, river: uuid.UUID, first: Actor, now: datetime
) -> None:
    incident, report_id = open_on(session, river, first, now=now)
    another, _report = open_on(session, river, first, now=now)
    waiting = add_patrol(session, river, now=now, state="in_review")
    patrol = add_patrol(session, river, now=now)
    for one in (report_id, waiting):
        with pytest.raises(Conflict) as caught:
            service.verify_clean(session, incident.id, one, actor=first, now=now)
        assert caught.value.error_code == "no_patrol"
    service.verify_clean(session, incident.id, patrol, actor=first, now=now)
    with pytest.raises(Conflict) as caught:
        service.verify_clean(session, another.id, patrol, actor=first, now=now)
    assert caught.value.error_code == "report_already_accepted"


def test_nobody_grades_without_being_somebody(session: Session, river: uuid.UUID, first: Actor, now: datetime) -> None:
    incident, _report = open_on(session, river, first, now=now)
    with pytest.raises(Forbidden):
        service.regrade(session, incident.id, judgement(), actor=Actor.system("sweep"), now=now)


def test_an_unknown_incident_is_not_found(session: Session, first: Actor, now: datetime) -> None:
    with pytest.raises(NotFound):
        service.regrade(session, uuid.uuid4(), judgement(), actor=first, now=now)
