"""Early warnings as data: what may come to a water, and down from an incident; only what everybody may know."""

import csv
import io
import json

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.portal.test_expected import moment, warn
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.opendata.answers import ExpectedOut
from waterwatch.opendata.expected import COLUMNS


def test_every_form_tells_the_same_reach_by_reach(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings
) -> None:
    code, _river, lake = warn(sessions, settings)
    for path, reaches in ((f"/api/v1/incidents/{code}/expected", 4), (f"/api/v1/waters/{lake}/expected", 1)):
        answer = client.get(f"{path}.geojson")
        assert answer.headers["Cache-Control"] == "public, max-age=60"
        told = json.loads(answer.text)
        ExpectedOut.model_validate_json(answer.text)
        table = list(csv.DictReader(io.StringIO(client.get(f"{path}.csv").text.lstrip("\ufeff"))))
        assert len(told["features"]) == len(table) == reaches
        assert tuple(table[0]) == COLUMNS
        for feature, row in zip(told["features"], table, strict=True):
            facts = feature["properties"]
            assert list(facts) == list(row)
            assert (facts["incident"], facts["level"], facts["kind"]) == (code, "yellow", "sewage_outfall")
            assert row["distance_km"] == str(facts["distance_km"])
            assert facts["earliest_at"] < facts["probable_at"] < facts["lapses_at"]
            assert (facts["unit_peak_mg_per_l"], facts["passage_h"]) == (
                0.1,
                1.0 if facts["distance_km"] == 6 else 10.0,
            )
            assert (row["unit_peak_mg_per_l"], row["passage_h"]) == ("0.1", str(facts["passage_h"]))
        assert "可能早到、晚到或不到" in told["notice"]
        assert "实际可能是几倍或几分之一" in told["notice"]
    (reservoir,) = json.loads(client.get(f"/api/v1/waters/{lake}/expected.geojson").text)["features"]
    assert reservoir["geometry"]["type"] == "Polygon"
    assert reservoir["properties"]["is_dammed"]


def test_without_discharge_times_are_null(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings
) -> None:
    code, _river, _lake = warn(sessions, settings, discharge_cms=None)
    told = json.loads(client.get(f"/api/v1/incidents/{code}/expected.geojson").text)
    times = {feature["properties"][name] for feature in told["features"] for name in ("earliest_at", "probable_at")}
    assert times == {None}
    orders = {
        feature["properties"][name] for feature in told["features"] for name in ("unit_peak_mg_per_l", "passage_h")
    }
    assert orders == {None}


def test_nothing_is_given_out_before_departments_have_had_their_time(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings
) -> None:
    code, _river, lake = warn(sessions, settings, head_start_s=600)
    for path in (f"/api/v1/incidents/{code}/expected.geojson", f"/api/v1/waters/{lake}/expected.geojson"):
        assert json.loads(client.get(path).text)["features"] == []


@pytest.mark.parametrize(("state", "status"), [("expired", 200), ("retracted", 410)])
def test_of_one_that_is_over_nothing_is_given_out_at_once(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings, state: str, status: int
) -> None:
    code, _river, lake = warn(sessions, settings)
    with transaction(sessions) as session:
        session.execute(text("UPDATE incident SET state = :state, closed_at = :now"), {"state": state, "now": moment()})
    answer = client.get(f"/api/v1/incidents/{code}/expected.geojson")
    assert answer.status_code == status
    if status == 200:
        assert json.loads(answer.text)["features"] == []
    assert json.loads(client.get(f"/api/v1/waters/{lake}/expected.geojson").text)["features"] == []


def test_what_is_not_there_is_not_found(client: FlaskClient) -> None:
    assert client.get("/api/v1/incidents/XXXX-XXXX/expected.geojson").status_code == 404
    assert client.get("/api/v1/waters/w-nowhere/expected.csv").status_code == 404
