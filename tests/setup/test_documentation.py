"""The documentation is tested: what it names exists, and what exists it names."""

import re
from pathlib import Path

import click
import pytest

from waterwatch.cli import main
from waterwatch.kernel.settings import Settings, environment_name

CHECKOUT = Path(__file__).resolve().parents[2]
OPERATIONS = (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8")
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


def commands(group: click.Group, prefix: str) -> set[str]:
    """Every command below ``group``, written as a person types it."""
    found: set[str] = set()
    for name, command in group.commands.items():
        title = f"{prefix} {name}"
        found |= commands(command, title) if isinstance(command, click.Group) else {title}
    return found


def rows(text: str) -> list[list[str]]:
    """The cells of every table row."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_documented_defaults_are_the_defaults() -> None:
    documented = {cells[0].strip("`"): cells[1].strip("`") for cells in rows(OPERATIONS) if len(cells) == 3}
    for field, info in Settings.model_fields.items():
        default = info.default
        if info.is_required() or default is None or isinstance(default, Path):
            continue
        shown = (
            str(default).lower()
            if isinstance(default, bool)
            else f"{default:g}"
            if isinstance(default, float)
            else str(default)
        )
        assert documented[environment_name(field)] == shown, environment_name(field)


def test_every_command_is_documented_and_every_documented_command_exists() -> None:
    table = {cells[0].strip("`") for cells in rows(OPERATIONS) if cells[0].startswith("`waterwatch ")}
    assert table == commands(main, "waterwatch")


@pytest.mark.parametrize("text", [README, OPERATIONS], ids=["README.md", "docs/operations.md"])
def test_every_named_script_exists(text: str) -> None:
    for name in set(re.findall(r"(?<![\w/])(?:bin|\.ci)/[a-z-]+", text)):
        assert (CHECKOUT / name).is_file(), name


def test_every_demo_option_is_documented() -> None:
    usage = (CHECKOUT / "workers" / "demo.py").read_text(encoding="utf-8")
    options = set(re.findall(r'add_argument\("(--[a-z-]+)"', usage))
    assert options == set(re.findall(r"^\| `(--[a-z-]+)", OPERATIONS, re.MULTILINE))
    assert options <= set(re.findall(r"--[a-z-]+", (CHECKOUT / "bin" / "demo").read_text(encoding="utf-8")))
