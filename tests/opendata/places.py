"""A river with incidents in an area, for what is given out of them."""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation.rows import WUHAN, add_agency, add_incident, add_report, insert
from waterwatch.advisories.service import refresh
from waterwatch.kernel.audit import Actor

HOSTILE = "<img src=x onerror=alert(1)>"
EXACT = (114.3055129, 30.5928347)
PUBLIC = (114.30123456, 30.59876543)
TOLD = (114.30123, 30.59877)
HUBEI_CODE, WUHAN_CODE = "420000", "420100"


def add_areas(session: Session) -> None:
    """A province with one city in it, both around Wuhan, and an agency of the city."""
    province_id = insert(session, "jurisdiction", code="429999", level="province", geom=WUHAN)
    session.execute(text("UPDATE jurisdiction SET code = :code"), {"code": HUBEI_CODE})
    insert(session, "jurisdiction_name", jurisdiction_id=province_id, lang="zh-Hans", name="湖北省")
    agency_id = add_agency(session, "武汉市水务局", ["shuiwu@wuhan.example"])
    city_id = session.execute(text("SELECT jurisdiction_id FROM agency WHERE id = :id"), {"id": agency_id}).scalar_one()
    session.execute(
        text("UPDATE jurisdiction SET code = :code, parent_id = :above WHERE id = :id"),
        {"code": WUHAN_CODE, "above": province_id, "id": city_id},
    )
    insert(session, "jurisdiction_name", jurisdiction_id=city_id, lang="zh-Hans", name="武汉市")


def add_problem(
    session: Session, *, now: datetime, severity: int = 3, water: str = "长江", on: str | None = None
) -> tuple[str, str]:
    """An open incident with a report; its code and its water's address. ``on``: the address of an earlier one's."""
    incident_id = add_incident(session, now=now, severity=severity, water=water, at=EXACT)
    point = f"ST_SetSRID(ST_MakePoint({PUBLIC[0]}, {PUBLIC[1]}), 4326)"
    session.execute(text(f"UPDATE incident SET public_point = {point} WHERE id = :id"), {"id": incident_id})
    if on is not None:
        session.execute(
            text("UPDATE incident SET water_feature_id = (SELECT f.id FROM water_feature f JOIN water_body b"
                 " ON b.id = f.water_body_id WHERE b.public_id = :on) WHERE id = :id"),
            {"on": on, "id": incident_id},
        )  # fmt: skip
    add_report(session, incident_id, now=now - timedelta(hours=3), note="王小明家门口")
    row = session.execute(
        text("SELECT i.code, b.public_id, f.id FROM incident i JOIN water_feature f ON f.id = i.water_feature_id"
             " JOIN water_body b ON b.id = f.water_body_id WHERE i.id = :id"),
        {"id": incident_id},
    ).one()  # fmt: skip
    refresh(session, row.id, actor=Actor.system("test"), now=now)
    return row.code, row.public_id


def add_case(
    session: Session, code: str, *, now: datetime, state: str = "delivered", hours: float | None = None
) -> uuid.UUID:
    """A case of an incident with the only agency, acknowledged after so many hours."""
    row = session.execute(
        text("SELECT i.id, a.id AS agency_id FROM incident i, agency a WHERE i.code = :code"), {"code": code}
    ).one()
    acknowledged_at = None if hours is None else now + timedelta(hours=hours)
    return insert(
        session, "escalation_case", incident_id=row.id, agency_id=row.agency_id, state=state, state_since=now,
        severity=3, created_at=now, delivered_at=now, acknowledged_at=acknowledged_at,
        state_deadline_at=now + timedelta(hours=1) if state == "delivered" else None,
    )  # fmt: skip
