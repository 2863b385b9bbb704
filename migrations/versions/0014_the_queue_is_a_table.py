"""What waits for a moderator is a small table of its own, kept by a trigger of the reports.

Revision ID: 0014
Revises: 0013
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# A second net under every use case that moves a report: whatever moves it, the queue holds exactly what is under review.
QUEUE = """
CREATE FUNCTION queue_report() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> 'in_review' THEN
        DELETE FROM review_item WHERE report_id = NEW.id;
        RETURN NULL;
    END IF;
    INSERT INTO review_item (report_id, received_at, kind, water_body_id, set_aside)
    VALUES (NEW.id, NEW.received_at, NEW.kind,
            (SELECT water_body_id FROM water_feature WHERE id = NEW.water_feature_id),
            CASE WHEN NEW.needs_screening THEN 'screening' END)
    ON CONFLICT (report_id) DO UPDATE SET
        kind = excluded.kind, water_body_id = excluded.water_body_id,
        set_aside = CASE WHEN NEW.needs_screening THEN 'screening'
                         WHEN review_item.set_aside = 'screening' THEN NULL ELSE review_item.set_aside END;
    RETURN NULL;
END $$;
CREATE TRIGGER report_is_queued AFTER INSERT ON report FOR EACH ROW
    WHEN (NEW.state = 'in_review') EXECUTE FUNCTION queue_report();
CREATE TRIGGER report_stays_queued AFTER UPDATE OF state, needs_screening, kind, water_feature_id ON report
    FOR EACH ROW WHEN (OLD.state = 'in_review' OR NEW.state = 'in_review') EXECUTE FUNCTION queue_report()
"""
FILL = """
INSERT INTO review_item (report_id, received_at, kind, water_body_id, set_aside, urgency)
SELECT r.id, r.received_at, r.kind, f.water_body_id, CASE WHEN r.needs_screening THEN 'screening' END,
       CASE WHEN r.has_dead_animals OR r.affects_people THEN 2 ELSE 0 END
FROM report r LEFT JOIN water_feature f ON f.id = r.water_feature_id WHERE r.state = 'in_review'
"""
AREA = "area_code ~ '^[0-9]{6}$'"


def upgrade() -> None:
    op.drop_table("review_lease")  # leases of ten minutes
    _items()
    _choices()
    op.execute(sa.text(QUEUE.replace(":", "\\:")))
    op.execute(sa.text(FILL))


def _items() -> None:
    op.create_table(
        "review_item",
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("water_body_id", sa.Uuid()),
        sa.Column("area_code", sa.Text()),
        sa.Column("urgency", sa.SmallInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("points", sa.SmallInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("hints", JSONB(), nullable=False, server_default=sa.text("'[]'")),
        sa.Column("set_aside", sa.Text()),
        sa.Column("set_aside_until", sa.DateTime(timezone=True)),
        sa.Column("not_for", sa.Uuid()),
        sa.Column("leased_by", sa.Uuid()),
        sa.Column("leased_until", sa.DateTime(timezone=True)),
        sa.Column("leased_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_review_item")),
        _key("review_item", "report_id", "report", "CASCADE"),
        _key("review_item", "not_for", "person", "SET NULL"),
        _key("review_item", "leased_by", "person", None),
        _check("review_item", "urgency", "urgency BETWEEN 0 AND 2"),
        _check("review_item", "points", "points >= 0"),
        _check("review_item", "set_aside", "set_aside IN ('screening', 'lead', 'question')"),
        _check("review_item", "set_aside_until", "set_aside_until IS NULL OR set_aside IS NOT NULL"),
        _check("review_item", "lease_whole", "(leased_by IS NULL) = (leased_until IS NULL)"),
        _check("review_item", "leased_to_another", "leased_by <> not_for"),
        _check("review_item", "area_code", AREA),
        postgresql_with={"fillfactor": 50},
    )
    op.create_index(
        "ix_review_item_order",
        "review_item",
        [sa.text("urgency DESC"), "received_at", "report_id"],
        postgresql_where=sa.text("set_aside IS NULL"),
    )
    op.create_index(
        "ix_review_item_set_aside",
        "review_item",
        ["set_aside", "received_at"],
        postgresql_where=sa.text("set_aside IS NOT NULL"),
    )


def _choices() -> None:
    op.create_table(
        "desk_view",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("area_code", sa.Text()),
        sa.Column("water_body_id", sa.Uuid()),
        sa.Column("kind", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_desk_view")),
        sa.UniqueConstraint("person_id", "name", name=op.f("uq_desk_view_person_id_name")),
        _key("desk_view", "person_id", "person", "CASCADE"),
        _check("desk_view", "name", "name <> '' AND length(name) <= 40"),
        _check("desk_view", "area_code", AREA),
    )
    op.create_table(
        "moderator_area",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("area_code", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "area_code", name=op.f("pk_moderator_area")),
        _key("moderator_area", "person_id", "person", "CASCADE"),
        _check("moderator_area", "area_code", AREA),
    )


def _key(table: str, column: str, other: str, on_delete: str | None) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name, ondelete=on_delete)


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was taken before the upgrade")
