"""What level each water carried when, and what was published of it.

Revision ID: 0017
Revises: 0016
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# Whatever moves an incident, its spans follow. One that was withdrawn never was: its spans go, and what they touched is
# noted, so that the months they stood in are written anew. A change of severity has no instant of its own in the row:
# the step down and the confirmation have, everything else is as old as its transaction. Geometries are compared as
# bytes: of a condition that needs an operator of PostGIS a dump does not say which.
SPANS = """
CREATE FUNCTION keep_incident_spans() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    instant timestamptz;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.state = 'retracted' OR NEW.water_feature_id <> OLD.water_feature_id THEN
            INSERT INTO map_change (water_feature_id, since, is_withdrawal)
            SELECT water_feature_id, min(started_at), true FROM incident_span
            WHERE incident_id = NEW.id GROUP BY water_feature_id;
        END IF;
        IF NEW.state = 'retracted' THEN
            DELETE FROM incident_span WHERE incident_id = NEW.id;
            RETURN NULL;
        END IF;
        IF NEW.water_feature_id <> OLD.water_feature_id THEN
            UPDATE incident_span SET water_feature_id = NEW.water_feature_id WHERE incident_id = NEW.id;
            INSERT INTO map_change (water_feature_id, since, is_withdrawal)
            SELECT water_feature_id, min(started_at), true FROM incident_span WHERE incident_id = NEW.id
            GROUP BY water_feature_id;
        END IF;
        instant := CASE
            WHEN NEW.closed_at IS NOT NULL THEN NEW.closed_at
            WHEN NEW.severity < OLD.severity AND NEW.stepped_down_at > coalesce(OLD.stepped_down_at, '-infinity')
                THEN NEW.stepped_down_at
            WHEN NEW.last_confirmed_at > OLD.last_confirmed_at THEN NEW.last_confirmed_at
            ELSE now() END;
    ELSE
        instant := NEW.opened_at;
    END IF;
    UPDATE incident_span SET ended_at = greatest(started_at, instant)
    WHERE incident_id = NEW.id AND ended_at IS NULL AND (NEW.closed_at IS NOT NULL OR severity <> NEW.severity);
    DELETE FROM incident_span WHERE incident_id = NEW.id AND ended_at <= started_at;
    IF NEW.closed_at IS NULL THEN
        INSERT INTO incident_span (incident_id, water_feature_id, severity, started_at)
        VALUES (NEW.id, NEW.water_feature_id, NEW.severity, instant)
        ON CONFLICT (incident_id) WHERE ended_at IS NULL DO NOTHING;
    END IF;
    INSERT INTO map_change (water_feature_id, since, is_withdrawal) VALUES (NEW.water_feature_id, instant, false);
    RETURN NULL;
END $$;
CREATE FUNCTION note_moved_incident() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO map_change (water_feature_id, since, is_withdrawal) VALUES (NEW.water_feature_id, now(), true);
    RETURN NULL;
END $$;
CREATE TRIGGER incident_is_moved AFTER UPDATE OF public_point ON incident FOR EACH ROW
    WHEN (OLD.public_point::bytea IS DISTINCT FROM NEW.public_point::bytea) EXECUTE FUNCTION note_moved_incident();
CREATE TRIGGER incident_begins_its_spans AFTER INSERT ON incident FOR EACH ROW
    WHEN (NEW.closed_at IS NULL) EXECUTE FUNCTION keep_incident_spans();
CREATE TRIGGER incident_keeps_its_spans AFTER UPDATE OF state, severity, water_feature_id, closed_at ON incident
    FOR EACH ROW WHEN (OLD.severity <> NEW.severity OR OLD.water_feature_id <> NEW.water_feature_id
                       OR OLD.closed_at IS DISTINCT FROM NEW.closed_at OR (NEW.state = 'retracted'
                       AND OLD.state <> 'retracted')) EXECUTE FUNCTION keep_incident_spans()
"""
# Where a water lies is looked up once; it is forgotten when either the water or the areas are drawn anew.
PLACES = """
CREATE FUNCTION forget_mapped_water() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM mapped_water WHERE water_feature_id = NEW.id;
    RETURN NULL;
END $$;
CREATE FUNCTION forget_mapped_waters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM mapped_water;
    RETURN NULL;
