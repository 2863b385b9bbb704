"""The sweep: every overdue state finds its remedy, and one duty that fails keeps no other from its work."""

import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.casework.rows import add_tree, case_of, escalate, hand_over, says
from tests.escalation.rows import add_agency, add_incident, insert
from tests.workers.conftest import AddPhoto
from waterwatch.casework import service as casework
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.ids import new_code, new_id
from workers import deadlines, sweep

Emit = Callable[..., None]


def long_ago(**span: float) -> Any:
    return utc_now() - timedelta(**(span or {"hours": 1}))


def orders(context: JobContext) -> list[tuple[str, dict[str, str]]]:
    """Open outbox rows, without the map's."""
    with transaction(context.sessions) as session:
        rows = session.execute(
            text("SELECT topic, payload FROM outbox WHERE done_at IS NULL AND topic <> 'mapping.publish' ORDER BY id")
        )
        return [(row.topic, row.payload) for row in rows]


def add_report(session: Session, state: str, *photo_ids: uuid.UUID, **facts: Any) -> uuid.UUID:
    now = utc_now()
    organisation_id = session.execute(text("SELECT id FROM organisation")).scalar_one()
    values = {
        "code": new_code(), "follow_digest": os.urandom(32), "submission_digest": os.urandom(32), "state_since": now,
        "kind": "foam", "language": "zh-Hans", "received_at": now, "point": "POINT(114.3 30.6)",
        "place_source": "pin", "input_datum": "wgs84", "organisation_id": organisation_id,
    }  # fmt: skip
    report_id = insert(session, "report", state=state, **(values | facts))
    for position, photo_id in enumerate(photo_ids):
        insert(session, "report_photo", report_id=report_id, photo_id=photo_id, position=position)
    return report_id


def add_delivery(session: Session, *, state: str, state_deadline_at: Any, case_deadline_at: Any = None) -> uuid.UUID:
    now = utc_now()
    agency_id = add_agency(session, "局", ["a@example.org"])
    incident_id = add_incident(session, now=now)
    case_id = insert(
        session, "escalation_case", incident_id=incident_id, agency_id=agency_id, state="queued", state_since=now,
        severity=3, created_at=now, state_deadline_at=case_deadline_at,
    )  # fmt: skip
    return insert(
        session, "delivery", case_id=case_id, channel="email", address="a@example.org", message_id=f"<{new_id()}@x>",
        severity=1, state=state, state_since=now, state_deadline_at=state_deadline_at, attempts=1, created_at=now,
    )  # fmt: skip


def test_pictures_nobody_makes_anew_any_more_are_ordered_again_but_not_at_every_round(
    context: JobContext, add_photo: AddPhoto, emit: Emit
) -> None:
    add_photo("ready", redaction_wanted_at=long_ago(minutes=9))
    emit("photos.redact", photo_id=add_photo("ready", redaction_wanted_at=long_ago(minutes=11)))
    left = add_photo("ready", redaction_wanted_at=long_ago(minutes=11))
    assert [sweep.redact_again(context) for _ in range(2)] == [1, 0]
    assert orders(context)[-1] == ("photos.redact", {"photo_id": str(left)})
    with transaction(context.sessions) as session:  # given up, and looked at again after ten minutes only
        session.execute(text("UPDATE outbox SET dead_at = now()"))
    assert sweep.redact_again(context) == 0
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE outbox SET created_at = now() - interval '11 minutes'"))
    assert sweep.redact_again(context) == 2


@pytest.mark.parametrize("state", ["received", "sanitising"])
def test_a_forgotten_photo_is_ordered_again_and_once(context: JobContext, add_photo: AddPhoto, state: str) -> None:
    photo_id = add_photo(state, state_deadline_at=long_ago())
    add_photo(state, state_deadline_at=utc_now() + timedelta(hours=1))
    assert [deadlines.sanitise_again(context) for _ in range(2)] == [1, 0]
    assert orders(context) == [("photos.sanitise", {"photo_id": str(photo_id)})]


def test_a_photo_being_worked_on_is_not_forgotten(context: JobContext, add_photo: AddPhoto, emit: Emit) -> None:
    emit("photos.sanitise", photo_id=add_photo("sanitising", state_deadline_at=long_ago()))
    assert deadlines.sanitise_again(context) == 0


