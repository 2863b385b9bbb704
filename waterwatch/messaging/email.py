"""Electronic mail: compose a message none of whose fields can become a header of its own."""

import base64
import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime
from functools import lru_cache


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
_WORD_BYTES = 45  # 60 characters of base64, with what is around them 72: RFC 2047 allows 75

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
) -> EmailMessage:
    """A message of two alternatives, plain text and HTML, the HTML with its pictures inside (multipart/related).

    Names and the subject may come from data: control characters in them become spaces, so none can start a header.
    ``headers`` are further ones named by our own code. ``language`` is a BCP 47 tag.

    Raises:
        ValueError: an address, the Message-ID or a Content-ID is not of its exact form.
    """
    for address in (sender.address, recipient):
        if not is_address(address):
            raise ValueError("not a mail address")
    if not _MESSAGE_ID.fullmatch(message_id):
        raise ValueError("not a Message-ID")
    message = EmailMessage(POLICY)
    message["From"] = Address(one_line(sender.name), addr_spec=sender.address)
    message["To"] = recipient
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
    return message


def write(
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
) -> bytes:
    """The message :func:`compose` describes, with ``attachments`` beside it, as it goes over the wire.

    Written by hand: the standard library takes fifteen times as long for a mail with two pictures, and a department's
    letters leave by the thousand. Everything but headers is base64, so no line is longer than 76 characters or needs
    more than 7 bits, and a signature (DKIM) that a relay makes of it stays true on its way. The same parts give the
    same bytes. Raises as :func:`compose`.
    """
    for address in (sender.address, recipient, *([reply_to] if reply_to else [])):
        if not is_address(address):
            raise ValueError("not a mail address")
    if not _MESSAGE_ID.fullmatch(message_id):
        raise ValueError("not a Message-ID")
    if not all(_CONTENT_ID.fullmatch(image.content_id) for image in images):
        raise ValueError("not a Content-ID")
    head = [
        ("From", f"{_word(sender.name)} <{sender.address}>"),
        ("To", recipient),
        *([("Reply-To", reply_to)] if reply_to else []),
        ("Subject", _word(one_line(subject)[:SUBJECT_MAX_LENGTH])),
        ("Date", format_datetime(sent_at)),
        ("Message-ID", message_id),
        ("Content-Language", language),
        ("Auto-Submitted", "auto-generated"),  # RFC 3834: keeps holiday responders quiet
        *((name, one_line(value)) for name, value in (headers or {}).items()),
        ("MIME-Version", "1.0"),
    ]
    mark = hashlib.sha256(message_id.encode()).hexdigest()[:24]
    page = [_leaf("text/html; charset=utf-8", _canonical(html))]
    if images:
        pictures = [_picture(image) for image in images]
        page = _many("related", f"=_r{mark}", [page, *([one] for one in pictures)], '; type="text/html"')
    body = _many("alternative", f"=_a{mark}", [[_leaf("text/plain; charset=utf-8", _canonical(text))], page])
    if attachments:
        files = [
            [_leaf(one.media_type, one.content, f'attachment; filename="{_name(one.filename)}"')] for one in attachments
        ]
        body = _many("mixed", f"=_m{mark}", [body, *files])
    return b"".join([*(f"{name}: {value}\r\n".encode("ascii") for name, value in head), *body])


def _word(words: str) -> str:
    """Words in a header, as encoded words of RFC 2047, each of at most 75 characters on a line of its own."""
    pieces, piece = [], b""
    for character in one_line(words):
        encoded = character.encode("utf-8", "replace")
        if len(piece) + len(encoded) > _WORD_BYTES:
            pieces.append(piece)
            piece = b""
        piece += encoded
    pieces.append(piece)
    return "\r\n ".join(f"=?utf-8?B?{base64.b64encode(piece).decode()}?=" for piece in pieces)


def _many(kind: str, boundary: str, parts: Sequence[Sequence[bytes]], further: str = "") -> list[bytes]:
    """Parts within one, in pieces that are joined once at the end: a picture is a quarter of a megabyte."""
    pieces = [f'Content-Type: multipart/{kind}; boundary="{boundary}"{further}\r\n\r\n'.encode("ascii")]
    for part in parts:
        pieces += [f"--{boundary}\r\n".encode("ascii"), *part]
    return [*pieces, f"--{boundary}--\r\n".encode("ascii")]


def _leaf(media_type: str, content: bytes, disposition: str = "", content_id: str = "") -> bytes:
    head = f"Content-Type: {one_line(media_type)}\r\nContent-Transfer-Encoding: base64\r\n"
    if disposition:
        head += f"Content-Disposition: {disposition}\r\n"
    if content_id:
        head += f"Content-ID: <{content_id}>\r\n"
    return head.encode("ascii") + b"\r\n" + _lines(content)


@lru_cache(maxsize=32)
def _picture(image: InlineImage) -> bytes:
    """A picture as a part; the letters of one incident carry the same."""
    return _leaf(image.media_type, image.content, f'inline; filename="{_name(image.filename)}"', image.content_id)


def _canonical(words: str) -> bytes:
    """Text as mail keeps it: lines end in CR LF."""
    return "\r\n".join([*words.splitlines(), ""]).encode()


def _lines(content: bytes) -> bytes:
    encoded = base64.b64encode(content)
    return b"\r\n".join([*(encoded[at : at + 76] for at in range(0, len(encoded), 76)), b""])


def _name(filename: str) -> str:
    """A file's name within quotes: ours are plain, and stay so."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", filename)


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
