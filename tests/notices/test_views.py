"""The follow page over HTTP: each step, one's own photos only, taking a report back."""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.reports.rows import LAT, LON, add_river, set_photo
from tests.reports.site import JPEG, Visitor
from waterwatch.contacts import service as contacts
from waterwatch.contacts.rules import Contact
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.reports import service

MODERATOR = Actor.system("test")
LATER = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    return Visitor(app.test_client())


@pytest.fixture
def address(visitor: Visitor) -> str:
    """The follow page of a report just sent."""
    return str(visitor.send().headers["Location"])


@pytest.fixture
def settle(sessions: sessionmaker[Session], settings: Settings) -> Callable[[str], uuid.UUID]:
    """Leaves the only report's photo ready or refused, and the report where that brings it; returns its id."""

    def leave(photo_state: str) -> uuid.UUID:
        with transaction(sessions) as session:
            photo_id = session.execute(text("SELECT id FROM photo")).scalar_one()
            set_photo(session, photo_id, photo_state)
            service.settle_photo(session, photo_id, settings=settings, now=LATER)
            return session.execute(text("SELECT id FROM report")).scalar_one()  # type: ignore[no-any-return]

    return leave


def add_picture(session: Session, settings: Settings, photo_id: uuid.UUID, folder: Path, content: bytes) -> None:
    """A rebuilt picture of 320 px, as the sanitiser stores one."""
    folder.mkdir(parents=True, exist_ok=True)
    key, path = f"public/{photo_id}/320", folder / "picture"
    path.write_bytes(content)
    ObjectStore(settings.objects_url).put_file(key, path)
    session.execute(
        text("""INSERT INTO photo_derivative (id, photo_id, size_px, key, bytes, width, height, sha256)
                VALUES (:id, :photo_id, 320, :key, :bytes, 320, 240, :sha256)"""),
        {"id": new_id(), "photo_id": photo_id, "key": key, "bytes": len(content), "sha256": bytes(32)},
    )


def standings(page: str) -> list[str]:
    return re.findall(r'<li class="step step-(\w+)"', page)


def test_a_fresh_report_shows_its_code_its_steps_and_looks_again_by_itself(visitor: Visitor, address: str) -> None:
    answer = visitor.client.get(address)
    assert answer.status_code == 200
    assert re.search(r'<h1 class="code">[2-9A-Z]{4}-[2-9A-Z]{4}</h1>', answer.text)
    assert standings(answer.text) == ["done", "current", "waiting", "waiting", "waiting", "waiting"]
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert "noindex" in answer.text


def test_the_page_never_tells_the_place_or_the_words_of_the_report(visitor: Visitor, address: str) -> None:
    page = visitor.client.get(address).text
    for private in ("114.3055", "30.5928", "王小明"):
        assert private not in page


def test_in_review_the_page_waits_with_the_person(
    visitor: Visitor, address: str, settle: Callable[[str], uuid.UUID]
) -> None:
    settle("ready")
    page = visitor.client.get(address).text
    assert standings(page)[:3] == ["done", "done", "current"]
    assert 'http-equiv="refresh"' not in page


@pytest.mark.parametrize("token", ["x", "A" * 32, "%00", "..%2f"])
def test_a_link_that_is_none_is_not_found(visitor: Visitor, token: str) -> None:
    assert visitor.client.get(f"/f/{token}").status_code == 404


def test_an_unreadable_photo_is_explained_and_offers_another_try(
    visitor: Visitor, address: str, settle: Callable[[str], uuid.UUID]
) -> None:
    settle("refused")
    page = visitor.client.get(address).text
    assert standings(page) == ["done", "stopped"]
    assert "照片无法读取" in page
    assert 'href="/report"' in page


def test_a_moderator_s_words_arrive_as_words_not_as_markup(
    visitor: Visitor, address: str, settle: Callable[[str], uuid.UUID], sessions: sessionmaker[Session]
) -> None:
    report_id = settle("ready")
    with transaction(sessions) as session:
        service.refuse(session, report_id, "unclear", "<script>看不清</script>", actor=MODERATOR, now=LATER)
    page = visitor.client.get(address).text
    assert "&lt;script&gt;看不清&lt;/script&gt;" in page
    assert "照片看不清问题出在哪里" in page