def test_a_report_left_behind_by_its_photos_moves_on(context: JobContext, add_photo: AddPhoto) -> None:
    done, refused, open_photo = (
        add_photo("ready"),
        add_photo("refused", refusal_code="undecodable"),
        add_photo("received"),
    )
    with transaction(context.sessions) as session:
        add_report(session, "sanitising", done, refused, state_deadline_at=long_ago())
        add_report(session, "sanitising", open_photo, state_deadline_at=long_ago())
    assert [deadlines.settle_again(context) for _ in range(2)] == [1, 0]
    ((topic, payload),) = orders(context)
    assert topic == "photos.settled"
    assert payload["photo_id"] in (str(done), str(refused))


@pytest.mark.parametrize("state", ["pending", "sending"])
def test_a_delivery_nobody_tries_is_ordered_again(context: JobContext, state: str) -> None:
    with transaction(context.sessions) as session:
        delivery_id = add_delivery(session, state=state, state_deadline_at=long_ago())
    assert [deadlines.deliver_again(context) for _ in range(2)] == [1, 0]
    assert orders(context) == [("escalation.deliver", {"delivery_id": str(delivery_id)})]


def test_an_incident_nobody_confirms_loses_a_colour_once(context: JobContext) -> None:
    with transaction(context.sessions) as session:
        incident_id = add_incident(session, now=long_ago(days=8), severity=3)
        session.execute(text("UPDATE incident SET state_deadline_at = :at"), {"at": long_ago()})
    assert [deadlines.step_incidents_down(context) for _ in range(2)] == [1, 0]
    with transaction(context.sessions) as session:
        query = text("SELECT severity FROM incident WHERE id = :id")
        assert session.execute(query, {"id": incident_id}).scalar_one() == 2


def test_what_only_people_can_hurry_is_counted(context: JobContext, emit: Emit) -> None:
    with transaction(context.sessions) as session:
        add_report(session, "in_review", state_deadline_at=long_ago())
        add_report(session, "in_review", state_deadline_at=long_ago())
        add_delivery(session, state="pending", state_deadline_at=None, case_deadline_at=long_ago())
    emit("nobody.knows", x=1)
    assert sweep.late(context) == {"report.in_review": 2, "escalation_case.queued": 1, "topic:nobody.knows": 1}


def test_an_expired_original_is_forgotten_with_its_file(
    context: JobContext, add_photo: AddPhoto, tmp_path: Path
) -> None:
    file = tmp_path / "original"
    file.write_bytes(b"x")
    for name in ("old", "young"):
        context.objects.put_file(f"quarantine/{name}", file)
    old = add_photo(original_key="quarantine/old", original_delete_after=long_ago())
    add_photo(original_key="quarantine/young", original_delete_after=utc_now() + timedelta(days=1))
    assert [sweep.forget_originals(context) for _ in range(2)] == [1, 0]
    assert [context.objects.has(f"quarantine/{name}") for name in ("old", "young")] == [False, True]
    with transaction(context.sessions) as session:
        query = text("SELECT action FROM audit_entry WHERE subject_id = :id")
        assert session.execute(query, {"id": old}).scalars().all() == ["photo.original_forgotten"]


def test_the_spool_is_cleared_of_what_is_stale_alone(context: JobContext) -> None:
    spool = context.settings.spool_dir
    stale = {spool / "a.part", spool / "sanitise-x" / "original", spool / "redact-x" / "source"}
    fresh = {spool / "b.part", spool / "sanitise-y" / "original"}
    for path in stale | fresh:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    for path in (*stale, spool / "sanitise-x", spool / "sanitise-y", spool / "redact-x"):
        os.utime(path, (1, 1))
    assert sweep.clear_spool(context) == 3
    assert {path for path in spool.rglob("*") if path.is_file()} == fresh
    os.utime(spool / "sanitise-x", (1, 1))  # emptied just now, it goes when it is stale itself
    assert sweep.clear_spool(context) == 1


def test_what_a_killed_proxy_left_is_cleared_when_it_is_stale(context: JobContext, tmp_path: Path) -> None:
    bodies = tmp_path / "bodies"
    bodies.mkdir()
    stale, fresh, other = (bodies / name for name in ("0000000001", "0000000002", "notes.txt"))
    for path in (stale, fresh, other):
        path.write_bytes(b"x")
    for path in (stale, other):
        os.utime(path, (1, 1))
    changes = {"proxy_bodies_dir": bodies, "proxy_bodies_secret": SecretStr("0" * 32)}
    there = replace(context, settings=context.settings.model_copy(update=changes))
    assert sweep.clear_spool(there) == 1
    assert set(bodies.iterdir()) == {fresh, other}


