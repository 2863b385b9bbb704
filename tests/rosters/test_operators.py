"""Who runs which intake: by a source's key or a name, all or nothing, and waterworks that are competent for nothing."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import shapely
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from tests.imports.conftest import write
from tests.imports.test_areas import LAYOUT, write_areas
from tests.rosters.test_service import HEADER, departments
from waterwatch.imports import rules as layouts
from waterwatch.imports.service import ImportReport
from waterwatch.rosters import queries
from waterwatch.rosters.operators import import_operators
from waterwatch.rosters.rules import SheetRefused
from waterwatch.rosters.service import ImportRoster, RosterReport

Run = Callable[..., ImportReport]
NOW = datetime(2026, 5, 20, tzinfo=UTC)
WORKS = "{code},waterworks,,420106,,{name},,,{duties},ban@{code}.example,"
ZONES = layouts.with_mapping(layouts.generic("our-intakes", layouts.ZONE), ["key=ID", "name=NAME", "zone_kind=KIND"])


@pytest.fixture(autouse=True)
def _zones(run: Run, owner: Engine, tmp_path: Path) -> None:
    """Three intakes, two of one name; two waterworks."""
    assert run(write_areas(tmp_path / "areas.gpkg"), LAYOUT, partial=True).is_live
    names = ["一水厂取水口", "二水厂取水口", "二水厂取水口"]
    fields = {
        "ID": np.array(["a", "b", "c"], dtype=object),
        "NAME": np.array(names, dtype=object),
        "KIND": np.array(["intake"] * 3, dtype=object),
    }
    shapes = np.array([shapely.Point(110.5 + n / 10, 30.5) for n in range(3)])
    assert run(write(tmp_path / "z.gpkg", shapes, fields, "Point"), ZONES).is_live
    works = {"works-1": "一水厂", "works-2": "二水厂"}
    both = [WORKS.format(code=code, name=name, duties="") for code, name in works.items()]
    assert departments(owner, "\n".join((HEADER, *both))).added == 2


def operated(owner: Engine, *rows: str, **told: bool) -> RosterReport:
    sheet = "\n".join(("source,key,name,agency", *rows)).encode()
    with Session(owner) as session, session.begin():
        return import_operators(session, ImportRoster(sheet, **told), now=NOW)  # type: ignore[arg-type]


def running(owner: Engine) -> dict[str, str]:
    """Zone's key → name of who runs it."""
    with Session(owner) as session:
        keys = {row.id: row.source_key for row in session.execute(text("SELECT id, source_key FROM protected_zone"))}
        return {keys[zone]: one.name for zone, one in queries.operators_of(session, keys).items()}


def test_a_zone_is_found_by_its_sources_key_or_by_its_only_name(owner: Engine) -> None:
    report = operated(owner, "our-intakes,b,,works-2", ",,一水厂取水口,works-1")
    assert (report.rows, report.faults, report.added, report.changed) == (2, [], 2, 0)
    assert running(owner) == {"a": "一水厂", "b": "二水厂"}


def test_again_nothing_changes_and_a_change_is_counted_once(owner: Engine) -> None:
    operated(owner, "our-intakes,a,,works-1", "our-intakes,b,,works-1")
    again = operated(owner, "our-intakes,a,,works-1", "our-intakes,b,,works-2")
    assert (again.added, again.changed, again.unchanged) == (0, 1, 1)
    nobody = operated(owner, "our-intakes,a,,-")
    assert (nobody.changed, running(owner)) == (1, {"b": "二水厂"})


def test_only_a_complete_file_takes_a_zone_from_who_runs_it(owner: Engine) -> None:
    operated(owner, "our-intakes,a,,works-1", "our-intakes,b,,works-2")
    assert operated(owner, "our-intakes,c,,works-2").retired == 0
    assert operated(owner, "our-intakes,c,,works-2", complete=True).retired == 2
    assert running(owner) == {"c": "二水厂"}


def test_every_fault_is_named_and_nothing_changes(owner: Engine) -> None:
    rows = (
        "our-intakes,a,,works-1",
        ",,二水厂取水口,works-2",
        "our-intakes,z,,works-1",
        "other,a,,works-1",
        "our-intakes,b,,works-9",
        ",,一水厂取水口,works-1",
        ",,,works-1",
        "our-intakes,c,,",
    )
    report = operated(owner, *rows)
    assert [(one.row, one.code) for one in report.faults] == [
        (2, "zone_ambiguous"),
        (3, "zone_unknown"),
        (4, "zone_unknown"),
        (5, "agency_unknown"),
        (6, "key_doubled"),
        (7, "zone_unnamed"),
        (8, "value_missing"),
    ]
    assert (report.is_written, running(owner)) == (False, {})
    taken = operated(owner, *rows, accept_refusals=True)
    assert (taken.added, running(owner)) == (1, {"a": "一水厂"})


def test_a_zone_that_is_imported_again_keeps_who_runs_it(run: Run, owner: Engine, tmp_path: Path) -> None:
    operated(owner, "our-intakes,a,,works-1")
    fields = {
        "ID": np.array(["a"], dtype=object),
        "NAME": np.array(["一水厂新取水口"], dtype=object),
        "KIND": np.array(["intake"], dtype=object),
    }
    moved = write(tmp_path / "moved.gpkg", np.array([shapely.Point(110.51, 30.5)]), fields, "Point")
    assert run(moved, ZONES, partial=True).is_live
    assert running(owner) == {"a": "一水厂"}


def test_who_is_out_of_office_runs_nothing(owner: Engine) -> None:
    operated(owner, "our-intakes,a,,works-1")
    with owner.begin() as connection:
        connection.execute(text("UPDATE agency SET retired_at = now() WHERE code = 'works-1'"))
    assert running(owner) == {}
    assert [one.code for one in operated(owner, "our-intakes,a,,works-1").faults] == ["agency_unknown"]


def test_a_file_without_agencies_is_refused(owner: Engine) -> None:
    with Session(owner) as session, pytest.raises(SheetRefused, match="column_missing"):
        import_operators(session, ImportRoster(b"source,key\na,b"), now=NOW)


def test_waterworks_have_contacts_and_are_competent_for_nothing(owner: Engine) -> None:
    with owner.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM competence")).scalar_one() == 0
        assert connection.execute(text("SELECT count(*) FROM agency_contact WHERE active")).scalar_one() == 2
    greedy = WORKS.format(code="works-3", name="三水厂", duties="sewage_outfall")
    faults = departments(owner, f"{HEADER}\n{greedy}").faults
    assert [(one.code, one.detail) for one in faults] == [("duty_of_waterworks", "sewage_outfall")]


def test_no_rule_can_name_waterworks(owner: Engine) -> None:
    statement = text("""
        INSERT INTO competence_rule (id, agency_kind, min_severity, is_competent, made_at)
        VALUES (gen_random_uuid(), 'waterworks', 1, true, now())""")
    with owner.connect() as connection, pytest.raises(Exception, match="ck_competence_rule_agency_kind"):
        connection.execute(statement)


def test_an_office_that_becomes_waterworks_is_competent_for_nothing_any_more(owner: Engine) -> None:
    office = "office-1,water,,420106,,武昌区水务局,,,,shui@wc.example,"
    departments(owner, f"{HEADER}\n{office}")
    departments(owner, f"{HEADER}\n{office.replace(',water,', ',waterworks,')}")
    with owner.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM competence")).scalar_one() == 0
