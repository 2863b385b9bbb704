"""Citizens are told, correct their reports and keep them in an account: contacts apart from reports, sealed mails.

Revision ID: 0008
Revises: 0007
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

NOW = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("report", sa.Column("version", sa.Integer(), nullable=False, server_default=sa.text("1")))
    op.add_column("report", sa.Column("corrected_at", NOW))
    op.create_check_constraint(op.f("ck_report_version"), "report", "version >= 1")
    _postings()
    _contacts()
    _subscriptions()
    op.create_table(
        "report_owner",
        sa.Column("person_id", sa.Uuid(), sa.ForeignKey("person.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("report_id", sa.Uuid(), sa.ForeignKey("report.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("added_at", NOW, nullable=False),
    )
    op.create_index(op.f("ix_report_owner_report_id"), "report_owner", ["report_id"])


def _postings() -> None:
    op.create_table(
        "posting",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("recipient_id", sa.Uuid(), nullable=False),
        sa.Column("once_key", sa.Text(), unique=True),
        sa.Column("recipient_digest", sa.LargeBinary()),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", NOW, nullable=False),
        sa.Column("state_deadline_at", NOW),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("deferrals", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("created_at", NOW, nullable=False),
        sa.Column("sent_at", NOW),
        sa.Column("last_error", sa.Text()),
        _check("posting", "channel", "channel IN ('email', 'push')"),
        _check("posting", "kind", "kind ~ '^[a-z_]{1,20}[.][a-z_]{1,30}$'"),
        _check("posting", "state", "state IN ('pending', 'sending', 'sent', 'refused', 'dead', 'dropped')"),
        _check("posting", "sealed_while_open", "(state IN ('pending', 'sending')) = (sealed IS NOT NULL)"),
        _check("posting", "sent_at", "(state = 'sent') = (sent_at IS NOT NULL)"),
        _check("posting", "recipient_digest", "octet_length(recipient_digest) = 32"),
        _check("posting", "attempts", "attempts >= 0 AND deferrals BETWEEN 0 AND attempts"),
    )
    op.create_index(
        "ix_posting_deadline",
        "posting",
        ["state_deadline_at"],
        postgresql_where=sa.text("state_deadline_at IS NOT NULL"),
    )
    op.create_index(
        "ix_posting_recipient_digest",
        "posting",
        ["recipient_digest"],
        postgresql_where=sa.text("recipient_digest IS NOT NULL"),
    )
    op.create_index(op.f("ix_posting_subject_id"), "posting", ["subject_id"])


def _contacts() -> None:
    op.create_table(
        "report_contact",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("report_id", sa.Uuid(), sa.ForeignKey("report.id", ondelete="CASCADE"), nullable=False, unique=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("has_email", sa.Boolean(), nullable=False),
        sa.Column("has_phone", sa.Boolean(), nullable=False),
        sa.Column("by_mail", sa.Boolean(), nullable=False),
        sa.Column("may_ask", sa.Boolean(), nullable=False),
        sa.Column("created_at", NOW, nullable=False),
        sa.Column("confirmed_at", NOW),
        _check("report_contact", "has_some", "has_email OR has_phone"),
        _check("report_contact", "mail_needs_address", "has_email OR NOT by_mail"),
        _check("report_contact", "confirmed_address", "has_email OR confirmed_at IS NULL"),
    )


def _subscriptions() -> None:
    op.create_table(
        "push_subscription",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("report_id", sa.Uuid(), sa.ForeignKey("report.id", ondelete="CASCADE"), nullable=False),
        sa.Column("endpoint_digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", NOW, nullable=False),
        sa.UniqueConstraint(
            "report_id", "endpoint_digest", name=op.f("uq_push_subscription_report_id_endpoint_digest")
        ),
        _check("push_subscription", "endpoint_digest", "octet_length(endpoint_digest) = 32"),
    )


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
