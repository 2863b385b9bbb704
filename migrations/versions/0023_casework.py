"""What agencies answer, the clocks of their cases, and who supervises whom.

Revision ID: 0023
Revises: 0022
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

NOW = sa.DateTime(timezone=True)
_REASONS = "'personal_data', 'not_an_answer', 'not_from_the_agency', 'abuse', 'other'"
# The one deadline there was ran for acknowledging. A reminder of it is due a quarter of the time before.
_CLOCKS = """
UPDATE escalation_case SET acknowledge_by = state_deadline_at,
    remind_at = state_deadline_at - (state_deadline_at - delivered_at) / 4
WHERE state = 'delivered' AND state_deadline_at IS NOT NULL AND delivered_at IS NOT NULL
"""
# Those to answer and to finish begin to be owed: from the hand-over, as for new cases; where that is over already, from
# now on, because nobody was told of it. By the limits of then, Monday to Friday: no calendar and no rule is loaded yet.
_LATER_CLOCKS = """
WITH due AS (
    SELECT c.id, since.at, answer.by AS answer_by, since.at + interval '60 days' AS finish_by
    FROM escalation_case c
    JOIN (VALUES (4, 3), (3, 7), (2, 15), (1, 15)) term (severity, days) USING (severity)
    CROSS JOIN LATERAL (VALUES (1, c.delivered_at), (2, now())) since (nth, at)
    CROSS JOIN LATERAL (
        SELECT since.at + make_interval(days => day) AS by FROM generate_series(1, 30) day
        WHERE extract(isodow FROM since.at AT TIME ZONE 'Asia/Shanghai' + make_interval(days => day)) < 6
        ORDER BY day OFFSET term.days - 1 LIMIT 1) answer
    WHERE c.state IN ('delivered', 'acknowledged') AND c.delivered_at IS NOT NULL),
owed AS (
    SELECT DISTINCT ON (id) * FROM due WHERE answer_by > now() ORDER BY id, at)
UPDATE escalation_case c SET answer_by = owed.answer_by, finish_by = owed.finish_by,
    state_deadline_at = CASE c.state WHEN 'acknowledged' THEN owed.answer_by ELSE c.state_deadline_at END,
    remind_at = CASE c.state WHEN 'acknowledged' THEN owed.answer_by - (owed.answer_by - owed.at) / 4
                             ELSE c.remind_at END
