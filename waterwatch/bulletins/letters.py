"""The mail that brings a bulletin: its numbers in words, its files attached as far as they fit, and where it lies."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage

from sqlalchemy.orm import Session

from waterwatch.accountability.rules import Period
from waterwatch.bulletins import queries
from waterwatch.bulletins.queries import Addressee
from waterwatch.bulletins.tables import Bulletin, BulletinFile
from waterwatch.bulletins.words import LANGUAGE, NUMBER_WORDS
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.writing import environment
from waterwatch.messaging.email import Mailbox, compose
from waterwatch.postbox.service import SENDER_NAME

MEDIA_TYPES = {"pdf": ("application", "pdf"), "csv": ("text", "csv")}


@dataclass(frozen=True)
class Facts:
    """What one letter is written from."""

    bulletin: Bulletin
    corrects: int | None
    agency: Addressee
    files: Sequence[BulletinFile]
    address: str
    message_id: str


def facts_of(session: Session, bulletin_id: uuid.UUID, letter_id: uuid.UUID) -> Facts:
    """Read a letter's facts. Raises :class:`NotFound`."""
    row = queries.bulletin(session, bulletin_id)
    letter = next(one for one in queries.letters_of(session, bulletin_id) if one.id == letter_id)
    corrects = queries.bulletin(session, row.corrects_id).edition if row.corrects_id else None
    agency = queries.addressee(session, agency_id=row.agency_id)
    return Facts(row, corrects, agency, queries.files_of(session, bulletin_id), letter.address, letter.message_id)


def address_of(agency_code: str, period: str, edition: int) -> str:
    """The path a public bulletin lies at for good."""
    return f"/bulletins/{agency_code}/{period}/{edition}"


def filename_of(agency_code: str, period: str, edition: int, form: str, volume: int, volumes: int) -> str:
    """What a saved file is called."""
    part = f"-{volume}of{volumes}" if form == "pdf" and volumes > 1 else ""
    return f"waterwatch-{agency_code}-{period}-ed{edition}{part}.{form}"


def write(facts: Facts, objects: ObjectStore, *, settings: Settings, sent_at: datetime) -> EmailMessage:
    """Compose the mail. All files go with it, or none where they exceed the budget: then it says where they are.

    Raises ``FileNotFoundError``: a file is not in the store.
    """
    row, agency = facts.bulletin, facts.agency
    is_attached = sum(file.bytes for file in facts.files) <= settings.bulletin_mail_bytes
    recipient = settings.staging_mail or facts.address
    period = Period.parse(row.period)
    words = {
        "agency": agency.name,
        "period": period.words,
        "is_quarter": period.months == 3,
        "edition": row.edition,
        "corrects": facts.corrects,
        "numbers": [(str(label), row.facts.get(name, 0)) for name, label in NUMBER_WORDS.items()],
        "is_attached": is_attached,
        "url": settings.public_url.rstrip("/") + address_of(agency.code, row.period, row.edition),
        "staging_for": facts.address if settings.staging_mail else None,
        "language": LANGUAGE,
    }
    render = environment(LANGUAGE, "waterwatch.bulletins").get_template
    mail = compose(
        sender=Mailbox(SENDER_NAME, settings.mail_from),
        recipient=recipient,
        subject=render("bulletins/mail/bulletin_subject.txt").render(words),
        text=render("bulletins/mail/bulletin.txt").render(words),
        html=render("bulletins/mail/bulletin.html").render(words),
        message_id=facts.message_id,
        sent_at=sent_at,
        language=LANGUAGE,
    )
    volumes = sum(file.form == "pdf" for file in facts.files)
    for file in facts.files if is_attached else ():
        main, sub = MEDIA_TYPES[file.form]
        name = filename_of(agency.code, row.period, row.edition, file.form, file.volume, volumes)
        mail.add_attachment(b"".join(objects.open(file.key)), maintype=main, subtype=sub, filename=name)
    return mail
