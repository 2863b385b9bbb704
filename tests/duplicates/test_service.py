"""Which reports are proposed as telling of the same, with which reasons, and that nothing follows by itself."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from tests.analysing import analyse
from tests.duplicates.rows import PHASH, add_photo, add_report, candidates_of
from tests.moderation.rows import add_river, state_of
from waterwatch.duplicates import queries, service

DEVICE = bytes(range(32))
ON_THE_RIVER = (114.3055, 30.5928)


def east(metres: float) -> tuple[float, float]:
    """A place so far downstream."""
    return ON_THE_RIVER[0] + metres / 95_900, ON_THE_RIVER[1]


@pytest.fixture
def river(session: Session) -> uuid.UUID:
    return add_river(session, "长江")


def test_the_same_picture_at_the_same_place_is_a_duplicate_and_nothing_happens_to_it(
    session: Session, river: uuid.UUID, now: datetime
) -> None:
    first_photo, photo = add_photo(session, now=now), add_photo(session, now=now, phash=PHASH ^ 0b111)
    first = add_report(session, river, now=now, photos=[first_photo], kind="foam")
    report = add_report(session, river, now=now, photos=[photo], at=east(300))
    assert service.propose(session, photo, now=now) == 1
    row = candidates_of(session, report)[first]
    assert (row["picture_bits"], row["is_same_file"], row["is_recycled"], row["score"]) == (3, False, False, 0.8)
    assert (row["photo_id"], row["other_photo_id"]) == (photo, first_photo)
    assert row["distance_m"] == pytest.approx(300, abs=2)
    assert (state_of(session, "report", report), state_of(session, "report", first)) == ("in_review", "in_review")


def test_asking_twice_stores_each_pair_once_and_says_so_once(session: Session, river: uuid.UUID, now: datetime) -> None:
    photos = [add_photo(session, now=now) for _ in range(2)]
    reports = [add_report(session, river, now=now, photos=[photo]) for photo in photos]
    assert [service.propose(session, photos[1], now=now) for _ in range(2)] == [1, 0]
    acts = session.execute(text("SELECT action, after FROM audit_entry WHERE subject_id = :id"), {"id": reports[1]})
    assert [(act.action, act.after) for act in acts] == [("report.duplicates_proposed", {"count": 1})]


def test_the_same_picture_of_another_place_is_a_warning_that_names_its_first_use(
    session: Session, river: uuid.UUID, now: datetime
) -> None:
    old_photo, photo = add_photo(session, now=now), add_photo(session, now=now)
    old = add_report(session, river, now=now, photos=[old_photo], minutes_old=60 * 24 * 300, at=east(5_000))
    report = add_report(session, river, now=now, photos=[photo])
    service.propose(session, photo, now=now)
    (shown,) = queries.candidates(session, report, limit=10)
    assert (shown.report_id, shown.is_recycled, shown.is_other_first) == (old, True, True)
    assert shown.received_at == now - timedelta(days=300)
    (seen_from_the_old_one,) = queries.candidates(session, old, limit=10)
    assert (seen_from_the_old_one.report_id, seen_from_the_old_one.is_other_first) == (report, False)


@pytest.mark.parametrize(("bits", "is_found"), [(7, True), (8, False)])
def test_pictures_are_the_same_up_to_seven_bits(
    session: Session, river: uuid.UUID, now: datetime, bits: int, is_found: bool
) -> None:
    photo = add_photo(session, now=now, phash=PHASH ^ ((1 << 2 * bits) - 1 & 0x5555555555555555))
    other = add_report(session, river, now=now, photos=[add_photo(session, now=now)], kind="foam", at=east(400))
    report = add_report(session, river, now=now, photos=[photo])
    service.propose(session, photo, now=now)
    assert (other in candidates_of(session, report)) is is_found


def test_the_same_file_is_known_even_where_its_hash_says_nothing(
    session: Session, river: uuid.UUID, now: datetime
) -> None:
    digest = b"a" * 32
    photo = add_photo(session, now=now, phash=1, sha256=digest)
    same = add_report(
        session, river, now=now, photos=[add_photo(session, now=now, phash=1, sha256=digest)], kind="foam"
    )
    report = add_report(session, river, now=now, photos=[photo])
    service.propose(session, photo, now=now)
    assert {other: row["is_same_file"] for other, row in candidates_of(session, report).items()} == {same: True}


def test_black_pictures_do_not_make_everything_a_duplicate(session: Session, river: uuid.UUID, now: datetime) -> None:
    for _ in range(5):
        add_report(session, river, now=now, photos=[add_photo(session, now=now, phash=1)], kind="foam")
    photo = add_photo(session, now=now, phash=1)
    report = add_report(session, river, now=now, photos=[photo])
    assert service.propose(session, photo, now=now) == 0
    assert candidates_of(session, report) == {}


def test_a_picture_that_went_round_gives_ten_candidates(session: Session, river: uuid.UUID, now: datetime) -> None:
    for _ in range(14):
        add_report(session, river, now=now, photos=[add_photo(session, now=now)], kind="foam")
    photo = add_photo(session, now=now)
    add_report(session, river, now=now, photos=[photo])
    assert service.propose(session, photo, now=now) == 10


def test_refused_reports_are_remembered_and_withdrawn_ones_are_not(
    session: Session, river: uuid.UUID, now: datetime
) -> None:
    facts = {"refused": {"refusal_code": "abuse"}, "withdrawn": {}}
    others = {
        state: add_report(session, river, now=now, photos=[add_photo(session, now=now)], state=state, **more)
        for state, more in facts.items()
    }
    photo = add_photo(session, now=now)
    report = add_report(session, river, now=now, photos=[photo])
    service.propose(session, photo, now=now)
    assert list(candidates_of(session, report)) == [others["refused"]]


def test_a_report_withdrawn_later_is_shown_no_more(session: Session, river: uuid.UUID, now: datetime) -> None:
    other = add_report(session, river, now=now, photos=[add_photo(session, now=now)])
    photo = add_photo(session, now=now)
    report = add_report(session, river, now=now, photos=[photo])
    service.propose(session, photo, now=now)
    assert len(queries.candidates(session, report, limit=10)) == 1
    session.execute(text("UPDATE report SET state = 'withdrawn' WHERE id = :id"), {"id": other})
    assert queries.candidates(session, report, limit=10) == []


@pytest.mark.parametrize(
    ("metres", "hours", "facts", "is_found"),
    [
        (190, 47, {}, True),
        (210, 1, {}, False),
        (10, 49, {}, False),
        (10, 1, {"kind": "foam"}, False),
    ],
)
def test_near_is_two_hundred_metres_and_two_days_on_the_same_water_with_the_same_kind(
    session: Session,
    river: uuid.UUID,
    now: datetime,
    metres: float,
    hours: float,
    facts: dict[str, str],
    is_found: bool,
) -> None:
    other = add_report(session, river, now=now, minutes_old=60 * hours, at=east(metres), **facts)
    photo = add_photo(session, now=now)
    report = add_report(session, river, now=now, photos=[photo], at=ON_THE_RIVER)
    service.propose(session, photo, now=now)
    found = candidates_of(session, report)
    assert (other in found) is is_found
    if is_found:
        assert (found[other]["is_near"], found[other]["picture_bits"], found[other]["score"] < 0.35) == (
            True,
            None,
            True,
        )


def test_another_water_beside_it_is_another_problem(session: Session, river: uuid.UUID, now: datetime) -> None:
    add_report(session, add_river(session, "汉江"), now=now)
    photo = add_photo(session, now=now)
    add_report(session, river, now=now, photos=[photo])
    assert service.propose(session, photo, now=now) == 0


@pytest.mark.parametrize(("seconds", "is_found"), [(60, True), (61, False)])
def test_one_device_within_a_minute_is_a_reason_by_itself(
    session: Session, river: uuid.UUID, now: datetime, seconds: int, is_found: bool
) -> None:
    other = add_report(session, river, now=now, device_digest=DEVICE, kind="foam", minutes_old=seconds / 60)
    photo = add_photo(session, now=now)
    report = add_report(session, river, now=now, photos=[photo], device_digest=DEVICE, at=east(3_000))
    service.propose(session, photo, now=now)
    found = candidates_of(session, report)
    assert (other in found) is is_found
    if is_found:
        assert (found[other]["is_same_device"], found[other]["score"]) == (True, 0.6)


def test_a_walk_without_signal_is_no_duplicate_though_all_of_it_arrives_in_one_minute(
    session: Session, river: uuid.UUID, now: datetime
) -> None:
    earlier = now - timedelta(hours=1)
    add_report(session, river, now=now, device_digest=DEVICE, kind="foam", observed_at=earlier)
    photo = add_photo(session, now=now)
    add_report(session, river, now=now, photos=[photo], device_digest=DEVICE, observed_at=now - timedelta(minutes=5))
    assert service.propose(session, photo, now=now) == 0


def test_forgetting_devices_leaves_the_other_reasons_and_their_score(
    session: Session, river: uuid.UUID, now: datetime
) -> None:
    first_photo, photo = add_photo(session, now=now), add_photo(session, now=now)
    alike = add_report(session, river, now=now, photos=[first_photo], device_digest=DEVICE, kind="foam")
    add_report(session, river, now=now, device_digest=DEVICE, kind="oil_slick")
    report = add_report(session, river, now=now, photos=[photo], device_digest=DEVICE, at=east(5_000))
    assert service.propose(session, photo, now=now) == 2
    assert candidates_of(session, report)[alike]["is_recycled"] is False
    assert service.forget_devices(session, before=now) == 0
    assert service.forget_devices(session, before=now + timedelta(seconds=1)) == 2
    (row,) = candidates_of(session, report).values()
    assert (row["other_report_id"], row["is_same_device"], row["is_recycled"]) == (alike, False, True)
    assert row["score"] == 0.95
    assert service.forget_devices(session, before=now + timedelta(days=1)) == 0


MANY = text("""
INSERT INTO report (id, code, follow_digest, submission_digest, organisation_id, state, state_since, kind, language,
    received_at, point, place_source, input_datum, water_feature_id, device_digest)