def test_an_accepted_report_names_the_department_and_when_it_acknowledged(
    visitor: Visitor, address: str, settle: Callable[[str], uuid.UUID], sessions: sessionmaker[Session]
) -> None:
    report_id = settle("ready")
    with transaction(sessions) as session:
        service.accept(session, report_id, actor=MODERATOR, now=LATER)
        add_acknowledged_case(session, report_id)
    page = visitor.client.get(address).text
    assert standings(page) == ["done"] * 6
    assert page.count("武汉市水务局") == 2
    assert '<time datetime="2026-11-23T10:30:00+00:00">' in page
    assert "公众观察等级，非政府预警" in page
    assert "撤回这条上报" not in page


def add_acknowledged_case(session: Session, report_id: uuid.UUID) -> None:
    """An incident of the report, handed to one department and acknowledged by it."""
    facts = {
        "incident": new_id(), "report": report_id, "water": add_river(session, "府河"), "area": new_id(),
        "agency": new_id(), "name": new_id(), "case": new_id(), "at": LATER, "lon": LON, "lat": LAT,
        "delivered": LATER + timedelta(minutes=5), "acknowledged": LATER + timedelta(minutes=90),
    }  # fmt: skip
    for statement in (
        """INSERT INTO incident (id, code, organisation_id, state, state_since, kind, severity, graded_severity,
               water_feature_id, exact_point, public_point, opened_at, last_confirmed_at)
           SELECT :incident, 'ABCD-2345', organisation_id, 'open', :at, kind, 3, 3, :water, point,
               ST_SetSRID(ST_MakePoint(:lon, :lat), 4326), :at, :at FROM report WHERE id = :report""",
        "INSERT INTO incident_report (report_id, incident_id, joined_at) VALUES (:report, :incident, :at)",
        """INSERT INTO jurisdiction (id, code, level, geom) VALUES (:area, '420100', 'prefecture',
               ST_Multi(ST_Buffer(ST_SetSRID(ST_MakePoint(:lon, :lat), 4326), 1)))""",
        """INSERT INTO agency (id, code, kind, level, jurisdiction_id)
           VALUES (:agency, 'wuhan-water', 'water', 'prefecture', :area)""",
        "INSERT INTO agency_name (agency_id, lang, name) VALUES (:agency, 'zh-Hans', '武汉市水务局')",
        """INSERT INTO escalation_case (id, incident_id, agency_id, state, state_since, severity, created_at,
               delivered_at, acknowledged_at)
           VALUES (:case, :incident, :agency, 'acknowledged', :acknowledged, 3, :at, :delivered, :acknowledged)""",
    ):
        session.execute(text(statement), facts)


def test_the_author_sees_the_rebuilt_picture_and_never_the_original(
    visitor: Visitor, address: str, settle: Callable[[str], uuid.UUID], sessions: sessionmaker[Session],
    settings: Settings, tmp_path: Path,
) -> None:  # fmt: skip
    settle("ready")
    with transaction(sessions) as session:
        photo_id = session.execute(text("SELECT id FROM photo")).scalar_one()
        add_picture(session, settings, photo_id, tmp_path / "made", b"rebuilt pixels")
    found = re.search(r'<img src="([^"]+)"', visitor.client.get(address).text.partition("<main")[2])
    assert found is not None
    assert found[1] == f"{address}/photo/{photo_id}/320"
    picture = visitor.client.get(found[1])
    assert (picture.status_code, picture.data, picture.mimetype) == (200, b"rebuilt pixels", "image/jpeg")
    assert picture.headers["Cache-Control"].startswith("private")
    assert visitor.client.get(f"{address}/photo/{photo_id}/2000").status_code == 404
    assert JPEG not in picture.data


