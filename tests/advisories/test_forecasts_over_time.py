"""What follows a forecast as time goes: who is told when, what is looked at again, what is never left standing."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.advisories.rows import River, add_chain, network_of, statements
from tests.incidents.rows import open_on
from tests.moderation.rows import add_moderator
from tests.reports.rows import LAT, LON
from waterwatch.advisories import forecast_queries as queries
from waterwatch.advisories import forecasts
from waterwatch.advisories.rules import Ruling
from waterwatch.advisories.walking import Flow, walk
from waterwatch.incidents.rules import Severity
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.settings import Settings

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
SYSTEM = Actor.system("tests")
PUBLIC_AT = NOW + timedelta(minutes=10)
SOON = NOW + timedelta(minutes=11)  # when everybody may know
HOUR = timedelta(hours=1)


class Below:
    """A river of so many reaches with an incident on the first."""

    def __init__(self, session: Session, settings: Settings, reaches: int = 4, km: float = 10.0) -> None:
        self.session, self.settings = session, settings
        self.moderator = add_moderator(session, "甲", now=NOW)
        self.river = add_chain(session, reaches, km=km)
        self.incident_id = self.open()

    def open(self, severity: Severity = Severity.MAJOR, **changes: object) -> uuid.UUID:
        incident, _report = open_on(
            self.session, self.river.ids[0], self.moderator, now=NOW, at=(LON + 0.02, LAT), severity=severity,
            **changes,  # type: ignore[arg-type]
        )  # fmt: skip
        self.session.flush()
        return incident.id

    def reckon(self, now: datetime = NOW, *incident_ids: uuid.UUID) -> list[forecasts.Reckoned]:
        ids = incident_ids or (self.incident_id,)
        network = network_of(self.session)
        return forecasts.reckon(self.session, ids, network, settings=self.settings, actor=SYSTEM, now=now)

    def change(self, **values: object) -> None:
        columns = ", ".join(f"{name} = :{name}" for name in values)
        self.session.execute(text(f"UPDATE incident SET {columns} WHERE id = :id"), values | {"id": self.incident_id})

    def end(self) -> None:
        self.change(state="expired", closed_at=NOW)

    def told(self, incident_id: uuid.UUID | None = None) -> int:
        """How often word to those who watch was ordered, and forgets it."""
        gone = text("DELETE FROM outbox WHERE topic = 'advisories.approaching' AND payload ->> 'incident_id' = :id")
        return int(self.session.execute(gone, {"id": str(incident_id or self.incident_id)}).rowcount)  # type: ignore[attr-defined]

    def deadline(self) -> datetime | None:
        return self.session.execute(text("SELECT state_deadline_at FROM downstream_forecast")).scalar_one()

    def warned(self, incident_id: uuid.UUID | None = None) -> list[int]:
        """What one incident's forecast names, the nearest first."""
        rows = text("SELECT feature_id FROM downstream_reach WHERE incident_id = :id ORDER BY nth")
        return list(self.session.execute(rows, {"id": incident_id or self.incident_id}).scalars())

    def reaches(self) -> list[int]:
        found = self.session.execute(text("SELECT feature_id FROM downstream_reach ORDER BY nth"))
        return list(found.scalars())


@pytest.fixture
def below(session: Session, settings: Settings) -> Below:
    return Below(session, settings)


def levels(session: Session, river: River) -> list[int | None]:
    rows = session.execute(text("SELECT water_feature_id AS id, level FROM advisory WHERE basis = 'approaching'"))
    found = {row.id: row.level for row in rows}
    return [found.get(one) for one in river.ids]


def test_who_watches_is_told_when_everybody_may_know_and_not_before(below: Below) -> None:
    below.reckon()
    assert below.told() == 0
    [found] = below.reckon(SOON)
    assert (found.is_changed, found.is_made_public, below.told()) == (False, True, 1)
    [again] = below.reckon(SOON + HOUR)
    assert (again.is_made_public, below.told()) == (False, 0)


def test_a_second_incident_is_told_of_though_its_waters_are_hatched_already(below: Below) -> None:
    other = below.open(Severity.LARGER)
    below.reckon()
    below.reckon(SOON)
    below.told()
    below.reckon(SOON, other)
    [found] = below.reckon(SOON + HOUR, other)
    assert (found.is_made_public, below.told(other), below.told()) == (True, 1, 0)


def test_the_end_of_what_was_public_is_told(below: Below) -> None:
    below.reckon()
    below.reckon(SOON)
    below.told()
    below.end()
    below.reckon(SOON + HOUR)
    assert (below.told(), levels(below.session, below.river)) == (1, [None] * 4)
    below.reckon(SOON + 2 * HOUR)
    assert below.told() == 0


