"""The JSON API: photos first, then the report that names them; the same for every client, and nothing of cookies."""

import io
import uuid
from collections.abc import Callable
from typing import Any, get_args

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.reports.rows import LAT, LON, add_river
from tests.reports.site import JPEG
from tests.web.site import counting, running
from waterwatch.accounts.service import add_client, revoke_client
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.opendata import forms
from waterwatch.reports import queries, service, tables
from waterwatch.reports.rules import DATUMS
from waterwatch.waters.service import make_keys, set_extents

OPERATOR = Actor.system("operator")


def photo(client: FlaskClient, content: bytes = JPEG, **headers: str) -> str:
    """Send one photo the way a mini program does; returns its id."""
    answer = client.post("/api/v1/photos", data={"photo": (io.BytesIO(content), "tmp_1234.jpg")}, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json["id"])


def report(*photos: str, **changes: Any) -> dict[str, Any]:
    """A report that names photos."""
    facts: dict[str, Any] = {
        "idempotency_key": str(uuid.uuid4()),
        "kind": "sewage_outfall",
        "lon": LON,
        "lat": LAT,
        "place_confirmed": True,
        "photos": [{"id": one} for one in photos],
    }
    return {name: value for name, value in (facts | changes).items() if value is not None}


def rows_of(sessions: sessionmaker[Session], statement: str) -> list[tuple[Any, ...]]:
    with transaction(sessions) as session:
        return [tuple(row) for row in session.execute(text(statement))]


