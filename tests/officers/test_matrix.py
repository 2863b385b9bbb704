"""Who may do what at the officers' desk: every route × every role × whose case it is. A new route must be named."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.moderation.test_matrix import NOBODY, sign_in
from tests.officers.rows import add_case, add_office
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel.db import transaction

# What an officer is answered who sends nothing with it: about their own agency's case, one of an agency below, one of
# the agency above, one of another agency, and about nothing.
CASES = ("own", "below", "above", "stranger", "nothing")
NONE = (404, 404, 404)
OF_CASES: dict[tuple[str, str], tuple[int, ...]] = {
    ("GET", "/office/case/<uuid:case_id>"): (200, 200, *NONE),
    ("GET", "/office/case/<uuid:case_id>/map.png"): (200, 200, *NONE),
    ("GET", "/office/case/<uuid:case_id>/photo/<uuid:photo_id>/<int:size_px>"): (404, 404, *NONE),
    ("POST", "/office/case/<uuid:case_id>/note"): (303, 403, *NONE),
    ("POST", "/office/case/<uuid:case_id>/assign"): (303, 403, *NONE),
    ("POST", "/office/case/<uuid:case_id>/assign/<uuid:assignment_id>/end"): (404, 403, *NONE),
    ("POST", "/office/case/<uuid:case_id>/acknowledge"): (303, 403, *NONE),
    ("POST", "/office/case/<uuid:case_id>/answer"): (303, 403, *NONE),
    ("POST", "/office/case/<uuid:case_id>/done"): (303, 403, *NONE),
    ("POST", "/office/case/<uuid:case_id>/not-ours"): (303, 403, *NONE),
}
OF_DESK: dict[tuple[str, str], int] = {
    ("GET", "/office/"): 200,
    ("POST", "/office/acknowledge"): 303,
    ("GET", "/office/map"): 200,
    ("GET", "/office/figures"): 200,
    ("GET", "/office/figures/<uuid:figures_id>"): 404,
    ("POST", "/office/figures/<uuid:figures_id>"): 404,
    ("GET", "/office/cases.geojson"): 200,
    ("GET", "/office/cases.csv"): 200,
    ("GET", "/office/colleagues"): 200,
    ("POST", "/office/colleagues"): 400,
    ("POST", "/office/colleagues/<uuid:person_id>/remove"): 404,
    ("GET", "/office/settings"): 200,
    ("POST", "/office/settings"): 400,
}
# By a secret link, which these are not: for everybody the same.
BY_LINK = {
    ("GET", "/office/join/<token>"),
    ("POST", "/office/join/<token>"),
    ("GET", "/a/<token>"),
    ("POST", "/a/<token>"),
    ("POST", "/a/<token>/answer"),
    ("POST", "/a/<token>/done"),
    ("POST", "/a/<token>/not-ours"),
    ("GET", "/a/<token>/map.png"),
    ("GET", "/a/<token>/photo.jpg"),
    ("GET", "/a/<token>/photo/<uuid:photo_id>/<int:size_px>"),
}
FIELDS = {"words": "好", "reason": "好", "note": "好", "office": "排水科"}


def routes(app: Flask) -> Iterator[tuple[str, str]]:
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(("/office", "/a/<token>")):
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield method, rule.rule


def test_every_route_of_the_officers_desk_is_in_the_matrix(app: Flask) -> None:
    assert set(routes(app)) == OF_CASES.keys() | OF_DESK.keys() | BY_LINK


@pytest.mark.parametrize("whose", CASES)
def test_an_officer_acts_for_their_own_agency_looks_below_it_and_sees_nothing_else(
    visitor: Visitor,
    people: dict[str, DemoPerson],
    offices: dict[str, uuid.UUID],
    sessions: sessionmaker[Session],
    whose: str,
) -> None:
    now = datetime.now(UTC)
    # Refusing and being done end a case: each act has one of its own.
    keys = list(OF_CASES)
    with transaction(sessions) as session:
        cases = {
            key: uuid.UUID(NOBODY) if whose == "nothing" else add_case(session, offices[whose], now=now) for key in keys
        }
    visitor.sign_in(people["officer"])
    token = visitor.token("/office/")
    found = {key: status_of(visitor, token, *key, case_id=cases[key]) for key in keys}
    assert found == {key: OF_CASES[key][CASES.index(whose)] for key in keys}


@pytest.mark.parametrize(
    ("role", "expected"),
    [("nobody", 302), ("citizen", 403), ("moderator", 403), ("lead", 403), ("admin", 403), ("officer", None)],
)
def test_nobody_but_officers_comes_to_the_desk(
    visitor: Visitor,
    people: dict[str, DemoPerson],
    offices: dict[str, uuid.UUID],
    sessions: sessionmaker[Session],
    role: str,
    expected: int | None,
) -> None:
    with transaction(sessions) as session:
        case_id = add_case(session, offices["own"], now=datetime.now(UTC))
    sign_in(visitor, people, sessions, role)
    token = visitor.token("/login" if role in ("nobody", "citizen") else "/report")
    keys = [*OF_DESK] if expected is None else [*OF_DESK, *OF_CASES]
    found = {key: status_of(visitor, token, *key, case_id=case_id) for key in keys}
    assert found == {key: OF_DESK[key] if expected is None else expected for key in keys}


@pytest.mark.parametrize("role", ["nobody", "officer", "lead"])
def test_a_link_that_is_none_opens_nothing_for_anybody(
    visitor: Visitor,
    people: dict[str, DemoPerson],
    offices: dict[str, uuid.UUID],
    role: str,
    sessions: sessionmaker[Session],
) -> None:
    assert offices
    sign_in(visitor, people, sessions, role)
    token = visitor.token("/login" if role == "nobody" else "/report")
    for method, route in sorted(BY_LINK):
        assert status_of(visitor, token, method, route, case_id=uuid.UUID(NOBODY)) == 404, (method, route)


def test_an_officer_of_no_agency_is_told_so(
    visitor: Visitor, people: dict[str, DemoPerson], sessions: sessionmaker[Session]
) -> None:
    visitor.sign_in(people["officer"])  # whose agency is not in the table
    page = visitor.get("/office/")
    assert page.status_code == 404
    assert "还不属于任何单位" in page.text


def test_a_tree_that_was_entered_as_a_circle_ends(
    visitor: Visitor, people: dict[str, DemoPerson], offices: dict[str, uuid.UUID], sessions: sessionmaker[Session]
) -> None:
    with transaction(sessions) as session:
        turn = text("UPDATE agency SET parent_id = :below WHERE id = :above")
        session.execute(turn, {"below": offices["below"], "above": offices["above"]})
        add_case(session, offices["stranger"], now=datetime.now(UTC), water="东湖")
        add_office(session, "lone-water", "别处水务局")
    visitor.sign_in(people["officer"])
    assert visitor.get("/office/?reach=below").status_code == 200


def status_of(visitor: Visitor, token: str, method: str, route: str, *, case_id: uuid.UUID) -> int:
    path = "/".join(_filled(part, case_id) for part in route.split("/"))
    if method == "GET":
        return visitor.client.get(path).status_code
    return visitor.client.post(path, data={"csrf_token": token} | (FIELDS if "/case/" in route else {})).status_code


def _filled(part: str, case_id: uuid.UUID) -> str:
    if part == "<uuid:case_id>":
        return str(case_id)
    if part.startswith("<uuid:"):
        return NOBODY
    return {"<token>": "forged", "<int:size_px>": "1024"}.get(part, part)
