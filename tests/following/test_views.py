"""What the holder of a follow link may change, over HTTP: by the pages and by the API."""

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.messaging.test_webpush import Browser
from tests.reports.rows import LAT, LON, add_river, set_photo
from tests.reports.site import Visitor
from tests.web.site import running
from waterwatch.contacts import queries as contacts
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.notices import letters
from waterwatch.reports import service


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Settings:
    return make_settings(database_url=database_url, redis_url=redis_url, report_rate_limit="1000/hour")


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    return Visitor(app.test_client())


@pytest.fixture
def address(visitor: Visitor) -> str:
    """The follow page of a report just sent."""
    return str(visitor.send().headers["Location"])


def row(sessions: sessionmaker[Session], statement: str) -> tuple[Any, ...]:
    with transaction(sessions) as session:
        return tuple(session.execute(text(statement)).one())


def judge(sessions: sessionmaker[Session], state: str = "accepted") -> None:
    with transaction(sessions) as session:
        session.execute(text("UPDATE report SET state = :state"), {"state": state})


def post(visitor: Visitor, path: str, page: str, **fields: str) -> Any:
    return visitor.client.post(path, data=fields | {"csrf_token": visitor.token(page)})


def test_the_form_shows_what_was_said_and_not_where(visitor: Visitor, address: str) -> None:
    page = visitor.client.get(f"{address}/correct").text
    assert 'name="kind" value="sewage_outfall" checked' in page
    assert "王小明家门口" in page
    assert "114.305512" not in page
    assert "30.592834" not in page


def test_a_correction_is_taken_and_the_place_may_stay(
    visitor: Visitor, address: str, sessions: sessionmaker[Session]
) -> None:
    answer = post(visitor, f"{address}/correct", f"{address}/correct", kind="foam", note="", smell="2")
    assert (answer.status_code, answer.headers["Location"]) == (303, address)
    assert "已修改" in visitor.client.get(address).text
    statement = "SELECT kind, note, smell, version, ST_X(point), place_source FROM report"
    assert row(sessions, statement) == ("foam", None, 2, 2, 114.305512, "pin")


def test_how_one_gets_there_is_never_shown_stays_when_left_blank_and_may_be_said_anew(
    visitor: Visitor, address: str, sessions: sessionmaker[Session]
) -> None:
    page = f"{address}/correct"
    post(visitor, page, page, kind="foam", place_words="他家后门的涵洞")
    assert "后门" not in visitor.client.get(page).text
    post(visitor, page, page, kind="oil_slick", place_words="")
    assert row(sessions, "SELECT kind, place_words FROM report") == ("oil_slick", "他家后门的涵洞")
    assert "后门" not in post(visitor, page, page, kind="rain").text
    post(visitor, page, page, kind="oil_slick", place_words="桥下")
    assert row(sessions, "SELECT place_words FROM report") == ("桥下",)


def test_faults_are_shown_and_nothing_is_half_written(
    visitor: Visitor, address: str, sessions: sessionmaker[Session]
) -> None:
    answer = post(visitor, f"{address}/correct", f"{address}/correct", kind="rain", lon="114", lat="95", note="新")
    assert answer.status_code == 400
    assert "请从列表里选择问题的种类" in answer.text
    assert "纬度应在" in answer.text
    assert ">新</textarea>" in answer.text
    assert row(sessions, "SELECT kind, version FROM report") == ("sewage_outfall", 1)


def test_after_acceptance_the_page_says_kindly_that_it_is_too_late(
    visitor: Visitor, address: str, sessions: sessionmaker[Session]
) -> None:
    token = visitor.token(f"{address}/correct")
    judge(sessions)
    for answer in (
        visitor.client.get(f"{address}/correct"),
        visitor.client.post(f"{address}/correct", data={"kind": "foam", "csrf_token": token}),
    ):
        assert (answer.status_code, answer.headers["Location"]) == (303, address)
    assert "已经审核完毕，不能再修改" in visitor.client.get(address).text
    assert f"{address}/correct" not in visitor.client.get(address).text
    assert row(sessions, "SELECT kind FROM report") == ("sewage_outfall",)


