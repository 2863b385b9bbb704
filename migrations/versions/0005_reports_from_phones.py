"""Reports in parts: photos before their report, more observations, patrols, and applications that report for people.

Revision ID: 0005
Revises: 0004
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

KINDS = (
    *("black_odorous", "sewage_outfall", "industrial_discharge", "algal_bloom", "oil_slick", "fish_kill"),
    *("floating_garbage", "foam", "farm_runoff", "sand_mining", "encroachment", "waste_dumping", "other", "all_clear"),
)
COLOURS = ("clear", "white", "grey", "black", "brown", "yellow", "green", "red", "oily", "other")
SINCE = ("today", "this_week", "this_month", "longer")
SOURCES = ("web", "api", "open311", "import")
MEASURED = {
    "transparency_cm": (0, 3000),
    "water_depth_cm": (0, 20000),
    "ph": (0, 14),
    "do_mg_l": (0, 30),
    "nh3n_mg_l": (0, 500),
    "orp_mv": (-1000, 1000),
    "temperature_c": (-5, 60),
}


def upgrade() -> None:
    _clients()
    _photos()
    _reports()


def _clients() -> None:
    op.create_table(
        "api_client",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("organisation_id", sa.Uuid(), sa.ForeignKey("organisation.id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, unique=True),
        sa.Column("token_digest", sa.LargeBinary(), nullable=False, unique=True),
        sa.Column("rate_limit", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("name <> '' AND length(name) <= 80", name=op.f("ck_api_client_name")),
        sa.CheckConstraint("octet_length(token_digest) = 32", name=op.f("ck_api_client_token_digest")),
    )


def _photos() -> None:
    op.add_column("photo", sa.Column("unclaimed_until", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_photo_unclaimed_until",
        "photo",
        ["unclaimed_until"],
        postgresql_where=sa.text("unclaimed_until IS NOT NULL"),
    )
    for name, kind in (("stated_lon", sa.Float()), ("stated_lat", sa.Float()), ("stated_taken_at_local", sa.Text())):
        op.add_column("report_photo", sa.Column(name, kind))
    _check("report_photo", "stated_place", "stated_lon BETWEEN -180 AND 180 AND stated_lat BETWEEN -90 AND 90")
    _check("report_photo", "stated_place_whole", "(stated_lon IS NULL) = (stated_lat IS NULL)")
    _check("report_photo", "stated_taken_at_local", "length(stated_taken_at_local) <= 32")


def _reports() -> None:
    for name in ("colour", "since", "same_as_code"):
        op.add_column("report", sa.Column(name, sa.Text()))
    for name in MEASURED:
        op.add_column("report", sa.Column(name, sa.Float()))
    op.add_column("report", sa.Column("observed_at", sa.DateTime(timezone=True)))
    op.add_column("report", sa.Column("source", sa.Text(), nullable=False, server_default=sa.text("'web'")))
    op.add_column("report", sa.Column("api_client_id", sa.Uuid(), sa.ForeignKey("api_client.id")))
    op.drop_constraint(op.f("ck_report_kind"), "report")
    _check("report", "kind", _one_of("kind", KINDS))
    _check("report", "colour", "colour IS NULL OR " + _one_of("colour", COLOURS))
    _check("report", "since", "since IS NULL OR " + _one_of("since", SINCE))
    _check("report", "source", _one_of("source", SOURCES))
    _check("report", "api_client", "(api_client_id IS NULL) OR source <> 'web'")
    _check("report", "same_as_code", "same_as_code ~ '^[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}$'")
    for name, (low, high) in MEASURED.items():
        _check("report", name, f"{name} BETWEEN {low} AND {high}")


def _check(table: str, name: str, condition: str) -> None:
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
