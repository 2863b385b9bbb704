"""What the documentation names exists, and what exists is documented."""

import re
from pathlib import Path

import pytest

from waterwatch.kernel.settings import Settings, environment_name

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = ROOT / "docs" / "operations.md"


def test_every_setting_is_documented() -> None:
    words = OPERATIONS.read_text()
    missing = [environment_name(name) for name in Settings.model_fields if f"`{environment_name(name)}`" not in words]
    assert missing == []


def test_every_documented_setting_exists() -> None:
    named = set(re.findall(r"`(WATERWATCH_[A-Z0-9_]+)`", OPERATIONS.read_text()))
    known = {environment_name(name) for name in Settings.model_fields}
    assert named - known - {"WATERWATCH_TEST_PG", "WATERWATCH_TEST_REDIS"} == set()


@pytest.mark.parametrize("page", [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"], ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    broken = [target for target in targets if not (page.parent / target).exists()]
    assert broken == []
