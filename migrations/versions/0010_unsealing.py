"""Leads may demand a sealed original; photos that are being made anew are found without reading all of them.

Revision ID: 0010
Revises: 0009
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_GRANT = """
UPDATE role SET permissions = permissions || '["unseal"]'::jsonb WHERE name = 'lead_moderator'
"""


def upgrade() -> None:
    op.execute(sa.text(_GRANT.replace(":", "\\:")))
    op.create_index(
        "ix_photo_redaction_wanted_at",
        "photo",
        ["redaction_wanted_at"],
        postgresql_where=sa.text("redaction_wanted_at IS NOT NULL"),
    )


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
