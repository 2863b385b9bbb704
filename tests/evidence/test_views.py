"""The published key, and the lead's page."""

import io
import zipfile
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation import rows
from tests.web.conftest import database_url, people, peopled_database, settings, visitor
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.app import create_app
from waterwatch.evidence import keys
from waterwatch.evidence.rules import MAX_FILES
from waterwatch.evidence.verification import verify
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

__all__ = ["database_url", "people", "peopled_database", "settings", "visitor"]


@pytest.fixture
def code(sessions: sessionmaker[Session]) -> str:
    with transaction(sessions) as session:
        rows.add_incident(session, now=utc_now())
        return str(session.execute(text("SELECT code FROM incident")).scalar_one())


@pytest.fixture
def lead(visitor: Visitor, people: dict[str, DemoPerson]) -> Visitor:
    visitor.sign_in(people["lead"])
    return visitor


def test_anybody_may_have_the_key(app: Flask, settings: Settings) -> None:
    answer = app.test_client().get("/.well-known/waterwatch-evidence.pem")
    assert (answer.status_code, answer.mimetype) == (200, "application/x-pem-file")
    assert keys.read_public_keys(answer.data)[0] == keys.public_keys(settings)[0]


def test_a_lead_saves_a_bundle_and_the_page_tells_everybody_who_did_and_why(
    lead: Visitor, code: str, settings: Settings, tmp_path: Path
) -> None:
    assert "还没有人取用过证据包" in lead.get("/desk/evidence").text
    answer = lead.post("/desk/evidence", {"code": code, "reason": "court", "reference": "HB-7"}, page="/desk/evidence")
    assert (answer.status_code, answer.mimetype) == (200, "application/zip")
    assert answer.headers["Content-Disposition"].startswith(f"attachment; filename=waterwatch-{code}-")
    assert answer.headers["Cache-Control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(answer.data)) as opened:
        assert "incident.json" in opened.namelist()
    saved = tmp_path / "saved.zip"
    saved.write_bytes(answer.data)
    assert verify(saved, keys.public_keys(settings)).is_whole
    answer.close()
    assert list(settings.spool_dir.iterdir()) == []
    page = lead.get("/desk/evidence").text
    for words in (code, "法院或仲裁", "HB-7", "lead@"):
        assert words in page


def test_what_is_wrong_with_a_demand_is_said_beside_it_and_nothing_is_left(
    lead: Visitor, code: str, settings: Settings
) -> None:
    answer = lead.post("/desk/evidence", {"code": code, "reference": "王小明"}, page="/desk/evidence")
    assert answer.status_code == 400
    assert "编号只能写字母、数字" in answer.text
    unknown = lead.post("/desk/evidence", {"code": "2222-2222", "reason": "court"}, page="/desk/evidence")
    assert (unknown.status_code, "没有这个事件编号" in unknown.text) == (404, True)
    assert list(settings.spool_dir.iterdir()) == []
    assert "还没有人取用过证据包" in lead.get("/desk/evidence").text


def test_a_key_that_is_none_is_said_to_be(
    code: str, settings: Settings, people: dict[str, DemoPerson], tmp_path: Path
) -> None:
    (tmp_path / "evidence.pem").write_text("no key")
    app = create_app(settings.model_copy(update={"evidence_key": tmp_path / "evidence.pem"}))
    lead = Visitor(app.test_client())
    lead.sign_in(people["lead"])
    answer = lead.post("/desk/evidence", {"code": code, "reason": "court"}, page="/desk/evidence")
    assert (answer.status_code, "签名密钥现在不可用" in answer.text) == (503, True)
    assert list(settings.spool_dir.iterdir()) == []
    app.extensions["waterwatch"].engine.dispose()


def test_an_incident_of_more_files_than_a_bundle_holds_is_said_to_be_one(
    lead: Visitor, code: str, settings: Settings, sessions: sessionmaker[Session]
) -> None:
    with transaction(sessions) as session:
        incident_id = session.execute(text("SELECT id FROM incident")).scalar_one()
        rows.add_report(session, incident_id, now=utc_now())
        session.execute(
            text("""
                INSERT INTO report SELECT (jsonb_populate_record(r, jsonb_build_object('id', gen_random_uuid(),
                    'code', lpad(n::text, 8, 'A'), 'follow_digest', sha256(n::text::bytea),
                    'submission_digest', sha256(('s' || n)::bytea)))).*
                FROM report r, generate_series(1, :files) n"""),
            {"files": MAX_FILES},
        )
        session.execute(
            text("""INSERT INTO incident_report (report_id, incident_id, joined_at)
                    SELECT id, :id, now() FROM report ON CONFLICT DO NOTHING"""),
            {"id": incident_id},
        )
    answer = lead.post("/desk/evidence", {"code": code, "reason": "court"}, page="/desk/evidence")
    assert (answer.status_code, "一个证据包装不下" in answer.text) == (409, True)
    assert list(settings.spool_dir.iterdir()) == []
    assert "没有做成" in lead.get("/desk/evidence").text


def test_the_lead_s_desk_leads_to_the_page_and_a_moderator_s_does_not(
    lead: Visitor, app: Flask, people: dict[str, DemoPerson]
) -> None:
    assert "/desk/evidence" in lead.get("/desk/").text
    moderator = Visitor(app.test_client())
    moderator.sign_in(people["moderator"])
    assert "/desk/evidence" not in moderator.get("/desk/").text
    assert moderator.get("/desk/evidence").status_code == 403
