"""Waters generalised for each band of zooms: what tiles are cut from.

Revision ID: 0018
Revises: 0017
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

PARTS = {
    "waters": ("water_feature", "water_body", "water_name", "source"),
    "areas": ("jurisdiction", "jurisdiction_name"),
    "zones": ("protected_zone", "protected_zone_name"),
}
# A random value and not a number: two databases that began as one never mean different states by the same value.
CHANGED = """
CREATE FUNCTION map_ground_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE map_ground SET version = gen_random_uuid() WHERE part = TG_ARGV[0];
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "water_tile",
        sa.Column("band", sa.SmallInteger(), nullable=False),
        sa.Column("feature_id", sa.BigInteger(), nullable=False),
        sa.Column("is_lake", sa.Boolean(), nullable=False),
        sa.Column("step", sa.SmallInteger(), nullable=False),
        sa.Column("size_class", sa.SmallInteger(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        *_names(),
        sa.Column("digest", sa.Uuid(), nullable=False),
        sa.Column("geom", Geometry("GEOMETRY", srid=3857, spatial_index=False), nullable=False),
        sa.CheckConstraint("band IN (4, 6, 8, 10, 11)", name=op.f("ck_water_tile_band")),
        sa.CheckConstraint("size_class BETWEEN 1 AND 5", name=op.f("ck_water_tile_size_class")),
        sa.PrimaryKeyConstraint("band", "feature_id", name=op.f("pk_water_tile")),
    )
    for band in (4, 6, 8, 10, 11):
        op.create_index(
            f"ix_water_tile_{band}",
            "water_tile",
            ["geom"],
            postgresql_using="gist",
            postgresql_where=sa.text(f"band = {band}"),
        )
    op.create_table(
        "water_label",
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("is_lake", sa.Boolean(), nullable=False),
        sa.Column("step", sa.SmallInteger(), nullable=False),
        sa.Column("size_class", sa.SmallInteger(), nullable=False),
        *_names(),
        sa.Column("geom", Geometry("POINT", srid=3857, spatial_index=False), nullable=False),
        sa.CheckConstraint("size_class BETWEEN 1 AND 5", name=op.f("ck_water_label_size_class")),
        sa.PrimaryKeyConstraint("public_id", name=op.f("pk_water_label")),
    )
    op.create_index("ix_water_label_geom", "water_label", ["geom"], postgresql_using="gist")
    op.create_table(
        "area_label",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        *_names(),
        sa.Column("geom", Geometry("POINT", srid=3857, spatial_index=False), nullable=False),
        sa.CheckConstraint("level BETWEEN 1 AND 3", name=op.f("ck_area_label_level")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_area_label")),
    )
    op.create_index("ix_area_label_geom", "area_label", ["geom"], postgresql_using="gist")
    op.create_table(
        "tile_rule",
        sa.Column("layer", sa.Text(), nullable=False),
        sa.Column("zoom", sa.SmallInteger(), nullable=False),
        sa.Column("least_step", sa.SmallInteger(), nullable=False),
        sa.CheckConstraint("layer IN ('rivers', 'lakes', 'labels')", name=op.f("ck_tile_rule_layer")),
        sa.PrimaryKeyConstraint("layer", "zoom", name=op.f("pk_tile_rule")),
    )
    op.create_index(
        "ix_incident_open_place",
        "incident",
        ["public_point"],
        postgresql_using="gist",
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    _ground()


def _names() -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=True) for name in ("name", "name_hant", "name_en")]


def _ground() -> None:
    op.create_table(
        "map_ground",
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("version", sa.Uuid(), nullable=False),
        sa.Column("drawn_version", sa.Uuid(), nullable=True),
        sa.CheckConstraint("part IN ('waters', 'areas', 'zones')", name=op.f("ck_map_ground_part")),
        sa.PrimaryKeyConstraint("part", name=op.f("pk_map_ground")),
    )
    op.execute(CHANGED)
    for part, tables in PARTS.items():
        op.execute(f"INSERT INTO map_ground (part, version) VALUES ('{part}', gen_random_uuid())")  # noqa: S608
        for table in tables:
            op.execute(
                f"CREATE TRIGGER {table}_is_ground AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}"
                f" FOR EACH STATEMENT EXECUTE FUNCTION map_ground_changed('{part}')"
            )


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
