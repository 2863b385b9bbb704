"""Reading hostile mail: what kind it is, and what a person wrote in it.

Runs in a confined child (limits of memory and time from the kernel), on the standard library's parser, which never
refuses a mail but may take its time. So what makes it slow or deep is refused or cut before: parts within parts, long
headers, charsets that are no charsets.
"""

import json
import logging
import re
from binascii import a2b_base64, a2b_qp
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from email.message import Message
from email.parser import BytesParser
from email.policy import Compat32
from typing import Final

from flufl.bounce import all_failures

from waterwatch.inbox import pages, rules
from waterwatch.inbox.quoting import cut_quotation

MAX_NESTINGS: Final = 50  # every mail program's own makes five at most
MAX_PARTS: Final = 200
MAX_HEADER: Final = 8_000
MAX_BODY_BYTES: Final = 1024 * 1024
MAX_TEXT: Final = 10_000
MAX_WORDS: Final = 300  # of a subject, a sender
MAX_ATTACHMENTS, MAX_NAME = 40, 80
MAX_TOLD_BYTES: Final = 64 * 1024  # of a bounce's own words; the letter it returns follows
MAX_STATUSES: Final = 50
_NESTING = re.compile(rb"^content-type:[ \t\r\n]*(?:multipart|message)/", re.IGNORECASE | re.MULTILINE)
# What mails say they are written in → what Python calls it. Only these: others would decode to something else.
_GB, _BIG5 = "gb18030", "cp950"
CHARSETS: Final = {
    **dict.fromkeys(
        ("gb2312", "gbk", "gb18030", "x-gbk", "cp936", "ms936", "gb_2312-80", "euc-cn", "gb2312_charset"), _GB
    ),
    **dict.fromkeys(("big5", "x-big5", "cp950", "cn-big5", "big5_tw", "big5-tw"), _BIG5),
    **dict.fromkeys(("big5-hkscs", "big5hkscs"), "big5hkscs"),
    **dict.fromkeys(("utf-8", "utf8", "unicode-1-1-utf-8"), "utf-8"),
    **{name: name for name in ("utf-16", "hz", "iso-8859-1", "iso-8859-15", "windows-1250", "windows-1251")},
    **{name: name for name in ("windows-1252", "iso-2022-jp", "shift_jis", "euc-jp", "euc-kr", "koi8-r")},
    "hz-gb-2312": "hz",
}
_WORD = re.compile(r"=\?([^?\s]{1,40})\?([bBqQ])\?([^?]{0,4000})\?=")
_STATUS_TYPES: Final = ("message/delivery-status", "message/global-delivery-status")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)

logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)  # it quotes what it reads


class UnreadableError(Exception):
    """A mail that is made to be read by nobody. ``code`` says why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


@dataclass(frozen=True)
class Attachment:
    """One attachment as its sender names it: ``position`` among the mail's parts, counted from 0.

    ``is_inline``: shown within the text. Programs send the pictures of the letter back that way.
    """

    position: int
    name: str
    media_type: str
    size_bytes: int
    is_inline: bool

    @property
    def is_picture(self) -> bool:
        """Whether its sender says that it is a picture."""
        return self.media_type.startswith("image/")


@dataclass(frozen=True)
class Contents:
    """What was read of a mail. ``text`` is without what it quotes; everything is the other side's word."""

    kind: str
    status: str | None
    subject: str
    sender: str
    text: str
    attachments: tuple[Attachment, ...]

    def as_json(self) -> bytes:
        """As :func:`from_json` reads it."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()


def from_json(written: bytes) -> Contents:
    """What :meth:`Contents.as_json` wrote."""
    values = json.loads(written)
    attachments = tuple(Attachment(**one) for one in values.pop("attachments"))
    return Contents(**values, attachments=attachments)


class _Cutting(Compat32):
    """Headers are cut before anything looks at them: their parsers are slow on long ones."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:MAX_HEADER]


