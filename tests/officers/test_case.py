import io
import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import text
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from tests.escalation.rows import add_incident, add_photo, add_report
from tests.officers.conftest import Desk
from tests.officers.rows import add_case, add_office, state_of
from tests.web.site import Visitor, counting
from waterwatch.accounts.service import DemoPerson
from waterwatch.casework import service as casework
from waterwatch.escalation import service as escalation
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.officers import forms, service
from waterwatch.web.uploads import UploadLimits


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def case_id(desk: Desk, now: datetime) -> uuid.UUID:
    with desk.rows() as session:
        return add_case(session, desk.own, now=now)


def jpeg() -> io.BytesIO:
    drawn = io.BytesIO()
    Image.effect_noise((320, 240), 40).convert("RGB").save(drawn, "JPEG")
    drawn.seek(0)
    return drawn


def said(desk: Desk, case_id: uuid.UUID) -> list[tuple[str, str, str]]:
    """(kind, via, words) of what was said, in order."""
    with desk.rows() as session:
        rows = session.execute(
            text("SELECT kind, via, words FROM case_answer WHERE case_id = :id ORDER BY said_at, id"), {"id": case_id}
        )
        return [(row.kind, row.via, row.words) for row in rows]


def test_the_page_shows_what_was_seen_where_and_until_when(desk: Desk, now: datetime, settings: Settings) -> None:
    with desk.rows() as session:
        incident_id = add_incident(session, now=now)
        add_report(session, incident_id, now=now, note="我住在江边三楼")
        case_id = add_case(session, desk.own, now=now, incident_id=incident_id, due_in_h=26)
    page = desk.get(f"/office/case/{case_id}")
    for words in ("长江：污水直排", "橙色·重大", "北纬 30.592800，东经 114.305500", "GCJ-02", "还剩 25 小时 59 分"):
        assert words in page
    assert "我住在江边三楼" not in page
    assert desk.visitor.get(f"/office/case/{case_id}/map.png").mimetype == "image/png"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "转给武昌区水务局的案件"),
        ({"state": "refused_not_ours"}, "转给武昌区水务局的案件"),
        ({"role": "supervising"}, "请武昌区水务局督办"),
    ],
)
def test_of_the_same_incident_case_and_warning_lead_to_each_other(
    desk: Desk, now: datetime, facts: dict[str, str], words: str
) -> None:
    with desk.rows() as session:
        incident_id = add_incident(session, now=now)
        below_id = add_case(session, desk.below, now=now, incident_id=incident_id)
        more: dict[str, Any] = facts | ({"supervises_id": below_id} if "role" in facts else {})
        case_id = add_case(session, desk.own, now=now, incident_id=incident_id, **more)
    assert "这起事件还有一件" not in desk.get(f"/office/case/{case_id}")
    with desk.rows() as session:
        warning_id = add_case(session, desk.own, now=now, incident_id=incident_id, role="downstream", due_in_h=None)
    warning = f'href="/office/case/{warning_id}">这起事件还有一件：武昌区水务局水域的下游预警'
    assert warning in desk.get(f"/office/case/{case_id}")
    assert f'href="/office/case/{case_id}">这起事件还有一件：{words}' in desk.get(f"/office/case/{warning_id}")


def test_a_case_does_not_lead_to_a_warning_that_is_over(desk: Desk, now: datetime) -> None:
    with desk.rows() as session:
        case_id = add_case(session, desk.own, now=now)
        incident_id = session.execute(text("SELECT incident_id FROM escalation_case")).scalar_one()
        add_case(session, desk.own, now=now, incident_id=incident_id, role="downstream", state="withdrawn")
    assert "这起事件还有一件" not in desk.get(f"/office/case/{case_id}")


