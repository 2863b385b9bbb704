"""Bulletins: editions, their files, what they show, and the letters that bring them.

Revision ID: 0025
Revises: 0024
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0025"
down_revision: str | None = "0024"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

NOW = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "bulletin",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("agency_id", sa.Uuid(), sa.ForeignKey("agency.id"), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("edition", sa.SmallInteger(), nullable=False),
        sa.Column("corrects_id", sa.Uuid(), sa.ForeignKey("bulletin.id")),
        sa.Column("as_of", NOW, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", NOW, nullable=False),
        sa.Column("state_deadline_at", NOW),
        sa.Column("foreword", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("revision", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("facts", JSONB(), nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("incident_ids", sa.ARRAY(sa.Uuid()), nullable=False, server_default=sa.text("'{}'::uuid[]")),
        sa.Column("answer_ids", sa.ARRAY(sa.Uuid()), nullable=False, server_default=sa.text("'{}'::uuid[]")),
        sa.Column("made_at", NOW),
        sa.Column("approved_at", NOW),
        sa.Column("approved_by", sa.Uuid(), sa.ForeignKey("person.id")),
        sa.Column("withheld_reason", sa.Text()),
        sa.UniqueConstraint("agency_id", "period", "edition", name=op.f("uq_bulletin_agency_id_period_edition")),
        _check("bulletin", "state", "state IN ('making', 'draft', 'withheld', 'approved', 'archived', 'recalled')"),
        _check("bulletin", "withheld_reason_length", "length(withheld_reason) BETWEEN 3 AND 500"),
        _check("bulletin", "approved_at", "(state IN ('approved', 'archived')) <= (approved_at IS NOT NULL)"),
        _check("bulletin", "revision", "revision >= 1"),
        _check("bulletin", "edition", "edition >= 1 AND (edition = 1) = (corrects_id IS NULL)"),
        _check("bulletin", "corrects_another", "corrects_id <> id"),
        _check("bulletin", "foreword", "length(foreword) <= 2000"),
        _check("bulletin", "withheld_reason", "(state = 'withheld') = (withheld_reason IS NOT NULL)"),
        _check("bulletin", "approved_by", "(approved_at IS NULL) = (approved_by IS NULL)"),
        _check("bulletin", "period", "period ~ '^20[0-9]{2}(Q[1-4]|-(0[1-9]|1[0-2]))$'"),
    )
    op.create_index("ix_bulletin_corrects_id", "bulletin", ["corrects_id"])
    op.create_index(
        "ix_bulletin_deadline",
        "bulletin",
        ["state_deadline_at"],
        postgresql_where=sa.text("state_deadline_at IS NOT NULL"),
    )
    op.create_index("ix_bulletin_period", "bulletin", ["period"])
    op.create_table(
        "bulletin_file",
        sa.Column("bulletin_id", sa.Uuid(), sa.ForeignKey("bulletin.id"), nullable=False),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("volume", sa.SmallInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("pages", sa.Integer()),
        sa.PrimaryKeyConstraint("bulletin_id", "form", "volume", name=op.f("pk_bulletin_file")),
        _check("bulletin_file", "volume", "volume >= 1 AND (form = 'pdf' OR volume = 1)"),
        _check("bulletin_file", "content", "octet_length(sha256) = 32 AND bytes > 0"),
        _check("bulletin_file", "form", "form IN ('pdf', 'csv')"),
        _check("bulletin_file", "pages", "(form = 'pdf') = (pages IS NOT NULL) AND pages > 0"),
    )
    op.create_table(
        "bulletin_photo",
        sa.Column("bulletin_id", sa.Uuid(), sa.ForeignKey("bulletin.id"), nullable=False),
        sa.Column("photo_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("bulletin_id", "photo_id", name=op.f("pk_bulletin_photo")),
        _check("bulletin_photo", "sha256", "octet_length(sha256) = 32"),
    )
    op.create_table(
        "bulletin_letter",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("bulletin_id", sa.Uuid(), sa.ForeignKey("bulletin.id"), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", NOW, nullable=False),
        sa.Column("state_deadline_at", NOW),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("deferrals", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("created_at", NOW, nullable=False),
        sa.Column("sent_at", NOW),
        sa.Column("last_error", sa.Text()),
        sa.UniqueConstraint("message_id", name=op.f("uq_bulletin_letter_message_id")),
        sa.UniqueConstraint("bulletin_id", "address", name=op.f("uq_bulletin_letter_bulletin_id_address")),
        _check("bulletin_letter", "attempts", "attempts >= 0 AND deferrals BETWEEN 0 AND attempts"),
        _check("bulletin_letter", "sent_at", "(state = 'sent') = (sent_at IS NOT NULL)"),
        _check("bulletin_letter", "state", "state IN ('pending', 'sending', 'sent', 'refused', 'dead', 'cancelled')"),
    )
    op.create_index(
        "ix_bulletin_letter_deadline",
        "bulletin_letter",
        ["state_deadline_at"],
        postgresql_where=sa.text("state_deadline_at IS NOT NULL"),
    )


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
