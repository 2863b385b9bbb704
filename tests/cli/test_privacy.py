"""After a restore, what was erased since the backup is erased again."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.cli.conftest import Waterwatch
from tests.escalation.rows import insert
from tests.moderation.rows import add_waiting
from waterwatch.contacts import service as contacts
from waterwatch.contacts.rules import Contact
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.mine import service as mine
from waterwatch.reports import service as reports

NOBODY = Actor.anonymous()
THEN = "2020-05-20T10:00:00+00:00"
WANG = Contact("wang@example.org", None, by_mail=True, may_ask=False)


@pytest.fixture
def kept(make_settings: Callable[..., Settings]) -> Callable[[sessionmaker[Session], list[uuid.UUID]], None]:
    """Writes what a backup held: a report to be withdrawn, one whose contact goes, one that stays, and somebody."""

    def write(sessions: sessionmaker[Session], ids: list[uuid.UUID]) -> None:
        settings, now = make_settings(), utc_now() - timedelta(days=1)
        with transaction(sessions) as session:
            for number, report_id in enumerate(ids[:3]):
                facts = {"code": f"222{number + 2}-2222", "note": "x", "follow_digest": bytes([number]) * 32}
                add_waiting(session, None, now=now, id=report_id, **facts)
                contacts.keep(session, report_id, WANG, settings=settings, now=now)
            insert(session, "person", id=ids[3], email="wang@example.org", fs_uniquifier="x", created_at=now)

    return write


def left(sessions: sessionmaker[Session]) -> list[Any]:
    with transaction(sessions) as session:
        notes = "SELECT count(note), (SELECT count(*) FROM report_contact), (SELECT count(*) FROM person) FROM report"
        return list(session.execute(text(notes)).one())


def test_what_was_erased_since_the_backup_is_erased_again(
    waterwatch: Waterwatch,
    sessions: sessionmaker[Session],
    clone_database: Callable[[], str],
    kept: Callable[[sessionmaker[Session], list[uuid.UUID]], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    ids = [new_id() for _ in range(4)]
    kept(sessions, ids)
    with transaction(sessions) as session:
        reports.withdraw(session, ids[0], now=utc_now())
        contacts.erase_contact(session, ids[1], "author", actor=NOBODY, now=utc_now())
        mine.delete_account(session, ids[3], now=utc_now())
    listed = tmp_path / "erased"
    listed.write_text(
        waterwatch("privacy", "list", "--since", "2020-01-01").output + f"report.withdrawn {new_id()} {THEN}\n"
    )
    assert "wang" not in listed.read_text()
    assert waterwatch("privacy", "list", "--since", "2999-01-01").output == ""

    url = clone_database()
    monkeypatch.setenv("DATABASE_URL", url)
    engine = make_engine(url)
    restored = make_sessions(engine)
    kept(restored, ids)
    assert left(restored) == [3, 3, 1]
    for _twice in range(2):
        assert waterwatch("privacy", "replay", listed).exit_code == 0
        assert left(restored) == left(sessions) == [2, 1, 0]
    with transaction(restored) as session:
        session.execute(text("UPDATE report SET state = 'accepted' WHERE id = :id"), {"id": ids[2]})
    listed.write_text(f"report.withdrawn {ids[2]} {THEN}\n")
    refused = waterwatch("privacy", "replay", listed)
    assert (refused.exit_code, "too_late_to_withdraw" in refused.output) == (1, True)
    engine.dispose()


def test_a_contact_left_after_the_act_stays_and_one_whose_mails_were_stopped_goes(
    waterwatch: Waterwatch,
    sessions: sessionmaker[Session],
    kept: Callable[[sessionmaker[Session], list[uuid.UUID]], None],
    tmp_path: Path,
) -> None:
    """The list reaches back before the backup: what its author said since, and what stopping took along, count."""
    ids = [new_id() for _ in range(4)]
    kept(sessions, ids)
    listed = tmp_path / "erased"
    listed.write_text(f"contact.erased {ids[0]} {THEN}\ncontact.mail_stopped {ids[1]} {THEN}\n")
    assert waterwatch("privacy", "replay", listed).exit_code == 0
    assert left(sessions) == [3, 3, 1]
    listed.write_text(f"contact.mail_stopped {ids[1]} {utc_now().isoformat()}\n")
    assert waterwatch("privacy", "replay", listed).exit_code == 0
    assert left(sessions) == [3, 2, 1]


@pytest.mark.parametrize(
    "line",
    [
        "report.withdrawn",
        f"report.withdrawn x {THEN}",
        f"report.withdrawn {uuid.UUID(int=0)}",
        f"report.withdrawn {uuid.UUID(int=0)} 2026-05-20T10:00:00",
        f"person.created {uuid.UUID(int=0)} {THEN}",
        "; drop",
    ],
)
def test_a_line_that_cannot_be_read_stops_before_anything_is_erased(
    waterwatch: Waterwatch, tmp_path: Path, line: str
) -> None:
    listed = tmp_path / "erased"
    listed.write_text(f"{line}\n")
    answer = waterwatch("privacy", "replay", listed)
    assert (answer.exit_code, "line 1 cannot be read" in answer.output) == (1, True)
