"""An inbox on the clone: settings with a domain, a case with one letter that was sent."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation import rows
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import delivery_token

DOMAIN = "in.example.org"


@dataclass(frozen=True)
class Letter:
    """A letter that was sent: its delivery, its case, and the address its answers come to."""

    delivery_id: uuid.UUID
    case_id: uuid.UUID
    address: str


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str) -> Settings:
    return make_settings(database_url=database_url, inbox_domain=DOMAIN, inbox_listen="127.0.0.1:0")


@pytest.fixture
def context(settings: Settings, sessions: sessionmaker[Session]) -> JobContext:
    return JobContext(settings, sessions, ObjectStore(settings.objects_url))


@pytest.fixture
def letter(context: JobContext, now: datetime) -> Letter:
    with transaction(context.sessions) as session:
        return send_letter(session, context.settings, now=now)


def send_letter(
    session: Session, settings: Settings, *, now: datetime, case_id: uuid.UUID | None = None, state: str = "sent"
) -> Letter:
    """A case that was delivered by one mail, or one mail more of a case."""
    if case_id is None:
        agency_id = rows.add_agency(session, "武汉市生态环境局", ["huanbao1@wuhan.example"])
        incident_id = rows.add_incident(session, now=now)
        case_id = rows.insert(
            session,
            "escalation_case",
            incident_id=incident_id,
            agency_id=agency_id,
            state="delivered",
            state_since=now,
            severity=3,
            created_at=now,
            delivered_at=now,
        )
    number = session.execute(text("SELECT count(*) + 1 FROM delivery")).scalar_one()
    delivery_id = rows.insert(
        session,
        "delivery",
        case_id=case_id,
        channel="email",
        address=f"huanbao{number}@wuhan.example",
        message_id=f"<{uuid.uuid4()}@example.org>",
        severity=3,
        state=state,
        state_since=now,
        created_at=now,
        sent_at=now if state == "sent" else None,
    )
    return Letter(delivery_id, case_id, f"case+{delivery_token(settings, delivery_id)}@{DOMAIN}")