SELECT gen_random_uuid(), 'code-' || n, sha256(('f' || n)::bytea), sha256(('s' || n)::bytea),
    (SELECT id FROM organisation LIMIT 1), 'in_review', :now, 'foam', 'zh-Hans',
    CAST(:now AS timestamptz) - n * interval '1 minute',
    ST_SetSRID(ST_MakePoint(100 + (n % 200) / 10.0, 25 + (n / 200) / 10.0), 4326), 'pin', 'wgs84', :river,
    CASE WHEN n % 10 = 0 THEN sha256(('d' || n)::bytea) END
FROM generate_series(1, 20000) n
""")


def test_neither_device_nor_place_is_looked_for_by_reading_all_reports(
    session: Session, river: uuid.UUID, now: datetime
) -> None:
    session.execute(text("SET LOCAL statement_timeout = 0"))  # twenty thousand at once are no statement of ours
    session.execute(MANY, {"now": now, "river": river})
    photo = add_photo(session, now=now)
    report = add_report(session, river, now=now, photos=[photo], device_digest=DEVICE)
    analyse(session, "report")
    session.execute(text("SET LOCAL statement_timeout TO DEFAULT"))
    sent: list[tuple[str, Any]] = []
    connection = session.connection()

    def note(_c: object, _cur: object, statement: str, parameters: object, *_: object) -> None:
        sent.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    queries.others(session, report, [])
    event.remove(connection, "before_cursor_execute", note)
    ((statement, parameters),) = sent
    plan = "\n".join(connection.exec_driver_sql("EXPLAIN " + statement, parameters).scalars())
    assert "Seq Scan on report" not in plan
    assert "ix_report_device" in plan
    assert "ix_report_point" in plan
