"""A submission is known by a keyed digest of all that was sent; a mail may say that a severity was raised.

Revision ID: 0003
Revises: 0002
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    _submission_digest()
    _raises()


def _submission_digest() -> None:
    """Reports that are there keep none of their senders' keys: whoever sent them has long had the answer."""
    op.add_column("report", sa.Column("submission_digest", sa.LargeBinary(), nullable=True))
    op.execute("UPDATE report SET submission_digest = sha256(uuid_send(gen_random_uuid()) || uuid_send(id))")
    op.alter_column("report", "submission_digest", nullable=False)
    op.create_unique_constraint(op.f("uq_report_submission_digest"), "report", ["submission_digest"])
    op.create_check_constraint(op.f("ck_report_submission_digest"), "report", "octet_length(submission_digest) = 32")
    op.drop_constraint(op.f("uq_report_idempotency_key"), "report")
    op.drop_column("report", "idempotency_key")


def _raises() -> None:
    op.add_column("delivery", sa.Column("severity", sa.SmallInteger(), nullable=True))
    op.add_column("delivery", sa.Column("raised_from", sa.SmallInteger(), nullable=True))
    op.execute("UPDATE delivery d SET severity = c.severity FROM escalation_case c WHERE c.id = d.case_id")
    op.alter_column("delivery", "severity", nullable=False)
    op.create_check_constraint(
        op.f("ck_delivery_severity"), "delivery", "severity BETWEEN 1 AND 4 AND raised_from BETWEEN 1 AND severity - 1"
    )
    op.drop_constraint(op.f("uq_delivery_case_id_channel_address"), "delivery")
    op.create_unique_constraint(
        op.f("uq_delivery_case_id_channel_address_severity"), "delivery", ["case_id", "channel", "address", "severity"]
    )


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
