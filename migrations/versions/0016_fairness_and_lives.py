"""Incidents are split, joined, regraded, withdrawn and verified clean; judgements are compared.

Revision ID: 0016
Revises: 0015
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_STATES = "'open', 'answered', 'resolved_claimed', 'verified_clean', 'reopened', 'expired', 'merged', 'retracted'"
# A grade was written in the transaction in which its report joined, at the same instant.
_GRADES_REPORTS = """
UPDATE grade SET report_id = ir.report_id FROM incident_report ir
WHERE ir.incident_id = grade.incident_id AND ir.joined_at = grade.graded_at
"""
# What an incident has lost unconfirmed, its earlier grades have lost.
_STANDING = """
UPDATE grade SET basis = 'report', standing = least(grade.severity, i.graded_severity)
FROM incident i WHERE i.id = grade.incident_id
"""
_STEPPED_DOWN = """
UPDATE incident SET stepped_down_at = (
    SELECT max(at) FROM audit_entry WHERE subject_kind = 'incident' AND subject_id = incident.id
      AND action = 'incident.stepped_down')
"""
# The extent of older ones is their public point until the next report: the geometry of all waters is too much to walk
# through while nobody can work.
_EXTENT = "UPDATE incident SET public_extent = public_point, extent_m = 0"


def upgrade() -> None:
    _incidents()
    _grades()
    _verifications()
    _blind_reviews()
    _calibration()


def _incidents() -> None:
    op.add_column("incident", sa.Column("stepped_down_at", sa.DateTime(timezone=True)))
    op.add_column("incident", sa.Column("merged_into_id", sa.Uuid(), _of("incident")))
    op.add_column("incident", sa.Column("public_extent", Geometry("GEOMETRY", srid=4326, spatial_index=False)))
    op.add_column("incident", sa.Column("extent_m", sa.Float()))
    op.create_index("ix_incident_merged_into_id", "incident", ["merged_into_id"])
    for name in ("state", "closed_state"):
        op.drop_constraint(op.f(f"ck_incident_{name}"), "incident", type_="check")
    for name, rule in (
        ("state", f"state IN ({_STATES})"),
        (
            "closed_state",
            "(closed_at IS NOT NULL) = (state IN ('verified_clean', 'expired', 'merged', 'retracted'))",
        ),
        ("merged_into", "(state = 'merged') = (merged_into_id IS NOT NULL)"),
        ("not_into_itself", "merged_into_id <> id"),
        ("extent", "extent_m >= 0 AND (public_extent IS NULL) = (extent_m IS NULL)"),
    ):
        op.create_check_constraint(op.f(f"ck_incident_{name}"), "incident", rule)
    op.execute(sa.text(_STEPPED_DOWN))
    op.execute(sa.text(_EXTENT))


def _grades() -> None:
    op.add_column("grade", sa.Column("basis", sa.Text()))
    op.add_column("grade", sa.Column("report_id", sa.Uuid(), _of("report")))
    op.add_column("grade", sa.Column("standing", sa.SmallInteger()))
    op.add_column("grade", sa.Column("superseded_by_id", sa.Uuid(), _of("grade")))
    op.add_column("grade", sa.Column("reversed_at", sa.DateTime(timezone=True)))
    op.add_column("grade", sa.Column("reversed_by", sa.Uuid(), _of("person")))
    op.execute(sa.text(_GRADES_REPORTS))
    op.execute(sa.text(_STANDING))
    for name in ("basis", "standing"):
        op.alter_column("grade", name, nullable=False)
    for name in ("report_id", "superseded_by_id"):
        op.create_index(f"ix_grade_{name}", "grade", [name])
    op.drop_constraint(op.f("ck_grade_departure_reason"), "grade", type_="check")
    for name, rule in (
        (
            "departure_reason",
            "severity = proposed_severity OR length(departure_reason) >= 3 OR reversed_at IS NOT NULL",
        ),
        ("basis", "basis IN ('report', 'regrade')"),
        ("basis_report", "basis = 'report' OR report_id IS NULL"),
        ("standing", "standing BETWEEN 1 AND severity"),
        ("reversed_whole", "(reversed_at IS NULL) = (reversed_by IS NULL)"),
        ("not_by_itself", "superseded_by_id <> id"),
    ):
        op.create_check_constraint(op.f(f"ck_grade_{name}"), "grade", rule)


def _verifications() -> None:
    op.create_table(
        "incident_verification",
        sa.Column("report_id", sa.Uuid(), _of("report"), primary_key=True),
        sa.Column("incident_id", sa.Uuid(), _of("incident"), nullable=False, index=True),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=False),
    )


def _blind_reviews() -> None:
    op.create_table(
        "blind_review",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("report_id", sa.Uuid(), _of("report"), nullable=False, unique=True),
        sa.Column("rubric_version", sa.Text(), nullable=False),
        sa.Column("first_person", sa.Uuid(), _of("person"), nullable=False),
        sa.Column("first_outcome", sa.SmallInteger(), nullable=False),
        sa.Column("first_inputs", JSONB()),
        sa.Column("first_points", sa.SmallInteger()),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("leased_by", sa.Uuid(), _of("person")),
        sa.Column("leased_until", sa.DateTime(timezone=True)),
        sa.Column("second_person", sa.Uuid(), _of("person")),
        sa.Column("second_outcome", sa.SmallInteger()),
        sa.Column("second_inputs", JSONB()),
        sa.Column("second_points", sa.SmallInteger()),
        sa.Column("second_departure_reason", sa.Text()),
        sa.Column("second_at", sa.DateTime(timezone=True)),
        *_checks(
            "blind_review",
            first_outcome="first_outcome BETWEEN 0 AND 4",
            second_outcome="second_outcome BETWEEN 0 AND 4",
            first_points="(first_outcome = 0) = (first_points IS NULL)",
            second_outcome_whole="(second_at IS NULL) = (second_outcome IS NULL)",
            second_person_whole="(second_at IS NULL) = (second_person IS NULL)",
            second_is_another="second_person <> first_person",
            lease_whole="(leased_by IS NULL) = (leased_until IS NULL)",
            leased_by_another="leased_by <> first_person",
            second_departure_reason="length(second_departure_reason) BETWEEN 3 AND 500",
        ),
    )
    for name, columns, rows in (
        ("waiting", ["first_at", "id"], "second_at IS NULL"),
        ("second_at", ["second_at"], "second_at IS NOT NULL"),
    ):
        op.create_index(f"ix_blind_review_{name}", "blind_review", columns, postgresql_where=sa.text(rows))


def _calibration() -> None:
    op.create_table(
        "calibration_case",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("report_id", sa.Uuid(), _of("report"), nullable=False, unique=True),
        sa.Column("reference_outcome", sa.SmallInteger(), nullable=False),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("added_by", sa.Uuid(), _of("person"), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        *_checks(
            "calibration_case",
            reference_outcome="reference_outcome BETWEEN 0 AND 4",
            explanation="length(explanation) BETWEEN 3 AND 1000",
        ),
    )
    op.create_table(
        "calibration_answer",
        sa.Column("case_id", sa.Uuid(), sa.ForeignKey("calibration_case.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("person_id", sa.Uuid(), _of("person"), primary_key=True, index=True),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("inputs", JSONB()),
        sa.Column("points", sa.SmallInteger()),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
        *_checks(
            "calibration_answer",
            outcome="outcome BETWEEN 0 AND 4",
            points="(outcome = 0) = (points IS NULL)",
        ),
    )


def _checks(table: str, **rules: str) -> list[sa.CheckConstraint]:
    return [sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}")) for name, rule in rules.items()]


def _of(table: str) -> sa.ForeignKey:
    return sa.ForeignKey(f"{table}.id")


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
