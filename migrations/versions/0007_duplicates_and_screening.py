"""Reports that may tell of the same are proposed to moderators; in a flood, reports of newcomers wait to be screened.

Revision ID: 0007
Revises: 0006
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# Four bands of sixteen bits, each with bits of every frequency: (row + column) mod 4 of the 8 x 8 coefficients.
BANDS = (-8642088532211326396, 4938215830288077090, 2469248102876612625, 1234624599046636680)
TOLD_APART = "bit_count((phash)::bit(64)) >= 24"


def upgrade() -> None:
    _pictures()
    _reports()
    _candidates()


def _pictures() -> None:
    for number, mask in enumerate(BANDS):
        op.create_index(
            f"ix_photo_phash_band_{number}",
            "photo",
            [sa.text(f"(phash & '{mask}'::bigint)")],
            postgresql_include=["phash", "id"],
            postgresql_where=sa.text(TOLD_APART),
        )


def _reports() -> None:
    op.add_column("report", sa.Column("device_digest", sa.LargeBinary()))
    for name in ("is_newcomer", "needs_screening"):
        op.add_column("report", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.text("false")))
    op.create_check_constraint(op.f("ck_report_device_digest"), "report", "octet_length(device_digest) = 32")
    known = sa.text("device_digest IS NOT NULL")
    op.create_index("ix_report_device", "report", ["device_digest", "received_at"], postgresql_where=known)
    op.create_index("ix_report_device_memory", "report", ["received_at"], postgresql_where=known)
    for name in ("is_newcomer", "needs_screening"):
        op.create_index(f"ix_report_{name}", "report", ["received_at"], postgresql_where=sa.text(name))


def _candidates() -> None:
    op.create_table(
        "duplicate_candidate",
        sa.Column("report_id", sa.Uuid(), _of("report"), primary_key=True),
        sa.Column("other_report_id", sa.Uuid(), _of("report"), primary_key=True, index=True),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("photo_id", sa.Uuid(), _of("photo")),
        sa.Column("other_photo_id", sa.Uuid(), _of("photo")),
        sa.Column("picture_bits", sa.SmallInteger()),
        sa.Column("is_same_file", sa.Boolean(), nullable=False),
        sa.Column("is_same_device", sa.Boolean(), nullable=False),
        sa.Column("is_near", sa.Boolean(), nullable=False),
        sa.Column("is_recycled", sa.Boolean(), nullable=False),
        sa.Column("distance_m", sa.Float(), nullable=False),
        sa.Column("apart_s", sa.Float(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        _check("two_reports", "report_id <> other_report_id"),
        _check("score", "score BETWEEN 0 AND 1"),
        _check("picture_bits", "picture_bits BETWEEN 0 AND 64"),
        _check("has_reason", "picture_bits IS NOT NULL OR is_same_device OR is_near"),
        _check("picture_whole", "num_nonnulls(photo_id, other_photo_id, picture_bits) IN (0, 3)"),
        _check("of_a_picture", "picture_bits IS NOT NULL OR NOT (is_same_file OR is_recycled)"),
        _check("apart", "distance_m >= 0 AND apart_s >= 0"),
    )


def _of(table: str) -> sa.ForeignKey:
    return sa.ForeignKey(f"{table}.id", ondelete="CASCADE")


def _check(name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_duplicate_candidate_{name}"))


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
