import io
import logging
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from tests.escalation.rows import add_agency, add_incident, add_photo, add_report
from waterwatch.app import create_app
from waterwatch.escalation import deliveries, service
from waterwatch.escalation.channels.letter import LINK_PURPOSE, acknowledge_url
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import sign_link
from waterwatch.officers.forms import PHOTOS_PER_ANSWER
from waterwatch.web.uploads import UploadLimits


@dataclass(frozen=True)
class Forwarded:
    """A case an agency was told of, and the path of its link."""

    case_id: uuid.UUID
    path: str
    photo: bytes
    client: FlaskClient
    sessions: sessionmaker[Session]
    engine: Engine

    def standing(self) -> tuple[str, int]:
        """State of the case, number of its audit entries."""
        with transaction(self.sessions) as session:
            state = session.execute(text("SELECT state FROM escalation_case WHERE id = :id"), {"id": self.case_id})
            count = session.execute(
                text("SELECT count(*) FROM audit_entry WHERE subject_id = :id"), {"id": self.case_id}
            )
            return state.scalar_one(), count.scalar_one()

    def press_the_button(self) -> int:
        """Post the form of the page as a browser would; gives the status."""
        page = self.client.get(self.path).text
        found = re.search(
            r'<form method="post" action="[^"]+">\s*<input type="hidden" name="csrf_token" value="([^"]+)"', page
        )
        assert found is not None
        return self.client.post(self.path, data={"csrf_token": found[1]}).status_code


@pytest.fixture
def forwarded(settings: Settings, sessions: sessionmaker[Session], tmp_path: Path) -> Iterator[Forwarded]:
    now = datetime.now(UTC)
    objects = ObjectStore(settings.objects_url)
    with transaction(sessions) as session:
        add_agency(session, "武汉市生态环境局", ["huanbao@wuhan.example"])
        incident_id = add_incident(session, now=now)
        photo = add_photo(session, add_report(session, incident_id, now=now), objects, tmp_path, now=now)
        (case,) = service.escalate(session, incident_id, settings=settings, actor=Actor.system("tests"), now=now)
        delivery_id = session.execute(text("SELECT id FROM delivery")).scalar_one()
        claim = deliveries.claim_delivery(session, delivery_id, settings=settings, now=now)
        assert claim is not None
        deliveries.record_sent(session, claim, now=now)
    app = create_app(settings)
    path = acknowledge_url(settings, case.id, now).removeprefix(settings.public_url)
    engine = app.extensions["waterwatch"].engine
    yield Forwarded(case.id, path, photo, app.test_client(), sessions, engine)
    engine.dispose()


def test_looking_at_the_case_changes_nothing_however_often_a_mail_scanner_does(forwarded: Forwarded) -> None:
    before = forwarded.standing()
    for _ in range(3):
        page = forwarded.client.get(forwarded.path)
        assert page.status_code == 200
        forwarded.client.head(forwarded.path)
    assert forwarded.standing() == before
    for words in ("长江：污水直排", "橙色·重大", "武汉市生态环境局", "不是政府预警", "确认收到"):
        assert words in page.text


def test_the_button_acknowledges_once_and_says_when(forwarded: Forwarded) -> None:
    assert forwarded.press_the_button() == 303
    state, entries = forwarded.standing()
    assert state == "acknowledged"
    page = forwarded.client.get(forwarded.path).text
    assert re.search(r"已确认收到</span> <time", page)
    assert f'<form method="post" action="{forwarded.path}">' not in page
    with transaction(forwarded.sessions) as session:
        actor = session.execute(
            text("SELECT actor_kind, actor_id FROM audit_entry WHERE action = 'case.acknowledged'")
        ).one()
        agency_id = session.execute(text("SELECT id FROM agency")).scalar_one()
    assert (actor.actor_kind, actor.actor_id) == ("agency_link", agency_id)
    assert entries == 3


def test_two_officers_who_press_it_at_once_are_both_right(forwarded: Forwarded) -> None:
    page = forwarded.client.get(forwarded.path).text
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    answers = [forwarded.client.post(forwarded.path, data={"csrf_token": found[1]}).status_code for _ in range(2)]
    assert answers == [303, 303]
    assert forwarded.standing() == ("acknowledged", 3)


def test_a_post_from_elsewhere_acknowledges_nothing(forwarded: Forwarded) -> None:
    before = forwarded.standing()
    assert forwarded.client.post(forwarded.path).status_code == 400
    assert forwarded.client.post(forwarded.path, data={"csrf_token": "forged"}).status_code == 400
    assert forwarded.standing() == before


