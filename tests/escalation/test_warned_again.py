"""What one who was warned is told further: what is graver at once, what is new within the hour, nothing in vain."""

import uuid

from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation.rows import add_agency
from tests.escalation.test_warnings import (
    HOUR,
    LOWER,
    NOW,
    Follow,
    follow,
    grade,
    incident_id,
    letters,
    moderator,
    river,
    sent,
)

__all__ = ["follow", "incident_id", "moderator", "river"]  # fixtures


def said(session: Session, address: str = "a@example.org") -> list[tuple[int, int | None, str]]:
    return [(level, before, state) for to, _says, level, before, state in letters(session) if to == address]


def fail(session: Session) -> None:
    session.execute(text("UPDATE delivery SET state = 'refused', attempts = 1 WHERE state = 'pending'"))
    session.expire_all()


def test_an_update_that_failed_is_not_written_anew_at_each_reckoning_unless_it_is_asked_for(
    session: Session, incident_id: uuid.UUID, follow: Follow
) -> None:
    agency_id = add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    follow(incident_id)
    sent(session)
    grade(session, incident_id, 4)
    follow(incident_id, NOW + HOUR)
    fail(session)
    for nth in range(2, 5):
        follow(incident_id, NOW + nth * HOUR)
    assert said(session) == [(2, None, "sent"), (3, 2, "refused")]
    follow(incident_id, NOW + 5 * HOUR, again_for=frozenset({agency_id}))
    assert said(session)[2:] == [(3, 2, "pending")]