def test_the_spool_is_cleared_of_nothing_that_others_left_there(context: JobContext) -> None:
    spool = Path(context.settings.spool_dir)
    kept = [spool / "objects" / "quarantine" / "a", spool / "notes.txt", spool / "backup.dump"]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (1, 1))
    assert sweep.clear_spool(context) == 0
    assert all(path.exists() for path in kept)


def test_a_round_seals_prunes_and_does_nothing_the_second_time(context: JobContext, add_photo: AddPhoto) -> None:
    add_photo("received", state_deadline_at=long_ago())
    with transaction(context.sessions) as session:
        audit.record(
            session, action="tests.act", subject_kind="photo", subject_id=new_id(),
            actor=audit.Actor.system("tests"), now=utc_now(),
        )  # fmt: skip
        outbox.emit(session, "t", {}, now=utc_now())
        session.execute(text("UPDATE outbox SET done_at = now() - interval '8 days'"))
    watchman = sweep.Sweep(context)
    first, second = watchman.round(), watchman.round()
    assert (first["seal_audit"], first["prune_outbox"], first["sanitise_again"]) == (1, 1, 1)
    assert set(second.values()) == {0}


def test_a_duty_that_fails_keeps_no_other_from_its_work(
    context: JobContext, add_photo: AddPhoto, sessions: sessionmaker[Session], database_url: str
) -> None:
    add_photo("received", state_deadline_at=long_ago())
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("REVOKE SELECT ON audit_entry FROM waterwatch_app")
        owner.execute("ALTER TABLE incident RENAME TO elsewhere")
    done = sweep.Sweep(context).round()
    assert {"seal_audit", "step_incidents_down"}.isdisjoint(done)
    assert done["sanitise_again"] == 1


def test_a_map_is_published_before_anybody_asks_and_again_before_it_is_stale(context: JobContext) -> None:
    assert sweep.renew_publication(context) == 0  # no waters, no map
    with transaction(context.sessions) as session:
        add_incident(session, now=utc_now())
    assert [sweep.renew_publication(context) for _ in range(2)] == [1, 0]


def test_devices_are_forgotten_after_two_days(context: JobContext) -> None:
    with transaction(context.sessions) as session:
        old = add_report(session, "in_review", device_digest=b"d" * 32, received_at=long_ago(hours=49))
        young = add_report(session, "in_review", device_digest=b"d" * 32, received_at=long_ago(hours=47))
    assert [sweep.forget_devices(context) for _ in range(2)] == [1, 0]
    with transaction(context.sessions) as session:
        kept = session.execute(text("SELECT id FROM report WHERE device_digest IS NOT NULL")).scalars().all()
    assert (old in kept, kept) == (False, [young])


def test_the_sweep_reminds_tells_superiors_and_erases_what_was_withheld(
    context: JobContext, sessions: sessionmaker[Session]
) -> None:
    begun = long_ago(hours=23)
    with transaction(sessions) as session:
        incident_id = add_incident(session, now=begun)
        tree = add_tree(session)
        escalate(session, incident_id, context.settings, begun)
        case = case_of(session, incident_id, tree[0])
        hand_over(session, case, context.settings, begun)
        said = casework.Answer("王先生")
        told = {"settings": context.settings, "actor": Actor.system("tests")}
        comment = casework.answer(session, case.id, replace(said, is_comment=True), now=begun, **told)
        session.execute(
            text("""UPDATE case_answer SET state = 'withheld', withheld_reason = 'abuse', state_deadline_at = NULL,
                           state_since = :at"""),
            {"at": long_ago(days=91)},
        )
    done = sweep.Sweep(context).round()
    assert (done["remind_agencies"], done["tell_superiors"], done["erase_withheld"]) == (1, 0, 1)
    assert sweep.Sweep(context).round()["remind_agencies"] == 0
    with transaction(sessions) as session:
        assert says(session, case) == ["case", "reminder"]
        kept = session.execute(text("SELECT words FROM case_answer WHERE id = :id"), {"id": comment})
        assert kept.scalar_one() is None
        session.execute(text("UPDATE escalation_case SET state_deadline_at = :at"), {"at": long_ago()})
    assert sweep.Sweep(context).round()["tell_superiors"] == 1
    assert sweep.Sweep(context).round()["tell_superiors"] == 0
    with transaction(sessions) as session:
        assert says(session, case_of(session, incident_id, tree[1])) == ["overdue"]