def test_what_ended_before_anybody_knew_is_told_to_nobody(below: Below) -> None:
    below.reckon()
    below.end()
    below.reckon(NOW + timedelta(minutes=5))
    below.reckon(SOON)
    assert below.told() == 0


def test_a_warning_withheld_and_let_go_again_has_its_head_start_again(below: Below) -> None:
    below.reckon()
    below.reckon(SOON)
    ruling = Ruling(is_withheld=True, reason="水闸关了")
    forecasts.rule(below.session, below.incident_id, "sewage_outfall", ruling, actor=below.moderator, now=SOON)
    below.reckon(SOON)
    below.told()
    forecasts.rule(below.session, below.incident_id, "sewage_outfall", None, actor=below.moderator, now=SOON)
    below.reckon(SOON + HOUR)
    assert (below.told(), levels(below.session, below.river)) == (0, [None] * 4)
    below.reckon(SOON + HOUR + timedelta(minutes=10))
    assert (below.told(), levels(below.session, below.river)) == (1, [None, 2, 2, 2])


def test_what_a_standing_warning_adds_has_a_head_start_of_its_own(below: Below) -> None:
    near = Ruling(limit_km=12.0, reason="先告诉近的")
    forecasts.rule(below.session, below.incident_id, "sewage_outfall", near, actor=below.moderator, now=NOW)
    below.reckon()
    below.reckon(SOON)
    assert (below.told(), levels(below.session, below.river)) == (1, [None, 2, None, None])
    later = SOON + HOUR
    forecasts.rule(below.session, below.incident_id, "sewage_outfall", None, actor=below.moderator, now=later)
    below.session.execute(text("DELETE FROM outbox"))
    [added] = below.reckon(later)
    assert (added.is_changed, below.reaches()) == (True, list(below.river.feature_ids[1:]))
    assert levels(below.session, below.river) == [None, 2, None, None]
    shown = queries.expected_of_incident(below.session, below.incident_id, now=later, is_public=True)
    assert [one.feature_id for one in shown] == [below.river.feature_ids[1]]
    ordered = "SELECT available_at FROM outbox WHERE topic = 'advisories.forecast'"
    assert below.session.execute(text(ordered)).scalars().all() == [later + timedelta(minutes=10)]
    assert below.deadline() == later + timedelta(minutes=10)
    below.told()
    [public] = below.reckon(later + timedelta(minutes=10))
    assert (public.is_changed, public.is_made_public, below.told()) == (True, True, 1)
    assert levels(below.session, below.river) == [None, 2, 2, 2]
    [same] = below.reckon(later + timedelta(minutes=11))
    assert (same.is_changed, same.is_made_public, below.told()) == (False, False, 0)


def test_when_one_that_ended_was_public_is_not_forgotten(below: Below) -> None:
    below.reckon()
    below.reckon(SOON)
    below.end()
    public_at = "SELECT public_at FROM downstream_forecast"
    for hours in (0, 1, 5):
        below.reckon(SOON + hours * HOUR)
        assert below.session.execute(text(public_at)).scalar_one() == PUBLIC_AT


def test_it_is_looked_at_when_it_becomes_public_every_hour_and_when_a_window_lapses(below: Below) -> None:
    below.reckon()
    assert below.deadline() == PUBLIC_AT  # should the job ordered for then be lost
    below.reckon(SOON)
    assert below.deadline() == SOON + HOUR
    lapse = below.session.execute(text("SELECT min(lapses_at) FROM downstream_reach")).scalar_one()
    below.reckon(lapse - HOUR / 2)
    assert below.deadline() == lapse
    below.end()
    below.reckon(lapse)
    assert below.deadline() is None


def test_no_deadline_stays_in_the_past_whatever_the_hour(below: Below) -> None:
    for hours in (0, 1, 7, 13, 26, 60, 200, 900):
        last = NOW + timedelta(hours=hours)
        below.reckon(last)
        deadline = below.deadline()
        assert deadline is None or deadline > last
    assert below.deadline() is None  # all has lapsed


def test_an_incident_of_another_kind_warns_no_longer(below: Below) -> None:
    below.reckon()
    below.session.execute(text("DELETE FROM outbox"))
    below.change(kind="floating_garbage")
    forecasts.order(below.session, below.incident_id, "floating_garbage", now=SOON)
    assert below.session.execute(text("SELECT count(*) FROM outbox")).scalar_one() == 1
    [found] = below.reckon(SOON)
    assert (found.state, below.reaches()) == ("ended", [])


