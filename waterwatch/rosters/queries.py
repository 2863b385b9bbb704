"""Who runs the zones and intakes."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ARRAY, Uuid, bindparam, text
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Operator:
    """An agency in office that runs a zone."""

    agency_id: uuid.UUID
    code: str
    name: str


_OPERATORS = text("""
SELECT z.id AS zone_id, a.id AS agency_id, a.code, coalesce(
           (SELECT n.name FROM agency_name n WHERE n.agency_id = a.id AND n.lang IN ('zh-Hans', 'en')
            ORDER BY n.lang DESC LIMIT 1), a.code) AS name
FROM protected_zone z JOIN agency a ON a.id = z.operator_id
WHERE z.id = ANY(:ids) AND a.retired_at IS NULL
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))


def operators_of(session: Session, zone_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Operator]:
    """By zone, who runs it; zones that nobody in office runs are left out."""
    rows = session.execute(_OPERATORS, {"ids": list(zone_ids)})
    return {row.zone_id: Operator(row.agency_id, row.code, row.name) for row in rows}
