"""Electronic mail: compose a message none of whose fields can become a header of its own."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime
from typing import Any


class _Whole(UnstructuredHeader, BaseHeader):
    """A header on one line as it is. An address in it is one long word: folded, it would become an encoded word, in
    which RFC 2369 and 8058 allow no mail program to look for it.
    """

    def fold(self, *, policy: Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


def _headers() -> HeaderRegistry:
    registry = HeaderRegistry()
    registry.map_to_type("list-unsubscribe", _Whole)
    return registry


# Every relay passes 7 bits; 8BITMIME and SMTPUTF8 are extensions a department's server may lack.
POLICY = SMTP.clone(cte_type="7bit", header_factory=_headers())
SUBJECT_MAX_LENGTH = 200

# The pattern of <input type=email> in the HTML standard ("valid e-mail address") with the length limits of RFC 5321.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?=.{{3,254}}\Z)[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
_MESSAGE_ID = re.compile(r"<[A-Za-z0-9._+-]{1,120}@[A-Za-z0-9.-]{1,120}>")
_CONTENT_ID = re.compile(r"[A-Za-z0-9._-]{1,60}")


@dataclass(frozen=True)
class Mailbox:
    """Who a mail is from: a name for people and an address."""

    name: str
    address: str


@dataclass(frozen=True)
class InlineImage:
    """A picture the HTML shows as ``<img src="cid:content_id">``; ``media_type`` is ``image/jpeg`` or ``image/png``."""

    content_id: str
    media_type: str
    content: bytes
    filename: str


@dataclass(frozen=True)
class Attachment:
    """A file beside the words; ``media_type`` may carry parameters."""

    filename: str
    media_type: str
    content: bytes


def is_address(address: str) -> bool:
    """Whether this is one plain ASCII mail address. International domains are to be entered in their ``xn--`` form."""
    return _ADDRESS.fullmatch(address) is not None


def compose(
    *,
    sender: Mailbox,
    recipient: str,
    subject: str,
    text: str,
    html: str,
    message_id: str,
    sent_at: datetime,
    language: str,
    images: Sequence[InlineImage] = (),
    headers: Mapping[str, str] | None = None,
    reply_to: str | None = None,
    attachments: Sequence[Attachment] = (),
) -> EmailMessage:
    """A message of two alternatives, plain text and HTML, the HTML with its pictures inside (multipart/related).

    Names and the subject may come from data: control characters in them become spaces, so none can start a header.
    ``headers`` are further ones named by our own code. ``language`` is a BCP 47 tag. With ``attachments`` the whole is
    multipart/mixed. Nothing in it is longer than a line of mail may be, or needs more than 7 bits, so that a signature
    (DKIM) made of it by a relay stays true on its way.

    Raises:
        ValueError: an address, the Message-ID or a Content-ID is not of its exact form.
    """
    for address in (sender.address, recipient, *([reply_to] if reply_to else [])):
        if not is_address(address):
            raise ValueError("not a mail address")
    if not _MESSAGE_ID.fullmatch(message_id):
        raise ValueError("not a Message-ID")
    message = EmailMessage(POLICY)
    message["From"] = Address(one_line(sender.name), addr_spec=sender.address)
    message["To"] = recipient
    if reply_to:
        message["Reply-To"] = reply_to
    message["Subject"] = one_line(subject)[:SUBJECT_MAX_LENGTH]
    message["Date"] = format_datetime(sent_at)
    message["Message-ID"] = message_id
    message["Content-Language"] = language
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: keeps holiday responders quiet
    for name, value in (headers or {}).items():
        message[name] = one_line(value)
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    page = message.get_payload(1)
    assert isinstance(page, EmailMessage)
    for image in images:
        _attach(page, image)
    for attached in attachments:
        main, _, sub = attached.media_type.partition("/")
        message.add_attachment(attached.content, main, sub, filename=one_line(attached.filename))
    return message


def compose_bytes(**parts: Any) -> bytes:
    """The message :func:`compose` makes, as it goes over the wire."""
    return compose(**parts).as_bytes()


def _attach(page: EmailMessage, image: InlineImage) -> None:
    if not _CONTENT_ID.fullmatch(image.content_id):
        raise ValueError("not a Content-ID")
    main, _, sub = image.media_type.partition("/")
    page.add_related(
        image.content,
        main,
        sub,
        cid=f"<{image.content_id}>",
        filename=one_line(image.filename),
        disposition="inline",
    )


def one_line(value: str) -> str:
    """``value`` with every run of control, separator and white-space characters turned into one space."""
    return " ".join("".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in value).split())
