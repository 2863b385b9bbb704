"""Agencies are reached by several channels; deliveries know theirs; breakers for endpoints; letters that go as one.

Revision ID: 0020
Revises: 0019
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

NOW = sa.DateTime(timezone=True)
CHANNELS = "channel IN ('email', 'webhook', 'open311', 'cap_feed', 'post')"


def upgrade() -> None:
    _agencies()
    _digests_and_endpoints()
    _deliveries()
    _alarms()
    is_rung: sa.Column[bool] = sa.Column("is_rung", sa.Boolean(), nullable=False, server_default=sa.text("false"))
    op.add_column("outbox", is_rung)


def _agencies() -> None:
    op.add_column("agency", sa.Column("channels_in", sa.Text(), nullable=False, server_default=sa.text("'parallel'")))
    op.add_column("agency", sa.Column("digest_upto", sa.SmallInteger(), nullable=False, server_default=sa.text("0")))
    op.add_column("agency", sa.Column("digest_at", sa.Time(), nullable=False, server_default=sa.text("'09:00'")))
    _check("agency", "channels_in", "channels_in IN ('parallel', 'order')")
    _check("agency", "digest_upto", "digest_upto BETWEEN 0 AND 3")
    settings = sa.Column("settings", postgresql.JSONB(), nullable=False, server_default=sa.text("'{}'"))
    op.add_column("agency_contact", settings)
    op.add_column("agency_contact", sa.Column("sealed_secret", sa.LargeBinary()))
    op.add_column("agency_contact", sa.Column("sealed_secret_previous", sa.LargeBinary()))
    op.add_column("agency_contact", sa.Column("secret_rotated_at", NOW))
    op.execute("DELETE FROM agency_contact WHERE address = ''")
    _check_anew("agency_contact", "channel", CHANNELS)
    _check("agency_contact", "address", "address <> ''")
    _check("agency_contact", "settings", "jsonb_typeof(settings) = 'object'")
    _check("agency_contact", "secrets", "sealed_secret IS NOT NULL OR sealed_secret_previous IS NULL")


def _digests_and_endpoints() -> None:
    op.create_table(
        "digest",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("agency_id", sa.Uuid(), sa.ForeignKey("agency.id"), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("created_at", NOW, nullable=False),
        sa.Column("retry_at", NOW),
        sa.UniqueConstraint("message_id", name=op.f("uq_digest_message_id")),
    )
    op.create_index("ix_digest_agency_id", "digest", ["agency_id"])
    op.create_table(
        "endpoint",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("failures", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("opened", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("open_until", NOW),
        sa.Column("probing_until", NOW),
        sa.Column("last_error", sa.Text()),
        sa.Column("changed_at", NOW, nullable=False),
        sa.CheckConstraint("failures >= 0 AND opened >= 0", name=op.f("ck_endpoint_counts")),
        sa.CheckConstraint("open_until IS NULL OR opened > 0", name=op.f("ck_endpoint_opened")),
    )


def _alarms() -> None:
    op.create_table(
        "case_alarm",
        sa.Column("case_id", sa.Uuid(), sa.ForeignKey("escalation_case.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("reason", sa.Text(), primary_key=True),
        sa.Column("raised_at", NOW, nullable=False),
        sa.Column("told_at", NOW),
        sa.CheckConstraint("reason ~ '^[a-z_]{1,40}$'", name=op.f("ck_case_alarm_reason")),
    )
    op.create_index("ix_case_alarm_untold", "case_alarm", ["raised_at"], postgresql_where=sa.text("told_at IS NULL"))


def _deliveries() -> None:
    contact = sa.ForeignKey("agency_contact.id", ondelete="SET NULL")
    op.add_column("delivery", sa.Column("contact_id", sa.Uuid(), contact))
    op.add_column("delivery", sa.Column("due_at", NOW, nullable=False, server_default=sa.text("now()")))
    op.add_column("delivery", sa.Column("awaits", sa.Text()))
    op.add_column("delivery", sa.Column("remote_id", sa.Text()))
    op.add_column("delivery", sa.Column("endpoint", sa.Text()))
    op.add_column("delivery", sa.Column("remote_status", sa.Text()))
    op.add_column("delivery", sa.Column("remote_digest", sa.LargeBinary()))
    op.add_column("delivery", sa.Column("polled_at", NOW))
    op.add_column("delivery", sa.Column("digest_id", sa.Uuid(), sa.ForeignKey("digest.id")))
    is_digested: sa.Column[bool] = sa.Column(
        "is_digested", sa.Boolean(), nullable=False, server_default=sa.text("false")
    )
    op.add_column("delivery", is_digested)
    op.execute("UPDATE delivery SET due_at = created_at")
    op.execute(
        """UPDATE delivery d SET contact_id = k.id
           FROM escalation_case c JOIN agency_contact k ON k.agency_id = c.agency_id
           WHERE c.id = d.case_id AND k.channel = d.channel AND k.address = d.address"""
    )
    _check_anew(
        "delivery", "state", "state IN ('pending', 'sending', 'sent', 'awaiting', 'refused', 'dead', 'cancelled')"
    )
    _check_anew("delivery", "says", "says IN ('case', 'lowered', 'withdrawn', 'reminder', 'overdue', 'reopened')")
    _check_anew("delivery", "channel", CHANNELS)
    _check("delivery", "awaits", "(state = 'awaiting') = (awaits IS NOT NULL)")
    _check("delivery", "remote_status", "remote_status IN ('open', 'closed')")
    _index("polled", ["polled_at"], "channel = 'open311' AND remote_id IS NOT NULL")
    _index("waiting", ["contact_id", "due_at"], "state = 'pending'")
    _index("sending", ["endpoint"], "state = 'sending'")
    _index("awaiting", ["channel"], "state = 'awaiting'")
    _index("digest_id", ["digest_id"], "digest_id IS NOT NULL")
    _index("remote_id", ["contact_id", "remote_id"], "remote_id IS NOT NULL")


def _check(table: str, name: str, condition: str) -> None:
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def _check_anew(table: str, name: str, condition: str) -> None:
    op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
    _check(table, name, condition)


def _index(name: str, columns: list[str], condition: str) -> None:
    op.create_index(f"ix_delivery_{name}", "delivery", columns, postgresql_where=sa.text(condition))


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
