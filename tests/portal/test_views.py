"""The public pages: what they say, in whose words, to whom they betray nothing, what they cost."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import add_agency, add_incident, add_photo, add_report
from tests.web.site import counting
from waterwatch.advisories.service import refresh
from waterwatch.casework.service import Answer, answer, publish_answer, refuse_not_ours, report_done
from waterwatch.escalation import service as escalation
from waterwatch.escalation.public_queries import cases_of
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.waters.service import make_keys

CANARY = "CANARY-4e7d"
EXACT = (114.3055129, 30.5928347)


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Settings:
    return make_settings(database_url=database_url, redis_url=redis_url)


@pytest.fixture
def add(sessions: sessionmaker[Session], settings: Settings, tmp_path: Path) -> Callable[..., str]:
    """Adds an incident with a report, a photo and a case; gives its code."""
    objects = ObjectStore(settings.objects_url)
    with transaction(sessions) as session:
        add_agency(session, "武汉市水务局", [f"{CANARY}@wuhan.example"])

    def make(*, severity: int = 3, water: str = "长江", on: str | None = None, photos: int = 1) -> str:
        """``on``: the code of an incident whose water this one lies on as well."""
        now = datetime.now(UTC) - timedelta(hours=5)
        with transaction(sessions) as session:
            incident_id = add_incident(session, now=now, severity=severity, water=water, at=EXACT)
            if on is not None:
                session.execute(
                    text("""UPDATE incident SET water_feature_id = (SELECT water_feature_id FROM incident
                            WHERE code = :on) WHERE id = :id"""),
                    {"on": on, "id": incident_id},
                )
            for _ in range(photos):
                report_id = add_report(session, incident_id, now=now, note=CANARY)
                add_photo(session, report_id, objects, tmp_path, now=now)
            actor = Actor.system("test")
            escalation.escalate(session, incident_id, settings=settings, actor=actor, now=now)
            row = session.execute(
                text("SELECT code, water_feature_id FROM incident WHERE id = :id"), {"id": incident_id}
            ).one()
            refresh(session, row.water_feature_id, actor=actor, now=now)
            return str(row.code)

    return make


def address_of_water(sessions: sessionmaker[Session]) -> str:
    with transaction(sessions) as session:
        return f"/w/{session.execute(text('SELECT public_id FROM water_body LIMIT 1')).scalar_one()}"


def section(page: str, name: str) -> str:
    """A part of a page, by the id of its heading."""
    return page.split(f'aria-labelledby="{name}"')[1].split("</section>", maxsplit=1)[0]


def test_before_anything_happened_every_page_makes_sense(client: FlaskClient) -> None:
    front = client.get("/")
    assert (front.status_code, "现在没有带警示的水体" in front.text) == (200, True)
    assert client.get("/search?q=长江").status_code == 200
    assert "没有找到" in client.get("/search?q=长江").text


def test_an_incident_is_on_the_front_page_its_waters_page_and_its_own(
    client: FlaskClient, add: Callable[..., str], sessions: sessionmaker[Session]
) -> None:
    code = add(severity=4)
    front = client.get("/").text
    assert ("长江" in front, "红色·特别重大" in front, "非政府预警" in front) == (True, True, True)
    water = client.get(address_of_water(sessions)).text
    for words in ("长江", "污水直排", "红色·特别重大", "武汉市水务局", code, "为什么是这个等级"):
        assert words in water
    own = client.get(f"/i/{code}").text
    for words in ("污水直排", "武汉市水务局", "正在转交", code):
        assert words in own
    assert client.get(f"/i/{code.lower()}").status_code == 200
    picture = client.get(f"/i/{code}/photo/1/1024")
    assert (picture.status_code, picture.mimetype) == (200, "image/jpeg")


def test_a_refusal_is_told_as_a_refusal_and_by_no_green_mark(
    client: FlaskClient, add: Callable[..., str], sessions: sessionmaker[Session], settings: Settings
) -> None:
    code = add()
    with transaction(sessions) as session:
        case_id = session.execute(text("SELECT id FROM escalation_case")).scalar_one()
        agency_id = session.execute(text("SELECT agency_id FROM escalation_case")).scalar_one()
        said = Answer("该段归省管", via="link")
        now, actor = datetime.now(UTC), Actor.agency_link(agency_id)
        refuse_not_ours(session, case_id, said, None, settings=settings, actor=actor, now=now)
    page = client.get(f"/i/{code}").text
    assert re.findall(r'<p class="step-title">(部门[^<]*)</p>', page) == ["部门称不属其职责"]
    assert re.findall(r'<span class="tag ([a-z-]+)">(部门称不属其职责)', page) == [("tag-care", "部门称不属其职责")]
    assert "部门确认收到" not in page


def test_names_are_in_the_readers_language(
    client: FlaskClient, add: Callable[..., str], sessions: sessionmaker[Session]
) -> None:
    code = add()
    with transaction(sessions) as session:
        session.execute(
            text("""INSERT INTO water_name (id, water_body_id, lang, name, is_primary)
                    SELECT gen_random_uuid(), id, 'en', 'Yangtze River', true FROM water_body""")
        )
    english = client.get(f"/i/{code}", headers={"Accept-Language": "en"}).text
    for words in ("Yangtze River", "Sewage outfall", "武汉市水务局 (en)", "Orange · major"):
        assert words in english


def test_a_waters_page_names_what_it_flows_into_and_what_flows_into_it(
    client: FlaskClient, add: Callable[..., str], sessions: sessionmaker[Session]
) -> None:
    add()
    add(water="汉江")
    with transaction(sessions) as session:
        address = {
            row.name: row.public_id
            for row in session.execute(
                text("SELECT n.name, b.public_id FROM water_name n JOIN water_body b ON b.id = n.water_body_id")
            )
        }
        session.execute(
            text("UPDATE water_body SET parent_id = (SELECT id FROM water_body WHERE public_id = :below)"
                 " WHERE public_id = :above"),
            {"below": address["长江"], "above": address["汉江"]},
        )  # fmt: skip
    below, above = (client.get(f"/w/{address[name]}").text for name in ("长江", "汉江"))
    assert f'href="/w/{address["汉江"]}"' in section(below, "upstream")
    assert f'href="/w/{address["长江"]}"' in section(above, "downstream")
    assert ('id="downstream"' in below, 'id="upstream"' in above) == (False, False)
    assert "橙色·重大" in section(above, "downstream")


def test_the_level_is_that_of_the_gravest_open_incident_and_nothing_else(
    client: FlaskClient, add: Callable[..., str], sessions: sessionmaker[Session]
) -> None:
    first = add(severity=2)
    add(severity=3, on=first)
    address = address_of_water(sessions)
    assert "橙色·重大" in client.get(address).text.split("为什么是这个等级")[0]
    with transaction(sessions) as session:
        session.execute(text("UPDATE incident SET state = 'expired', closed_at = now() WHERE severity = 3"))
        feature_id = session.execute(
            text("SELECT water_feature_id FROM incident WHERE code = :code"), {"code": first}
        ).scalar_one()
        refresh(session, feature_id, actor=Actor.system("test"), now=datetime.now(UTC))
    assert "黄色·较大" in client.get(address).text.split("为什么是这个等级")[0]


def test_no_public_page_tells_who_reported_or_where_they_stood(
    client: FlaskClient, add: Callable[..., str], sessions: sessionmaker[Session]
) -> None:
    code = add()
    with transaction(sessions) as session:
        session.execute(text("UPDATE incident SET public_point = ST_SetSRID(ST_MakePoint(114.31234, 30.60123), 4326)"))
        secrets = [CANARY, *session.execute(text("SELECT code FROM report")).scalars()]
        for table in ("report", "photo", "incident", "escalation_case", "delivery"):
            secrets += [str(key) for key in session.execute(text(f"SELECT id FROM {table}")).scalars()]
        (received,) = set(session.execute(text("SELECT received_at FROM report")).scalars())
    secrets += [f"{value:.{digits}f}"[:-1] for value in EXACT for digits in (5, 6, 7)]
    secrets += [received.strftime("%H:%M"), (received + timedelta(hours=8)).strftime("%H:%M")]
    for path in ("/", address_of_water(sessions), f"/i/{code}", "/search?q=长江"):
        response = client.get(path)
        page = response.text.replace(received.isoformat(), "")
        assert [secret for secret in secrets if secret in page] == [], path


def test_a_picture_is_found_by_its_place_in_the_gallery_and_only_there(
    client: FlaskClient, add: Callable[..., str]
) -> None:
    code, quiet = add(photos=2), add(photos=0, water="汉江")
    assert [client.get(f"/i/{code}/photo/{n}/1024").status_code for n in (0, 1, 2, 3)] == [404, 200, 200, 404]
    assert client.get(f"/i/{code}/photo/1/2000").status_code == 404
    assert client.get(f"/i/{quiet}/photo/1/1024").status_code == 404


def test_a_picture_of_which_more_must_be_covered_is_held_back_and_lives_a_minute_in_caches(
    client: FlaskClient, add: Callable[..., str], sessions: sessionmaker[Session]
) -> None:
    path = f"/i/{add()}/photo/1/1024"
    assert client.get(path).headers["Cache-Control"] == "public, max-age=60"
    with transaction(sessions) as session:
        session.execute(text("UPDATE photo SET redaction_wanted_at = now()"))
    held = client.get(path)
    assert (held.status_code, held.headers["Retry-After"], held.mimetype) == (503, "6", "text/html")
    assert "max-age=60" not in held.headers.get("Cache-Control", "")


def test_a_refused_reports_picture_is_not_public(
    client: FlaskClient, add: Callable[..., str], sessions: sessionmaker[Session]
) -> None:
    code = add()
    with transaction(sessions) as session:
        session.execute(text("UPDATE report SET state = 'refused', refusal_code = 'unclear'"))
    assert client.get(f"/i/{code}/photo/1/1024").status_code == 404


@pytest.mark.parametrize("path", ["/w/nowhere", "/i/AAAA-AAAA", "/i/AAAA-AAAA/photo/1/1024"])
def test_what_does_not_exist_is_said_in_words(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, "没有" in response.text) == (404, True)


def test_a_search_takes_words_and_not_patterns(
    client: FlaskClient, add: Callable[..., str], sessions: sessionmaker[Session]
) -> None:
    add()
    with transaction(sessions) as session:
        make_keys(session, list(session.execute(text("SELECT id FROM water_body")).scalars()))
    assert "/w/" in client.get("/search?q= 长江 ").text
    for words in ("%", "_", "\\", "%_%", "' OR '1'='1", "·"):
        page = client.get("/search", query_string={"q": words})
        assert (page.status_code, "/w/w-" in page.text) == (200, False), words
    assert client.get("/search", query_string={"q": "江" * 500}).status_code == 200


def test_the_cost_of_a_page_does_not_grow_with_what_happened(
    app: Flask, client: FlaskClient, add: Callable[..., str], sessions: sessionmaker[Session]
) -> None:
    code = add()
    water = address_of_water(sessions)

    def costs() -> dict[str, int]:
        found = {}
        for path in ("/", water, f"/i/{code}", "/search?q=长江"):
            with counting(app) as sent:
                assert client.get(path).status_code == 200
            found[path] = len(sent)
        return found

    before = costs()
    for _ in range(12):
        add(on=code)
    assert costs() == before
    assert list(before.values()) == [4, 18, 10, 4]


@pytest.mark.parametrize(
    ("severity", "came_h", "is_over", "is_late"),
    [(3, -2, False, False), (3, 2, False, True), (3, None, False, True), (4, -2, False, True), (3, None, True, False)],
    ids=["a mail in time", "a mail too late", "no mail", "red does not wait", "the incident has ended"],
)
def test_who_wrote_in_time_is_not_called_late_in_public_while_a_lead_still_has_to_read_it(
    client: FlaskClient,
    add: Callable[..., str],
    sessions: sessionmaker[Session],
    settings: Settings,
    severity: int,
    came_h: int | None,
    is_over: bool,
    is_late: bool,
) -> None:
    code, now = add(severity=severity), datetime.now(UTC)
    due_at = now - timedelta(hours=3)
    with transaction(sessions) as session:
        session.execute(
            text("""UPDATE escalation_case SET state = 'delivered', created_at = :at, delivered_at = :at,
                    state_deadline_at = :due_at"""),
            {"at": now - timedelta(days=9), "due_at": due_at},
        )
        case_id, agency_id = session.execute(text("SELECT id, agency_id FROM escalation_case")).one()
        if came_h is not None:
            said, at = Answer("收到，正在办理。", via="email"), due_at + timedelta(hours=came_h)
            answer(session, case_id, said, settings=settings, actor=Actor.agency_link(agency_id), now=at)
        if is_over:
            session.execute(text("UPDATE incident SET state = 'expired', closed_at = :now"), {"now": now})
    assert ('<span class="tag tag-bad">逾期</span>' in client.get(f"/i/{code}").text) is is_late
    with transaction(sessions) as session:
        incident_id = session.execute(text("SELECT id FROM incident")).scalar_one()
        (view,) = cases_of(session, incident_id)
    assert view.is_late(now=now) is is_late
    assert view.is_late(now=now + timedelta(days=2)) is (not is_over)  # a lead has a day to read it


def test_a_department_that_could_not_be_told_is_said_not_to_be_among_those_that_say_it_is_done(
    client: FlaskClient, add: Callable[..., str], sessions: sessionmaker[Session], settings: Settings
) -> None:
    code, never_told = add(), "没有收到的不算在内"
    with transaction(sessions) as session:
        other = add_agency(session, "区局", ["qu@wuhan.example"])
        case_id, incident_id = session.execute(text("SELECT id, incident_id FROM escalation_case")).one()
        actor, now = Actor.system("test"), datetime.now(UTC)
        escalation.escalate(session, incident_id, settings=settings, actor=actor, now=now)
        session.execute(text("UPDATE escalation_case SET state = 'dead' WHERE agency_id = :id"), {"id": other})
        done = report_done(session, case_id, Answer("已清理。"), settings=settings, actor=actor, now=now)
        publish_answer(session, done, actor=actor, now=now)
        assert session.execute(text("SELECT state FROM incident")).scalar_one() == "resolved_claimed"
    page = client.get(f"/i/{code}").text
    for words in (never_told, "有的部门还没有收到这个事件。", "寄给负责部门的信都没有送到。", "无法送达"):
        assert words in page