def read(raw: bytes, *, has_null_sender: bool) -> Contents:
    """What a mail is and says. Raises :class:`UnreadableError`."""
    if len(_NESTING.findall(raw)) > MAX_NESTINGS:
        raise UnreadableError("too_deep")
    try:
        mail: Message = BytesParser(policy=_Cutting()).parsebytes(raw)
        parts = list(_parts(mail))
        body = _text_of(parts)
        statuses = _statuses(mail)
    except RecursionError:
        raise UnreadableError("too_deep") from None
    attachments = _attachments(parts)
    subject, sender = _words(mail, "subject"), _words(mail, "from")
    text = cut_quotation(body)[:MAX_TEXT].strip()
    traits = rules.Traits(
        has_null_sender=has_null_sender,
        sender=_address_in(sender),
        subject=subject.lower(),
        auto_submitted=_words(mail, "auto-submitted").lower(),
        precedence=_words(mail, "precedence").lower(),
        has_auto_header=any(name in mail for name in ("x-autoreply", "x-autorespond", "x-autoresponder")),
        report_type=_report_type(mail),
        statuses=statuses,
        heuristic=_heuristic(raw[:MAX_TOLD_BYTES]),
        has_content=bool(text) or any(not one.is_inline for one in attachments),
    )
    kind = rules.sort(traits)
    status = rules.worst_status(statuses, body[:MAX_TEXT]) if kind in ("bounce", "delayed") else None
    return Contents(kind, status, subject, sender, text, attachments)


def _parts(mail: Message) -> Iterator[Message]:
    """The mail's leaves in their order, not those of mails within it: at most :data:`MAX_PARTS`."""
    waiting, seen = [mail], 0
    while waiting and seen < MAX_PARTS:
        part, seen = waiting.pop(), seen + 1
        payload = part.get_payload()
        if isinstance(payload, list) and part.get_content_maintype() == "multipart":
            waiting.extend(one for one in reversed(payload[:MAX_PARTS]) if isinstance(one, Message))
        else:
            yield part


def _text_of(parts: list[Message]) -> str:
    """The mail's words: the first plain text that says something, else the first page that does."""
    for wanted in ("text/plain", "text/html"):
        for part in parts:
            if part.get_content_type() == wanted and not _is_attached(part):
                words = _decoded(part)
                words = pages.to_text(words) if wanted == "text/html" else words
                if words.strip():
                    return _plain(words)
    return ""


def _is_attached(part: Message) -> bool:
    return _disposition(part).startswith("attachment") or part.get_content_maintype() not in ("text", "multipart")


def _disposition(part: Message) -> str:
    return str(part.get("content-disposition", ""))[:40].strip().lower()


def _attachments(parts: list[Message]) -> tuple[Attachment, ...]:
    found = []
    for position, part in enumerate(parts):
        if not _is_attached(part):
            continue
        payload = part.get_payload()
        size = len(payload) if isinstance(payload, str) else 0
        if str(part.get("content-transfer-encoding", "")).strip().lower() == "base64":
            size = size * 3 // 4
        is_inline = "content-id" in part and not _disposition(part).startswith("attachment")
        found.append(Attachment(position, _name_of(part), _plain(part.get_content_type())[:MAX_NAME], size, is_inline))
        if len(found) == MAX_ATTACHMENTS:
            break
    return tuple(found)


def _name_of(part: Message) -> str:
    try:
        name = part.get_filename("") or ""
    except Exception:  # parameters of RFC 2231 that contradict themselves
        name = ""
    return _one_line(_unwrapped(name)).replace("/", "_").replace("\\", "_")[:MAX_NAME]


def open_part(raw: bytes, position: int) -> bytes:
    """The bytes of one attachment; empty when there is none there. For the confined child."""
    mail: Message = BytesParser(policy=_Cutting()).parsebytes(raw)
    for number, part in enumerate(_parts(mail)):
        if number == position and _is_attached(part):
            found = part.get_payload(decode=True)
            return found if isinstance(found, bytes) else b""
    return b""


def _decoded(part: Message) -> str:
    """A text part's words by the charset it names, or whichever fits."""
    try:
        payload = part.get_payload(decode=True)
    except Exception:
        return ""
    if not isinstance(payload, bytes):
        return ""
    try:
        named = str(part.get_content_charset("") or "")
    except Exception:
        named = ""
    return decode(payload[:MAX_BODY_BYTES], named)


