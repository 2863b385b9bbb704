"""What becomes of deliveries: handed over, awaited, put off, failed, come back. Each a part of one transaction.

A delivery is claimed in one transaction, handed over without any, and its outcome recorded in another. A worker killed
in between leaves a claim that runs out; the delivery is then sent again under the same id (at least once). How a
worker goes through many of them is in ``sending``.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from waterwatch.escalation import alarms, breakers, claims, clocks, letters, queries, rules, service, unheard_queries
from waterwatch.escalation import delivery_queries as found
from waterwatch.escalation.channels import Awaiting, Failed, Handed, Outcome, Rehearsed
from waterwatch.escalation.channels.known import CHANNELS
from waterwatch.escalation.claims import Claim, Later
from waterwatch.escalation.tables import Case, Delivery
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.gathering import gathered, write
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.attempts import Failure

# An outcome for what was claimed and then not even tried: no attempt is spent.
NOT_TRIED = "not_tried"
NOT_TRIED_PAUSE_S = 2.0
SENDER = Actor.system("delivery")

log = get_logger(__name__)


def claim_delivery(session: Session, delivery_id: uuid.UUID, *, settings: Settings, now: datetime) -> Claim | None:
    """Take hold of one delivery in order to send it; None when nothing is left to send.

    Raises:
        Unavailable: another worker holds it, or its endpoint is not to be asked now; ``retry_after_s`` says until when.
        NotFound: there is no such delivery.
    """
    held = claims.claim(session, [delivery_id], settings=settings, channels=CHANNELS, now=now, is_patient=True)
    made = held[delivery_id]
    if isinstance(made, Later):
        raise Unavailable(made.code, retry_after_s=made.retry_after_s)
    return made if isinstance(made, Claim) else None


def record(
    session: Session, results: Sequence[tuple[Claim, Outcome]], *, settings: Settings, now: datetime
) -> list[float | None]:
    """Record what became of claims, in their order: the seconds until the next attempt of each, None for no further.

    A claim that ran out while somebody else took over is theirs to record, unless it was handed over all the same.
    """
    every = [(one, outcome) for claim, outcome in results for one in claim.all]
    with gathered(session):
        cases = found.locked_cases(session, {one.case_id for one, _outcome in every})
        rows = found.locked_deliveries(session, {one.delivery_id for one, _outcome in every})
        told = queries.told_among(session, [case.incident_id for case in cases.values() if case.state == "queued"])
        recording = _Recording(session, settings, now, told)
        pauses = {
            one.delivery_id: recording.note(one, outcome, rows[one.delivery_id], cases[one.case_id])
            for one, outcome in every
        }
        breakers.note(session, results, now=now)
        session.flush()
        recording.finish()
    return [
        max((pause for one in claim.all if (pause := pauses[one.delivery_id]) is not None), default=None)
        for claim, _outcome in results
    ]


class _Recording:
    """One transaction's outcomes."""

    def __init__(self, session: Session, settings: Settings, now: datetime, told: set[uuid.UUID]) -> None:
        self._session, self._settings, self._now, self._told = session, settings, now, told
        self._ended: list[tuple[Case, Delivery]] = []
        self._slow: list[tuple[Case, Delivery]] = []
        self._paused: dict[uuid.UUID, float] = {}

    def note(self, claim: Claim, outcome: Outcome, row: Delivery, case: Case) -> float | None:
        if isinstance(outcome, Handed):
            self._hand(claim, row, case, outcome.remote_id)
            return None
        is_mine = row.state == "sending" and row.attempts == claim.attempt
        if isinstance(outcome, Awaiting):
            self._await(claim, row, case, outcome)
            return None
        if isinstance(outcome, Rehearsed):
            return self._rehearse(row, case) if is_mine else None
        return self._fail(claim, row, case, outcome.failure) if is_mine else rules.claim_lasts_s(self._settings)

    def finish(self) -> None:
        """What follows: digests pause as a whole; of deliveries that ended, or are put off for too long, the next
        contact gets one."""
        for digest_id, digest in found.digests(self._session, self._paused).items():
            digest.retry_at = self._now + timedelta(seconds=self._paused[digest_id])
        for case, row in self._slow:
            if letters.try_next(self._session, case, row, settings=self._settings, now=self._now):
                write(self._session)
        for case, row in self._ended:
            give_way(self._session, case, row, settings=self._settings, now=self._now)

    def _hand(self, claim: Claim, row: Delivery, case: Case, remote_id: str | None) -> None:
        if row.state == "sent":
            return
        settle(self._session, row, case, claim, told=self._told, remote_id=remote_id, now=self._now)

    def _await(self, claim: Claim, row: Delivery, case: Case, outcome: Awaiting) -> None:
        if row.state in ("sent", "awaiting"):
            return
        rules.DELIVERY.move(row, "awaiting", now=self._now)
        patience = rules.awaiting_patience(row.severity)
        if outcome.patience_s is not None:
            patience = timedelta(seconds=outcome.patience_s)
        row.state_deadline_at = self._now + patience
        row.awaits, row.last_error = outcome.code[:80], None
        row.remote_id = _bounded(outcome.remote_id) or row.remote_id
        facts: dict[str, audit.Fact] = {"delivery_id": row.id, "attempt": claim.attempt, "awaits": row.awaits}
        service.record(self._session, "delivery.awaiting", case, actor=SENDER, now=self._now, after=facts)

    def _rehearse(self, row: Delivery, case: Case) -> float | None:
        """Nobody was told: as if it had never been tried. Who forwards the case when it is in earnest tells it anew.

        A further letter to an address that was told in earnest waits until it is in earnest again: nobody would ever
        write it anew.
        """
        is_held = row.number > 1 and found.was_told_before(self._session, row)
        rules.DELIVERY.move(row, "pending" if is_held else "cancelled", now=self._now)
        row.attempts, row.last_error = row.attempts - 1, claims.REHEARSED
        pause_s = claims.hold(row, settings=self._settings, now=self._now) if is_held else None
        if pause_s is not None and row.digest_id is not None:
            self._paused[row.digest_id] = pause_s
        facts: dict[str, audit.Fact] = {"delivery_id": row.id}
        service.record(self._session, "delivery.rehearsed", case, actor=SENDER, now=self._now, after=facts)
        return pause_s

    def _fail(self, claim: Claim, row: Delivery, case: Case, failure: Failure) -> float | None:
        now, settings = self._now, self._settings
        if failure.code == NOT_TRIED:
            rules.DELIVERY.move(row, "pending", now=now)
            row.state_deadline_at = max(row.created_at, row.due_at) + timedelta(seconds=settings.delivery_deadline_s)
            row.attempts -= 1
            return NOT_TRIED_PAUSE_S
        row.last_error = failure.code[:120]
        row.deferrals += failure.is_deferred
        if row.says not in rules.TAKES_BACK and case.state == "withdrawn":
            rules.DELIVERY.move(row, "cancelled", now=now)
            return None
        began_at = max(row.created_at, row.due_at)
        if not failure.is_permanent and (now - began_at).total_seconds() < settings.delivery_give_up_s:
            rules.DELIVERY.move(row, "pending", now=now)
            # Overdue counts from the beginning, not from the latest attempt.
            row.state_deadline_at = began_at + timedelta(seconds=settings.delivery_deadline_s)
            pause_s = self._pause_s(row, failure)
            if letters.is_put_off(row, now=now):
                self._slow.append((case, row))
            if row.digest_id is not None:
                self._paused[row.digest_id] = max(pause_s, self._paused.get(row.digest_id, 0.0))
            return pause_s
        rules.DELIVERY.move(row, "refused" if failure.is_permanent else "dead", now=now)
        self._ended.append((case, row))
        _say_failed(self._session, case, row, failure.code, claim.attempt, now=now)
        return None

    def _pause_s(self, row: Delivery, failure: Failure) -> float:
        if failure.is_deferred:
            return rules.retry_pause_s(row.id, row.attempts, row.deferrals, failure.retry_after_s)
        return rules.transport_pause_s(row.attempts - row.deferrals, self._settings.delivery_retry_cap_s)