@pytest.mark.parametrize("part", ["", "/map.png", "/photo.jpg"])
def test_a_forged_link_and_one_for_another_purpose_open_nothing(
    forwarded: Forwarded, settings: Settings, part: str
) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    foreign = sign_link(settings, "follow", forwarded.case_id, expires_at=tomorrow)
    own = forwarded.path.removeprefix("/a/")
    flipped = own[:-2] + ("A" if own[-2] != "A" else "B") + own[-1]
    unknown = sign_link(settings, LINK_PURPOSE, uuid.uuid4(), expires_at=tomorrow)
    for token in (foreign, flipped, own[:-8], "x", unknown):
        assert forwarded.client.get(f"/a/{token}{part}").status_code == 404


def test_an_expired_link_says_what_to_do(forwarded: Forwarded, settings: Settings) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    path = f"/a/{sign_link(settings, LINK_PURPOSE, forwarded.case_id, expires_at=yesterday)}"
    page = forwarded.client.get(path)
    assert page.status_code == 410
    assert "这个链接已过期" in page.text
    assert "请回复当时收到的邮件" in page.text


def test_a_photo_of_which_more_must_be_covered_is_held_back_from_the_agency(forwarded: Forwarded) -> None:
    with transaction(forwarded.sessions) as session:
        session.execute(text("UPDATE photo SET redaction_wanted_at = now()"))
    assert forwarded.client.get(forwarded.path + "/photo.jpg").status_code == 503
    assert forwarded.client.get(forwarded.path).status_code == 200


def test_the_photo_and_the_map_are_there_for_the_holder_of_the_link(forwarded: Forwarded) -> None:
    photo = forwarded.client.get(forwarded.path + "/photo.jpg")
    assert (photo.mimetype, photo.data) == ("image/jpeg", forwarded.photo)
    drawn = forwarded.client.get(forwarded.path + "/map.png")
    assert drawn.mimetype == "image/png"
    assert drawn.data.startswith(b"\x89PNG")


@pytest.mark.parametrize("part", ["", "/map.png", "/photo.jpg"])
def test_the_links_address_is_kept_nowhere(forwarded: Forwarded, part: str) -> None:
    headers = forwarded.client.get(forwarded.path + part).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Robots-Tag"] == "noindex, nofollow"


def test_the_page_asks_the_database_five_questions(forwarded: Forwarded) -> None:
    forwarded.client.get(forwarded.path)
    statements: list[str] = []
    listener: Callable[..., None] = lambda *arguments: statements.append(arguments[2])  # noqa: E731
    event.listen(forwarded.engine, "before_cursor_execute", listener)
    forwarded.client.get(forwarded.path)
    assert len(statements) == 5  # the case, its dates, photos, what was said, whose else it may be


def send(forwarded: Forwarded, act: str, **fields: Any) -> TestResponse:
    """Send one of the page's forms as a browser would."""
    page = forwarded.client.get(forwarded.path).text
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return forwarded.client.post(f"{forwarded.path}/{act}", data={"csrf_token": found[1]} | fields)


def said(forwarded: Forwarded) -> list[tuple[str, str, str | None, bool]]:
    """(kind, via, words, whether a person is named) of what was said."""
    with transaction(forwarded.sessions) as session:
        rows = session.execute(text("SELECT kind, via, words, said_by FROM case_answer ORDER BY said_at, id"))
        return [(row.kind, row.via, row.words, row.said_by is not None) for row in rows]


def test_an_answer_needs_no_account_and_acknowledges_as_well(forwarded: Forwarded) -> None:
    answer = send(
        forwarded, "answer", words="已派人到现场。", planned_on="", photo=(io.BytesIO(forwarded.photo), "a.jpg")
    )
    assert answer.status_code == 303
    assert said(forwarded) == [("answer", "link", "已派人到现场。", False)]
    assert forwarded.standing()[0] == "answered"
    page = forwarded.client.get(forwarded.path).text
    assert "已派人到现场。" in page
    assert "已确认收到" in page
    assert "还有 1 张照片正在处理" in page
    with transaction(forwarded.sessions) as session:
        actor = session.execute(
            text("SELECT DISTINCT actor_kind FROM audit_entry WHERE action IN ('answer.received', 'case.answered')")
        )
        assert actor.scalars().all() == ["agency_link"]


def test_done_by_link_closes_the_case_and_says_who_checks(forwarded: Forwarded) -> None:
    assert send(forwarded, "done", words="排口已封堵。").status_code == 303
    assert forwarded.standing()[0] == "closed"
    assert "公众的照片核实以后" in forwarded.client.get(forwarded.path).text


