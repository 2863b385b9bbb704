"""Figures that are shown to the departments and not public yet: whose they are, and who could not be written to."""

import uuid
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.accountability import queries
from waterwatch.accountability.queries import AgencyRow

_SHOWN_TO = text("""
SELECT f.id FROM period_figures f JOIN period_release r ON r.period = f.period
WHERE f.agency_id = :agency_id AND r.state = 'shown' ORDER BY f.period DESC
""")
# Whoever has no mail that went, or may still go: there is no address, it is none, or it was refused.
_UNWRITTEN = text("""
SELECT f.period, a.code AS agency_code,
       coalesce((SELECT jsonb_object_agg(n.lang, n.name) FROM agency_name n WHERE n.agency_id = a.id), '{}'::jsonb)
           AS names,
       EXISTS (SELECT FROM membership m JOIN role ON role.id = m.role_id AND role.name = 'agency_officer'
               WHERE m.agency_code = a.code) AS has_desk
FROM period_release r JOIN period_figures f ON f.period = r.period JOIN agency a ON a.id = f.agency_id
WHERE r.state = 'shown' AND a.retired_at IS NULL AND NOT EXISTS (
    SELECT FROM posting p WHERE p.subject_id = f.id AND p.kind = 'accountability.figures'
      AND p.state IN ('pending', 'sending', 'sent'))
ORDER BY has_desk, f.period DESC, a.code LIMIT :limit
""")


@dataclass(frozen=True)
class Unwritten:
    """A department that no mail told of its figures; ``has_desk``: it has an account that shows them."""

    period: str
    agency_code: str
    names: dict[str, str]
    has_desk: bool


def shown_to(session: Session, agency_id: uuid.UUID) -> list[AgencyRow]:
    """A department's figures that it may comment on now, the latest period first."""
    found = session.execute(_SHOWN_TO, {"agency_id": agency_id}).scalars().all()
    return [queries.shown(session, figures_id) for figures_id in found]


def unwritten(session: Session, *, limit: int = 500) -> list[Unwritten]:
    """Departments whose figures are shown and whom no mail has told, or will; those without an account first."""
    rows = session.execute(_UNWRITTEN, {"limit": limit})
    return [Unwritten(row.period, row.agency_code, row.names, row.has_desk) for row in rows]
