"""Who subscribes to an agency's private feed of alerts."""

import uuid
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.agencies.tables import AgencyContact
from waterwatch.escalation.links import feed_token, is_of, open_feed_token
from waterwatch.kernel.errors import NotFound
from waterwatch.kernel.settings import Settings

_NAME = text("""
SELECT name FROM agency_name WHERE agency_id = :id
ORDER BY array_position(ARRAY['zh-Hans', 'zh-Hant', 'en'], lang) LIMIT 1
""")


@dataclass(frozen=True)
class Subscriber:
    """The contact a feed belongs to."""

    contact_id: uuid.UUID
    agency_id: uuid.UUID
    agency_name: str


def subscriber(session: Session, settings: Settings, token: str) -> Subscriber:
    """Whose feed an address opens. Raises :class:`NotFound` for one that is forged, was made anew, or has ended."""
    contact_id, seconds = open_feed_token(settings, token)
    row = session.get(AgencyContact, contact_id)
    if row is None or not row.active or row.channel != "cap_feed" or not is_of(seconds, row.secret_rotated_at):
        raise NotFound("link_unknown")
    name = session.execute(_NAME, {"id": row.agency_id}).scalar() or ""
    return Subscriber(row.id, row.agency_id, name)


def feed_url(settings: Settings, contact: AgencyContact) -> str:
    """The address of a contact's feed: a key, to be given to its agency alone."""
    return f"{settings.public_url}/feeds/agency/{feed_token(settings, contact.id, contact.secret_rotated_at)}.xml"
