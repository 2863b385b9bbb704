"""An incident in a county of a prefecture of a province, and who answers for it."""

import uuid
from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy.orm import Session

from tests.casework.rows import add_tree, case_of, escalate, hand_over
from tests.escalation.rows import add_incident
from tests.moderation.rows import add_moderator
from waterwatch.escalation.tables import Case
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.settings import Settings


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def unchecked(make_settings: Callable[..., Settings]) -> Settings:
    """Where no lead looks at answers first."""
    return make_settings(answers_are_checked=False)


@pytest.fixture
def incident_id(session: Session, now: datetime) -> uuid.UUID:
    return add_incident(session, now=now)


@pytest.fixture
def tree(session: Session) -> tuple[uuid.UUID, uuid.UUID, uuid.UUID]:
    """The agencies of county, prefecture and province."""
    return add_tree(session)


@pytest.fixture
def case(
    session: Session,
    incident_id: uuid.UUID,
    tree: tuple[uuid.UUID, uuid.UUID, uuid.UUID],
    settings: Settings,
    now: datetime,
) -> Case:
    """The county's orange case, handed over."""
    escalate(session, incident_id, settings, now)
    made = case_of(session, incident_id, tree[0])
    hand_over(session, made, settings, now)
    return made


@pytest.fixture
def officer(case: Case) -> Actor:
    """Whoever follows the link of the case's letter."""
    assert case.agency_id is not None
    return Actor.agency_link(case.agency_id)


@pytest.fixture
def lead(session: Session, now: datetime) -> Actor:
    return add_moderator(session, "lead", now=now)
