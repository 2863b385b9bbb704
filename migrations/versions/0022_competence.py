"""Rules of competence, what is made from them, and basins beside the administrative areas.

Revision ID: 0022
Revises: 0021
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

NOW = sa.DateTime(timezone=True)
LEVEL = "level IN ('province', 'prefecture', 'county', 'basin')"
AGENCY_KINDS = (
    "('ecology_environment', 'water', 'urban_management', 'agriculture', 'maritime', 'river_chief_office',"
    " 'basin_authority')"
)
OBSERVATION = (
    "observation_kind IN ('black_odorous', 'sewage_outfall', 'industrial_discharge', 'algal_bloom', 'oil_slick',"
    " 'fish_kill', 'floating_garbage', 'foam', 'farm_runoff', 'sand_mining', 'encroachment', 'waste_dumping', 'other')"
)


def upgrade() -> None:
    _areas_and_agencies()
    op.create_table(
        "competence_rule",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("jurisdiction_id", sa.Uuid(), sa.ForeignKey("jurisdiction.id")),
        sa.Column("agency_kind", sa.Text(), nullable=False),
        sa.Column("level", sa.Text()),
        sa.Column("observation_kind", sa.Text()),
        sa.Column("min_severity", sa.SmallInteger(), nullable=False),
        sa.Column("is_competent", sa.Boolean(), nullable=False),
        sa.Column("made_at", NOW, nullable=False),
        sa.Column("retired_at", NOW),
        _check("competence_rule", "agency_kind", f"agency_kind IN {AGENCY_KINDS}"),
        _check("competence_rule", "level", LEVEL),
        _check("competence_rule", "observation_kind", OBSERVATION),
        _check("competence_rule", "min_severity", "min_severity BETWEEN 1 AND 4"),
    )
    op.create_index(
        "uq_competence_rule_key",
        "competence_rule",
        ["jurisdiction_id", "agency_kind", "level", "observation_kind"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.add_column("competence", sa.Column("rule_id", sa.Uuid(), sa.ForeignKey("competence_rule.id")))
    op.create_index(op.f("ix_competence_rule_id"), "competence", ["rule_id"])
    op.create_check_constraint(
        op.f("ck_competence_rule_names_kind"), "competence", "rule_id IS NULL OR observation_kind IS NOT NULL"
    )
    op.drop_constraint("uq_competence_agency_id_observation_kind", "competence")
    op.create_index(
        "uq_competence_agency_kind",
        "competence",
        ["agency_id", "observation_kind", sa.text("(rule_id IS NULL)")],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )


def _areas_and_agencies() -> None:
    for table in ("jurisdiction", "agency"):
        op.drop_constraint(op.f(f"ck_{table}_level"), table)
        op.create_check_constraint(op.f(f"ck_{table}_level"), table, LEVEL)
    op.drop_constraint(op.f("ck_jurisdiction_code"), "jurisdiction")
    op.create_check_constraint(
        op.f("ck_jurisdiction_code"),
        "jurisdiction",
        "code ~ CASE WHEN level = 'basin' THEN '^basin-[a-z0-9-]{1,40}$' ELSE '^[0-9]{6}$' END",
    )
    op.drop_constraint(op.f("ck_agency_kind"), "agency")
    op.create_check_constraint(op.f("ck_agency_kind"), "agency", f"kind IN {AGENCY_KINDS}")
    op.create_check_constraint(op.f("ck_agency_basin"), "agency", "(level = 'basin') = (kind = 'basin_authority')")


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
