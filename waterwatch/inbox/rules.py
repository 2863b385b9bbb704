"""Decisions of the inbox: whose address a mail came to, whether it came before, what kind of mail it is. No I/O."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from waterwatch.kernel.states import Machine

SORTED_WITHIN = timedelta(minutes=10)  # then the sweep orders it again
MAIL = replace(
    Machine("incoming_mail", "received", frozenset({("received", "sorted"), ("received", "unreadable")})),
    deadlines={"received": SORTED_WITHIN},
)

# name+token@domain: the token as kernel.signing.delivery_token makes it, in whatever letters a server writes it.
_ADDRESS = re.compile(r"(?P<name>[A-Za-z]{1,12})\+(?P<token>[A-Za-z2-7]{40,50})@(?P<domain>[A-Za-z0-9.-]{1,253})")
HEAD_BYTES = 64 * 1024  # how far the Message-ID is looked for
_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(?:\r?\n[ \t]+)?([^\r\n]{1,900})", re.IGNORECASE | re.MULTILINE)
_NAMED = re.compile(rb"^(?:from|date|subject):[^\r\n]{0,900}", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Addressed:
    """The parts of one of our addresses; whether the token is ours is not known yet."""

    purpose: str
    token: str


def read_address(address: str, domain: str) -> Addressed | None:
    """What an envelope's recipient names, if it is an address of the form we give out under ``domain``."""
    found = _ADDRESS.fullmatch(address)
    if found is None or not domain or found["domain"].lower().rstrip(".") != domain.lower():
        return None
    return Addressed(found["name"].lower(), found["token"])


def fingerprint(raw: bytes) -> bytes:
    """32 bytes that are the same for one mail on whatever way it came.

    What relays put on top (Received, Return-Path) does not count: the Message-ID and the body do; where there is no
    Message-ID, From, Date and Subject instead of it.
    """
    normal = raw.replace(b"\r\n", b"\n")
    head, _, body = normal.partition(b"\n\n")
    head = head[:HEAD_BYTES]
    found = _MESSAGE_ID.search(head)
    name = found[1].strip() if found else b"\n".join(sorted(_NAMED.findall(head)))
    return hashlib.sha256(hashlib.sha256(name).digest() + hashlib.sha256(body.rstrip(b"\n")).digest()).digest()


@dataclass(frozen=True)
class Status:
    """One recipient of a delivery status notification (RFC 3464): what was done, and its enhanced status code."""

    action: str
    code: str | None


@dataclass(frozen=True)
class Traits:
    """What tells the kinds of mail apart; everything is as the other side wrote it, lower case.

    ``report_type`` is that of a multipart/report, ``statuses`` its recipients. ``heuristic`` is what flufl.bounce makes
    of a mail that is no such report: ``bounce``, ``delayed`` or None.
    """

    has_null_sender: bool
    sender: str = ""
    subject: str = ""
    auto_submitted: str = ""
    precedence: str = ""
    has_auto_header: bool = False
    report_type: str = ""
    statuses: Sequence[Status] = field(default=())
    heuristic: str | None = None
    has_content: bool = False


