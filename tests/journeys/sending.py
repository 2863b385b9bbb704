"""Reports as applications send them: many of them, quickly, by the API."""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

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