def settle(
    session: Session,
    row: Delivery,
    case: Case,
    claim: Claim | None,
    *,
    told: set[uuid.UUID],
    remote_id: str | None,
    now: datetime,
) -> None:
    """The agency has it: the delivery is sent, and its case delivered. Both are locked.

    ``claim`` is None where it was awaited. ``told``: the incidents one of whose authors wants to hear of it.
    """
    rules.DELIVERY.move(row, "sent", now=now)
    row.sent_at, row.last_error, row.awaits = now, None, None
    row.remote_id = _bounded(remote_id) or row.remote_id
    facts: dict[str, audit.Fact] = {"delivery_id": row.id, "attempt": row.attempts if claim is None else claim.attempt}
    told_at = now if claim is None else claim.claimed_at
    raised_from = row.raised_from
    service.begin_if_lost(case, now=now)
    if case.state == "queued":
        rules.CASE.move(case, "delivered", now=now)
        case.delivered_at = now
        if case.incident_id in told:
            service.say_moved_now(session, case, now=now)
        # From the start of the attempt, because that is the deadline the mail itself names.
        clocks.start(session, case, since=told_at)
    elif case.state in clocks.OWED and raised_from is not None:
        clocks.shorten(session, case, told_at=told_at)
    service.record(session, "delivery.sent", case, actor=SENDER, now=now, after=facts)


