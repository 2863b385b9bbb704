"""An incident's public life: what is told of it, what is not, and what is left of one that is no more."""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import IN_WUHAN, add_agency, add_photo
from tests.moderation.rows import add_moderator, add_river, add_waiting, count, grading, judgement
from waterwatch.escalation.tables import Case
from waterwatch.incidents import service
from waterwatch.incidents.rules import Severity
from waterwatch.incidents.tables import Incident
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Invalid
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import service as moderation

NOW = datetime(2026, 5, 20, 2, 30, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Settings:
    return make_settings(database_url=database_url, redis_url=redis_url, blind_share=0.0)


class Story:
    """A river, a moderator, and reports judged one after the other."""

    def __init__(self, session: Session, settings: Settings, objects: ObjectStore, folder: Path) -> None:
        self.session, self.settings, self.objects, self.folder = session, settings, objects, folder
        add_agency(session, "武汉市水务局", ["shuiwu@wuhan.example"])
        self.river = add_river(session, "长江")
        self.actor: Actor = add_moderator(session, "first", now=NOW)

    def report(
        self, at: tuple[float, float] = IN_WUHAN, *, after: timedelta = timedelta(), **facts: object
    ) -> uuid.UUID:
        report_id = add_waiting(self.session, self.river, now=NOW + after, at=at, **facts)
        add_photo(self.session, report_id, self.objects, self.folder, now=NOW)
        return report_id

    def judged(
        self,
        report_id: uuid.UUID,
        severity: Severity | None = None,
        *,
        join: Incident | None = None,
        after: timedelta = timedelta(),
    ) -> Incident:
        command = grading(report_id, judgement=judgement(severity=severity), join_incident_id=join.id if join else None)
        return moderation.grade_report(self.session, command, settings=self.settings, actor=self.actor, now=NOW + after)


Tell = Callable[[Callable[[Story], str]], str]


@pytest.fixture
def story(sessions: sessionmaker[Session], settings: Settings, tmp_path: Path) -> Tell:
    """Tells a story in one transaction; gives what it gives: the code of its incident."""

    def tell(what: Callable[[Story], str]) -> str:
        with transaction(sessions) as session:
            return what(Story(session, settings, ObjectStore(settings.objects_url), tmp_path))

    return tell


def steps_of(page: str) -> list[str]:
    """The timeline's lines, oldest first, without markup."""
    found = re.findall(r'<p class="step-title">(.*?)</p>', page, re.DOTALL)
    return [re.sub(r"<[^>]+>|\s+", "", line) for line in reversed(found)]


def test_what_became_of_an_incident_is_told_without_people(client: FlaskClient, story: Tell) -> None:
    def told(one: Story) -> str:
        incident = one.judged(one.report(), Severity.LARGER)
        lon, lat = IN_WUHAN
        for step in (0.01, 0.012):
            one.judged(one.report((lon + step, lat)), join=incident, after=DAY)
        one.judged(one.report((lon, lat)), Severity.MAJOR, join=incident, after=2 * DAY)
        service.regrade(one.session, incident.id, judgement(), actor=one.actor, now=NOW + 3 * DAY)
        return incident.code

    page = client.get(f"/i/{story(told)}").text
    assert steps_of(page) == ["核实受理，向公众公开", "转交给部门", "又有上报证实（2条）", "又有上报证实", "重新评级"]
    for words in ("共 4 条", "2026-05-20", "1.2 公里长的河段", "将于", "结束", "武汉市水务局"):
        assert words in page
    assert ("first@example.org" in page, "审核员" in re.sub("这里不写.*?。", "", page)) == (False, True)


def test_no_identifier_of_a_report_or_person_is_on_the_page(
    client: FlaskClient, story: Tell, sessions: sessionmaker[Session]
) -> None:
    page = client.get(f"/i/{story(lambda one: one.judged(one.report()).code)}").text
    with transaction(sessions) as session:
        ids = session.execute(
            text("SELECT id FROM report UNION SELECT id FROM person UNION SELECT id FROM photo")
        ).scalars()
        codes = session.execute(text("SELECT code FROM report")).scalars()
        assert [str(one) for one in [*ids, *codes] if str(one) in page] == []


def test_when_it_was_seen_is_told_by_the_day_and_never_later_than_it_came(client: FlaskClient, story: Tell) -> None:
    def told(one: Story) -> str:
        incident = one.judged(one.report(observed_at=NOW - 2 * DAY))
        one.judged(one.report(observed_at=NOW + 400 * DAY), join=incident)
        return incident.code

    page = client.get(f"/i/{story(told)}").text
    assert '<time datetime="2026-05-18">2026-05-18</time> – <time datetime="2026-05-20">' in page
    assert "2027" not in page


def test_one_that_was_merged_leads_to_the_other_for_good(client: FlaskClient, story: Tell) -> None:
    codes: list[str] = []

    def told(one: Story) -> str:
        into, gone = one.judged(one.report()), one.judged(one.report())
        service.absorb(one.session, into.id, gone.id, actor=one.actor, now=NOW)
        codes.extend((into.code, gone.code))
        return gone.code

    answer = client.get(f"/i/{story(told).lower()}")
    assert (answer.status_code, answer.location) == (301, f"/i/{codes[0]}")
    assert "另一起事件并入这里" in client.get(answer.location).text
    assert client.get(f"/i/{codes[1]}/photo/1/320").status_code == 404
    (named,) = client.get(f"/open311/v2/requests/{codes[1]}.json").json
    assert (named["service_request_id"], named["status"]) == (codes[1], "open")
    times = "start_date=2026-05-01T00:00:00Z&end_date=2026-06-01T00:00:00Z"
    listed = client.get(f"/open311/v2/requests.json?{times}").json
    assert [one["service_request_id"] for one in listed] == [codes[0]]


def test_one_that_was_withdrawn_says_so_and_nothing_else(
    client: FlaskClient, story: Tell, sessions: sessionmaker[Session]
) -> None:
    def told(one: Story) -> str:
        incident = one.judged(one.report())
        service.retract(one.session, incident.id, actor=one.actor, now=NOW)
        return incident.code

    code = story(told)
    answer = client.get(f"/i/{code}")
    assert (answer.status_code, "已经撤下" in answer.text, "污水" in answer.text) == (410, True, False)
    assert client.get(f"/i/{code}/photo/1/1024").status_code == 404
    assert client.get(f"/open311/v2/requests/{code}.json").status_code == 404
    with transaction(sessions) as session:
        water, report = session.execute(
            text("SELECT b.public_id, r.code FROM water_body b, report r WHERE r.state = 'accepted'")
        ).one()
    assert code not in client.get(f"/w/{water}").text
    found = client.get(f"/open311/v2/requests/{report}.json").json
    assert (found[0]["status"], code in str(found)) == ("closed", False)


def test_a_patrol_shows_it_clean_before_and_after_side_by_side(
    client: FlaskClient, story: Tell, sessions: sessionmaker[Session]
) -> None:
    def told(one: Story) -> str:
        incident = one.judged(one.report())
        patrol = one.report(after=3 * DAY, kind="all_clear")
        moderation.accept_patrol(
            one.session,
            patrol,
            verifies_incident_id=incident.id,
            settings=one.settings,
            actor=one.actor,
            now=NOW + 3 * DAY,
        )
        assert count(one.session, "advisory") == 0
        return incident.code

    code = story(told)
    page = client.get(f"/i/{code}").text
    for words in (
        "前与后",
        "公众核实已清洁",
        "新的照片证实水面已经干净",
        f"/i/{code}/photo/1/1024",
        f"/i/{code}/after/1/1024",
    ):
        assert words in page
    assert '当时 · <time datetime="2026-05-20">' in page
    assert '后来 · <time datetime="2026-05-23">' in page
    picture = client.get(f"/i/{code}/after/1/1024")
    assert (picture.status_code, picture.mimetype) == (200, "image/jpeg")
    assert [client.get(f"/i/{code}/after/{rest}").status_code for rest in ("2/1024", "1/2000")] == [404, 404]
    with transaction(sessions) as session:
        patrol = session.execute(text("SELECT report_id FROM incident_verification")).scalar_one()
        service.detach(session, patrol, actor=Actor.system("test"), now=NOW + 4 * DAY)
    assert client.get(f"/i/{code}/after/1/1024").status_code == 404
    assert "重新打开" in steps_of(client.get(f"/i/{code}").text)


def test_only_an_incident_that_lies_there_or_is_named_can_be_verified(story: Tell) -> None:
    def told(one: Story) -> str:
        lon, lat = IN_WUHAN
        here, far = one.judged(one.report()), one.judged(one.report((lon + 0.02, lat)))
        patrol = one.report(after=DAY, kind="all_clear", same_as_code=None)
        with pytest.raises(Invalid):
            moderation.accept_patrol(
                one.session, patrol, verifies_incident_id=far.id, settings=one.settings, actor=one.actor, now=NOW
            )
        naming = one.report(after=DAY, kind="all_clear", same_as_code=far.code)
        moderation.accept_patrol(
            one.session, naming, verifies_incident_id=far.id, settings=one.settings, actor=one.actor, now=NOW
        )
        assert (here.state, far.state) == ("open", "verified_clean")
        return here.code

    story(told)


def test_what_a_department_said_and_missed_before_its_case_was_reopened_stays_in_the_story(
    client: FlaskClient, story: Tell
) -> None:
    def told(one: Story) -> str:
        incident = one.judged(one.report())
        one.session.flush()
        case = one.session.query(Case).one()
        case.state, case.created_at, case.delivered_at = "delivered", NOW, NOW
        case.acknowledged_at, case.answered_at = NOW + DAY, NOW + 3 * DAY
        case.state, case.closed_at, case.escalated_at = "closed", NOW + 4 * DAY, NOW + 2 * DAY
        one.session.flush()
        one.judged(one.report(after=5 * DAY), join=incident, after=5 * DAY)
        return incident.code

    page = client.get(f"/i/{story(told)}").text
    departments = [line for line in steps_of(page) if "部门" in line]
    assert departments == [
        "转交给部门",
        "部门确认收到",
        "部门逾期",
        "部门答复",
        "部门称已经处理完",
        "没有干净，再次转交给部门",
    ]
    assert page.count("武汉市水务局") >= 6
