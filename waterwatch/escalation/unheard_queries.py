"""Cases that reached nobody, and whether one still can, each SELECT named for its answer."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

_NAME_ORDER = (
    "ORDER BY n.lang = :language DESC, array_position(ARRAY['zh-Hans', 'zh-Hant', 'en', 'pinyin'], n.lang) LIMIT 1"
)


def is_hopeless(session: Session, case_id: uuid.UUID) -> bool:
    """Whether no letter of the case arrived or still can. Those of rounds before it was reopened, and those whose
    address was told meanwhile that it is withdrawn, told of something else."""
    return not session.execute(_IS_ALIVE, {"id": case_id}).scalar_one()


_ALIVE = """EXISTS (
    SELECT FROM delivery d WHERE d.case_id = c.id AND d.state IN ('pending', 'sending', 'sent', 'awaiting')
      AND d.says NOT IN ('withdrawn', 'warning_over')
      AND d.created_at >= coalesce((SELECT max(r.reopened_at) FROM case_round r WHERE r.case_id = c.id), '-infinity')
      AND NOT EXISTS (
          SELECT FROM delivery w WHERE w.case_id = c.id AND w.channel = d.channel AND w.address = d.address
            AND w.number > d.number AND w.says IN ('withdrawn', 'warning_over') AND w.state <> 'cancelled'))"""
_IS_ALIVE = text(f"SELECT EXISTS (SELECT FROM escalation_case c WHERE c.id = :id AND {_ALIVE})")  # noqa: S608  # a constant
# Cases ``c`` that reached nobody, and of which nothing is under way: those that were only rehearsed among them.
_IDLE = f"(c.state IN ('no_contact', 'dead') OR c.state = 'queued' AND NOT {_ALIVE})"


@dataclass(frozen=True)
class OpenNoContact:
    """A case nobody could be told of: ``state`` is ``no_contact``, ``dead``, every letter having failed, or ``queued``,
    they having been rehearsed.

    ``agency_name`` is None when nobody is competent.
    """

    case_id: uuid.UUID
    incident_id: uuid.UUID
    code: str
    kind: str
    agency_id: uuid.UUID | None
    agency_name: str | None
    severity: int
    since: datetime
    state: str
    role: str = "competent"


_UNHEARD = text(f"""
SELECT DISTINCT c.incident_id FROM escalation_case c JOIN incident i ON i.id = c.incident_id
WHERE i.closed_at IS NULL AND c.incident_id > :after AND CASE
    WHEN CAST(:agency_id AS uuid) IS NULL THEN {_IDLE}
    WHEN c.agency_id IS NULL THEN c.state = 'no_contact'
    ELSE c.agency_id = :agency_id AND c.state IN ('no_contact', 'dead', 'queued') END
ORDER BY c.incident_id LIMIT :limit
""")  # noqa: S608  # the pieces are constants of this module


def unheard_incidents(
    session: Session, agency_id: uuid.UUID | None, *, after: uuid.UUID, limit: int
) -> list[uuid.UUID]:
    """Open incidents, by id, with a case that reached nobody: this agency's, one under way included, or none's."""
    values = {"agency_id": agency_id, "after": after, "limit": limit}
    return list(session.execute(_UNHEARD, values).scalars())


_NO_CONTACT = text(f"""
SELECT c.id AS case_id, c.incident_id, i.code, i.kind, c.agency_id, c.severity, c.state_since AS since, c.state, c.role,
       (SELECT n.name FROM agency_name n WHERE n.agency_id = c.agency_id {_NAME_ORDER}) AS agency_name
FROM escalation_case c JOIN incident i ON i.id = c.incident_id
WHERE {_IDLE} AND i.closed_at IS NULL ORDER BY c.severity DESC, c.created_at LIMIT :limit
""")  # noqa: S608  # the pieces are constants of this module


def open_no_contact(session: Session, *, language: str = "zh-Hans", limit: int = 200) -> list[OpenNoContact]:
    """Open incidents' cases that reached nobody, for whatever reason: gravest first, then oldest."""
    rows = session.execute(_NO_CONTACT, {"language": language, "limit": limit})
    return [OpenNoContact(**row._mapping) for row in rows]
