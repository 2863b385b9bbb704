"""Use cases of bulletins: order one, record its files, review it, send it, correct it, recall it. None commits.

Files are made outside of any transaction, by ``jobs``.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from waterwatch.accountability.rules import Period, ended_quarters
from waterwatch.bulletins import queries
from waterwatch.bulletins.rules import BULLETIN, ENDED_LETTERS, LETTER, PUBLIC_STATES, letter_life
from waterwatch.bulletins.tables import Bulletin, BulletinFile, BulletinLetter, BulletinPhoto
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.email import is_address

TOPIC_MAKE = "bulletins.make"
TOPIC_SEND = "bulletins.send"
PRIORITY = 8  # behind everything that somebody waits for
MOST_FOREWORD, LEAST_REASON, MOST_REASON = 2000, 3, 500
log = get_logger(__name__)


@dataclass(frozen=True)
class Recorded:
    """A file as it lies in the store."""

    form: str
    volume: int
    key: str
    sha256: bytes
    bytes: int
    pages: int | None


def propose(session: Session, agency_id: uuid.UUID, period: Period, *, actor: Actor, now: datetime) -> Bulletin:
    """Order the first edition of a department's bulletin of a period that is over. The one that is there, if it is.

    Raises:
        NotFound: there is no such department.
        Invalid: the period is not over.
    """
    if period.until > now:
        raise Invalid({"period": ["period_not_over"]})
    queries.addressee(session, agency_id=agency_id)
    known = queries.latest_edition(session, agency_id, period.code)
    if known is not None:
        return known
    return _order(session, agency_id, period.code, None, actor=actor, now=now)


def propose_missing(session: Session, *, actor: Actor, now: datetime, limit: int = 200) -> int:
    """The quarter that ended last: order a draft for every department that has none yet. Gives how many."""
    (period,) = ended_quarters(now, known=())
    missing = queries.agencies_without(session, period, limit=limit)
    for agency_id in missing:
        _order(session, agency_id, period.code, None, actor=actor, now=now)
    return len(missing)


def _order(
    session: Session, agency_id: uuid.UUID, period: str, corrects: Bulletin | None, *, actor: Actor, now: datetime
) -> Bulletin:
    row = Bulletin(
        id=new_id(),
        agency_id=agency_id,
        period=period,
        edition=corrects.edition + 1 if corrects else 1,
        corrects_id=corrects.id if corrects else None,
        as_of=now,
        foreword=corrects.foreword if corrects else "",
        revision=1,
    )
    BULLETIN.enter(row, now=now)
    session.add(row)
    session.flush()
    _ring(session, row, now=now)
    facts: dict[str, audit.Fact] = {"agency_id": agency_id, "period": period, "edition": row.edition}
    _record(session, "bulletin.ordered", row, actor=actor, now=now, after=facts)
    return row


def _ring(session: Session, row: Bulletin, *, now: datetime) -> None:
    payload = {"bulletin_id": str(row.id), "revision": row.revision}
    outbox.emit(session, TOPIC_MAKE, payload, now=now, priority=PRIORITY)


def order_again(session: Session, bulletin_id: uuid.UUID, revision: int, *, now: datetime) -> None:
    """Nobody makes it any more: order it once more."""
    payload = {"bulletin_id": str(bulletin_id), "revision": revision}
    outbox.emit(session, TOPIC_MAKE, payload, now=now, priority=PRIORITY)


def record_made(
    session: Session,
    bulletin_id: uuid.UUID,
    revision: int,
    files: Sequence[Recorded],
    *,
    facts: dict[str, int],
    incident_ids: Sequence[uuid.UUID],
    answer_ids: Sequence[uuid.UUID],
    photos: Sequence[tuple[uuid.UUID, bytes]],
    now: datetime,
) -> list[str] | None:
    """The files are made and stored: they wait for the lead. Gives the keys that nothing names any more.

    None when they were ordered anew meanwhile, or were made already: what was made counts for nothing.
    """
    row = queries.bulletin(session, bulletin_id, is_locked=True)
    if row.state != "making" or row.revision != revision:
        return None
    before = {file.key for file in queries.files_of(session, row.id)}
    _clear(session, row)
    for file in files:
        session.add(BulletinFile(bulletin_id=row.id, **vars(file)))
    for photo_id, sha256 in photos:
        session.add(BulletinPhoto(bulletin_id=row.id, photo_id=photo_id, sha256=sha256))
    row.facts, row.incident_ids, row.made_at = dict(facts), list(incident_ids), now
    row.answer_ids = list(answer_ids)
    BULLETIN.move(row, "draft", now=now)
    session.flush()
    numbers: dict[str, audit.Fact] = {"revision": revision, "files": len(files), **facts}
    _record(session, "bulletin.made", row, actor=Actor.system("bulletins"), now=now, after=numbers)
    return sorted(before - {file.key for file in files})


def _clear(session: Session, row: Bulletin) -> None:
    session.execute(delete(BulletinFile).where(BulletinFile.bulletin_id == row.id))
    session.execute(delete(BulletinPhoto).where(BulletinPhoto.bulletin_id == row.id))
    row.answer_ids = []


def change_foreword(session: Session, bulletin_id: uuid.UUID, words: str, *, actor: Actor, now: datetime) -> Bulletin:
    """The lead writes another foreword: the files are made anew, from the rows as they are now, as of the same instant.

    Raises:
        NotFound, Invalid: too long.
        IllegalMove: it is not a draft.
    """
    if len(words) > MOST_FOREWORD:
        raise Invalid({"foreword": ["foreword_too_long"]})
    row = queries.bulletin(session, bulletin_id, is_locked=True)
    BULLETIN.move(row, "making", now=now)
    row.foreword, row.withheld_reason = words, None
    row.revision += 1
    session.flush()
    _ring(session, row, now=now)
    _record(session, "bulletin.ordered", row, actor=actor, now=now, after={"revision": row.revision})
    return row


def withhold(session: Session, bulletin_id: uuid.UUID, reason: str, *, actor: Actor, now: datetime) -> None:
    """The lead keeps a draft back and says why; it may be made anew later. Raises as :func:`change_foreword`."""
    reason = " ".join(reason.split())
    if not LEAST_REASON <= len(reason) <= MOST_REASON:
        raise Invalid({"reason": ["reason_missing"]})
    row = queries.bulletin(session, bulletin_id, is_locked=True)
    BULLETIN.move(row, "withheld", now=now)
    row.withheld_reason = reason
    session.flush()
    _record(session, "bulletin.withheld", row, actor=actor, now=now)


def approve(session: Session, bulletin_id: uuid.UUID, *, settings: Settings, actor: Actor, now: datetime) -> int:
    """The lead lets it go: it is public, and each address of its department gets one mail. Gives how many.

    A department without an address gets none: the page is all there is.

    Raises:
        NotFound.
        IllegalMove: it is no draft.
        Conflict: something it shows may not be shown any more.
    """
    row = queries.bulletin(session, bulletin_id, is_locked=True)
    if row.state in PUBLIC_STATES:
        return 0
    if queries.is_spoilt(session, bulletin_id):
        raise Conflict("bulletin_is_spoilt")
    BULLETIN.move(row, "approved", now=now)
    row.approved_at, row.approved_by = now, actor.id
    addresses = [address for address in queries.addresses_of(session, row.agency_id) if is_address(address)]
    for address in addresses:
        _queue_letter(session, row, address, settings=settings, now=now)
    if not addresses:
        BULLETIN.move(row, "archived", now=now)
        log.warning("bulletin.no_address", bulletin_id=str(row.id))
    session.flush()
    _record(session, "bulletin.approved", row, actor=actor, now=now, after={"letters": len(addresses)})
    return len(addresses)


def _queue_letter(session: Session, row: Bulletin, address: str, *, settings: Settings, now: datetime) -> None:
    letter_id = new_id()
    letter = BulletinLetter(
        id=letter_id,
        bulletin_id=row.id,
        address=address,
        message_id=f"<bulletin.{letter_id}@{settings.public_host}>",
        created_at=now,
    )
    letter_life(settings).enter(letter, now=now)
    session.add(letter)
    outbox.emit(session, TOPIC_SEND, {"letter_id": str(letter_id)}, now=now, priority=PRIORITY)


def archive_when_sent(session: Session, bulletin_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """Once its last letter has ended, one way or another, a bulletin is archived. Idempotent."""
    row = queries.bulletin(session, bulletin_id, is_locked=True)
    letters = queries.letters_of(session, bulletin_id)
    if row.state != "approved" or any(letter.state not in ENDED_LETTERS for letter in letters):
        return
    BULLETIN.move(row, "archived", now=now)
    sent = sum(letter.state == "sent" for letter in letters)
    if sent < len(letters):
        log.error("bulletin.not_delivered", bulletin_id=str(row.id), letters=len(letters), sent=sent)
    session.flush()
    _record(session, "bulletin.archived", row, actor=actor, now=now, after={"letters": len(letters), "sent": sent})


def correct(session: Session, bulletin_id: uuid.UUID, *, actor: Actor, now: datetime) -> Bulletin:
    """Order a further edition that names the one it corrects; that one stays where it is until then.

    Raises:
        NotFound.
        Conflict: it was never public, or a later edition is there.
    """
    row = queries.bulletin(session, bulletin_id, is_locked=True)
    if row.approved_at is None:
        raise Conflict("bulletin_is_not_public")
    latest = queries.latest_edition(session, row.agency_id, row.period)
    assert latest is not None
    if latest.id != row.id:
        raise Conflict("bulletin_has_later_edition")
    return _order(session, row.agency_id, row.period, row, actor=actor, now=now)


def recall(session: Session, bulletin_id: uuid.UUID, *, actor: Actor, now: datetime) -> list[str]:
    """Something it shows may not be shown any more: its files go, letters that wait do not go out, and one that is
    just being sent is not tried again.

    Of one that was public a corrected edition is ordered; a draft is made anew at once, one that is withheld when the
    lead wants it. Idempotent. Gives the keys of the files, to be deleted once this is committed.
    """
    row = queries.bulletin(session, bulletin_id, is_locked=True)
    if row.state in ("making", "recalled"):
        return []
    keys = [file.key for file in queries.files_of(session, row.id)]
    if row.approved_at is None:
        # Nobody has seen it: it is simply made anew, without what is gone.
        _clear(session, row)
        row.incident_ids = []
        if row.state == "draft":
            BULLETIN.move(row, "making", now=now)
            row.revision += 1
            session.flush()
            _ring(session, row, now=now)
        _record(session, "bulletin.remade", row, actor=actor, now=now)
        return keys
    for letter in queries.letters_of(session, row.id):
        if letter.state == "pending":
            LETTER.move(letter, "cancelled", now=now)
    _clear(session, row)
    BULLETIN.move(row, "recalled", now=now)
    row.incident_ids = []
    session.flush()
    _record(session, "bulletin.recalled", row, actor=actor, now=now)
    latest = queries.latest_edition(session, row.agency_id, row.period)
    if latest is not None and latest.id == row.id:
        _order(session, row.agency_id, row.period, row, actor=actor, now=now)
    return keys


def _record(
    session: Session,
    action: str,
    row: Bulletin,
    *,
    actor: Actor,
    now: datetime,
    after: dict[str, audit.Fact] | None = None,
) -> None:
    audit.record(session, action=action, subject_kind="bulletin", subject_id=row.id, actor=actor, now=now, after=after)
