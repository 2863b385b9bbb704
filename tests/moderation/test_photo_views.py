"""The desk of one photo over HTTP: who may, what is covered, what bad input is answered, how an original is had."""

import base64
import hashlib
import uuid
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import insert
from tests.moderation.rows import add_river, add_waiting, count
from tests.photos.forge import jpeg, scene
from tests.photos.test_service import _receive
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.photos import forgetting
from waterwatch.photos import service as photos

People = dict[str, DemoPerson]
CONTENT = jpeg(scene(480, 320))


@pytest.fixture
def context(settings: Settings, sessions: sessionmaker[Session]) -> JobContext:
    settings.spool_dir.mkdir(parents=True, exist_ok=True)
    return JobContext(settings, sessions, ObjectStore(settings.objects_url))


@pytest.fixture
def photo_id(context: JobContext, tmp_path: Path) -> uuid.UUID:
    """The ready photo of a report that waits."""
    made = _receive(context, CONTENT, tmp_path)
    assert photos.sanitise(context, made) == "ready"
    with transaction(context.sessions) as session:
        report_id = add_waiting(session, add_river(session, "长江"), now=utc_now())
        insert(session, "report_photo", report_id=report_id, photo_id=made, position=0)
    return made


@pytest.fixture
def page(photo_id: uuid.UUID) -> str:
    return f"/desk/photo/{photo_id}"


@pytest.fixture
def desk(visitor: Visitor, people: People) -> Visitor:
    """A moderator at the desk."""
    visitor.sign_in(people["moderator"])
    return visitor


@pytest.fixture
def lead(app: Flask, people: People) -> Visitor:
    """The lead moderator at the desk."""
    made = Visitor(app.test_client())
    made.sign_in(people["lead"])
    return made


def _report_of(context: JobContext) -> uuid.UUID:
    with transaction(context.sessions) as session:
        return uuid.UUID(str(session.execute(text("SELECT id FROM report")).scalar_one()))


def test_a_photo_is_covered_where_numbers_say_and_the_page_says_that_it_is_made_anew(
    desk: Visitor, page: str, photo_id: uuid.UUID, context: JobContext
) -> None:
    assert "没有遮盖" in desk.get(page).text
    answer = desk.post(f"{page}/redactions", {"left": "10", "top": "20.5", "width": "30", "height": "40"}, page=page)
    assert (answer.status_code, answer.location) == (303, page)
    waiting = desk.get(page).text
    assert "正在重新生成" in waiting
    assert 'data-refresh-s="2"' in waiting
    assert 'name="removed"' not in waiting
    assert 'data-refresh-s="2"' in desk.get(f"/desk/{_report_of(context)}").text
    photos.redact(context, photo_id)
    shown = desk.get(page).text
    assert "手画" in shown
    assert "data-refresh-s=" not in shown
    with transaction(context.sessions) as session:
        row = session.execute(text('SELECT kind, "left", top, width, height FROM photo_redaction')).one()
    assert tuple(row) == ("drawn", pytest.approx(0.1), pytest.approx(0.205), pytest.approx(0.3), pytest.approx(0.4))


def test_what_a_hand_drew_is_taken_off_by_a_tick(
    desk: Visitor, page: str, photo_id: uuid.UUID, context: JobContext
) -> None:
    desk.post(f"{page}/redactions", {"drawn": "0,0,0.5,1"}, page=page)
    photos.redact(context, photo_id)
    with transaction(context.sessions) as session:
        redaction_id = session.execute(text("SELECT id FROM photo_redaction")).scalar_one()
    assert desk.post(f"{page}/redactions", {"removed": str(redaction_id)}, page=page).status_code == 303
    photos.redact(context, photo_id)
    assert "没有遮盖" in desk.get(page).text


def test_a_picture_made_anew_has_a_new_address(
    desk: Visitor, page: str, photo_id: uuid.UUID, context: JobContext
) -> None:
    def addresses() -> set[str]:
        words = desk.get(f"/desk/{_report_of(context)}").text + desk.get(page).text
        return {part.split('"')[0].split(" ")[0] for part in words.split(f"{page}/") if part.startswith("1024?v=")}

    (before,) = addresses()
    desk.post(f"{page}/redactions", {"drawn": "0,0,0.5,1"}, page=page)
    photos.redact(context, photo_id)
    (after,) = addresses()
    assert before != after
    assert desk.get(f"{page}/{after}").status_code == 200


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "还没有改动"),
        ({"drawn": "0,0,0.5"}, "矩形须在照片之内"),
        ({"drawn": "0,0,0.5,nan"}, "矩形须在照片之内"),
        ({"drawn": "0,0,inf,0.5"}, "矩形须在照片之内"),
        ({"drawn": "0.6,0,0.5,0.5"}, "矩形须在照片之内"),
        ({"drawn": "-0.1,0,0.5,0.5"}, "矩形须在照片之内"),
        ({"drawn": "0.5,0.5,0.001,0.5"}, "矩形须在照片之内"),
        ({"drawn": "x" * 9000}, "矩形须在照片之内"),
        ({"left": "10", "top": "10", "width": "95", "height": "10"}, "矩形须在照片之内"),
        ({"left": "10"}, "矩形须在照片之内"),
        ({"removed": "1 OR 1=1"}, "请从列表里选择"),
    ],
)
def test_a_faulty_rectangle_comes_back_with_words_and_changes_nothing(
    desk: Visitor, page: str, context: JobContext, fields: dict[str, str], words: str
) -> None:
    answer = desk.post(f"{page}/redactions", fields, page=page)
    assert (answer.status_code, words in answer.text) == (400, True)
    with transaction(context.sessions) as session:
        assert count(session, "photo_redaction") == 0
        assert count(session, "photo", "redaction_wanted_at IS NOT NULL") == 0


