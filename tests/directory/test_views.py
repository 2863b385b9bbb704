"""The administrator at work: a rule previewed and put in force, an agency kept up, a test letter, the report."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import add_agency, add_incident
from tests.web.site import Visitor
from waterwatch.escalation import deliveries, service
from waterwatch.escalation.tables import Delivery
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.attempts import Failure

RULE = {"area": "武汉市", "agency_kind": "agriculture", "observation_kind": "foam", "is_competent": "yes"}


def one(sessions: sessionmaker[Session], statement: str, **values: Any) -> Any:
    """The one row of a question."""
    with transaction(sessions) as session:
        return session.execute(text(statement), values).one()


def test_a_rule_is_shown_with_its_effects_then_put_in_force_then_taken_back(
    admin: Visitor, sessions: sessionmaker[Session]
) -> None:
    shown = admin.post("/admin/rules/preview", RULE | {"min_severity": "3"}, page="/admin/rules")
    assert shown.status_code == 200
    assert "武汉市农业农村局" in shown.text
    assert "新增负责" in shown.text
    count = "SELECT count(*) FROM competence_rule WHERE observation_kind = 'foam' AND retired_at IS NULL"
    assert one(sessions, count)[0] == 0
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', shown.text))
    assert hidden["area"] == "420100"
    done = admin.post("/admin/rules", hidden, page="/admin/rules")
    assert (done.status_code, done.location) == (303, "/admin/rules")
    assert one(sessions, count)[0] == 1
    page = admin.get("/admin/rules").text
    rule_id = one(sessions, "SELECT id FROM competence_rule WHERE observation_kind = 'foam'").id
    assert f"rule-{rule_id}" in page
    removal = admin.post(f"/admin/rules/{rule_id}/preview", page="/admin/rules")
    assert "不再负责" in removal.text
    assert admin.post(f"/admin/rules/{rule_id}/remove", page="/admin/rules").status_code == 303
    assert one(sessions, count)[0] == 0
    assert f"/admin/rules/{rule_id}/restore" in admin.get("/admin/rules").text
    assert admin.post(f"/admin/rules/{rule_id}/restore", page="/admin/rules").status_code == 303
    assert one(sessions, count)[0] == 1


def test_every_fault_of_a_rule_is_said_at_once_and_namesakes_are_offered(admin: Visitor) -> None:
    wrong = {"area": "没有这里", "agency_kind": "", "is_competent": "perhaps", "min_severity": "9"}
    answer = admin.post("/admin/rules/preview", wrong, page="/admin/rules")
    assert answer.status_code == 400
    assert answer.text.count('class="field-error"') == 4
    twins = admin.post("/admin/rules/preview", RULE | {"area": "朝阳区"}, page="/admin/rules")
    assert twins.status_code == 400
    assert {"110105", "220104"} <= set(re.findall(r'<span class="code">(\d{6})</span>', twins.text))


def test_the_box_answers_for_a_click_for_coordinates_of_other_maps_and_for_a_name(admin: Visitor) -> None:
    page = admin.get("/admin/who?lon=114.288&lat=30.549&kind=sewage_outfall&severity=2").text
    for code in ("wuchang-water", "wuhan-05-water", "wuhan-06-ecology", "wuhan-05-ecology"):
        assert f'id="told-{code}"' in page
    assert "两岸的部门都会收到" in page
    assert "wuchang-water@agency.example" in page
    shifted = admin.get("/admin/who?lon=114.2935&lat=30.5466&datum=gcj02&kind=sewage_outfall&severity=2").text
    assert 'id="told-wuchang-water"' in shifted
    assert "114.288" in shifted  # what it is in WGS-84
    named = admin.get("/admin/who?q=东湖&kind=foam&severity=1").text
    assert re.search(r'href="/admin/who\?lon=114\.\d+&amp;lat=30\.\d+&amp;kind=foam&amp;severity=1', named)


def test_the_box_says_why_nobody(admin: Visitor, sessions: sessionmaker[Session]) -> None:
    sea = admin.get("/admin/who?lon=135&lat=30").text
    assert "不在任何行政区里" in sea
    assert "没有登记部门" in admin.get("/admin/who?lon=114.17&lat=22.3").text
    with transaction(sessions) as session:
        session.execute(text("UPDATE agency_contact SET active = false"))
    assert "没有一个留下联系方式" in admin.get("/admin/who?lon=114.36&lat=30.42").text
    never = {"agency_kind": "ecology_environment", "is_competent": "no", "observation_kind": "foam"}
    admin.post("/admin/rules", never, page="/admin/rules")
    nobody = admin.get("/admin/who?lon=114.36&lat=30.42&kind=foam&severity=4").text
    assert "规则规定不负责" in nobody
    assert "登记的部门都不负责" in nobody


def test_the_box_refuses_what_is_no_place(admin: Visitor) -> None:
    answer = admin.get("/admin/who?lon=200&lat=x&kind=dragon")
    assert answer.status_code == 400
    assert answer.text.count('class="field-error"') == 2


def test_an_agency_is_added_changed_retired_and_found(admin: Visitor, sessions: sessionmaker[Session]) -> None:
    fields = {"code": "wuchang-sea", "name": "武昌海事处", "kind": "maritime", "area": "420106", "digest_upto": "2"}
    made = admin.post("/admin/agencies", fields, page="/admin/agencies/new")
    assert made.status_code == 303
    page = admin.get(made.location).text
    assert "没有在用的联系方式" in page
    changed = fields | {"name": "武汉海事局武昌海事处", "digest_at": "08:30", "channels_in": "order"}
    assert admin.post(made.location, changed, page=made.location).status_code == 303
    row = one(sessions, "SELECT * FROM agency WHERE code = 'wuchang-sea'")
    assert (row.channels_in, row.digest_upto, row.digest_at.isoformat()) == ("order", 2, "08:30:00")
    assert "武汉海事局武昌海事处" in admin.get("/admin/agencies?q=海事").text
    assert admin.post(f"{made.location}/retire", page=made.location).status_code == 303
    assert "武汉海事局" not in admin.get("/admin/agencies?q=海事").text
    assert "武汉海事局" in admin.get("/admin/agencies?q=海事&retired=yes").text
    wrong = admin.post("/admin/agencies", {"code": "X", "area": "没有"}, page="/admin/agencies/new")
    assert wrong.status_code == 400
    assert wrong.text.count('class="field-error"') == 4


@pytest.mark.parametrize("upto", ["9", "-1", "many", "１", "1e1"])
def test_letters_that_wait_up_to_no_severity_there_is_are_a_fault_of_the_form(admin: Visitor, upto: str) -> None:
    fields = {"code": "wuchang-sea", "name": "武昌海事处", "kind": "maritime", "area": "420106", "digest_upto": upto}
    wrong = admin.post("/admin/agencies", fields, page="/admin/agencies/new")
    assert (wrong.status_code, wrong.text.count('class="field-error"')) == (400, 1)


def test_a_webhooks_secret_is_on_one_answer_only(
    admin: Visitor, wuchang_water: uuid.UUID, sessions: sessionmaker[Session]
) -> None:
    page = f"/admin/agencies/{wuchang_water}"
    fields = {"channel": "webhook", "address": "https://water.example/hook", "takes_pictures": "yes"}
    answer = admin.post(f"{page}/contacts", fields, page=page)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    secret = re.search(r'id="secret">(whsec_[^<]+)<', answer.text)
    assert secret is not None
    assert secret[1] not in admin.get(page).text
    contact_id = one(sessions, "SELECT id FROM agency_contact WHERE channel = 'webhook'").id
    rotated = admin.post(f"/admin/contacts/{contact_id}/rotate", page=page)
    assert "whsec_" in rotated.text
    assert secret[1] not in rotated.text
    wrong = admin.post(f"{page}/contacts", fields | {"address": "hook"}, page=page)
    assert wrong.status_code == 400
    assert "https://" in wrong.text
    change = f"/admin/contacts/{contact_id}"
    assert admin.post(change, fields | {"address": "https://water.example/other"}, page=page).status_code == 303
    moved = admin.post(change, fields | {"address": "https://hooks.example/"}, page=page)
    assert (moved.status_code, moved.headers["Cache-Control"]) == (200, "no-store")
    assert re.search(r'id="secret">(whsec_[^<]+)<', moved.text) is not None


def test_a_feeds_address_is_shown_once_and_opens_the_feed(
    admin: Visitor, wuchang_water: uuid.UUID, sessions: sessionmaker[Session]
) -> None:
    page = f"/admin/agencies/{wuchang_water}"
    shown = admin.post(f"{page}/contacts", {"channel": "cap_feed", "address": "水务热线"}, page=page)
    first = re.search(r'id="secret">http://localhost(/feeds/agency/[^<]+\.xml)<', shown.text)
    assert first is not None
    assert admin.get(first[1]).status_code == 200
    with transaction(sessions) as session:  # an hour later
        session.execute(text("UPDATE agency_contact SET secret_rotated_at = secret_rotated_at - interval '1 hour'"))
    contact_id = one(sessions, "SELECT id FROM agency_contact WHERE channel = 'cap_feed'").id
    rotated = admin.post(f"/admin/contacts/{contact_id}/rotate", page=page)
    second = re.search(r'id="secret">http://localhost(/feeds/agency/[^<]+\.xml)<', rotated.text)
    assert second is not None
    assert admin.get(second[1]).status_code == 200
    assert admin.get("/feeds/agency/nonsense.xml").status_code == 404


def test_an_open311_contact_takes_its_services_and_never_shows_its_key(
    admin: Visitor, wuchang_water: uuid.UUID, sessions: sessionmaker[Session]
) -> None:
    page = f"/admin/agencies/{wuchang_water}"
    fields = {
        "channel": "open311",
        "address": "https://city.example/open311/v2",
        "api_key": "a-key-nobody-sees",
        "services": "foam=12\nother = 99",
        "form": "xml",
        "jurisdiction_id": "wuhan.cn",
    }
    assert admin.post(f"{page}/contacts", fields, page=page).status_code == 303
    row = one(sessions, "SELECT settings FROM agency_contact WHERE channel = 'open311'")
    assert row.settings == {"form": "xml", "jurisdiction_id": "wuhan.cn", "services": {"foam": "12", "other": "99"}}
    shown = admin.get(page).text
    assert "a-key-nobody-sees" not in shown
    assert "foam=12" in shown
    assert admin.post(f"{page}/contacts", fields | {"services": "dragon=1"}, page=page).status_code == 400
    contact_id = one(sessions, "SELECT id FROM agency_contact WHERE channel = 'open311'").id
    elsewhere = fields | {"address": "https://town.example/v2", "api_key": ""}
    refused = admin.post(f"/admin/contacts/{contact_id}", elsewhere, page=page)
    assert refused.status_code == 400
    assert "原来的不会交给它" in refused.text
    assert admin.post(f"/admin/contacts/{contact_id}", elsewhere | {"api_key": "its-own"}, page=page).status_code == 303


def test_a_test_letter_is_marked_as_one_and_goes_once_a_minute(
    admin: Visitor, wuchang_water: uuid.UUID, sessions: sessionmaker[Session]
) -> None:
    page = f"/admin/agencies/{wuchang_water}"
    contact_id = one(sessions, "SELECT id FROM agency_contact WHERE address = 'wuchang-water@agency.example'").id
    for _again in range(2):
        assert admin.post(f"/admin/contacts/{contact_id}/test", page=page).status_code == 303
    row = one(
        sessions, "SELECT count(*) AS n, count(DISTINCT once_key) AS keys FROM posting WHERE kind = 'agency.trial'"
    )
    assert row.n == row.keys  # a minute may have begun between the two
    assert row.n <= 2
    assert one(sessions, "SELECT count(*) FROM audit_entry WHERE action = 'contact.tried'")[0] == row.n


def test_a_test_letter_says_so_and_in_staging_goes_to_ourselves(
    sessions: sessionmaker[Session], settings: Settings
) -> None:
    from waterwatch.directory import trial
    from waterwatch.kernel.audit import Actor
    from waterwatch.kernel.clock import utc_now
    from waterwatch.postbox import service as postbox

    contact_id = one(sessions, "SELECT id FROM agency_contact WHERE address = 'wuchang-water@agency.example'").id
    staging = settings.model_copy(update={"staging_mail": "us@example.org"})
    with transaction(sessions) as session:
        trial.send(session, contact_id, settings=staging, actor=Actor.system("tests"), now=utc_now())
    with transaction(sessions) as session:
        posting_id = session.execute(text("SELECT id FROM posting WHERE kind = 'agency.trial'")).scalar_one()
        held = postbox.claim(session, posting_id, settings=settings, now=utc_now())
    assert held is not None
    assert held.content["address"] == "us@example.org"
    assert held.content["subject"].startswith("【测试】")
    for part in ("text", "html"):
        assert "没有发生任何事件" in held.content[part]
        assert "wuchang-water@agency.example" in held.content[part]
        assert "武汉市武昌区水务和湖泊局" in held.content[part]


def test_the_report_shows_the_country_then_a_province_and_is_a_sheet(admin: Visitor) -> None:
    country = admin.get("/admin/coverage").text
    assert 'href="/admin/coverage?in=42"' in country
    province = admin.get("/admin/coverage?in=81").text
    assert "没有人" in province
    for page in (country, province):  # as cards on a phone, every number says what it is of
        (table,) = re.findall(r'<table class="table table-cards cover-table">.*?</table>', page, re.S)
        assert len(re.findall(r"<td", table)) == len(re.findall(r'<td [^>]*data-label="[^"]+"', table)) > 0
    sheet = admin.get("/admin/coverage.csv")
    assert sheet.mimetype == "text/csv"
    lines = sheet.text.splitlines()
    assert lines[0].startswith("\ufeffcode,county,above,black_odorous")
    assert any(line.startswith("420106,武昌区,武汉市 湖北省,1,1") for line in lines)
    assert len(lines) > 2800


def test_a_contact_whose_mailbox_does_not_answer_says_so_and_why(
    admin: Visitor, sessions: sessionmaker[Session], settings: Settings
) -> None:
    now = utc_now()
    with transaction(sessions) as session:
        agency_id = add_agency(session, "没人收信的局", ["full@x.example", "gone@x.example"])
        incident_id = add_incident(session, now=now)
        by: dict[str, Any] = {"settings": settings, "now": now}
        case = service.open_case(session, incident_id, agency_id, 2, actor=Actor.system("tests"), **by)
        assert service.queue_letter(session, case, says="case", **by) == 2
        for letter in session.query(Delivery).filter_by(case_id=case.id):
            is_gone = letter.address.startswith("gone")
            claim = deliveries.claim_delivery(session, letter.id, **by)
            assert claim is not None
            failure = Failure("550" if is_gone else "452", is_permanent=is_gone, is_deferred=not is_gone)
            deliveries.record_failure(session, claim, failure, **by)
    page = admin.get(f"/admin/agencies/{agency_id}").text
    assert '最近 1 次没有接受，会再试。 <span class="code">452</span>' in page
    assert re.search(r'最近一封信没有送达（[^）]+）。地址可能已经失效，请核实。 <span class="code">550</span>', page)
    assert "暂停发送" not in page
    with transaction(sessions) as session:
        session.execute(
            text("UPDATE endpoint SET failures = 5, opened = 1, open_until = :until"),
            {"until": now + timedelta(hours=1)},
        )
    page = admin.get(f"/admin/agencies/{agency_id}").text
    assert page.count("暂停发送") == 1
    assert "连续 5 次没有接受" in page


def test_a_reader_of_english_is_told_what_kind_of_area_a_chinese_name_is_of(admin: Visitor) -> None:
    country = admin.get("/admin/coverage", headers={"Accept-Language": "en"}).text
    for name in ("湖北 Province", "内蒙古 Autonomous Region", "北京 City", "香港 Special Administrative Region"):
        assert f">{name}</a>" in country
    assert ">江岸 District</a>" in admin.get("/admin/coverage?in=42", headers={"Accept-Language": "en"}).text
