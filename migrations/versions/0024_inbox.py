"""What comes back by mail.

Revision ID: 0024
Revises: 0023
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0024"
down_revision: str | None = "0023"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

NOW = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "incoming_mail",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", NOW, nullable=False),
        sa.Column("state_deadline_at", NOW),
        sa.Column("received_at", NOW, nullable=False),
        sa.Column("has_null_sender", sa.Boolean(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("raw_bytes", sa.BigInteger(), nullable=False),
        sa.Column("object_key", sa.Text(), unique=True),
        sa.Column("keep_until", NOW, nullable=False),
        sa.Column("kind", sa.Text()),
        sa.Column("status", sa.Text()),
        sa.Column("fault", sa.Text()),
        sa.Column("sealed", sa.LargeBinary()),
        sa.UniqueConstraint("delivery_id", "fingerprint", name=op.f("uq_incoming_mail_delivery_id_fingerprint")),
        _check("purpose", "purpose IN ('case')"),
        _check("state", "state IN ('received', 'sorted', 'unreadable')"),
        _check("kind", "kind IN ('bounce', 'delayed', 'auto_reply', 'answer', 'unknown')"),
        _check("kind_once_sorted", "(state = 'received') = (kind IS NULL)"),
        _check("unreadable_has_fault", "(state = 'unreadable') = (fault IS NOT NULL)"),
        _check("status", "status ~ '^[245][.][0-9]{1,3}[.][0-9]{1,3}$'"),
        _check("digests", "octet_length(fingerprint) = 32 AND octet_length(sha256) = 32"),
        _check("raw_bytes", "raw_bytes >= 0"),
        _check("forgotten_whole", "sealed IS NULL OR object_key IS NOT NULL"),
    )
    op.create_index(
        "ix_incoming_mail_deadline",
        "incoming_mail",
        ["state_deadline_at"],
        postgresql_where=sa.text("state_deadline_at IS NOT NULL"),
    )
    op.create_index(
        "ix_incoming_mail_keep_until",
        "incoming_mail",
        ["keep_until"],
        postgresql_where=sa.text("object_key IS NOT NULL"),
    )


def _check(name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_incoming_mail_{name}"))


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
