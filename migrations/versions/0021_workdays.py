"""China's calendar of working days, and how long departments have by area and severity.

Revision ID: 0021
Revises: 0020
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "workday",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("is_working", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "deadline_rule",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("jurisdiction_id", sa.Uuid(), sa.ForeignKey("jurisdiction.id")),
        sa.Column("severity", sa.SmallInteger(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("amount", sa.SmallInteger(), nullable=False),
        sa.UniqueConstraint(
            "jurisdiction_id",
            "severity",
            "stage",
            name=op.f("uq_deadline_rule_jurisdiction_id_severity_stage"),
            postgresql_nulls_not_distinct=True,
        ),
        _check("severity", "severity BETWEEN 1 AND 4"),
        _check("stage", "stage IN ('acknowledge', 'answer', 'finish')"),
        _check("unit", "unit IN ('hours', 'working_days', 'days')"),
        _check("amount", "amount BETWEEN 1 AND 1000"),
    )


def _check(name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_deadline_rule_{name}"))


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
