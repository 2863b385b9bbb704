"""Our Open311 client against a strict little server, and against servers with bad manners."""

import contextlib
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.messaging.city import API_KEY, City
from tests.messaging.peers import HttpPeer, Script, drops, hangs, http_peer, says, sends, trickles
from waterwatch.messaging import open311
from waterwatch.messaging.http import Answer
from waterwatch.messaging.open311 import Attribute, NewRequest, Refused, Server, Service, _parse

NOW = datetime(2026, 5, 20, 2, 30, tzinfo=UTC)
ACCOUNT = "01900000-0000-7000-8000-000000000001"
Form = Literal["xml", "json"]
NEW = NewRequest(
    "water", 114.3055, 30.5928, f"污水直排 & <臭>\n转送编号：{ACCOUNT}", ACCOUNT, "长江", "https://x.example/p.jpg",
    {"WHERE": "桥下", "SIZE": "big"},
)  # fmt: skip


def server(peer: HttpPeer, form: Form = "xml", key: str | None = API_KEY) -> Server:
    return Server(f"{peer.url}/v2", key, "city.example", form)


@pytest.mark.parametrize("form", ["xml", "json"])
def test_services_their_questions_and_a_request_with_its_state(form: Form) -> None:
    city = City()
    with http_peer(city) as peer:
        client, at = peer.client(), server(peer, form)
        assert open311.services(client, at, now=NOW) == [
            Service("water", "water", True),
            Service("other", "other", False),
        ]
        assert open311.definition(client, at, "water", now=NOW) == [
            Attribute("WHERE", "string", True),
            Attribute("SIZE", "singlevaluelist", True, ("big", "small")),
            Attribute("NOTE", "text", False),
        ]
        created = open311.create(client, at, NEW, now=NOW)
        assert (created.request_id, created.token) == ("C-0", None)
        (kept,) = city.requests
        city.requests[0] |= {"status": "closed", "notes": "已清理。\r\n谢谢"}
        state = open311.state_of(client, at, "C-0", now=NOW)
        assert (state.status, state.notes) == ("closed", "已清理。\n谢谢" if form == "xml" else "已清理。 \n谢谢")
    assert kept["description"] == NEW.description
    assert (kept["lat"], kept["long"], kept["address_string"]) == ("30.592800", "114.305500", "长江")
    assert (kept["media_url"], kept["account_id"]) == ("https://x.example/p.jpg", ACCOUNT)
    assert city.faults == []


@pytest.mark.parametrize("form", ["xml", "json"])
def test_a_token_becomes_an_id_when_the_city_says_so(form: Form) -> None:
    city = City(gives_tokens=True)
    with http_peer(city) as peer:
        client, at = peer.client(), server(peer, form)
        created = open311.create(client, at, NEW, now=NOW)
        assert (created.request_id, created.token) == (None, "t-0")
        assert open311.exchange(client, at, "t-0", now=NOW) is None
        assert open311.exchange(client, at, "t-0", now=NOW) is None
        city.number("t-0")
        assert open311.exchange(client, at, "t-0", now=NOW) == "C-1"


@pytest.mark.parametrize("form", ["xml", "json"])
def test_a_request_whose_answer_was_lost_is_found_again(form: Form) -> None:
    city = City(drops_answers=1)
    with http_peer(city) as peer:
        client, at = peer.client(), server(peer, form)
        with pytest.raises(Refused) as lost:
            open311.create(client, at, NEW, now=NOW)
        assert (lost.value.failure.code, lost.value.failure.is_permanent) == ("broken_off", False)
        found = open311.find(client, at, "water", ACCOUNT, since=NOW - timedelta(minutes=1), now=NOW)
        assert found is not None
        assert found.request_id == "C-0"
        other = str(uuid.uuid4())
        assert open311.find(client, at, "water", other, since=NOW, now=NOW) is None
        city.lists = False
        assert open311.find(client, at, "water", ACCOUNT, since=NOW, now=NOW) is None


@pytest.mark.parametrize(
    ("key", "code", "service", "failure"),
    [
        ("wrong", ACCOUNT, "water", "http_403"),
        (None, ACCOUNT, "water", "http_403"),
        (API_KEY, ACCOUNT, "unknown", "http_404"),
    ],
)
def test_what_the_city_refuses_is_refused_for_good(key: str | None, code: str, service: str, failure: str) -> None:
    new = NewRequest(service, 114.0, 30.0, "x", code)
    with http_peer(City()) as peer, pytest.raises(Refused) as refusal:
        open311.create(peer.client(), server(peer, key=key), new, now=NOW)
    assert (refusal.value.failure.code, refusal.value.failure.is_permanent) == (failure, True)


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(f'<!ENTITY {chr(98 + n)} "&{chr(97 + n)};&{chr(97 + n)};">'.encode() for n in range(20))
    + b"]><service_requests><request><service_request_id>&u;</service_request_id></request></service_requests>"
)


