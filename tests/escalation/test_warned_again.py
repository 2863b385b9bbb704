"""What one who was warned is told further: what is graver at once, what is new within the hour, nothing in vain."""

import uuid

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.advisories.rows import STEP_DEG, River, add_chain
from tests.escalation.rows import add_agency
from tests.escalation.test_warnings import (
    HOUR,
    LOWER,
    NOW,
    Follow,
    add_zone,
    box,
    follow,
    grade,
    incident_id,
    letters,
    moderator,
    river,
    sent,
)
from tests.reports.rows import LAT, LON
from waterwatch.escalation.tables import CaseStretch, Delivery
from waterwatch.kernel.outbox import OutboxRow

__all__ = ["follow", "incident_id", "moderator", "river"]  # fixtures


def said(session: Session, address: str = "a@example.org") -> list[tuple[int, int | None, str]]:
    return [(level, before, state) for to, _says, level, before, state in letters(session) if to == address]


def fail(session: Session) -> None:
    session.execute(text("UPDATE delivery SET state = 'refused', attempts = 1 WHERE state = 'pending'"))
    session.expire_all()


def test_an_update_that_failed_is_not_written_anew_at_each_reckoning_unless_it_is_asked_for(
    session: Session, incident_id: uuid.UUID, follow: Follow
) -> None:
    agency_id = add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    follow(incident_id)
    sent(session)
    grade(session, incident_id, 4)
    follow(incident_id, NOW + HOUR)
    fail(session)
    for nth in range(2, 5):
        follow(incident_id, NOW + nth * HOUR)
    assert said(session) == [(2, None, "sent"), (3, 2, "refused")]
    follow(incident_id, NOW + 5 * HOUR, again_for=frozenset({agency_id}))
    assert said(session)[2:] == [(3, 2, "pending")]


@pytest.mark.parametrize("waits", ["milder", "sooner", "milder, and no more than told"])
def test_what_becomes_graver_goes_at_once_though_a_letter_of_something_else_waits(
    session: Session, incident_id: uuid.UUID, follow: Follow, waits: str
) -> None:
    add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    is_known = waits == "milder, and no more than told"
    grade(session, incident_id, 4 if is_known else 3)
    [case] = follow(incident_id)
    sent(session)
    stretch = session.get_one(CaseStretch, case.id)
    assert stretch.first_at is not None
    if waits == "sooner":
        stretch.first_at += 2 * HOUR
    else:
        grade(session, incident_id, 2)
    follow(incident_id, NOW + HOUR / 4)
    [waiting] = session.query(Delivery).filter_by(state="pending")
    assert waiting.due_at == NOW + HOUR
    grade(session, incident_id, 3 if is_known else 4)
    later = NOW + HOUR / 2
    follow(incident_id, later)
    [order] = [one for one in session.query(OutboxRow) if one.payload == {"delivery_id": str(waiting.id)}]
    if is_known:
        assert said(session)[1:] == [(2, None, "pending")]
        assert (waiting.due_at, order.available_at) == (NOW + HOUR, NOW + HOUR)
    else:
        assert said(session)[1:] == [(3, 2, "pending")]
        assert (waiting.due_at, order.available_at) == (later, later)
        assert waiting.state_deadline_at is not None
        assert later < waiting.state_deadline_at < NOW + HOUR + HOUR / 4


def test_what_one_address_will_be_told_is_not_taken_for_known_to_another_that_was_told_before(
    session: Session, incident_id: uuid.UUID, follow: Follow
) -> None:
    add_agency(session, "下游局", ["a@example.org", "b@example.org"], area=LOWER)
    [case] = follow(incident_id)
    session.execute(
        text("UPDATE delivery SET state = 'sent', sent_at = created_at, attempts = 1 WHERE address = 'a@example.org'")
    )
    session.expire_all()
    stretch = session.get_one(CaseStretch, case.id)
    assert stretch.first_at is not None
    real = stretch.first_at
    stretch.first_at = real + HOUR * 0.8  # what the first knows
    follow(incident_id, NOW + HOUR)
    assert session.get_one(CaseStretch, case.id).first_at == real + HOUR * 0.8
    assert said(session) == [(2, None, "sent")]
    session.get_one(CaseStretch, case.id).first_at = real + HOUR * 1.2  # as if it came sooner once more
    follow(incident_id, NOW + 2 * HOUR)
    assert said(session) == [(2, None, "sent"), (2, None, "pending")]
    assert said(session, "b@example.org") == [(2, None, "pending")]
    assert session.get_one(CaseStretch, case.id).first_at == real


@pytest.mark.parametrize("what", ["zone", "farther", "other water", "other kind", "a little farther"])
def test_what_a_standing_warning_adds_is_told_once_within_the_hour_to_those_who_were_warned_before(
    session: Session, river: River, incident_id: uuid.UUID, follow: Follow, what: str
) -> None:
    agency_id = add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    [case] = follow(incident_id)
    sent(session)
    kept = session.get_one(CaseStretch, case.id)
    assert (round(kept.told_km), kept.told_zone_ids, kept.told_water_ids) == (36, [], [river.body_id])
    if what == "zone":
        add_zone(session, river, 3, agency_id)
    elif what == "other water":
        kept.told_water_ids = []
    elif what == "other kind":
        kept.told_kind = "oil_slick"
    else:
        kept.told_km -= 10 if what == "farther" else 9
    for _again in range(2):
        follow(incident_id, NOW + HOUR / 4)
        new = [] if what == "a little farther" else [(2, None, "pending")]
        assert said(session) == [(2, None, "sent"), *new]
    if new:
        [waiting] = session.query(Delivery).filter_by(state="pending")
        assert waiting.due_at == NOW + HOUR
    kept = session.get_one(CaseStretch, case.id)
    assert (len(kept.told_zone_ids), kept.told_water_ids) == (what == "zone", [river.body_id])
    assert kept.told_kind == "sewage_outfall"
    assert round(kept.told_km) == (27 if what == "a little farther" else 36)  # what is not told adds up
    sent(session)
    follow(incident_id, NOW + 3 * HOUR)
    assert len(said(session)) == 1 + len(new)