def test_several_hundred_rectangles_at_once_are_refused(desk: Visitor, page: str, context: JobContext) -> None:
    data = {"csrf_token": desk.token(page), "drawn": ["0,0,0.1,0.1"] * 201}
    assert desk.client.post(f"{page}/redactions", data=data).status_code == 409
    with transaction(context.sessions) as session:
        assert count(session, "photo_redaction") == 0


@pytest.mark.parametrize(("who", "status"), [(None, 302), ("officer", 403), ("admin", 403)])
def test_the_desk_of_a_photo_is_for_moderators(
    visitor: Visitor, people: People, page: str, who: str | None, status: int
) -> None:
    if who:
        visitor.sign_in(people[who])
    assert visitor.get(page).status_code == status
    answers = [
        visitor.post(f"{page}/{act}", {"drawn": "0,0,1,1"}, page="/report") for act in ("redactions", "original")
    ]
    assert {answer.status_code for answer in answers} == {status}


def test_a_withdrawn_report_takes_its_photos_from_the_desk(
    desk: Visitor, lead: Visitor, page: str, context: JobContext
) -> None:
    token = desk.token(page)
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE report SET state = 'withdrawn', state_deadline_at = NULL"))
    assert desk.get(page).status_code == 404
    assert desk.get(f"{page}/1024").status_code == 404
    data = {"csrf_token": token, "drawn": "0,0,1,1"}
    assert desk.client.post(f"{page}/redactions", data=data).status_code == 404
    assert lead.post(f"{page}/original", {"reason": "evidence_check"}, page="/desk/").status_code == 404


def test_a_moderator_neither_sees_the_form_for_the_original_nor_gets_it(
    desk: Visitor, page: str, context: JobContext
) -> None:
    assert f"{page}/original" not in desk.get(page).text
    assert desk.post(f"{page}/original", {"reason": "evidence_check"}, page=page).status_code == 403
    with transaction(context.sessions) as session:
        assert count(session, "audit_entry", "action = 'photo.original_opened'") == 0


def test_the_lead_saves_the_original_as_it_came_and_no_browser_opens_it(
    lead: Visitor, page: str, context: JobContext
) -> None:
    assert f"{page}/original" in lead.get(page).text
    assert lead.get(f"{page}/original").status_code == 405
    answer = lead.post(f"{page}/original", {"reason": "authority_demand"}, page=page)
    digest = hashlib.sha256(CONTENT)
    assert answer.data == CONTENT
    headers = {name: answer.headers[name] for name in ("Content-Type", "Content-Disposition", "Cache-Control")}
    assert headers == {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f'attachment; filename="original-{digest.hexdigest()[:12]}.jpg"',
        "Cache-Control": "no-store",
    }
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["Repr-Digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    with transaction(context.sessions) as session:
        after = session.execute(text("SELECT after FROM audit_entry WHERE action = 'photo.original_opened'")).scalar()
    assert after == {"reason": "authority_demand", "sha256": digest.hexdigest()}


def test_the_demand_is_on_record_though_the_store_then_gives_nothing(
    lead: Visitor, page: str, context: JobContext
) -> None:
    """The record is written before the first byte is asked for."""
    with transaction(context.sessions) as session:
        context.objects.delete(session.execute(text("SELECT original_key FROM photo")).scalar_one())
    assert lead.post(f"{page}/original", {"reason": "evidence_check"}, page=page).status_code == 404
    with transaction(context.sessions) as session:
        assert count(session, "audit_entry", "action = 'photo.original_opened'") == 1


def test_no_original_without_a_reason(lead: Visitor, page: str) -> None:
    for fields, words in (({}, "请选择一项"), ({"reason": "curiosity"}, "请从列表里选择")):
        answer = lead.post(f"{page}/original", fields, page=page)
        assert (answer.status_code, words in answer.text) == (400, True)


def test_a_forgotten_original_is_said_to_be_gone(
    lead: Visitor, page: str, photo_id: uuid.UUID, context: JobContext
) -> None:
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE photo SET original_delete_after = now() - interval '1 day'"))
        assert forgetting.forget_original(session, photo_id, now=utc_now()) is not None
    shown = lead.get(page).text
    assert "原图已按期删除，谁也不能再取用" in shown
    answer = lead.post(f"{page}/original", {"reason": "evidence_check"}, page=page)
    assert (answer.status_code, "原图已按期删除" in answer.text) == (409, True)
