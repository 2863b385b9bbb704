"""The commands of the README: they exist, are whole, and name what they install and why."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path for path in [*(CHECKOUT / "bin").iterdir(), CHECKOUT / ".ci" / "run"] if path.is_file())


def pins(lock: str) -> set[str]:
    text = (CHECKOUT / "requirements" / lock).read_text()
    return set(re.findall(r"^[A-Za-z0-9._-]+(?:\[[^\]]*\])?==[^ \\;]+", text, re.MULTILINE))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_executable_and_bash_can_read_it(script: Path) -> None:
    assert script.stat().st_mode & 0o111 == 0o111
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False).stderr == ""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_stops_at_the_first_failure(script: Path) -> None:
    text = script.read_text()
    assert "set -euo pipefail" in text or '. "$(dirname "$0")/setup"' in text


def test_a_larger_environment_holds_every_pin_of_a_smaller_one() -> None:
    assert pins("base.lock") <= pins("demo.lock") <= pins("dev.lock")


def test_every_locked_package_is_hashed_and_names_no_registry() -> None:
    for lock in ("base.lock", "demo.lock", "dev.lock"):
        text = (CHECKOUT / "requirements" / lock).read_text()
        blocks = re.split(r"^(?=[A-Za-z0-9._-]+(?:\[[^\]]*\])?==)", text, flags=re.MULTILINE)[1:]
        assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
        assert "://" not in text


def test_every_system_package_has_its_reason() -> None:
    reasons = set(re.findall(r"^ {4}\[([a-z0-9.-]+)\]=", (CHECKOUT / "bin" / "setup").read_text(), re.MULTILINE))
    named: set[str] = set()
    for script in ("demo", "test"):
        for group in re.findall(r"packages\+?=\(([^)]*)\)", (CHECKOUT / "bin" / script).read_text()):
            named |= set(group.split())
    assert named == reasons


def test_continuous_integration_runs_what_a_person_runs() -> None:
    assert "bin/test" in (CHECKOUT / ".ci" / "run").read_text()


def test_missing_packages_are_named_when_installing_is_forbidden() -> None:
    script = '. bin/setup; may_install=no; WHY[no-such-package]="a trial"; install_packages no-such-package'
    done = subprocess.run(["bash", "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no-such-package                a trial" in done.stdout.replace(
        "no-such-package            ", "no-such-package                ", 1
    )
    assert "apt-get install --yes --no-install-recommends no-such-package" in done.stderr


NPM = """#!/usr/bin/env bash
# Stands in for npm: as npm ci, it empties the folder, and it says when another runs at the same time.
set -euo pipefail
mkdir running || { echo together >>../var/log; exit 1; }
echo "$1" >>../var/log
[ "$1" = ci ] && rm -rf node_modules && mkdir node_modules && echo library >node_modules/library
[ "$1" = run ] && { cat node_modules/library >/dev/null && mkdir -p dist/.vite && echo {} >dist/.vite/manifest.json; }
for _ in {1..2000}; do :; done
rmdir running
"""


def test_two_starts_from_one_checkout_build_once_one_after_the_other(tmp_path: Path) -> None:
    for folder in ("bin", "map_static", "var/venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(CHECKOUT / "bin" / "setup", tmp_path / "bin" / "setup")
    (tmp_path / "map_static" / "package-lock.json").write_text("{}")
    npm = tmp_path / "var" / "venv" / "bin" / "npm"
    npm.write_text(NPM)
    npm.chmod(0o755)
    start = ["bash", "-c", ". bin/setup; build_front_end"]
    starts = [subprocess.Popen(start, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [one.wait() for one in starts] == [0, 0, 0]
    assert (tmp_path / "var" / "log").read_text().split() == ["ci", "run"]
    assert (tmp_path / "map_static" / "node_modules" / "library").exists()


def test_packages_that_could_not_be_fetched_are_vouched_for_by_no_stamp(tmp_path: Path) -> None:
    for folder in ("bin", "map_static/node_modules", "var/venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(CHECKOUT / "bin" / "setup", tmp_path / "bin" / "setup")
    (tmp_path / "map_static" / "package-lock.json").write_text("{}")
    stamp = tmp_path / "map_static" / "node_modules" / ".made-from"
    stamp.write_text("an earlier lock")
    npm = tmp_path / "var" / "venv" / "bin" / "npm"
    npm.write_text("#!/bin/sh\nexit 1\n")
    npm.chmod(0o755)
    script = ["bash", "-c", ". bin/setup; install_node_packages"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, stamp.exists()) == (1, False)
    assert "npm ended with an error" in done.stderr
