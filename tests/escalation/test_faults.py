"""A thousand incidents, and departments whose servers do as servers do: who is told, how often, who is not hurt."""

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.engine import Engine
from tests.escalation.rows import add_agency, add_incident
from tests.messaging.servers import Fickle, rude_server
from waterwatch.escalation import service
from waterwatch.escalation.channels.letter import kept_map
from waterwatch.escalation.queries import facts_of_cases
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

TESTS = Actor.system("tests")
INCIDENTS, AREAS = 1000, 125
# What a department's server does, and how many of a hundred do it.
MANNERS = {
    "kind": 40, "450": 10, "later_kind": 10, "550": 8, "554": 6, "452": 6, "drop_once": 10, "garbage_once": 5,
    "hang_once": 3, "trickle_once": 2,
}  # fmt: skip
UNSURE = frozenset({"drop_once", "garbage_once", "hang_once", "trickle_once"})


class Departments:
    """How each department's server behaves; those that break off do so at their first mail."""

    def __init__(self, seed: int) -> None:
        drawn = random.Random(seed)  # a test's own dice
        manners = [manner for manner, share in MANNERS.items() for _ in range(share)]
        self.manners = {f"a{number}@x.example": drawn.choice(manners) for number in range(AREAS)}

    def behave(self, recipient: str, nth: int) -> str:
        manner = self.manners[recipient]
        if manner == "later_kind":
            return "450" if nth <= 3 else "kind"
        if manner in UNSURE:
            return manner.removesuffix("_once") if nth == 1 else "kind"
        return manner


@pytest.fixture
def country(make_settings: Callable[..., Settings], database_url: str, sessions: sessionmaker[Session]) -> Engine:
    """A thousand incidents in 125 areas of one department each: eight letters for each, which is below a digest."""
    settings = make_settings(database_url=database_url, public_url="https://waters.example.org")
    settings.spool_dir.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    with transaction(sessions) as session:
        for area in range(AREAS):
            west, south = 100 + area % 25 * 0.4, 25 + area // 25 * 0.4
            corners = ((0, 0), (0.4, 0), (0.4, 0.4), (0, 0.4), (0, 0))
            ring = ", ".join(f"{west + x} {south + y}" for x, y in corners)
            add_agency(
                session, f"第 {area} 局", [f"a{area}@x.example"], area=f"MULTIPOLYGON((({ring})))", level="county"
            )
    drawn = random.Random(7)  # a test's own dice
    for first in range(0, INCIDENTS, 100):
        with transaction(sessions) as session:
            for number in range(first, first + 100):
                area = number % AREAS
                at = (100.2 + area % 25 * 0.4, 25.2 + area // 25 * 0.4)
                incident_id = add_incident(session, now=now, at=at, severity=drawn.randint(1, 4))
                service.escalate(session, incident_id, settings=settings, actor=TESTS, now=now)
    with transaction(sessions) as session:  # maps were drawn before: a thousand of them take a minute
        cases = list(session.execute(text("SELECT id FROM escalation_case")).scalars())
        for facts in facts_of_cases(session, cases).values():
            kept_map(settings, facts).write_bytes(b"PNG")
    return Engine(settings, sessions)


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_everybody_competent_is_reached_under_one_id_or_a_person_is_told(country: Engine) -> None:
    departments = Departments(seed=3)
    server = Fickle(departments.behave)
    with rude_server(server) as port:
        engine = country.at(port, smtp_timeout_s=4)
        for hours in (0.02, 0.1, 0.3, 1.2, 1.2, 1.2, 12, 60, 2):
            engine.run()
            engine.pass_time(hours)
        engine.run()
    with transaction(country.sessions) as session:
        rows = session.execute(
            text("""SELECT d.address, d.message_id, d.state, d.attempts, c.state AS case_state,
                           EXISTS (SELECT FROM case_alarm a WHERE a.case_id = c.id) AS is_told
                    FROM delivery d JOIN escalation_case c ON c.id = d.case_id""")
        ).all()
    assert len(rows) == INCIDENTS
    copies = Counter((copy.recipient, _id_of(copy.content)) for copy in server.copies)
    accepted = {(copy.recipient, _id_of(copy.content)) for copy in server.copies if copy.is_accepted}
    for row in rows:
        manner, key = departments.manners[row.address], (row.address, row.message_id)
        # Reached under its one id, or a person told; never neither, never both.
        assert (row.case_state, row.state) in {("delivered", "sent"), ("dead", "refused"), ("dead", "dead")}, row
        assert (row.case_state == "delivered") == (key in accepted) == (not row.is_told), (row, manner)
        # Twice only where the server took a mail and did not say so.
        assert copies[key] <= (2 if manner in UNSURE else 1), (row, manner)
        # What one department's server does costs no other an attempt.
        assert manner != "kind" or row.attempts == 1, row
    assert set(copies) <= {(row.address, row.message_id) for row in rows}
    assert {departments.manners[row.address] for row in rows if row.case_state == "dead"} == {
        "550",
        "554",
        "450",
        "452",
    }


def _id_of(content: bytes) -> str:
    return str(message_from_bytes(content, policy=default)["Message-ID"])
