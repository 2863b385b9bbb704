"""Photos older than the detectors are looked at as well: until then nobody but moderators sees their pictures.

Revision ID: 0012
Revises: 0011
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# Dated back, so that the sweep's next round orders the work. A photo in which a detector found nothing has no row
# either and is looked at once more: that costs a second, and a neighbour in an old picture would be seen for good.
_LOOK = """
UPDATE photo SET redaction_wanted_at = now() - interval '1 hour'
WHERE state = 'ready' AND redaction_wanted_at IS NULL
  AND NOT EXISTS (SELECT FROM photo_redaction WHERE photo_id = photo.id)
"""


def upgrade() -> None:
    op.execute(sa.text(_LOOK))


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
