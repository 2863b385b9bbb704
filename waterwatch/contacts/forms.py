"""Untrusted fields → a contact, none at all, or every fault at once. Errors are stable codes by field name."""

import base64
import re
import unicodedata
from collections.abc import Mapping

from waterwatch.contacts.rules import Contact
from waterwatch.kernel.errors import Invalid
from waterwatch.messaging.email import is_address
from waterwatch.messaging.webpush import Pusher, Subscription

FIELDS = ("contact_email", "contact_phone", "contact_by_mail", "contact_may_ask")
POINT_BYTES, AUTH_BYTES = 65, 16  # RFC 8291: an uncompressed point of P-256, a secret
EMAIL_MAX_CHARACTERS = 254  # RFC 5321
_PHONE = re.compile(r"\+?[0-9](?:[0-9 -]{3,22})[0-9]", re.ASCII)
_YES = frozenset({"yes", "on", "1", "true"})


def parse_contact(fields: Mapping[str, str]) -> Contact:
    """The contact a form gives that asks for nothing else. Raises :class:`Invalid`, ``contact_missing`` for none."""
    contact, errors = read_contact(fields)
    if contact is None:
        raise Invalid(errors or {"contact_email": ["contact_missing"]})
    return contact


def read_contact(fields: Mapping[str, str]) -> tuple[Contact | None, dict[str, list[str]]]:
    """The contact within a larger form, None where both its fields are empty; and its faults, for the form to add.

    A contact that may be used for nothing is a fault: we do not keep what nobody may use.
    """
    email, phone = (_plain(fields.get(name, "")) for name in ("contact_email", "contact_phone"))
    if not email and not phone:
        return None, {}
    errors: dict[str, list[str]] = {}
    if email and not is_address(email):
        errors["contact_email"] = ["contact_email_malformed"]
    if phone and _PHONE.fullmatch(phone) is None:
        errors["contact_phone"] = ["contact_phone_malformed"]
    by_mail = bool(email) and _is_yes(fields, "contact_by_mail")
    may_ask = _is_yes(fields, "contact_may_ask")
    if not by_mail and not may_ask:
        errors["contact_may_ask"] = ["contact_use_missing"]
    return (None if errors else Contact(email or None, phone or None, by_mail, may_ask)), errors


def parse_subscription(fields: Mapping[str, str], *, vapid: str, pusher: Pusher) -> Subscription:
    """A browser's push subscription made for our key ``vapid``. Raises :class:`Invalid` ``push_malformed``.

    Only addresses of listed services are taken: we shall send something there.
    """
    endpoint, p256dh, auth = (fields.get(name, "").strip() for name in ("endpoint", "p256dh", "auth"))
    found = Subscription(endpoint, p256dh, auth, vapid)
    is_whole = _is_key(found.p256dh, POINT_BYTES) and _is_key(found.auth, AUTH_BYTES)
    if not is_whole or not pusher.is_ours_to_ask(found.endpoint):
        raise Invalid({"push": ["push_malformed"]})
    return found


def _is_key(text: str, length: int) -> bool:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return False
    return len(raw) == length


def _plain(value: str) -> str:
    """As typed on any keyboard: full-width letters and digits are the plain ones."""
    return unicodedata.normalize("NFKC", value[: EMAIL_MAX_CHARACTERS * 2]).strip()


def _is_yes(fields: Mapping[str, str], name: str) -> bool:
    return fields.get(name, "").strip().lower() in _YES
