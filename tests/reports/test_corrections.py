"""Correcting a report: what may be said anew, what the audit keeps of it, and when it is too late."""

import uuid
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.reports.rows import LAT, LON, acts_on, add_river, row_of, set_photo, submission
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.kernel.settings import Settings
from waterwatch.reports import corrections, intake, queries, service
from waterwatch.reports.corrections import CorrectReport
from waterwatch.reports.service import TOPIC_RESNAP
from waterwatch.waters.rules import to_wgs84


@pytest.fixture
def report_id(session: Session, settings: Settings, now: datetime) -> uuid.UUID:
    """A report by the 府河, in review, as its author sent it."""
    add_river(session, "府河")
    command = submission(now=now, note="很臭", smell=3, measured={"ph": 6.5})
    receipt = intake.submit(session, command, settings=settings, now=now)
    set_photo(session, command.photos[0].photo_id, "ready")
    service.settle_photo(session, command.photos[0].photo_id, settings=settings, now=now)
    return receipt.report_id


def read(session: Session, report_id: uuid.UUID, now: datetime, **changes: str) -> CorrectReport:
    """What the page sends when the author changes these fields of it."""
    fields = corrections.answers_of(session, report_id) | changes
    return corrections.parse_correction(
        session, report_id, fields, photos_per_report=6, language="zh-Hans", to_wgs84=to_wgs84, now=now
    )


def orders(session: Session) -> list[str]:
    return list(session.execute(text("SELECT topic FROM outbox ORDER BY id")).scalars())


def test_the_form_shows_every_answer_and_never_the_place(session: Session, report_id: uuid.UUID) -> None:
    assert corrections.answers_of(session, report_id) == {
        "kind": "sewage_outfall",
        "note": "很臭",
        "smell": "3",
        "ph": "6.5",
    }


def test_the_form_sent_back_as_it_is_changes_nothing(session: Session, report_id: uuid.UUID, now: datetime) -> None:
    before = row_of(session, report_id)
    done = corrections.correct(session, report_id, read(session, report_id, now), now=now)
    assert (done.version, done.changed) == (1, ())
    assert row_of(session, report_id) == before
    assert "report.corrected" not in acts_on(session, report_id)


def test_answers_are_corrected_and_the_audit_keeps_codes_alone(
    session: Session, report_id: uuid.UUID, now: datetime
) -> None:
    later = now + timedelta(minutes=5)
    command = read(
        session,
        report_id,
        now,
        kind="foam",
        note="王小明家门口",
        place_words="他家后门",
        smell="",
        ongoing="yes",
        ph="7.25",
    )
    done = corrections.correct(session, report_id, command, now=later)
    assert (done.version, set(done.changed)) == (2, {"kind", "note", "place_words", "smell", "is_ongoing", "ph"})
    row = row_of(session, report_id)
    assert (row["kind"], row["note"], row["smell"], row["is_ongoing"], row["ph"]) == (
        "foam",
        "王小明家门口",
        None,
        True,
        7.25,
    )
    assert (row["place_words"], row["version"], row["corrected_at"]) == ("他家后门", 2, later)
    statement = text("SELECT before, after FROM audit_entry WHERE action = 'report.corrected'")
    before, after = session.execute(statement).one()
    told = {"kind": "sewage_outfall", "note": "given", "place_words": None, "smell": 3, "is_ongoing": None, "ph": "6.5"}
    assert before == told
    told = {"kind": "foam", "note": "given", "place_words": "given", "smell": None, "is_ongoing": True, "ph": "7.25"}
    assert after == told | {"version": 2}


