"""Importing: what becomes of rows, what is refused, what stays who it was, and what a kill leaves behind."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from tests.imports.conftest import (
    NAMED_HYDRORIVERS,
    NOW,
    SMALL,
    Reach,
    identities,
    live,
    write_reaches,
)
from waterwatch.imports import rules
from waterwatch.imports.merging import Merged
from waterwatch.imports.reading import FileRefused, Reading
from waterwatch.imports.service import ImportReport, ImportWaters, find_circles, import_waters
from waterwatch.kernel.errors import Conflict
from waterwatch.waters.search import search_names

Run = Callable[..., ImportReport]
MANY = tuple(
    Reach(n, n + 1 if n < 40 else 0, [(110 + n / 100, 31.0), (110 + (n + 1) / 100, 31.0)], "汉江", n * 10.0)
    for n in range(1, 41)
)


def test_reaches_become_a_network_of_named_waters(run: Run, owner: Engine, tmp_path: Path) -> None:
    report = run(write_reaches(tmp_path / "r.gpkg", SMALL))

    assert report.is_live
    assert report.merged == Merged(waters=4, added=5, changed=0, unchanged=0, retired=0)
    found = {row[0]: row[1:9] for row in live(owner)}
    assert found["3"] == ("5", "hr-3", "汉江", "hr-5", "长江", 7, 5.0, 0.0)
    assert found["1"][:3] == ("3", "hr-3", "汉江")
    assert found["2"][:4] == ("3", "hr-2", None, "hr-3")
    assert found["4"][:4] == ("5", "hr-4", "堵河", "hr-5")
    assert found["5"][:4] == (None, "hr-5", "长江", None)


def test_every_attribute_of_hydrorivers_is_kept(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_reaches(tmp_path / "r.shp", SMALL))

    with owner.connect() as connection:
        row = connection.execute(
            text(
                "SELECT length_km, dist_dn_km, dist_up_km, catch_skm, upland_skm, endorheic, dis_av_cms, ord_stra,"
                " ord_clas, ord_flow, hybas_l12 FROM water_feature WHERE source_key = '3'"
            )
        ).one()
    assert tuple(row) == (5.0, 0.0, 0.0, 9.5, 450.0, False, 1.0, 2, 1, 7, 4120000010)


def test_imported_names_are_found_by_their_sound(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_reaches(tmp_path / "r.gpkg", SMALL))

    with Session(owner) as session:
        assert [water.public_id for water in search_names(session, "hanjiang")] == ["hr-3"]


def test_a_second_run_changes_nothing(run: Run, owner: Engine, tmp_path: Path) -> None:
    path = write_reaches(tmp_path / "r.gpkg", SMALL)
    run(path)
    before = live(owner), identities(owner)

    report = run(path)

    assert report.merged == Merged(waters=4, added=0, changed=0, unchanged=5, retired=0)
    assert (live(owner), identities(owner)) == before


def test_a_refreshed_source_keeps_who_its_waters_are(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_reaches(tmp_path / "old.gpkg", SMALL))
    before = identities(owner)
    moved = replace(SMALL[2], line=[(110.1, 31.0), (110.15, 31.01), (110.2, 31.0)])
    new = Reach(6, 3, [(110.1, 30.9), (110.1, 31.0)], "汉江", 30)

    report = run(write_reaches(tmp_path / "new.gpkg", (SMALL[0], SMALL[1], moved, SMALL[4], new)))

    assert report.merged == Merged(waters=3, added=1, changed=1, unchanged=3, retired=1)
    after = identities(owner)
    assert {key: after[key] for key in before} == before
    assert after["6"][3] == "hr-3"
    assert [row[0] for row in live(owner) if row[-1]] == ["4"]
    with owner.connect() as connection:
        gone = connection.execute(text("SELECT public_id FROM water_body WHERE retired_at IS NOT NULL")).scalars()
        assert list(gone) == ["hr-4"]


def test_a_water_whose_mouth_is_redrawn_keeps_its_address(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_reaches(tmp_path / "old.gpkg", SMALL))
    lower = Reach(7, 5, [(110.15, 31.0), (110.2, 31.0)], "汉江", 460, 2)
    upper = replace(SMALL[2], down=7, line=[(110.1, 31.0), (110.15, 31.0)])

    run(write_reaches(tmp_path / "new.gpkg", (*SMALL[:2], upper, lower, *SMALL[3:])))

    assert {key: water[3] for key, water in identities(owner).items() if key in "137"} == dict.fromkeys("137", "hr-3")


def test_a_part_of_a_source_retires_nothing(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_reaches(tmp_path / "all.gpkg", SMALL))

    report = run(write_reaches(tmp_path / "part.gpkg", SMALL[:3]), partial=True)

    assert report.merged == Merged(waters=2, added=0, changed=0, unchanged=3, retired=0)
    assert not any(row[-1] for row in live(owner))


def test_a_file_that_lacks_most_of_its_source_is_doubted(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_reaches(tmp_path / "rivers.gpkg"))
    before = live(owner)
    few = write_reaches(tmp_path / "few.gpkg", SMALL[-1:])
    with pytest.raises(FileRefused) as refused:
        run(few)
    assert (refused.value.code, refused.value.facts) == ("most_would_retire", {"retired": "4", "of": "5"})
    assert live(owner) == before
    report = run(few, retire_most=True)
    assert report.merged == Merged(waters=1, added=0, changed=0, unchanged=1, retired=4)
    assert report.resumed_at == 1  # what was read was kept


def test_a_file_without_a_row_retires_nothing(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_reaches(tmp_path / "rivers.gpkg"))
    before = live(owner)
    with pytest.raises(FileRefused) as refused:
        run(write_reaches(tmp_path / "empty.gpkg", ()), retire_most=True)
    assert refused.value.code == "nothing_to_import"
    assert live(owner) == before


def test_one_source_replaces_another(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_reaches(tmp_path / "a.gpkg", SMALL))
    other = replace(NAMED_HYDRORIVERS, code="survey", prefix="sv")

    report = run(write_reaches(tmp_path / "b.gpkg", SMALL[4:]), other, replaces="hydrorivers")

    assert report.merged is not None
    assert report.merged.retired == 5
    assert [row[2] for row in live(owner) if not row[-1]] == ["sv-5"]


BROKEN = (
    *SMALL,
    Reach(3, 5, [(110.4, 31.0), (110.5, 31.0)]),
    Reach(10, 99, [(110.4, 31.2), (110.5, 31.2)]),
    Reach(11, 12, [(110.4, 31.3), (110.5, 31.3)]),
    Reach(12, 11, [(110.5, 31.3), (110.4, 31.3)]),
    Reach(13, 11, [(110.6, 31.3), (110.4, 31.3)]),
    Reach(14, 5, None),
    Reach(15, 5, [(110.4, 31.4), (110.5, 31.4)], upland=-5.0),
    Reach(16, 5, [(110.4, 31.4), (110.4, 31.4)]),
    Reach(17, 5, [(12_300_000.0, 3_600_000.0), (12_300_100.0, 3_600_000.0)]),
)


def test_a_broken_file_is_reported_exactly_and_changes_nothing(run: Run, owner: Engine, tmp_path: Path) -> None:
    written = tmp_path / "refused.csv"
    report = run(write_reaches(tmp_path / "r.gpkg", BROKEN), refusals_to=written)

    assert not report.is_live
    assert report.merged is None
    assert [(one.row, one.key, one.code, one.detail) for one in report.first] == [
        (6, "3", "key_doubled", "row 3"),
        (7, "10", "next_down_unknown", "99"),
        (8, "11", "flows_in_a_circle", "rows 8 → 9 (2)"),
        (11, "14", "geometry_empty", ""),
        (12, "15", "number_out_of_range", "upland_skm = -5"),
        (13, "16", "geometry_degenerate", ""),
        (14, "17", "outside_the_world", "1.23e+07, 3.6e+06"),
    ]
    assert live(owner) == []
    with written.open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 7


def test_what_is_good_of_a_broken_file_is_taken_when_asked(run: Run, owner: Engine, tmp_path: Path) -> None:
    report = run(write_reaches(tmp_path / "r.gpkg", BROKEN), accept_refusals=True)

    assert report.merged is not None
    assert report.merged.added == 9
    downward = {row[0]: row[1] for row in live(owner)}
    assert downward == {
        "1": "3", "2": "3", "3": "5", "4": "5", "5": None, "10": None, "11": None, "12": "11", "13": "11",
    }  # fmt: skip


def test_a_dry_run_says_what_would_be_and_changes_nothing(run: Run, owner: Engine, tmp_path: Path) -> None:
    report = run(write_reaches(tmp_path / "r.gpkg", SMALL), dry_run=True)

    assert report.merged == Merged(waters=4, added=5, changed=0, unchanged=0, retired=0)
    assert not report.is_live
    assert live(owner) == []
    assert _staging_tables(owner) == []


def test_a_dry_run_lets_readers_read(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_reaches(tmp_path / "rivers.gpkg"))
    more = [Reach(10 + nth, 0, [(100.0 + nth / 10, 30.0), (100.05 + nth / 10, 30.0)]) for nth in range(40)]
    read: list[int] = []

    def read_meanwhile(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        # The last of what takes locks; they are held until the end.
        if "ANALYZE water_feature" in statement:
            with owner.connect() as other:
                other.execute(text("SET lock_timeout = '2s'"))
                read.append(other.execute(text("SELECT count(*) FROM water_feature")).scalar_one())

    event.listen(owner, "after_cursor_execute", read_meanwhile)
    report = run(write_reaches(tmp_path / "more.gpkg", more), dry_run=True)
    assert report.merged is not None
    assert (report.merged.added, read) == (40, [5])


def test_two_imports_at_once_are_refused(owner: Engine, run: Run, tmp_path: Path) -> None:
    path = write_reaches(tmp_path / "r.gpkg", SMALL)
    with owner.connect() as other:
        other.execute(text("SELECT pg_advisory_lock(:key)"), {"key": 0x57415445_494D5054})
        with pytest.raises(Conflict, match="import_running"):
            run(path)


CHILD = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from waterwatch.imports import rules
from waterwatch.imports.reading import Reading
from waterwatch.imports.service import ImportWaters, import_waters
from waterwatch.kernel.db import make_engine
url, path, deadly = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
seen = 0
def tell(step, done, total):
    global seen
    seen += 1
    if seen == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
layout = rules.with_mapping(rules.HYDRORIVERS, ["name.zh-Hans=NAME_ZH"])
command = ImportWaters((path,), Reading(layout, batch_rows=10))
engine = make_engine(url, role=None)
report = import_waters(engine, command, now=lambda: datetime(2026, 5, 20, tzinfo=UTC), progress=tell)
print(report.resumed_at)
"""


