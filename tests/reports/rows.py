"""Rows the tests of reports stand on: rivers, and photos as the sanitiser leaves them."""

import hashlib
import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.kernel.ids import new_id
from waterwatch.photos.rules import quarantine_key
from waterwatch.reports.intake import ReceivedPhoto, SubmitReport

LON, LAT = 114.3055, 30.5928


def add_river(session: Session, name: str, *, lat: float = LAT) -> uuid.UUID:
    """A river flowing due east along a parallel through the test place; returns its reach."""
    source_id, body_id, feature_id = new_id(), new_id(), new_id()
    facts: dict[str, Any] = {"source": source_id, "body": body_id, "feature": feature_id, "name": name}
    facts |= {"key": str(body_id), "code": f"s-{source_id}", "public_id": f"w-{body_id}", "name_id": new_id()}
    # Vertices a kilometre apart: along longer ones a parallel and a great circle differ by metres.
    facts["line"] = "LINESTRING(" + ", ".join(f"{LON + step / 100} {lat}" for step in range(-20, 21)) + ")"
    for statement in (
        "INSERT INTO source (id, code, title, licence) VALUES (:source, :code, 'tests', 'CC0')",
        """INSERT INTO water_body (id, public_id, kind, rank, source_id, source_key)
           VALUES (:body, :public_id, 'river', 1, :source, :key)""",
        """INSERT INTO water_name (id, water_body_id, lang, name, is_primary)
           VALUES (:name_id, :body, 'zh-Hans', :name, true)""",
        """INSERT INTO water_feature (id, kind, water_body_id, geom, source_id, source_key)
           VALUES (:feature, 'reach', :body, ST_GeomFromText(:line, 4326), :source, :key)""",
    ):
        session.execute(text(statement), facts)
    return feature_id


def submission(*, now: datetime, photos: int = 1, **changes: Any) -> SubmitReport:
    """What a citizen states, with ``photos`` photos that lie nowhere; their bytes are the same each time."""
    received = []
    for number in range(photos):
        photo_id = new_id()
        digest = hashlib.sha256(str(number).encode()).digest()
        received.append(ReceivedPhoto(photo_id, quarantine_key(photo_id), 4_000_000, digest))
    facts: dict[str, Any] = {
        "idempotency_key": uuid.uuid4(),
        "kind": "sewage_outfall",
        "lon": LON,
        "lat": LAT,
        "place_source": "pin",
        "input_datum": "wgs84",
        "language": "zh-Hans",
        "photos": tuple(received),
    }
    return SubmitReport(**(facts | changes))


def set_photo(session: Session, photo_id: uuid.UUID, state: str) -> None:
    """Leave a photo as the sanitiser would."""
    code = "unreadable" if state == "refused" else None
    session.execute(
        text("UPDATE photo SET state = :state, refusal_code = :code WHERE id = :id"),
        {"id": photo_id, "state": state, "code": code},
    )


def row_of(session: Session, report_id: uuid.UUID) -> dict[str, Any]:
    """The report's whole row."""
    return dict(session.execute(text("SELECT * FROM report WHERE id = :id"), {"id": report_id}).mappings().one())


def acts_on(session: Session, report_id: uuid.UUID) -> list[str]:
    """What the audit says was done to a report, in order."""
    statement = text("SELECT action FROM audit_entry WHERE subject_id = :id ORDER BY id")
    return list(session.execute(statement, {"id": report_id}).scalars())
