"""Keys by which a water is found: names, their sound, initials and parts.

Revision ID: 0003
Revises: 0002
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.orm import Session

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.create_table(
        "water_key",
        sa.Column("water_body_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("grade", sa.SmallInteger(), nullable=False),
        sa.CheckConstraint("key <> ''", name=op.f("ck_water_key_key")),
        sa.CheckConstraint("grade BETWEEN 0 AND 6", name=op.f("ck_water_key_grade")),
        sa.ForeignKeyConstraint(
            ["water_body_id"],
            ["water_body.id"],
            name=op.f("fk_water_key_water_body_id_water_body"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("water_body_id", "key", name=op.f("pk_water_key")),
    )
    op.create_index("ix_water_key_key", "water_key", ["key"], postgresql_ops={"key": "text_pattern_ops"})
    op.create_index(
        "ix_water_key_trigrams",
        "water_key",
        ["key"],
        postgresql_using="gin",
        postgresql_ops={"key": "gin_trgm_ops"},
        postgresql_where=sa.text("grade <= 2"),
    )
    # Names that are there already get their keys from the code that runs this: whatever it makes now or later is
    # made anew at every load.
    from waterwatch.waters.service import make_keys

    with Session(op.get_bind()) as session:
        make_keys(session)
        session.flush()


def downgrade() -> None:
    op.drop_table("water_key")