def test_a_photo_is_shown_in_its_own_case_alone(desk: Desk, now: datetime, settings: Settings, tmp_path: Path) -> None:
    objects = ObjectStore(settings.objects_url)
    with desk.rows() as session:
        incident_id = add_incident(session, now=now)
        drawn = add_photo(session, add_report(session, incident_id, now=now), objects, tmp_path, now=now)
        case_id = add_case(session, desk.own, now=now, incident_id=incident_id)
        other_id = add_case(session, desk.own, now=now)
        photo_id = session.execute(text("SELECT id FROM photo")).scalar_one()
    assert f"/office/case/{case_id}/photo/{photo_id}/1024" in desk.get(f"/office/case/{case_id}")
    shown = desk.visitor.get(f"/office/case/{case_id}/photo/{photo_id}/1024")
    assert (shown.status_code, shown.data) == (200, drawn)
    assert desk.visitor.get(f"/office/case/{other_id}/photo/{photo_id}/1024").status_code == 404


def test_a_case_taken_back_shows_neither_place_nor_picture_at_the_desk(
    desk: Desk, now: datetime, settings: Settings, tmp_path: Path
) -> None:
    objects = ObjectStore(settings.objects_url)
    with desk.rows() as session:
        incident_id = add_incident(session, now=now)
        for _one in range(2):
            add_photo(session, add_report(session, incident_id, now=now), objects, tmp_path, now=now)
        case_id = add_case(session, desk.own, now=now, incident_id=incident_id)
        photo_id, said_photo = session.execute(text("SELECT id FROM photo ORDER BY id")).scalars()
    path = f"/office/case/{case_id}"
    assert desk.post(f"{path}/answer", {"words": "见照片"}) == 303
    with desk.rows() as session:  # one of them is the answer's
        moved = {"photo": said_photo}
        session.execute(text("DELETE FROM report_photo WHERE photo_id = :photo"), moved)
        session.execute(
            text("INSERT INTO case_answer_photo (photo_id, answer_id, position) SELECT :photo, id, 1 FROM case_answer"),
            moved,
        )
    parts = ["map.png", f"photo/{photo_id}/1024", f"photo/{said_photo}/1024"]
    page = desk.get(path)
    for shown in ("30.592800", "/map.png", f"/photo/{photo_id}/", f"/photo/{said_photo}/"):
        assert shown in page
    with desk.rows() as session:
        escalation.withdraw_cases(session, incident_id, settings=settings, actor=Actor.system("tests"), now=now)
    assert [desk.visitor.get(f"{path}/{part}").status_code for part in parts] == [410] * 3
    page = desk.get(path)
    assert "不必再处理" in page
    assert "见照片" in page
    for gone in ("30.592800", "114.305500", "WGS-84", "/map.png", "/photo/"):
        assert gone not in page


def test_acknowledged_then_answered_with_a_date_and_a_photo(desk: Desk, case_id: uuid.UUID, now: datetime) -> None:
    assert desk.post(f"/office/case/{case_id}/acknowledge") == 303
    planned = (now + timedelta(days=9)).date().isoformat()
    data = {
        "csrf_token": desk.visitor.token("/office/"),
        "words": "已派人到现场，\n排口已封堵。",
        "planned_on": planned,
        "photo": (jpeg(), "after.jpg"),
    }
    answer = desk.visitor.client.post(f"/office/case/{case_id}/answer", data=data)
    assert answer.status_code == 303
    page = desk.get(f"/office/case/{case_id}")
    assert "答复已收到" in page
    assert planned in page
    assert "还有 1 张照片正在处理" in page
    assert "等本站核对后公开" in page
    assert said(desk, case_id) == [("answer", "desk", "已派人到现场，\n排口已封堵。")]
    with desk.rows() as session:
        assert state_of(session, case_id) == "answered"
        assert session.execute(text("SELECT count(*) FROM outbox WHERE topic = 'photos.sanitise'")).scalar_one() == 1
        assert "封堵" not in str(session.execute(text("SELECT after FROM audit_entry")).all())


def test_two_officers_who_answer_at_once_lose_no_word(desk: Desk, case_id: uuid.UUID) -> None:
    for words in ("水务科：已派人。", "执法大队：已立案。"):
        assert desk.post(f"/office/case/{case_id}/answer", {"words": words}) == 303
    assert [words for _kind, _via, words in said(desk, case_id)] == ["水务科：已派人。", "执法大队：已立案。"]
    page = desk.get(f"/office/case/{case_id}")
    assert page.index("水务科：已派人。") < page.index("执法大队：已立案。")


