"""What an act puts on record and orders is written by one statement at its end, or not at all."""

import uuid
from datetime import datetime

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.gathering import gathered, put, write
from waterwatch.kernel.ids import new_id
from waterwatch.waters.tables import Source


def act(session: Session, now: datetime, name: str) -> None:
    subject = {"subject_kind": "report", "subject_id": uuid.UUID(int=7)}
    actor = Actor.person(uuid.UUID(int=1), None)
    audit.record(session, action=name, actor=actor, now=now, before={"state": "a"}, after={"count": 3}, **subject)
    outbox.emit(session, f"{name}.topic", {"id": "7"}, now=now, priority=2)


def written(session: Session) -> tuple[list[str], list[str]]:
    entries = session.execute(text("SELECT action FROM audit_entry ORDER BY id")).scalars().all()
    orders = session.execute(text("SELECT topic FROM outbox ORDER BY id")).scalars().all()
    return list(entries), list(orders)


def test_many_rows_are_one_statement_and_what_single_ones_would_have_been(session: Session, now: datetime) -> None:
    act(session, now, "single")
    sent: list[str] = []
    connection = session.connection()
    event.listen(connection, "before_cursor_execute", lambda _c, _cur, statement, *_: sent.append(statement))
    with gathered(session):
        act(session, now, "first")
        with gathered(session):
            act(session, now, "second")
        assert sent == []
    assert len(sent) == 1
    assert written(session) == (["single", "first", "second"], ["single.topic", "first.topic", "second.topic"])
    for table, left_out in (("audit_entry", ("id", "action")), ("outbox", ("id", "topic"))):
        rows = session.execute(text(f"SELECT * FROM {table}")).mappings().all()
        alike = [{name: value for name, value in row.items() if name not in left_out} for row in rows]
        assert alike[0] == alike[1] == alike[2]


def test_an_act_that_fails_writes_nothing_and_the_next_row_is_written_at_once(session: Session, now: datetime) -> None:
    def fail() -> None:
        with gathered(session):
            act(session, now, "lost")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert written(session) == ([], [])
    act(session, now, "kept")
    assert written(session) == (["kept"], ["kept.topic"])


def put_source(session: Session, code: str) -> None:
    put(session, Source(id=new_id(), code=code, title="title", licence="CC0"))


def sources(session: Session) -> list[str]:
    return list(session.execute(text("SELECT code FROM source WHERE title = 'title' ORDER BY id")).scalars())


def test_rows_of_several_tables_are_written_with_the_rest(session: Session, now: datetime) -> None:
    sent: list[str] = []
    event.listen(session.connection(), "before_cursor_execute", lambda _c, _cur, statement, *_: sent.append(statement))
    with gathered(session):
        put_source(session, "a 'quoted' name")
        act(session, now, "first")
        put_source(session, "second")
        assert sent == []
    assert len(sent) == 1
    assert sources(session) == ["a 'quoted' name", "second"]
    assert written(session) == (["first"], ["first.topic"])


def test_a_row_is_there_once_something_is_about_to_read_it(session: Session) -> None:
    with gathered(session):
        put_source(session, "first")
        assert sources(session) == []
        write(session)
        assert sources(session) == ["first"]
        write(session)
        put_source(session, "second")
    assert sources(session) == ["first", "second"]


def test_where_no_act_gathers_a_row_is_added_as_ever(session: Session) -> None:
    write(session)
    put_source(session, "alone")
    session.flush()
    assert sources(session) == ["alone"]
