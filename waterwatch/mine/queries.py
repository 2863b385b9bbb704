"""What somebody sees of the reports in their account."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class MyReport:
    """One report in an account: what its follow page shows at the top, and what makes its link again."""

    report_id: uuid.UUID
    code: str
    kind: str
    state: str
    received_at: datetime
    follow_digest: bytes


_MINE = text("""
SELECT r.id AS report_id, r.code, r.kind, r.state, r.received_at, r.follow_digest
FROM report_owner o JOIN report r ON r.id = o.report_id
WHERE o.person_id = :person_id ORDER BY r.received_at DESC, r.id
""")
_LOCK_OWNED = text("""
SELECT id FROM report WHERE id IN (SELECT report_id FROM report_owner WHERE person_id = :person_id)
ORDER BY id FOR UPDATE
""")
_OWNED_ALONE = text("""
SELECT report_id FROM report_owner o WHERE person_id = :person_id AND NOT EXISTS (
    SELECT FROM report_owner x WHERE x.report_id = o.report_id AND x.person_id <> o.person_id)
ORDER BY report_id
""")
_OWNS = text("SELECT EXISTS (SELECT FROM report_owner WHERE person_id = :person_id AND report_id = :report_id)")


def my_reports(session: Session, person_id: uuid.UUID) -> list[MyReport]:
    """The reports somebody keeps in their account, newest first."""
    return [MyReport(**row._mapping) for row in session.execute(_MINE, {"person_id": person_id})]


def lock_owned_alone(session: Session, person_id: uuid.UUID) -> list[uuid.UUID]:
    """The reports nobody else keeps; all of somebody's are locked, so that nobody takes or leaves one meanwhile."""
    session.execute(_LOCK_OWNED, {"person_id": person_id})
    return list(session.execute(_OWNED_ALONE, {"person_id": person_id}).scalars())


def has_report(session: Session, person_id: uuid.UUID, report_id: uuid.UUID) -> bool:
    """Whether somebody keeps this report already."""
    return bool(session.execute(_OWNS, {"person_id": person_id, "report_id": report_id}).scalar_one())