def test_whoever_answers_what_a_colleague_has_just_passed_on_gets_every_word_back(
    desk: Desk, case_id: uuid.UUID
) -> None:
    assert desk.post(f"/office/case/{case_id}/not-ours", {"reason": "该段归省管"}) == 303
    fields = {"csrf_token": desk.visitor.token("/office/"), "words": "我写了很久的答复"}
    answer = desk.visitor.client.post(f"/office/case/{case_id}/answer", data=fields)
    assert answer.status_code == 409
    assert "我写了很久的答复" in answer.text
    assert "状态变了" in answer.text
    assert len(said(desk, case_id)) == 1


def test_photos_too_large_together_cost_no_word_at_the_desk_and_show_nothing_to_a_stranger(
    desk: Desk, case_id: uuid.UUID, settings: Settings
) -> None:
    enough = UploadLimits(settings.photo_max_bytes, forms.PHOTOS_PER_ANSWER).max_request_bytes

    def send(client: FlaskClient) -> TestResponse:
        fields = {"csrf_token": desk.visitor.token("/office/"), "words": "我写了很久的答复"}
        boundary, body = encode_multipart(fields | {"photo": FileStorage(io.BytesIO(bytes(enough)), "a.jpg")})
        form = f"multipart/form-data; boundary={boundary}"
        return client.post(f"/office/case/{case_id}/answer", data=body, content_type=form)

    answer = send(desk.visitor.client)
    assert (answer.status_code, "我写了很久的答复" in answer.text) == (413, True)
    stranger = send(desk.visitor.client.application.test_client())
    assert (stranger.status_code, "长江" in stranger.text) == (302, False)


def test_photos_too_large_for_a_case_that_is_not_there_or_not_theirs_are_answered_as_the_case_is(
    desk: Desk, now: datetime, settings: Settings, people: dict[str, DemoPerson]
) -> None:
    enough = UploadLimits(settings.photo_max_bytes, forms.PHOTOS_PER_ANSWER).max_request_bytes

    def send(client: FlaskClient, case_id: uuid.UUID) -> int:
        boundary, body = encode_multipart({"photo": FileStorage(io.BytesIO(bytes(enough)), "a.jpg")})
        form = f"multipart/form-data; boundary={boundary}"
        return client.post(f"/office/case/{case_id}/answer", data=body, content_type=form).status_code

    with desk.rows() as session:
        foreign = add_case(session, desk.stranger, now=now)
    assert send(desk.visitor.client, new_id()) == 404
    assert send(desk.visitor.client, foreign) == 404
    moderator = Visitor(desk.visitor.client.application.test_client())
    moderator.sign_in(people["moderator"])
    assert send(moderator.client, foreign) == 403


def test_the_same_form_sent_twice_is_one_answer(desk: Desk, case_id: uuid.UUID) -> None:
    key = str(uuid.uuid4())
    for _time in range(2):
        assert desk.post(f"/office/case/{case_id}/answer", {"words": "已派人。", "key": key}) == 303
    assert len(said(desk, case_id)) == 1


def test_done_closes_the_case_and_more_can_be_added_but_nothing_changed(desk: Desk, case_id: uuid.UUID) -> None:
    assert desk.post(f"/office/case/{case_id}/done", {"words": "排口已封堵，水面已清理。"}) == 303
    page = desk.get(f"/office/case/{case_id}")
    assert "称处理完" in page
    assert "补充说明" in page
    assert f"/office/case/{case_id}/not-ours" not in page
    assert desk.post(f"/office/case/{case_id}/answer", {"words": "附上检测报告。", "comment": "1"}) == 303
    assert [kind for kind, _via, _words in said(desk, case_id)] == ["done", "comment"]
    with desk.rows() as session:
        assert state_of(session, case_id) == "closed"


