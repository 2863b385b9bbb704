"""What no form of ours would send: the desk answers that it cannot be, and stays up."""

import uuid

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.moderation.rows import add_moderator, add_river, add_waiting, grading
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.fairness import service as fairness
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import service

HOSTILE = ("a\0b", "\0", "<script>alert(1)</script>", "长" * 10_000, "\u202eabc", "'; DROP TABLE report; --", "\ud800")


@pytest.fixture
def incident_id(sessions: sessionmaker[Session], settings: Settings) -> uuid.UUID:
    with transaction(sessions) as session:
        now = utc_now()
        first = add_moderator(session, "first", now=now)
        report_id = add_waiting(session, add_river(session, "长江"), now=now)
        return service.grade_report(session, grading(report_id), settings=settings, actor=first, now=now).id


@pytest.mark.parametrize("words", HOSTILE[:-1], ids=range(len(HOSTILE) - 1))
def test_no_words_bring_the_desk_down(
    visitor: Visitor, people: dict[str, DemoPerson], incident_id: uuid.UUID, sessions: sessionmaker[Session], words: str
) -> None:
    visitor.sign_in(people["lead"])
    with transaction(sessions) as session:
        report_id = add_waiting(session, add_river(session, "汉江"), now=utc_now())
        first = session.execute(text("SELECT id FROM report WHERE state = 'accepted'")).scalar_one()
        outsider = session.execute(text("SELECT id FROM person WHERE email = 'first@example.org'")).scalar_one()
    desk, page = "/desk/", f"/desk/{report_id}"
    posts = [
        ("/desk/view", {"keep": "1", "name": words, "kind": words, "area": words, "water": words}, desk),
        ("/desk/areas", {"add": words, "area": words}, desk),
        (f"/desk/incident/{incident_id}/absorb", {"code": words}, desk),
        (f"/desk/incident/{incident_id}/regrade", {"kind": words, "severity": "3", "departure_reason": words}, desk),
        (f"/desk/incident/{incident_id}/split", {"report": words, "kind": "foam", "severity": "1"}, desk),
        ("/desk/fairness/cases", {"code": words, "outcome": words, "explanation": words}, desk),
        ("/desk/fairness/cases", {"code": "ABCD-2345", "outcome": "1", "explanation": words}, desk),
        (
            "/desk/batch/preview",
            {"what": "refuse", "code": words, "codes": words, "report": words, "words": words},
            desk,
        ),
        ("/desk/batch/preview", {"what": "join", "incident": words, "report": str(report_id)}, desk),
        ("/desk/batch/do", {"what": "refuse", "code": "abuse", "report": str(first), "words": words}, desk),
        (f"{page}/ask", {"code": "other", "words": words}, page),
        (f"{page}/hand", {"reason": words}, page),
        (f"{page}/contact", {"reason": words}, page),
        (f"{page}/correct", {"kind": words, "lon": words, "lat": words, "water_feature_id": words}, page),
        (f"{page}/patrol", {"verifies_incident_id": words}, page),
        ("/desk/leave", {"report": words}, desk),
        (f"{page}/refuse", {"code": "unclear", "words": words, "version": words}, page),
    ]
    with transaction(sessions) as session:
        case_id = fairness.add_case(session, first, 1, "看得清楚", actor=Actor.person(outsider, None), now=utc_now())
    posts.append((f"/desk/training/{case_id}", {"outcome": words, "kind": words, "extent": words}, desk))
    posts.append((f"/desk/blind/{case_id}", {"outcome": words, "kind": words}, desk))
    for path, fields, origin in posts:
        assert visitor.post(path, fields, page=origin).status_code < 500, path
    for query in (
        "day=9999-12-31",
        "day=0001-01-01",
        "page=99999999999999999999",
        f"person={uuid.UUID(int=0)}",
        "code=x",
    ):
        assert visitor.get(f"/desk/record?{query}").status_code == 200, query
