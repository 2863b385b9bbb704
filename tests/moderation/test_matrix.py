"""Who may do what at the desk: every route of it for every role, and what each is answered. A new one must be named."""

import uuid
from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.moderation.rows import add_river, add_waiting
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction

NOBODY = "01900000-0000-7000-8000-00000000dead"  # an id of nothing: whoever is let in finds nothing there
# Without an account one is asked to sign in; whoever may not is told so.
REVIEW = {"nobody": 302, "citizen": 403, "officer": 403, "admin": 403}
# By (method, route): what a moderator and a lead are answered who send nothing with it, about something unknown.
MATRIX: dict[tuple[str, str], tuple[int, int]] = {
    ("GET", "/desk/"): (200, 200),
    ("POST", "/desk/unheard/<uuid:case_id>/again"): (403, 404),
    ("POST", "/desk/next"): (303, 303),
    ("POST", "/desk/next/prepare"): (303, 303),
    ("POST", "/desk/leave"): (204, 204),
    ("POST", "/desk/view"): (303, 303),
    ("POST", "/desk/views/<uuid:view_id>"): (404, 404),
    ("POST", "/desk/areas"): (303, 303),
    ("GET", "/desk/pace"): (200, 200),
    ("POST", "/desk/pictures"): (303, 303),
    ("GET", "/desk/<uuid:report_id>"): (404, 404),
    ("POST", "/desk/<uuid:report_id>/grade"): (404, 404),
    ("POST", "/desk/<uuid:report_id>/refuse"): (404, 404),
    ("POST", "/desk/<uuid:report_id>/patrol"): (404, 404),
    ("POST", "/desk/<uuid:report_id>/release"): (303, 303),
    ("POST", "/desk/<uuid:report_id>/contact"): (403, 404),
    ("POST", "/desk/<uuid:report_id>/correct"): (404, 404),
    ("POST", "/desk/<uuid:report_id>/ask"): (404, 404),
    ("POST", "/desk/<uuid:report_id>/hand"): (404, 404),
    ("POST", "/desk/<uuid:report_id>/take"): (403, 409),
    ("POST", "/desk/decision/<uuid:decision_id>/undo"): (404, 404),
    ("GET", "/desk/incident/<uuid:incident_id>"): (404, 404),
    ("POST", "/desk/incident/<uuid:incident_id>/second"): (404, 404),
    ("POST", "/desk/incident/<uuid:incident_id>/regrade"): (404, 404),
    ("POST", "/desk/incident/<uuid:incident_id>/split"): (404, 404),
    ("POST", "/desk/incident/<uuid:incident_id>/absorb"): (404, 404),
    ("GET", "/desk/<uuid:report_id>/downstream"): (404, 404),
    ("GET", "/desk/incident/<uuid:incident_id>/downstream"): (404, 404),
    ("POST", "/desk/incident/<uuid:incident_id>/downstream"): (404, 404),
    ("POST", "/desk/<uuid:report_id>/arrival"): (400, 400),
    ("GET", "/desk/batch"): (200, 200),
    ("POST", "/desk/batch/preview"): (400, 400),
    ("POST", "/desk/batch/do"): (400, 400),
    ("GET", "/desk/answers"): (403, 200),
    ("POST", "/desk/answers/<uuid:answer_id>/publish"): (403, 404),
    ("POST", "/desk/answers/<uuid:answer_id>/withhold"): (403, 303),
    ("GET", "/desk/answers/<uuid:answer_id>/photo/<int:position>/<int:size_px>"): (403, 404),
    ("GET", "/desk/record"): (403, 200),
    ("POST", "/desk/record/<uuid:decision_id>/reverse"): (403, 303),
    ("GET", "/desk/letters"): (403, 200),
    ("GET", "/desk/letters/<uuid:delivery_id>/letter.pdf"): (403, 404),
    ("POST", "/desk/letters/<uuid:delivery_id>/posted"): (403, 303),
    ("GET", "/desk/blind/"): (200, 200),
    ("POST", "/desk/blind/next"): (303, 303),
    ("GET", "/desk/blind/<uuid:blind_review_id>"): (409, 409),
    ("POST", "/desk/blind/<uuid:blind_review_id>"): (409, 409),
    ("GET", "/desk/training/"): (200, 200),
    ("GET", "/desk/training/<uuid:case_id>"): (404, 404),
    ("POST", "/desk/training/<uuid:case_id>"): (404, 404),
    ("GET", "/desk/tiles/address"): (200, 200),
    ("GET", "/desk/fairness/"): (403, 200),
    ("POST", "/desk/fairness/cases"): (403, 400),
    ("POST", "/desk/fairness/cases/<uuid:case_id>/retire"): (403, 404),
    ("GET", "/desk/evidence"): (403, 200),
    ("POST", "/desk/evidence"): (403, 400),
    ("GET", "/desk/bulletins"): (403, 200),
    ("POST", "/desk/bulletins"): (403, 400),
    ("GET", "/desk/bulletins/<uuid:bulletin_id>"): (403, 404),
    ("GET", "/desk/bulletins/<uuid:bulletin_id>/pdf/<int:volume>"): (403, 404),
    ("GET", "/desk/bulletins/<uuid:bulletin_id>/csv/<int:volume>"): (403, 404),
    ("POST", "/desk/bulletins/<uuid:bulletin_id>/foreword"): (403, 404),
    ("POST", "/desk/bulletins/<uuid:bulletin_id>/approve"): (403, 404),
    ("POST", "/desk/bulletins/<uuid:bulletin_id>/withhold"): (403, 404),
    ("POST", "/desk/bulletins/<uuid:bulletin_id>/correct"): (403, 404),
    ("GET", "/desk/accountability"): (403, 200),
    ("POST", "/desk/accountability/periods"): (403, 400),
    ("POST", "/desk/accountability/comments/<uuid:comment_id>/publish"): (403, 404),
    ("POST", "/desk/accountability/comments/<uuid:comment_id>/withhold"): (403, 303),
    ("GET", "/desk/screening"): (200, 200),
    ("POST", "/desk/screening/check"): (400, 400),
    ("POST", "/desk/screening/decide"): (400, 400),
    ("GET", "/desk/photo/<uuid:photo_id>"): (404, 404),
    ("GET", "/desk/photo/<uuid:photo_id>/<int:size_px>"): (404, 404),
    ("POST", "/desk/photo/<uuid:photo_id>/redactions"): (404, 404),
    ("POST", "/desk/photo/<uuid:photo_id>/original"): (403, 404),
}


