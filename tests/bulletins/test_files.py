"""What a bulletin's files hold, read by others: pypdf and csv."""

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pypdf import PdfReader
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.bulletins.rows import (
    CLOCKS,
    DAY,
    HOUR,
    SYSTEM,
    add_department,
    add_entry,
    add_picture,
    context_of,
    files,
    make,
)
from waterwatch.bulletins import jobs, service
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

HOSTILE = "=cmd|' /C calc'!A0<img src=\"http://evil.example/x.png\"><style>@import url(file:///etc/passwd)</style>"


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str) -> Settings:
    return make_settings(database_url=database_url)


def words_of(pdf: bytes) -> str:
    return "".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


def bare(words: str) -> str:
    return re.sub(r"\s", "", words)


def test_every_incident_is_in_the_pdf_and_in_the_table(
    sessions: sessionmaker[Session], settings: Settings, tmp_path: Path
) -> None:
    context = context_of(settings, sessions)
    with transaction(sessions) as session:
        agency = add_department(session)
        codes = [add_entry(session, agency, DAY + number * HOUR)[1] for number in range(60)]
        incident_id, pictured = add_entry(session, agency, severity=4)
        session.execute(
            text("UPDATE incident SET severity = 4, graded_severity = 4 WHERE id = :id"), {"id": incident_id}
        )
        add_picture(session, incident_id, context.objects, tmp_path)
    found = files(context, make(context, agency))
    assert set(found) == {"pdf1", "csv1"}
    reader = PdfReader(io.BytesIO(found["pdf1"]))
    words = bare(words_of(found["pdf1"]))
    assert [code for code in (*codes, pictured) if code not in words] == []
    assert "2026年第1季度季报" in words
    assert "长江（江岸区）" in words
    assert f"{len(reader.pages)}/{len(reader.pages)}" in words
    with transaction(sessions) as session:
        assert session.execute(text("SELECT pages FROM bulletin_file WHERE form = 'pdf'")).scalar_one() == len(
            reader.pages
        )
    table = list(csv.DictReader(io.StringIO(found["csv1"].decode().removeprefix("\ufeff"))))
    assert [row["code"] for row in table] == [pictured, *codes]
    assert table[0]["county"] == "江岸区"
    assert table[0]["photos"] == "1"
    assert {row["overdue"] for row in table} == {"acknowledge"}


def test_heads_of_tables_are_repeated_and_the_file_is_tagged_and_refers_to_nothing_outside(
    sessions: sessionmaker[Session], settings: Settings
) -> None:
    context = context_of(settings, sessions)
    with transaction(sessions) as session:
        agency = add_department(session)
        for number in range(80):
            add_entry(session, agency, DAY + number * HOUR)
    printed = files(context, make(context, agency))["pdf1"]
    reader = PdfReader(io.BytesIO(printed))
    listing = [page for page in reader.pages if "地点与类型" in bare(page.extract_text())]
    assert len(listing) >= 3
    root = reader.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "zh-Hans"
    for foreign in (b"/URI", b"/Launch", b"/JavaScript", b"/EmbeddedFile", b"/GoToR"):
        assert foreign not in printed
    assert reader.metadata is not None
    assert "/CreationDate" not in reader.metadata


def test_hostile_names_print_as_they_are_and_fetch_nothing(sessions: sessionmaker[Session], settings: Settings) -> None:
    context = context_of(settings, sessions)
    with transaction(sessions) as session:
        agency = add_department(session, HOSTILE)
        add_entry(session, agency)
        session.execute(text("UPDATE water_name SET name = :name"), {"name": HOSTILE})
        session.execute(text("UPDATE jurisdiction_name SET name = :name"), {"name": HOSTILE})
    found = files(context, make(context, agency))
    assert "evil.example/x.png" in bare(words_of(found["pdf1"]))
    (row,) = csv.DictReader(io.StringIO(found["csv1"].decode().removeprefix("\ufeff")))
    assert row["water_name"] == "'" + HOSTILE
    assert row["county"] == "'" + HOSTILE


def test_the_same_rows_give_the_same_bytes(sessions: sessionmaker[Session], settings: Settings, tmp_path: Path) -> None:
    context = context_of(settings, sessions)
    with transaction(sessions) as session:
        agency = add_department(session)
        incident_id, _code = add_entry(session, agency)
        add_picture(session, incident_id, context.objects, tmp_path)
    bulletin_id = make(context, agency)
    first = files(context, bulletin_id)
    with transaction(sessions) as session:
        row = service.change_foreword(session, bulletin_id, "", actor=SYSTEM, now=context.now())
        revision = row.revision
    assert jobs.make_files(context, bulletin_id, revision)
    assert files(context, bulletin_id) == first
    assert jobs.make_files(context, bulletin_id, revision) is False


