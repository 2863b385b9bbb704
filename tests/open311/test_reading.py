"""GeoReport v2: what an application reads is what the public map shows, and no more."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import add_incident, add_report
from tests.open311.client import NOW, SECRET_NOTE, element, faults, post
from tests.reports.rows import LAT, LON
from tests.web.site import counting
from waterwatch.kernel.db import transaction
from waterwatch.open311.queries import _LISTED, _NAMED


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/open311/v2/services/rain.xml", 404),
        ("/open311/v2/services/rain.json", 404),
        ("/open311/v2/requests/ABCD-2345.xml", 404),
        ("/open311/v2/requests/ABCD-2345.json", 404),
        ("/open311/v2/tokens/ABCD-2345.xml", 404),
        ("/open311/v2/services.xml?jurisdiction_id=other.example", 404),
        ("/open311/v2/services.txt", 404),
        ("/open311/v2/nothing.json", 404),
        ("/open311/v2/requests.xml?status=waiting", 400),
        ("/open311/v2/requests.json?service_code=rain", 400),
        ("/open311/v2/requests.json?start_date=yesterday", 400),
        ("/open311/v2/requests.json?start_date=2026-05-20T10:30:00", 400),
        ("/open311/v2/requests.json?start_date=0001-01-01T00:00:00%2B14:00", 400),
        ("/open311/v2/requests.xml?start_date=2026-01-01T00:00:00Z&end_date=2026-05-01T00:00:00Z", 400),
        ("/open311/v2/requests.json?service_request_id=" + "A" * 30, 400),
        ("/open311/v2/requests.json?service_request_id=" + ",".join(f"{n}" for n in range(101)), 400),
    ],
)
def test_a_question_that_cannot_be_answered_is_told_so(client: FlaskClient, path: str, status: int) -> None:
    refusal = client.get(path)
    assert refusal.status_code == status
    assert [code for code, _ in faults(refusal)] == [status]


def test_edges_of_time_answer_an_empty_list(client: FlaskClient) -> None:
    for query in ("start_date=9999-12-31T00:00:00Z", "end_date=0001-01-02T00:00:00Z", ""):
        assert client.get(f"/open311/v2/requests.json?{query}").json == []


def test_the_list_tells_what_the_public_map_shows(client: FlaskClient, incident: dict[str, Any]) -> None:
    (told,) = client.get("/open311/v2/requests.json").json
    page = f"http://localhost/i/{incident['code']}"
    assert told == {
        "service_request_id": incident["code"],
        "status": "open",
        "status_notes": "待处理",
        "service_name": "污水直排",
        "service_code": "sewage_outfall",
        "description": None,
        "agency_responsible": "武汉市水务局",
        "service_notice": f"橙色·重大 {page}",
        "requested_datetime": (NOW - timedelta(days=3)).isoformat(),
        "updated_datetime": (NOW - timedelta(days=1)).isoformat(),
        "expected_datetime": None,
        "address": "府河",
        "address_id": None,
        "zipcode": None,
        "lat": LAT,
        "long": LON,
        "media_url": f"{page}/photo/1/1024",
    }
    assert client.get(told["media_url"].removeprefix("http://localhost")).status_code == 200
    found = element(client.get("/open311/v2/requests.xml"))
    assert (found.tag, found[0].tag) == ("service_requests", "request")
    assert {part.tag: part.text for part in found[0]} == {
        name: None if value is None else str(value) for name, value in told.items()
    }


def test_nothing_that_is_not_public_is_ever_told(
    client: FlaskClient, incident: dict[str, Any], sessions: sessionmaker[Session]
) -> None:
    code, report_code = incident["code"], incident["report_code"]
    paths = ("requests", f"requests/{code}", f"requests/{report_code}", f"tokens/{code}")
    paths += (f"requests?service_request_id={code},{report_code}",)
    for path in paths:
        for form in ("xml", "json"):
            name, _, query = path.partition("?")
            page = client.get(f"/open311/v2/{name}.{form}?{query}")
            assert page.status_code == 200
            for secret in ("114.98", "30.12", SECRET_NOTE, "wh.example", str(incident["id"])):
                assert secret not in page.text, (path, secret)
    assert report_code not in client.get("/open311/v2/requests.json").text


def test_a_report_tells_its_state_only_until_it_is_public(
    client: FlaskClient, sessions: sessionmaker[Session], api_key: str
) -> None:
    (receipt,) = post(client, api_key, description=SECRET_NOTE, address_string=SECRET_NOTE).json
    code = receipt["service_request_id"]
    assert client.get("/open311/v2/requests.json").json == []
    for path in (f"requests/{code}.json", f"requests/{code.lower()}.json", f"requests.json?service_request_id={code}"):
        (told,) = client.get(f"/open311/v2/{path}").json
        assert set(told) == {"service_request_id", "status", "requested_datetime", "updated_datetime"}
        assert (told["service_request_id"], told["status"]) == (code, "open")
    for state in ("refused", "withdrawn"):
        reason = "'abuse'" if state == "refused" else "NULL"
        with transaction(sessions) as session:
            session.execute(text(f"UPDATE report SET state = '{state}', refusal_code = {reason}"))
        (told,) = client.get(f"/open311/v2/requests/{code}.json").json
        assert (told["status"], len(told)) == ("closed", 4)
    assert client.get(f"/open311/v2/tokens/{code}.json").json == [{"service_request_id": code, "token": code}]


def test_an_accepted_report_is_its_incident(client: FlaskClient, incident: dict[str, Any]) -> None:
    (told,) = client.get(f"/open311/v2/requests/{incident['report_code']}.json").json
    (public,) = client.get(f"/open311/v2/requests/{incident['code']}.json").json
    assert told == public | {"service_request_id": incident["report_code"]}


def test_the_list_is_filtered(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    with transaction(sessions) as session:
        for days, kind in ((1, "foam"), (2, "oil_slick"), (40, "foam"), (91, "foam")):
            add_incident(session, now=NOW - timedelta(days=days), kind=kind)
        session.execute(
            text("""UPDATE incident SET state = 'verified_clean', closed_at = opened_at + interval '1 hour'
                    WHERE kind = 'oil_slick'""")
        )

    def kinds(query: str) -> list[str]:
        return [one["service_code"] for one in client.get(f"/open311/v2/requests.json?{query}").json]

    def day(days: int) -> str:
        return (NOW - timedelta(days=days)).isoformat().replace("+", "%2B")

    assert kinds("") == ["foam", "oil_slick", "foam"]
    assert kinds("status=open") == ["foam", "foam"]
    assert kinds("status=closed") == ["oil_slick"]
    assert kinds("status=open,closed&service_code=foam,oil_slick") == ["foam", "oil_slick", "foam"]
    assert kinds("status=open&status=closed&service_code=foam&service_code=oil_slick") == ["foam", "oil_slick", "foam"]
    assert kinds("service_code=oil_slick") == ["oil_slick"]
    assert kinds(f"start_date={day(3)}") == ["foam", "oil_slick"]
    assert kinds(f"end_date={day(30)}") == ["foam", "foam"]
    assert kinds(f"start_date={day(50)}&end_date={day(30)}") == ["foam"]
    assert kinds(f"start_date={(NOW - timedelta(days=3)).isoformat()}") == ["foam", "oil_slick"]  # a bare plus sign


def test_how_many_there_are_costs_no_more_statements(
    app: Flask, client: FlaskClient, sessions: sessionmaker[Session]
) -> None:
    sent = []
    codes = ""
    for _ in range(2):
        with transaction(sessions) as session:
            for _ in range(3):
                incident_id = add_incident(session, now=NOW - timedelta(days=1))
                add_report(session, incident_id, now=NOW)
            codes = ",".join(session.execute(text("SELECT code FROM report")).scalars())
        with counting(app) as listing:
            assert len(client.get("/open311/v2/requests.json").json) in (3, 6)
        with counting(app) as naming:
            assert len(client.get(f"/open311/v2/requests.json?service_request_id={codes}").json) in (3, 6)
        sent.append((len(listing), len(naming)))
    assert sent == [(3, 4), (3, 4)]


def test_naming_codes_reads_no_table_whole(sessions: sessionmaker[Session]) -> None:
    with transaction(sessions) as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(session.execute(text(f"EXPLAIN {_NAMED.text}"), {"codes": ["A"], "ids": []}).scalars())
    assert "Seq Scan on incident" not in plan, plan


def test_listing_reads_the_incidents_it_shows(sessions: sessionmaker[Session]) -> None:
    values = {"start": NOW - timedelta(days=90), "end": NOW, "kinds": None, "status": None, "limit": 1000}
    with transaction(sessions) as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(session.execute(text(f"EXPLAIN {_LISTED.text}"), values).scalars())
    assert "ix_incident_opened_at" in plan, plan