def test_not_ours_by_link_ends_what_can_be_said_here(forwarded: Forwarded) -> None:
    assert send(forwarded, "not-ours", reason="该段归省管").status_code == 303
    assert forwarded.standing()[0] == "refused_not_ours"
    page = forwarded.client.get(forwarded.path).text
    assert "案件已转走" in page
    assert "已确认收到" not in page
    assert "<textarea" not in page
    assert said(forwarded) == [("not_ours", "link", "该段归省管", False)]


def test_a_withdrawn_case_takes_nothing_and_keeps_what_was_typed(forwarded: Forwarded, settings: Settings) -> None:
    page = forwarded.client.get(forwarded.path).text
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    with transaction(forwarded.sessions) as session:
        incident_id = session.execute(text("SELECT incident_id FROM escalation_case")).scalar_one()
        service.withdraw_cases(
            session, incident_id, settings=settings, actor=Actor.system("tests"), now=datetime.now(UTC)
        )
    data = {"csrf_token": found[1], "words": "写了半天"}
    answer = forwarded.client.post(f"{forwarded.path}/answer", data=data)
    assert answer.status_code == 409
    assert "写了半天" in answer.text
    assert "不必再处理" in answer.text
    assert said(forwarded) == []


def test_a_case_taken_back_shows_no_place_and_no_picture_any_more(forwarded: Forwarded, settings: Settings) -> None:
    send(forwarded, "answer", words="见照片", photo=(io.BytesIO(forwarded.photo), "a.jpg"))
    with transaction(forwarded.sessions) as session:
        incident_id = session.execute(text("SELECT incident_id FROM escalation_case")).scalar_one()
        photos = session.execute(text("SELECT photo_id FROM report_photo UNION SELECT photo_id FROM case_answer_photo"))
        parts = ["map.png", "photo.jpg", *(f"photo/{photo_id}/1024" for photo_id in photos.scalars())]
        service.withdraw_cases(
            session, incident_id, settings=settings, actor=Actor.system("tests"), now=datetime.now(UTC)
        )
    assert len(parts) == 4
    for part in parts:
        assert forwarded.client.get(f"{forwarded.path}/{part}").status_code == 410
    page = forwarded.client.get(forwarded.path)
    assert page.status_code == 200
    assert "不必再处理" in page.text
    assert "见照片" in page.text
    for gone in ("30.592800", "114.305500", "WGS-84", "/map.png", "/photo/"):
        assert gone not in page.text


def test_photos_that_are_too_many_or_no_photos_are_refused_before_anything_is_kept(forwarded: Forwarded) -> None:
    many = [(io.BytesIO(forwarded.photo), f"{number}.jpg") for number in range(7)]
    assert send(forwarded, "answer", words="看照片", photo=many).status_code == 400
    assert send(forwarded, "answer", words="看照片", photo=(io.BytesIO(b""), "a.jpg")).status_code == 400
    answer = send(forwarded, "answer", words="", photo=(io.BytesIO(forwarded.photo), "a.jpg"))
    assert "请重新选择照片" in answer.text
    assert said(forwarded) == []


def test_a_form_that_is_refused_says_so_above_the_fold_and_leads_to_the_field(forwarded: Forwarded) -> None:
    answer = send(forwarded, "answer", words="已派人", planned_on="2020-01-01", photo=(io.BytesIO(b""), "a.jpg"))
    summary = re.search(r'<div class="error-summary" role="alert"[^>]* data-focus>.*?</div>', answer.text, re.S)
    assert answer.status_code == 400
    assert summary is not None
    assert summary.start() < answer.text.index("<h1>")
    assert re.findall(r'href="#([^"]+)"', summary[0]) == ["answer-planned_on", "answer-photo"]
    for name in ("answer-planned_on", "answer-photo"):
        field = re.search(rf'<input [^>]*id="{name}"[^>]*>', answer.text)
        assert field is not None
        assert 'aria-invalid="true"' in field[0]
        assert f'{name}-error"' in field[0]
        assert f'id="{name}-error"' in answer.text


def test_a_date_that_was_typed_comes_back_with_the_words_where_the_case_moved_on(forwarded: Forwarded) -> None:
    page = forwarded.client.get(forwarded.path).text
    token = re.findall(r'name="csrf_token" value="([^"]+)"', page)[0]
    assert send(forwarded, "not-ours", reason="该段归省管").status_code == 303
    planned = (datetime.now(UTC) + timedelta(days=9)).date().isoformat()
    data = {"csrf_token": token, "words": "写了半天", "planned_on": planned}
    answer = forwarded.client.post(f"{forwarded.path}/answer", data=data)
    assert answer.status_code == 409
    assert f">{planned}<" in answer.text