def test_the_waters_nearby_are_named_without_their_distance(
    visitor: Visitor, address: str, sessions: sessionmaker[Session], settings: Settings
) -> None:
    with transaction(sessions) as session:
        river = add_river(session, "府河")
        (photo_id,) = session.execute(text("SELECT id FROM photo")).scalars()
        set_photo(session, photo_id, "ready")
        service.settle_photo(session, photo_id, settings=settings, now=utc_now())
    page = visitor.client.get(f"{address}/correct").text
    assert f'value="{river}"' in page
    assert "府河" in page
    assert not re.search(r"距|\d+ 米", page[page.index("<main") : page.index("<details")])


def test_programs_correct_by_patch(visitor: Visitor, address: str, sessions: sessionmaker[Session]) -> None:
    path = address.replace("/f/", "/api/v1/reports/")
    told = {"note": None, "ph": 7.25, "place": {"lon": LON, "lat": LAT, "datum": "gcj02", "place_confirmed": True}}
    answer = visitor.client.patch(path, json=told)
    assert (answer.status_code, answer.json["version"], answer.json["can_correct"]) == (200, 2, True)
    assert row(sessions, "SELECT kind, note, ph, input_datum FROM report") == ("sewage_outfall", None, 7.25, "gcj02")
    assert visitor.client.patch(path, json={}).json["version"] == 2
    assert visitor.client.patch(path, json={"kind": "rain"}).json["errors"] == {"kind": ["kind_unknown"]}
    other = path[:-1] + ("x" if path[-1] != "x" else "y")
    assert visitor.client.patch(other, json={"kind": "foam"}).status_code == 404
    judge(sessions)
    late = visitor.client.patch(path, json={"kind": "foam"})
    assert (late.status_code, late.json["code"]) == (409, "too_late_to_correct")


def test_a_contact_comes_with_the_report_and_is_kept_apart(visitor: Visitor, sessions: sessionmaker[Session]) -> None:
    told = {"contact_email": "wang@example.org", "contact_by_mail": "yes", "contact_phone": "027 8888 8888"}
    key = str(uuid.uuid4())
    first = visitor.send(idempotency_key=key, **told)
    assert visitor.send(idempotency_key=key, **told).headers["Location"] == first.headers["Location"]
    statement = "SELECT count(*), bool_and(has_email AND has_phone AND by_mail AND NOT may_ask) FROM report_contact"
    assert row(sessions, statement) == (1, True)
    assert row(sessions, "SELECT count(*) FROM outbox WHERE topic = 'contacts.given'") == (1,)
    page = visitor.client.get(first.headers["Location"]).text
    assert "已寄出确认信" in page
    assert "wang" not in page + visitor.client.get(first.headers["Location"] + "/contact").text


def test_a_bad_address_is_said_and_the_report_waits(visitor: Visitor, sessions: sessionmaker[Session]) -> None:
    answer = visitor.send(contact_email="wang@", contact_by_mail="yes", kind="rain")
    assert answer.status_code == 400
    assert "请填写正确的邮箱地址" in answer.text
    assert "请从列表里选择问题的种类" in answer.text
    assert row(sessions, "SELECT count(*) FROM report") == (0,)


def test_a_repeat_does_not_bring_back_what_its_author_erased(visitor: Visitor, sessions: sessionmaker[Session]) -> None:
    told = {"contact_email": "wang@example.org", "contact_by_mail": "yes", "idempotency_key": str(uuid.uuid4())}
    follow = visitor.send(**told).headers["Location"]
    assert post(visitor, f"{follow}/contact/erase", f"{follow}/contact").status_code == 303
    visitor.send(**told)
    assert row(sessions, "SELECT count(*) FROM report_contact") == (0,)


def test_who_may_ever_see_a_contact_is_said_before_it_is_left(visitor: Visitor, address: str) -> None:
    for page in ("/report", f"{address}/contact"):
        told = visitor.client.get(page).text
        assert "只有审核组长能看：你同意询问、有人有危险，或依法必须时" in told


def test_a_contact_is_left_later_and_erased(visitor: Visitor, address: str, sessions: sessionmaker[Session]) -> None:
    page = f"{address}/contact"
    assert post(visitor, page, page).status_code == 400
    assert post(visitor, page, page, contact_phone="13800138000", contact_may_ask="yes").status_code == 303
    assert "只在有疑问时用" in visitor.client.get(address).text
    assert post(visitor, f"{page}/erase", page).status_code == 303
    assert row(sessions, "SELECT count(*) FROM report_contact") == (0,)
    token = visitor.token(page)
    judge(sessions, "withdrawn")
    late = visitor.client.post(page, data={"csrf_token": token, "contact_phone": "13800138000", "contact_may_ask": "1"})
    assert late.status_code == 409