def test_a_change_of_kind_is_followed_though_the_job_that_makes_its_forecast_is_still_at_work(below: Below) -> None:
    forecasts.order(below.session, below.incident_id, "sewage_outfall", now=NOW, is_new=True)
    forecasts.order(below.session, below.incident_id, "floating_garbage", now=NOW)
    assert below.session.execute(text("SELECT count(*) FROM outbox")).scalar_one() == 2
    below.session.execute(text("UPDATE outbox SET done_at = :now"), {"now": NOW})
    forecasts.order(below.session, below.incident_id, "floating_garbage", now=NOW)
    assert below.session.execute(text("SELECT count(*) FROM outbox")).scalar_one() == 2


def test_an_incident_moved_down_the_river_warns_what_is_below_its_new_place(below: Below) -> None:
    below.reckon()
    below.reckon(SOON)
    below.change(water_feature_id=below.river.ids[1])
    below.reckon(SOON)
    assert below.reaches() == list(below.river.feature_ids[2:])
    assert levels(below.session, below.river) == [None, None, 2, 2]


def test_reaches_that_were_retired_are_warned_no_longer(below: Below) -> None:
    below.reckon()
    below.reckon(SOON)
    below.session.execute(
        text("UPDATE water_feature SET retired_at = :now WHERE id = ANY(:ids)"),
        {"now": SOON, "ids": list(below.river.ids[2:])},
    )
    below.reckon(SOON + HOUR)
    assert below.reaches() == [below.river.feature_ids[1]]
    assert levels(below.session, below.river) == [None, 2, None, None]


def test_that_the_network_is_gone_is_no_all_clear(below: Below) -> None:
    """What stands stays until its windows lapse; what does not stand does not begin."""
    below.reckon()
    below.reckon(SOON)
    before = below.reaches()
    network = network_of(below.session)
    below.session.execute(text("UPDATE water_feature SET retired_at = :now"), {"now": NOW})
    empty = network_of(below.session)
    assert (len(network), len(empty)) == (4, 0)
    below.told()
    [found] = below.reckon(SOON + HOUR)
    assert (found.state, found.is_changed, below.reaches(), below.told()) == ("standing", False, before, 0)
    other = below.open(Severity.LARGER)
    [begun] = below.reckon(SOON + HOUR, other)
    assert begun.state == "ended"
    last = below.session.execute(text("SELECT max(lapses_at) FROM downstream_reach")).scalar_one()
    [over] = below.reckon(last)
    assert (over.state, below.reaches(), below.told()) == ("ended", [], 1)


def test_where_an_import_replaced_the_rivers_the_warning_goes_on_along_the_new_ones(below: Below) -> None:
    below.reckon()
    below.reckon(SOON)
    below.session.execute(text("UPDATE water_feature SET retired_at = :now"), {"now": NOW})
    surveyed = add_chain(below.session, 4, lat=LAT + 0.002, name="新河")
    add_chain(below.session, 4, lat=LAT + 0.2, name="远河")
    below.told()
    [found] = below.reckon(SOON + HOUR)
    assert (found.state, below.reaches()) == ("standing", list(surveyed.feature_ids[1:]))
    shown = queries.expected_of_incident(below.session, below.incident_id, now=SOON + HOUR, is_public=True)
    assert [one.feature_id for one in shown] == below.reaches(), "nobody is told that it is over for a while"
    assert levels(below.session, surveyed) == [None, 2, 2, 2]


def test_what_an_import_adds_beyond_what_it_replaced_has_a_head_start(below: Below) -> None:
    below.reckon()
    below.reckon(SOON)
    below.session.execute(text("UPDATE water_feature SET retired_at = :now"), {"now": NOW})
    surveyed = add_chain(below.session, 6, lat=LAT + 0.002, name="新河")
    below.reckon(SOON + HOUR)
    assert below.reaches() == list(surveyed.feature_ids[1:])
    assert levels(below.session, surveyed) == [None, 2, 2, 2, 2, None]  # the fifth begins where the fourth had ended
    below.reckon(SOON + HOUR + timedelta(minutes=10))
    assert levels(below.session, surveyed) == [None, 2, 2, 2, 2, 2]


def test_rivers_that_an_import_leads_elsewhere_take_nobody_out_of_the_warning_meanwhile(below: Below) -> None:
    """The same reaches are kept, and others beside them are what lies below now."""
    beside = add_chain(below.session, 4, lat=LAT + 0.002, name="新河")
    below.reckon()
    below.reckon(SOON)
    below.told()
    moved = "UPDATE water_feature SET next_down_id = :next WHERE id = :id"
    below.session.execute(text(moved), {"id": below.river.ids[0], "next": beside.ids[1]})
    [found] = below.reckon(SOON + HOUR)
    assert (found.state, below.reaches()) == ("standing", list(beside.feature_ids[1:]))
    assert levels(below.session, beside) == [None, 2, 2, 2]
    assert levels(below.session, below.river) == [None] * 4


