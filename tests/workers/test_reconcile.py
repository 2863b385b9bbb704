"""Rows and files compared: by the command an operator uses."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.workers.conftest import AddPhoto
from tests.workers.programs import ROOT, environment
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

Reconcile = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def reconcile(settings: Settings) -> Reconcile:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workers", "reconcile", *options]
        variables = os.environ | environment(settings)
        return subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture
def put(context: JobContext, tmp_path: Path) -> Callable[..., str]:
    """Stores an object, by default as if two hours ago."""

    def put(key: str, *, is_old: bool = True) -> str:
        file = tmp_path / "content"
        file.write_bytes(b"x")
        context.objects.put_file(key, file)
        if is_old:
            path = Path(context.settings.objects_url.removeprefix("file://")) / key
            past = path.stat().st_mtime - 7200
            os.utime(path, (past, past))
        return key

    return put


def test_a_store_that_agrees_is_left_alone(
    context: JobContext, reconcile: Reconcile, put: Callable[..., str], add_photo: AddPhoto
) -> None:
    key = put("quarantine/2026/05/a")
    add_photo(original_key=key)
    outcome = reconcile()
    assert (outcome.returncode, context.objects.has(key)) == (0, True)
    assert "missing 0，多余 · orphans 0" in outcome.stdout


def test_orphans_are_listed_first_and_removed_only_when_old(
    context: JobContext, reconcile: Reconcile, put: Callable[..., str]
) -> None:
    old, young = put("public/ab/old/320.jpg"), put("quarantine/young", is_old=False)
    dry = reconcile("--dry-run")
    assert (dry.returncode, old in dry.stdout, context.objects.has(old)) == (0, True, True)
    outcome = reconcile()
    assert (outcome.returncode, old in outcome.stdout) == (0, True)
    assert [context.objects.has(key) for key in (old, young)] == [False, True]


def test_a_missing_object_is_reported_and_fails_the_command(
    context: JobContext, reconcile: Reconcile, put: Callable[..., str], add_photo: AddPhoto
) -> None:
    photo_id = add_photo(original_key=put("quarantine/there"))
    values: dict[str, Any] = {"id": photo_id, "photo": photo_id}
    with transaction(context.sessions) as session:
        session.execute(
            text(
                "INSERT INTO photo_derivative (id, photo_id, size_px, key, bytes, width, height, sha256) "
                "VALUES (:id, :photo, 320, 'public/gone.jpg', 1, 1, 1, sha256('x'))"
            ),
            values,
        )
    outcome = reconcile()
    assert outcome.returncode == 1
    assert "missing: public/gone.jpg" in outcome.stdout
    assert context.objects.has("quarantine/there")