def give_way(session: Session, case: Case, row: Delivery, *, settings: Settings, now: datetime) -> None:
    """A letter has failed for good: the agency's next contact gets one, or a person is told: of it, or that nobody
    has the case."""
    if letters.try_next(session, case, row, settings=settings, now=now):
        write(session)  # whether any letter is left is asked for the next one that ended
        return
    if case.state not in ("queued", "delivered") or not unheard_queries.is_hopeless(session, case.id):
        if case.state not in alarms.ALARMING and (case.state != "withdrawn" or row.says in rules.TAKES_BACK):
            alarms.raise_alarm(session, case.id, alarms.LETTER_FAILED, since=now, now=now)
        return
    before = rules.CASE.move(case, "dead", now=now)
    service.record(session, "case.dead", case, actor=SENDER, now=now, before={"state": before}, after={"state": "dead"})
    log.error("case.dead", case_id=str(case.id), incident_id=str(case.incident_id))
    reason = "warning_failed" if case.role == rules.DOWNSTREAM else "every_letter_failed"
    alarms.raise_alarm(session, case.id, reason, since=now, now=now)


def pass_over(session: Session, delivery_id: uuid.UUID, *, settings: Settings, now: datetime) -> bool:
    """A letter waits for too long, for instance behind a breaker: where the agency is told one by one, its next contact
    gets one beside it. Idempotent; whether one does."""
    case, row = _locked(session, delivery_id)
    if row.state != "pending" or not letters.is_put_off(row, now=now):
        return False
    return letters.try_next(session, case, row, settings=settings, now=now)


def record_sent(session: Session, claim: Claim, *, now: datetime) -> None:
    """The recipient's server took the letter over. Idempotent; true whoever holds the delivery by now."""
    case = found.locked_cases(session, [claim.case_id])[claim.case_id]
    row = found.locked_deliveries(session, [claim.delivery_id])[claim.delivery_id]
    if row.state != "sent":
        told = queries.told_among(session, [case.incident_id])
        settle(session, row, case, claim, told=told, remote_id=None, now=now)


