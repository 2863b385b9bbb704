"""How departments answered, period by period, and what they say of it.

Revision ID: 0026
Revises: 0025
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0026"
down_revision: str | None = "0025"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

NOW = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "period_release",
        sa.Column("period", sa.Text(), primary_key=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("as_of", NOW, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", NOW, nullable=False),
        sa.Column("state_deadline_at", NOW),
        sa.Column("published_at", NOW),
        sa.UniqueConstraint("id", name=op.f("uq_period_release_id")),
        _check("period_release", "period", "period ~ '^20[0-9]{2}(Q[1-4]|-(0[1-9]|1[0-2]))$'"),
        _check("period_release", "published_at", "(state = 'published') = (published_at IS NOT NULL)"),
        _check("period_release", "shown_until", "(state = 'shown') = (state_deadline_at IS NOT NULL)"),
        _check("period_release", "state", "state IN ('shown', 'published')"),
    )
    op.create_table(
        "period_figures",
        sa.Column("id", sa.Uuid(), primary_key=True, server_default=sa.text("gen_random_uuid()")),
        sa.Column("period", sa.Text(), sa.ForeignKey("period_release.period", ondelete="CASCADE"), nullable=False),
        sa.Column("agency_id", sa.Uuid(), sa.ForeignKey("agency.id")),
        sa.Column("jurisdiction_id", sa.Uuid(), sa.ForeignKey("jurisdiction.id")),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.Column("withdrawn", sa.Integer(), nullable=False),
        sa.Column("not_ours", sa.Integer(), nullable=False),
        sa.Column("supervising", sa.Integer(), nullable=False),
        sa.Column("not_reached", sa.Integer(), nullable=False),
        sa.Column("acknowledge_due", sa.Integer(), nullable=False),
        sa.Column("acknowledged", sa.Integer(), nullable=False),
        sa.Column("acknowledged_on_time", sa.Integer(), nullable=False),
        sa.Column("acknowledge_median_s", sa.Double()),
        sa.Column("answer_due", sa.Integer(), nullable=False),
        sa.Column("answered", sa.Integer(), nullable=False),
        sa.Column("answered_on_time", sa.Integer(), nullable=False),
        sa.Column("answer_median_s", sa.Double()),
        sa.Column("settle_due", sa.Integer(), nullable=False),
        sa.Column("verified_clean", sa.Integer(), nullable=False),
        sa.Column("claimed", sa.Integer(), nullable=False),
        sa.Column("reopened", sa.Integer(), nullable=False),
        sa.Column("overdue", sa.Integer(), nullable=False),
        sa.UniqueConstraint(
            "period",
            "agency_id",
            "jurisdiction_id",
            name=op.f("uq_period_figures_period_agency_id_jurisdiction_id"),
            postgresql_nulls_not_distinct=True,
        ),
        _check("period_figures", "answered", "answered_on_time <= answered AND answered <= answer_due"),
        _check("period_figures", "verified_clean", "verified_clean <= settle_due"),
        _check("period_figures", "due", "greatest(acknowledge_due, answer_due, settle_due) <= cases"),
        _check("period_figures", "medians", "acknowledge_median_s >= 0 AND answer_median_s >= 0"),
        _check("period_figures", "one_subject", "agency_id IS NULL OR jurisdiction_id IS NULL"),
        _check(
            "period_figures",
            "counts",
            "least(cases, withdrawn, not_ours, supervising, not_reached, claimed, reopened, overdue) >= 0",
        ),
        _check(
            "period_figures", "acknowledged", "acknowledged_on_time <= acknowledged AND acknowledged <= acknowledge_due"
        ),
    )
    op.create_index(
        "ix_period_figures_agency_id",
        "period_figures",
        ["agency_id"],
        postgresql_where=sa.text("agency_id IS NOT NULL"),
    )
    op.create_index(
        "ix_period_figures_jurisdiction_id",
        "period_figures",
        ["jurisdiction_id"],
        postgresql_where=sa.text("jurisdiction_id IS NOT NULL"),
    )
    op.create_table(
        "agency_comment",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("figures_id", sa.Uuid(), sa.ForeignKey("period_figures.id"), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("written_at", NOW, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", NOW, nullable=False),
        sa.Column("state_deadline_at", NOW),
        sa.Column("checked_by", sa.Uuid(), sa.ForeignKey("person.id")),
        sa.Column("withheld_reason", sa.Text()),
        sa.UniqueConstraint("figures_id", name=op.f("uq_agency_comment_figures_id")),
        _check("agency_comment", "state", "state IN ('held', 'published', 'withheld')"),
        _check(
            "agency_comment",
            "withheld_reason_known",
            "withheld_reason IN ('personal_data', 'abuse', 'not_about_figures', 'not_from_the_agency')",
        ),
        _check("agency_comment", "words", "length(words) BETWEEN 1 AND 2000"),
        _check("agency_comment", "withheld_reason", "(state = 'withheld') = (withheld_reason IS NOT NULL)"),
        _check("agency_comment", "checked", "(state = 'held') = (checked_by IS NULL)"),
    )
    op.create_index(
        "ix_agency_comment_held", "agency_comment", ["written_at"], postgresql_where=sa.text("state = 'held'")
    )


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
