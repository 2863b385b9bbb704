"""The pages of waters and areas: the past, who is responsible, what lies around; and hostile words everywhere."""

import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import feedparser
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import WUHAN, insert
from tests.opendata.places import HOSTILE, HUBEI_CODE, WUHAN_CODE, add_areas, add_case, add_problem
from tests.portal.test_views import section
from tests.web.site import counting
from waterwatch.accountability import service as accountability
from waterwatch.accountability.rules import Period
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


@pytest.fixture
def places(sessions: sessionmaker[Session]) -> dict[str, str]:
    """A city with two rivers, an orange one that was acknowledged in two hours and a blue one that is late."""
    with transaction(sessions) as session:
        add_areas(session)
        orange, water = add_problem(session, now=NOW)
        blue, other = add_problem(session, now=NOW, severity=1, water="汉江")
        add_case(session, orange, now=NOW, state="acknowledged", hours=2)
        add_case(session, blue, now=NOW)
    return {"orange": orange, "blue": blue, "water": water, "other": other}


def plain(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_an_area_tells_its_waters_and_its_parts(client: FlaskClient, places: dict[str, str]) -> None:
    page = client.get(f"/a/{WUHAN_CODE}").text
    waters = section(page, "waters")
    assert waters.index(f"/w/{places['water']}") < waters.index(f"/w/{places['other']}")
    assert f'href="/a/{HUBEI_CODE}"' in page
    above = client.get(f"/a/{HUBEI_CODE}").text
    assert f'href="/a/{WUHAN_CODE}"' in section(above, "parts")
    assert "2 起" in section(above, "parts")
    assert client.get("/a/999999").status_code == 404
    assert client.get("/a/99999").status_code == 404  # five digits are a department's link, and no such one


def test_an_area_tells_of_its_departments_what_was_published_of_them_and_no_other_number(
    client: FlaskClient, places: dict[str, str], sessions: sessionmaker[Session], settings: Settings
) -> None:
    with transaction(sessions) as session:
        for _ in range(2):
            code, _water = add_problem(session, now=NOW)
            add_case(session, code, now=NOW)
        session.execute(text("UPDATE escalation_case SET acknowledge_by = created_at + interval '3 hours'"))
    answers = plain(section(client.get(f"/a/{WUHAN_CODE}").text, "answers"))
    assert "还没有公布过这里的数字" in answers
    assert [words for words in ("小时", "件", "%") if words in answers] == []
    period = Period.quarter_of(NOW)
    for act, days in (("show", 30), ("publish", 90)):
        now = period.until + timedelta(days=days)
        with transaction(sessions) as session:
            if act == "show":
                accountability.show_period(session, period, settings=settings, actor=Actor.system("tests"), now=now)
            else:
                assert accountability.publish_due(session, actor=Actor.system("tests"), now=now) == 1
    figures = section(client.get(f"/a/{WUHAN_CODE}").text, "answers")
    own = client.get(f"/accountability/areas/{WUHAN_CODE}").text
    (row,) = re.findall(r"<tbody><tr>(.*?)</tr>", figures, re.DOTALL)
    assert plain(row) in plain(own)
    assert "25% 1/4" in plain(row)  # one of four acknowledged in time, none of the others at all
    assert f'href="/accountability/areas/{WUHAN_CODE}"' in figures


def test_a_department_s_link_is_no_area(client: FlaskClient) -> None:
    assert client.get("/a/abcdef").status_code == 404
    assert client.get("/a/abcdef").headers["Cache-Control"] == "no-store"
    assert client.get("/a/abcdef").headers["X-Robots-Tag"] == "noindex, nofollow"


def test_a_water_tells_who_answers_for_it_and_leads_to_how_they_did(
    client: FlaskClient, places: dict[str, str], sessions: sessionmaker[Session]
) -> None:
    with transaction(sessions) as session:
        session.execute(
            text("INSERT INTO river_chief (id, water_body_id, jurisdiction_id, title, name, phone)"
                 " SELECT gen_random_uuid(), b.id, j.id, '市级河长', '张三', '13800000000'"
                 " FROM water_body b, jurisdiction j"
                 " WHERE b.public_id = :water AND j.code = :code"),
            {"water": places["water"], "code": WUHAN_CODE},
        )  # fmt: skip
    told = section(client.get(f"/w/{places['water']}").text, "responsible")
    for words in ("市级河长", "武汉市", "武汉市水务局", "接到过这片水体的事件"):
        assert words in plain(told)
    assert [secret for secret in ("张三", "13800000000", "shuiwu@") if secret in told] == []
    assert f'href="/a/{WUHAN_CODE}"' in told
    (link,) = re.findall(r'href="(/accountability/agencies/[^"]+)"', told)
    assert client.get(link).status_code == 200
    # How long it took is told by the published figures alone: here it would be by another rule.
    other = plain(section(client.get(f"/w/{places['other']}").text, "responsible"))
    assert [words for words in ("小时", "件超时", "确认") if words in plain(told) + other] == []


def test_the_authority_of_a_basin_leads_to_no_page_of_an_area_since_there_is_none(
    client: FlaskClient, places: dict[str, str], sessions: sessionmaker[Session]
) -> None:
    with transaction(sessions) as session:
        basin = insert(session, "jurisdiction", code="basin-changjiang", level="basin", geom=WUHAN)
        insert(session, "jurisdiction_name", jurisdiction_id=basin, lang="zh-Hans", name="长江流域")
        session.execute(
            text("UPDATE agency SET jurisdiction_id = :id, kind = 'basin_authority', level = 'basin'"), {"id": basin}
        )
    told = section(client.get(f"/w/{places['water']}").text, "responsible")
    assert "长江流域" in plain(told)
    assert re.findall(r'href="(/a/[^"]*)"', told) == []


def test_the_past_is_told_by_a_table_of_the_numbers_the_chart_draws(
    client: FlaskClient, places: dict[str, str]
) -> None:
    page = client.get(f"/w/{places['water']}").text
    chart = json.loads(re.findall(r"<script[^>]*data-columns>(.*?)</script>", page, re.DOTALL)[0])
    assert [len(column) for column in chart.values()] == [53, 53, 53]
    assert max(chart["levels"]) == 3
    assert sum(chart["reports"]) == 1
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", section(page, "history"), re.DOTALL)
    assert len(rows) == sum(
        1 for level, reports in zip(chart["levels"], chart["reports"], strict=True) if level or reports
    )
    assert section(page, "history").count('<li class="week ') == 53


def test_the_search_finds_areas_too(
    client: FlaskClient, places: dict[str, str], sessions: sessionmaker[Session]
) -> None:
    del places
    with transaction(sessions) as session:
        session.execute(
            text("INSERT INTO jurisdiction_key (jurisdiction_id, key, grade)"
                 " SELECT id, '武汉市', 0 FROM jurisdiction WHERE code = :code"),
            {"code": WUHAN_CODE},
        )  # fmt: skip
    assert f'href="/a/{WUHAN_CODE}"' in client.get("/search?q=武汉市").text


def test_a_page_of_a_place_asks_as_much_however_much_happened(
    app: Flask, client: FlaskClient, places: dict[str, str], sessions: sessionmaker[Session]
) -> None:
    def costs() -> list[int]:
        found = []
        for path in (f"/w/{places['water']}", f"/a/{WUHAN_CODE}", f"/a/{HUBEI_CODE}"):
            with counting(app) as sent:
                assert client.get(path).status_code == 200
            found.append(len(sent))
        return found

    before = costs()
    with transaction(sessions) as session:
        for _ in range(12):
            code, _water = add_problem(session, now=NOW, on=places["water"])
            add_case(session, code, now=NOW)
    assert costs() == before == [18, 9, 9]


def test_messengers_get_a_map_and_never_a_photo(
    client: FlaskClient, places: dict[str, str], sessions: sessionmaker[Session]
) -> None:
    with transaction(sessions) as session:
        for place in ("national", f"water-{places['water']}"):
            insert_published(session, place)
    for path, place in (
        (f"/w/{places['water']}", f"water-{places['water']}"),
        (f"/i/{places['orange']}", f"water-{places['water']}"),
        (f"/a/{WUHAN_CODE}", "national"),
        ("/", "national"),
    ):
        pictures = re.findall(r'property="og:image" content="(.*?)"', client.get(path).text)
        assert pictures == [f"http://localhost/published/maps/{place}.png"], path
    assert f"/published/maps/water-{places['water']}.html" in client.get(f"/w/{places['water']}").text


def insert_published(session: Session, place: str) -> None:
    session.execute(
        text("INSERT INTO published_file (key, name, digest, published_at) VALUES (:key, :name, 'x', now())"),
        {"key": f"maps/{place}", "name": f"{place}.html"},
    )


class Elements(HTMLParser):
    """What a browser would make of a page: its elements with handlers, and its images from nowhere of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if any(name.startswith("on") for name, _value in attrs) or ("src", "x") in attrs:
            self.faults.append(f"{tag} {attrs}")


def test_hostile_words_are_words_on_every_page_feed_badge_and_table(
    client: FlaskClient, places: dict[str, str], sessions: sessionmaker[Session]
) -> None:
    hostile = f"</script>{HOSTILE}]]>\"'&"
    with transaction(sessions) as session:
        for table in ("water_name", "agency_name", "jurisdiction_name"):
            session.execute(text(f"UPDATE {table} SET name = :words"), {"words": hostile})
        session.execute(text("UPDATE water_body SET basin = :words"), {"words": hostile})
        session.execute(text("UPDATE report SET note = :words"), {"words": hostile})
        row = session.execute(text("SELECT b.id, j.id AS area FROM water_body b, jurisdiction j LIMIT 1")).one()
        insert(session, "river_chief", water_body_id=row.id, jurisdiction_id=row.area, title=hostile)
    pages = ["/", f"/w/{places['water']}", f"/w/{places['other']}", f"/i/{places['orange']}", f"/a/{WUHAN_CODE}",
             f"/a/{HUBEI_CODE}", f"/search?q={hostile}"]  # fmt: skip
    for path in pages:
        found = Elements()
        found.feed(client.get(path, query_string=None).text)
        assert found.faults == [], path
    for path in pages[1:6]:
        linked = re.findall(r'<script type="application/ld\+json">(.*?)</script>', client.get(path).text, re.DOTALL)
        assert len(linked) == 1
        assert json.loads(linked[0])["@context"] == "https://schema.org"
        assert "onerror" in linked[0]
    for path in (f"/feeds/water/{places['water']}.atom", f"/feeds/area/{WUHAN_CODE}.atom"):
        entry = feedparser.parse(client.get(path).data, sanitize_html=False).entries[0]
        assert hostile in entry.title
        assert "<img" not in entry.summary
    badge = client.get(f"/w/{places['water']}/badge.svg").text
    assert "<img" not in badge
    assert "</script>" not in badge
    told = json.loads(client.get("/api/v1/incidents.geojson").text)["features"][0]["properties"]
    assert told["name_zh_hans"] == hostile
