"""Rows the tests of escalation stand on: a river through Wuhan, two areas, agencies, an incident with its photo."""

import io
import os
import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image
from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.kernel.ids import new_code, new_id
from waterwatch.kernel.objects import ObjectStore

IN_WUHAN = (114.3055, 30.5928)
IN_NOWHERE = (90.0, 40.0)
WUHAN = "MULTIPOLYGON(((113.7 29.9, 115.1 29.9, 115.1 31.4, 113.7 31.4, 113.7 29.9)))"
HUBEI = "MULTIPOLYGON(((108 29, 116.2 29, 116.2 33.3, 108 33.3, 108 29)))"


def insert(session: Session, table: str, **values: Any) -> uuid.UUID:
    """Insert one row; ``geom`` and ``*_point`` values are WKT. Gives its id."""
    if table not in ("jurisdiction_name", "agency_name", "incident_report", "report_photo"):
        values.setdefault("id", new_id())
    places = ", ".join(_placeholder(column) for column in values)
    session.execute(text(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})"), values)
    return values.get("id", uuid.UUID(int=0))  # type: ignore[no-any-return]


def _placeholder(column: str) -> str:
    if column == "geom":
        return f"ST_GeomFromText(:{column}, 4326)"
    is_point = column == "point" or column.endswith("_point")
    return f"ST_GeomFromText(:{column}, 4326)" if is_point else f":{column}"


def add_agency(
    session: Session,
    name: str,
    addresses: Sequence[str],
    *,
    area: str = WUHAN,
    level: str = "prefecture",
    kind: str = "ecology_environment",
    observation_kind: str | None = None,
    min_severity: int = 1,
) -> uuid.UUID:
    """An agency competent in ``area``, with its names in two languages."""
    code = str(session.execute(text("SELECT 420000 + count(*) FROM jurisdiction")).scalar_one())
    jurisdiction_id = insert(session, "jurisdiction", code=code, level=level, geom=area)
    agency_id = insert(
        session, "agency", code=f"agency-{code}", kind=kind, level=level, jurisdiction_id=jurisdiction_id
    )
    insert(session, "agency_name", agency_id=agency_id, lang="zh-Hans", name=name)
    insert(session, "agency_name", agency_id=agency_id, lang="en", name=f"{name} (en)")
    insert(session, "competence", agency_id=agency_id, observation_kind=observation_kind, min_severity=min_severity)
    for position, address in enumerate(addresses):
        insert(session, "agency_contact", agency_id=agency_id, channel="email", address=address, position=position)
    return agency_id


def add_incident(
    session: Session,
    *,
    now: datetime,
    severity: int = 3,
    kind: str = "sewage_outfall",
    at: tuple[float, float] = IN_WUHAN,
    water: str = "长江",
) -> uuid.UUID:
    """An open incident on a river through its place; no report, no photo."""
    point = f"POINT({at[0]} {at[1]})"
    source_id = insert(session, "source", code=f"source-{new_id()}", title="tests", licence="CC0")
    facts = {"source_id": source_id, "source_key": str(new_id())}
    body_id = insert(session, "water_body", public_id=f"w-{new_id()}", kind="river", rank=1, **facts)
    insert(session, "water_name", water_body_id=body_id, lang="zh-Hans", name=water, is_primary=True)
    line = f"LINESTRING({at[0] - 0.1} {at[1] - 0.1}, {at[0] + 0.1} {at[1] + 0.1})"
    feature_id = insert(session, "water_feature", kind="reach", water_body_id=body_id, geom=line, **facts)
    return insert(
        session,
        "incident",
        code=new_code(),
        organisation_id=_organisation(session, now),
        state="open",
        state_since=now,
        kind=kind,
        severity=severity,
        graded_severity=severity,
        water_feature_id=feature_id,
        exact_point=point,
        public_point=point,
        opened_at=now,
        last_confirmed_at=now,
    )


def add_report(
    session: Session, incident_id: uuid.UUID, *, now: datetime, note: str | None = None, **facts: Any
) -> uuid.UUID:
    """An accepted report that evidences an incident."""
    report_id = insert(
        session,
        "report",
        code=new_code(),
        follow_digest=new_id().bytes * 2,
        submission_digest=os.urandom(32),
        organisation_id=_organisation(session, now),
        state="accepted",
        state_since=now,
        kind="sewage_outfall",
        language="zh-Hans",
        received_at=now,
        point=f"POINT({IN_WUHAN[0]} {IN_WUHAN[1]})",
        place_source="pin",
        input_datum="wgs84",
        note=note,
        **facts,
    )
    insert(session, "incident_report", report_id=report_id, incident_id=incident_id, joined_at=now)
    return report_id


def add_photo(
    session: Session, report_id: uuid.UUID, objects: ObjectStore, folder: Path, *, now: datetime, size_px: int = 1024
) -> bytes:
    """A ready photo of a report with its derivative in the store; gives the derivative's bytes."""
    drawn = io.BytesIO()
    Image.new("RGB", (size_px, size_px * 3 // 4), "#6a7f53").save(drawn, "JPEG")
    path = folder / "derivative.jpg"
    path.write_bytes(drawn.getvalue())
    photo_id = insert(
        session,
        "photo",
        state="ready",
        state_since=now,
        sha256=bytes(32),
        original_bytes=1,
        received_at=now,
        original_delete_after=now,
    )
    key = f"public/{photo_id}/1024.jpg"
    objects.put_file(key, path)
    insert(
        session,
        "photo_derivative",
        photo_id=photo_id,
        size_px=1024,
        key=key,
        bytes=len(drawn.getvalue()),
        width=size_px,
        height=size_px * 3 // 4,
        sha256=bytes(32),
    )
    insert(session, "report_photo", report_id=report_id, photo_id=photo_id, position=0)
    return drawn.getvalue()


def _organisation(session: Session, now: datetime) -> uuid.UUID:
    found = session.execute(text("SELECT id FROM organisation LIMIT 1")).scalar_one_or_none()
    return found or insert(session, "organisation", code="tests", title="tests", created_at=now)