@pytest.mark.parametrize(
    ("script", "code", "is_permanent"),
    [
        (says("<html>maintenance</html>"), "answer_garbled", False),
        (says("<service_requests/>"), "answer_garbled", False),
        (says("<service_requests><request/></service_requests>"), "answer_garbled", False),
        (says("[]"), "answer_garbled", False),
        (says("[1, null, [], {}]"), "answer_garbled", False),
        (says("{}"), "answer_garbled", False),
        (says("[" * 60_000), "answer_garbled", False),
        (says("<a>" * 20_000), "answer_garbled", False),
        (says('[{"service_request_id": ' + "9" * 60_000 + "}]"), "answer_garbled", False),
        (says('[{"service_request_id": "' + "x" * 201 + '"}]'), "answer_garbled", False),
        (says('[{"service_request_id": {"a": 1}}]'), "answer_garbled", False),
        (says(b"\xff\xfe\x00"), "answer_garbled", False),
        (says(b""), "answer_garbled", False),
        (says(BOMB), "answer_garbled", False),
        (says('<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x"><a/>'), "answer_garbled", False),
        (says(BOMB.decode().replace("utf-8", "").encode("utf-16")), "answer_garbled", False),
        (says('<?xml version="1.0" encoding="no-such"?><a/>'), "answer_garbled", False),
        (says("x" * 70_000), "too_large", False),
        (says("<errors/>", status="500 Oops"), "http_500", False),
        (says("", status="429 Slow", headers="Retry-After: 30\r\n"), "http_429", False),
        (says("", status="302 Found", headers="Location: http://169.254.169.254/\r\n"), "redirected", True),
        (sends(b"garbage\r\n\r\n"), "broken_off", False),
        (hangs, "timeout", False),
        (drops, "broken_off", False),
        (trickles(b"HTTP/1.1 200 OK\r\n\r\n<"), "timeout", False),
    ],
)
def test_whatever_a_server_does_becomes_a_code(script: Script, code: str, is_permanent: bool) -> None:
    with http_peer(script) as peer, pytest.raises(Refused) as refusal:
        open311.create(peer.client(timeout_s=0.7 if code == "timeout" else 10), server(peer), NEW, now=NOW)
    assert (refusal.value.failure.code, refusal.value.failure.is_permanent) == (code, is_permanent)


def test_a_citys_words_are_cut_and_hold_nothing_invisible() -> None:
    words = "已处理\u202egnp.exe\x00\x07\u200b" + "长" * 5000
    item = {"service_request_id": "C-1", "status": "Closed", "status_notes": words}
    with http_peer(says(json.dumps([item]))) as peer:
        state = open311.state_of(peer.client(), server(peer), "C-1", now=NOW)
    assert state.status == "closed"
    assert state.notes is not None
    assert len(state.notes) == 2000
    assert state.notes.startswith("已处理 gnp.exe   长")


def test_another_requests_state_is_not_taken_for_ours() -> None:
    item = {"service_request_id": "C-2", "status": "closed", "status_notes": "x"}
    with http_peer(says(json.dumps([item]))) as peer, pytest.raises(Refused, match="answer_garbled"):
        open311.state_of(peer.client(), server(peer), "C-1", now=NOW)


def test_ids_are_quoted_into_the_address() -> None:
    with http_peer(says("[]")) as peer, pytest.raises(Refused):
        open311.state_of(peer.client(), server(peer), "../../admin?x=1#\r\n", now=NOW)
    assert peer.heard[0].path == "/v2/requests/..%2F..%2Fadmin%3Fx%3D1%23%0D%0A.xml?jurisdiction_id=city.example"


def test_the_endpoint_is_found_in_the_discovery_document() -> None:
    document = {
        "endpoints": [
            {
                "specification": "http://wiki.open311.org/GeoReport_v1",
                "url": "https://a.example/v1",
                "type": "production",
            },
            {"specification": "http://wiki.open311.org/GeoReport_v2", "url": "https://t.example/v2/", "type": "test"},
            {
                "specification": "http://wiki.open311.org/GeoReport_v2",
                "url": "https://p.example/v2/",
                "type": "production",
            },
        ]
    }
    with http_peer(says(json.dumps(document)), says("{}")) as peer:
        assert open311.discover(peer.client(), f"{peer.url}/discovery.json", now=NOW) == "https://p.example/v2"
        with pytest.raises(Refused, match="no_endpoint"):
            open311.discover(peer.client(), f"{peer.url}/discovery.json", now=NOW)


@given(st.binary(max_size=300))
def test_no_bytes_whatever_make_the_reader_raise_anything_else(body: bytes) -> None:
    with contextlib.suppress(Refused):
        _parse(Answer(200, {}, body))
