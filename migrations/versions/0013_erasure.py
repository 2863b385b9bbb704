"""A report that was withdrawn, or refused long ago, can be erased; what is kept of an account's reports is a day.

Revision ID: 0013
Revises: 0012
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_PRIVATE = (
    "note, place_words, refusal_words, observed_at, corrected_at, same_as_code, device_digest, accuracy_m, "
    "device_point, chosen_water_feature_id, water_feature_id, snapped_point, snap_distance_m, extent, smell, "
    "is_ongoing, has_dead_animals, affects_people, colour, since, transparency_cm, water_depth_cm, ph, do_mg_l, "
    "nh3n_mg_l, orp_mv, temperature_c"
)
_DAYS = "UPDATE report_owner SET added_at = date_trunc('day', added_at, 'UTC')"


def upgrade() -> None:
    op.add_column("report", sa.Column("erased_at", sa.DateTime(timezone=True)))
    for name, rule in (
        ("erased_is_gone", f"num_nonnulls({_PRIVATE}) = 0"),
        ("erased_has_no_place", "ST_IsEmpty(point)"),
        ("erased_has_ended", "state IN ('refused', 'withdrawn')"),
    ):
        op.create_check_constraint(op.f(f"ck_report_{name}"), "report", f"erased_at IS NULL OR {rule}")
    # What was withdrawn before is found by this as well: the sweep's first rounds erase it.
    op.create_index(
        "ix_report_to_erase",
        "report",
        ["state_since"],
        postgresql_where=sa.text("erased_at IS NULL AND state IN ('refused', 'withdrawn')"),
    )
    op.execute(sa.text(_DAYS))


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
