"""The audit: append-only in effect, sealed into a chain that shows every change, free of personal data."""

import threading
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.orm import Session, sessionmaker

from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import normalise_url, transaction
from waterwatch.kernel.log import request_scope

NOW = datetime(2026, 5, 20, 2, 30, tzinfo=UTC)
SUBJECT = uuid.UUID("01900000-0000-7000-8000-00000000aaaa")


def write(session: Session, **changes: Any) -> None:
    facts: dict[str, Any] = {
        "action": "report.submitted", "subject_kind": "report", "subject_id": SUBJECT,
        "actor": Actor.anonymous(), "now": NOW, "after": {"state": "received"},
    }  # fmt: skip
    audit.record(session, **(facts | changes))


@pytest.fixture
def sealed(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    """Five entries, all sealed."""
    with transaction(sessions) as session:
        for number in range(5):
            write(session, after={"number": number})
    with transaction(sessions) as session:
        assert audit.seal(session, now=NOW) == 5
    return sessions


def tamper(url: str, *statements: str) -> None:
    """As somebody who owns the tables and has switched the triggers off."""
    engine = create_engine(normalise_url(url))
    with engine.begin() as connection:
        connection.execute(text("SET session_replication_role = replica"))
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.mark.parametrize("table", ["audit_entry", "audit_seal"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {} CASCADE", "UPDATE {} SET id = id"])
def test_the_applications_role_may_not_change_the_past(
    sealed: sessionmaker[Session], table: str, statement: str
) -> None:
    words = statement.format(table).replace("SET id = id", "SET seq = seq" if table == "audit_seal" else "SET id = id")
    with pytest.raises(ProgrammingError, match="permission denied"), transaction(sealed) as session:
        session.execute(text(words))


@pytest.mark.parametrize("statement", ["DELETE FROM audit_entry", "UPDATE audit_entry SET action = 'x'"])
def test_not_even_the_owner_changes_the_past_by_a_slip(
    sealed: sessionmaker[Session], database_url: str, statement: str
) -> None:
    owner = create_engine(normalise_url(database_url))
    with pytest.raises(DBAPIError, match="append-only"), owner.begin() as connection:
        connection.execute(text(statement))
    owner.dispose()


def test_an_untouched_chain_is_whole(sealed: sessionmaker[Session]) -> None:
    with transaction(sealed) as session:
        write(session)
        verdict = audit.verify(session)
    assert (verdict.is_whole, verdict.sealed, verdict.unsealed) == (True, 5, 1)


@pytest.mark.parametrize(
    ("change", "broken_at", "reason"),
    [
        ("UPDATE audit_entry SET after = '{\"number\": 7}' WHERE after ->> 'number' = '2'", 3, "entry_changed"),
        ("UPDATE audit_entry SET at = at + interval '1 second' WHERE after ->> 'number' = '0'", 1, "entry_changed"),
        ("DELETE FROM audit_entry WHERE after ->> 'number' = '3'", 4, "entry_missing"),
        ("DELETE FROM audit_seal WHERE seq = 2", 2, "seal_missing"),
        ("UPDATE audit_seal SET hash = sha256('x') WHERE seq = 5", 5, "entry_changed"),
    ],
)
def test_the_chain_tells_where_it_was_broken(
    sealed: sessionmaker[Session], database_url: str, change: str, broken_at: int, reason: str
) -> None:
    tamper(database_url, change)
    with transaction(sealed) as session:
        verdict = audit.verify(session)
    assert (verdict.is_whole, verdict.broken_at, verdict.reason) == (False, broken_at, reason)


def test_sealing_again_seals_nothing(sealed: sessionmaker[Session]) -> None:
    with transaction(sealed) as session:
        assert audit.seal(session, now=NOW) == 0


def test_later_entries_join_the_same_chain(sealed: sessionmaker[Session]) -> None:
    with transaction(sealed) as session:
        write(session)
        write(session)
    with transaction(sealed) as session:
        assert audit.seal(session, now=NOW, limit=1) == 1
        assert audit.seal(session, now=NOW, limit=1) == 1
    with transaction(sealed) as session:
        assert audit.verify(session).sealed == 7


def test_two_sealers_at_once_make_one_chain(sessions: sessionmaker[Session]) -> None:
    with transaction(sessions) as session:
        for _ in range(300):
            write(session)

    def live() -> None:
        for _ in range(30):
            with transaction(sessions) as session:
                audit.seal(session, now=NOW, limit=10)

    sealers = [threading.Thread(target=live) for _ in range(3)]
    for sealer in sealers:
        sealer.start()
    for sealer in sealers:
        sealer.join()
    with transaction(sessions) as session:
        audit.seal(session, now=NOW)
        verdict = audit.verify(session)
    assert (verdict.is_whole, verdict.sealed, verdict.unsealed) == (True, 300, 0)


def test_an_entry_that_was_never_committed_leaves_no_gap(sessions: sessionmaker[Session]) -> None:
    with sessions() as session:
        write(session)
        session.rollback()
    with transaction(sessions) as session:
        write(session)
    with transaction(sessions) as session:
        assert audit.seal(session, now=NOW) == 1
        assert audit.verify(session).is_whole


def test_an_entry_committed_after_younger_ones_were_sealed_is_sealed_too(sessions: sessionmaker[Session]) -> None:
    with sessions() as slow:
        write(slow)
        with transaction(sessions) as session:
            write(session)
        with transaction(sessions) as session:
            assert audit.seal(session, now=NOW) == 1
        slow.commit()
    with transaction(sessions) as session:
        assert audit.seal(session, now=NOW) == 1
        assert audit.verify(session).is_whole


@pytest.mark.parametrize("words", ["王小明", "a note", "somebody@example.org", "203.0.113.9/32", "x" * 81])
def test_free_text_is_refused(session: Session, words: str) -> None:
    with pytest.raises(ValueError, match="free text"):
        write(session, after={"state": words})


def test_an_anonymous_entry_holds_no_trace_of_its_author(session: Session) -> None:
    with request_scope("request-7"):
        write(session)
    entry = session.execute(text("SELECT * FROM audit_entry")).mappings().one()
    filled = {name for name, value in entry.items() if value is not None}
    assert filled == {"id", "at", "actor_kind", "action", "subject_kind", "subject_id", "after", "request_id"}
    assert entry["request_id"] == "request-7"


def test_verifying_walks_long_chains_in_batches(sessions: sessionmaker[Session], engine: Engine) -> None:
    with transaction(sessions) as session:
        for _ in range(2001):
            write(session)
    with transaction(sessions) as session:
        audit.seal(session, now=NOW)
    with transaction(sessions) as session:
        assert audit.verify(session).sealed == 2001
