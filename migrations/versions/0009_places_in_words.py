"""How one gets to a place, in the reporter's words; and keys by which areas are found by name.

Revision ID: 0009
Revises: 0008
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.orm import Session

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("report", sa.Column("place_words", sa.Text()))
    op.create_check_constraint(op.f("ck_report_place_words_length"), "report", "length(place_words) <= 200")
    op.create_table(
        "jurisdiction_key",
        sa.Column("jurisdiction_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("grade", sa.SmallInteger(), nullable=False),
        sa.CheckConstraint("key <> ''", name=op.f("ck_jurisdiction_key_key")),
        sa.CheckConstraint("grade BETWEEN 0 AND 9", name=op.f("ck_jurisdiction_key_grade")),
        sa.ForeignKeyConstraint(
            ["jurisdiction_id"],
            ["jurisdiction.id"],
            name=op.f("fk_jurisdiction_key_jurisdiction_id_jurisdiction"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("jurisdiction_id", "key", name=op.f("pk_jurisdiction_key")),
    )
    op.create_index("ix_jurisdiction_key_key", "jurisdiction_key", ["key"], postgresql_ops={"key": "text_pattern_ops"})
    # Areas that are there already get their keys from the code that runs this, as every load makes them.
    from waterwatch.agencies.search import make_area_keys

    with Session(op.get_bind()) as session:
        make_area_keys(session, list(session.execute(sa.text("SELECT id FROM jurisdiction")).scalars()))
        session.flush()


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
