"""The past of the map: what the trigger keeps, what is read of it, and what a withdrawal takes out of it."""

import json
import uuid
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from tests.conftest import _administer, _with_database
from tests.escalation.rows import WUHAN, add_agency, add_incident, add_report
from waterwatch.kernel import migrate
from waterwatch.kernel.ids import new_id
from waterwatch.mapping import history
from waterwatch.mapping.history import Span, Step, Week

NOW = datetime(2026, 5, 20, 2, 30, tzinfo=UTC)  # Wednesday, 10:30 in China
DAY = timedelta(days=1)


def change(session: Session, incident_id: uuid.UUID, **values: object) -> None:
    """What the use cases do to an incident's row."""
    columns = ", ".join(f"{name} = :{name}" for name in values)
    session.execute(text(f"UPDATE incident SET {columns} WHERE id = :id"), values | {"id": incident_id})


def spans(session: Session, incident_id: uuid.UUID) -> list[tuple[int, datetime, datetime | None]]:
    rows = session.execute(
        text("SELECT severity, started_at, ended_at FROM incident_span WHERE incident_id = :id ORDER BY id"),
        {"id": incident_id},
    )
    return [(row.severity, row.started_at, row.ended_at) for row in rows]


def body_of(session: Session, incident_id: uuid.UUID) -> uuid.UUID:
    found: uuid.UUID = session.execute(
        text(
            "SELECT f.water_body_id FROM incident i JOIN water_feature f ON f.id = i.water_feature_id WHERE i.id = :id"
        ),
        {"id": incident_id},
    ).scalar_one()
    return found


def lived(session: Session, *, at: datetime, severity: int = 3) -> uuid.UUID:
    """An incident that stood for three days, one colour less for two more, and ended."""
    incident_id = add_incident(session, now=at, severity=severity)
    down = at + 3 * DAY
    change(session, incident_id, severity=severity - 1, graded_severity=severity - 1, stepped_down_at=down)
    change(session, incident_id, state="expired", closed_at=at + 5 * DAY)
    return incident_id


def test_an_incidents_colours_are_kept_with_their_times(session: Session) -> None:
    at = NOW - 30 * DAY
    incident_id = lived(session, at=at)
    assert spans(session, incident_id) == [(3, at, at + 3 * DAY), (2, at + 3 * DAY, at + 5 * DAY)]


def test_a_confirmation_that_raises_it_counts_from_its_own_time(session: Session) -> None:
    at = NOW - 9 * DAY
    incident_id = add_incident(session, now=at, severity=2)
    change(session, incident_id, severity=3, graded_severity=3, last_confirmed_at=at + DAY)
    assert spans(session, incident_id) == [(2, at, at + DAY), (3, at + DAY, None)]


def test_what_changes_no_colour_begins_no_span(session: Session) -> None:
    incident_id = add_incident(session, now=NOW, severity=2)
    change(session, incident_id, state="answered", last_confirmed_at=NOW + DAY)
    assert spans(session, incident_id) == [(2, NOW, None)]


def test_an_incident_that_was_withdrawn_never_was(session: Session) -> None:
    at = NOW - 40 * DAY
    incident_id = lived(session, at=at)
    session.execute(text("DELETE FROM map_change"))
    change(session, incident_id, state="retracted")
    assert spans(session, incident_id) == []
    assert history.waiting_changes(session).since == at
    told = history.water_history(session, body_of(session, incident_id), now=NOW)
    assert {week.level for week in told.weeks} == {0}


def test_one_that_is_open_again_goes_on(session: Session) -> None:
    incident_id = lived(session, at=NOW - 30 * DAY)
    change(session, incident_id, state="reopened", closed_at=None)
    assert [(level, until) for level, _since, until in spans(session, incident_id)][-1] == (2, None)


def test_on_another_water_its_past_is_that_waters(session: Session) -> None:
    incident_id, other_id = lived(session, at=NOW - 30 * DAY), add_incident(session, now=NOW)
    session.execute(text("DELETE FROM map_change"))
    water = "(SELECT water_feature_id FROM incident WHERE id = :other)"
    session.execute(
        text(f"UPDATE incident SET water_feature_id = {water} WHERE id = :id"), {"id": incident_id, "other": other_id}
    )
    told = history.water_history(session, body_of(session, other_id), now=NOW)
    assert max(week.level for week in told.weeks[:-1]) == 3
    waters = session.execute(text("SELECT count(DISTINCT water_feature_id) FROM map_change")).scalar_one()
    assert waters == 2


def test_a_waters_year_is_told_by_week_and_by_step(session: Session) -> None:
    at = datetime(2026, 5, 4, 4, tzinfo=UTC)  # Monday noon in China
    incident_id = lived(session, at=at)
    for _ in range(2):
        add_report(session, incident_id, now=at)
    told = history.water_history(session, body_of(session, incident_id), now=NOW)
    assert len(told.weeks) == history.WEEKS
    assert told.weeks[-1].monday == date(2026, 5, 18)
    assert told.weeks[-3:] == [
        Week(date(2026, 5, 4), 3, 1, 2),
        Week(date(2026, 5, 11), 0, 0, 0),
        Week(date(2026, 5, 18), 0, 0, 0),
    ]
    assert told.steps[1:] == [Step(at, 3), Step(at + 3 * DAY, 2), Step(at + 5 * DAY, 0)]
    assert told.steps[0].level == 0


