"""A letter as the engine hands it to a channel."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from waterwatch.escalation.channels import Contact, Letter, Pictures
from waterwatch.escalation.queries import CaseFacts
from waterwatch.messaging.webhook import make_secret

AT = datetime(2026, 5, 20, 2, 30, tzinfo=UTC)
DELIVERY_ID = uuid.UUID("01900000-0000-7000-8000-000000000001")
# The exact place is a kilometre off the public one: what names it where it must not is seen at once.
FACTS = CaseFacts(
    case_id=uuid.UUID(int=7),
    incident_id=uuid.UUID(int=8),
    agency_id=uuid.UUID(int=9),
    agency_name="武汉市生态环境局",
    state="queued",
    severity=3,
    created_at=AT,
    delivered_at=None,
    acknowledged_at=None,
    state_deadline_at=None,
    code="7KMQ-2T9X",
    kind="sewage_outfall",
    lon=114.3055,
    lat=30.5928,
    public_lon=114.31111,
    public_lat=30.58888,
    water_name="长江",
    seen_at=AT - timedelta(hours=2),
    reports=2,
    extent="under_100_m",
    is_ongoing=True,
    has_dead_animals=None,
    affects_people=False,
    photo_key="public/x/1024.jpg",
    is_photo_pending=False,
)
ANSWER_URL = "https://waters.example.org/a/AZAAAAAAcACAAAAAAAAAAQAAAABqNzhkQ0FUU0VDUkVUS0VZT0ZUSEVDQVNF"


def contact(channel: str, address: str, settings: Any = None, **changes: Any) -> Contact:
    """A contact of the agency."""
    return Contact(uuid.UUID(int=5), channel, address, settings, **changes)


def webhook_contact(url: str, secret: str | None = None, **changes: Any) -> Contact:
    """A contact that is posted to, with its secret."""
    return contact("webhook", url, secret=(secret or make_secret()).encode(), **changes)


def letter(to: Contact, *, facts: CaseFacts | None = None, **changes: Any) -> Letter:
    """The first letter of a case."""
    made = Letter(
        delivery_id=DELIVERY_ID,
        case_id=FACTS.case_id,
        says="case",
        facts=facts or FACTS,
        pictures=Pictures(None, None),
        contact=to,
        message_id=f"<{DELIVERY_ID}@waters.example.org>",
        attempt=1,
        claimed_at=AT,
        queued_at=AT,
        reply_by=AT + timedelta(hours=24),
        answer_url=ANSWER_URL,
        photo_url=f"{ANSWER_URL}/photo.jpg",
        map_url=f"{ANSWER_URL}/map.png",
        incident_url="https://waters.example.org/i/7KMQ-2T9X",
    )
    return replace(made, **changes)