def test_another_report_s_photo_is_not_found_under_one_s_own_link(
    visitor: Visitor, address: str, sessions: sessionmaker[Session], settings: Settings, tmp_path: Path
) -> None:
    with transaction(sessions) as session:
        photo_id = session.execute(text("SELECT id FROM photo")).scalar_one()
        add_picture(session, settings, photo_id, tmp_path / "made", b"rebuilt pixels")
    other = visitor.send().headers["Location"]
    assert visitor.client.get(f"{address}/photo/{photo_id}/320").status_code == 200
    assert visitor.client.get(f"{other}/photo/{photo_id}/320").status_code == 404


def withdraw(visitor: Visitor, address: str) -> int:
    token = visitor.token(address)
    return visitor.client.post(f"{address}/withdraw", data={"csrf_token": token}).status_code


def test_an_author_takes_the_report_back(visitor: Visitor, address: str) -> None:
    assert "撤回这条上报" in visitor.client.get(address).text
    assert withdraw(visitor, address) == 303
    page = visitor.client.get(address).text
    assert standings(page) == ["done", "stopped"]
    assert "撤回这条上报" not in page


def test_taking_a_report_back_says_before_and_after_what_is_erased(
    visitor: Visitor,
    address: str,
    settle: Callable[[str], uuid.UUID],
    sessions: sessionmaker[Session],
    settings: Settings,
    tmp_path: Path,
) -> None:
    settle("ready")
    with transaction(sessions) as session:
        photo_id = session.execute(text("SELECT id FROM photo")).scalar_one()
        add_picture(session, settings, photo_id, tmp_path / "pictures", b"picture")
    picture = f"{address}/photo/{photo_id}/320"
    assert visitor.client.get(picture).status_code == 200
    token = visitor.token(address)
    assert "撤回会马上删除照片、位置、说明、回答和联系方式" in visitor.client.get(address).text
    visitor.client.post(f"{address}/withdraw", data={"csrf_token": token})
    page = visitor.client.get(address).text
    assert "已经删除，不能恢复：照片、位置、说明、回答和联系方式" in page
    assert "也能修改或撤回上报" not in page
    assert "还留着：编号、种类、上报和撤回的时间" in page
    assert (standings(page), "photos-title" in page) == (["done", "stopped"], False)
    assert visitor.client.get(picture).status_code == 404
    late = visitor.client.post(f"{address}/correct", data={"csrf_token": token, "note": "又写"}, follow_redirects=True)
    assert "不能再修改" in late.text


def test_the_page_says_of_a_contact_what_is_true(
    visitor: Visitor, address: str, sessions: sessionmaker[Session], settings: Settings
) -> None:
    assert "你没有留联系方式" in visitor.client.get(address).text
    with transaction(sessions) as session:
        report_id = session.execute(text("SELECT id FROM report")).scalar_one()
        contact = Contact(None, "13800138000", by_mail=False, may_ask=True)
        contacts.keep(session, report_id, contact, settings=settings, now=LATER)
    page = visitor.client.get(address).text
    assert ("你没有留联系方式" in page, "你留的联系方式与上报分开加密保存" in page) == (False, True)


def test_too_late_to_withdraw_is_said_and_changes_nothing(
    visitor: Visitor, address: str, settle: Callable[[str], uuid.UUID], sessions: sessionmaker[Session]
) -> None:
    report_id = settle("ready")
    token = visitor.token(address)
    with transaction(sessions) as session:
        service.accept(session, report_id, actor=MODERATOR, now=LATER)
    answer = visitor.client.post(f"{address}/withdraw", data={"csrf_token": token}, follow_redirects=True)
    assert "不能再撤回" in answer.text
    with transaction(sessions) as session:
        assert session.execute(text("SELECT state FROM report")).scalar_one() == "accepted"


def test_nobody_withdraws_by_a_forged_form(visitor: Visitor, address: str, sessions: sessionmaker[Session]) -> None:
    assert visitor.client.post(f"{address}/withdraw").status_code == 400
    with transaction(sessions) as session:
        assert session.execute(text("SELECT state FROM report")).scalar_one() == "received"
