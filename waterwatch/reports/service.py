"""Use cases of a report: settle its photos, snap it anew, withdraw, accept, merge, refuse, correct its water.

How a report comes in is in ``intake``, how its author corrects it in ``corrections``. Nothing here commits. Every use
case locks the report's row, moves it by :data:`rules.REPORT` and writes one audit row.
"""

import uuid
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.contacts import queries as contact_queries
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Invalid, NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.reports import erasure, queries, rules
from waterwatch.reports.tables import Report
from waterwatch.waters import queries as waters

TOPIC_RESNAP = "reports.resnap"
TOPIC_JUDGED = "reports.judged"
TOPIC_RETURNED = "reports.returned"
TOPIC_ASKED = "reports.asked"
SANITISER = Actor.system("sanitiser")
MAX_REFUSAL_WORDS = 500
_FORGET_STATED = text("""
WITH claims AS (
    UPDATE report_photo SET stated_lon = NULL, stated_lat = NULL, stated_taken_at_local = NULL
    WHERE photo_id = :photo_id RETURNING report_id)
UPDATE report SET device_point = NULL FROM claims WHERE id = claims.report_id AND device_point IS NOT NULL
""")

FORGOTTEN_AT_ONCE = 1000
_FORGET_DEVICES = text("""
UPDATE report SET device_digest = NULL, is_newcomer = false WHERE id IN (
    SELECT id FROM report WHERE (device_digest IS NOT NULL AND received_at < :before)
    UNION SELECT id FROM report WHERE is_newcomer AND received_at < :before
    LIMIT :limit)
RETURNING id
""")


def settle_photo(session: Session, photo_id: uuid.UUID, *, settings: Settings, now: datetime) -> str | None:
    """A photo is now ready or refused: move its report on as far as its photos allow; returns the report's state.

    Idempotent: the report's row is locked and only a report that still waits for its photos moves, so the same
    message twice, or two photos settling at once, give one move and one audit entry. A photo that belongs to no report
    (anymore) gives None.
    """
    report = queries.lock_report_of_photo(session, photo_id)
    if report is None or report.state not in rules.AWAITING_PHOTOS:
        return None if report is None else report.state
    came_from = report.state
    machine = rules.timed(settings)
    states = queries.photo_states(session, report.id)
    target = rules.settled_state(states)
    if target is None and came_from == "sanitising":
        return came_from
    if came_from == "received":
        machine.move(report, "sanitising", now=now)
    if target == "refused":
        report.refusal_code = rules.PHOTO_UNUSABLE
    if target == "in_review":
        settle_water(session, report, settings)
    if target is not None:
        machine.move(report, target, now=now)
    session.flush()
    after: dict[str, audit.Fact] = {"state": report.state, "water_feature_id": report.water_feature_id}
    put_on_record(session, "report.settled", report.id, SANITISER, now, {"state": came_from}, after)
    return report.state


def resnap(session: Session, report_id: uuid.UUID, *, settings: Settings, now: datetime) -> None:
    """Its author corrected the report: if it moved, find its water again, as when its photos had settled.

    Idempotent: a report that has a water, be it named by a moderator while this waited, is left alone, and so is one
    that nobody reviews any more, or not yet.
    """
    report = queries.lock_report(session, report_id, may_be_named=True)
    if report is None or report.state != "in_review" or report.water_feature_id is not None:
        return
    settle_water(session, report, settings)
    after: dict[str, audit.Fact] = {"water_feature_id": report.water_feature_id}
    put_on_record(session, "report.resnapped", report.id, SANITISER, now, None, after)


def forget_stated(session: Session, photo_id: uuid.UUID) -> None:
    """The original's time is over, and with it that of what the phone read from it and where it was. Idempotent."""
    session.execute(_FORGET_STATED, {"photo_id": photo_id})


def forget_devices(session: Session, *, before: datetime) -> int:
    """Forget which devices sent the reports received before a time, and who was new then. Returns how many. Idempotent.

    Not audited: the audit never knew them.
    """
    return len(session.execute(_FORGET_DEVICES, {"before": before, "limit": FORGOTTEN_AT_ONCE}).all())