def test_a_new_place_is_snapped_anew_by_the_job(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    other = add_river(session, "汉江", lat=LAT + 0.05)
    command = read(session, report_id, now, lon=str(LON), lat=f"{LAT + 0.051}", place_confirmed="1", place_source="pin")
    done = corrections.correct(session, report_id, command, now=now)
    assert done.changed == ("point",)
    assert row_of(session, report_id)["water_feature_id"] is None
    assert orders(session)[-1] == TOPIC_RESNAP
    for _twice in range(2):
        service.resnap(session, report_id, settings=settings, now=now)
    row = row_of(session, report_id)
    assert row["water_feature_id"] == other
    assert row["snap_distance_m"] == pytest.approx(111, abs=2)
    (after,) = session.execute(text("SELECT after FROM audit_entry WHERE action = 'report.corrected'")).scalars()
    assert after == {"point": "moved_5654_m", "version": 2}


def test_a_place_in_another_datum_is_converted_as_for_a_new_report(
    session: Session, report_id: uuid.UUID, now: datetime
) -> None:
    command = read(session, report_id, now, lon=str(LON), lat=str(LAT), datum="gcj02", place_confirmed="1")
    corrections.correct(session, report_id, command, now=now)
    place = queries.place_of(session, report_id)
    assert (place.lon, place.lat) == (pytest.approx(LON - 0.00549, abs=5e-4), pytest.approx(LAT + 0.0022, abs=5e-4))
    assert row_of(session, report_id)["input_datum"] == "gcj02"


def test_a_new_place_is_confirmed_like_the_first(session: Session, report_id: uuid.UUID, now: datetime) -> None:
    with pytest.raises(Invalid) as refused:
        read(session, report_id, now, lon="114.4", lat="91", kind="rain")
    assert refused.value.errors == {"kind": ["kind_unknown"], "lat": ["lat_out_of_range"]}
    with pytest.raises(Invalid) as refused:
        read(session, report_id, now, lon="114.4", lat="30.6")
    assert refused.value.errors == {"place_confirmed": ["place_not_confirmed"]}


def test_another_water_is_chosen_without_moving(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    canal = add_river(session, "支渠", lat=LAT + 0.01)
    command = read(session, report_id, now, water_feature_id=str(canal))
    assert corrections.correct(session, report_id, command, now=now).changed == ("chosen_water_feature_id",)
    service.resnap(session, report_id, settings=settings, now=now)
    assert row_of(session, report_id)["water_feature_id"] == canal


def test_another_kind_has_its_likes_found_anew_and_stays_on_its_water(
    session: Session, report_id: uuid.UUID, now: datetime
) -> None:
    before = row_of(session, report_id)["water_feature_id"]
    corrections.correct(session, report_id, read(session, report_id, now, note="更臭了"), now=now)
    assert TOPIC_RESNAP not in orders(session)
    corrections.correct(session, report_id, read(session, report_id, now, kind="foam"), now=now)
    assert orders(session).count(TOPIC_RESNAP) == 1
    assert row_of(session, report_id)["water_feature_id"] == before is not None


def test_a_water_named_by_a_moderator_meanwhile_is_not_overwritten_by_the_job(
    session: Session, report_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    named = add_river(session, "汉江", lat=LAT + 0.05)
    command = read(session, report_id, now, lon=str(LON), lat=f"{LAT + 0.001}", place_confirmed="1", place_source="pin")
    corrections.correct(session, report_id, command, now=now)
    service.correct_water(session, report_id, named, actor=Actor.person(uuid.uuid4(), None), now=now)
    service.resnap(session, report_id, settings=settings, now=now)  # a worker was slow, or the order came twice
    assert row_of(session, report_id)["water_feature_id"] == named


def test_a_report_whose_photos_still_wait_is_snapped_once_when_they_are_ready(
    session: Session, settings: Settings, now: datetime
) -> None:
    river = add_river(session, "府河")
    command = submission(now=now, lat=LAT + 1)
    report_id = intake.submit(session, command, settings=settings, now=now).report_id
    moved = read(session, report_id, now, lon=str(LON), lat=str(LAT), place_confirmed="1")
    corrections.correct(session, report_id, moved, now=now)
    assert TOPIC_RESNAP not in orders(session)
    set_photo(session, command.photos[0].photo_id, "ready")
    service.settle_photo(session, command.photos[0].photo_id, settings=settings, now=now)
    assert row_of(session, report_id)["water_feature_id"] == river


@pytest.mark.parametrize("state", ["accepted", "merged", "refused", "withdrawn"])
def test_what_was_judged_stays_as_it_was_judged(
    session: Session, report_id: uuid.UUID, now: datetime, state: str
) -> None:
    code = "unclear" if state == "refused" else None
    session.execute(
        text("UPDATE report SET state = :state, refusal_code = :code WHERE id = :id"),
        {"state": state, "code": code, "id": report_id},
    )
    before = row_of(session, report_id)
    with pytest.raises(Conflict, match="too_late_to_correct"):
        corrections.correct(session, report_id, read(session, report_id, now, kind="foam"), now=now)
    assert row_of(session, report_id) == before
