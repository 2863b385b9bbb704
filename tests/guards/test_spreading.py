"""How the suite is shared out: nothing twice, nothing that starts the whole system beside another such."""

import subprocess
from pathlib import Path

import pytest

from tests.places import IN_MEMORY, MARK, server_folder
from tests.spreading import LONG_S, ONE_AFTER_THE_OTHER, WHOLE_SYSTEM, ports_of, scope_of

ROOT = Path(__file__).resolve().parents[2]
STARTS_THE_SYSTEM = ("running_site(", "RunningDemo(", "running_system(")


def test_what_is_named_is_there() -> None:
    named = {*ONE_AFTER_THE_OTHER, *LONG_S} - {WHOLE_SYSTEM}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_tests_of_a_file_stay_together() -> None:
    assert scope_of("tests/web/test_health.py::test_one") == scope_of("tests/web/test_health.py::test_two[a::b]")
    assert scope_of("tests/web/test_health.py::test_one") != scope_of("tests/web/test_limits.py::test_one")


def test_whatever_starts_the_whole_system_follows_the_others_that_do() -> None:
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    starting = {path for path in files if any(word in path.read_text() for word in STARTS_THE_SYSTEM)}
    starting -= {Path(__file__)}
    assert len(starting) > 3
    assert {scope_of(str(path.relative_to(ROOT))) for path in starting} == {WHOLE_SYSTEM}


def test_what_a_dead_process_left_in_memory_is_removed_and_what_a_living_one_has_is_not() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    with server_folder("living") as living:
        left = living.parent / f"{MARK}{dead.pid}-tests-left"
        if living.parent != IN_MEMORY:
            pytest.skip("there is no memory to spare")
        left.mkdir()
        with server_folder("further"):
            assert not left.exists()
            assert living.exists()
        assert MARK in living.name


def test_processes_choose_no_port_of_each_other() -> None:
    all_of_them = range(20_100, 20_200)
    parts = [set(ports_of(f"gw{number}", 3, all_of_them)) for number in range(3)]
    assert [len(part) for part in parts] == [33, 33, 33]
    assert len(set.union(*parts)) == 99
    assert set.union(*parts) <= set(all_of_them)
    assert ports_of("gw4", 3, all_of_them) == ports_of("gw1", 3, all_of_them), "one that takes a dead one's place"
