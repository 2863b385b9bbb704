"""A department with a quarter behind it."""

import hashlib
import io
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.accountability.rows import add_case
from tests.escalation.rows import WUHAN, add_agency, add_report, insert
from waterwatch.accountability.rules import Period
from waterwatch.bulletins import jobs, service
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings

PERIOD = Period.parse("2026Q1")
DAY = datetime(2026, 2, 2, 8, tzinfo=UTC)
NOW = datetime(2026, 4, 2, 4, tzinfo=UTC)
SYSTEM = Actor.system("tests")
HOUR = timedelta(hours=1)
CLOCKS = {"delivered_at": DAY, "acknowledge_by": DAY + 24 * HOUR, "answer_by": DAY + 7 * 24 * HOUR}


class Context(JobContext):
    """A job's context at a fixed time."""

    at = NOW

    def now(self) -> datetime:
        return self.at


def context_of(settings: Settings, sessions: sessionmaker[Session]) -> Context:
    settings.spool_dir.mkdir(parents=True, exist_ok=True)
    return Context(settings, sessions, ObjectStore(settings.objects_url))


def add_department(
    session: Session, name: str = "武汉市生态环境局", addresses: tuple[str, ...] = ("a@example.org",)
) -> uuid.UUID:
    """A department, and a county its waters lie in."""
    found = add_agency(session, name, addresses)
    if not session.execute(text("SELECT count(*) FROM jurisdiction WHERE level = 'county'")).scalar_one():
        county = insert(session, "jurisdiction", code="420102", level="county", geom=WUHAN)
        insert(session, "jurisdiction_name", jurisdiction_id=county, lang="zh-Hans", name="江岸区")
    return found


def add_entry(session: Session, agency_id: uuid.UUID, at: datetime = DAY, **facts: Any) -> tuple[uuid.UUID, str]:
    """An incident of that day with its case; gives its id and code."""
    case_id = add_case(session, agency_id, at, **{**CLOCKS, **facts})
    row = session.execute(
        text("SELECT i.id, i.code FROM incident i JOIN escalation_case c ON c.incident_id = i.id WHERE c.id = :id"),
        {"id": case_id},
    ).one()
    return row.id, row.code


def add_picture(
    session: Session, incident_id: uuid.UUID, objects: ObjectStore, folder: Path, colour: str = "#6a7f53"
) -> uuid.UUID:
    """A public picture of an incident, as it lies in the store; gives the report's id."""
    report_id = add_report(session, incident_id, now=DAY)
    drawn = io.BytesIO()
    Image.new("RGB", (1024, 768), colour).save(drawn, "JPEG")
    path = folder / "picture.jpg"
    path.write_bytes(drawn.getvalue())
    photo_id = insert(
        session, "photo", state="ready", state_since=DAY, sha256=bytes(32), original_bytes=1, received_at=DAY,
        original_delete_after=DAY,
    )  # fmt: skip
    key = f"public/{photo_id}/1024.jpg"
    objects.put_file(key, path)
    insert(
        session, "photo_derivative", photo_id=photo_id, size_px=1024, key=key, bytes=len(drawn.getvalue()), width=1024,
        height=768, sha256=hashlib.sha256(drawn.getvalue()).digest(),
    )  # fmt: skip
    insert(session, "report_photo", report_id=report_id, photo_id=photo_id, position=1)
    return report_id


def add_answer(session: Session, incident_id: uuid.UUID, words: str, at: datetime = DAY) -> uuid.UUID:
    """What the department said of an incident, public; gives the answer's id."""
    case_id = session.execute(
        text("SELECT id FROM escalation_case WHERE incident_id = :id"), {"id": incident_id}
    ).scalar_one()
    return insert(
        session, "case_answer", case_id=case_id, kind="answer", via="desk", words=words, said_at=at,
        state="published", state_since=at, published_at=at,
    )  # fmt: skip


def make(context: JobContext, agency_id: uuid.UUID, period: Period = PERIOD) -> uuid.UUID:
    """A draft, made."""
    with transaction(context.sessions) as session:
        row = service.propose(session, agency_id, period, actor=SYSTEM, now=context.now())
        bulletin_id, revision = row.id, row.revision
    assert jobs.make_files(context, bulletin_id, revision)
    return bulletin_id


def files(context: JobContext, bulletin_id: uuid.UUID) -> dict[str, bytes]:
    """A bulletin's files by form and volume."""
    with transaction(context.sessions) as session:
        rows = session.execute(
            text("SELECT form, volume, key, sha256 FROM bulletin_file WHERE bulletin_id = :id"), {"id": bulletin_id}
        ).all()
    found = {f"{row.form}{row.volume}": b"".join(context.objects.open(row.key)) for row in rows}
    assert all(hashlib.sha256(found[f"{row.form}{row.volume}"]).digest() == bytes(row.sha256) for row in rows)
    return found