END $$;
CREATE TRIGGER water_is_placed_anew AFTER UPDATE OF geom ON water_feature FOR EACH ROW
    WHEN (OLD.geom::bytea IS DISTINCT FROM NEW.geom::bytea) EXECUTE FUNCTION forget_mapped_water();
CREATE TRIGGER waters_are_placed_anew AFTER INSERT OR DELETE OR UPDATE OF geom, level, retired_at ON jurisdiction
    FOR EACH STATEMENT EXECUTE FUNCTION forget_mapped_waters()
"""
# As far as the audit knows it; an incident older than the audit's first word of it has had one severity all along.
_BACKFILL = """
WITH said AS (
    SELECT e.subject_id AS incident_id, e.at, e.id::text AS nth,
           CASE WHEN e.after ->> 'state' IN ('verified_clean', 'expired', 'merged', 'retracted') THEN 0
                ELSE (e.after ->> 'severity')::int END AS severity
    FROM audit_entry e JOIN incident i ON i.id = e.subject_id
    WHERE e.subject_kind = 'incident' AND e.after ->> 'severity' ~ '^[1-4]$' AND e.at >= i.opened_at
    UNION ALL
    SELECT i.id, i.opened_at, '', coalesce((
        SELECT coalesce(e.before ->> 'severity', e.after ->> 'severity')::int FROM audit_entry e
        WHERE e.subject_kind = 'incident' AND e.subject_id = i.id AND e.after ->> 'severity' ~ '^[1-4]$'
        ORDER BY e.at, e.id LIMIT 1), i.severity)
    FROM incident i
    UNION ALL
    SELECT i.id, i.closed_at, 'z', 0 FROM incident i WHERE i.closed_at IS NOT NULL),
steps AS (SELECT s.*, lag(severity) OVER (PARTITION BY incident_id ORDER BY at, nth) AS before FROM said s),
spans AS (
    SELECT incident_id, severity, at AS started_at, lead(at) OVER (PARTITION BY incident_id ORDER BY at, nth) AS ended_at
    FROM steps WHERE before IS DISTINCT FROM severity)
INSERT INTO incident_span (incident_id, water_feature_id, severity, started_at, ended_at)
SELECT i.id, i.water_feature_id, CASE WHEN s.ended_at IS NULL THEN i.severity ELSE s.severity END,
       s.started_at, s.ended_at
FROM spans s JOIN incident i ON i.id = s.incident_id
WHERE s.severity > 0 AND i.state <> 'retracted' AND (s.ended_at IS NULL OR s.ended_at > s.started_at)
  AND NOT (s.ended_at IS NULL AND i.closed_at IS NOT NULL)
ORDER BY s.started_at
"""


def upgrade() -> None:
    _spans()
    _published()
    for statements in (SPANS, PLACES):
        op.execute(sa.text(statements.replace(":", "\\:")))
    op.execute(sa.text(_BACKFILL.replace(":", "\\:")))


def _spans() -> None:
    op.create_table(
        "incident_span",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("incident_id", sa.Uuid(), sa.ForeignKey("incident.id", ondelete="CASCADE"), nullable=False),
        sa.Column("water_feature_id", sa.Uuid(), sa.ForeignKey("water_feature.id"), nullable=False),
        sa.Column("severity", sa.SmallInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("severity BETWEEN 1 AND 4", name=op.f("ck_incident_span_severity")),
        sa.CheckConstraint("ended_at >= started_at", name=op.f("ck_incident_span_ended_after_started")),
    )
    op.create_index("ix_incident_span_incident_id", "incident_span", ["incident_id"])
    op.create_index("ix_incident_span_water_feature_id", "incident_span", ["water_feature_id", "started_at"])
    op.create_index("ix_incident_span_ended_at", "incident_span", ["ended_at"])
    op.create_index(
        "uq_incident_span_open", "incident_span", ["incident_id"], unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )  # fmt: skip
    op.create_table(
        "map_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("water_feature_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_withdrawal", sa.Boolean(), nullable=False),
    )


def _published() -> None:
    op.create_table(
        "published_file",
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "superseded_file",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "mapped_water",
        sa.Column(
            "water_feature_id", sa.Uuid(), sa.ForeignKey("water_feature.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("area_codes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("drawn", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
