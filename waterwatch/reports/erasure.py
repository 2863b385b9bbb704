"""What is left of a report that was taken back or refused: that there was one, of which kind, when it came and ended.

All of it goes in the transaction that ends the report, so nothing is ever half erased; only the photos' files, which no
row names from then on, are deleted by a job of their own (decision 0025).
"""

import uuid
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.contacts import service as contacts
from waterwatch.kernel.audit import Actor
from waterwatch.photos import forgetting
from waterwatch.reports.tables import PRIVATE

_LOCK_PHOTOS = text("""
SELECT p.id FROM report_photo rp JOIN photo p ON p.id = rp.photo_id WHERE rp.report_id = :id
ORDER BY p.id FOR NO KEY UPDATE OF p
""")
_UNLINK = text("DELETE FROM report_photo WHERE report_id = :id RETURNING photo_id")
# By name: these rooms lie above this one, and what names an erased report goes with it at once. Of a grade that was
# reversed only the numbers stay, without what was seen or said.
# What agencies wrote about an incident that was taken back with its last report, and their pictures of it.
_KIN = """
WITH RECURSIVE kin (id) AS (
    SELECT incident_id FROM grade WHERE report_id = :id
    UNION SELECT CASE WHEN d.incident_id = kin.id THEN d.other_incident_id ELSE d.incident_id END
    FROM kin JOIN decision d ON d.other_incident_id IS NOT NULL AND kin.id IN (d.incident_id, d.other_incident_id))
"""
_SAID = f"""{_KIN}, said AS (
    SELECT a.id FROM kin JOIN incident i ON i.id = kin.id AND i.state = 'retracted'
    JOIN escalation_case c ON c.incident_id = i.id JOIN case_answer a ON a.case_id = c.id
    WHERE NOT EXISTS (SELECT FROM incident_report ir WHERE ir.incident_id = i.id))
"""  # noqa: S608  # the piece is a constant of this module
_UNLINK_ANSWERS = text(
    f"{_SAID} DELETE FROM case_answer_photo p USING said WHERE p.answer_id = said.id RETURNING photo_id"  # noqa: S608
)
_FORGET_ANSWERS = text(f"""{_SAID} UPDATE case_answer a
SET words = NULL, planned_on = NULL, said_by = NULL, suggested_agency_id = NULL, erased_at = :now
FROM said WHERE a.id = said.id AND a.erased_at IS NULL
""")  # noqa: S608  # the piece is a constant of this module
_FORGET_ABOVE = (
    # Of an incident that was taken back with its last report, or of one it had been split into: where it was, and what
    # was said of it as a whole. Its place is then any of its water.
    text("""
    WITH RECURSIVE kin (id) AS (
        SELECT incident_id FROM grade WHERE report_id = :id
        UNION SELECT CASE WHEN d.incident_id = kin.id THEN d.other_incident_id ELSE d.incident_id END
        FROM kin JOIN decision d ON d.other_incident_id IS NOT NULL AND kin.id IN (d.incident_id, d.other_incident_id)),
    gone AS (
        UPDATE incident i SET exact_point = ST_PointOnSurface(f.geom), public_point = ST_PointOnSurface(f.geom),
               public_extent = NULL, extent_m = NULL
        FROM kin, water_feature f
        WHERE i.id = kin.id AND f.id = i.water_feature_id AND i.state = 'retracted'
          AND NOT EXISTS (SELECT FROM incident_report ir WHERE ir.incident_id = i.id)
        RETURNING i.id)
    UPDATE grade SET inputs = '{}', departure_reason = NULL FROM gone
    WHERE grade.incident_id = gone.id AND grade.report_id IS NULL AND grade.reversed_at IS NOT NULL
    """),
    # Mails that came back about what it evidenced: they quote our letter, with the place and the picture. The sweep
    # deletes their files; one that nobody has read yet is read first.
    text("""
    UPDATE incoming_mail m SET sealed = NULL,
           keep_until = least(m.keep_until,
                              now() + make_interval(mins => CASE m.state WHEN 'received' THEN 10 ELSE 0 END))
    FROM delivery d JOIN escalation_case c ON c.id = d.case_id JOIN grade g ON g.incident_id = c.incident_id
    WHERE m.delivery_id = d.id AND g.report_id = :id
    """),
    # What officers noted of an incident that nothing evidences any more.
    text("""
    DELETE FROM case_note n USING escalation_case c, grade g
    WHERE c.id = n.case_id AND g.incident_id = c.incident_id AND g.report_id = :id
      AND NOT EXISTS (SELECT FROM incident_report ir WHERE ir.incident_id = c.incident_id)
    """),
    # Whether it showed that what was expected from above had come; and what was ruled of the warning below an incident
    # that nothing evidences any more.
    text("DELETE FROM arrival_check WHERE report_id = :id"),
    text(f"""{_KIN} DELETE FROM downstream_ruling d USING kin, incident i
    WHERE i.id = kin.id AND i.state = 'retracted' AND d.incident_id = i.id
      AND NOT EXISTS (SELECT FROM incident_report ir WHERE ir.incident_id = i.id)
    """),  # noqa: S608  # the piece is a constant of this module
    # What alerts told of the waters below it, by its distance.
    text(f"""{_KIN} UPDATE delivery d SET told = NULL FROM kin, incident i, escalation_case c
    WHERE i.id = kin.id AND i.state = 'retracted' AND c.incident_id = i.id AND c.id = d.case_id AND d.says = 'warning'
      AND NOT EXISTS (SELECT FROM incident_report ir WHERE ir.incident_id = i.id)
    """),  # noqa: S608  # the piece is a constant of this module
    text("DELETE FROM duplicate_candidate WHERE report_id = :id OR other_report_id = :id"),
    text("DELETE FROM blind_review WHERE report_id = :id"),
    text("DELETE FROM calibration_case WHERE report_id = :id"),
    text("DELETE FROM incident_verification WHERE report_id = :id"),
    text("""UPDATE grade SET inputs = '{}', departure_reason = NULL, report_id = NULL
            WHERE report_id = :id AND reversed_at IS NOT NULL"""),
    # What moderators asked, what was answered or appealed with, and what was said before it was corrected.
    text("DELETE FROM question WHERE report_id = :id"),
    text("DELETE FROM appeal WHERE report_id = :id"),
    text("DELETE FROM report_former WHERE report_id = :id"),
)
_ERASE = text(f"""
UPDATE report SET erased_at = :now, point = ST_GeomFromText('POINT EMPTY', 4326),
       is_newcomer = false, needs_screening = false, {", ".join(f"{name} = NULL" for name in PRIVATE)}
WHERE id = :id
""")  # noqa: S608  # names of our own


def lock_photos(session: Session, report_id: uuid.UUID) -> None:
    """Lock a report's photos before its own row, in the order of everybody who settles or forgets a photo.

    Rows may name them meanwhile: whoever compares another report with this one holds this one's row, which is waited
    for next, and then names its photos.
    """
    session.execute(_LOCK_PHOTOS, {"id": report_id})


def erase(session: Session, report_id: uuid.UUID, reason: str, *, actor: Actor, now: datetime) -> None:
    """Erase a report that has ended. Assumes that the caller holds its photos' locks, then its own. Idempotent.

    ``reason`` is the one :func:`waterwatch.contacts.service.erase` records.
    """
    session.flush()
    photo_ids = session.execute(_UNLINK, {"id": report_id}).scalars().all()
    said_with = session.execute(_UNLINK_ANSWERS, {"id": report_id}).scalars().all()
    session.execute(_FORGET_ANSWERS, {"id": report_id, "now": now})
    for statement in _FORGET_ABOVE:
        session.execute(statement, {"id": report_id})
    session.execute(_ERASE, {"id": report_id, "now": now})
    contacts.erase(session, report_id, reason, actor=actor, now=now)
    forgetting.erase(session, [*photo_ids, *said_with], actor=actor, now=now)
