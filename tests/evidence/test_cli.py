"""The commands, as people type them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.evidence.conftest import Case, Fixed
from tests.workers.programs import ROOT, environment


def waterwatch(context: Fixed | None, *arguments: str) -> "subprocess.CompletedProcess[str]":
    values = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
    values |= environment(context.settings) if context is not None else {}
    command = [sys.executable, "-m", "waterwatch.cli", "case", *arguments]
    return subprocess.run(command, env=values, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def bundle(case: Case, context: Fixed, tmp_path: Path) -> Path:
    out = tmp_path / "out.zip"
    asked = ("--out", str(out), "--reason", "court", "--by", "lead@example.org", "--reference", "(2026)-7")
    assert waterwatch(context, "bundle", case.code, *asked).returncode == 1  # no such reference
    done = waterwatch(context, "bundle", case.code.lower(), *asked[:-1], "2026-7")
    assert done.returncode == 0, done.stderr
    assert "照片原件 · originals: 1" in done.stdout
    assert "withheld, their files may tell whose they are: 1" in done.stdout
    return out


def test_a_bundle_is_made_and_verified_by_somebody_who_has_only_the_key(
    bundle: Path, context: Fixed, tmp_path: Path
) -> None:
    key = waterwatch(context, "key")
    assert key.stdout.startswith("-----BEGIN PUBLIC KEY-----")
    assert "指纹 · fingerprint: " in key.stderr
    (tmp_path / "key.pem").write_text(key.stdout)
    verified = waterwatch(None, "verify", str(bundle), "--key", str(tmp_path / "key.pem"))
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "✓ reports/01/photo-1/original.jpg" in verified.stdout
    assert verified.stdout.rstrip().endswith("完整，与签署时一致 · whole, as it was signed")
    assert waterwatch(context, "verify", str(bundle)).returncode == 0
    nobody = waterwatch(None, "verify", str(bundle))
    assert (nobody.returncode, "--key" in nobody.stderr) == (2, True)


def test_a_bundle_that_was_touched_is_said_to_be(bundle: Path, context: Fixed) -> None:
    raw = bundle.read_bytes()
    at = raw.find(b"\xff\xd8\xff") + 300
    bundle.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
    verified = waterwatch(context, "verify", str(bundle))
    assert verified.returncode == 1
    assert "✗ reports/01/photo-1/original.jpg：内容与清单不符 · not what the manifest says" in verified.stdout
    assert verified.stdout.rstrip().endswith("不完整 · not whole")


@pytest.mark.parametrize("by", ["nobody@example.org", "moderator@example.org"])
def test_whoever_is_no_lead_gets_none(case: Case, context: Fixed, tmp_path: Path, by: str) -> None:
    out = tmp_path / "out.zip"
    done = waterwatch(context, "bundle", case.code, "--out", str(out), "--reason", "court", "--by", by)
    assert done.returncode == 1
    assert not out.exists()
