"""A published map as the browser reads it, made by the front end's own fixture, and the application that serves it."""

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask
from PIL import Image
from playwright.sync_api import Page
from werkzeug.serving import make_server

CHECKOUT = Path(__file__).resolve().parents[2]
NODE = CHECKOUT / "var" / "venv" / "bin" / "node"
PICTURES = Path(__file__).parent / "pictures"
# A pixel counts as different when a channel is off by more: fonts are smoothed a little differently everywhere.
CHANNEL_TOLERANCE = 48
DIFFERENT_SHARE = 0.015
# Names fade in, and day turns to night, on a machine that has other things to do.
LOOKS_WITHIN_S = 60


@dataclass(frozen=True)
class PublishedMap:
    """A folder of published files."""

    folder: Path

    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "map.json").read_text())
        return found

    def change(self, **values: Any) -> None:
        """Replace parts of the manifest, as a publication does."""
        (self.folder / "map.json").write_text(json.dumps(self.manifest() | values))

    def age(self, generated_at: datetime) -> None:
        """Let it have been published at another time."""
        self.change(generated_at=generated_at.isoformat())

    def incidents(self) -> list[dict[str, Any]]:
        """Every incident of every tile."""
        found = []
        for path in sorted((self.folder / "incidents").iterdir()):
            found += json.loads(path.read_text())["features"]
        return found


def publish_fixture(folder: Path, reaches: int = 0) -> PublishedMap:
    """Write one: the built-in waters, about ninety of them coloured, names with markup among them."""
    script = CHECKOUT / "map_static" / "tests" / "fixture" / "publish.mjs"
    subprocess.run([NODE, script, folder, str(reaches)], check=True, cwd=CHECKOUT / "map_static", capture_output=True)
    return PublishedMap(folder)


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """The application on a port of its own."""

    def closing(environ: Any, start_response: Any) -> Iterator[bytes]:
        answer = app(environ, start_response)
        try:
            yield from answer
        finally:  # also where the browser hung up while the server drained its words, and forgot to close
            getattr(answer, "close", int)()

    server = make_server("127.0.0.1", 0, closing, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def open_map(page: Page, address: str) -> None:
    """Open a page with the live map and wait until it is drawn."""
    page.goto(address)
    page.wait_for_selector("#map[data-ready]", timeout=60_000)


def view_of(page: Page) -> tuple[float, float, float]:
    """Zoom, latitude and longitude as the address says them."""
    found = re.search(r"map=([\d.]+)/(-?[\d.]+)/(-?[\d.]+)", page.url)
    assert found is not None, page.url
    zoom, lat, lon = found.groups()
    return float(zoom), float(lat), float(lon)


def compare_picture(page: Page, name: str, report: Path) -> None:
    """Await that the map's frame looks as the stored picture; otherwise say where the new one lies."""
    taken = report / f"{name}.png"
    stored = PICTURES / f"{name}.png"
    ends = time.monotonic() + LOOKS_WITHIN_S
    while True:
        page.locator("#map").screenshot(path=taken, mask=[page.locator(".map-age")], scale="css", animations="disabled")
        assert stored.exists(), f"no picture is stored for {name}; the new one: {taken}"
        before, after = (np.asarray(Image.open(one).convert("RGB"), dtype=np.int16) for one in (stored, taken))
        assert before.shape == after.shape, f"{name}: {before.shape} became {after.shape}; the new one: {taken}"
        different = (np.abs(before - after).max(axis=2) > CHANNEL_TOLERANCE).mean()
        if different <= DIFFERENT_SHARE:
            return
        message = f"{name}: {different:.1%} of the picture differ; stored {stored}, new {taken}"
        assert time.monotonic() < ends, message
