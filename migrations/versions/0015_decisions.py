"""What moderators decide is on record and can be undone; questions to authors, appeals; letters that take a case back.

Revision ID: 0015
Revises: 0014
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

NOW = sa.DateTime(timezone=True)
_KINDS = (
    "'black_odorous', 'sewage_outfall', 'industrial_discharge', 'algal_bloom', 'oil_slick', 'fish_kill', "
    "'floating_garbage', 'foam', 'farm_runoff', 'sand_mining', 'encroachment', 'waste_dumping', 'other', 'all_clear'"
)
_ACTIONS = (
    "'accepted', 'joined', 'refused', 'patrol_accepted', 'corrected', 'asked', 'handed', 'seconded', "
    "'regraded', 'split', 'absorbed', 'reversed'"
)
_CASES = (
    "'queued', 'delivered', 'acknowledged', 'answered', 'closed', 'no_contact', 'refused_not_ours', 'dead', 'withdrawn'"
)
_NUMBER = """
UPDATE delivery d SET number = numbered.number FROM (
    SELECT id, row_number() OVER (PARTITION BY case_id, channel, address ORDER BY created_at, id) AS number
    FROM delivery) numbered
WHERE numbered.id = d.id AND numbered.number > 1
"""


def upgrade() -> None:
    _decisions()
    _questions()
    _appeals()
    _former()
    _cases()


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")


def _check(table: str, name: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}"))


def _point(name: str, *, nullable: bool) -> sa.Column[object]:
    return sa.Column(name, Geometry("POINT", srid=4326, spatial_index=False), nullable=nullable)


def _decisions() -> None:
    op.create_table(
        "decision",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("at", NOW, nullable=False),
        sa.Column("person_id", sa.Uuid(), sa.ForeignKey("person.id"), nullable=False),
        sa.Column("organisation_id", sa.Uuid(), sa.ForeignKey("organisation.id")),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("report_id", sa.Uuid(), sa.ForeignKey("report.id")),
        sa.Column("incident_id", sa.Uuid(), sa.ForeignKey("incident.id")),
        sa.Column("other_incident_id", sa.Uuid(), sa.ForeignKey("incident.id")),
        sa.Column("before", JSONB(), nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("after", JSONB(), nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("batch_id", sa.Uuid()),
        sa.Column("reason_code", sa.Text()),
        sa.Column("reverses_id", sa.Uuid(), sa.ForeignKey("decision.id"), unique=True),
        sa.Column("undo_until", NOW),
        sa.Column("reversed_at", NOW),
        sa.Column("reversed_by", sa.Uuid(), sa.ForeignKey("person.id")),
        sa.Column("took_s", sa.Float()),
        _check("decision", "action", f"action IN ({_ACTIONS})"),
        _check("decision", "has_subject", "report_id IS NOT NULL OR incident_id IS NOT NULL"),
        _check("decision", "reversed_by", "(reversed_at IS NULL) = (reversed_by IS NULL)"),
        _check("decision", "reverses", "(action = 'reversed') = (reverses_id IS NOT NULL)"),
        _check("decision", "reversed_once", "reversed_at IS NULL OR action <> 'reversed'"),
        _check("decision", "took_s", "took_s >= 0"),
    )
    op.create_index("ix_decision_at", "decision", [sa.text("at DESC"), sa.text("id DESC")])
    op.create_index("ix_decision_person_id_at", "decision", ["person_id", "at"])
    op.create_index(op.f("ix_decision_report_id"), "decision", ["report_id"])
    op.create_index(op.f("ix_decision_incident_id"), "decision", ["incident_id"])
    for name in ("batch_id", "other_incident_id"):
        op.create_index(f"ix_decision_{name}", "decision", [name], postgresql_where=sa.text(f"{name} IS NOT NULL"))


def _questions() -> None:
    op.create_table(
        "question",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("report_id", sa.Uuid(), sa.ForeignKey("report.id", ondelete="CASCADE"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", NOW, nullable=False),
        sa.Column("state_deadline_at", NOW),
        sa.Column("asked_at", NOW, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("words", sa.Text()),
        sa.Column("answer", sa.Text()),
        _check(
            "question",
            "code",
            "code IN ('where_exactly', 'which_water', 'what_is_seen', 'still_there', 'since_when', 'other')",
        ),
        _check("question", "state", "state IN ('open', 'answered', 'withdrawn', 'lapsed')"),
        _check("question", "words_length", "length(words) <= 300"),
        _check("question", "other_has_words", "code <> 'other' OR words IS NOT NULL"),
        _check("question", "answer_length", "length(answer) BETWEEN 1 AND 500"),
        _check("question", "answered", "(state = 'answered') = (answer IS NOT NULL)"),
    )
    op.create_index(op.f("ix_question_report_id"), "question", ["report_id"])
    op.create_index(
        "uq_question_open", "question", ["report_id"], unique=True, postgresql_where=sa.text("state = 'open'")
    )
    op.create_index(
        "ix_question_deadline",
        "question",
        ["state_deadline_at"],
        postgresql_where=sa.text("state_deadline_at IS NOT NULL"),
    )


def _appeals() -> None:
    op.create_table(
        "appeal",
        sa.Column("report_id", sa.Uuid(), sa.ForeignKey("report.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("at", NOW, nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("refused_at", NOW, nullable=False),
        sa.Column("refused_by", sa.Uuid(), sa.ForeignKey("person.id"), nullable=False),
        sa.Column("refusal_code", sa.Text(), nullable=False),
        sa.Column("refusal_words", sa.Text()),
        _check("appeal", "words_length", "length(words) BETWEEN 1 AND 500"),
    )


def _former() -> None:
    op.create_table(
        "report_former",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("report_id", sa.Uuid(), sa.ForeignKey("report.id", ondelete="CASCADE"), nullable=False),
        sa.Column("at", NOW, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        _point("point", nullable=False),
        sa.Column("place_source", sa.Text(), nullable=False),
        sa.Column("input_datum", sa.Text(), nullable=False),
        sa.Column("accuracy_m", sa.Float()),
        sa.Column("water_feature_id", sa.Uuid(), sa.ForeignKey("water_feature.id")),
        _point("snapped_point", nullable=True),
        sa.Column("snap_distance_m", sa.Float()),
        _check("report_former", "kind", f"kind IN ({_KINDS})"),
    )
    op.create_index(op.f("ix_report_former_report_id"), "report_former", ["report_id"])


def _cases() -> None:
    """A case can be withdrawn, and a letter that waits be cancelled; an address may get several of one severity."""
    for table, name, rule in (
        ("escalation_case", "state", f"state IN ({_CASES})"),
        ("escalation_case", "agency_or_no_contact", "agency_id IS NOT NULL OR state IN ('no_contact', 'withdrawn')"),
        ("delivery", "state", "state IN ('pending', 'sending', 'sent', 'refused', 'dead', 'cancelled')"),
    ):
        op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, rule)
    op.add_column("delivery", sa.Column("says", sa.Text(), nullable=False, server_default=sa.text("'case'")))
    op.create_check_constraint(op.f("ck_delivery_says"), "delivery", "says IN ('case', 'lowered', 'withdrawn')")
    op.add_column("delivery", sa.Column("number", sa.SmallInteger(), nullable=False, server_default=sa.text("1")))
    op.execute(sa.text(_NUMBER))
    op.create_check_constraint(op.f("ck_delivery_number"), "delivery", "number >= 1")
    op.drop_constraint(op.f("uq_delivery_case_id_channel_address_severity"), "delivery")
    op.create_unique_constraint(
        op.f("uq_delivery_case_id_channel_address_number"), "delivery", ["case_id", "channel", "address", "number"]
    )
