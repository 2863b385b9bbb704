"""Untrusted fields → an address that wants to watch a water, or every fault by field name."""

import unicodedata
from collections.abc import Mapping

from waterwatch.kernel.errors import Invalid
from waterwatch.messaging.email import is_address

EMAIL_MAX_CHARACTERS = 254  # RFC 5321


def parse_address(fields: Mapping[str, str]) -> str:
    """The mail address of the form. Raises :class:`Invalid` ``contact_missing``, ``contact_email_malformed``."""
    typed = unicodedata.normalize("NFKC", fields.get("email", "")[: EMAIL_MAX_CHARACTERS * 2]).strip()
    if not typed:
        raise Invalid({"email": ["contact_missing"]})
    if not is_address(typed):
        raise Invalid({"email": ["contact_email_malformed"]})
    return typed
