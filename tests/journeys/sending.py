"""Reports as applications send them: many of them, quickly, by the API."""

import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image

WUHAN_BRIDGE = (114.288, 30.549)


def _post(address: str, body: bytes, mime: str) -> dict[str, Any]:
    try:
        with urlopen(Request(address, data=body, headers={"Content-Type": mime}), timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
    except HTTPError as error:
        raise AssertionError(f"{address} answers {error.code}: {error.read().decode()}") from None
    return found


def send_report(
    origin: str, photos: Sequence[Path], kind: str, at: tuple[float, float] = WUHAN_BRIDGE, **answers: Any
) -> dict[str, Any]:
    """One report with its photos at a place (lon, lat in WGS-84); gives ``code``, ``token`` and ``follow_url``."""
    ids = [_post(f"{origin}/api/v1/photos", path.read_bytes(), "image/jpeg")["id"] for path in photos]
    said = {
        "idempotency_key": str(uuid.uuid4()),
        "kind": kind,
        "lon": at[0],
        "lat": at[1],
        "place_confirmed": True,
        "photos": [{"id": one} for one in ids],
    }
    return _post(f"{origin}/api/v1/reports", json.dumps(said | answers).encode(), "application/json")


def state_of(origin: str, token: str) -> str:
    """Where a report stands, as its sender is told."""
    with urlopen(f"{origin}/api/v1/reports/{token}", timeout=60) as answer:
        return str(json.load(answer)["state"])


def draw_scene(path: Path, seed: int) -> Path:
    """A JPEG that looks like no other: coarse patches of colour, so that no two are taken for the same picture."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(30, 200, (6, 8, 3), dtype=np.uint8))
    coarse.resize((1200, 900), Image.Resampling.BICUBIC).save(path, quality=88)
    return path


def withdraw(origin: str, token: str) -> None:
    """Take a report back."""
    _post(f"{origin}/api/v1/reports/{token}/withdraw", b"", "application/json")


def await_review(origin: str, tokens: Sequence[str], each_within_s: float = 60) -> None:
    """Wait until every report has reached the moderators; how long that takes is known for one, not for many."""
    for token in tokens:
        until = time.monotonic() + each_within_s
        while state_of(origin, token) != "in_review":
            assert time.monotonic() < until, f"a report has not reached the moderators in {each_within_s} s"
            time.sleep(1)  # over HTTP there is nothing to wait on but the answer itself
