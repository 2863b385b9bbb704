"""What must be true of the system once it is quiet, however it was treated before."""

import re
from collections import defaultdict

from sqlalchemy import text

from tests.faults.people import Citizen
from tests.faults.system import System
from waterwatch.kernel import audit
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.objects import ObjectStore
from workers import reconcile

_EXPECTED = text("""
SELECT i.code, d.address, coalesce(g.message_id, d.message_id) AS message_id, d.state, c.state AS case_state
FROM incident i JOIN escalation_case c ON c.incident_id = i.id JOIN delivery d ON d.case_id = c.id
LEFT JOIN digest g ON g.id = d.digest_id
""")
_ACTS = text("""
SELECT subject_id, count(*) FILTER (WHERE action = 'report.submitted') AS submitted,
       count(*) FILTER (WHERE action = 'report.settled' AND after ->> 'state' = 'in_review') AS reviewed
FROM audit_entry WHERE subject_kind = 'report' GROUP BY subject_id
""")


def assert_all_in_review(system: System, citizens: list[Citizen]) -> None:
    """Each report exactly once, its photo rebuilt, nothing refused and nothing given up."""
    wanted = len(citizens)
    with transaction(system.sessions) as session:
        states = dict(session.execute(text("SELECT state, count(*) FROM report GROUP BY state")).all())
        photo_states = dict(session.execute(text("SELECT state, count(*) FROM photo GROUP BY state")).all())
        keys = set(session.execute(text("SELECT note FROM report")).scalars())
        acts = session.execute(_ACTS).all()
        dead = session.execute(text("SELECT topic, last_error FROM outbox WHERE dead_at IS NOT NULL")).all()
    assert dead == []
    assert states == {"in_review": wanted}
    assert photo_states == {"ready": wanted}
    assert keys == {citizen.key for citizen in citizens}
    assert [(row.submitted, row.reviewed) for row in acts] == [(1, 1)] * wanted


def assert_all_delivered(system: System, *, reports: int) -> None:
    """Every competent department has every case, each under one Message-ID however many copies came."""
    with transaction(system.sessions) as session:
        rows = session.execute(_EXPECTED).all()
        incidents = session.execute(text("SELECT count(*) FROM incident WHERE kind = 'fish_kill'")).scalar_one()
        accepted = session.execute(text("SELECT count(*) FROM report WHERE state = 'accepted'")).scalar_one()
    assert accepted == reports
    assert len(rows) == reports + incidents  # the province hears of fish kills only
    assert {(row.state, row.case_state) for row in rows} == {("sent", "delivered")}
    copies, accepted_ids = defaultdict(set), set()
    for mail in system.peer.received():
        body = mail.message.get_body(("plain",))
        assert body is not None
        codes = re.findall(r"事件编号：([0-9A-Z]{4}-[0-9A-Z]{4})", body.get_content())  # many, where many went as one
        assert codes
        for code in codes:
            copies[code, mail.recipient].add(mail.message_id)
        if mail.is_accepted:
            accepted_ids.add(mail.message_id)
    assert copies == {(row.code, row.address): {row.message_id} for row in rows}
    assert accepted_ids == {row.message_id for row in rows}


def assert_books_are_whole(system: System) -> None:
    """The audit's chain holds, every row has its file, and the outbox is empty."""
    with transaction(system.sessions) as session:
        while audit.seal(session, now=utc_now()):
            pass
    with transaction(system.sessions) as session:
        assert audit.verify(session).is_whole
    context = JobContext(system.settings, system.sessions, ObjectStore(system.settings.objects_url))
    assert reconcile.compare(context).missing == ()
    assert system.waiting() == 0
