"""What is expected to reach the waters below an incident, when, and how well that was foretold.

Revision ID: 0027
Revises: 0026
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0027"
down_revision: str | None = "0026"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

NOW = sa.DateTime(timezone=True)
FEATURE = "water_feature.feature_id"
REACH_ONLY = (
    "kind = 'reach' OR num_nonnulls(length_km, dist_dn_km, dist_up_km, upland_skm, catch_skm, ord_stra,"
    " ord_clas, ord_flow, hybas_l12, endorheic, lake_id{more}) = 0"
)
NUMBERS = (
    "length_km >= 0 AND dist_dn_km >= 0 AND dist_up_km >= 0 AND upland_skm >= 0 AND catch_skm >= 0"
    " AND ord_stra > 0 AND dis_av_cms >= 0"
)
ROLES, SAYS = ("competent", "supervising"), ("case", "lowered", "withdrawn", "reminder", "overdue", "reopened")
OFFICES = (
    "ecology_environment",
    "water",
    "urban_management",
    "agriculture",
    "maritime",
    "river_chief_office",
    "basin_authority",
)
FURTHER_ROLES, FURTHER_SAYS = ("downstream",), ("warning", "warning_over")


def upgrade() -> None:
    op.add_column("water_feature", sa.Column("slope", sa.Double()))
    _rewrite("water_feature", "reach_only", REACH_ONLY.format(more=", slope"))
    _rewrite("water_feature", "reach_numbers", f"{NUMBERS} AND slope BETWEEN 0 AND 10")
    op.create_index(
        "ix_advisory_approaching",
        "advisory",
        ["water_feature_id"],
        postgresql_where=sa.text("basis = 'approaching'"),
    )
    op.create_table(
        "downstream_ruling",
        sa.Column("incident_id", sa.Uuid(), sa.ForeignKey("incident.id"), primary_key=True),
        sa.Column("is_withheld", sa.Boolean(), nullable=False),
        sa.Column("limit_km", sa.Double()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ruled_by", sa.Uuid(), sa.ForeignKey("person.id"), nullable=False),
        sa.Column("ruled_at", NOW, nullable=False),
        _check("downstream_ruling", "limit_km", "limit_km > 0 AND limit_km <= 200"),
        _check("downstream_ruling", "decides", "is_withheld OR limit_km IS NOT NULL"),
        _check("downstream_ruling", "reason", "length(reason) BETWEEN 3 AND 500"),
    )
    op.create_table(
        "downstream_forecast",
        sa.Column("incident_id", sa.Uuid(), sa.ForeignKey("incident.id"), primary_key=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", NOW, nullable=False),
        sa.Column("state_deadline_at", NOW),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("observed_from", NOW, nullable=False),
        sa.Column("observed_until", NOW, nullable=False),
        sa.Column("flow_ratio", sa.Double(), nullable=False),
        sa.Column("limit_km", sa.Double(), nullable=False),
        sa.Column("is_timed", sa.Boolean(), nullable=False),
        sa.Column("made_at", NOW, nullable=False),
        sa.Column("changed_at", NOW, nullable=False),
        sa.Column("public_at", NOW, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        _check("downstream_forecast", "state", "state IN ('standing', 'withheld', 'ended')"),
        _check("downstream_forecast", "level", "level BETWEEN 1 AND 3"),
        _check("downstream_forecast", "observed", "observed_until >= observed_from"),
        _check("downstream_forecast", "flow_ratio", "flow_ratio > 0 AND flow_ratio <= 100"),
        _check("downstream_forecast", "limit_km", "limit_km > 0 AND limit_km <= 200"),
        _check("downstream_forecast", "revision", "revision >= 1"),
    )
    op.create_index(
        "ix_downstream_forecast_deadline",
        "downstream_forecast",
        ["state_deadline_at"],
        postgresql_where=sa.text("state_deadline_at IS NOT NULL"),
    )
    op.create_index(
        "ix_downstream_forecast_public",
        "downstream_forecast",
        ["public_at"],
        postgresql_where=sa.text("state = 'standing'"),
    )
    op.create_table(
        "downstream_reach",
        sa.Column(
            "incident_id",
            sa.Uuid(),
            sa.ForeignKey("downstream_forecast.incident_id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("feature_id", sa.BigInteger(), sa.ForeignKey(FEATURE), primary_key=True),
        sa.Column("nth", sa.Integer(), nullable=False),
        sa.Column("distance_km", sa.Double(), nullable=False),
        sa.Column("earliest_at", NOW),
        sa.Column("probable_at", NOW),
        sa.Column("lapses_at", NOW, nullable=False),
        sa.Column("unit_peak", sa.Double()),
        sa.Column("passage_s", sa.Double()),
        sa.Column("is_lake", sa.Boolean(), nullable=False),
        sa.Column("is_dammed", sa.Boolean(), nullable=False),
        sa.Column("public_at", NOW, nullable=False),
        _check("downstream_reach", "numbers", "nth >= 0 AND distance_km >= 0 AND unit_peak > 0 AND passage_s > 0"),
        _check("downstream_reach", "window", "earliest_at <= probable_at AND probable_at <= lapses_at"),
        _check("downstream_reach", "earliest", "probable_at IS NULL OR earliest_at IS NOT NULL"),
        _check("downstream_reach", "dammed", "is_lake OR NOT is_dammed"),
    )
    op.create_index("ix_downstream_reach_feature_id", "downstream_reach", ["feature_id"])
    op.create_table(
        "downstream_past",
        sa.Column(
            "incident_id",
            sa.Uuid(),
            sa.ForeignKey("downstream_forecast.incident_id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("feature_id", sa.BigInteger(), sa.ForeignKey(FEATURE), primary_key=True),
        sa.Column("distance_km", sa.Double(), nullable=False),
        sa.Column("earliest_at", NOW),
        sa.Column("probable_at", NOW),
        sa.Column("lapses_at", NOW, nullable=False),
        sa.Column("gone_at", NOW, nullable=False),
        _check("downstream_past", "distance_km", "distance_km >= 0"),
        _check("downstream_past", "window", "earliest_at <= probable_at AND probable_at <= lapses_at"),
    )
    op.create_index("ix_downstream_past_feature_id", "downstream_past", ["feature_id"])
    op.create_table(
        "arrival_check",
        sa.Column("incident_id", sa.Uuid(), sa.ForeignKey("incident.id"), primary_key=True),
        sa.Column("report_id", sa.Uuid(), sa.ForeignKey("report.id"), primary_key=True),
        sa.Column("feature_id", sa.BigInteger(), sa.ForeignKey(FEATURE), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("observed_at", NOW, nullable=False),
        sa.Column("distance_km", sa.Double(), nullable=False),
        sa.Column("earliest_at", NOW),
        sa.Column("probable_at", NOW),
        sa.Column("missed_by_s", sa.Double()),
        sa.Column("checked_by", sa.Uuid(), sa.ForeignKey("person.id"), nullable=False),
        sa.Column("checked_at", NOW, nullable=False),
        _check("arrival_check", "outcome", "outcome IN ('arrived', 'not_arrived')"),
        _check("arrival_check", "distance_km", "distance_km >= 0"),
        _check("arrival_check", "window", "earliest_at <= probable_at"),
        _check("arrival_check", "missed_by", "outcome = 'arrived' OR missed_by_s IS NULL"),
    )
    op.create_index("ix_arrival_check_report_id", "arrival_check", ["report_id"])
    op.create_table(
        "gauge_reading",
        sa.Column("feature_id", sa.BigInteger(), sa.ForeignKey(FEATURE), primary_key=True, autoincrement=False),
        sa.Column("discharge_cms", sa.Double(), nullable=False),
        sa.Column("measured_at", NOW, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        _check("gauge_reading", "discharge_cms", "discharge_cms > 0 AND discharge_cms < 1000000"),
        _check("gauge_reading", "source", "source <> '' AND length(source) <= 200"),
    )
    # Who lies below is told through the channels of escalation: a case of its own role, and letters that say so.
    # Who is competent for the incident may lie below it as well: that is another case.
    _rewrite("escalation_case", "role", _one_of("role", ROLES + FURTHER_ROLES))
    op.create_index(
        "ix_escalation_case_once",
        "escalation_case",
        ["incident_id", "agency_id", sa.text("(role = 'downstream')")],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.drop_constraint(op.f("uq_escalation_case_incident_id_agency_id"), "escalation_case", type_="unique")
    _rewrite("delivery", "says", _one_of("says", SAYS + FURTHER_SAYS))
    op.add_column("delivery", sa.Column("told", JSONB()))
    op.create_check_constraint(
        op.f("ck_delivery_told"), "delivery", "told IS NULL OR says IN ('warning', 'warning_over')"
    )
    op.create_table(
        "case_stretch",
        sa.Column("case_id", sa.Uuid(), sa.ForeignKey("escalation_case.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("feature_ids", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("zone_ids", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("first_at", NOW),
        sa.Column("told_km", sa.Double(), nullable=False),
        sa.Column("told_zone_ids", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("told_water_ids", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("told_kind", sa.Text(), nullable=False),
        _check("case_stretch", "feature_ids", "cardinality(feature_ids) > 0"),
    )
    # Whoever runs an intake may be no department at all.
    _rewrite("agency", "kind", _one_of("kind", (*OFFICES, "waterworks")))
    op.add_column("protected_zone", sa.Column("operator_id", sa.Uuid(), sa.ForeignKey("agency.id")))
    op.create_index(
        "ix_protected_zone_operator_id",
        "protected_zone",
        ["operator_id"],
        postgresql_where=sa.text("operator_id IS NOT NULL"),
    )
    # Who watches a water and was told of what is coming.
    op.create_table(
        "watch_told",
        sa.Column("watch_id", sa.Uuid(), sa.ForeignKey("watch.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("incident_id", sa.Uuid(), sa.ForeignKey("incident.id"), primary_key=True),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("told_at", NOW, nullable=False),
        _check("watch_told", "level", "level BETWEEN 1 AND 3"),
    )
    op.create_index("ix_watch_told_incident_id", "watch_told", ["incident_id"])


def downgrade() -> None:
    op.drop_table("watch_told")
    op.drop_index("ix_protected_zone_operator_id", "protected_zone")
    op.drop_column("protected_zone", "operator_id")
    op.execute("UPDATE agency SET kind = 'water', retired_at = coalesce(retired_at, now()) WHERE kind = 'waterworks'")
    _rewrite("agency", "kind", _one_of("kind", OFFICES))
    op.drop_table("case_stretch")
    op.execute("DELETE FROM delivery WHERE says IN ('warning', 'warning_over')")
    op.execute("DELETE FROM delivery USING escalation_case c WHERE c.id = case_id AND c.role = 'downstream'")
    op.execute("DELETE FROM escalation_case WHERE role = 'downstream'")
    op.drop_column("delivery", "told")
    _rewrite("delivery", "says", _one_of("says", SAYS))
    _rewrite("escalation_case", "role", _one_of("role", ROLES))
    op.create_unique_constraint(
        op.f("uq_escalation_case_incident_id_agency_id"),
        "escalation_case",
        ["incident_id", "agency_id"],
        postgresql_nulls_not_distinct=True,
    )
    op.drop_index("ix_escalation_case_once", "escalation_case")
    for table in (
        "gauge_reading",
        "arrival_check",
        "downstream_past",
        "downstream_reach",
        "downstream_forecast",
        "downstream_ruling",
    ):
        op.drop_table(table)
    op.execute("DELETE FROM advisory WHERE basis = 'approaching'")
    op.drop_index("ix_advisory_approaching", "advisory")
    _rewrite("water_feature", "reach_numbers", NUMBERS)
    _rewrite("water_feature", "reach_only", REACH_ONLY.format(more=""))
    op.drop_column("water_feature", "slope")


def _rewrite(table: str, name: str, condition: str) -> None:
    """Another condition under the same name. Its rows are checked; a larger one passes at once."""
    op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))
