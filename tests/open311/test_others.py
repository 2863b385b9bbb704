"""Programs that were written without a look at our server: our own client, and georeport."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from flask import Flask
from georeport import GeoReport
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.letters import DELIVERY_ID, contact, letter
from tests.journeys.published_map import serving
from tests.messaging.https import HttpsServer, answer, https_server
from tests.open311.client import NOW, rows_of
from tests.reports.rows import LAT, LON, add_river
from tests.reports.site import JPEG
from waterwatch.agencies.rules import Open311Settings
from waterwatch.escalation.channels import Handed, Wire
from waterwatch.escalation.channels.open311 import Open311Channel
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.messaging import open311
from waterwatch.messaging.http import Client
from waterwatch.messaging.open311 import NewRequest, Server
from waterwatch.messaging.smtp import Outlet
from waterwatch.open311.views import FETCHER

Form = Literal["xml", "json"]


@pytest.fixture
def pictures(app: Flask, sessions: sessionmaker[Session], tmp_path: Path) -> Iterator[HttpsServer]:
    """Whose photos our server fetches; and a river, so that it finds one."""
    with transaction(sessions) as session:
        add_river(session, "长江")
    with https_server(tmp_path, answer(JPEG)) as server:
        app.extensions[FETCHER] = server.fetcher()
        yield server


@pytest.mark.parametrize("form", ["xml", "json"])
def test_our_client_and_our_server_understand_each_other(
    app: Flask,
    api_key: str,
    incident: dict[str, Any],
    sessions: sessionmaker[Session],
    pictures: HttpsServer,
    form: Form,
) -> None:
    with serving(app) as origin:
        client = Client(frozenset({origin.removeprefix("http://")}), timeout_s=10)
        now = utc_now()
        base = open311.discover(client, f"{origin}/open311/discovery.{form}", now=now, form=form)
        assert base == "http://localhost/open311/v2"
        server = Server(f"{origin}/open311/v2", api_key, None, form)
        assert {one.code for one in open311.services(client, server, now=now)} > {"sewage_outfall", "other"}
        questions = open311.definition(client, server, "sewage_outfall", now=now)
        assert next(one.keys for one in questions if one.code == "ongoing") == ("yes", "no")
        picture = f"https://{pictures.host}/p.jpg"
        new = NewRequest("sewage_outfall", LON, LAT, "臭", "account", None, picture, {"ongoing": "yes"})
        created = open311.create(client, server, new, now=now)
        again = open311.create(client, server, new, now=now)
        assert created == again
        assert created.request_id is not None
        assert open311.exchange(client, server, created.request_id, now=now) == created.request_id
        state = open311.state_of(client, server, created.request_id, now=now)
        assert state.status == "open"
        public = open311.state_of(client, server, incident["code"], now=now)
        assert (public.status, public.request_id) == ("open", incident["code"])
    assert rows_of(sessions, "SELECT is_ongoing, note FROM report WHERE source = 'open311'") == [(True, "臭")]


def test_a_case_handed_to_another_waterwatch_is_one_report_there(
    app: Flask, api_key: str, settings: Settings, sessions: sessionmaker[Session], pictures: HttpsServer
) -> None:
    with serving(app) as origin:
        ours = {"webhook_allow": origin.removeprefix("http://"), "public_url": f"https://{pictures.host}"}
        allowed = settings.model_copy(update=ours)
        wire = Wire(allowed, Outlet(settings.smtp_url, timeout_s=1.0))
        there = contact(
            "open311",
            f"{origin}/open311/v2",
            Open311Settings(None, {"other": "sewage_outfall"}),
            secret=api_key.encode(),
        )
        made = letter(there)
        first = Open311Channel().hand_over(made, wire)
        second = Open311Channel().hand_over(letter(there, attempt=2), wire)
    assert isinstance(first, Handed)
    assert first == second
    assert {head.split()[1].rpartition("/")[0] for head in pictures.heard} == {"/case-photo"}
    ((note,),) = rows_of(sessions, "SELECT note FROM report WHERE source = 'open311'")
    assert str(DELIVERY_ID) in note


@pytest.mark.parametrize("form", ["json", "xml"])
def test_georeport_reads_what_our_server_says(app: Flask, incident: dict[str, Any], form: str) -> None:
    with serving(app) as origin:
        city = GeoReport(f"{origin}/open311/v2", output_format=form)
        services = city.get_service_list()
        requests = city.get_service_requests(
            start_date=(NOW - timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            end_date=(NOW + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        definition = city.get_service_definition("sewage_outfall")
        one = city.get_service_request(incident["code"])
    if form == "json":
        assert {service["service_code"] for service in services} > {"sewage_outfall"}
        assert [request["service_request_id"] for request in requests] == [incident["code"]]
        assert definition["service_code"] == "sewage_outfall"
    assert one["service_request_id"] == incident["code"]
    assert one["agency_responsible"] == "武汉市水务局"
