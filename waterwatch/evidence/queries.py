"""Every SELECT of evidence, named for its answer. Nothing of a report's author is ever read here: no note, no contact,
no device, no link of theirs.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.kernel.errors import NotFound
from waterwatch.reports.tables import MEASURED

_NAME_ORDER = (
    "ORDER BY n.lang = 'zh-Hans' DESC, array_position(ARRAY['zh-Hans', 'zh-Hant', 'en', 'pinyin'], n.lang) LIMIT 1"
)


def incident_by_code(session: Session, code: str) -> uuid.UUID:
    """The incident people call so. Raises :class:`NotFound`."""
    found = session.execute(text("SELECT id FROM incident WHERE code = :code"), {"code": code}).scalar_one_or_none()
    if found is None:
        raise NotFound("incident_not_found")
    return uuid.UUID(str(found))


_INCIDENT = text(f"""
SELECT i.code, i.id AS incident_id, i.kind, i.state, i.severity, i.graded_severity, i.opened_at, i.last_confirmed_at,
       i.closed_at, ST_X(i.exact_point) AS lon, ST_Y(i.exact_point) AS lat, f.id AS water_feature_id,
       ST_X(i.public_point) AS public_lon, ST_Y(i.public_point) AS public_lat,
       (SELECT code FROM incident m WHERE m.id = i.merged_into_id) AS merged_into,
       (SELECT n.name FROM water_name n WHERE n.water_body_id = f.water_body_id AND n.is_primary {_NAME_ORDER})
           AS water
FROM incident i JOIN water_feature f ON f.id = i.water_feature_id WHERE i.id = :id
""")  # noqa: S608  # the pieces are constants of this module
_READINGS = ", ".join(f"'{name}', r.{name}" for name in MEASURED)
# Each claim of where it was, and how far each is from the confirmed place.
_REPORTS = text(f"""
SELECT r.id AS report_id, r.code, r.state, r.kind, r.received_at, r.observed_at, r.version, r.corrected_at, r.source,
       r.extent, r.smell, r.colour, r.since, r.is_ongoing, r.has_dead_animals, r.affects_people,
       jsonb_strip_nulls(jsonb_build_object({_READINGS})) AS measured,
       ST_X(r.point) AS lon, ST_Y(r.point) AS lat, r.place_source, r.input_datum, r.accuracy_m,
       ST_X(r.device_point) AS device_lon, ST_Y(r.device_point) AS device_lat,
       ST_Distance(geography(r.point), geography(r.device_point)) AS device_distance_m,
       ST_X(r.snapped_point) AS water_lon, ST_Y(r.snapped_point) AS water_lat, r.snap_distance_m AS water_distance_m,
       ir.joined_at
FROM incident_report ir JOIN report r ON r.id = ir.report_id
WHERE ir.incident_id = :id AND r.erased_at IS NULL ORDER BY ir.joined_at, r.id
""")  # noqa: S608  # names of our own
_PHOTOS = text("""
SELECT rp.report_id, p.id AS photo_id, rp.position, p.sha256, p.original_key, p.original_bytes, p.media_type,
       p.width, p.height, p.received_at, p.original_delete_after, p.exif_taken_at, p.exif_taken_at_local,
       p.exif_lon, p.exif_lat, rp.stated_lon, rp.stated_lat, rp.stated_taken_at_local,
       ST_Distance(geography(r.point), geography(ST_SetSRID(ST_MakePoint(p.exif_lon, p.exif_lat), 4326)))
           AS exif_distance_m,
       ST_Distance(geography(r.point), geography(ST_SetSRID(ST_MakePoint(rp.stated_lon, rp.stated_lat), 4326)))
           AS stated_distance_m,
       (SELECT count(*) FROM photo_redaction x WHERE x.photo_id = p.id AND x.removed_at IS NULL) AS covered_parts,
       p.redaction_wanted_at IS NULL AS is_picture_settled,
       (SELECT key FROM photo_derivative d WHERE d.photo_id = p.id ORDER BY size_px DESC LIMIT 1) AS picture_key
