"""The application, an officer who is signed in, the agency they act for, the one above, one below and a stranger."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from sqlalchemy.orm import Session, sessionmaker

from tests.officers.rows import OWN, add_office
from tests.web.conftest import database_url, people, peopled_database, settings, visitor
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel.db import transaction

__all__ = ["database_url", "people", "peopled_database", "settings", "visitor"]


@dataclass(frozen=True)
class Desk:
    """The agencies by what they are to the officer, and the officer's browser."""

    own: uuid.UUID
    above: uuid.UUID
    below: uuid.UUID
    stranger: uuid.UUID
    visitor: Visitor
    sessions: sessionmaker[Session]

    @contextmanager
    def rows(self) -> Iterator[Session]:
        """A transaction for what the test puts there or looks up."""
        with transaction(self.sessions) as session:
            yield session

    def get(self, path: str) -> str:
        """A page that is there."""
        page = self.visitor.get(path)
        assert page.status_code == 200, (path, page.status_code)
        return page.text

    def post(self, path: str, fields: dict[str, str] | None = None) -> int:
        """Send a form from the inbox's own token; the status."""
        return self.visitor.post(path, fields, page="/office/").status_code


@pytest.fixture
def offices(sessions: sessionmaker[Session]) -> dict[str, uuid.UUID]:
    """A province's office, a city's below it, the officer's own, one below that, and one beside."""
    with transaction(sessions) as session:
        province = add_office(session, "hubei-water", "湖北省水利厅", level="province")
        above = add_office(session, "wuhan-water", "武汉市水务局", level="prefecture", parent_id=province)
        own = add_office(session, OWN, "武昌区水务局", parent_id=above)
        below = add_office(session, "wuchang-street", "武昌街道水务站", parent_id=own)
        stranger = add_office(session, "hanyang-water", "汉阳区水务局", parent_id=above)
    return {"above": above, "own": own, "below": below, "stranger": stranger}


@pytest.fixture
def desk(
    offices: dict[str, uuid.UUID],
    visitor: Visitor,
    people: dict[str, DemoPerson],
    sessions: sessionmaker[Session],
) -> Desk:
    visitor.sign_in(people["officer"])
    return Desk(**offices, visitor=visitor, sessions=sessions)
