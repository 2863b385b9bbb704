"""A database goes back to before there were warnings, and on again, with an agency that has a case and a warning."""

import uuid
from datetime import UTC, datetime

from alembic import command
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from tests.conftest import _administer, _with_database
from tests.escalation.rows import add_agency, add_incident, insert
from waterwatch.kernel import migrate


def test_whoever_is_warned_beside_a_case_of_its_own_has_that_alone_before_there_were_warnings(admin_url: str) -> None:
    name, now = f"ww_upgrade_{uuid.uuid4().hex[:10]}", datetime.now(UTC)
    _administer(admin_url, "CREATE DATABASE {name}", name)
    url = _with_database(admin_url, name)
    try:
        migrate.upgrade(url)
        engine = create_engine(url)
        with Session(engine) as session:
            agency_id, incident_id = add_agency(session, "区局", ["a@gov.example"]), add_incident(session, now=now)
            for role, says in (("competent", "case"), ("downstream", "warning")):
                case_id = insert(session, "escalation_case", incident_id=incident_id, agency_id=agency_id, role=role,
                                 state="queued", state_since=now, severity=2, created_at=now)  # fmt: skip
                insert(session, "delivery", case_id=case_id, channel="cap_feed", address="值班室", says=says,
                       severity=2, message_id=f"<{case_id}@x>", state="pending", state_since=now,
                       created_at=now)  # fmt: skip
            session.execute(text("""UPDATE delivery SET told = '{}' WHERE says = 'warning'"""))
            session.commit()
        command.downgrade(migrate.make_config(url), "0026")
        with Session(engine) as session:
            assert session.execute(text("SELECT role FROM escalation_case")).scalars().all() == ["competent"]
            assert session.execute(text("SELECT says FROM delivery")).scalars().all() == ["case"]
        migrate.upgrade(url)
        engine.dispose()
    finally:
        _administer(admin_url, "DROP DATABASE IF EXISTS {name} WITH (FORCE)", name)