def test_photos_too_large_together_cost_no_word(forwarded: Forwarded, settings: Settings) -> None:
    enough = UploadLimits(settings.photo_max_bytes, PHOTOS_PER_ANSWER).max_request_bytes
    token = re.findall(r'name="csrf_token" value="([^"]+)"', forwarded.client.get(forwarded.path).text)[0]
    fields = {"csrf_token": token, "words": "排口已封堵。", "photo": FileStorage(io.BytesIO(bytes(enough)), "a.jpg")}
    boundary, body = encode_multipart(fields)
    form = f"multipart/form-data; boundary={boundary}"
    answer = forwarded.client.post(f"{forwarded.path}/done", data=body, content_type=form)
    assert answer.status_code == 413
    assert "照片合起来太大了" in answer.text
    assert re.search(r'<details class="say" id="say-done" open>.*排口已封堵。</textarea>', answer.text, re.S)
    assert said(forwarded) == []


def test_photos_too_large_for_a_link_that_opens_nothing_are_answered_as_the_link_is(
    forwarded: Forwarded, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    enough = UploadLimits(settings.photo_max_bytes, PHOTOS_PER_ANSWER).max_request_bytes
    yesterday = datetime.now(UTC) - timedelta(days=1)
    expired = sign_link(settings, LINK_PURPOSE, forwarded.case_id, expires_at=yesterday)
    for token, status, words in ((expired, 410, "这个链接已过期"), ("forged", 404, "没有找到这一页")):
        boundary, body = encode_multipart({"photo": FileStorage(io.BytesIO(bytes(enough)), "a.jpg")})
        form = f"multipart/form-data; boundary={boundary}"
        with caplog.at_level(logging.INFO):
            answer = forwarded.client.post(f"/a/{token}/done", data=body, content_type=form)
        assert (answer.status_code, words in answer.text) == (status, True)
        assert token not in " ".join(record.getMessage() for record in caplog.records)


def test_what_was_typed_comes_back_to_our_own_page_alone(forwarded: Forwarded, settings: Settings) -> None:
    enough = UploadLimits(settings.photo_max_bytes, PHOTOS_PER_ANSWER).max_request_bytes
    fields = {"csrf_token": "forged", "words": "别人写的", "photo": FileStorage(io.BytesIO(bytes(enough)), "a.jpg")}
    boundary, body = encode_multipart(fields)
    form = f"multipart/form-data; boundary={boundary}"
    answer = forwarded.client.post(f"{forwarded.path}/done", data=body, content_type=form)
    assert answer.status_code == 413
    assert "别人写的" not in answer.text


def test_a_file_that_is_no_photo_is_said_to_be_none(forwarded: Forwarded) -> None:
    send(forwarded, "answer", words="见照片", photo=(io.BytesIO(b"no photo"), "a.jpg"))
    with transaction(forwarded.sessions) as session:
        session.execute(
            text("""UPDATE photo SET state = 'refused', refusal_code = 'not_an_image' WHERE id IN
                    (SELECT photo_id FROM case_answer_photo)""")
        )
    page = forwarded.client.get(forwarded.path).text
    assert "有 1 张没有用上（不是照片或打不开），请补充" in page
    assert "正在处理" not in page


def test_the_page_works_without_script_and_asks_nobody_else(forwarded: Forwarded) -> None:
    page = forwarded.client.get(forwarded.path).text
    assert page.count("<form ") >= 5  # acknowledge, answer, done, not ours, language
    assert '<details class="say"' in page
    addresses = re.findall(r'(?:src|href|action)="([^"]+)"', page)
    assert [one for one in addresses if not one.startswith(("/", "#", "tel:", "mailto:"))] == []
    assert '<meta name="referrer" content="no-referrer">' in page
    assert "navigator" not in page


def test_the_letters_link_shows_what_an_answers_photo_shows_once_it_is_ready(forwarded: Forwarded) -> None:
    send(forwarded, "answer", words="见照片", photo=(io.BytesIO(forwarded.photo), "a.jpg"))
    with transaction(forwarded.sessions) as session:
        photo_id = session.execute(text("SELECT photo_id FROM case_answer_photo")).scalar_one()
        own = session.execute(text("SELECT photo_id FROM report_photo")).scalar_one()
    assert forwarded.client.get(f"{forwarded.path}/photo/{photo_id}/320").status_code == 404  # not made yet
    assert forwarded.client.get(f"{forwarded.path}/photo/{uuid.uuid4()}/1024").status_code == 404
    shown = forwarded.client.get(f"{forwarded.path}/photo/{own}/1024")
    assert (shown.data, shown.headers["Cache-Control"]) == (forwarded.photo, "no-store")
