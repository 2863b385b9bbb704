"""How the agency answered, at its desk: counted as what is published is, and shown before anybody else sees it."""

import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.officers.conftest import Desk
from tests.officers.rows import add_case
from tests.web.site import Visitor
from waterwatch.accountability import service
from waterwatch.accountability.rules import Period
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

HOUR = timedelta(hours=1)
SYSTEM = Actor.system("tests")


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def plain(page: str) -> str:
    """What is read of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)).strip()


def cells(page: str) -> list[list[str]]:
    """The rows of figures on a page, in words."""
    rows = re.findall(r"<tbody><tr>(.*?)</tr>", page, re.DOTALL)
    return [
        [
            re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", one)).strip()
            for one in re.findall(r"<td.*?</td>", row, re.DOTALL)
        ]
        for row in rows
    ]


def show(sessions: sessionmaker[Session], settings: Settings, agencies: list[uuid.UUID], now: datetime) -> Period:
    """Each has four cases of the quarter before, three of them acknowledged in time; it is counted and shown."""
    period = Period.quarter_of(now).previous
    day = period.since + timedelta(days=10)
    clocks = {"created_at": day, "delivered_at": day, "acknowledge_by": day + 24 * HOUR}
    with transaction(sessions) as session:
        for agency_id in agencies:
            for _ in range(3):
                add_case(session, agency_id, now=now, state="acknowledged", acknowledged_at=day + HOUR, **clocks)
            add_case(session, agency_id, now=now, **clocks)
    with transaction(sessions) as session:
        service.show_period(session, period, settings=settings, actor=SYSTEM, now=now)
    return period


def test_the_desk_counts_former_rounds_and_what_was_not_done_and_nothing_of_what_was_none(
    desk: Desk, now: datetime
) -> None:
    told = now - 10 * HOUR
    kept = {"delivered_at": told, "acknowledged_at": told + HOUR, "acknowledge_by": told + 2 * HOUR}
    missed = {"delivered_at": told, "acknowledge_by": told + 2 * HOUR}
    with desk.rows() as session:
        for _ in range(2):
            add_case(session, desk.own, now=now, state="acknowledged", **kept)
        for _ in range(3):
            add_case(session, desk.own, now=now, due_in_h=-8, **missed)
        over = add_case(session, desk.own, now=now, due_in_h=-8, **missed)
        none = add_case(session, desk.own, now=now, state="closed", closed_at=told + 3 * HOUR, **kept)
        for case_id, state in ((over, "expired"), (none, "retracted")):
            session.execute(
                text("UPDATE incident SET state = :state, closed_at = :at FROM escalation_case c"
                     " WHERE c.incident_id = incident.id AND c.id = :id"),
                {"state": state, "at": now, "id": case_id},
            )  # fmt: skip
        again = add_case(session, desk.own, now=now, delivered_at=now - HOUR, acknowledge_by=now + 24 * HOUR)
        session.execute(
            text("INSERT INTO case_round (case_id, number, severity, delivered_at, acknowledged_at, acknowledge_by,"
                 " closed_at, reopened_at) VALUES (:id, 1, 3, :told, :hour, :by, :closed, :closed)"),
            {"id": again, "told": told, "hour": told + HOUR, "by": told + 2 * HOUR, "closed": told + 3 * HOUR},
        )  # fmt: skip
        add_case(session, desk.own, now=now, state="withdrawn", **kept)
        add_case(session, desk.own, now=now, state="refused_not_ours", **kept)
        add_case(session, desk.stranger, now=now, **missed)
    (row,) = cells(desk.get("/office/figures"))
    # Three kept (one in a former round), four not: half of them took longer than any that was acknowledged.
    assert row[:3] == ["8", "43% 3/7", "过半没有做到 共 7 起"]
    assert row[-1] == "3"  # of an incident that is over nothing is overdue


def test_a_department_without_an_address_sees_its_figures_first_at_its_desk_and_says_something(
    desk: Desk, settings: Settings, now: datetime
) -> None:
    with desk.rows() as session:
        session.execute(text("DELETE FROM agency_contact"))
    show(desk.sessions, settings, [desk.own, desk.stranger], now)
    with desk.rows() as session:
        assert session.execute(text("SELECT count(*) FROM posting")).scalar_one() == 0
        rows = session.execute(text("SELECT agency_id, id FROM period_figures WHERE agency_id IS NOT NULL"))
        found = {row.agency_id: row.id for row in rows}
    own = f"/office/figures/{found[desk.own]}"
    assert f'href="{own}"' in desk.get("/office/")
    page = desk.get("/office/figures")
    assert f'href="{own}"' in page
    assert cells(page)[0][:2] == ["4", "75% 3/4"]
    assert cells(desk.get(own))[0][:2] == ["4", "75% 3/4"]
    assert desk.post(own, {"words": " "}) == 400
    assert desk.post(own, {"words": "有一起不在本区"}) == 303
    assert "有一起不在本区" in desk.get(own)
    with desk.rows() as session:
        said = session.execute(text("SELECT figures_id, words, state FROM agency_comment")).one()
        acts = session.execute(
            text(
                "SELECT p.email FROM audit_entry e JOIN person p ON p.id = e.actor_id WHERE action = 'comment.written'"
            )
        ).scalars()
        assert list(acts) == ["officer@demo.example"]
    assert tuple(said) == (found[desk.own], "有一起不在本区", "held")
    others = f"/office/figures/{found[desk.stranger]}"
    assert desk.visitor.get(others).status_code == 404
    assert desk.post(others, {"words": "别人的"}) == 404
    with desk.rows() as session:
        service.publish_due(session, actor=SYSTEM, now=now + timedelta(days=60))
    late = desk.visitor.post(own, {"words": "晚了"}, page="/office/")
    assert (late.status_code, "晚了" in late.text) == (409, True)
    assert f'href="{own}"' not in desk.get("/office/figures")


def test_the_lead_is_told_which_departments_no_mail_told(
    offices: dict[str, uuid.UUID],
    sessions: sessionmaker[Session],
    settings: Settings,
    visitor: Visitor,
    people: dict[str, DemoPerson],
    now: datetime,
) -> None:
    with transaction(sessions) as session:
        session.execute(
            text("DELETE FROM agency_contact WHERE agency_id IN (:own, :stranger)"),
            {"own": offices["own"], "stranger": offices["stranger"]},
        )
    show(sessions, settings, [offices[name] for name in ("own", "stranger", "above", "below")], now)
    with transaction(sessions) as session:
        session.execute(
            text("UPDATE posting SET state = 'refused', sealed = NULL WHERE recipient_id = :id"),
            {"id": offices["below"]},
        )
    visitor.sign_in(people["lead"])
    page = visitor.get("/desk/accountability").text
    listed = page[page.index('id="unwritten"') : page.index("</aside>")]
    rows = [plain(one) for one in re.findall(r"<li.*?</li>", listed, re.DOTALL)]
    told = [(row.split()[0], "请另行告知" in row) for row in rows]
    assert told == [("汉阳区水务局", True), ("武昌街道水务站", True), ("武昌区水务局", False)]
    with transaction(sessions) as session:
        service.publish_due(session, actor=SYSTEM, now=now + timedelta(days=60))
    assert 'id="unwritten"' not in visitor.get("/desk/accountability").text
