"""The channels beside mail, each with a peer that keeps the rules and peers that do not."""

import io
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cap_tools.models import Alert as ReadAlert
from PIL import Image
from pypdf import PdfReader
from standardwebhooks import Webhook
from xsdata.formats.dataclass.parsers import XmlParser

from tests.escalation.letters import ANSWER_URL, AT, DELIVERY_ID, FACTS, contact, letter, webhook_contact
from tests.messaging.city import API_KEY, City
from tests.messaging.peers import HttpPeer, Request, Script, drops, hangs, http_peer, says, sends
from tests.messaging.servers import closed_port
from waterwatch.agencies.rules import Open311Settings, PostSettings, WebhookSettings
from waterwatch.alerts.rules import cap_xml
from waterwatch.escalation.channels import Awaiting, Contact, Failed, Handed, Pictures, Wire
from waterwatch.escalation.channels.cap_feed import CapFeedChannel, alert_of
from waterwatch.escalation.channels.http import KEPT, client_of, endpoint_of
from waterwatch.escalation.channels.open311 import Open311Channel
from waterwatch.escalation.channels.post import PostChannel, print_letter
from waterwatch.escalation.channels.webhook import WebhookChannel, content_of
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.smtp import Outlet


def picture(form: str) -> bytes:
    drawn = io.BytesIO()
    Image.new("RGB", (320, 240), "#6a7f53").save(drawn, form)
    return drawn.getvalue()


JPEG, PNG = picture("JPEG"), picture("PNG")
SERVICES = {"sewage_outfall": "water", "other": "other"}


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(public_url="https://waters.example.org", channel_timeout_s=10.0)


@pytest.fixture
def wire(settings: Settings) -> Wire:
    return Wire(settings, Outlet(settings.smtp_url, timeout_s=10.0))


def to(wire: Wire, peer: HttpPeer, **settings: Any) -> Wire:
    """The same wire, as an operator sets it who allows this peer."""
    allowed = wire.settings.model_copy(update={"webhook_allow": f"127.0.0.1:{peer.port}"} | settings)
    return Wire(allowed, wire.mail)


def city_contact(peer: HttpPeer, **changes: object) -> Contact:
    settings = Open311Settings(
        "city.example",
        SERVICES,
        "xml",
        {"WHERE": "桥下", "SIZE": "big"},
        **changes,  # type: ignore[arg-type]
    )
    return contact("open311", f"{peer.url}/v2", settings, secret=API_KEY.encode())


# --- webhook


def test_a_webhook_gets_the_case_signed_and_nothing_of_the_citizen(wire: Wire) -> None:
    secret = "whsec_c2VjcmV0IG9mIHRoaXJ0eS10d28gYnl0ZXMgISE="  # a test's
    with http_peer(says(status="202 Accepted")) as peer:
        outcome = WebhookChannel().hand_over(letter(webhook_contact(peer.url, secret)), to(wire, peer))
    assert outcome == Handed()
    (request,) = peer.heard
    told = Webhook(secret).verify(request.body, request.headers)
    assert request.headers["webhook-id"] == str(DELIVERY_ID)
    assert told == {
        "type": "case.forwarded",
        "timestamp": "2026-05-20T02:30:00+00:00",
        "data": {
            "delivery": str(DELIVERY_ID),
            "case": {
                "id": str(FACTS.case_id),
                "incident": "7KMQ-2T9X",
                "page": "https://waters.example.org/i/7KMQ-2T9X",
                "reply_by": "2026-05-21T02:30:00+00:00",
                "answer_url": ANSWER_URL,
            },
            "observation": {
                "kind": "sewage_outfall",
                "kind_words": "污水直排",
                "severity": 3,
                "colour": "orange",
                "severity_words": "橙色·重大",
                "severity_is": "public_observation",
                "severity_before": None,
                "first_reported_at": "2026-05-20T00:30:00+00:00",
                "reports": 2,
                "extent": "under_100_m",
                "is_ongoing": True,
                "has_dead_animals": None,
                "affects_people": False,
            },
            "place": {
                "water": "长江",
                "wgs84": {"lon": 114.3055, "lat": 30.5928},
                "gcj02": {"lon": 114.310945, "lat": 30.590391},
            },
            "pictures": {"photo": f"{ANSWER_URL}/photo.jpg", "map": f"{ANSWER_URL}/map.png"},
        },
    }


