"""Newcomers in a flood are screened; whoever somebody vouches for, and everybody when there is none, is not."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.reports.rows import submission
from waterwatch.accounts.service import add_client
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict
from waterwatch.kernel.settings import Settings
from waterwatch.reports import intake, service

FLOOD = 5
MODERATOR = Actor.person(uuid.uuid4(), None)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """Six newcomers within ten minutes are a flood."""
    return make_settings(flood_reports=FLOOD)


@pytest.fixture
def send(session: Session, settings: Settings, now: datetime) -> Callable[..., tuple[bool, bool]]:
    """Sends one report; whether it was a newcomer's and whether it has to be screened."""

    def sent(minute: float = 0.0, **changes: Any) -> tuple[bool, bool]:
        at = now + timedelta(minutes=minute)
        receipt = intake.submit(session, submission(now=at, **changes), settings=settings, now=at)
        row = session.execute(
            text("SELECT is_newcomer, needs_screening FROM report WHERE id = :id"), {"id": receipt.report_id}
        ).one()
        return row.is_newcomer, row.needs_screening

    return sent


Send = Callable[..., tuple[bool, bool]]


def test_nothing_is_screened_while_there_is_no_flood(send: Send) -> None:
    assert {send(minute) for minute in range(FLOOD)} == {(True, False)}


def test_from_the_sixth_newcomer_within_ten_minutes_on_they_are_screened(send: Send) -> None:
    assert [send(0.1 * n)[1] for n in range(FLOOD + 2)] == [False] * FLOOD + [True, True]


def test_the_flood_is_over_when_its_window_is(send: Send) -> None:
    for n in range(FLOOD + 1):
        send(0.1 * n)
    assert send(5.0) == (True, True)
    assert send(16.0) == (True, False)


def test_a_device_that_was_there_before_the_flood_is_no_newcomer(send: Send) -> None:
    device = uuid.uuid4().bytes
    assert send(-60, device_id=device) == (True, False)
    for n in range(FLOOD + 1):
        send(0.1 * n)
    assert send(1.0, device_id=device) == (False, False)
    assert send(1.0, device_id=uuid.uuid4().bytes) == (True, True)


def test_a_device_does_not_make_itself_known_by_the_first_report_of_a_flood(send: Send) -> None:
    device = uuid.uuid4().bytes
    assert [send(0.1 * n, device_id=device)[1] for n in range(FLOOD + 1)] == [False] * FLOOD + [True]


def test_a_device_whose_report_was_refused_is_not_known_by_it(send: Send, session: Session) -> None:
    device = uuid.uuid4().bytes
    send(-60, device_id=device)
    session.execute(text("UPDATE report SET state = 'refused', refusal_code = 'abuse'"))
    assert send(0, device_id=device) == (True, False)


def test_applications_and_imports_vouch_for_what_they_send(send: Send, session: Session, now: datetime) -> None:
    add_client(session, "市民热线", "60/hour", actor=Actor.system("operator"), now=now)
    client_id = session.execute(text("SELECT id FROM api_client")).scalar_one()
    for n in range(FLOOD + 1):
        send(0.1 * n)
    assert send(1, source="open311", api_client_id=client_id) == (False, False)
    assert send(1, source="import") == (False, False)


def test_what_came_suspiciously_is_screened_without_any_flood(send: Send) -> None:
    assert send(0, needs_screening=True) == (True, True)


def test_passing_lets_a_report_into_the_order_once_and_says_so(
    session: Session, settings: Settings, now: datetime
) -> None:
    receipt = intake.submit(session, submission(now=now, needs_screening=True), settings=settings, now=now)
    with pytest.raises(Conflict, match="not_in_review"):
        service.pass_screening(session, receipt.report_id, actor=MODERATOR, now=now)
    session.execute(text("UPDATE report SET state = 'in_review'"))
    for _ in range(2):
        service.pass_screening(session, receipt.report_id, actor=MODERATOR, now=now)
    acts = session.execute(text("SELECT action FROM audit_entry WHERE subject_id = :id"), {"id": receipt.report_id})
    assert sorted(acts.scalars()) == ["report.screened", "report.submitted"]


def test_devices_are_forgotten_after_their_time_and_not_before(send: Send, session: Session, now: datetime) -> None:
    for hours in (-49, -47):
        send(60 * hours, device_id=uuid.uuid4().bytes)
    before = now - timedelta(hours=48)
    assert [service.forget_devices(session, before=before) for _ in range(2)] == [1, 0]
    rows = session.execute(text("SELECT device_digest IS NULL, is_newcomer FROM report ORDER BY received_at")).all()
    assert [tuple(row) for row in rows] == [(True, False), (False, True)]
