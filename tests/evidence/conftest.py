"""An incident with two reports, three photos, a grade, a case that was told, and its acts under their seals."""

import hashlib
import io
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from PIL import ExifTags, Image
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation import rows
from waterwatch.evidence import bundling, keys
from waterwatch.evidence.bundling import Made
from waterwatch.evidence.forms import OpenBundle
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings

LEAD = frozenset({"lead_moderator"})
NOTE, WORDS = "我住在对面三楼 13800138000", "从我家门口左转"


@dataclass(frozen=True)
class Fixed(JobContext):
    """A context whose clock stands."""

    at: datetime

    def now(self) -> datetime:
        return self.at


@dataclass(frozen=True)
class Case:
    """What the tests look at."""

    code: str
    incident_id: uuid.UUID
    originals: dict[uuid.UUID, bytes]
    actor: Actor


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str) -> Settings:
    return make_settings(database_url=database_url)


@pytest.fixture
def context(settings: Settings, sessions: sessionmaker[Session], now: datetime) -> Fixed:
    return Fixed(settings, sessions, ObjectStore(settings.objects_url), now)


def photograph(*, artist: str | None = None, serial: str | None = None, shade: int = 90) -> bytes:
    """A JPEG with a place and a time, and perhaps somebody's name."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "HUAWEI"
    exif[ExifTags.Base.Model] = "NOH-AN00"
    if artist is not None:
        exif[ExifTags.Base.Artist] = artist
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.DateTimeOriginal] = "2026:05:20 10:12:13"
    if serial is not None:
        details[ExifTags.Base.BodySerialNumber] = serial
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    place[ExifTags.GPS.GPSLatitudeRef], place[ExifTags.GPS.GPSLatitude] = "N", (30.0, 35.0, 34.08)
    place[ExifTags.GPS.GPSLongitudeRef], place[ExifTags.GPS.GPSLongitude] = "E", (114.0, 18.0, 19.8)
    drawn = io.BytesIO()
    Image.new("RGB", (640, 480), (shade, 120, 80)).save(drawn, "JPEG", exif=exif)
    return drawn.getvalue()


def add_photo(
    session: Session, context: JobContext, report_id: uuid.UUID, original: bytes | None, position: int, folder: Path
) -> uuid.UUID:
    """A ready photo of a report."""
    photo_id = add_ready_photo(session, context, original, folder)
    rows.insert(session, "report_photo", report_id=report_id, photo_id=photo_id, position=position)
    return photo_id


def add_ready_photo(session: Session, context: JobContext, original: bytes | None, folder: Path) -> uuid.UUID:
    """A ready photo with its original (None: its time was over) and one picture."""
    photo_id, now = uuid.uuid4(), context.now()
    content = original or b"long gone"
    key = f"quarantine/{photo_id}" if original is not None else None
    path = folder / "object"
    if key is not None:
        path.write_bytes(content)
        context.objects.put_file(key, path)
    rows.insert(
        session,
        "photo",
        id=photo_id,
        state="ready",
        state_since=now,
        sha256=hashlib.sha256(content).digest(),
        original_key=key,
        original_bytes=len(content),
        media_type="image/jpeg",
        width=640,
        height=480,
        exif_lon=114.3055,
        exif_lat=30.5928,
        received_at=now,
        original_delete_after=now + timedelta(days=90),
    )
    path.write_bytes(b"a picture of " + photo_id.bytes)
    picture = f"public/{photo_id}/2000.jpg"
    context.objects.put_file(picture, path)
    facts = {"bytes": 29, "width": 640, "height": 480, "sha256": bytes(32)}
    rows.insert(session, "photo_derivative", photo_id=photo_id, size_px=2000, key=picture, **facts)
    audit.record(
        session,
        action="photo.received",
        subject_kind="photo",
        subject_id=photo_id,
        actor=Actor.anonymous(),
        now=now,
        after={"state": "received", "code": None, "sha256": hashlib.sha256(content).hexdigest()},
    )
    return photo_id


@pytest.fixture
def case(context: Fixed, tmp_path: Path) -> Case:
    now = context.now()
    with transaction(context.sessions) as session:
        agency_id = rows.add_agency(session, "武汉市生态环境局", ["huanbao@wuhan.example"])
        incident_id = rows.add_incident(session, now=now)
        organisation_id = session.execute(text("SELECT id FROM organisation LIMIT 1")).scalar_one()
        person_id = rows.insert(
            session, "person", email="lead@example.org", fs_uniquifier="lead", language="zh-Hans", created_at=now
        )
        role_id = session.execute(text("SELECT id FROM role WHERE name = 'lead_moderator'")).scalar_one()
        facts = {"organisation_id": organisation_id, "role_id": role_id, "created_at": now}
        rows.insert(session, "membership", person_id=person_id, **facts)
        actor = Actor.person(person_id, organisation_id)
        first = rows.add_report(
            session,
            incident_id,
            now=now,
            note=NOTE,
            place_words=WORDS,
            device_point="POINT(114.3056 30.5929)",
            accuracy_m=12.0,
            device_digest=b"d" * 32,
            observed_at=now,
            ph=9.1,
        )
        second = rows.add_report(session, incident_id, now=now + timedelta(minutes=5))
        photos = {photograph(): first, photograph(artist="王小明", serial="SN-0042", shade=91): first}
        originals = {}
        for position, (content, report_id) in enumerate(photos.items()):
            originals[add_photo(session, context, report_id, content, position, tmp_path)] = content
        add_photo(session, context, second, None, 0, tmp_path)
        rows.insert(
            session,
            "report_contact",
            report_id=first,
            sealed=b"contact",
            has_email=True,
            has_phone=False,
            by_mail=True,
            may_ask=False,
            created_at=now,
        )
        _grade_and_tell(session, incident_id, agency_id, first, person_id, now)
        for kind, subject, action in (("incident", incident_id, "incident.opened"), ("report", first, "contact.kept")):
            audit.record(session, action=action, subject_kind=kind, subject_id=subject, actor=actor, now=now)
        audit.record(
            session, action="agencies.loaded", subject_kind="agency", subject_id=agency_id, actor=actor, now=now
        )
        audit.seal(session, now=now)
        code = session.execute(text("SELECT code FROM incident")).scalar_one()
    return Case(code, incident_id, originals, actor)


def _grade_and_tell(
    session: Session,
    incident_id: uuid.UUID,
    agency_id: uuid.UUID,
    report_id: uuid.UUID,
    person: uuid.UUID,
    now: datetime,
) -> None:
    session.execute(
        text("""INSERT INTO grade (id, incident_id, graded_at, graded_by, rubric_version, inputs, points,
                    proposed_severity, severity, departure_reason, basis, report_id, standing)
                VALUES (gen_random_uuid(), :incident, :now, :person, '2026-01', '{"extent": "spot"}', 5, 2, 3,
                    '王小明家门口', 'report', :report, 3)"""),
        {"incident": incident_id, "now": now, "person": person, "report": report_id},
    )
    facts = {"state_since": now, "severity": 3, "created_at": now}
    case_id = rows.insert(
        session, "escalation_case", incident_id=incident_id, agency_id=agency_id, state="delivered", **facts
    )
    rows.insert(
        session,
        "delivery",
        case_id=case_id,
        channel="email",
        address="huanbao@wuhan.example",
        message_id="<one@example.org>",
        state="sent",
        sent_at=now,
        **facts,
    )
    said = {"via": "link", "kind": "answer", "said_at": now, "state_since": now}
    rows.insert(
        session, "case_answer", case_id=case_id, state="published", published_at=now, words="已责成整改。", **said
    )
    rows.insert(
        session, "case_answer", case_id=case_id, state="withheld", withheld_reason="abuse", words="找王小明谈谈", **said
    )


@pytest.fixture
def make(context: Fixed, case: Case, tmp_path: Path) -> Callable[..., tuple[Path, Made]]:
    """Makes a bundle; gives where it lies and what was made."""

    def made(name: str = "bundle.zip", **changes: bool) -> tuple[Path, Made]:
        out = tmp_path / name
        command = OpenBundle(case.code, "authority_demand", "HB-2026-12", **changes)
        return out, bundling.make_bundle(context, command, out, roles=LEAD, actor=case.actor)

    return made


@pytest.fixture
def trusted(settings: Settings) -> tuple[object, ...]:
    return keys.public_keys(settings)
