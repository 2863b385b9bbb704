"""The first tables of every room.

Revision ID: 0001
Revises:
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS postgis")
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_name", sa.Text(), nullable=True),
        sa.Column("organisation_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject_kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("before", JSONB(), nullable=True),
        sa.Column("after", JSONB(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(actor_kind = 'person') <= (actor_id IS NOT NULL)", name=op.f("ck_audit_entry_person_has_id")
        ),
        sa.CheckConstraint(
            "actor_kind IN ('anonymous', 'person', 'agency_link', 'system')", name=op.f("ck_audit_entry_actor_kind")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entry")),
    )
    op.create_index("ix_audit_entry_subject", "audit_entry", ["subject_kind", "subject_id"], unique=False)
    op.create_table(
        "jurisdiction",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("geom", Geometry("MULTIPOLYGON", srid=4326, spatial_index=False), nullable=False),
        sa.CheckConstraint("code ~ '^[0-9]{6}$'", name=op.f("ck_jurisdiction_code")),
        sa.CheckConstraint("level IN ('province', 'prefecture', 'county')", name=op.f("ck_jurisdiction_level")),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["jurisdiction.id"], name=op.f("fk_jurisdiction_parent_id_jurisdiction")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jurisdiction")),
        sa.UniqueConstraint("code", name=op.f("uq_jurisdiction_code")),
    )
    op.create_index("ix_jurisdiction_geom", "jurisdiction", ["geom"], unique=False, postgresql_using="gist")
    op.create_index(op.f("ix_jurisdiction_parent_id"), "jurisdiction", ["parent_id"], unique=False)
    op.create_table(
        "organisation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("code ~ '^[a-z0-9-]{1,40}$'", name=op.f("ck_organisation_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisation")),
        sa.UniqueConstraint("code", name=op.f("uq_organisation_code")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("payload", JSONB(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("available_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_no", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dead_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.CheckConstraint("attempts >= 0 AND lease_no >= attempts", name=op.f("ck_outbox_attempts")),
        sa.CheckConstraint("done_at IS NULL OR dead_at IS NULL", name=op.f("ck_outbox_done_or_dead")),
        sa.CheckConstraint("priority BETWEEN 0 AND 9", name=op.f("ck_outbox_priority")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index(
        "ix_outbox_open",
        "outbox",
        ["priority", "available_at"],
        unique=False,
        postgresql_where=sa.text("done_at IS NULL AND dead_at IS NULL"),
    )
    op.create_table(
        "person",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("fs_uniquifier", sa.Text(), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tf_primary_method", sa.Text(), nullable=True),
        sa.Column("tf_totp_secret", sa.Text(), nullable=True),
        sa.Column("tf_last_counter", sa.BigInteger(), nullable=True),
        sa.Column("mf_recovery_codes", JSONB(), nullable=True),
        sa.Column("language", sa.Text(), server_default=sa.text("'zh-Hans'"), nullable=False),
        sa.Column("timezone", sa.Text(), server_default=sa.text("'Asia/Shanghai'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("language IN ('zh-Hans', 'zh-Hant', 'en')", name=op.f("ck_person_language")),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_person_email_lower")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sa.UniqueConstraint("email", name=op.f("uq_person_email")),
        sa.UniqueConstraint("fs_uniquifier", name=op.f("uq_person_fs_uniquifier")),
    )
    op.create_table(
        "photo",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state_deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refusal_code", sa.Text(), nullable=True),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("original_key", sa.Text(), nullable=True),
        sa.Column("original_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("phash", sa.BigInteger(), nullable=True),
        sa.Column("exif_taken_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("exif_taken_at_local", sa.Text(), nullable=True),
        sa.Column("exif_lon", sa.Double(), nullable=True),
        sa.Column("exif_lat", sa.Double(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("original_delete_after", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(state = 'refused') = (refusal_code IS NOT NULL)", name=op.f("ck_photo_refused_has_reason")
        ),
        sa.CheckConstraint("state IN ('received', 'sanitising', 'ready', 'refused')", name=op.f("ck_photo_state")),
        sa.CheckConstraint("(exif_lon IS NULL) = (exif_lat IS NULL)", name=op.f("ck_photo_exif_place_whole")),
        sa.CheckConstraint(
            "exif_lon BETWEEN -180 AND 180 AND exif_lat BETWEEN -90 AND 90", name=op.f("ck_photo_exif_place")
        ),
        sa.CheckConstraint("octet_length(sha256) = 32", name=op.f("ck_photo_sha256")),
        sa.CheckConstraint("original_bytes >= 0", name=op.f("ck_photo_original_bytes")),
        sa.CheckConstraint("width > 0 AND height > 0", name=op.f("ck_photo_size")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photo")),
        sa.UniqueConstraint("original_key", name=op.f("uq_photo_original_key")),
    )
    op.create_index(
        "ix_photo_deadline",
        "photo",
        ["state_deadline_at"],
        unique=False,
        postgresql_where=sa.text("state_deadline_at IS NOT NULL"),
    )
    op.create_index(
        "ix_photo_original_delete_after",
        "photo",
        ["original_delete_after"],
        unique=False,
        postgresql_where=sa.text("original_key IS NOT NULL"),
    )
    op.create_index("ix_photo_sha256", "photo", ["sha256"], unique=False)
    op.create_table(
        "publication",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("geometry_file", sa.Text(), nullable=False),
        sa.Column("levels_file", sa.Text(), nullable=False),
        sa.Column("incidents_file", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_publication")),
    )
    op.create_table(
        "role",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("permissions", JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.CheckConstraint(
            "name IN ('citizen', 'moderator', 'lead_moderator', 'agency_officer', 'admin')", name=op.f("ck_role_name")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role")),
        sa.UniqueConstraint("name", name=op.f("uq_role_name")),
    )
    op.create_table(
        "source",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("retrieved_on", sa.Date(), nullable=True),
        sa.Column("citation", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source")),
        sa.UniqueConstraint("code", name=op.f("uq_source_code")),
    )
    op.create_table(
        "agency",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("jurisdiction_id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('ecology_environment', 'water', 'urban_management', 'agriculture', 'maritime', 'river_chief_office')",
            name=op.f("ck_agency_kind"),
        ),
        sa.CheckConstraint("level IN ('province', 'prefecture', 'county')", name=op.f("ck_agency_level")),
        sa.CheckConstraint("parent_id <> id", name=op.f("ck_agency_not_own_parent")),
        sa.ForeignKeyConstraint(
            ["jurisdiction_id"], ["jurisdiction.id"], name=op.f("fk_agency_jurisdiction_id_jurisdiction")
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["agency.id"], name=op.f("fk_agency_parent_id_agency")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agency")),
        sa.UniqueConstraint("code", name=op.f("uq_agency_code")),
    )
    op.create_index(op.f("ix_agency_jurisdiction_id"), "agency", ["jurisdiction_id"], unique=False)
    op.create_index(op.f("ix_agency_parent_id"), "agency", ["parent_id"], unique=False)
    op.create_table(
        "audit_seal",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("octet_length(hash) = 32", name=op.f("ck_audit_seal_hash_length")),
        sa.ForeignKeyConstraint(["entry_id"], ["audit_entry.id"], name=op.f("fk_audit_seal_entry_id_audit_entry")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_seal")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_audit_seal_entry_id")),
    )
    op.create_table(
        "jurisdiction_name",
        sa.Column("jurisdiction_id", sa.Uuid(), nullable=False),
        sa.Column("lang", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.CheckConstraint("lang IN ('zh-Hans', 'zh-Hant', 'en', 'pinyin')", name=op.f("ck_jurisdiction_name_lang")),
        sa.ForeignKeyConstraint(
            ["jurisdiction_id"],
            ["jurisdiction.id"],
            name=op.f("fk_jurisdiction_name_jurisdiction_id_jurisdiction"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("jurisdiction_id", "lang", name=op.f("pk_jurisdiction_name")),
    )
    op.create_table(
        "membership",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("role_id", sa.Uuid(), nullable=False),
        sa.Column("agency_code", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("agency_code IS NULL OR agency_code <> ''", name=op.f("ck_membership_agency_code")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_membership_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name=op.f("fk_membership_person_id_person"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["role_id"], ["role.id"], name=op.f("fk_membership_role_id_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_membership")),
        sa.UniqueConstraint(
            "person_id", "organisation_id", "role_id", name=op.f("uq_membership_person_id_organisation_id_role_id")
        ),
    )
    op.create_table(
        "photo_derivative",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("photo_id", sa.Uuid(), nullable=False),
        sa.Column("size_px", sa.SmallInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("octet_length(sha256) = 32", name=op.f("ck_photo_derivative_sha256")),
        sa.CheckConstraint("size_px IN (2000, 1024, 320)", name=op.f("ck_photo_derivative_size_px")),
        sa.CheckConstraint("width > 0 AND height > 0 AND bytes > 0", name=op.f("ck_photo_derivative_positive")),
        sa.ForeignKeyConstraint(
            ["photo_id"], ["photo.id"], name=op.f("fk_photo_derivative_photo_id_photo"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photo_derivative")),
        sa.UniqueConstraint("key", name=op.f("uq_photo_derivative_key")),
        sa.UniqueConstraint("photo_id", "size_px", name=op.f("uq_photo_derivative_photo_id_size_px")),
    )
    op.create_table(
        "water_body",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("basin", sa.Text(), nullable=True),
        sa.Column("basin_area_km2", sa.Double(), nullable=True),
        sa.Column("mean_discharge_cms", sa.Double(), nullable=True),
        sa.Column("length_km", sa.Double(), nullable=True),
        sa.Column("rank", sa.SmallInteger(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("source_key", sa.Text(), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('river', 'canal', 'lake', 'reservoir', 'pond')", name=op.f("ck_water_body_kind")),
        sa.CheckConstraint("public_id ~ '^[a-z0-9][a-z0-9-]{1,60}$'", name=op.f("ck_water_body_public_id")),
        sa.CheckConstraint("basin_area_km2 > 0", name=op.f("ck_water_body_basin_area")),
        sa.CheckConstraint("length_km > 0", name=op.f("ck_water_body_length")),
        sa.CheckConstraint("mean_discharge_cms >= 0", name=op.f("ck_water_body_mean_discharge")),
        sa.CheckConstraint("parent_id <> id", name=op.f("ck_water_body_not_own_parent")),
        sa.ForeignKeyConstraint(["parent_id"], ["water_body.id"], name=op.f("fk_water_body_parent_id_water_body")),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_water_body_source_id_source")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_water_body")),
        sa.UniqueConstraint("public_id", name=op.f("uq_water_body_public_id")),
        sa.UniqueConstraint("source_id", "source_key", name=op.f("uq_water_body_source_id_source_key")),
    )
    op.create_index(op.f("ix_water_body_parent_id"), "water_body", ["parent_id"], unique=False)
    op.create_table(
        "agency_contact",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.CheckConstraint("channel IN ('email')", name=op.f("ck_agency_contact_channel")),
        sa.ForeignKeyConstraint(
            ["agency_id"], ["agency.id"], name=op.f("fk_agency_contact_agency_id_agency"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agency_contact")),
        sa.UniqueConstraint(
            "agency_id", "channel", "address", name=op.f("uq_agency_contact_agency_id_channel_address")
        ),
    )
    op.create_table(
        "agency_name",
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("lang", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.CheckConstraint("lang IN ('zh-Hans', 'zh-Hant', 'en', 'pinyin')", name=op.f("ck_agency_name_lang")),
        sa.ForeignKeyConstraint(
            ["agency_id"], ["agency.id"], name=op.f("fk_agency_name_agency_id_agency"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("agency_id", "lang", name=op.f("pk_agency_name")),
    )
    op.create_table(
        "competence",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=False),
        sa.Column("observation_kind", sa.Text(), nullable=True),
        sa.Column("min_severity", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("min_severity BETWEEN 1 AND 4", name=op.f("ck_competence_min_severity")),
        sa.ForeignKeyConstraint(
            ["agency_id"], ["agency.id"], name=op.f("fk_competence_agency_id_agency"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_competence")),
        sa.UniqueConstraint(
            "agency_id",
            "observation_kind",
            name=op.f("uq_competence_agency_id_observation_kind"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_table(
        "water_feature",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("feature_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("water_body_id", sa.Uuid(), nullable=False),
        sa.Column("geom", Geometry("GEOMETRY", srid=4326, spatial_index=False), nullable=False),
        sa.Column(
            "geom_3857",
            Geometry("GEOMETRY", srid=3857, spatial_index=False),
            sa.Computed("ST_Transform(geom, 3857)", persisted=True),
            nullable=False,
        ),
        sa.Column("next_down_id", sa.Uuid(), nullable=True),
        sa.Column("length_km", sa.Double(), nullable=True),
        sa.Column("dist_dn_km", sa.Double(), nullable=True),
        sa.Column("upland_skm", sa.Double(), nullable=True),
        sa.Column("ord_stra", sa.SmallInteger(), nullable=True),
        sa.Column("dis_av_cms", sa.Double(), nullable=True),
        sa.Column("area_km2", sa.Double(), nullable=True),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("source_key", sa.Text(), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "CASE kind WHEN 'reach' THEN GeometryType(geom) IN ('LINESTRING', 'MULTILINESTRING') ELSE GeometryType(geom) IN ('POLYGON', 'MULTIPOLYGON') END",
            name=op.f("ck_water_feature_geometry_type"),
        ),
        sa.CheckConstraint("kind = 'lake' OR area_km2 IS NULL", name=op.f("ck_water_feature_lake_only")),
        sa.CheckConstraint(
            "kind = 'reach' OR num_nonnulls(length_km, dist_dn_km, upland_skm, ord_stra, dis_av_cms) = 0",
            name=op.f("ck_water_feature_reach_only"),
        ),
        sa.CheckConstraint("kind IN ('reach', 'lake')", name=op.f("ck_water_feature_kind")),
        sa.CheckConstraint("area_km2 >= 0", name=op.f("ck_water_feature_area")),
        sa.CheckConstraint("feature_id BETWEEN 1 AND 9007199254740991", name=op.f("ck_water_feature_feature_id")),
        sa.CheckConstraint(
            "length_km >= 0 AND dist_dn_km >= 0 AND upland_skm >= 0 AND ord_stra > 0 AND dis_av_cms >= 0",
            name=op.f("ck_water_feature_reach_numbers"),
        ),
        sa.CheckConstraint("next_down_id <> id", name=op.f("ck_water_feature_not_own_next")),
        sa.ForeignKeyConstraint(
            ["next_down_id"], ["water_feature.id"], name=op.f("fk_water_feature_next_down_id_water_feature")
        ),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_water_feature_source_id_source")),
        sa.ForeignKeyConstraint(
            ["water_body_id"], ["water_body.id"], name=op.f("fk_water_feature_water_body_id_water_body")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_water_feature")),
        sa.UniqueConstraint("feature_id", name=op.f("uq_water_feature_feature_id")),
        sa.UniqueConstraint("source_id", "source_key", name=op.f("uq_water_feature_source_id_source_key")),
    )
    op.create_index("ix_water_feature_geom", "water_feature", ["geom"], unique=False, postgresql_using="gist")
    op.create_index("ix_water_feature_geom_3857", "water_feature", ["geom_3857"], unique=False, postgresql_using="gist")
    op.create_index(op.f("ix_water_feature_next_down_id"), "water_feature", ["next_down_id"], unique=False)
    op.create_index(op.f("ix_water_feature_water_body_id"), "water_feature", ["water_body_id"], unique=False)
    op.create_table(
        "water_name",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("water_body_id", sa.Uuid(), nullable=False),
        sa.Column("lang", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("is_primary", sa.Boolean(), nullable=False),
        sa.CheckConstraint("lang IN ('zh-Hans', 'zh-Hant', 'en', 'pinyin')", name=op.f("ck_water_name_lang")),
        sa.CheckConstraint("name <> ''", name=op.f("ck_water_name_name")),
        sa.ForeignKeyConstraint(
            ["water_body_id"],
            ["water_body.id"],
            name=op.f("fk_water_name_water_body_id_water_body"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_water_name")),
        sa.UniqueConstraint("water_body_id", "lang", "name", name=op.f("uq_water_name_water_body_id_lang_name")),
    )
    op.create_index(
        "uq_water_name_primary",
        "water_name",
        ["water_body_id", "lang"],
        unique=True,
        postgresql_where=sa.text("is_primary"),
    )
    op.create_table(
        "advisory",
        sa.Column("water_feature_id", sa.Uuid(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("basis IN ('confirmed', 'approaching')", name=op.f("ck_advisory_basis")),
        sa.CheckConstraint("level BETWEEN 1 AND 4", name=op.f("ck_advisory_level")),
        sa.ForeignKeyConstraint(
            ["water_feature_id"], ["water_feature.id"], name=op.f("fk_advisory_water_feature_id_water_feature")
        ),
        sa.PrimaryKeyConstraint("water_feature_id", "basis", name=op.f("pk_advisory")),
    )
    op.create_table(
        "incident",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state_deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.SmallInteger(), nullable=False),
        sa.Column("graded_severity", sa.SmallInteger(), nullable=False),
        sa.Column("water_feature_id", sa.Uuid(), nullable=False),
        sa.Column("exact_point", Geometry("POINT", srid=4326, spatial_index=False), nullable=False),
        sa.Column("public_point", Geometry("POINT", srid=4326, spatial_index=False), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_confirmed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(closed_at IS NOT NULL) = (state IN ('verified_clean', 'expired'))", name=op.f("ck_incident_closed_state")
        ),
        sa.CheckConstraint(
            "state IN ('open', 'answered', 'resolved_claimed', 'verified_clean', 'reopened', 'expired')",
            name=op.f("ck_incident_state"),
        ),
        sa.CheckConstraint("closed_at IS NULL OR closed_at >= opened_at", name=op.f("ck_incident_closed_after_opened")),
        sa.CheckConstraint(
            "severity = graded_severity OR (graded_severity = 4 AND severity = 3)", name=op.f("ck_incident_four_eyes")
        ),
        sa.CheckConstraint(
            "severity BETWEEN 1 AND 4 AND graded_severity BETWEEN 1 AND 4", name=op.f("ck_incident_severity")
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_incident_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(
            ["water_feature_id"], ["water_feature.id"], name=op.f("fk_incident_water_feature_id_water_feature")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident")),
        sa.UniqueConstraint("code", name=op.f("uq_incident_code")),
    )
    op.create_index(
        "ix_incident_deadline",
        "incident",
        ["state_deadline_at"],
        unique=False,
        postgresql_where=sa.text("state_deadline_at IS NOT NULL"),
    )
    op.create_index(
        "ix_incident_open",
        "incident",
        ["water_feature_id"],
        unique=False,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "report",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("follow_digest", sa.LargeBinary(), nullable=False),
        sa.Column("idempotency_key", sa.Uuid(), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state_deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refusal_code", sa.Text(), nullable=True),
        sa.Column("refusal_words", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("extent", sa.Text(), nullable=True),
        sa.Column("smell", sa.SmallInteger(), nullable=True),
        sa.Column("is_ongoing", sa.Boolean(), nullable=True),
        sa.Column("has_dead_animals", sa.Boolean(), nullable=True),
        sa.Column("affects_people", sa.Boolean(), nullable=True),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("point", Geometry("POINT", srid=4326, spatial_index=False), nullable=False),
        sa.Column("place_source", sa.Text(), nullable=False),
        sa.Column("input_datum", sa.Text(), nullable=False),
        sa.Column("accuracy_m", sa.Double(), nullable=True),
        sa.Column("device_point", Geometry("POINT", srid=4326, spatial_index=False), nullable=True),
        sa.Column("chosen_water_feature_id", sa.Uuid(), nullable=True),
        sa.Column("water_feature_id", sa.Uuid(), nullable=True),
        sa.Column("snapped_point", Geometry("POINT", srid=4326, spatial_index=False), nullable=True),
        sa.Column("snap_distance_m", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "(state = 'refused') = (refusal_code IS NOT NULL)", name=op.f("ck_report_refused_has_reason")
        ),
        sa.CheckConstraint(
            "extent IS NULL OR extent IN ('spot', 'under_100_m', 'under_1_km', 'over_1_km')",
            name=op.f("ck_report_extent"),
        ),
        sa.CheckConstraint("input_datum IN ('wgs84', 'gcj02', 'bd09')", name=op.f("ck_report_input_datum")),
        sa.CheckConstraint(
            "kind IN ('black_odorous', 'sewage_outfall', 'industrial_discharge', 'algal_bloom', 'oil_slick', 'fish_kill', 'floating_garbage', 'foam', 'farm_runoff', 'sand_mining', 'encroachment', 'waste_dumping', 'other')",
            name=op.f("ck_report_kind"),
        ),
        sa.CheckConstraint("language IN ('zh-Hans', 'zh-Hant', 'en')", name=op.f("ck_report_language")),
        sa.CheckConstraint("place_source IN ('pin', 'device', 'typed')", name=op.f("ck_report_place_source")),
        sa.CheckConstraint(
            "state IN ('received', 'sanitising', 'in_review', 'accepted', 'merged', 'refused', 'withdrawn')",
            name=op.f("ck_report_state"),
        ),
        sa.CheckConstraint("accuracy_m IS NULL OR accuracy_m >= 0", name=op.f("ck_report_accuracy")),
        sa.CheckConstraint("length(note) <= 500", name=op.f("ck_report_note_length")),
        sa.CheckConstraint("octet_length(follow_digest) = 32", name=op.f("ck_report_follow_digest")),
        sa.CheckConstraint("smell IS NULL OR smell BETWEEN 0 AND 3", name=op.f("ck_report_smell")),
        sa.ForeignKeyConstraint(
            ["chosen_water_feature_id"],
            ["water_feature.id"],
            name=op.f("fk_report_chosen_water_feature_id_water_feature"),
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_report_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(
            ["water_feature_id"], ["water_feature.id"], name=op.f("fk_report_water_feature_id_water_feature")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report")),
        sa.UniqueConstraint("code", name=op.f("uq_report_code")),
        sa.UniqueConstraint("follow_digest", name=op.f("uq_report_follow_digest")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_report_idempotency_key")),
    )
    op.create_index(
        "ix_report_deadline",
        "report",
        ["state_deadline_at"],
        unique=False,
        postgresql_where=sa.text("state_deadline_at IS NOT NULL"),
    )
    op.create_index("ix_report_point", "report", ["point"], unique=False, postgresql_using="gist")
    op.create_index("ix_report_state_received_at", "report", ["state", "received_at"], unique=False)
    op.create_index(op.f("ix_report_water_feature_id"), "report", ["water_feature_id"], unique=False)
    op.create_table(
        "escalation_case",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("agency_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state_deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("severity", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "agency_id IS NOT NULL OR state = 'no_contact'", name=op.f("ck_escalation_case_agency_or_no_contact")
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'delivered', 'acknowledged', 'answered', 'closed', 'no_contact', 'refused_not_ours', 'dead')",
            name=op.f("ck_escalation_case_state"),
        ),
        sa.CheckConstraint("severity BETWEEN 1 AND 4", name=op.f("ck_escalation_case_severity")),
        sa.ForeignKeyConstraint(["agency_id"], ["agency.id"], name=op.f("fk_escalation_case_agency_id_agency")),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_escalation_case_incident_id_incident")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_escalation_case")),
        sa.UniqueConstraint(
            "incident_id",
            "agency_id",
            name=op.f("uq_escalation_case_incident_id_agency_id"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index(op.f("ix_escalation_case_agency_id"), "escalation_case", ["agency_id"], unique=False)
    op.create_index(
        "ix_escalation_case_deadline",
        "escalation_case",
        ["state_deadline_at"],
        unique=False,
        postgresql_where=sa.text("state_deadline_at IS NOT NULL"),
    )
    op.create_table(
        "grade",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("graded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("graded_by", sa.Uuid(), nullable=False),
        sa.Column("rubric_version", sa.Text(), nullable=False),
        sa.Column("inputs", JSONB(), nullable=False),
        sa.Column("points", sa.SmallInteger(), nullable=False),
        sa.Column("proposed_severity", sa.SmallInteger(), nullable=False),
        sa.Column("severity", sa.SmallInteger(), nullable=False),
        sa.Column("departure_reason", sa.Text(), nullable=True),
        sa.Column("seconded_by", sa.Uuid(), nullable=True),
        sa.Column("seconded_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("points >= 0", name=op.f("ck_grade_points")),
        sa.CheckConstraint(
            "seconded_by IS NULL OR (severity = 4 AND seconded_by <> graded_by)",
            name=op.f("ck_grade_seconded_by_other"),
        ),
        sa.CheckConstraint(
            "severity = proposed_severity OR length(departure_reason) >= 3", name=op.f("ck_grade_departure_reason")
        ),
        sa.CheckConstraint(
            "severity BETWEEN 1 AND 4 AND proposed_severity BETWEEN 1 AND 4", name=op.f("ck_grade_severity")
        ),
        sa.ForeignKeyConstraint(["graded_by"], ["person.id"], name=op.f("fk_grade_graded_by_person")),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_grade_incident_id_incident")),
        sa.ForeignKeyConstraint(["seconded_by"], ["person.id"], name=op.f("fk_grade_seconded_by_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grade")),
    )
    op.create_index(op.f("ix_grade_incident_id"), "grade", ["incident_id"], unique=False)
    op.create_table(
        "incident_report",
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_incident_report_incident_id_incident")),
        sa.ForeignKeyConstraint(["report_id"], ["report.id"], name=op.f("fk_incident_report_report_id_report")),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_incident_report")),
    )
    op.create_index(op.f("ix_incident_report_incident_id"), "incident_report", ["incident_id"], unique=False)
    op.create_table(
        "report_photo",
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("photo_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.CheckConstraint("position BETWEEN 0 AND 19", name=op.f("ck_report_photo_position")),
        sa.ForeignKeyConstraint(["photo_id"], ["photo.id"], name=op.f("fk_report_photo_photo_id_photo")),
        sa.ForeignKeyConstraint(
            ["report_id"], ["report.id"], name=op.f("fk_report_photo_report_id_report"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("report_id", "photo_id", name=op.f("pk_report_photo")),
        sa.UniqueConstraint("photo_id", name=op.f("uq_report_photo_photo_id")),
        sa.UniqueConstraint("report_id", "position", name=op.f("uq_report_photo_report_id_position")),
    )
    op.create_table(
        "review_lease",
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_review_lease_person_id_person")),
        sa.ForeignKeyConstraint(
            ["report_id"], ["report.id"], name=op.f("fk_review_lease_report_id_report"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_review_lease")),
    )
    op.create_index(op.f("ix_review_lease_person_id"), "review_lease", ["person_id"], unique=False)
    op.create_table(
        "delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state_deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("deferrals", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name=op.f("ck_delivery_sent_at")),
        sa.CheckConstraint("channel IN ('email')", name=op.f("ck_delivery_channel")),
        sa.CheckConstraint(
            "state IN ('pending', 'sending', 'sent', 'refused', 'dead')", name=op.f("ck_delivery_state")
        ),
        sa.CheckConstraint("attempts >= 0 AND deferrals BETWEEN 0 AND attempts", name=op.f("ck_delivery_attempts")),
        sa.ForeignKeyConstraint(["case_id"], ["escalation_case.id"], name=op.f("fk_delivery_case_id_escalation_case")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint("case_id", "channel", "address", name=op.f("uq_delivery_case_id_channel_address")),
        sa.UniqueConstraint("message_id", name=op.f("uq_delivery_message_id")),
    )
    op.create_index(
        "ix_delivery_deadline",
        "delivery",
        ["state_deadline_at"],
        unique=False,
        postgresql_where=sa.text("state_deadline_at IS NOT NULL"),
    )