def test_a_quarter_without_an_incident_is_a_bulletin_too(sessions: sessionmaker[Session], settings: Settings) -> None:
    context = context_of(settings, sessions)
    with transaction(sessions) as session:
        agency = add_department(session)
    words = bare(words_of(files(context, make(context, agency))["pdf1"]))
    assert "本期没有事件" in words


def test_a_long_one_comes_in_volumes_that_list_every_incident_once(
    sessions: sessionmaker[Session], make_settings: Callable[..., Settings], database_url: str
) -> None:
    context = context_of(make_settings(database_url=database_url, bulletin_volume=25), sessions)
    with transaction(sessions) as session:
        agency = add_department(session)
        codes = [add_entry(session, agency, DAY + number * HOUR)[1] for number in range(60)]
    found = files(context, make(context, agency))
    assert set(found) == {"pdf1", "pdf2", "pdf3", "csv1"}
    lists = [bare(words_of(found[f"pdf{volume}"])).split("事件清单")[1] for volume in (1, 2, 3)]
    assert [sum(code in listed for code in codes) for listed in lists] == [25, 25, 10]
    assert "第3册，共3册" in bare(words_of(found["pdf3"]))


def test_what_is_not_the_departments_or_not_of_the_period_is_left_out(
    sessions: sessionmaker[Session], settings: Settings
) -> None:
    context = context_of(settings, sessions)
    before, after = datetime(2025, 11, 1, tzinfo=UTC), datetime(2026, 4, 1, 0, 0, 1, tzinfo=UTC)
    with transaction(sessions) as session:
        agency = add_department(session)
        ended = {"state": "expired", "closed_at": datetime(2025, 12, 30, tzinfo=UTC)}
        add_entry(session, agency, before, incident=ended, delivered_at=before)
        add_entry(session, agency, after, delivered_at=after)
        add_entry(session, agency, state="withdrawn")
        add_entry(session, agency, state="refused_not_ours")
        add_entry(session, agency, incident={"state": "retracted", "closed_at": DAY + HOUR})
        _carried_id, carried = add_entry(session, agency, before, delivered_at=before)
        _id, new = add_entry(session, agency)
    found = files(context, make(context, agency))
    table = list(csv.DictReader(io.StringIO(found["csv1"].decode().removeprefix("\ufeff"))))
    assert [row["code"] for row in table] == [carried, new]
    with transaction(sessions) as session:
        facts = session.execute(text("SELECT facts FROM bulletin")).scalar_one()
    assert (facts["going_on"], facts["opened"], facts["carried_over"], facts["ended"]) == (2, 1, 1, 0)


def test_published_answers_are_in_it_and_held_ones_are_not(sessions: sessionmaker[Session], settings: Settings) -> None:
    context = context_of(settings, sessions)
    with transaction(sessions) as session:
        agency = add_department(session)
        for state, said in (("published", "已派人清理\n三天内完成"), ("held", "这句还没有核对")):
            incident_id, _code = add_entry(session, agency, state="answered", answered_at=DAY + HOUR)
            session.execute(
                text("""INSERT INTO case_answer (id, case_id, kind, via, words, said_at, state, state_since,
                            published_at)
                        SELECT gen_random_uuid(), id, 'answer', 'desk', :words, :at, :state, :at,
                               CASE WHEN :state = 'published' THEN CAST(:at AS timestamptz) END
                        FROM escalation_case WHERE incident_id = :id"""),
                {"words": said, "state": state, "id": incident_id, "at": DAY + HOUR},
            )
    found = files(context, make(context, agency))
    words = bare(words_of(found["pdf1"])) + found["csv1"].decode()
    assert "已派人清理三天内完成" in words
    assert "这句还没有核对" not in words


def test_dates_after_the_instant_are_not_told(sessions: sessionmaker[Session], settings: Settings) -> None:
    context = context_of(settings, sessions)
    with transaction(sessions) as session:
        agency = add_department(session)
        add_entry(
            session, agency, **{**CLOCKS, "acknowledged_at": datetime(2026, 4, 9, tzinfo=UTC)}, state="acknowledged"
        )
    table = files(context, make(context, agency))["csv1"].decode()
    assert "2026-04-09" not in table
    assert "acknowledge" in table