def test_two_photos_then_the_report_that_names_them(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    ids = [photo(client), photo(client, JPEG[:-1])]
    told = report(
        *ids,
        place_words="三号桥下",
        note="水很臭",
        colour="black",
        since="this_week",
        ph=6.5,
        transparency_cm=8,
        ongoing=True,
    )
    told["photos"][0] |= {"lon": 114.31, "lat": 30.59, "taken_at": "2026-05-20T10:30:00+08:00"}
    answer = client.post("/api/v1/reports", json=told)
    assert answer.status_code == 201, answer.text
    assert answer.json["follow_url"] == f"http://localhost/f/{answer.json['token']}"
    assert rows_of(
        sessions,
        "SELECT kind, place_words, note, colour, since, ph, transparency_cm, is_ongoing, source, api_client_id"
        " FROM report",
    ) == [("sewage_outfall", "三号桥下", "水很臭", "black", "this_week", 6.5, 8.0, True, "api", None)]
    assert rows_of(
        sessions, "SELECT position, stated_lon, stated_lat, stated_taken_at_local FROM report_photo ORDER BY position"
    ) == [(0, 114.31, 30.59, "2026-05-20T10:30:00+08:00"), (1, None, None, None)]
    assert rows_of(sessions, "SELECT count(*) FROM photo WHERE unclaimed_until IS NULL") == [(2,)]


def test_the_same_report_again_gives_the_same_answer(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    told = report(photo(client))
    first = client.post("/api/v1/reports", json=told)
    again = client.post("/api/v1/reports", json=told)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json == again.json
    # A phone whose answer was lost together with the photo's id sends the photo anew.
    other = client.post("/api/v1/reports", json=told | {"photos": [{"id": photo(client)}]})
    assert other.json == first.json
    assert rows_of(sessions, "SELECT count(*) FROM report") == [(1,)]


def test_a_photo_is_named_by_one_report_only(client: FlaskClient) -> None:
    taken = photo(client)
    client.post("/api/v1/reports", json=report(taken))
    answer = client.post("/api/v1/reports", json=report(taken))
    assert (answer.status_code, answer.json["code"]) == (409, "photo_taken")


def test_a_photo_that_never_came_is_said_to_be_unknown(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    kept = photo(client)
    with transaction(sessions) as session:
        session.execute(text("DELETE FROM photo"))
    for unknown in (kept, kept[:-3] + "AAA", "A" * 75):
        answer = client.post("/api/v1/reports", json=report(unknown))
        assert (answer.status_code, answer.json["code"]) == (404, "photo_unknown")


def test_a_photo_that_is_settled_before_its_report_still_moves_it(
    client: FlaskClient, sessions: sessionmaker[Session]
) -> None:
    named = photo(client)
    with transaction(sessions) as session:
        session.execute(text("UPDATE photo SET state = 'ready'"))
    client.post("/api/v1/reports", json=report(named))
    assert rows_of(sessions, "SELECT topic FROM outbox ORDER BY id")[-1] == ("photos.settled",)


def test_both_in_one_request(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    fields = {name: str(value) for name, value in report(photos=None).items()} | {"place_confirmed": "1"}
    files = {"photo": [(io.BytesIO(JPEG), "a.jpg"), (io.BytesIO(JPEG[:-1]), "b.jpg")]}
    answer = client.post("/api/v1/reports", data=fields | files)
    assert answer.status_code == 201, answer.text
    assert rows_of(sessions, "SELECT count(*) FROM report_photo") == [(2,)]


def test_a_photo_as_the_body_itself(client: FlaskClient, sessions: sessionmaker[Session], settings: Settings) -> None:
    answer = client.post("/api/v1/photos", data=JPEG, content_type="image/jpeg")
    assert (answer.status_code, answer.json["bytes"]) == (201, len(JPEG))
    assert rows_of(sessions, "SELECT original_bytes, state FROM photo") == [(len(JPEG), "received")]
    assert list(settings.spool_dir.iterdir()) == []


def test_every_fault_is_named_at_once(client: FlaskClient) -> None:
    told = report("A" * 50, kind="rain", lon="east", lat=91, colour="blau", extent_m=3, idempotency_key="7")
    answer = client.post("/api/v1/reports", json=told)
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
    assert answer.json["errors"] == {
        "kind": ["kind_unknown"],
        "lon": ["lon_not_a_number"],
        "lat": ["lat_out_of_range"],
        "colour": ["colour_unknown"],
        "extent_m": ["extent_m_not_expected"],
        "idempotency_key": ["idempotency_key_malformed"],
    }


def test_following_and_withdrawing(client: FlaskClient) -> None:
    token = client.post("/api/v1/reports", json=report(photo(client))).json["token"]
    followed = client.get(f"/api/v1/reports/{token}").json
    assert (followed["state"], followed["can_withdraw"]) == ("received", True)
    assert followed["steps"][0]["step"] == "received"
    assert client.post(f"/api/v1/reports/{token}/withdraw").json["state"] == "withdrawn"
    assert client.post(f"/api/v1/reports/{token}/withdraw").json["state"] == "withdrawn"
    other = token[:-1] + ("x" if token[-1] != "x" else "y")
    assert client.get(f"/api/v1/reports/{other}").status_code == 404


def test_an_application_is_counted_by_itself_until_it_is_revoked(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str, sessions: sessionmaker[Session]
) -> None:
    settings = make_settings(database_url=database_url, redis_url=redis_url, photo_rate_limit="1/hour")
    with transaction(sessions) as session:
        token = add_client(session, "市民热线", "3/hour", actor=OPERATOR, now=utc_now())
    shown = {"Authorization": f"Bearer {token}"}
    with running(settings) as app:
        client = app.test_client()
        named = [photo(client, **shown) for _ in range(3)]
        assert client.post("/api/v1/photos", data=JPEG, content_type="image/jpeg", headers=shown).status_code == 429
        photo(client)  # the address itself has sent nothing yet
        assert client.post("/api/v1/photos", data=JPEG, content_type="image/jpeg").status_code == 429
        with transaction(sessions) as session:
            revoke_client(session, "市民热线", actor=OPERATOR, now=utc_now())
        assert client.post("/api/v1/reports", json=report(named[0]), headers=shown).status_code == 401


def test_a_report_of_an_application_says_which(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    with transaction(sessions) as session:
        token = add_client(session, "小程序", "100/hour", actor=OPERATOR, now=utc_now())
    shown = {"Authorization": f"Bearer {token}"}
    assert client.post("/api/v1/reports", json=report(photo(client, **shown)), headers=shown).status_code == 201
    statement = "SELECT r.source, c.name FROM report r JOIN api_client c ON c.id = r.api_client_id"
    assert rows_of(sessions, statement) == [("api", "小程序")]
    assert token not in str(rows_of(sessions, "SELECT * FROM api_client"))


def test_only_listed_pages_may_read_answers(client: FlaskClient) -> None:
    listed = client.get("/api/v1/waters/search?q=长江", headers={"Origin": "https://reports.example.org"})
    assert listed.headers["Access-Control-Allow-Origin"] == "https://reports.example.org"
    other = client.get("/api/v1/waters/search?q=长江", headers={"Origin": "https://evil.example.org"})
    assert "Access-Control-Allow-Origin" not in other.headers


def test_a_session_is_not_read(client: FlaskClient) -> None:
    answer = client.post("/api/v1/reports", json=report(photo(client)), headers={"Cookie": "waterwatch=stolen"})
    assert answer.status_code == 201
    assert "Set-Cookie" not in answer.headers


def test_incidents_nearby_are_told_by_their_public_point(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    with transaction(sessions) as session:
        river = add_river(session, "府河")
        session.execute(
            text("""INSERT INTO incident (id, code, organisation_id, state, state_since, kind, severity,
                graded_severity, water_feature_id, exact_point, public_point, opened_at, last_confirmed_at)
                SELECT gen_random_uuid(), '7KMQ-2T9X', id, 'open', now(), 'foam', 2, 2, :river,
                ST_SetSRID(ST_MakePoint(:lon, :lat + 0.004), 4326), ST_SetSRID(ST_MakePoint(:lon, :lat), 4326),
                now(), now() FROM organisation"""),
            {"river": river, "lon": LON, "lat": LAT},
        )
    (found,) = client.get(f"/api/v1/incidents/nearby?lon={LON}&lat={LAT - 0.001}").json
    assert (found["code"], found["kind"], found["severity"], found["water"]) == ("7KMQ-2T9X", "foam", 2, "府河")
    assert (found["distance_m"], found["lon"], found["lat"]) == (111, LON, LAT)
    assert client.get(f"/api/v1/incidents/nearby?lon={LON}&lat={LAT - 0.006}").json == []


def test_a_report_takes_two_statements_however_many_photos_it_names(app: Flask, client: FlaskClient) -> None:
    few, many = report(photo(client)), report(*(photo(client, JPEG + bytes([n])) for n in range(6)))
    sent = []
    for told in (few, many):
        with counting(app) as statements:
            assert client.post("/api/v1/reports", json=told).status_code == 201
        sent.append(len(statements))
    assert sent == [2, 2]


def test_a_report_with_its_photos_takes_one_statement(app: Flask, client: FlaskClient) -> None:
    fields = {name: str(value) for name, value in report(photos=None).items()} | {"place_confirmed": "1"}
    with counting(app) as statements:
        client.post("/api/v1/reports", data=fields | {"photo": [(io.BytesIO(JPEG), "a.jpg")]})
    assert len(statements) == 1


@pytest.mark.parametrize(
    ("told", "domain"),
    [
        (forms.Kind, tables.REPORT_KINDS),
        (forms.Extent, tables.EXTENTS),
        (forms.Colour, tables.COLOURS),
        (forms.Since, tables.SINCE),
        (get_args(forms.Datum)[0], DATUMS),
    ],
)
def test_the_models_know_the_words_of_the_domain(told: Any, domain: tuple[str, ...]) -> None:
    assert get_args(told) == domain
    assert set(tables.MEASURED) <= set(forms.ReportIn.model_fields)


def test_what_a_photo_claims_is_told_to_moderators_with_its_distance(
    client: FlaskClient, sessions: sessionmaker[Session]
) -> None:
    told = report(photo(client), photo(client, JPEG[:-1]))
    told["photos"][1] |= {"lon": LON, "lat": LAT + 0.01, "taken_at": "2026-05-20T10:30:00"}
    client.post("/api/v1/reports", json=told)
    with transaction(sessions) as session:
        (report_id,) = session.execute(text("SELECT id FROM report")).scalars()
        (claim,) = queries.photo_evidence(session, report_id)
        service.forget_stated(session, claim.photo_id)
        assert queries.photo_evidence(session, report_id) == []
    assert claim.distance_m == pytest.approx(1109, abs=2)
    assert claim.taken_at_local == "2026-05-20T10:30:00"


def test_a_search_tells_where_a_water_lies_and_what_it_flows_through(
    client: FlaskClient, sessions: sessionmaker[Session]
) -> None:
    with transaction(sessions) as session:
        feature = add_river(session, "府河")
        body = session.execute(
            text("SELECT water_body_id FROM water_feature WHERE id = :id"), {"id": feature}
        ).scalar_one()
        make_keys(session, [body])
        set_extents(session)
    (found,) = client.get("/api/v1/waters/search?q=fuhe").json
    assert (found["name"], found["kind"], found["areas"], found["flows_into"]) == ("府河", "river", [], None)
    assert (found["lon"], found["lat"]) == (pytest.approx(LON, abs=0.2), LAT)
    assert found["bbox"] == pytest.approx([LON - 0.2, LAT, LON + 0.2, LAT])
    (place,) = client.get(f"/api/v1/places/search?q=府河&lon={LON}&lat={LAT}").json
    assert (place["what"], place["water"], place["bbox"]) == ("water", found["water"], found["bbox"])
    with transaction(sessions) as session:
        session.execute(text("UPDATE water_feature SET retired_at = now()"))
    (found,) = client.get("/api/v1/waters/search?q=fuhe").json
    assert (found["lon"], found["lat"], found["bbox"]) == (None, None, None)
    assert client.get("/api/v1/places/search?q=fuhe").json == []