def decode(written: bytes, charset: str) -> str:
    """Bytes in a charset as a mail names it. Of a name that is unknown, or wrong, the next likely one: GB in China."""
    named = CHARSETS.get(charset.strip().lower())
    for codec in dict.fromkeys(filter(None, (named, "utf-8", _GB))):
        try:
            return written.decode(codec)
        except UnicodeDecodeError as error:
            if error.start >= len(written) - 4 and len(written) == MAX_BODY_BYTES:  # cut within a letter
                return written.decode(codec, "ignore")
    return written.decode(named or "utf-8", "replace")


def _words(mail: Message, name: str) -> str:
    """A header as people read it, on one line; empty where there is none."""
    for found, value in mail.raw_items():
        if found.lower() == name:
            return _one_line(_unwrapped(str(value)))[:MAX_WORDS]
    return ""


def _unwrapped(value: str) -> str:
    """A header's value with its encoded words (RFC 2047) opened; bytes that should not be there are guessed."""
    if any("\udc80" <= letter <= "\udcff" for letter in value):
        value = decode(value.encode("utf-8", "surrogateescape"), "")
    found: list[str] = []
    at, held, charset = 0, b"", ""
    for word in _WORD.finditer(value[:MAX_HEADER]):
        between, at = value[at : word.start()], word.end()
        # Programs cut a letter in two between two words: those of one charset are one piece.
        if between.strip() or word[1].lower() != charset:
            found += [decode(held, charset), between if between.strip() or not charset else ""]
            held, charset = b"", word[1].lower()
        held += _opened(word[2], word[3])
    return "".join((*found, decode(held, charset), value[at:]))


def _opened(encoding: str, written: str) -> bytes:
    try:
        if encoding in "qQ":
            return a2b_qp(written.encode("utf-8", "replace"), header=True)
        return a2b_base64(written.encode("utf-8", "replace") + b"==")
    except ValueError:
        return b""


def _plain(words: str) -> str:
    """Without what is not seen or turns the line around; line ends are ``\\n``."""
    return _INVISIBLE.sub("", words.replace("\r\n", "\n").replace("\r", "\n"))


def _one_line(words: str) -> str:
    return " ".join(_plain(words).encode("utf-8", "replace").decode().split())


def _address_in(sender: str) -> str:
    return sender.rpartition("<")[2].partition(">")[0].strip().lower()


def _report_type(mail: Message) -> str:
    if mail.get_content_type() != "multipart/report":
        return ""
    return str(mail.get_param("report-type") or "").lower()


def _statuses(mail: Message) -> tuple[rules.Status, ...]:
    """The recipients of a delivery status notification, where the mail itself is one."""
    payload = mail.get_payload()
    blocks: list[Message] = []
    for part in payload if isinstance(payload, list) else []:
        if isinstance(part, Message) and part.get_content_type() in _STATUS_TYPES:
            inner = part.get_payload()
            blocks += [one for one in inner if isinstance(one, Message)] if isinstance(inner, list) else []
    found = []
    for block in blocks[:MAX_STATUSES]:
        action, code = _words(block, "action").lower(), _words(block, "status").split(" ")[0]
        if action or code:
            found.append(rules.Status(action, code or None))
    return tuple(found)


def _heuristic(beginning: bytes) -> str | None:
    """What flufl.bounce makes of it. It knows the words of systems that keep to no standard; those stand first."""
    try:
        temporary, permanent = all_failures(BytesParser(policy=_Cutting()).parsebytes(beginning))
    except Exception:
        return None
    return "bounce" if permanent else "delayed" if temporary else None


def answer(raw: bytes, *, has_null_sender: bool) -> bytes:
    """What the confined child answers: contents, or the code of why there are none."""
    try:
        return read(raw, has_null_sender=has_null_sender).as_json()
    except UnreadableError as error:
        return json.dumps({"fault": error.code}).encode()
