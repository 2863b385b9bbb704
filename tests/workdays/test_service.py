import uuid
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation.rows import add_agency
from waterwatch.cli import main
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Invalid, NotFound
from waterwatch.kernel.ids import new_id
from waterwatch.workdays import queries, service
from waterwatch.workdays.known import packaged
from waterwatch.workdays.rules import DEFAULTS, Limit
from waterwatch.workdays.service import SetDeadline


@pytest.fixture
def acting(now: datetime) -> dict[str, Any]:
    return {"actor": Actor.system("tests"), "now": now}


@pytest.fixture
def agency_id(session: Session) -> uuid.UUID:
    """An agency of a prefecture within a province."""
    made = add_agency(session, "市局", ["a@gov.example"])
    add_agency(session, "省厅", ["b@gov.example"], level="province")
    session.execute(
        text("""UPDATE jurisdiction SET parent_id = (SELECT id FROM jurisdiction WHERE level = 'province')
                WHERE level = 'prefecture'""")
    )
    return made


def test_the_packages_years_are_loaded_whole_and_again_without_harm(session: Session, acting: dict[str, Any]) -> None:
    days = packaged()
    assert service.load(session, days, **acting) == len(days) == service.load(session, days, **acting)
    loaded = {year.year: (year.days, year.working) for year in queries.loaded_years(session)}
    # 2026: 365 days; 104 of a weekend less 6 worked ones, and 19 weekdays off.
    assert loaded[2026] == (365, sum(worked for day, worked in days.items() if day.year == 2026))
    assert min(loaded) == 2004
    assert len(loaded) == max(loaded) - 2003


def test_half_a_year_is_no_calendar(session: Session, acting: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as raised:
        service.load(session, {date(2027, 1, 1): False}, **acting)
    assert raised.value.errors == {"days": ["year_incomplete"]}


def test_deadlines_are_counted_by_the_calendar_that_is_loaded(
    session: Session, agency_id: uuid.UUID, acting: dict[str, Any]
) -> None:
    # Tuesday before 国庆 2026: without the calendar the Friday in it counts, with it the next worked day is the 8th.
    since = datetime(2026, 9, 29, 2, 30, tzinfo=UTC)
    assert queries.terms_of(session, agency_id, since.date()).due("acknowledge", 2, since) == datetime(
        2026, 10, 2, 2, 30, tzinfo=UTC
    )
    service.load(session, packaged(), **acting)
    assert queries.terms_of(session, agency_id, since.date()).due("acknowledge", 2, since) == datetime(
        2026, 10, 9, 2, 30, tzinfo=UTC
    )


def test_the_rule_of_the_smallest_area_holds_until_it_is_dropped(
    session: Session, agency_id: uuid.UUID, acting: dict[str, Any]
) -> None:
    def held() -> Limit:
        return queries.terms_of(session, agency_id, date(2026, 5, 20)).limits[2]["answer"]

    codes = dict(session.execute(text("SELECT level, code FROM jurisdiction")).all())  # type: ignore[arg-type]
    assert held() == DEFAULTS[2]["answer"] == Limit(15, "working_days")
    service.set_deadline(session, SetDeadline(None, 2, "answer", Limit(12, "working_days")), **acting)
    assert held() == Limit(12, "working_days")
    province = SetDeadline(codes["province"], 2, "answer", Limit(7, "working_days"))
    rule_id = service.set_deadline(session, province, **acting)
    assert held() == Limit(7, "working_days")
    shorter = SetDeadline(codes["province"], 2, "answer", Limit(72, "hours"))
    assert service.set_deadline(session, shorter, **acting) == rule_id
    assert held() == Limit(72, "hours")
    assert len(queries.listed_rules(session)) == 2
    service.drop_deadline(session, rule_id, **acting)
    assert held() == Limit(12, "working_days")
    with pytest.raises(NotFound):
        service.drop_deadline(session, rule_id, **acting)


def test_a_rule_that_makes_no_sense_is_refused_with_all_that_is_wrong(session: Session, acting: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as raised:
        service.set_deadline(session, SetDeadline("999999", 5, "sleep", Limit(0, "moons")), **acting)
    assert raised.value.errors == {
        "area": ["area_unknown"],
        "severity": ["choice_unknown"],
        "stage": ["choice_unknown"],
        "unit": ["choice_unknown"],
        "amount": ["out_of_range"],
    }


@pytest.fixture
def command(database_url: str, make_settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command of the operators on the clone."""
    settings = make_settings(database_url=database_url)
    monkeypatch.setattr("waterwatch.cli.workdays.Settings.from_environ", lambda: settings)
    return lambda *words: CliRunner().invoke(main, words)


def test_an_operator_loads_shows_sets_and_drops(command: Any, tmp_path: Path) -> None:
    assert command("calendar", "show").exit_code == 1
    loaded = command("calendar", "load")
    assert (loaded.exit_code, "2004–" in loaded.output) == (0, True)
    assert command("calendar", "show").output.splitlines()[0] == "2004: 366 days, 252 worked"
    table = tmp_path / "2030.csv"
    lines = [f"{day.isoformat()},{int(day.weekday() < 5)}" for day in service.days_of(2030)]
    table.write_text("\n".join(["day,is_working", *lines]), encoding="utf-8")
    assert "2030–2030, 365 days, 261 worked" in command("calendar", "load", str(table)).output
    table.write_text("day,is_working\n2030-01-01,maybe\n", encoding="utf-8")
    assert "is_working: choice_unknown" in command("calendar", "load", str(table)).output
    assert command("deadlines", "set", "*", "4", "answer", "1", "working_days").exit_code == 0
    refused = command("deadlines", "set", "000001", "4", "answer", "1", "working_days")
    assert (refused.exit_code, "area_unknown" in refused.output) == (1, True)
    (line,) = [line for line in command("deadlines", "list").output.splitlines() if "\t*\t" in line]
    assert line.endswith("红 red\t答复 answer\t1 个工作日 working days")
    assert command("deadlines", "drop", line.split("\t")[0]).exit_code == 0
    assert command("deadlines", "drop", str(new_id())).exit_code == 1
