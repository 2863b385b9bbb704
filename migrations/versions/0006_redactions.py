"""Faces and number plates are covered in every picture, and moderators say where more or less of it is due.

Revision ID: 0006
Revises: 0005
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("photo", sa.Column("redaction_wanted_at", sa.DateTime(timezone=True)))
    op.create_table(
        "photo_redaction",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("photo_id", sa.Uuid(), sa.ForeignKey("photo.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("kind", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("left", "top", "width", "height")),
        sa.Column("score", sa.Float()),
        sa.Column("made_by", sa.Uuid()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_by", sa.Uuid()),
        sa.Column("removed_at", sa.DateTime(timezone=True)),
        _check("kind", "kind IN ('face', 'plate', 'drawn')"),
        _check("positive", '"left" >= 0 AND top >= 0 AND width > 0 AND height > 0'),
        _check("within", '"left" + width <= 1.001 AND top + height <= 1.001'),
        _check("removed_by_somebody", "(removed_at IS NULL) = (removed_by IS NULL)"),
        _check("drawn_by_somebody", "(kind = 'drawn') = (made_by IS NOT NULL)"),
    )


def _check(name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_photo_redaction_{name}"))


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
