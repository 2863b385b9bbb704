"""An agency's own system says of a case what an officer says on the page of the letter's link."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.test import TestResponse

from tests.casework.rows import case_of, escalate, hand_over
from tests.escalation.rows import add_agency, add_incident
from waterwatch.escalation import service
from waterwatch.escalation.channels.letter import LINK_PURPOSE
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import sign_link

KEY = "0190a5c0-0000-4000-8000-000000000001"


@dataclass(frozen=True)
class Told:
    """A case an agency was told of, and the key of its letter's link."""

    case_id: uuid.UUID
    incident_id: uuid.UUID
    token: str
    client: FlaskClient
    sessions: sessionmaker[Session]

    def say(self, token: str | None = None, **said: Any) -> TestResponse:
        return self.client.post(f"/api/v1/cases/{token or self.token}/answers", json=said)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with transaction(self.sessions) as session:
            return [tuple(row) for row in session.execute(text(statement))]


@pytest.fixture
def told(client: FlaskClient, sessions: sessionmaker[Session], settings: Settings) -> Told:
    now = datetime.now(UTC)
    with transaction(sessions) as session:
        agency_id = add_agency(session, "武汉市生态环境局", ["huanbao@wuhan.example"])
        incident_id = add_incident(session, now=now)
        escalate(session, incident_id, settings, now)
        case = case_of(session, incident_id, agency_id)
        hand_over(session, case, settings, now)
        case_id = case.id
    token = sign_link(settings, LINK_PURPOSE, case_id, expires_at=now + timedelta(days=1))
    return Told(case_id, incident_id, token, client, sessions)


def test_a_system_acknowledges_answers_and_says_it_is_done(told: Told) -> None:
    first = told.say(kind="acknowledged")
    assert first.status_code == 200
    assert (first.json["answer_id"], first.json["answer_state"], first.json["case_state"]) == (
        None, None, "acknowledged",
    )  # fmt: skip
    day = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    answer = told.say(kind="answer", words="已派员核查。", planned_on=day)
    assert (answer.status_code, answer.json["answer_state"], answer.json["case_state"]) == (200, "held", "answered")
    assert answer.json["acknowledged_at"] == first.json["acknowledged_at"]
    done = told.say(kind="done", words="排口已封堵。")
    assert (done.json["case_state"], done.json["due_at"]) == ("closed", None)
    assert told.say(kind="comment", words="照片稍后。").json["case_state"] == "closed"
    said = told.rows("SELECT kind, via, words, planned_on::text, said_by FROM case_answer ORDER BY said_at, id")
    assert said == [
        ("answer", "api", "已派员核查。", day, None),
        ("done", "api", "排口已封堵。", None, None),
        ("comment", "api", "照片稍后。", None, None),
    ]
    actors = told.rows("SELECT DISTINCT actor_kind FROM audit_entry WHERE action LIKE 'answer.%'")
    assert actors == [("agency_link",)]


def test_what_is_sent_twice_with_one_key_is_said_once_also_where_it_ended_the_case(told: Told) -> None:
    answers = [told.say(kind="not_ours", words="该段归省管", key=key) for key in (KEY, KEY.upper())]
    assert [one.status_code for one in answers] == [200, 200]
    assert answers[0].json["answer_id"] == answers[1].json["answer_id"]
    assert answers[1].json["case_state"] == "refused_not_ours"
    refused = told.say(kind="not_ours", words="该段归省管")
    assert (refused.status_code, refused.json["code"]) == (409, "case_refused")
    assert told.rows("SELECT count(*) FROM case_answer") == [(1,)]


def test_a_case_goes_on_to_the_agency_that_is_named_by_its_code(told: Told) -> None:
    with transaction(told.sessions) as session:
        other = add_agency(session, "水务局", ["water@wuhan.example"], kind="water", observation_kind="foam")
        code = session.execute(text("SELECT code FROM agency WHERE id = :id"), {"id": other}).scalar_one()
    unknown = told.say(kind="not_ours", words="归水务", suggested_agency="nobody")
    assert (unknown.status_code, unknown.json["errors"]) == (
        400, {"suggested_agency": ["suggested_agency_choice_unknown"]},
    )  # fmt: skip
    assert told.say(kind="not_ours", words="归水务", suggested_agency=code).status_code == 200
    with transaction(told.sessions) as session:
        assert case_of(session, told.incident_id, other).state == "queued"


@pytest.mark.parametrize(
    ("said", "errors"),
    [
        ({}, {"kind": ["kind_missing"]}),
        ({"kind": "fixed", "words": "x" * 4001}, {"kind": ["kind_unknown"], "words": ["words_too_long"]}),
        ({"kind": "answer", "words": " \u200b"}, {"words": ["words_missing"]}),
        ({"kind": "answer", "words": "好", "planned_on": "2026-02-30"}, {"planned_on": ["planned_on_malformed"]}),
        ({"kind": "answer", "words": "好", "planned_on": "2020-01-01"}, {"planned_on": ["planned_on_out_of_range"]}),
    ],
)
def test_everything_that_is_wrong_is_said_and_nothing_is_kept(
    told: Told, said: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    refusal = told.say(**said)
    assert (refusal.status_code, refusal.json["errors"]) == (400, errors)
    assert told.rows("SELECT count(*) FROM case_answer") == [(0,)]


def test_no_other_key_opens_the_case_and_one_whose_time_is_over_says_so(told: Told, settings: Settings) -> None:
    now = datetime.now(UTC)
    for purpose, case_id in (("follow", told.case_id), ("case-photo", told.case_id), (LINK_PURPOSE, uuid.uuid4())):
        foreign = sign_link(settings, purpose, case_id, expires_at=now + timedelta(days=1))
        assert told.say(foreign, kind="acknowledged").status_code == 404
    late = sign_link(settings, LINK_PURPOSE, told.case_id, expires_at=now - timedelta(days=1))
    assert told.say(late, kind="acknowledged").status_code == 410
    assert told.rows("SELECT state FROM escalation_case") == [("delivered",)]


def test_in_a_case_taken_back_nothing_is_said(told: Told, settings: Settings) -> None:
    with transaction(told.sessions) as session:
        service.withdraw_cases(
            session, told.incident_id, settings=settings, actor=Actor.system("tests"), now=datetime.now(UTC)
        )
    for said in ({"kind": "acknowledged"}, {"kind": "answer", "words": "已处理"}):
        refusal = told.say(**said)
        assert (refusal.status_code, refusal.json["code"]) == (409, "case_taken_back")


def test_it_is_kept_by_no_cache_and_shown_to_no_search_engine(told: Told) -> None:
    assert told.say(kind="acknowledged").headers["Cache-Control"] == "no-store"
    assert "Disallow: /api/v1/cases" in told.client.get("/robots.txt").text