FROM incident_report ir JOIN report r ON r.id = ir.report_id AND r.erased_at IS NULL
JOIN report_photo rp ON rp.report_id = ir.report_id JOIN photo p ON p.id = rp.photo_id AND p.state = 'ready'
WHERE ir.incident_id = :id ORDER BY ir.joined_at, rp.report_id, rp.position
""")
_GRADES = text("""
SELECT g.id AS grade_id, g.basis, (SELECT code FROM report r WHERE r.id = g.report_id) AS report, g.graded_at,
       g.graded_by, g.rubric_version, g.inputs, g.points, g.proposed_severity, g.severity, g.standing, g.seconded_by,
       g.seconded_at, g.reversed_at, g.reversed_by, g.superseded_by_id, g.departure_reason IS NOT NULL AS has_departed
FROM grade g WHERE g.incident_id = :id ORDER BY g.graded_at, g.id
""")
_CASES = text(f"""
SELECT c.id AS case_id, c.state, c.state_since, c.state_deadline_at, c.severity, c.created_at, c.delivered_at,
       c.acknowledged_at, c.answered_at, c.closed_at, c.acknowledge_by, c.answer_by, c.finish_by, c.escalated_at,
       c.role, c.supervises_id, a.code AS agency, a.kind AS agency_kind, a.level AS agency_level,
       (SELECT n.name FROM agency_name n WHERE n.agency_id = c.agency_id {_NAME_ORDER}) AS agency_name
FROM escalation_case c LEFT JOIN agency a ON a.id = c.agency_id WHERE c.incident_id = :id ORDER BY c.created_at, c.id
""")  # noqa: S608  # the pieces are constants of this module
# What was promised and kept before a citizen's photo showed that it was not over; the case itself is the last round.
_ROUNDS = text("""
SELECT r.case_id, r.number, r.severity, r.delivered_at, r.acknowledged_at, r.answered_at, r.closed_at,
       r.acknowledge_by, r.answer_by, r.finish_by, r.escalated_at, r.reopened_at
FROM case_round r JOIN escalation_case c ON c.id = r.case_id WHERE c.incident_id = :id ORDER BY r.case_id, r.number
""")
_DELIVERIES = text("""
SELECT d.id AS delivery_id, d.case_id, d.channel, d.address, d.message_id, d.says, d.number, d.severity, d.state,
       d.state_since, d.attempts, d.created_at, d.sent_at, d.remote_id, d.last_error
FROM delivery d JOIN escalation_case c ON c.id = d.case_id WHERE c.incident_id = :id ORDER BY d.created_at, d.id
""")
_MAILS = text("""
SELECT m.id AS mail_id, m.delivery_id, m.received_at, m.kind, m.status, m.state, m.raw_bytes AS bytes,
       encode(m.sha256, 'hex') AS sha256
FROM incoming_mail m JOIN delivery d ON d.id = m.delivery_id JOIN escalation_case c ON c.id = d.case_id
WHERE c.incident_id = :id ORDER BY m.received_at, m.id
""")
# What was withheld from the public is none of a bundle's either.
_ANSWERS = text("""
SELECT a.id AS answer_id, a.case_id, a.kind, a.via, a.words, a.planned_on, a.said_at, a.state, a.published_at,
       (SELECT code FROM agency s WHERE s.id = a.suggested_agency_id) AS suggested_agency,
       (SELECT coalesce(array_agg(encode(p.sha256, 'hex') ORDER BY ap.position), '{}') FROM case_answer_photo ap
           JOIN photo p ON p.id = ap.photo_id WHERE ap.answer_id = a.id) AS photos_sha256
FROM case_answer a JOIN escalation_case c ON c.id = a.case_id
WHERE c.incident_id = :id AND a.state <> 'withheld' ORDER BY a.said_at, a.id
""")

# What an agency's pictures claim of their place, too: how far that is from the incident's.
_ANSWER_PHOTOS = text("""
SELECT a.id AS answer_id, p.id AS photo_id, ap.position - 1 AS position, p.sha256, p.original_key, p.original_bytes,
       p.media_type, p.width, p.height, p.received_at, p.original_delete_after, p.exif_taken_at, p.exif_taken_at_local,
       p.exif_lon, p.exif_lat, NULL AS stated_lon, NULL AS stated_lat, NULL AS stated_taken_at_local,
       ST_Distance(geography(i.exact_point), geography(ST_SetSRID(ST_MakePoint(p.exif_lon, p.exif_lat), 4326)))
           AS exif_distance_m, NULL AS stated_distance_m,
       (SELECT count(*) FROM photo_redaction x WHERE x.photo_id = p.id AND x.removed_at IS NULL) AS covered_parts,
       p.redaction_wanted_at IS NULL AS is_picture_settled,
       (SELECT key FROM photo_derivative d WHERE d.photo_id = p.id ORDER BY size_px DESC LIMIT 1) AS picture_key
