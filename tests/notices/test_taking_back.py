"""Two at once: somebody takes a report back while somebody else leaves a way to be told of it."""

import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.reports.rows import submission
from waterwatch.contacts.rules import Contact
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict
from waterwatch.kernel.settings import Settings
from waterwatch.notices import service
from waterwatch.reports import intake
from waterwatch.reports import service as reports
from waterwatch.reports.intake import Receipt

WANG = Contact("wang@example.org", None, by_mail=True, may_ask=False)
LI = Contact("li@example.org", None, by_mail=True, may_ask=False)
WAITING = text("""
SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND a.datname = current_database()
""")


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str) -> Settings:
    """Of a database of its own, where two can meet."""
    return make_settings(database_url=database_url)


@pytest.fixture
def receipt(sessions: sessionmaker[Session], settings: Settings, now: datetime) -> Receipt:
    """A report whose author left an address."""
    with transaction(sessions) as session:
        made = intake.submit(session, submission(now=now), settings=settings, now=now)
        service.leave_contact(session, made.follow_token, WANG, settings=settings, now=now)
    return made


def contacts_left(sessions: sessionmaker[Session], report_id: uuid.UUID) -> int:
    with transaction(sessions) as session:
        statement = text("SELECT count(*) FROM report_contact WHERE report_id = :id")
        return int(session.execute(statement, {"id": report_id}).scalar_one())


def wait_until_somebody_waits(sessions: sessionmaker[Session]) -> None:
    deadline, waiting = time.monotonic() + 30, 0
    while not waiting:
        assert time.monotonic() < deadline, "nobody waits for a lock"
        with transaction(sessions) as session:
            waiting = session.execute(WAITING).scalar_one()


def test_no_address_outlives_a_report_that_is_taken_back_meanwhile(
    sessions: sessionmaker[Session], settings: Settings, now: datetime, receipt: Receipt
) -> None:
    refused: list[Conflict] = []

    def leave() -> None:
        try:
            with transaction(sessions) as session:
                service.leave_contact(session, receipt.follow_token, LI, settings=settings, now=now)
        except Conflict as error:
            refused.append(error)

    other = threading.Thread(target=leave)
    with transaction(sessions) as session:
        reports.withdraw(session, receipt.report_id, now=now)
        other.start()
        wait_until_somebody_waits(sessions)
    other.join()
    assert [error.error_code for error in refused] == ["report_has_ended"]
    assert contacts_left(sessions, receipt.report_id) == 0


def test_an_address_left_a_moment_before_goes_with_the_report(
    sessions: sessionmaker[Session], settings: Settings, now: datetime, receipt: Receipt
) -> None:
    def take_back() -> None:
        with transaction(sessions) as session:
            reports.withdraw(session, receipt.report_id, now=now)

    other = threading.Thread(target=take_back)
    with transaction(sessions) as session:
        service.leave_contact(session, receipt.follow_token, LI, settings=settings, now=now)
        other.start()
        wait_until_somebody_waits(sessions)
    other.join()
    assert contacts_left(sessions, receipt.report_id) == 0
