"""One attempt to hand a message over: what came of it, and how long to wait before the next.

Whoever keeps messages (cases' deliveries, the postbox) counts its own attempts; what an attempt says is the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final

from waterwatch.kernel.settings import Settings
from waterwatch.messaging import smtp

# After the other side said "later": greylisting asks for minutes (RFC 6647), a full mailbox for an hour.
DEFERRAL_PAUSES_S: Final = (60.0, 300.0, 900.0, 3600.0)


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed, as a stable ``code``. ``is_deferred``: the other side said "later", or was not to be had;
    ``is_permanent``: it said "never"; neither: the fault is on our side (our own mail server, a picture that is not
    there yet) and says nothing of whom it was for. ``retry_after_s``: when the other side asks to be tried again."""

    code: str
    is_deferred: bool = False
    is_permanent: bool = False
    retry_after_s: float | None = None


def send_mail(mail: EmailMessage, recipient: str, *, settings: Settings) -> Failure | None:
    """Give one mail to the mail server for one address; None when it was taken over. No transaction is open."""
    try:
        smtp.send(
            settings.smtp_url,
            mail,
            envelope_from=settings.mail_from,
            recipients=[recipient],
            timeout_s=settings.smtp_timeout_s,
        )
    except smtp.Refused as refusal:
        return Failure(refusal.code, is_deferred=not refusal.permanent, is_permanent=refusal.permanent)
    except smtp.SendError as error:
        return Failure(error.code)
    return None


def pause_s(pauses: Sequence[float], count: int) -> float:
    """Seconds to wait after the ``count``-th (≥ 1) failure of a kind; the last pause is repeated."""
    return pauses[min(count, len(pauses)) - 1]
