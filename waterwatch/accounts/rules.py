"""Pure decisions about accounts: who needs a second factor, who the demonstration's people are."""

from dataclasses import dataclass

STAFF_ROLES = frozenset({"moderator", "lead_moderator", "agency_officer", "admin"})
OFFICER = "agency_officer"
MIN_PASSWORD_LENGTH = 12
TOTP_ISSUER = "WaterWatch"


@dataclass(frozen=True)
class DemoAccount:
    """Somebody the demonstration lets you be."""

    email: str
    role: str
    agency_code: str | None = None


DEMO_PASSWORD = "clear-water-2026"  # noqa: S105  # printed on the screen; production refuses to load these people
DEMO_ACCOUNTS = (
    DemoAccount("moderator@demo.example", "moderator"),
    DemoAccount("second@demo.example", "moderator"),
    DemoAccount("lead@demo.example", "lead_moderator"),
    DemoAccount("officer@demo.example", "agency_officer", "wuchang-water"),
    DemoAccount("admin@demo.example", "admin"),
)


def needs_second_factor(roles: frozenset[str] | set[str]) -> bool:
    """Whoever may act for the organisation or an agency needs one."""
    return bool(STAFF_ROLES & roles)