def test_not_ours_goes_to_the_agency_that_was_chosen_among_those_of_the_place(desk: Desk, case_id: uuid.UUID) -> None:
    with desk.rows() as session:
        far = "MULTIPOLYGON(((90 40, 91 40, 91 41, 90 41, 90 40)))"
        add_office(session, "far-water", "远方水务局", area=far)
    page = desk.get(f"/office/case/{case_id}")
    assert "汉阳区水务局" in page
    assert "远方水务局" not in page
    fields = {"reason": "该段在汉阳一侧", "agency_id": str(desk.stranger)}
    assert desk.post(f"/office/case/{case_id}/not-ours", fields) == 303
    with desk.rows() as session:
        assert state_of(session, case_id) == "refused_not_ours"
        onward = session.execute(
            text("SELECT count(*) FROM escalation_case WHERE agency_id = :id"), {"id": desk.stranger}
        )
        assert onward.scalar_one() == 1


@pytest.mark.parametrize(
    ("act", "fields", "expected"),
    [
        ("answer", {"words": ""}, "请写几句话。"),
        ("answer", {"words": "好" * 2001}, "太长了"),
        ("answer", {"words": "好", "planned_on": "2020-01-01"}, "不能早于今天"),
        ("answer", {"words": "好", "planned_on": "tomorrow"}, "请选择日期"),
        ("answer", {"words": "好", "planned_on": "9999-12-31"}, "太远了"),
        ("not-ours", {"reason": "不归", "agency_id": "nonsense"}, "请从列表里选择"),
        ("not-ours", {"reason": ""}, "请写几句话。"),
        ("assign", {"office": " "}, "请选择一位同事"),
        ("note", {"note": ""}, "请写几句话。"),
    ],
)
def test_faults_are_said_beside_the_field_and_nothing_is_kept(
    desk: Desk, case_id: uuid.UUID, act: str, fields: dict[str, str], expected: str
) -> None:
    data = {"csrf_token": desk.visitor.token("/office/")} | fields
    answer = desk.visitor.client.post(f"/office/case/{case_id}/{act}", data=data)
    assert answer.status_code == 400
    assert expected in answer.text
    assert said(desk, case_id) == []


def test_what_is_written_is_shown_as_text_and_never_as_markup(desk: Desk, case_id: uuid.UUID) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    assert desk.post(f"/office/case/{case_id}/answer", {"words": hostile}) == 303
    assert desk.post(f"/office/case/{case_id}/note", {"note": hostile}) == 303
    assert desk.post(f"/office/case/{case_id}/assign", {"office": hostile[:60]}) == 303
    page = desk.get(f"/office/case/{case_id}") + desk.get("/office/")
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_colleagues_and_offices_are_assigned_and_taken_off_again(desk: Desk, case_id: uuid.UUID) -> None:
    with desk.rows() as session:
        me = session.execute(text("SELECT id FROM person WHERE email = 'officer@demo.example'")).scalar_one()
        moderator = session.execute(text("SELECT id FROM person WHERE email = 'lead@demo.example'")).scalar_one()
    assert desk.post(f"/office/case/{case_id}/assign", {"person_id": str(me), "office": "执法大队"}) == 303
    assert desk.post(f"/office/case/{case_id}/assign", {"office": "排水科"}) == 303
    assert desk.post(f"/office/case/{case_id}/assign", {"person_id": str(moderator)}) == 404
    page = desk.get(f"/office/case/{case_id}")
    assert "执法大队 · officer@demo.example" in re.sub(r"\s+", " ", page)
    end = re.search(rf"/office/case/{case_id}/assign/[0-9a-f-]+/end", page)
    assert end is not None
    assert desk.post(end[0]) == 303
    assert "执法大队 ·" not in re.sub(r"\s+", " ", desk.get(f"/office/case/{case_id}"))
    assert desk.post(f"/office/case/{case_id}/assign/{new_id()}/end") == 404