FROM owed WHERE owed.id = c.id
"""


def upgrade() -> None:
    _clocks()
    _answers()
    _assignments()
    _notes()


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def _clocks() -> None:
    table = "escalation_case"
    op.add_column(table, sa.Column("role", sa.Text(), nullable=False, server_default=sa.text("'competent'")))
    op.add_column(table, sa.Column("supervises_id", sa.Uuid(), sa.ForeignKey("escalation_case.id")))
    for name in (
        *("answered_at", "closed_at", "acknowledge_by", "answer_by", "finish_by"),
        *("remind_at", "escalated_at"),
    ):
        op.add_column(table, sa.Column(name, NOW))
    for name, condition in (
        ("role", "role IN ('competent', 'supervising')"),
        ("supervises", "(role = 'supervising') = (supervises_id IS NOT NULL)"),
        ("not_itself", "supervises_id <> id"),
    ):
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)
    op.create_index(op.f("ix_escalation_case_supervises_id"), table, ["supervises_id"])
    op.create_index(
        "ix_escalation_case_remind_at", table, ["remind_at"], postgresql_where=sa.text("remind_at IS NOT NULL")
    )
    op.execute(sa.text(_CLOCKS))
    op.execute(sa.text(_LATER_CLOCKS))
    op.create_table(
        "case_round",
        sa.Column("case_id", sa.Uuid(), sa.ForeignKey("escalation_case.id"), primary_key=True),
        sa.Column("number", sa.SmallInteger(), primary_key=True),
        sa.Column("severity", sa.SmallInteger(), nullable=False),
        *(sa.Column(name, NOW) for name in ("delivered_at", "acknowledged_at", "answered_at", "closed_at")),
        *(sa.Column(name, NOW) for name in ("acknowledge_by", "answer_by", "finish_by", "escalated_at")),
        sa.Column("reopened_at", NOW, nullable=False),
        _check("case_round", "number", "number >= 1"),
    )


def _answers() -> None:
    table = "case_answer"
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("case_id", sa.Uuid(), sa.ForeignKey("escalation_case.id"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("words", sa.Text()),
        sa.Column("planned_on", sa.Date()),
        sa.Column("suggested_agency_id", sa.Uuid(), sa.ForeignKey("agency.id")),
        sa.Column("said_at", NOW, nullable=False),
        sa.Column("said_by", sa.Uuid(), sa.ForeignKey("person.id")),
        sa.Column("source_key", sa.Text(), unique=True),
        sa.Column("digest_id", sa.Uuid(), sa.ForeignKey("digest.id")),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_since", NOW, nullable=False),
        sa.Column("state_deadline_at", NOW),
        sa.Column("published_at", NOW),
        sa.Column("checked_by", sa.Uuid(), sa.ForeignKey("person.id")),
        sa.Column("withheld_reason", sa.Text()),
        sa.Column("erased_at", NOW),
        _check(table, "kind", "kind IN ('answer', 'done', 'not_ours', 'comment')"),
        _check(table, "via", "via IN ('link', 'desk', 'email', 'open311', 'api')"),
        _check(table, "state", "state IN ('held', 'published', 'withheld')"),
        _check(table, "words_length", "length(words) BETWEEN 1 AND 4000"),
        _check(table, "withheld_reason", "(state = 'withheld') = (withheld_reason IS NOT NULL)"),
        _check(table, "withheld_reason_known", f"withheld_reason IN ({_REASONS})"),
        _check(table, "published_at", "(state = 'published') <= (published_at IS NOT NULL)"),
        _check(table, "suggestion", "suggested_agency_id IS NULL OR kind = 'not_ours'"),
        _check(table, "erased", "erased_at IS NULL OR words IS NULL"),
    )
    op.create_index(op.f("ix_case_answer_case_id"), table, ["case_id"])
    op.create_index("ix_case_answer_held", table, ["said_at"], postgresql_where=sa.text("state = 'held'"))
    op.create_index(
        "ix_case_answer_deadline",
        table,
        ["state_deadline_at"],
        postgresql_where=sa.text("state_deadline_at IS NOT NULL"),
    )
    op.create_table(
        "case_answer_photo",
        sa.Column("photo_id", sa.Uuid(), sa.ForeignKey("photo.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("answer_id", sa.Uuid(), sa.ForeignKey("case_answer.id", ondelete="CASCADE"), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.UniqueConstraint("answer_id", "position", name=op.f("uq_case_answer_photo_answer_id_position")),
        _check("case_answer_photo", "position", "position BETWEEN 1 AND 6"),
    )


def _assignments() -> None:
    table = "case_assignment"
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("case_id", sa.Uuid(), sa.ForeignKey("escalation_case.id"), nullable=False),
        sa.Column("person_id", sa.Uuid(), sa.ForeignKey("person.id")),
        sa.Column("office", sa.Text()),
        sa.Column("assigned_at", NOW, nullable=False),
        sa.Column("assigned_by", sa.Uuid(), sa.ForeignKey("person.id")),
        sa.Column("ended_at", NOW),
        _check(table, "somebody", "person_id IS NOT NULL OR office IS NOT NULL"),
        _check(table, "office_length", "length(office) BETWEEN 1 AND 60"),
        _check(table, "ended_after", "ended_at >= assigned_at"),
    )
    op.create_index(op.f("ix_case_assignment_person_id"), table, ["person_id"])
    op.create_index(
        "uq_case_assignment_standing",
        table,
        ["case_id", "person_id", "office"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def _notes() -> None:
    table = "case_note"
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("case_id", sa.Uuid(), sa.ForeignKey("escalation_case.id"), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("said_at", NOW, nullable=False),
        sa.Column("said_by", sa.Uuid(), sa.ForeignKey("person.id")),
        _check(table, "words_length", "length(words) BETWEEN 1 AND 1000"),
    )
    op.create_index(op.f("ix_case_note_case_id"), table, ["case_id"])


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