def test_the_nearest_water_in_place_of_a_retired_one_is_found_by_an_index(below: Below) -> None:
    below.session.execute(text("UPDATE water_feature SET retired_at = :now"), {"now": NOW})
    below.session.execute(text("SET LOCAL enable_seqscan = off"))
    with statements(below.session) as said:
        queries.origins(below.session, [below.incident_id])
    [question] = [one for one in said if "first_seen" in one]
    plan = "EXPLAIN " + question.replace("%(ids)s::UUID[]", f"ARRAY['{below.incident_id}']::uuid[]")
    lines = [row[0] for row in below.session.connection().exec_driver_sql(plan)]
    assert any("ix_water_feature_geom_3857" in line for line in lines), lines


def test_a_moderators_word_counts_where_the_network_is_gone_too(below: Below) -> None:
    below.reckon()
    below.session.execute(text("UPDATE water_feature SET retired_at = :now"), {"now": NOW})
    for later in (SOON, SOON + HOUR):
        below.told()
        [found] = below.reckon(later)
    assert (found.is_changed, found.is_made_public, below.told()) == (False, False, 0), "told once that it is public"
    near = Ruling(limit_km=12.0, reason="下游的闸关了")
    forecasts.rule(below.session, below.incident_id, "sewage_outfall", near, actor=below.moderator, now=SOON)
    below.change(severity=2, graded_severity=2)
    [shortened] = below.reckon(SOON + HOUR)
    assert (shortened.state, shortened.level, len(below.reaches())) == ("standing", 1, 1)
    none = Ruling(is_withheld=True, reason="下游的闸关了")
    forecasts.rule(below.session, below.incident_id, "sewage_outfall", none, actor=below.moderator, now=SOON)
    [withheld] = below.reckon(SOON + HOUR)
    assert (withheld.state, below.reaches(), below.told()) == ("withheld", [], 2)


def test_whoever_lies_at_the_edge_of_three_days_is_not_warned_and_let_go_by_turns(
    session: Session, settings: Settings
) -> None:
    """With a little less water the edge comes nearer: what is warned stays until it is a tenth beyond."""
    slow = Below(session, settings.model_copy(update={"flow_ratio": 0.05}), 120, km=1.0)
    slow.reckon()
    before = slow.warned()
    assert 10 < len(before) < 110
    slow.settings = slow.settings.model_copy(update={"flow_ratio": 0.0475})
    slow.reckon(NOW + HOUR)
    assert slow.warned() == before
    anew = slow.open()
    slow.reckon(NOW + HOUR, anew)
    assert set(slow.warned(anew)) < set(before)
    slow.settings = slow.settings.model_copy(update={"flow_ratio": 0.025})
    slow.reckon(NOW + 2 * HOUR)
    assert len(slow.warned()) < len(before)


def test_another_kind_that_is_carried_too_is_a_change(below: Below) -> None:
    """It reads otherwise (oil floats), though reaches, level and windows are the same."""
    below.reckon()
    below.reckon(SOON)
    below.told()
    below.change(kind="oil_slick")
    [found] = below.reckon(SOON)
    assert (found.state, found.is_changed, found.is_new_level, below.told()) == ("standing", True, False, 1)
    [same] = below.reckon(SOON)
    assert same.is_changed is False


def test_a_gauge_on_a_reach_the_network_does_not_have_ends_no_warning(below: Below) -> None:
    network = network_of(below.session)
    here = below.river.feature_ids[0]
    assert len(walk(network, here, start_km=6.0, flow=Flow(1.0, {2**50: 3.0}))) == 3


def test_reckoning_many_orders_word_of_those_alone_that_changed(below: Below) -> None:
    others = [below.open() for _nth in range(5)]
    below.reckon(NOW, below.incident_id, *others)
    below.reckon(SOON, below.incident_id, *others)
    below.session.execute(text("DELETE FROM outbox"))
    below.change(severity=2, graded_severity=2)
    below.reckon(SOON + HOUR, below.incident_id, *others)
    assert [below.told(), *(below.told(one) for one in others)] == [1, 0, 0, 0, 0, 0]


def test_what_is_expected_ends_with_the_windows_when_nobody_reckons(below: Below) -> None:
    below.reckon()
    rows = queries.expected_of_incident(below.session, below.incident_id, now=SOON, is_public=True)
    late = max(row.lapses_at for row in rows)
    assert queries.expected_of_incident(below.session, below.incident_id, now=late, is_public=True) == []