_MADE_CITIZEN = text("""
UPDATE membership SET role_id = (SELECT id FROM role WHERE name = 'citizen')
WHERE person_id = (SELECT id FROM person WHERE email = :email)
""")


def routes(app: Flask) -> Iterator[tuple[str, str]]:
    """Every route of the desk with each of its methods."""
    for rule in app.url_map.iter_rules():
        if rule.rule == "/desk" or rule.rule.startswith("/desk/"):
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield method, rule.rule


def test_every_route_of_the_desk_is_in_the_matrix(app: Flask) -> None:
    assert set(routes(app)) == set(MATRIX)


@pytest.mark.parametrize("role", ["nobody", "citizen", "officer", "admin", "moderator", "lead"])
def test_each_role_is_answered_as_the_matrix_says(
    app: Flask,
    visitor: Visitor,
    people: dict[str, DemoPerson],
    sessions: sessionmaker[Session],
    role: str,
) -> None:
    with transaction(sessions) as session:
        river = add_river(session, "长江")
        for _report in range(3):
            add_waiting(session, river, now=utc_now())
    sign_in(visitor, people, sessions, role)
    token = visitor.token("/login" if role in ("nobody", "citizen") else "/report")
    expected = {key: expected_of(role, key) for key in MATRIX}
    found = {key: status_of(visitor, token, *key) for key in MATRIX}
    assert found == expected


def expected_of(role: str, key: tuple[str, str]) -> int:
    if role in REVIEW:
        return REVIEW[role]
    return MATRIX[key][0 if role == "moderator" else 1]


def status_of(visitor: Visitor, token: str, method: str, route: str) -> int:
    """What one is answered; the forms are sent empty but for their token."""
    path = "/".join(_filled(part) for part in route.split("/"))
    if method == "GET":
        return visitor.client.get(path).status_code
    return visitor.client.post(path, data={"csrf_token": token}).status_code


def _filled(part: str) -> str:
    if part.startswith("<uuid:"):
        return str(uuid.UUID(NOBODY))
    return "1024" if part.startswith("<int:") else part


def sign_in(visitor: Visitor, people: dict[str, DemoPerson], sessions: sessionmaker[Session], role: str) -> None:
    """As somebody of a role; a citizen is somebody with an account that may do nothing for anybody."""
    if role == "nobody":
        return
    if role == "citizen":
        with transaction(sessions) as session:
            session.execute(_MADE_CITIZEN, {"email": people["second"].email})
    visitor.sign_in(people["second" if role == "citizen" else role])
