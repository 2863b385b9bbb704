"""The command line on a fresh database, as an operator has it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.archive import photo
from tests.imports.conftest import owner
from waterwatch.cli import main
from waterwatch.kernel.settings import Settings, environment_name

__all__ = ["Waterwatch", "owner", "waterwatch"]
Waterwatch = Callable[..., Result]


@pytest.fixture
def waterwatch(tmp_path: Path, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Waterwatch:
    """``waterwatch("waters", "import", …)``."""
    for field in Settings.model_fields:
        monkeypatch.delenv(environment_name(field), raising=False)
    values = {
        "WATERWATCH_MODE": "test",
        "WATERWATCH_SECRET_KEY": "0123456789abcdef0123456789abcdef",
        "WATERWATCH_PUBLIC_URL": "http://localhost",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SMTP_URL": "smtp://127.0.0.1:25",
        "WATERWATCH_OBJECTS_URL": (tmp_path / "objects").as_uri(),
        "WATERWATCH_SPOOL_DIR": str(tmp_path / "spool"),
        "WATERWATCH_PUBLISH_DIR": str(tmp_path / "published"),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)

    def run(*words: object) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos that know their place, one that does not, and what is no photo."""
    made = tmp_path / "archive"
    (made / "day 2").mkdir(parents=True)
    (made / "a.jpg").write_bytes(photo(400))
    (made / "day 2" / "b.JPG").write_bytes(photo(410, offset="+05:00"))
    (made / "c.jpg").write_bytes(photo(420, is_placed=False))
    (made / "notes.txt").write_text("not a photo")
    return made
