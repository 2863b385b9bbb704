"""What a citizen takes back is gone, in one transaction; what was refused goes when its time is over."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tests.duplicates.rows import add_photo, add_report
from tests.escalation.rows import insert
from tests.reports.rows import acts_on, add_river, row_of
from waterwatch.contacts import service as contacts
from waterwatch.contacts.rules import Contact
from waterwatch.duplicates import queries as likes
from waterwatch.duplicates import service as duplicates
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, NotFound
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.photos.service import TOPIC_ERASED
from waterwatch.reports import corrections, queries, service
from waterwatch.reports.tables import PRIVATE
from waterwatch.waters.rules import to_wgs84

SWEEP = Actor.system("sweep")
SAID: dict[str, Any] = {
    "note": "水很臭", "place_words": "王小明家往东", "accuracy_m": 8.0, "device_point": "POINT(114.3 30.6)",
    "device_digest": bytes(32), "is_newcomer": True, "needs_screening": True, "extent": "spot", "smell": 3,
    "is_ongoing": True, "has_dead_animals": True, "affects_people": True, "colour": "black", "since": "today",
    "transparency_cm": 4.0, "water_depth_cm": 40.0, "ph": 6.5, "do_mg_l": 1.5, "nh3n_mg_l": 9.0, "orp_mv": -20.0,
    "temperature_c": 18.0, "same_as_code": "7KMQ-2T9X",
}  # fmt: skip


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """Settings of tests that stay inside one session."""
    return make_settings()


@pytest.fixture
def whole(session: Session, settings: Settings, now: datetime) -> uuid.UUID:
    """A report under review with everything a report can have, and another one it is like."""
    river = add_river(session, "府河")
    photos = [add_photo(session, now=now) for _ in range(2)]
    for number, photo_id in enumerate(photos):
        values = {"key": f"quarantine/{number}", "id": photo_id}
        session.execute(text("UPDATE photo SET original_key = :key WHERE id = :id"), values)
    facts = SAID | {"observed_at": now, "corrected_at": now, "chosen_water_feature_id": river}
    report_id = add_report(session, river, now=now, photos=photos, **facts)
    session.execute(text("UPDATE report_photo SET stated_lon = 114, stated_lat = 30, stated_taken_at_local = 'x'"))
    like = add_photo(session, now=now)
    other = add_report(session, river, now=now, photos=[like])
    assert duplicates.propose(session, photos[0], now=now) == 1
    assert duplicates.propose(session, like, now=now) == 1
    assert [one.report_id for one in likes.candidates(session, other, limit=9)] == [report_id]
    contact = Contact("wang@example.org", None, by_mail=True, may_ask=True)
    contacts.keep(session, report_id, contact, settings=settings, now=now)
    subscription = {"endpoint_digest": bytes(32), "sealed": b"x", "created_at": now}
    insert(session, "push_subscription", report_id=report_id, **subscription)
    return report_id


def assert_is_erased(session: Session, report_id: uuid.UUID, *, photos_left: int) -> None:
    row = row_of(session, report_id)
    assert {name: row[name] for name in PRIVATE if row[name] is not None} == {}
    assert (row["is_newcomer"], row["needs_screening"]) == (False, False)
    assert session.execute(text("SELECT ST_IsEmpty(point) FROM report WHERE id = :id"), {"id": report_id}).scalar_one()
    for table in ("report_photo", "report_contact", "push_subscription"):
        statement = text(f"SELECT count(*) FROM {table} WHERE report_id = :id")
        assert session.execute(statement, {"id": report_id}).scalar_one() == 0, table
    assert session.execute(text("SELECT count(*) FROM duplicate_candidate")).scalar_one() == 0
    for table in ("photo", "photo_derivative"):
        assert session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == photos_left, table


def ordered_keys(session: Session) -> list[set[str]]:
    statement = text("SELECT payload->'keys' FROM outbox WHERE topic = :topic")
    return [set(keys) for keys in session.execute(statement, {"topic": TOPIC_ERASED}).scalars()]


def test_a_withdrawn_report_leaves_its_code_its_kind_and_when(
    session: Session, whole: uuid.UUID, now: datetime
) -> None:
    before = row_of(session, whole)
    pictures = set(
        session.execute(
            text("""SELECT d.key FROM photo_derivative d JOIN report_photo rp USING (photo_id)
                                           WHERE rp.report_id = :id"""),
            {"id": whole},
        ).scalars()
    )
    assert {name for name in PRIVATE if before[name] is None} == {"refusal_words"}
    service.withdraw(session, whole, now=now)
    assert_is_erased(session, whole, photos_left=1)
    after = row_of(session, whole)
    assert (after["state"], after["state_since"], after["erased_at"]) == ("withdrawn", now, now)
    for name in ("code", "kind", "received_at", "follow_digest", "submission_digest", "source", "language"):
        assert after[name] == before[name]
    assert ordered_keys(session) == [pictures | {"quarantine/0", "quarantine/1"}]
    assert acts_on(session, whole)[-2:] == ["report.withdrawn", "contact.erased"]


def test_nobody_is_shown_it_any_more_and_nobody_corrects_it(
    session: Session, whole: uuid.UUID, settings: Settings, now: datetime
) -> None:
    service.withdraw(session, whole, now=now)
    for ask in (queries.review_facts, queries.place_of):
        with pytest.raises(NotFound):
            ask(session, whole)
    with pytest.raises(Conflict) as caught:
        corrections.restate(
            session, whole, {"kind": "foam"}, settings=settings, language="zh-Hans", to_wgs84=to_wgs84, now=now
        )
    assert caught.value.facts == {"state": "withdrawn"}


def test_one_that_is_taken_back_at_this_moment_is_proposed_to_nobody(
    session: Session, whole: uuid.UUID, now: datetime
) -> None:
    other = session.execute(text("SELECT id FROM report WHERE id <> :id"), {"id": whole}).scalar_one()
    assert likes.lock_there(session, [whole, other, new_id()]) == {whole, other}
    service.withdraw(session, whole, now=now)
    assert likes.lock_there(session, [whole, other]) == {other}


def refused(session: Session, report_id: uuid.UUID, at: datetime) -> None:
    service.pass_screening(session, report_id, actor=SWEEP, now=at)
    service.refuse(session, report_id, "unclear", "王小明，请重拍", actor=SWEEP, now=at)


def test_a_refused_report_is_erased_after_its_time_and_not_before(
    session: Session, whole: uuid.UUID, now: datetime
) -> None:
    refused(session, whole, now)
    service.erase_ended(session, whole, before=now, actor=SWEEP, now=now)
    assert row_of(session, whole)["note"] == "水很臭"
    later = now + timedelta(days=90)
    for _twice in range(2):
        service.erase_ended(session, whole, before=now + timedelta(seconds=1), actor=SWEEP, now=later)
    assert_is_erased(session, whole, photos_left=1)
    row = row_of(session, whole)
    assert (row["state"], row["refusal_code"], row["erased_at"]) == ("refused", "unclear", later)
    assert acts_on(session, whole).count("report.erased") == 1


@pytest.mark.parametrize("state", ["in_review", "accepted", "merged"])
def test_what_goes_on_is_never_erased(session: Session, whole: uuid.UUID, now: datetime, state: str) -> None:
    session.execute(text("UPDATE report SET state = :state WHERE id = :id"), {"state": state, "id": whole})
    service.erase_ended(session, whole, before=now + timedelta(days=900), actor=SWEEP, now=now)
    assert row_of(session, whole)["erased_at"] is None


@pytest.mark.parametrize(
    "change",
    [
        "note = 'x'",
        "point = ST_GeomFromText('POINT(114 30)', 4326)",
        "device_digest = sha256('')",
        "state = 'accepted'",
    ],
)
def test_the_database_lets_nothing_come_back(session: Session, whole: uuid.UUID, now: datetime, change: str) -> None:
    service.withdraw(session, whole, now=now)
    with pytest.raises(IntegrityError):
        session.execute(text(f"UPDATE report SET {change} WHERE id = :id"), {"id": whole})