def test_programs_leave_and_erase_a_contact(visitor: Visitor, address: str, sessions: sessionmaker[Session]) -> None:
    path = address.replace("/f/", "/api/v1/reports/") + "/contact"
    assert visitor.client.put(path, json={"email": "wang@example.org"}).status_code == 204
    assert row(sessions, "SELECT by_mail, may_ask FROM report_contact") == (True, False)
    bad = visitor.client.put(path, json={"email": "wang"})
    assert (bad.status_code, bad.json["errors"]) == (400, {"contact_email": ["contact_email_malformed"]})
    assert [visitor.client.delete(path).status_code for _twice in range(2)] == [204, 204]
    assert row(sessions, "SELECT count(*) FROM report_contact") == (0,)


@pytest.fixture
def stop_token(visitor: Visitor, address: str, sessions: sessionmaker[Session], settings: Settings) -> str:
    """The token a mail about this report carries."""
    page = f"{address}/contact"
    post(visitor, page, page, contact_email="wang@example.org", contact_by_mail="yes")
    with transaction(sessions) as session:
        (report_id,) = session.execute(text("SELECT id FROM report")).scalars()
        state = contacts.state_of(session, report_id)
    assert state is not None
    return letters.stop_link(settings, state.contact_id, state.created_at)


def test_opening_a_link_changes_nothing_and_its_button_does(
    visitor: Visitor, stop_token: str, sessions: sessionmaker[Session]
) -> None:
    page = f"/n/stop/{stop_token}"
    assert visitor.client.get(f"/api/v1/unsubscribe/{stop_token}").headers["Location"] == page
    assert visitor.client.get(page).status_code == 200
    assert row(sessions, "SELECT count(*) FROM report_contact") == (1,)
    assert "不会再寄" in post(visitor, page, page).text
    assert row(sessions, "SELECT count(*) FROM report_contact") == (0,)


def test_a_mail_program_unsubscribes_at_one_click(
    visitor: Visitor, stop_token: str, sessions: sessionmaker[Session]
) -> None:
    path, body = f"/api/v1/unsubscribe/{stop_token}", {"List-Unsubscribe": "One-Click"}
    assert [visitor.client.post(path, data=body).status_code for _twice in range(2)] == [204, 204]
    assert row(sessions, "SELECT count(*) FROM report_contact") == (0,)
    assert visitor.client.post(path + "x", data=body).status_code == 404


def test_where_no_push_is_offered_asking_for_it_is_answered_so(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str
) -> None:
    settings = make_settings(database_url=database_url, redis_url=redis_url, push_hosts="")
    with running(settings) as app:
        visitor = Visitor(app.test_client())
        address = str(visitor.send().headers["Location"])
        assert "data-push-key" not in visitor.client.get(address).text
        answer = post(visitor, f"{address}/push", address, endpoint="https://fcm.googleapis.com/abc")
        assert (answer.status_code, "没有开通手机提醒" in answer.text) == (409, True)


def test_a_browser_is_added_only_with_a_listed_service(
    visitor: Visitor, address: str, sessions: sessionmaker[Session], settings: Settings
) -> None:
    made = Browser().subscription("https://fcm.googleapis.com/fcm/send/abc", settings)
    keys = {"p256dh": made.p256dh, "auth": made.auth}
    assert f'data-push-key="{made.vapid}"' in visitor.client.get(address).text
    for fields in (
        keys | {"endpoint": "https://192.168.1.1/abc"},
        {"endpoint": made.endpoint, "p256dh": "AAAA", "auth": made.auth},
        {},
    ):
        post(visitor, f"{address}/push", address, **fields)
        assert "没有加上" in visitor.client.get(address).text
    assert row(sessions, "SELECT count(*) FROM push_subscription") == (0,)
    post(visitor, f"{address}/push", address, **keys, endpoint=made.endpoint)
    assert "在这台设备上提醒你" in visitor.client.get(address).text
    assert row(sessions, "SELECT count(*) FROM push_subscription") == (1,)
    post(visitor, f"{address}/push/stop", address)
    assert row(sessions, "SELECT count(*) FROM push_subscription") == (0,)
    post(visitor, f"{address}/withdraw", address)
    post(visitor, f"{address}/push", "/report", **keys, endpoint=made.endpoint)
    assert "没有加上" in visitor.client.get(address).text
    assert row(sessions, "SELECT count(*) FROM push_subscription") == (0,)
