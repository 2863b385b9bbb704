"""What an agency that is only warned sees and says, and what the public sees of that: nothing."""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.advisories.rows import add_chain
from tests.escalation.rows import add_agency
from tests.escalation.test_warnings import LOWER, UPPER
from tests.incidents.rows import open_on
from tests.moderation.rows import add_moderator
from tests.reports.rows import LAT, LON
from waterwatch.accountability.queries import figures_of_window
from waterwatch.app import create_app
from waterwatch.atlas import incidents as atlas
from waterwatch.casework import queries as casework
from waterwatch.casework import service as answers
from waterwatch.casework.service import Answer
from waterwatch.escalation import again, deliveries, service, unheard_queries, warnings
from waterwatch.escalation.channels.letter import acknowledge_url
from waterwatch.incidents.rules import Severity
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.portal import queries as portal
from workers import handlers

TESTS = Actor.system("tests")


@dataclass(frozen=True)
class Warned:
    """A case of an agency downstream that has got its letter, and the path of the letter's link."""

    incident_id: uuid.UUID
    code: str
    case_id: uuid.UUID
    agency_id: uuid.UUID
    path: str
    client: FlaskClient
    sessions: sessionmaker[Session]

    def state(self) -> str:
        with transaction(self.sessions) as session:
            found = session.execute(text("SELECT state FROM escalation_case WHERE id = :id"), {"id": self.case_id})
            return str(found.scalar_one())

    def post(self, path: str, **fields: str) -> int:
        page = self.client.get(self.path).text
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        key = re.search(r'name="key" value="([^"]+)"', page)
        assert token is not None
        fields |= {"csrf_token": token[1]} | ({"key": key[1]} if key else {})
        return self.client.post(self.path + path, data=fields).status_code


def run_forecast(settings: Settings, sessions: sessionmaker[Session]) -> int:
    """The job of early warning, as often as it is ordered."""
    context, runs = JobContext(settings, sessions, ObjectStore(settings.objects_url)), 0
    while True:
        with transaction(sessions) as session:
            taken = outbox.take(session, "advisories.forecast", limit=1, lease_s=30)
        if not taken:
            return runs
        handlers.forecast(context, taken[0])
        runs += 1


@pytest.fixture
def warned(settings: Settings, sessions: sessionmaker[Session]) -> Iterator[Warned]:
    now = datetime.now(UTC)
    with transaction(sessions) as session:
        add_agency(session, "上游局", ["up@x.example"], area=UPPER)
        agency_id = add_agency(session, "下游局", ["down@x.example"], area=LOWER)
        river = add_chain(session, 5)
        incident, _report = open_on(
            session, river.ids[0], add_moderator(session, "甲", now=now), now=now, at=(LON + 0.02, LAT + 0.003),
            severity=Severity.MAJOR,
        )  # fmt: skip
        session.flush()
        incident_id, code = incident.id, incident.code
        service.escalate(session, incident_id, settings=settings, actor=TESTS, now=now)
        outbox.emit(session, "advisories.forecast", {"incident_id": str(incident_id)}, now=now)
    assert run_forecast(settings, sessions) == 1
    with transaction(sessions) as session:
        case_id = session.execute(text("SELECT id FROM escalation_case WHERE role = 'downstream'")).scalar_one()
        delivery_id = session.execute(text("SELECT id FROM delivery WHERE says = 'warning'")).scalar_one()
        claim = deliveries.claim_delivery(session, delivery_id, settings=settings, now=now)
        assert claim is not None
        deliveries.record_sent(session, claim, now=now)
    app = create_app(settings)
    path = acknowledge_url(settings, case_id, now).removeprefix(settings.public_url)
    yield Warned(incident_id, code, case_id, agency_id, path, app.test_client(), sessions)
    app.extensions["waterwatch"].engine.dispose()


def test_the_link_shows_what_may_come_and_neither_the_exact_place_nor_when_it_was_seen(warned: Warned) -> None:
    page = warned.client.get(warned.path).text
    for words in ("下游预警", "试河", "36–46", "没有办理期限", "确认收到", "告诉我们到了没有",
                  "每公斤的峰浓度：约 0.1 毫克/升（数量级）", "不是水里实际会有的浓度"):  # fmt: skip
        assert words in page
    for words in (f"{LAT + 0.003:.4f}", "首次上报", "map.png", "请在", "已处理完"):
        assert words not in page
    assert warned.client.get(f"{warned.path}/map.png").status_code == 404


def test_it_can_be_acknowledged_and_nothing_runs_from_then(warned: Warned) -> None:
    assert warned.post("") == 303
    assert warned.state() == "acknowledged"
    with transaction(warned.sessions) as session:
        row = session.execute(
            text("SELECT state_deadline_at, remind_at, answer_by FROM escalation_case WHERE id = :id"),
            {"id": warned.case_id},
        ).one()
        moved = session.execute(text("SELECT count(*) FROM outbox WHERE topic = 'escalation.case_moved'")).scalar_one()
    assert tuple(row) == (None, None, None)
    assert moved == 0
    assert "已确认收到" in warned.client.get(warned.path).text