def test_an_agency_above_reads_the_case_but_neither_notes_nor_buttons(desk: Desk, now: datetime) -> None:
    with desk.rows() as session:
        case_id = add_case(session, desk.below, now=now)
        service.note(session, case_id, "内部的话", actor=Actor.system("tests"), now=now)
    page = desk.get(f"/office/case/{case_id}")
    assert "由对方办理" in page
    assert "内部的话" not in page
    assert "<form" not in page.split('id="main"')[1].split("</main>")[0].replace('<form method="dialog">', "")
    for act in ("acknowledge", "answer", "done", "not-ours", "assign", "note"):
        fields = {"words": "好", "reason": "好", "note": "好", "office": "好"}
        assert desk.post(f"/office/case/{case_id}/{act}", fields) == 403
    assert said(desk, case_id) == []


def test_an_agency_above_reads_no_name_of_those_below_and_not_what_they_do_among_themselves(
    desk: Desk, now: datetime
) -> None:
    with desk.rows() as session:
        case_id = add_case(session, desk.below, now=now)
        officer = session.execute(text("SELECT id FROM person WHERE email = 'lead@demo.example'")).scalar_one()
        session.execute(
            text("UPDATE membership SET agency_code = 'wuchang-street' WHERE person_id = :id"), {"id": officer}
        )
        actor = Actor.person(officer, None)
        escalation.acknowledge(session, case_id, actor=actor, now=now)
        casework.assign(session, case_id, officer, "排水科", actor=actor, now=now)
        casework.assign(session, case_id, officer, None, actor=actor, now=now)
        service.note(session, case_id, "内部的话", actor=actor, now=now)
        session.execute(text("UPDATE case_assignment SET ended_at = assigned_at WHERE office IS NULL"))
    page = desk.get(f"/office/case/{case_id}")
    assert "lead@demo.example" not in page
    assert "排水科" in page
    history = page.split('<ol class="history">')[1].split("</ol>")[0]
    assert "确认收到" in history
    for words in ("内部分派", "写了内部备注"):
        assert words not in history


def test_the_history_names_colleagues_and_nobody_else(desk: Desk, now: datetime, case_id: uuid.UUID) -> None:
    with desk.rows() as session:
        lead = session.execute(text("SELECT id FROM person WHERE email = 'lead@demo.example'")).scalar_one()
        session.execute(
            text("""INSERT INTO audit_entry (id, at, actor_kind, actor_id, action, subject_kind, subject_id)
                    VALUES (:id, now(), 'person', :actor, 'case.regraded', 'case', :case_id)"""),
            {"id": new_id(), "actor": lead, "case_id": case_id},
        )
    desk.post(f"/office/case/{case_id}/acknowledge")
    page = desk.get(f"/office/case/{case_id}")
    assert "等级改变" in page
    assert "lead@demo.example" not in page
    assert re.search(r"确认收到\s*<span class=\"muted\">officer@demo.example", page)


def test_notes_go_with_a_case_that_was_taken_back_and_a_year_after_one_that_ended(desk: Desk, now: datetime) -> None:
    with desk.rows() as session:
        for state, since in (
            ("withdrawn", now),
            ("closed", now - timedelta(days=400)),
            ("closed", now),
            ("delivered", now),
        ):
            case_id = add_case(session, desk.own, now=now, state=state, state_since=since)
            service.note(session, case_id, state, actor=Actor.system("tests"), now=since)
        assert service.forget_notes(session, now=now) == 2
        left = session.execute(text("SELECT words FROM case_note ORDER BY words")).scalars().all()
    assert left == ["closed", "delivered"]


def test_the_page_asks_a_fixed_number_of_questions(desk: Desk, case_id: uuid.UUID, app: Flask) -> None:
    def asked() -> int:
        desk.get(f"/office/case/{case_id}")
        with counting(app) as sent:
            desk.get(f"/office/case/{case_id}")
        return len(sent)

    few = asked()
    for number in range(4):
        desk.post(f"/office/case/{case_id}/answer", {"words": f"第 {number} 次"})
        desk.post(f"/office/case/{case_id}/note", {"note": f"第 {number} 条"})
    assert asked() - few == 1  # photos of answers, which are asked for where there are any
    assert few <= 20