@pytest.mark.parametrize(
    ("says_what", "raised_from", "event"),
    [
        ("case", None, "case.forwarded"),
        ("case", 2, "case.raised"),
        ("lowered", None, "case.lowered"),
        ("reminder", None, "case.reminder"),
        ("overdue", None, "case.overdue"),
        ("reopened", None, "case.reopened"),
        ("withdrawn", None, "case.withdrawn"),
        ("warning_over", None, "case.warning_over"),
    ],
)
def test_each_word_has_its_event(says_what: str, raised_from: int | None, event: str) -> None:
    told = content_of(letter(webhook_contact("https://x.example/"), says=says_what, raised_from=raised_from))
    assert told["type"] == event
    schema = json.loads((Path(__file__).parents[2] / "docs" / "case-event.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(told)
    told_of = schema["properties"]["data"]["properties"]
    for name, part in told["data"].items():
        assert set(part) <= set(told_of[name].get("properties", part)) if isinstance(part, dict) else name in told_of


def test_of_a_withdrawn_case_nothing_is_told_but_which() -> None:
    told = json.dumps(content_of(letter(webhook_contact("https://x.example/"), says="withdrawn")))
    for detail in ("114.3", "30.59", "photo", "answer", "sewage"):
        assert detail not in told


def test_who_wants_no_pictures_gets_no_links_of_them() -> None:
    told = content_of(letter(webhook_contact("https://x.example/", settings=WebhookSettings(takes_pictures=False))))
    assert told["data"]["pictures"] == {}


def test_a_webhook_without_a_secret_is_never_posted(wire: Wire) -> None:
    with http_peer(says()) as peer:
        outcome = WebhookChannel().hand_over(letter(contact("webhook", peer.url)), to(wire, peer))
    assert isinstance(outcome, Failed)
    assert (outcome.failure.code, outcome.failure.is_permanent) == ("secret_missing", True)
    assert peer.heard == []


def test_an_address_inside_is_refused_for_good_unless_the_operator_allows_it(wire: Wire) -> None:
    with http_peer(says()) as peer:
        outcome = WebhookChannel().hand_over(letter(webhook_contact(peer.url)), wire)
    assert isinstance(outcome, Failed)
    assert outcome.failure.is_permanent
    assert peer.heard == []
    metadata = WebhookChannel().hand_over(letter(webhook_contact("https://169.254.169.254/latest/")), wire)
    assert isinstance(metadata, Failed)
    assert metadata.failure.code == "address_not_public"


@pytest.mark.parametrize(
    ("script", "code", "is_permanent", "retry_after_s"),
    [
        (says(status="410 Gone"), "http_410", True, None),
        (says(status="503 Busy", headers="Retry-After: 40\r\n"), "http_503", False, 40.0),
        (hangs, "timeout", False, None),
        (drops, "broken_off", False, None),
        (sends(b"\x00\x01\x02"), "broken_off", False, None),
    ],
)
def test_a_webhooks_failures_say_when_to_come_again(
    wire: Wire, script: Script, code: str, is_permanent: bool, retry_after_s: float | None
) -> None:
    with http_peer(script) as peer:
        patience_s = 1.0 if code == "timeout" else 10.0
        outcome = WebhookChannel().hand_over(
            letter(webhook_contact(peer.url)), to(wire, peer, channel_timeout_s=patience_s)
        )
    assert isinstance(outcome, Failed)
    failure = outcome.failure
    assert (failure.code, failure.is_permanent, failure.retry_after_s) == (code, is_permanent, retry_after_s)


def test_endpoints_name_the_server_and_no_secret() -> None:
    assert endpoint_of("https://Hooks.example.org/in?token=abc") == "https://hooks.example.org:443"
    assert endpoint_of("http://hooks.example.org:8080/x") == "http://hooks.example.org:8080"
    assert endpoint_of("nonsense") == "https://?"
    assert CapFeedChannel().endpoint(contact("cap_feed", "x"), None) == "cap_feed"  # type: ignore[arg-type]
    assert PostChannel().endpoint(contact("post", "x"), None) == "post"  # type: ignore[arg-type]


def test_the_client_is_kept_in_the_wire(wire: Wire) -> None:
    assert client_of(wire) is client_of(wire)
    assert KEPT in wire.kept


# --- Open311


def test_a_city_gets_a_request_with_the_public_point_and_nothing_that_opens_the_case(wire: Wire) -> None:
    city = City()
    with http_peer(city) as peer:
        outcome = Open311Channel().hand_over(letter(city_contact(peer)), to(wire, peer))
    assert outcome == Handed("C-0")
    (kept,) = city.requests
    assert (kept["lat"], kept["long"]) == ("30.588880", "114.311110")
    assert kept["account_id"] == str(DELIVERY_ID)
    assert kept["attribute[SIZE]"] == "big"
    assert kept["description"].splitlines() == [
        "公众在贵单位负责的水域发现一处污染问题，已经审核员核实，现转请处理。",
        "等级：橙色·重大（公众观察等级，不是政府预警）",
        "类型：污水直排",
        "水体：长江",
        "范围：不到 100 米",
        "正在发生：是",
        "请在 2026-05-21 10:30（北京时间）之前确认收到。",
        "事件编号：7KMQ-2T9X",
        "公开的事件页面：https://waters.example.org/i/7KMQ-2T9X",
        f"转送编号：{DELIVERY_ID}",
    ]
    assert kept["media_url"].startswith("https://waters.example.org/case-photo/")
    everything = json.dumps(kept)
    for secret in (ANSWER_URL.rpartition("/")[2], "114.3055", "30.5928"):
        assert secret not in everything


def test_a_city_that_publishes_nothing_may_have_the_exact_place(wire: Wire) -> None:
    city = City()
    with http_peer(city) as peer:
        Open311Channel().hand_over(letter(city_contact(peer, is_private=True)), to(wire, peer))
    assert (city.requests[0]["lat"], city.requests[0]["long"]) == ("30.592800", "114.305500")


def test_a_token_is_awaited(wire: Wire) -> None:
    with http_peer(City(gives_tokens=True)) as peer:
        outcome = Open311Channel().hand_over(letter(city_contact(peer)), to(wire, peer))
    assert outcome == Awaiting("remote_id", "t-0", 72 * 3600.0)


def test_an_answer_that_was_lost_does_not_make_a_second_request(wire: Wire) -> None:
    city = City(drops_answers=1)
    with http_peer(city) as peer:
        first = Open311Channel().hand_over(letter(city_contact(peer)), to(wire, peer))
        assert isinstance(first, Failed)
        assert not first.failure.is_permanent
        assert Open311Channel().hand_over(letter(city_contact(peer), attempt=2), to(wire, peer)) == Handed("C-0")
    assert len(city.requests) == 1


def test_where_a_city_lists_nothing_the_second_request_bears_the_same_id(wire: Wire) -> None:
    city = City(drops_answers=1, lists=False)
    with http_peer(city) as peer:
        Open311Channel().hand_over(letter(city_contact(peer)), to(wire, peer))
        assert Open311Channel().hand_over(letter(city_contact(peer), attempt=2), to(wire, peer)) == Handed("C-1")
    assert {one["account_id"] for one in city.requests} == {str(DELIVERY_ID)}
    assert len({one["description"] for one in city.requests}) == 1


def test_a_kind_without_a_service_is_for_a_person(wire: Wire) -> None:
    with http_peer(City()) as peer:
        of_nothing = replace(city_contact(peer), settings=Open311Settings("city.example", {"oil_slick": "water"}))
        outcome = Open311Channel().hand_over(letter(of_nothing), to(wire, peer))
    assert isinstance(outcome, Failed)
    assert (outcome.failure.code, outcome.failure.is_permanent) == ("service_unmapped", True)


def test_a_question_nobody_here_can_answer_is_for_a_person_and_words_are_found_for_others(wire: Wire) -> None:
    city = City()
    with http_peer(city) as peer:
        plain = Open311Settings("city.example", SERVICES, "json", {"SIZE": "huge"})
        outcome = Open311Channel().hand_over(letter(replace(city_contact(peer), settings=plain)), to(wire, peer))
        assert isinstance(outcome, Failed)
        assert (outcome.failure.code, outcome.failure.is_permanent) == ("attribute_missing", True)
        worded = Open311Settings("city.example", SERVICES, "json", {"SIZE": "small"})
        assert Open311Channel().hand_over(
            letter(replace(city_contact(peer), settings=worded)), to(wire, peer)
        ) == Handed("C-0")
    assert city.requests[0]["attribute[WHERE]"] == "污水直排"


def test_all_requests_of_one_letter_together_are_bounded(wire: Wire) -> None:
    city = City()

    def slowly(request: Request, line: socket.socket, is_over: threading.Event) -> None:
        is_over.wait(0.7)
        city(request, line, is_over)

    with http_peer(slowly) as peer:
        outcome = Open311Channel().hand_over(
            letter(city_contact(peer), attempt=2), to(wire, peer, channel_timeout_s=1.0)
        )
    assert isinstance(outcome, Failed)
    assert outcome.failure.code == "timeout"  # none of them alone takes as long
    assert outcome.failure.is_deferred


def test_the_questions_of_a_service_are_asked_once(wire: Wire) -> None:
    with http_peer(City()) as peer:
        kept = to(wire, peer)
        for _ in range(3):
            Open311Channel().hand_over(letter(city_contact(peer)), kept)
    assert [request.method for request in peer.heard] == ["GET", "POST", "POST", "POST"]


def test_nobody_at_home_is_tried_again(wire: Wire) -> None:
    port = closed_port()
    allowed = wire.settings.model_copy(update={"webhook_allow": "127.0.0.1"})
    away = contact("open311", f"http://127.0.0.1:{port}/v2", Open311Settings(None, SERVICES))
    outcome = Open311Channel().hand_over(letter(away), Wire(allowed, wire.mail))
    assert isinstance(outcome, Failed)
    assert (outcome.failure.code, outcome.failure.is_deferred) == ("unreachable", True)


# --- feed and paper


def test_a_feeds_letter_waits_to_be_fetched_and_paper_to_be_posted(wire: Wire) -> None:
    assert CapFeedChannel().hand_over(letter(contact("cap_feed", "值班室")), wire) == Awaiting("fetch")
    assert PostChannel().hand_over(letter(contact("post", "某路 1 号")), wire) == Awaiting("posting", None, 259200.0)


def test_an_agencys_alert_holds_the_exact_place_for_it_alone(settings: Settings) -> None:
    alert = alert_of(letter(contact("cap_feed", "值班室")), settings)
    found = XmlParser().from_bytes(cap_xml(alert), ReadAlert)
    assert (found.identifier, found.sender, found.msg_type.value) == (str(DELIVERY_ID), "waters.example.org", "Alert")
    assert (found.scope.value, found.addresses_to_list()) == ("Private", [str(FACTS.agency_id)])
    (info,) = found.infos
    assert info.areas[0].circles == ["30.5928,114.3055 0"]
    assert (info.severity.value, info.headline) == ("Severe", "长江：污水直排（橙色·重大）")
    assert info.expires is not None
    assert info.expires.to_datetime() == AT + timedelta(days=7)
    assert ANSWER_URL in (info.instruction or "")


def test_later_letters_update_the_alert_and_a_withdrawal_cancels_it(settings: Settings) -> None:
    earlier = (("01900000-0000-7000-8000-000000000000", AT - timedelta(hours=1)),)
    raised = alert_of(letter(contact("cap_feed", "x"), raised_from=2), settings, earlier=earlier)
    withdrawn = alert_of(letter(contact("cap_feed", "x"), says="withdrawn"), settings, earlier=earlier)
    for alert, kind in ((raised, "Update"), (withdrawn, "Cancel")):
        found = XmlParser().from_bytes(cap_xml(alert), ReadAlert)
        assert found.msg_type.value == kind
        (reference,) = found.references_to_list()
        assert reference.identifier == earlier[0][0]
    assert withdrawn.infos == ()
    assert "上调为" in (raised.note or "")


def paper(**changes: object) -> PdfReader:
    made = letter(
        contact("post", "武汉市江岸区发展大道 422 号", PostSettings("武汉市生态环境局江岸区分局")),
        pictures=Pictures(JPEG, PNG),
    )
    return PdfReader(io.BytesIO(print_letter(replace(made, **changes))))  # type: ignore[arg-type]


def test_a_letter_on_paper_says_all_that_is_to_be_known_on_one_page() -> None:
    found = paper()
    (page,) = found.pages
    words = page.extract_text()
    for wanted in (
        *("关于长江污水直排的函", "武汉市生态环境局江岸区分局：", "武汉市江岸区发展大道 422 号", "7KMQ-2T9X"),
        *(
            "2026 年 5 月 20 日",
            "2026-05-21 10:30（北京时间）",
            "橙色·重大",
            "公众观察等级，不是政府预警",
            "不到 100 米",
        ),
        *("北纬 30.592800，东经 114.305500", "北纬 30.590391，东经 114.310945", "本函不含上报人的任何信息"),
    ):
        assert wanted in words.replace("上报人\n的", "上报人的")
    assert ANSWER_URL in words.replace("\n", "")
    assert len(page.images) == 2
    assert dict(found.metadata or {}) == {"/Title": "关于长江污水直排的函"}
    assert "/Annots" not in page
    assert "/Names" not in found.trailer["/Root"]


def test_a_letter_is_the_same_each_time_it_is_printed() -> None:
    made = letter(contact("post", "某路 1 号", PostSettings()), pictures=Pictures(JPEG, PNG))
    assert print_letter(made) == print_letter(made)


def test_a_withdrawal_on_paper_has_neither_place_nor_picture_nor_link() -> None:
    found = paper(says="withdrawn")
    words = "".join(page.extract_text() for page in found.pages).replace("\n", "")
    assert "已撤回，请不必再处理" in words
    assert "114.3" not in words
    assert ANSWER_URL not in words
    assert all(not page.images for page in found.pages)


def test_words_of_a_survey_are_words_and_no_markup() -> None:
    hostile = replace(FACTS, water_name='<img src="http://127.0.0.1:9/x"><script>x</script>', agency_name="<b>局</b>")
    (page, *_) = paper(facts=hostile, contact=contact("post", "某路", PostSettings())).pages
    assert '<img src="http://127.0.0.1:9/x">' in page.extract_text().replace("\n", "")
