"""The list of incidents by time reads as many as it shows.

Revision ID: 0011
Revises: 0010
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("ix_incident_opened_at", "incident", ["opened_at", "id"])


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