FROM escalation_case c JOIN incident i ON i.id = c.incident_id
JOIN case_answer a ON a.case_id = c.id AND a.state <> 'withheld'
JOIN case_answer_photo ap ON ap.answer_id = a.id JOIN photo p ON p.id = ap.photo_id AND p.state = 'ready'
WHERE c.incident_id = :id ORDER BY a.said_at, a.id, ap.position
""")

Row = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """Everything that is known of one incident, but for who reported it. Rows as the database has them."""

    incident: Row
    reports: list[Row]
    photos: list[Row]
    grades: list[Row]
    cases: list[Row]
    rounds: list[Row]
    deliveries: list[Row]
    mails: list[Row]
    answers: list[Row]
    answer_photos: list[Row]


def facts_of(session: Session, incident_id: uuid.UUID) -> Facts:
    """All rows a bundle is made of. Raises :class:`NotFound`."""
    named = {"id": incident_id}

    def rows(statement: Any) -> list[Row]:
        return [dict(row._mapping) for row in session.execute(statement, named)]

    incident = rows(_INCIDENT)
    if not incident:
        raise NotFound("incident_not_found")
    return Facts(
        incident=incident[0],
        reports=rows(_REPORTS),
        photos=rows(_PHOTOS),
        grades=rows(_GRADES),
        cases=rows(_CASES),
        rounds=rows(_ROUNDS),
        deliveries=rows(_DELIVERIES),
        mails=rows(_MAILS),
        answers=rows(_ANSWERS),
        answer_photos=rows(_ANSWER_PHOTOS),
    )


_ORIGINALS = text("""
SELECT p.id FROM photo p WHERE p.state = 'ready' AND p.original_key IS NOT NULL AND p.id IN (
    SELECT rp.photo_id FROM incident_report ir JOIN report r ON r.id = ir.report_id AND r.erased_at IS NULL
        JOIN report_photo rp ON rp.report_id = ir.report_id WHERE ir.incident_id = :id
    UNION SELECT ap.photo_id FROM escalation_case c
        JOIN case_answer a ON a.case_id = c.id AND a.state <> 'withheld'
        JOIN case_answer_photo ap ON ap.answer_id = a.id WHERE c.incident_id = :id)
ORDER BY p.id
""")


def originals_of(session: Session, incident_id: uuid.UUID) -> list[uuid.UUID]:
    """The photos of an incident, and of what agencies answered, whose sealed original is still there."""
    return list(session.execute(_ORIGINALS, {"id": incident_id}).scalars())


@dataclass(frozen=True)
class Opened:
    """One time a bundle was demanded. ``by`` is None where whoever it was has no account any more."""

    at: datetime
    code: str
    by: str | None
    reason: str
    reference: str | None
    sha256: str | None


_OPENED = text("""
SELECT e.at, i.code, p.email AS by, e.after ->> 'reason' AS reason, e.after ->> 'reference' AS reference,
       (SELECT w.after ->> 'sha256' FROM audit_entry w WHERE w.subject_kind = 'incident'
           AND w.subject_id = e.subject_id AND w.action = 'evidence.bundled'
           AND w.after ->> 'bundle_id' = e.after ->> 'bundle_id' LIMIT 1) AS sha256
FROM audit_entry e JOIN incident i ON i.id = e.subject_id LEFT JOIN person p ON p.id = e.actor_id
WHERE e.subject_kind = 'incident' AND e.action = 'evidence.opened' ORDER BY e.id DESC LIMIT :limit
""")


def openings(session: Session, *, limit: int = 200) -> Sequence[Opened]:
    """Who demanded which bundle, and why; latest first."""
    return [Opened(**row._mapping) for row in session.execute(_OPENED, {"limit": limit})]
