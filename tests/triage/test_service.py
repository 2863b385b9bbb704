"""The queue: in which order, to whom, and that it holds exactly what is under review."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.analysing import analyse
from tests.escalation.rows import IN_WUHAN, add_agency
from tests.moderation.rows import add_moderator, add_river, add_waiting, count
from tests.triage.rows import add_zone
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Invalid, NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.reports import service as reports
from waterwatch.triage import queries, service
from waterwatch.triage.queries import Wanted

WUCHANG = "420106"


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def river(session: Session) -> uuid.UUID:
    return add_river(session, "长江")


@pytest.fixture
def person(session: Session, now: datetime) -> uuid.UUID:
    return id_of(add_moderator(session, "first", now=now))


@pytest.fixture
def other(session: Session, now: datetime) -> uuid.UUID:
    return id_of(add_moderator(session, "other", now=now))


def id_of(actor: Actor) -> uuid.UUID:
    assert actor.id is not None
    return actor.id


def item(session: Session, report_id: uuid.UUID) -> dict[str, object]:
    row = session.execute(text("SELECT * FROM review_item WHERE report_id = :id"), {"id": report_id}).mappings().one()
    return dict(row)


def near(session: Session, one: uuid.UUID, two: uuid.UUID, *, now: datetime, **facts: object) -> None:
    values = {"is_near": True, "is_same_device": False, "is_same_file": False, "is_recycled": False, "score": 0.5}
    columns = {"report_id": one, "other_report_id": two, "distance_m": 20, "apart_s": 60, "found_at": now}
    both = columns | values | facts
    names = ", ".join(both)
    session.execute(
        text(f"INSERT INTO duplicate_candidate ({names}) VALUES ({', '.join(':' + name for name in both)})"), both
    )


def test_the_order_is_urgency_then_age(
    session: Session, river: uuid.UUID, person: uuid.UUID, settings: Settings, now: datetime
) -> None:
    young = add_waiting(session, river, now=now, minutes_old=1)
    old = add_waiting(session, river, now=now, minutes_old=90)
    major = add_waiting(session, river, now=now, extent="over_1_km", is_ongoing=True)
    harmed = add_waiting(session, river, now=now, kind="foam", affects_people=True)
    taken = [service.claim_next(session, person, settings=settings, now=now) for _ in range(5)]
    assert taken == [harmed, major, old, young, None]


def test_the_zone_and_the_area_of_the_place_are_weighed(session: Session, river: uuid.UUID, now: datetime) -> None:
    add_agency(session, "武汉市水务局", ["a@wuhan.example"])
    add_zone(session, "intake", IN_WUHAN)
    found = item(session, add_waiting(session, river, now=now, is_ongoing=True))
    assert (found["urgency"], found["points"], found["set_aside"]) == (1, 8, None)
    assert found["hints"] == ["receptor.drinking_water", "hazard.sewage_outfall", "ongoing"]
    assert found["area_code"] == "420000"


def test_a_second_independent_report_makes_the_first_more_urgent(
    session: Session, river: uuid.UUID, now: datetime
) -> None:
    facts = {"extent": "under_1_km", "is_ongoing": True}
    first = add_waiting(session, river, now=now, minutes_old=9, **facts)
    assert (item(session, first)["urgency"], item(session, first)["points"]) == (0, 6)
    second = add_waiting(session, river, now=now, **facts)
    near(session, second, first, now=now)
    service.weigh(session, second)
    assert [(item(session, one)["urgency"], item(session, one)["points"]) for one in (first, second)] == [
        (1, 7),
        (1, 7),
    ]


@pytest.mark.parametrize("facts", [{"is_same_device": True}, {"is_near": False, "is_same_device": True}])
def test_the_same_device_twice_is_no_second_witness(
    session: Session, river: uuid.UUID, now: datetime, facts: dict[str, object]
) -> None:
    first, second = (add_waiting(session, river, now=now) for _ in range(2))
    near(session, second, first, now=now, **facts)
    service.weigh(session, second)
    assert [item(session, one)["points"] for one in (first, second)] == [3, 3]


def test_the_queue_holds_exactly_what_is_under_review(
    session: Session, river: uuid.UUID, person: uuid.UUID, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now, needs_screening=True)
    actor = Actor.person(person, None)
    assert service.claim_next(session, person, settings=settings, now=now) is None
    assert item(session, report_id)["set_aside"] == "screening"
    reports.pass_screening(session, report_id, actor=actor, now=now)
    assert service.claim_next(session, person, settings=settings, now=now) == report_id
    reports.withdraw(session, report_id, now=now)
    assert count(session, "review_item") == 0


def test_a_correction_moves_the_report_in_the_queue_too(session: Session, river: uuid.UUID, now: datetime) -> None:
    lake = add_river(session, "东湖", lat=30.56)
    report_id = add_waiting(session, river, now=now)
    session.execute(
        text("UPDATE report SET kind = 'foam', water_feature_id = :lake WHERE id = :id"),
        {"id": report_id, "lake": lake},
    )
    body = session.execute(text("SELECT water_body_id FROM water_feature WHERE id = :id"), {"id": lake}).scalar_one()
    assert (item(session, report_id)["kind"], item(session, report_id)["water_body_id"]) == ("foam", body)


def test_only_what_is_wanted_is_handed_out(
    session: Session, river: uuid.UUID, person: uuid.UUID, settings: Settings, now: datetime
) -> None:
    foam = add_waiting(session, river, now=now, kind="foam")
    there = add_waiting(session, river, now=now)
    session.execute(
        text("UPDATE review_item SET area_code = :code WHERE report_id = :id"), {"code": WUCHANG, "id": there}
    )
    body = item(session, foam)["water_body_id"]
    assert isinstance(body, uuid.UUID)
    for wanted, expected in (
        (Wanted(area_codes=("310000",)), []),
        (Wanted(area_codes=("310000", "420100")), [there]),
        (Wanted(area_codes=("420106",), kind="foam"), []),
        (Wanted(kind="foam", water_body_id=body), [foam]),
        (Wanted(water_body_id=uuid.uuid4()), []),
    ):
        assert [one.report_id for one in queries.waiting(session, person, wanted, now=now)] == expected
        claimed = service.claim_next(session, person, wanted, settings=settings, now=now)
        assert claimed == (expected[0] if expected else None)
        if claimed is not None:
            service.release(session, claimed, person)


def test_what_is_set_aside_is_not_handed_out_until_its_time(
    session: Session, river: uuid.UUID, person: uuid.UUID, settings: Settings, now: datetime
) -> None:
    asked, handed = (add_waiting(session, river, now=now, minutes_old=n) for n in (2, 1))
    service.set_aside(session, asked, "question", until=now + timedelta(hours=48))
    service.set_aside(session, handed, "lead")
    assert service.claim_next(session, person, settings=settings, now=now) is None
    assert [one.report_id for one in queries.waiting(session, person, aside="lead", now=now)] == [handed]
    summary = queries.queue_summary(session, now=now)
    assert (summary.waiting, summary.oldest_received_at, summary.for_lead, summary.asked) == (0, None, 1, 1)
    assert service.put_back_due(session, now=now + timedelta(hours=47)) == 0
    assert service.put_back_due(session, now=now + timedelta(hours=48)) == 1
    assert service.claim_next(session, person, settings=settings, now=now) == asked
    service.put_back(session, handed)
    assert service.claim_next(session, person, settings=settings, now=now) == handed
    with pytest.raises(Conflict):
        service.set_aside(session, uuid.uuid4(), "lead")


def test_whoever_refused_it_never_gets_the_appeal(
    session: Session, river: uuid.UUID, person: uuid.UUID, other: uuid.UUID, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    service.keep_from(session, report_id, person)
    assert service.claim_next(session, person, settings=settings, now=now) is None
    assert not service.hold(session, report_id, person, settings=settings, now=now)
    assert service.claim_next(session, other, settings=settings, now=now) == report_id


def test_since_when_it_is_held_survives_a_renewal_and_no_lapse(
    session: Session, river: uuid.UUID, person: uuid.UUID, other: uuid.UUID, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    service.claim_next(session, person, settings=settings, now=now)
    later = now + timedelta(seconds=settings.review_lease_s - 1)
    assert service.held_since(session, report_id, person, settings=settings, now=later) == now
    assert service.held_since(session, report_id, other, settings=settings, now=later) is None
    lapsed = later + timedelta(seconds=settings.review_lease_s)
    assert service.held_since(session, report_id, person, settings=settings, now=lapsed) == lapsed


def test_views_are_ones_own(session: Session, person: uuid.UUID, other: uuid.UUID, now: datetime) -> None:
    view = service.keep_view(
        session, person, " 武昌  的油污 ", Wanted(area_codes=(WUCHANG,), kind="oil_slick"), now=now
    )
    assert [(one.name, one.area_code, one.kind) for one in queries.views_of(session, person)] == [
        ("武昌 的油污", WUCHANG, "oil_slick")
    ]
    for name, fault in (("武昌 的油污", "taken"), (" ", "missing"), ("长" * 41, "too_long")):
        with pytest.raises(Invalid) as caught:
            service.keep_view(session, person, name, Wanted(), now=now)
        assert caught.value.errors == {"name": [fault]}
    with pytest.raises(NotFound):
        service.drop_view(session, view.id, other)
    service.drop_view(session, view.id, person)
    session.flush()
    assert queries.views_of(session, person) == []


def test_areas_are_chosen_anew_as_a_whole(session: Session, person: uuid.UUID) -> None:
    for codes in (("420106", "420100", "420106"), ("310000",), ()):
        service.choose_areas(session, person, codes)
        session.flush()
        assert queries.areas_of(session, person) == tuple(sorted(set(codes)))


def test_claiming_looks_at_the_order_alone(
    session: Session, river: uuid.UUID, person: uuid.UUID, now: datetime
) -> None:
    for number in range(300):
        insert_item(session, number, now)
    analyse(session, "review_item")
    statement = queries._claim_statement(()).text
    values = {"person_id": person, "until": now, "now": now}
    plan = "\n".join(session.execute(text("EXPLAIN " + statement), values).scalars())
    assert "ix_review_item_order" in plan
    assert "Seq Scan" not in plan


def insert_item(session: Session, number: int, now: datetime) -> None:
    values = {"received_at": now - timedelta(seconds=number), "kind": "foam"}
    report_id = add_waiting(session, None, now=now, **values)
    assert item(session, report_id)["kind"] == "foam"