def test_an_areas_year_is_that_of_the_incidents_in_it(session: Session) -> None:
    add_agency(session, "武汉", [], area=WUHAN)
    code = session.execute(text("SELECT code FROM jurisdiction")).scalar_one()
    add_incident(session, now=NOW - DAY, severity=4)
    add_incident(session, now=NOW - DAY, severity=2, at=(90.0, 40.0))
    told = history.area_history(session, code, now=NOW)
    assert told.weeks[-1] == Week(date(2026, 5, 18), 4, 1, 0)


@pytest.mark.parametrize(
    ("month", "expected"),
    [
        (date(2026, 4, 1), {4: [], 3: [(30, 30)], 2: [], 1: []}),
        (date(2026, 5, 1), {4: [], 3: [(1, 3)], 2: [(3, 5)], 1: []}),
        (date(2026, 6, 1), {4: [], 3: [], 2: [], 1: []}),
    ],
)
def test_a_month_holds_its_days_alone(
    session: Session, month: date, expected: dict[int, list[tuple[int, int]]]
) -> None:
    lived(session, at=datetime(2026, 4, 29, 16, 30, tzinfo=UTC))  # the 30th, half past midnight, in China
    found = history.month_spans(session, month, now=NOW)
    assert {level: [(first, last) for _feature, first, last in rows] for level, rows in found.items()} == expected


def test_what_is_still_open_reaches_to_today(session: Session) -> None:
    add_incident(session, now=NOW - 2 * DAY, severity=1)
    ((_feature, first, last),) = history.month_spans(session, date(2026, 5, 1), now=NOW)[1]
    assert (first, last) == (18, 20)


def test_there_are_thirteen_months_the_present_one_last() -> None:
    months = history.months_until(datetime(2026, 5, 31, 17, tzinfo=UTC))  # the first of June in China
    assert (months[0], months[-1], len(months)) == (date(2025, 6, 1), date(2026, 6, 1), 13)


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 50), st.one_of(st.none(), st.integers(1, 30))), max_size=8),
    st.integers(0, 90),
)
def test_the_steps_tell_the_highest_level_of_every_hour(drawn: list[tuple[int, int, int | None]], hour: int) -> None:
    begin = NOW - 60 * DAY
    hours = timedelta(hours=1)
    held = [
        Span(level, begin + since * hours, None if lasts is None else begin + (since + lasts) * hours)
        for level, since, lasts in drawn
    ]
    steps = history.steps_of(held, since=begin)
    at = begin + hour * hours
    told = [step.level for step in steps if step.at <= at][-1]
    assert told == max((s.level for s in held if s.since <= at and (s.until is None or s.until > at)), default=0)
    assert all(one.level != other.level for one, other in pairwise(steps))


_SAID = text("""
INSERT INTO audit_entry (id, at, actor_kind, action, subject_kind, subject_id, after)
VALUES (:id, :at, 'system', :action, 'incident', :incident_id, CAST(:after AS jsonb))
""")


def test_the_upgrade_reads_the_past_from_the_audit(admin_url: str) -> None:
    name = f"ww_upgrade_{uuid.uuid4().hex[:10]}"
    _administer(admin_url, "CREATE DATABASE {name}", name)
    url = _with_database(admin_url, name)
    at = NOW - 20 * DAY
    told = (("opened", 3, "open"), ("joined", 3, "open"), ("seconded", 4, "open"), ("stepped_down", 3, "open"))
    try:
        migrate.upgrade(url, revision="0016")
        engine = create_engine(url)
        with Session(engine) as session:
            lived_id = add_incident(session, now=at, severity=3)
            silent_id, gone_id = (add_incident(session, now=at, severity=2) for _ in range(2))
            for number, (action, severity, state) in enumerate((*told, ("expired", 3, "expired"))):
                values = {"id": new_id(), "at": at + number * DAY, "action": f"incident.{action}"}
                after = json.dumps({"severity": severity, "state": state})
                session.execute(_SAID, values | {"incident_id": lived_id, "after": after})
            change(session, lived_id, state="expired", closed_at=at + 4 * DAY)
            change(session, gone_id, state="retracted", closed_at=at + DAY)
            session.commit()
        migrate.upgrade(url)
        with Session(engine) as session:
            assert spans(session, lived_id) == [
                (3, at, at + 2 * DAY), (4, at + 2 * DAY, at + 3 * DAY), (3, at + 3 * DAY, at + 4 * DAY),
            ]  # fmt: skip
            assert spans(session, silent_id) == [(2, at, None)]
            assert spans(session, gone_id) == []
        engine.dispose()
    finally:
        _administer(admin_url, "DROP DATABASE IF EXISTS {name} WITH (FORCE)", name)
