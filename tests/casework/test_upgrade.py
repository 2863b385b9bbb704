"""Cases that were under way when clocks for answering and finishing came."""

import uuid
from datetime import UTC, datetime, timedelta

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from tests.conftest import _administer, _with_database
from tests.escalation.rows import add_agency, add_incident, insert
from waterwatch.escalation import service
from waterwatch.escalation.tables import Case
from waterwatch.kernel import migrate
from waterwatch.kernel.audit import Actor
from waterwatch.workdays.rules import add_working_days


def test_cases_under_way_at_the_upgrade_owe_an_answer_and_an_end(admin_url: str) -> None:
    name, now = f"ww_upgrade_{uuid.uuid4().hex[:10]}", datetime.now(UTC).replace(microsecond=0)
    handed_over = {"delivered": now, "acknowledged": now - timedelta(hours=20), "long_ago": now - timedelta(days=200)}
    _administer(admin_url, "CREATE DATABASE {name}", name)
    url = _with_database(admin_url, name)
    try:
        migrate.upgrade(url, revision="0019")
        engine, ids = create_engine(url), {}
        with Session(engine) as session:
            agency_id = add_agency(session, "区局", ["a@gov.example"])
            for key, at in handed_over.items():
                state = "delivered" if key == "delivered" else "acknowledged"
                facts = (
                    {"acknowledged_at": at}
                    if state == "acknowledged"
                    else {"state_deadline_at": at + timedelta(days=1)}
                )
                incident_id = add_incident(session, now=at)
                ids[key] = insert(session, "escalation_case", incident_id=incident_id, agency_id=agency_id, state=state,
                                  state_since=at, severity=3, created_at=at, delivered_at=at, **facts)  # fmt: skip
            session.commit()
        migrate.upgrade(url)
        with Session(engine) as session:
            new = session.get_one(Case, ids["delivered"])
            assert new.state_deadline_at == new.acknowledge_by == now + timedelta(days=1)
            service.acknowledge(session, new.id, actor=Actor.agency_link(agency_id), now=now)
            for key in ("delivered", "acknowledged"):
                case, at = session.get_one(Case, ids[key]), handed_over[key]
                assert case.answer_by == case.state_deadline_at == add_working_days(at, 7, {})
                assert case.finish_by == at + timedelta(days=60)
                assert case.remind_at == case.answer_by - (case.answer_by - at) / 4
            old = session.get_one(Case, ids["long_ago"])
            upgraded_at = session.execute(text("SELECT now()")).scalar_one()
            assert old.answer_by == old.state_deadline_at
            assert old.answer_by is not None
            assert now + timedelta(days=8) < old.answer_by < upgraded_at + timedelta(days=12)
        engine.dispose()
    finally:
        _administer(admin_url, "DROP DATABASE IF EXISTS {name} WITH (FORCE)", name)