@pytest.mark.parametrize("deadly", range(1, 9))
def test_an_import_killed_anywhere_ends_the_same_when_run_again(
    deadly: int, clone_database: Callable[[], str], tmp_path: Path
) -> None:
    path = write_reaches(tmp_path / "r.gpkg", MANY)
    killed, whole = clone_database(), clone_database()

    def go(url: str, at: int) -> "subprocess.CompletedProcess[str]":
        arguments = [sys.executable, "-c", CHILD, url, str(path), str(at)]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ))

    assert go(killed, deadly).returncode == -signal.SIGKILL
    again, once = go(killed, 0), go(whole, 0)

    assert again.returncode == once.returncode == 0, again.stderr + once.stderr
    from waterwatch.kernel.db import make_engine

    engines = make_engine(killed, role=None), make_engine(whole, role=None)
    assert live(engines[0]) == live(engines[1])
    assert len(live(engines[0])) == 40
    assert _staging_tables(engines[0]) == []
    # Told of the checksum first, then of each batch: what was committed is not read again.
    committed = 10 * min(max(0, deadly - 1), 4) if deadly < 8 else 0
    assert int(again.stdout) == committed
    for engine in engines:
        engine.dispose()


def test_the_audit_tells_of_every_import(run: Run, owner: Engine, tmp_path: Path) -> None:
    report = run(write_reaches(tmp_path / "r.gpkg", SMALL))

    with owner.connect() as connection:
        after = connection.execute(
            text("SELECT after FROM audit_entry WHERE action = 'waters.imported' AND subject_id = :id"),
            {"id": report.run_id},
        ).scalar_one()
    assert after["source"] == "hydrorivers"
    assert after["added"] == 5


