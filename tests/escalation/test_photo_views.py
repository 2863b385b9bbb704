"""The link of a case's photo opens the photo and nothing else."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.letters import contact, letter
from tests.escalation.rows import add_photo, add_report
from tests.escalation.ways import TESTS, add_way, tell
from waterwatch.escalation import service
from waterwatch.escalation.channels import Handed
from waterwatch.escalation.links import photo_url
from waterwatch.escalation.queries import case_facts
from waterwatch.kernel.db import transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings

NOW = datetime.now(UTC)


def test_a_photo_by_itself(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings, tmp_path: Path
) -> None:
    with transaction(sessions) as session:
        contact_id = add_way(session, "webhook", "https://x.example/", secret=b"x", settings=settings)
    told = tell(sessions, contact_id, Handed(), settings=settings, now=NOW)
    with transaction(sessions) as session:
        report_id = add_report(session, told.incident_id, now=NOW)
        photo = add_photo(session, report_id, ObjectStore(settings.objects_url), tmp_path, now=NOW)
        facts = case_facts(session, told.case_id)
    made = letter(contact("open311", "https://x.example/"), facts=facts, case_id=told.case_id, queued_at=NOW)
    path = photo_url(settings, made).removeprefix(settings.public_url)
    answer = client.get(path)
    assert (answer.data, answer.content_type) == (photo, "image/jpeg")
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    token = path.removeprefix("/case-photo/").removesuffix(".jpg")
    assert client.get(f"/a/{token}").status_code == 404  # it opens no case
    assert client.get(f"/case-photo/{made.answer_url.rpartition('/')[2]}.jpg").status_code == 404
    with transaction(sessions) as session:
        session.execute(text("UPDATE photo SET redaction_wanted_at = now()"))
    assert client.get(path).status_code == 503
    with transaction(sessions) as session:
        service.withdraw_cases(session, told.incident_id, settings=settings, actor=TESTS, now=NOW)
    assert client.get(path).status_code == 410
    old = facts.created_at - timedelta(days=settings.acknowledge_link_days + 1)
    late = photo_url(settings, letter(made.contact, facts=facts, queued_at=old))
    assert client.get(late.removeprefix(settings.public_url)).status_code == 410