def record_failure(
    session: Session, claim: Claim, failure: Failure, *, settings: Settings, now: datetime
) -> float | None:
    """The attempt failed: gives the seconds until the next one, or None when there is to be none.

    A delivery the other side refuses for good becomes ``refused``, one that failed for longer than
    ``delivery_give_up_s`` becomes ``dead``; when no delivery of the case is left, the case is ``dead``.

    Raises:
        Unavailable: the claim had run out and another worker took over; theirs is the outcome that counts.
    """
    row = queries.locked_delivery(session, claim.delivery_id)
    if row.state != "sending" or row.attempts != claim.attempt:
        raise Unavailable("delivery_claimed", retry_after_s=rules.claim_lasts_s(settings))
    return record(session, [(claim, Failed(failure))], settings=settings, now=now)[0]


def settle_awaiting(session: Session, delivery_id: uuid.UUID, *, now: datetime, remote_id: str | None = None) -> bool:
    """What was awaited has happened (the feed was fetched, the letter posted). False when it was not awaited."""
    case, row = _locked(session, delivery_id)
    if row.state != "awaiting":
        return False
    told = queries.told_among(session, [case.incident_id])
    settle(session, row, case, None, told=told, remote_id=remote_id, now=now)
    return True


def fail_awaiting(
    session: Session,
    delivery_id: uuid.UUID,
    code: str,
    *,
    settings: Settings,
    now: datetime,
    is_refused: bool = False,
) -> bool:
    """What was awaited will not happen, or took too long. False when it was not awaited.

    The agency's next contact gets a letter, or a person is told.
    """
    case, row = _locked(session, delivery_id)
    if row.state != "awaiting":
        return False
    row.awaits = None
    _end(session, case, row, "refused" if is_refused else "dead", code, settings=settings, now=now)
    return True


def record_bounce(session: Session, delivery_id: uuid.UUID, code: str, *, settings: Settings, now: datetime) -> bool:
    """A mail that was taken over came back for good: what went in it is refused after all. Idempotent.

    ``code`` is ours, such as ``bounced_5.1.1``. False for a delivery that is not sent. The agency's next contact gets a
    letter; where no other letter of a case stands and nobody has acknowledged it, it is dead and a person is told.
    """
    together = found.sent_with(session, delivery_id)
    cases = found.locked_cases(session, set(together.values()))
    rows = [row for row in found.locked_deliveries(session, together).values() if row.state == "sent"]
    for row in rows:
        row.sent_at = None
        _end(session, cases[row.case_id], row, "refused", code, settings=settings, now=now)
    return bool(rows)


def _end(
    session: Session, case: Case, row: Delivery, state: str, code: str, *, settings: Settings, now: datetime
) -> None:
    rules.DELIVERY.move(row, state, now=now)
    row.last_error = code[:120]
    session.flush()
    _say_failed(session, case, row, code, row.attempts, now=now)
    give_way(session, case, row, settings=settings, now=now)


def _say_failed(session: Session, case: Case, row: Delivery, code: str, attempt: int, *, now: datetime) -> None:
    facts: dict[str, audit.Fact] = {
        "delivery_id": row.id,
        "state": row.state,
        "error": code[:120],
        "attempt": attempt,
    }
    service.record(session, "delivery.failed", case, actor=SENDER, now=now, after=facts)
    log.error("delivery.failed", case_id=str(case.id), delivery_id=str(row.id), error=code)


def _locked(session: Session, delivery_id: uuid.UUID) -> tuple[Case, Delivery]:
    """A delivery and its case, the case locked first, as everybody does. Raises :class:`NotFound`."""
    case_id = found.case_of(session, delivery_id)
    case = found.locked_cases(session, [case_id])[case_id]
    return case, found.locked_deliveries(session, [delivery_id])[delivery_id]


def _bounded(remote_id: str | None) -> str | None:
    """What the other side calls it, as far as we keep it: it may say anything."""
    return None if not remote_id else "".join(c for c in remote_id if c.isprintable())[:200] or None


def order(session: Session, rows: Sequence[tuple[uuid.UUID, str]], *, now: datetime) -> None:
    """Order hand-overs of deliveries, (id, channel), that nobody is working on."""
    for delivery_id, channel in rows:
        outbox.emit(session, letters.topic_of(channel), {"delivery_id": str(delivery_id)}, now=now)