def pass_screening(session: Session, report_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """A moderator has looked: the report enters the order of the desk. Passing twice is once.

    Raises :class:`NotFound`, or :class:`Conflict` ``not_in_review``.
    """
    report = _locked(session, report_id)
    if report.state != "in_review":
        raise Conflict("not_in_review", state=report.state)
    if not report.needs_screening:
        return
    report.needs_screening = False
    session.flush()
    put_on_record(
        session, "report.screened", report.id, actor, now, {"needs_screening": True}, {"needs_screening": False}
    )


def withdraw(session: Session, report_id: uuid.UUID, *, now: datetime) -> None:
    """The author takes the report back, at any time before acceptance: what it said is erased at once, and for good.

    Withdrawing twice is one withdrawal.

    Raises :class:`NotFound`, or :class:`Conflict` ``too_late_to_withdraw`` with the state it has reached.
    """
    erasure.lock_photos(session, report_id)
    report = _locked(session, report_id)
    if report.state == "withdrawn":
        return
    if report.state not in rules.WITHDRAWABLE:
        raise Conflict("too_late_to_withdraw", state=report.state)
    _move(session, report, "withdrawn", "report.withdrawn", Actor.anonymous(), now)
    erasure.erase(session, report.id, "withdrawn", actor=Actor.anonymous(), now=now)


def erase_ended(session: Session, report_id: uuid.UUID, *, before: datetime, actor: Actor, now: datetime) -> None:
    """Erase a report refused before a time, or withdrawn when that did not erase yet. Any other is left alone.

    Idempotent: what is erased is left alone as well.
    """
    erasure.lock_photos(session, report_id)
    report = _locked(session, report_id)
    is_due = report.state == "withdrawn" or (report.state == "refused" and report.state_since < before)
    if report.erased_at is not None or not is_due:
        return
    put_on_record(session, "report.erased", report.id, actor, now, None, {"state": report.state})
    erasure.erase(session, report.id, "ended", actor=actor, now=now)


def accept(
    session: Session, report: uuid.UUID | Report, *, actor: Actor, now: datetime, tell_at: datetime | None = None
) -> None:
    """The report opened an incident. ``tell_at``: its author hears of it no sooner; None: at once.

    ``report``: its id, or its row where the caller holds its lock.

    Raises :class:`NotFound`, or ``IllegalMove`` unless it is in review.
    """
    row = _locked(session, report)
    _move(session, row, "accepted", "report.accepted", actor, now)
    _say_judged(session, row, now, tell_at)


def merge(
    session: Session, report: uuid.UUID | Report, *, actor: Actor, now: datetime, tell_at: datetime | None = None
) -> None:
    """The report joined an incident that is already known. Errors as :func:`accept`."""
    row = _locked(session, report)
    _move(session, row, "merged", "report.merged", actor, now)
    _say_judged(session, row, now, tell_at)


def return_to_review(
    session: Session,
    report_id: uuid.UUID,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
    is_told: bool,
    action: str = "report.returned",
) -> str:
    """What was decided on the report was undone, reversed or appealed against; returns the state it left.

    ``is_told``: its author has heard of the decision, and hears of this as well.

    Raises :class:`NotFound`, ``IllegalMove`` unless it was judged, or :class:`Conflict` ``erased``: nothing is left of
    it to look at.
    """
    report = _locked(session, report_id)
    if report.erased_at is not None:
        raise Conflict("erased")
    before: dict[str, audit.Fact] = {"state": report.state}
    if report.refusal_code is not None:
        before["code"] = report.refusal_code
    left = rules.timed(settings).move(report, "in_review", now=now)
    report.refusal_code = report.refusal_words = None
    session.flush()
    put_on_record(session, action, report.id, actor, now, before, {"state": "in_review"})
    if is_told and contact_queries.is_anybody_told(session, report_id):
        outbox.emit(session, TOPIC_RETURNED, {"report_id": str(report_id)}, now=now)
    return left


def refuse(
    session: Session,
    report_id: uuid.UUID,
    code: str,
    words: str | None,
    *,
    actor: Actor,
    now: datetime,
    tell_at: datetime | None = None,
) -> None:
    """Refuse with a reason from :data:`rules.REFUSAL_CODES` and, if given, words to the author (never audited).

    Raises :class:`Invalid` naming the field, :class:`NotFound`, or ``IllegalMove`` unless it is in review.
    """
    words = (words or "").strip() or None
    errors: dict[str, list[str]] = {}
    if code not in rules.REFUSAL_CODES:
        errors["code"] = ["refusal_code_unknown"]
    if words is not None and len(words) > MAX_REFUSAL_WORDS:
        errors["words"] = ["words_too_long"]
    if errors:
        raise Invalid(errors)
    report = _locked(session, report_id)
    before = report.state
    rules.REPORT.move(report, "refused", now=now)
    report.refusal_code, report.refusal_words = code, words
    session.flush()
    put_on_record(
        session, "report.refused", report.id, actor, now, {"state": before}, {"state": "refused", "code": code}
    )
    _say_judged(session, report, now, tell_at)


def correct_water(
    session: Session, report_id: uuid.UUID, water_feature_id: uuid.UUID, *, actor: Actor, now: datetime
) -> None:
    """The moderator names the water. Snaps the place onto it, however far: the person has looked at the map.

    Raises :class:`NotFound` (report or water), or :class:`Conflict` ``not_in_review``.
    """
    report = _locked(session, report_id)
    if report.state != "in_review":
        raise Conflict("not_in_review", state=report.state)
    before = report.water_feature_id
    put_on_water(session, report, water_feature_id)
    facts: dict[str, audit.Fact] = {"water_feature_id": before}
    put_on_record(
        session, "report.water_corrected", report.id, actor, now, facts, {"water_feature_id": water_feature_id}
    )


def put_on_water(session: Session, report: Report, water_feature_id: uuid.UUID) -> None:
    """Snap a report whose lock is held onto a water, however far. Raises :class:`NotFound`."""
    place = queries.place_of(session, report.id)
    if not queries.has_water(session, water_feature_id):
        raise NotFound("water_not_found")
    _snap_to(session, report, water_feature_id, waters.snap(session, water_feature_id, place.lon, place.lat))


def say_handed(session: Session, report_id: uuid.UUID, *, is_back: bool, actor: Actor, now: datetime) -> None:
    """Put on record that a report was handed to the lead, or that it is back in everybody's queue."""
    put_on_record(session, "report.handed_back" if is_back else "report.handed", report_id, actor, now, None, {})


def settle_water(session: Session, report: Report, settings: Settings) -> None:
    """Snap a report whose lock is held onto the water its author chose where it lies within the limit, else onto the
    nearest, else onto none."""
    place = queries.place_of(session, report.id)
    chosen = report.chosen_water_feature_id
    if chosen is not None:
        snapped = waters.snap(session, chosen, place.lon, place.lat)
        if snapped[2] <= settings.snap_limit_m:
            _snap_to(session, report, chosen, snapped)
            return
    nearest = waters.nearest_waters(
        session, place.lon, place.lat, place.accuracy_m or 0.0, 1, search_limit_m=settings.snap_limit_m
    )
    for best in nearest:
        _snap_to(session, report, best.water_feature_id, (best.snapped_lon, best.snapped_lat, best.distance_m))


def _snap_to(session: Session, report: Report, feature_id: uuid.UUID, snapped: tuple[float, float, float]) -> None:
    lon, lat, distance_m = snapped
    report.water_feature_id = feature_id
    report.snapped_point = queries.point(lon, lat)
    report.snap_distance_m = distance_m
    session.flush()


def _locked(session: Session, known: uuid.UUID | Report) -> Report:
    report = known if isinstance(known, Report) else queries.lock_report(session, known)
    if report is None:
        raise NotFound("report_not_found")
    return report


def _say_judged(session: Session, report: Report, now: datetime, tell_at: datetime | None) -> None:
    """Its author may want to know; most have left no way to tell them.

    ``since`` names the judgement: one that was undone does not tell of the next before that can be undone no more.
    """
    if contact_queries.is_anybody_told(session, report.id):
        payload = {"report_id": str(report.id), "since": report.state_since.isoformat()}
        outbox.emit(session, TOPIC_JUDGED, payload, now=now, available_at=tell_at)


def _move(session: Session, report: Report, to_state: str, action: str, actor: Actor, now: datetime) -> None:
    before = rules.REPORT.move(report, to_state, now=now)
    session.flush()
    put_on_record(session, action, report.id, actor, now, {"state": before}, {"state": to_state})


def put_on_record(
    session: Session,
    action: str,
    report_id: uuid.UUID,
    actor: Actor,
    now: datetime,
    before: dict[str, audit.Fact] | None,
    after: dict[str, audit.Fact],
) -> None:
    """Write the audit row of what was done to a report."""
    audit.record(
        session,
        action=action,
        subject_kind="report",
        subject_id=report_id,
        actor=actor,
        now=now,
        before=before,
        after=after,
    )
