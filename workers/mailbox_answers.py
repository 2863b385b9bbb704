"""What a department sends back in the demonstration, in the forms real systems write it in."""

import smtplib
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime, make_msgid
from types import MappingProxyType
from typing import Final

TIMEOUT_S: Final = 10.0
DOMAIN: Final = "demo.invalid"
ANSWERS: Final[Mapping[str, str]] = MappingProxyType(
    {"answer": "答复 · answer", "away": "自动回复 · automatic reply", "bounce": "退信 · bounce"}
)
_BOUNCE = """From: Mail Delivery System <MAILER-DAEMON@mx.demo.invalid>
To: {to}
Date: {date}
Message-ID: {message_id}
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=demo

--demo
Content-Type: text/plain

<{address}>: 550 5.1.1 User unknown

--demo
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.demo.invalid

Final-Recipient: rfc822; {address}
Action: failed
Status: 5.1.1

--demo--
"""


def send_back(inbox: str, letter: EmailMessage, kind: str, text: str) -> None:
    """Give the demo's inbox (``host:port``) what comes back of a letter. Raises ``OSError`` where it takes nothing."""
    address = str(letter["Delivered-To"] or letter["To"])
    to = str(letter["Reply-To"]).rpartition("<")[2].rstrip(">")
    facts = {
        "to": to,
        "address": address,
        "date": format_datetime(localtime()),
        "message_id": make_msgid(domain=DOMAIN),
    }
    if kind == "bounce":
        sender, written = "", _BOUNCE.format(**facts).replace("\n", "\r\n").encode("ascii", "replace")
    else:
        sender, written = address, _person(letter, kind, text, facts).as_bytes()
    host, _, port = inbox.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=TIMEOUT_S) as talk:
        talk.sendmail(sender, [to], written)


def _person(letter: EmailMessage, kind: str, text: str, facts: Mapping[str, str]) -> EmailMessage:
    """As somebody's mail program writes it, the letter quoted below; or as their holiday responder does."""
    mail, subject = EmailMessage(SMTP), " ".join(str(letter["Subject"]).split())
    mail["From"], mail["To"], mail["Date"], mail["Message-ID"] = (
        facts[name] for name in ("address", "to", "date", "message_id")
    )
    mail["In-Reply-To"] = str(letter["Message-ID"])
    if kind == "away":
        mail["Subject"], mail["Auto-Submitted"] = f"自动回复：{subject}", "auto-replied"
        mail.set_content(text or "我正在外地出差，回来后尽快处理。")
        return mail
    mail["Subject"] = f"回复：{subject}"
    plain = letter.get_body(("plain",))
    head = f"发件人: {letter['From']}\n发送时间: {letter['Date']}\n收件人: {facts['address']}\n主题: {subject}"
    mail.set_content(f"{text or '已派员现场核查。'}\n\n{head}\n\n{plain.get_content() if plain is not None else ''}")
    return mail
