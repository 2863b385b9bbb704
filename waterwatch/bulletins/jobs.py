"""What is done of bulletins outside of any request: files made, letters sent, what is spoilt recalled."""

import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from waterwatch.accountability.rules import Period
from waterwatch.bulletins import letters, queries, service
from waterwatch.bulletins.rules import LETTER, PUBLIC_STATES, letter_life, letter_pause_s
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.log import get_logger
from waterwatch.messaging.attempts import Failure, send_mail

SENDER = Actor.system("bulletins")
Tell = Callable[[str, int, int], None]
log = get_logger(__name__)


def make(context: JobContext, message: outbox.Message) -> None:
    """The job of :data:`service.TOPIC_MAKE`: make a bulletin's files and keep them.

    Idempotent: files are named by what they hold, and what was ordered anew meanwhile is not recorded. A worker killed
    on the way leaves files that no row names; the reconciler removes them.
    """
    make_files(context, uuid.UUID(message.payload["bulletin_id"]), int(message.payload["revision"]))
    with transaction(context.sessions) as session:
        outbox.finish(session, message.id)


def make_files(context: JobContext, bulletin_id: uuid.UUID, revision: int, *, tell: Tell | None = None) -> bool:
    """Make one bulletin now. False when that is not wanted any more."""
    from waterwatch.bulletins import making  # what lays pages out takes a second to load, and most workers never do

    with transaction(context.sessions) as session:
        row = queries.bulletin(session, bulletin_id)
        if row.state != "making" or row.revision != revision:
            return False
        corrected = queries.bulletin(session, row.corrects_id).edition if row.corrects_id else None
        agency = queries.addressee(session, agency_id=row.agency_id)
        facts = making.Facts(row.edition, corrected, row.as_of, row.foreword)
        content = making.read(session, agency, Period.parse(row.period), facts)
    recorded = []
    for made in making.write(content, context.objects, settings=context.settings, tell=tell):
        key = f"bulletins/{agency.code}/{content.period.code}/{made.sha256.hex()}.{made.form}"
        _store(context, key, made.content)
        recorded.append(service.Recorded(made.form, made.volume, key, made.sha256, len(made.content), made.pages))
    with transaction(context.sessions) as session:
        unnamed = service.record_made(
            session,
            bulletin_id,
            revision,
            recorded,
            facts=content.totals.numbers,
            incident_ids=[uuid.UUID(one.incident_id) for one in content.entries],
            answer_ids=[one.answer_id for one in content.entries if one.answer_id],
            photos=[(photo.photo_id, photo.sha256) for photo in content.photos],
            now=context.now(),
        )
    for key in unnamed or ():
        context.objects.delete(key)
    return unnamed is not None


def _store(context: JobContext, key: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=context.settings.spool_dir) as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        context.objects.put_file(key, path)


@dataclass(frozen=True)
class Claim:
    """One worker's hold on one letter. ``attempt`` tells it from every other hold."""

    letter_id: uuid.UUID
    bulletin_id: uuid.UUID
    attempt: int
    claimed_at: datetime


def send(context: JobContext, message: outbox.Message) -> None:
    """The job of :data:`service.TOPIC_SEND`: bring one letter to its address, or say when to try again.

    Idempotent: what has ended is only marked done; two workers at once cannot both claim; a worker killed at any point
    leaves a claim that runs out. Sent at least once, always under the letter's one Message-ID.

    Raises :class:`Unavailable`: to be rung again after ``retry_after_s``.
    """
    letter_id = uuid.UUID(message.payload["letter_id"])
    claim = _claim(context, letter_id, message)
    if claim is None:
        return
    failure = _hand_over(context, claim)
    pause_s = _record(context, claim, failure, message)
    if failure is not None:
        log.warning("bulletin.letter_failed", letter_id=str(letter_id), error=failure.code, retry_after_s=pause_s)
        if pause_s is not None:
            raise Unavailable(failure.code, retry_after_s=pause_s)


def _claim(context: JobContext, letter_id: uuid.UUID, message: outbox.Message) -> Claim | None:
    now = context.now()
    with transaction(context.sessions) as session:
        row, letter = queries.locked_letter(session, letter_id)
        if letter.state not in ("pending", "sending"):
            outbox.finish(session, message.id)
            return None
        until = letter.state_deadline_at
        if letter.state == "sending" and until is not None and until > now:
            raise Unavailable("letter_claimed", retry_after_s=max(1.0, (until - now).total_seconds()))
        if row.state not in PUBLIC_STATES:
            LETTER.move(letter, "cancelled", now=now)
            outbox.finish(session, message.id)
            return None
        letter_life(context.settings).move(letter, "sending", now=now)
        letter.attempts += 1
        return Claim(letter.id, letter.bulletin_id, letter.attempts, now)


def _hand_over(context: JobContext, claim: Claim) -> Failure | None:
    with transaction(context.sessions) as session:
        # Of one that was recalled since the claim nothing is left that could be spoilt.
        is_public = queries.bulletin(session, claim.bulletin_id).state in PUBLIC_STATES
        if not is_public or queries.is_spoilt(session, claim.bulletin_id):
            return Failure("bulletin_is_spoilt", is_permanent=True)
        facts = letters.facts_of(session, claim.bulletin_id, claim.letter_id)
    try:
        mail = letters.write(facts, context.objects, settings=context.settings, sent_at=claim.claimed_at)
    except FileNotFoundError:
        return Failure("file_missing")
    return send_mail(mail, str(mail["To"]), settings=context.settings)


def _record(context: JobContext, claim: Claim, failure: Failure | None, message: outbox.Message) -> float | None:
    """What became of it; seconds until the next try, None when there is to be none."""
    now = context.now()
    with transaction(context.sessions) as session:
        row, letter = queries.locked_letter(session, claim.letter_id)
        if failure is None:
            if letter.state != "sent":
                LETTER.move(letter, "sent", now=now)
                letter.sent_at, letter.last_error = now, None
        elif letter.state == "sending" and letter.attempts == claim.attempt:
            letter.last_error = failure.code
            letter.deferrals += failure.is_deferred
            is_public = row.state in PUBLIC_STATES
            age_s = (now - letter.created_at).total_seconds()
            if is_public and not failure.is_permanent and age_s < context.settings.delivery_give_up_s:
                LETTER.move(letter, "pending", now=now)
                letter.state_deadline_at = letter.created_at + timedelta(seconds=context.settings.delivery_deadline_s)
                return letter_pause_s(letter.attempts, letter.deferrals, is_deferred=failure.is_deferred)
            ended = "refused" if failure.is_permanent else "dead"
            LETTER.move(letter, ended if is_public else "cancelled", now=now)
        session.flush()
        service.archive_when_sent(session, claim.bulletin_id, actor=SENDER, now=now)
        outbox.finish(session, message.id)
    return None


def propose_drafts(context: JobContext) -> int:
    """A quarter has ended: drafts for every department that has none. Gives how many were ordered."""
    with transaction(context.sessions) as session:
        return service.propose_missing(session, actor=SENDER, now=context.now())


def recall_spoilt(context: JobContext, *, limit: int = 50) -> int:
    """Bulletins that show what may not be shown any more. Gives how many. Idempotent, each in its own transaction.

    Until then nobody is given one either: whoever asks for a file is answered by the same question.
    """
    with transaction(context.sessions) as session:
        found = queries.spoilt(session, limit=limit)
    for bulletin_id in found:
        with transaction(context.sessions) as session:
            keys = service.recall(session, bulletin_id, actor=SENDER, now=context.now())
        for key in keys:
            context.objects.delete(key)
    return len(found)