def test_a_word_to_it_is_for_the_lead_alone_and_stays_so_when_its_agency_gets_the_case_itself(
    settings: Settings, warned: Warned
) -> None:
    assert warned.post("/answer", words="今早取水口还没有异味", comment="1") == 303
    assert warned.state() == "acknowledged"
    with transaction(warned.sessions) as session:
        [held] = casework.held_answers(session)
        assert (held.kind, held.role, held.state) == ("comment", "downstream", "held")
    with transaction(warned.sessions) as session:
        session.execute(text("UPDATE jurisdiction SET geom = ST_Multi(ST_Expand(geom, 3))"))
        given = {"settings": settings, "actor": TESTS, "now": datetime.now(UTC)}
        cases = service.escalate(session, warned.incident_id, **given)  # type: ignore[arg-type]
        assert warned.agency_id in {case.agency_id for case in cases}
        with pytest.raises(Conflict, match="answer_to_warning"):
            answers.publish_answer(session, held.answer_id, actor=TESTS, now=datetime.now(UTC))
        state = session.execute(text("SELECT state FROM incident")).scalar_one()
        assert casework.public_answers(session, [warned.incident_id])[warned.incident_id] == []
    assert state == "open"


@pytest.mark.parametrize("act", ["answer", "done", "not_ours"])
def test_whatever_is_said_it_is_neither_answered_nor_closed_nor_handed_on(
    warned: Warned, settings: Settings, act: str
) -> None:
    said = Answer("看过了，没有到")
    with transaction(warned.sessions) as session:
        given = {"settings": settings, "actor": Actor.agency_link(warned.agency_id), "now": datetime.now(UTC)}
        if act == "answer":
            answers.answer(session, warned.case_id, said, **given)  # type: ignore[arg-type]
        elif act == "done":
            answers.report_done(session, warned.case_id, said, **given)  # type: ignore[arg-type]
        else:
            assert answers.refuse_not_ours(session, warned.case_id, said, **given) is None  # type: ignore[arg-type]
    assert warned.state() == "acknowledged"
    with transaction(warned.sessions) as session:
        assert session.execute(text("SELECT count(*) FROM escalation_case")).scalar_one() == 2
        assert session.execute(text("SELECT state FROM incident")).scalar_one() == "open"


def test_the_public_pages_and_numbers_do_not_count_it(warned: Warned) -> None:
    warned.post("")
    now = datetime.now(UTC)
    with transaction(warned.sessions) as session:
        found = atlas.by_code(session, warned.code)
        numbers = portal.front_numbers(session)
        day = timedelta(days=1)
        figures = figures_of_window(session, warned.agency_id, now - day, now + day, as_of=now)
    assert found is not None
    assert found.answer == "none"
    assert (numbers.forwarded_in_window, numbers.acknowledged_in_window) == (1, 0)
    assert figures.cases == 0
    assert "下游局" not in warned.client.get(f"/i/{warned.code}").text


def test_a_second_run_of_the_job_tells_nobody_anything(warned: Warned, settings: Settings) -> None:
    with transaction(warned.sessions) as session:
        outbox.emit(session, "advisories.forecast", {"incident_id": str(warned.incident_id)}, now=datetime.now(UTC))
    run_forecast(settings, warned.sessions)
    with transaction(warned.sessions) as session:
        assert session.execute(text("SELECT count(*) FROM delivery")).scalar_one() == 2


def test_once_an_agency_that_could_not_be_warned_has_an_address_it_is_told(settings: Settings, warned: Warned) -> None:
    now = datetime.now(UTC)
    with transaction(warned.sessions) as session:
        session.execute(text("UPDATE delivery SET state = 'refused', sent_at = NULL WHERE says = 'warning'"))
        session.execute(text("UPDATE escalation_case SET state = 'dead' WHERE role = 'downstream'"))
    with transaction(warned.sessions) as session:
        [idle] = [one for one in unheard_queries.open_no_contact(session) if one.role == "downstream"]
        assert again.forward(session, idle.case_id, settings=settings, actor=TESTS, now=now)
    with transaction(warned.sessions) as session:
        said = session.execute(
            text("SELECT says, number FROM delivery WHERE case_id = :id ORDER BY number"), {"id": warned.case_id}
        ).all()
    assert [tuple(row) for row in said] == [("warning", 1), ("warning", 2)]
    assert warned.state() == "queued"


def test_the_end_of_the_forecast_ends_the_page_as_well(settings: Settings, warned: Warned) -> None:
    now = datetime.now(UTC)
    with transaction(warned.sessions) as session:
        session.execute(text("UPDATE downstream_forecast SET state = 'ended'"))
        warnings.follow(session, warned.incident_id, settings=settings, actor=TESTS, now=now)
    page = warned.client.get(warned.path).text
    assert "由这起事件发给贵单位的下游预警已经结束。这不等于水已经干净" in page
    assert "经审核员复查已撤回" not in page