def test_what_nobody_could_be_told_of_is_not_taken_for_told_and_is_shown_all_the_same(
    session: Session, river: River, incident_id: uuid.UUID, follow: Follow
) -> None:
    agency_id = add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    [case] = follow(incident_id)
    sent(session)
    grade(session, incident_id, 4)
    follow(incident_id)
    fail(session)
    zone_id = add_zone(session, river, 3, agency_id)
    follow(incident_id, NOW + HOUR)
    kept = session.get_one(CaseStretch, case.id)
    assert (kept.zone_ids, kept.told_zone_ids) == ([zone_id], [])


@pytest.mark.parametrize("what", ["milder than its rule", "another kind", "no rule", "another operator"])
def test_who_was_warned_is_not_told_of_an_end_while_it_is_expected_on_its_reaches(
    session: Session, river: River, incident_id: uuid.UUID, follow: Follow, what: str
) -> None:
    is_works = what == "another operator"
    agency_id = add_agency(session, "下游局", ["a@example.org"], area=box(80, 81) if is_works else LOWER)
    zone_id = add_zone(session, river, 3, agency_id)
    [case] = follow(incident_id)
    reaches = session.get_one(CaseStretch, case.id).feature_ids
    assert len(reaches) == (1 if is_works else 4)
    sent(session)
    if what == "milder than its rule":
        session.execute(text("UPDATE competence SET min_severity = 2"))
        grade(session, incident_id, 2)
    elif what == "another kind":
        session.execute(text("UPDATE incident SET kind = 'fish_kill'"))
        session.execute(text("DELETE FROM competence"))
    elif what == "no rule":
        session.execute(text("DELETE FROM competence"))
    session.execute(text("UPDATE protected_zone SET operator_id = NULL WHERE id = :id"), {"id": zone_id})
    session.expire_all()
    [still] = follow(incident_id, NOW + HOUR)
    assert (still.id, still.state) == (case.id, "delivered")
    new = {"milder than its rule": [(1, None, "pending")], "another kind": [(2, None, "pending")]}
    assert said(session) == [(2, None, "sent"), *new.get(what, [])]
    assert session.get_one(CaseStretch, case.id).feature_ids == reaches
    grade(session, incident_id, 1)
    assert follow(incident_id, NOW + 2 * HOUR) == []
    assert letters(session)[-1][1] == "warning_over"


def test_an_agency_that_is_no_more_is_warned_no_more(session: Session, incident_id: uuid.UUID, follow: Follow) -> None:
    add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    [case] = follow(incident_id)
    sent(session)
    session.execute(text("UPDATE agency SET retired_at = :now"), {"now": NOW})
    assert follow(incident_id, NOW + HOUR) == []
    assert case.state == "withdrawn"


def test_who_stays_competent_for_some_of_it_keeps_the_rest_too(
    session: Session, river: River, incident_id: uuid.UUID, follow: Follow
) -> None:
    """Its own rule asks for more than the level that holds now, but it runs an intake on the way."""
    agency_id = add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    add_zone(session, river, 3, agency_id)
    [case] = follow(incident_id)
    reaches = session.get_one(CaseStretch, case.id).feature_ids
    assert len(reaches) == 4
    sent(session)
    session.execute(text("UPDATE competence SET min_severity = 2"))
    grade(session, incident_id, 2)
    [still] = follow(incident_id, NOW + HOUR)
    assert (still.id, session.get_one(CaseStretch, case.id).feature_ids) == (case.id, reaches)


def test_rivers_that_an_import_replaced_end_no_warning_of_who_was_warned(
    session: Session, river: River, incident_id: uuid.UUID, follow: Follow
) -> None:
    add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    [case] = follow(incident_id)
    sent(session)
    session.execute(text("UPDATE competence SET min_severity = 4"))  # it would not be warned anew
    session.execute(text("UPDATE water_feature SET retired_at = :now"), {"now": NOW})
    surveyed = add_chain(session, 5, lat=LAT + 0.002, name="新河")
    [still] = follow(incident_id, NOW + HOUR)
    assert (still.id, still.state) == (case.id, "delivered")
    assert session.get_one(CaseStretch, case.id).feature_ids == list(surveyed.feature_ids[1:])
    grade(session, incident_id, 1)
    assert follow(incident_id, NOW + 2 * HOUR) == []


def test_after_an_import_nobody_is_warned_of_their_neighbours_reaches(
    session: Session, river: River, incident_id: uuid.UUID, follow: Follow
) -> None:
    add_agency(session, "中段局", ["a@example.org"], area=box(LON + STEP_DEG * 2.3, LON + STEP_DEG * 2.7))
    [case] = follow(incident_id)
    assert session.get_one(CaseStretch, case.id).feature_ids == [river.feature_ids[2]]
    sent(session)
    session.execute(text("UPDATE water_feature SET retired_at = :now"), {"now": NOW})
    surveyed = add_chain(session, 5, lat=LAT + 0.002, name="新河")
    for rule in (None, "UPDATE competence SET min_severity = 4"):  # still competent; and only warned before
        if rule:
            session.execute(text(rule))
        [still] = follow(incident_id, NOW + HOUR)
        assert session.get_one(CaseStretch, still.id).feature_ids == [surveyed.feature_ids[2]]
