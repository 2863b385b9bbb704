"""The mail an agency gets: what was seen, where, how grave, until when to acknowledge. Nothing of the citizen."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from waterwatch.advisories.segments import Segment
from waterwatch.alerts.rules import MEDIA_TYPE as CAP_MEDIA_TYPE
from waterwatch.alerts.rules import cap_xml
from waterwatch.escalation.channels import Contact, Failed, Handed, Letter, Outcome, Pictures, Wire, wording
from waterwatch.escalation.channels.cap_feed import alert_of
from waterwatch.escalation.channels.wording import LANGUAGE
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import delivery_token
from waterwatch.mapping.rules import LEVEL_COLOURS
from waterwatch.messaging.attempts import Failure
from waterwatch.messaging.email import Attachment, InlineImage, Mailbox
from waterwatch.messaging.email import write as write_mail
from waterwatch.messaging.smtp import Refused, SendError
from waterwatch.web.words import EXTENT_WORDS, SEVERITY_WORDS

SIZE_BUDGET_BYTES = 5 * 1024 * 1024  # departments' servers turn larger mails away; 10 MB is the usual limit
# What is another letter than that of a case.
_PAGES = {"withdrawn": "withdrawn", "warning_over": "withdrawn", "warning": "warning"}
_TEXT_ALLOWANCE_BYTES = 96 * 1024


class EmailChannel:
    """Mail, over the one conversation this process keeps with the mail server."""

    name = "email"

    def endpoint(self, contact: Contact, _settings: Settings) -> str:
        """One mailbox: what its server puts off says nothing of any other. Our own server has no breaker."""
        return f"email:{hashlib.sha256(contact.address.lower().encode()).hexdigest()[:24]}"

    def hand_over(self, letter: Letter, wire: Wire) -> Outcome:
        """Write the mail and give it to the mail server."""
        return send(write(letter, settings=wire.settings), letter, wire, to=letter.contact.address)


def send(content: bytes, letter: Letter, wire: Wire, *, to: str) -> Outcome:
    """Give a written mail to the mail server for one address."""
    try:
        wire.mail.send(content, envelope_from=answer_address(letter, wire.settings), recipient=to)
    except Refused as refusal:
        return Failed(Failure(refusal.code, is_deferred=not refusal.permanent, is_permanent=refusal.permanent))
    except SendError as error:
        return Failed(Failure(error.code))
    return Handed()


def answer_address(letter: Letter, settings: Settings) -> str:
    """Where answers and bounces of this letter go: an address of its own, where the operator has an inbox."""
    if not settings.inbox_domain:
        return settings.mail_from
    return f"case+{delivery_token(settings, letter.delivery_id)}@{settings.inbox_domain}"


def write(letter: Letter, *, settings: Settings, to: str | None = None, staged_for: str | None = None) -> bytes:
    """The mail as it goes over the wire. Pictures that would burst the budget stay out.

    ``to``, ``staged_for``: a rehearsal goes to somebody else, and says whom it would have been for.
    """
    attachments = () if letter.others else _attachments(letter, settings)
    answers = None if letter.others else letter.answers  # of a digest, each would answer another
    left = SIZE_BUDGET_BYTES - _TEXT_ALLOWANCE_BYTES - sum(_encoded_bytes(one.content) for one in attachments)
    images = _fitting(letter.pictures, left)
    words = _words(letter) | {"images": {image.content_id for image in images}, "staged_for": staged_for}
    render = wording.environment().get_template
    page = "digest" if letter.others else _PAGES.get(letter.says, "mail")
    if letter.others:
        # In an order of their own: whichever of them was claimed first, every attempt sends the same mail.
        listed = sorted((letter, *letter.others), key=lambda one: (-one.facts.severity, one.delivery_id))
        words["items"] = [_words(one) for one in listed]
    return write_mail(
        sender=Mailbox(render("escalation/mail_sender.txt").render(), settings.mail_from),
        recipient=to or letter.contact.address,
        subject=render("escalation/mail_subject.txt").render(words),
        text=render(f"escalation/{page}.txt").render(words),
        html=render(f"escalation/{page}.html").render(words),
        message_id=letter.message_id,
        sent_at=letter.claimed_at,
        language=LANGUAGE,
        images=images,
        headers={"In-Reply-To": answers, "References": answers} if answers else None,
        reply_to=answer_address(letter, settings) if settings.inbox_domain else None,
        attachments=attachments,
    )


def _words(letter: Letter) -> dict[str, Any]:
    facts, raised_from = letter.facts, letter.raised_from
    is_raise = raised_from is not None and raised_from < facts.severity
    return {
        "raised_from": str(SEVERITY_WORDS[raised_from]) if is_raise and raised_from is not None else None,
        "facts": facts,
        "says": letter.says,
        "kind": wording.kind_words(letter),
        "severity": wording.severity_words(letter),
        "extent": str(EXTENT_WORDS[facts.extent]) if facts.extent else None,
        "colour": LEVEL_COLOURS[facts.severity],
        "ink": "#1c2733" if facts.severity in (2, 3) else "#ffffff",  # white on yellow or orange is hard to read
        "reply_by": letter.reply_by,
        "acknowledge_url": letter.answer_url,
        "incident_url": letter.incident_url,
        "warning": wording.warning_words(letter),
    }


def _attachments(letter: Letter, settings: Settings) -> tuple[Attachment, ...]:
    """For programs: the alert in CAP 1.2, the place in GeoJSON.

    What takes a case back names no place, and is an alert only where there is one to cancel.
    """
    code, is_withdrawal = letter.facts.code, letter.takes_back
    if is_withdrawal and not letter.earlier:
        return ()
    if letter.says == "warning" and (letter.warned is None or not letter.warned.segments):
        return ()
    alert = alert_of(letter, settings, earlier=letter.earlier, is_exercise=bool(settings.staging_mail))
    cap = Attachment(f"incident-{code}.cap.xml", CAP_MEDIA_TYPE, cap_xml(alert))
    if is_withdrawal:
        return (cap,)
    return (cap, Attachment(f"incident-{code}.geojson", "application/geo+json", make_geojson(letter)))


def make_geojson(letter: Letter) -> bytes:
    """The incident as one feature of RFC 7946, which knows WGS-84 alone; of a warning the stretches it names."""
    facts = letter.facts
    if letter.warned is not None:
        stretches = [_stretch(letter, one) for one in letter.warned.segments]
        return json.dumps({"type": "FeatureCollection", "features": stretches}, ensure_ascii=False).encode()
    properties: Mapping[str, object] = {
        "code": facts.code,
        "says": letter.says,
        "kind": facts.kind,
        "severity": facts.severity,
        "water": facts.water_name,
        "reports": facts.reports,
        "first_reported_at": facts.seen_at.isoformat(timespec="seconds") if facts.seen_at else None,
        "acknowledge_by": letter.reply_by.isoformat(timespec="seconds"),
        "url": letter.incident_url,
        "basis": "公众观察等级，不是政府预警",
    }
    place = {"type": "Point", "coordinates": [round(facts.lon, 6), round(facts.lat, 6)]}
    feature = {"type": "Feature", "id": facts.code, "geometry": place, "properties": properties}
    return json.dumps({"type": "FeatureCollection", "features": [feature]}, ensure_ascii=False).encode()


def _stretch(letter: Letter, one: Segment) -> dict[str, object]:
    properties = {
        "code": letter.facts.code,
        "says": letter.says,
        "kind": letter.facts.kind,
        "severity": letter.facts.severity,
        "water": one.water,
        "from_km": round(one.from_km, 1),
        "until_km": round(one.until_km, 1),
        "earliest": one.window.earliest.isoformat(timespec="seconds") if one.window.earliest else None,
        "probable": one.window.probable.isoformat(timespec="seconds") if one.window.probable else None,
        "lapses": one.lapses_at.isoformat(timespec="seconds"),
        "url": letter.incident_url,
        "basis": "由公众观察推算，不是政府预警",
    }
    shape = {"type": "MultiPolygon", "coordinates": [[list(map(list, ring))] for ring in one.rings]}
    return {"type": "Feature", "geometry": shape, "properties": properties}


def _encoded_bytes(content: bytes) -> int:
    """Base64 makes four bytes of three, plus line ends."""
    return len(content) * 4 * 78 // (3 * 76) + 78


def _fitting(pictures: Pictures, left_bytes: int) -> list[InlineImage]:
    """The pictures that keep the mail within its budget."""
    wanted = [
        InlineImage("photo", "image/jpeg", pictures.photo or b"", "photo.jpg"),
        InlineImage("map", "image/png", pictures.map or b"", "map.png"),
    ]
    fitting = []
    for image in wanted:
        encoded_bytes = _encoded_bytes(image.content)
        if image.content and encoded_bytes <= left_bytes:
            fitting.append(image)
            left_bytes -= encoded_bytes
    return fitting
