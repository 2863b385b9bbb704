"""Privileges of the application's role, append-only audit, the outbox's bell, and the rows every system begins with.

Revision ID: 0002
Revises: 0001
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# The role is shared by every database of a cluster: an administrator may have made it for an owner who may not, and
# another migration may be creating it at this moment.
ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'waterwatch_app') THEN
        CREATE ROLE waterwatch_app NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""
MEMBERSHIP = """
DO $$ BEGIN
    IF NOT pg_has_role(current_user, 'waterwatch_app', 'MEMBER') THEN
        EXECUTE format('GRANT waterwatch_app TO %I', current_user);
    END IF;
EXCEPTION WHEN unique_violation THEN NULL;
END $$
"""
GRANTS = """
GRANT USAGE ON SCHEMA public TO waterwatch_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO waterwatch_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO waterwatch_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO waterwatch_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO waterwatch_app;
REVOKE UPDATE, DELETE, TRUNCATE ON audit_entry, audit_seal FROM waterwatch_app;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON alembic_version, spatial_ref_sys, role FROM waterwatch_app
"""
# A second net under the privileges: even the owner of the tables cannot change an entry by a slip of the hand.
APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_entry_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_seal_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""
BELL = """
CREATE FUNCTION ring_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('outbox', '');
    RETURN NULL;
END $$;
CREATE TRIGGER outbox_rings AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION ring_outbox()
"""
ROLES = (
    ("01900000-0000-7000-8000-000000000001", "citizen", "[]"),
    ("01900000-0000-7000-8000-000000000002", "moderator", '["review"]'),
    ("01900000-0000-7000-8000-000000000003", "lead_moderator", '["review", "reverse"]'),
    ("01900000-0000-7000-8000-000000000004", "agency_officer", '["agency_desk"]'),
    ("01900000-0000-7000-8000-000000000005", "admin", '["administer"]'),
)
ORGANISATION = ("01900000-0000-7000-8000-000000000010", "default", "江湖網")


def upgrade() -> None:
    for statements in (ROLE, MEMBERSHIP, GRANTS, APPEND_ONLY, BELL):
        op.execute(sa.text(statements.replace(":", "\\:")))
    connection = op.get_bind()
    connection.execute(
        sa.text("INSERT INTO role (id, name, permissions) VALUES (:id, :name, CAST(:permissions AS jsonb))"),
        [{"id": key, "name": name, "permissions": permissions} for key, name, permissions in ROLES],
    )
    connection.execute(
        sa.text("INSERT INTO organisation (id, code, title, created_at) VALUES (:id, :code, :title, now())"),
        dict(zip(("id", "code", "title"), ORGANISATION, strict=True)),
    )
