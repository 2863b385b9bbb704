"""Waters at the size of a country: keys that find names, runs of imports, the network's side arms, areas in pieces.

Revision ID: 0004
Revises: 0003
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# Kept by the database itself: whoever writes an area, its pieces are in step. 128 vertices a piece: PostGIS' manual finds
# the best somewhere between 100 and 256 (ST_Subdivide).
PARTS = """
INSERT INTO jurisdiction_part (jurisdiction_id, geom)
SELECT id, ST_Subdivide(geom, 128) FROM jurisdiction
"""
KEEP_PARTS = """
CREATE FUNCTION jurisdiction_keep_parts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (OLD.geom, OLD.retired_at) IS NOT DISTINCT FROM (NEW.geom, NEW.retired_at) THEN
            RETURN NULL;
        END IF;
        DELETE FROM jurisdiction_part WHERE jurisdiction_id = NEW.id;
    END IF;
    IF NEW.retired_at IS NULL THEN
        INSERT INTO jurisdiction_part (jurisdiction_id, geom) SELECT NEW.id, ST_Subdivide(NEW.geom, 128);
    END IF;
    RETURN NULL;
END $$
"""
TRIGGERS = (
    "CREATE TRIGGER jurisdiction_parts_of_new AFTER INSERT ON jurisdiction"
    " FOR EACH ROW EXECUTE FUNCTION jurisdiction_keep_parts()",
    # Without WHEN: a restored backup could not make it, as it has no operator for geometry in sight then.
    "CREATE TRIGGER jurisdiction_parts_of_changed AFTER UPDATE OF geom, retired_at ON jurisdiction"
    " FOR EACH ROW EXECUTE FUNCTION jurisdiction_keep_parts()",
)


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute("CREATE EXTENSION IF NOT EXISTS fuzzystrmatch")
    op.execute("CREATE SCHEMA IF NOT EXISTS staging")
    _import_run()
    _water_key()
    _features()
    _jurisdiction_part()
    _river_chief()
    _protected_zone()
    # Names that are there already get their keys from the code that runs this: what it makes now or later is made anew
    # at every load.
    from waterwatch.waters.service import make_keys, set_extents

    with Session(op.get_bind()) as session:
        make_keys(session, list(session.execute(sa.text("SELECT id FROM water_body")).scalars()))
        set_extents(session)
        session.flush()


def _import_run() -> None:
    op.create_table(
        "import_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source_code", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("next_row", sa.BigInteger(), nullable=False),
        sa.Column("staged", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("report", JSONB(), nullable=True),
        sa.CheckConstraint("state IN ('staging', 'refused', 'done', 'tried')", name=op.f("ck_import_run_state")),
        sa.CheckConstraint("next_row >= 0 AND staged >= 0", name=op.f("ck_import_run_counts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_run")),
    )
    op.create_index(
        "uq_import_run_unfinished",
        "import_run",
        ["fingerprint"],
        unique=True,
        postgresql_where=sa.text("state = 'staging'"),
    )


def _water_key() -> None:
    op.create_table(
        "water_key",
        sa.Column("water_body_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("grade", sa.SmallInteger(), nullable=False),
        sa.Column("weight", sa.SmallInteger(), nullable=False),
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
    op.create_index("ix_water_key_key", "water_key", ["key", "weight"])
    op.create_table(
        "water_word",
        sa.Column("word", sa.Text(), nullable=False),
        sa.Column("weight", sa.SmallInteger(), nullable=False),
        sa.Column("is_name", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("word", name=op.f("pk_water_word")),
    )
    op.create_index("ix_water_word_word", "water_word", ["word"], postgresql_ops={"word": "text_pattern_ops"})
    for letters in range(1, 5):
        op.create_index(f"ix_water_word_first_{letters}", "water_word", [sa.text(f'"left"(word, {letters})'), "weight"])
    op.create_index(
        "ix_water_word_trigrams",
        "water_word",
        ["word"],
        postgresql_using="gin",
        postgresql_ops={"word": "gin_trgm_ops"},
        postgresql_where=sa.text("is_name"),
        # Words come in bulk and seldom; a list of those not yet sorted in would be read through by every search.
        postgresql_with={"fastupdate": "off"},
    )


def _features() -> None:
    op.add_column("water_body", sa.Column("extent", Geometry("POLYGON", srid=4326, spatial_index=False)))
    op.drop_index("ix_water_feature_geom", "water_feature")
    for name in ("dist_up_km", "catch_skm"):
        op.add_column("water_feature", sa.Column(name, sa.Double(), nullable=True))
    for name in ("ord_clas", "ord_flow"):
        op.add_column("water_feature", sa.Column(name, sa.SmallInteger(), nullable=True))
    op.add_column("water_feature", sa.Column("hybas_l12", sa.BigInteger(), nullable=True))
    op.add_column("water_feature", sa.Column("endorheic", sa.Boolean(), nullable=True))
    op.add_column("water_feature", sa.Column("lake_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_water_feature_lake_id_water_feature"), "water_feature", "water_feature", ["lake_id"], ["id"]
    )
    op.create_index(
        "ix_water_feature_lake_id", "water_feature", ["lake_id"], postgresql_where=sa.text("lake_id IS NOT NULL")
    )
    op.create_index("ix_water_feature_lakes", "water_feature", ["id"], postgresql_where=sa.text("kind = 'lake'"))
    op.drop_constraint(op.f("ck_water_feature_reach_only"), "water_feature")
    op.create_check_constraint(
        op.f("ck_water_feature_reach_only"),
        "water_feature",
        "kind = 'reach' OR num_nonnulls(length_km, dist_dn_km, dist_up_km, upland_skm, catch_skm, ord_stra, ord_clas,"
        " ord_flow, hybas_l12, endorheic, lake_id) = 0",
    )
    op.drop_constraint(op.f("ck_water_feature_reach_numbers"), "water_feature")
    op.create_check_constraint(
        op.f("ck_water_feature_reach_numbers"),
        "water_feature",
        "length_km >= 0 AND dist_dn_km >= 0 AND dist_up_km >= 0 AND upland_skm >= 0 AND catch_skm >= 0 AND ord_stra > 0"
        " AND dis_av_cms >= 0",
    )
    op.create_table(
        "water_link",
        sa.Column("upper_id", sa.Uuid(), nullable=False),
        sa.Column("lower_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("upper_id <> lower_id", name=op.f("ck_water_link_not_itself")),
        sa.ForeignKeyConstraint(["upper_id"], ["water_feature.id"], name=op.f("fk_water_link_upper_id_water_feature")),
        sa.ForeignKeyConstraint(["lower_id"], ["water_feature.id"], name=op.f("fk_water_link_lower_id_water_feature")),
        sa.PrimaryKeyConstraint("upper_id", "lower_id", name=op.f("pk_water_link")),
    )
    op.create_index(op.f("ix_water_link_lower_id"), "water_link", ["lower_id"])
    op.create_table(
        "water_network",
        sa.Column("id", sa.SmallInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_water_network_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_water_network")),
    )
    op.execute("INSERT INTO water_network (id, version) VALUES (1, 1)")


def _jurisdiction_part() -> None:
    op.add_column("jurisdiction", sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "jurisdiction_part",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("jurisdiction_id", sa.Uuid(), nullable=False),
        sa.Column("geom", Geometry("POLYGON", srid=4326, spatial_index=False), nullable=False),
        sa.ForeignKeyConstraint(
            ["jurisdiction_id"],
            ["jurisdiction.id"],
            name=op.f("fk_jurisdiction_part_jurisdiction_id_jurisdiction"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jurisdiction_part")),
    )
    op.execute(PARTS)
    for statement in (KEEP_PARTS, *TRIGGERS):
        op.execute(statement)
    op.create_index("ix_jurisdiction_part_geom", "jurisdiction_part", ["geom"], postgresql_using="gist")
    op.create_index(op.f("ix_jurisdiction_part_jurisdiction_id"), "jurisdiction_part", ["jurisdiction_id"])
    op.drop_index("ix_jurisdiction_geom", "jurisdiction")


def _river_chief() -> None:
    op.create_table(
        "river_chief",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("water_body_id", sa.Uuid(), nullable=False),
        sa.Column("water_feature_id", sa.Uuid(), nullable=True),
        sa.Column("jurisdiction_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("name", "email", "phone")),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("title <> ''", name=op.f("ck_river_chief_title")),
        *(
            sa.ForeignKeyConstraint([f"{table}_id"], [f"{table}.id"], name=op.f(f"fk_river_chief_{table}_id_{table}"))
            for table in ("water_body", "water_feature", "jurisdiction")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_river_chief")),
        sa.UniqueConstraint(
            "water_body_id",
            "water_feature_id",
            "jurisdiction_id",
            "title",
            name=op.f("uq_river_chief_water_body_id_water_feature_id_jurisdiction_id_title"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    for table in ("water_body", "water_feature", "jurisdiction"):
        op.create_index(op.f(f"ix_river_chief_{table}_id"), "river_chief", [f"{table}_id"])


def _protected_zone() -> None:
    op.create_table(
        "protected_zone",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("grade", sa.SmallInteger(), nullable=True),
        sa.Column("geom", Geometry("GEOMETRY", srid=4326, spatial_index=False), nullable=False),
        sa.Column(
            "geom_3857",
            Geometry("GEOMETRY", srid=3857, spatial_index=False),
            sa.Computed("ST_Transform(geom, 3857)", persisted=True),
            nullable=False,
        ),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("source_key", sa.Text(), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('drinking_water', 'nature_reserve', 'bathing', 'intake')", name=op.f("ck_protected_zone_kind")
        ),
        sa.CheckConstraint(
            "grade IS NULL OR kind IN ('drinking_water', 'nature_reserve') AND grade BETWEEN 1 AND 3",
            name=op.f("ck_protected_zone_grade"),
        ),
        sa.CheckConstraint(
            "CASE kind WHEN 'intake' THEN GeometryType(geom) = 'POINT'"
            " ELSE GeometryType(geom) IN ('POLYGON', 'MULTIPOLYGON') END",
            name=op.f("ck_protected_zone_geometry_type"),
        ),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_protected_zone_source_id_source")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_protected_zone")),
        sa.UniqueConstraint("source_id", "source_key", name=op.f("uq_protected_zone_source_id_source_key")),
    )
    op.create_index("ix_protected_zone_geom_3857", "protected_zone", ["geom_3857"], postgresql_using="gist")
    op.create_table(
        "protected_zone_name",
        sa.Column("zone_id", sa.Uuid(), nullable=False),
        sa.Column("lang", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.CheckConstraint("lang IN ('zh-Hans', 'zh-Hant', 'en')", name=op.f("ck_protected_zone_name_lang")),
        sa.ForeignKeyConstraint(
            ["zone_id"],
            ["protected_zone.id"],
            name=op.f("fk_protected_zone_name_zone_id_protected_zone"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("zone_id", "lang", name=op.f("pk_protected_zone_name")),
    )


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