def test_circles_are_found_once_each_whatever_leads_into_them() -> None:
    below = {1: 2, 2: 3, 3: 1, 4: 1, 5: 6, 6: 5, 7: 7, 8: 9}
    assert list(find_circles(below)) == [[1, 2, 3], [5, 6], [7]]


def _staging_tables(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'staging'")).scalars())


def test_a_run_of_other_files_gives_up_an_unfinished_one(owner: Engine, run: Run, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(step: str, done: int, _total: int | None) -> None:
        if step == "read" and done >= 20:
            raise Stop

    first = ImportWaters((write_reaches(tmp_path / "a.gpkg", MANY),), Reading(NAMED_HYDRORIVERS, batch_rows=10))
    with pytest.raises(Stop):
        import_waters(owner, first, now=lambda: NOW, progress=stop)

    run(write_reaches(tmp_path / "b.gpkg", SMALL))

    assert _staging_tables(owner) == []
    with owner.connect() as connection:
        states = connection.execute(text("SELECT state FROM import_run ORDER BY started_at, id")).scalars()
        assert list(states) == ["refused", "done"]


def test_known_layouts_name_only_roles_there_are() -> None:
    for layout in rules.KNOWN.values():
        assert set(layout.columns) <= set(rules.ROLES[layout.kind]), layout.code
        assert set(layout.water_kinds.values()) <= set(rules.KINDS[layout.kind])


@pytest.mark.parametrize(
    ("next_of", "orders"),
    [
        ([], []),
        ([-1], [1]),
        ([2, 2, -1], [1, 1, 2]),  # two of the first order make one of the second
        ([2, 2, 4, 4, -1], [1, 1, 2, 1, 2]),  # a smaller one adds nothing
        ([2, 2, 6, 5, 5, 6, -1], [1, 1, 2, 1, 1, 2, 3]),
        ([3, 3, 3, -1], [1, 1, 1, 2]),
        ([1, 0, 3, -1], [0, 0, 1, 1]),  # a circle has none
    ],
)
def test_stream_order_grows_where_equals_meet(next_of: list[int], orders: list[int]) -> None:
    assert rules.strahler_orders(next_of) == orders