_DAEMON = re.compile(r"(?:mailer-?daemon|mail-?daemon|postmaster|mailerdaemon|mdaemon)(?:@|$)")
_BOUNCE_SUBJECT = re.compile(
    r"退信|退回|退件|投递失败|投遞失敗|发送失败|發送失敗|无法投递|無法投遞|无法送达|未送达|未能送达|無法傳遞|无法传递"
    r"|undeliver|returned mail|returned to sender|failure notice"
    r"|delivery (?:status notification \()?fail|delivery failure"
    r"|mail delivery failed|mail system error|could not be delivered|non remis"
)
_DELAY_SUBJECT = re.compile(
    r"延迟|延遲|延误|暂时(?:无法|未能)|delay|still being retried|warning: (?:message|could not)"
)
# The beginning of a subject that a machine writes, also where it answers under "Re:". "Received" alone is a machine's
# word unless it goes on with what was found or done.
_AUTO_SUBJECT = re.compile(
    r"^(?:(?:re|aw|回复|回覆|答复|答覆)\s*[:：]\s*)*[\s\[【（(]*(?:自动回复|自動回覆|自動回復|自动答复|自動答覆|系统自动|外出自动|外出(?:中|回复|通知)|不在办公室|休假(?:中|通知)"
    r"|出差(?:中|通知)|automatic reply|auto[- ]?reply|autoreply|auto:|out of (?:the )?office|away from|vacation"
    r"|(?:(?:您|你)的)?(?:来信|來信|邮件|郵件|信件)(?:我们|我們)?(?:已经|已經|已)?(?:收到|收悉)(?!.*{findings})"
    r"|(?:我们|我們)?(?:已经|已經|已)?收到了?(?:您|你)的(?:来信|來信|邮件|郵件|信件)(?!.*{findings})"
    r"|(?:we have )?received your (?:e-?mail|message)|your (?:e-?mail|message) (?:has been|was) received)".replace(
        "{findings}", r"(?:如下|情况|情況|结果|結果|完毕|完畢|已处理|已處理|已核查|已整改)"
    )
)


def sort(traits: Traits) -> str:
    """The kind of a mail: ``bounce``, ``delayed``, ``auto_reply``, ``answer`` or ``unknown``.

    Only what a mail system sent can end a delivery: a report of its own form (RFC 3464), or one that came from nobody
    (the null return path of RFC 5321) or a system's address and reads like one. A person who forwards a bounce answers.
    """
    is_report = traits.report_type == "delivery-status" or traits.has_null_sender
    if is_report and (told := _by_status(traits.statuses)) is not None:
        return told
    if traits.report_type == "disposition-notification":
        return "auto_reply"
    is_system = traits.has_null_sender or _DAEMON.match(traits.sender) is not None
    if is_system and (told := _by_words(traits)) is not None:
        return told
    if is_automatic(traits):
        return "auto_reply"
    return "answer" if traits.has_content else "unknown"


def is_automatic(traits: Traits) -> bool:
    """Whether no person wrote this: RFC 3834, what systems used before it, and how Chinese ones write the subject."""
    return (
        traits.has_null_sender
        or (traits.auto_submitted != "" and not traits.auto_submitted.startswith("no"))
        or traits.has_auto_header
        or traits.precedence in ("auto_reply", "auto-reply", "junk", "bulk")
        or _AUTO_SUBJECT.match(traits.subject) is not None
    )


def _by_status(statuses: Sequence[Status]) -> str | None:
    """What a report says of all its recipients: the worst counts."""
    told = {_of_one(status) for status in statuses}
    for kind in ("bounce", "delayed", "auto_reply"):
        if kind in told:
            return kind
    return None


def _of_one(status: Status) -> str | None:
    if status.action.startswith(("fail", "error")):
        return "bounce"
    if status.action.startswith("delay"):
        return "delayed"
    if status.action.startswith(("deliver", "relay", "expand")):
        return "auto_reply"
    return {"5": "bounce", "4": "delayed", "2": "auto_reply"}.get((status.code or "")[:1])


def _by_words(traits: Traits) -> str | None:
    is_reply = traits.auto_submitted.startswith("auto-replied") and not _BOUNCE_SUBJECT.search(traits.subject)
    if is_reply or _AUTO_SUBJECT.match(traits.subject):
        return None  # a holiday responder that rightly uses the null return path
    if _DELAY_SUBJECT.search(traits.subject):
        return "delayed"
    if traits.heuristic is not None:
        return traits.heuristic
    return "bounce" if _BOUNCE_SUBJECT.search(traits.subject) else None


_ENHANCED = re.compile(r"(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?![\d.])", re.ASCII)


def worst_status(statuses: Sequence[Status], said: str) -> str | None:
    """The enhanced status code that decided: of a failed recipient, else the first one its words name."""
    codes = [status.code for status in statuses if status.code and _ENHANCED.fullmatch(status.code)]
    failed = [s.code for s in statuses if s.code and _ENHANCED.fullmatch(s.code) and s.action.startswith("fail")]
    named = _ENHANCED.search(said)
    return next(iter(failed or codes), named[1] if named else None)
