"""People who watch a water; incidents are found by where they are.

Revision ID: 0019
Revises: 0018
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

NOW = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "watch",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("water_body_id", sa.Uuid(), sa.ForeignKey("water_body.id", ondelete="CASCADE"), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("recipient_digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("asked_at", NOW, nullable=False),
        sa.Column("confirmed_at", NOW),
        sa.Column("told_level", sa.SmallInteger()),
        sa.Column("told_at", NOW),
        sa.UniqueConstraint("water_body_id", "recipient_digest", name=op.f("uq_watch_water_body_id_recipient_digest")),
        _check("channel", "channel IN ('email', 'push')"),
        _check("language", "language IN ('zh-Hans', 'zh-Hant', 'en')"),
        _check("recipient_digest", "octet_length(recipient_digest) = 32"),
        _check("told_level", "told_level BETWEEN 1 AND 4"),
        _check("push_is_asked_for", "channel = 'email' OR confirmed_at IS NOT NULL"),
    )
    op.create_index("ix_watch_recipient_digest", "watch", ["recipient_digest"])
    op.create_index("ix_watch_unconfirmed", "watch", ["asked_at"], postgresql_where=sa.text("confirmed_at IS NULL"))
    op.create_index("ix_incident_public_point", "incident", ["public_point"], postgresql_using="gist")


def _check(name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_watch_{name}"))


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
