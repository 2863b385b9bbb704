"""Pure: what a contact is, and for what the lead moderator may ask to see one."""

from dataclasses import dataclass

# Why a contact is looked at. The first needs its owner's word that questions are welcome; the others do not, because
# somebody may be in danger, or a court may demand it.
SHOW_REASONS = ("ask_author", "people_in_danger", "legal_demand")
NEEDS_CONSENT = frozenset({"ask_author"})


@dataclass(frozen=True)
class Contact:
    """A mail address, a telephone number or both; ``by_mail``: notices by mail; ``may_ask``: questions are welcome."""

    email: str | None
    phone: str | None
    by_mail: bool
    may_ask: bool


def may_show(reason: str, *, may_ask: bool) -> bool:
    """Whether the reason suffices to show the contact."""
    return reason in SHOW_REASONS and (may_ask or reason not in NEEDS_CONSENT)
