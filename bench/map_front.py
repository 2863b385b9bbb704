"""The live map in a real browser: how soon a phone on a poor line shows it, what that weighs, how smoothly it pans.

``var/venv/bin/python -m bench.map_front [--rounds 5] [--reaches 60000]``, after ``bin/build``. Served as nginx would
(gzip, byte ranges, kept connections) by this process; the page is the application's own. The phone is Chromium with the
network held to 1.6 Mbit/s and 300 ms there and back, and the processor slowed fourfold. There is no graphics card where
this runs: frames are drawn in software, which a phone's own would do many times faster.
"""

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from flask import render_template_string
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from waterwatch.app import create_app
from waterwatch.kernel.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[1]
PHONE = {"width": 360, "height": 740}
SLOW_BYTES_S = 1.6e6 / 8
SLOW_RTT_MS = 300
SLOW_CPU = 4
GOAL_MS, GOAL_BYTES, GOAL_FRAMES = 5000, 700_000, 30
PAN_S = 4
TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".pmtiles": "application/octet-stream",
    ".html": "text/html; charset=utf-8",
}
PAGE = """{% extends "base.html" %}{% from "_maps.html" import public_map with context %}
{% block page_class %}page-wide{% endblock %}
{% block content %}{{ public_map({}) }}{% endblock %}
{% block scripts %}<script type="module" src="{{ asset_url('map.ts') }}"></script>{% endblock %}"""
PAN = """async (seconds) => {
  const canvas = document.querySelector('#map .maplibregl-canvas'), box = canvas.getBoundingClientRect();
  const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
  const send = (to, type, dx, dy, buttons) =>
    to.dispatchEvent(new MouseEvent(type, {bubbles: true, clientX: x + dx, clientY: y + dy, button: 0, buttons}));
  send(canvas, 'mousedown', 0, 0, 1);
  const start = performance.now();
  let frames = 0, longest = 0, before = start;
  await new Promise((done) => {
    const step = (now) => {
      const t = (now - start) / 1000;
      longest = Math.max(longest, now - before);
      before = now;
      frames += 1;
      for (const to of [document, window]) send(to, 'mousemove', 90 * Math.sin(3 * t), 60 * Math.sin(2 * t), 1);
      if (t < seconds) requestAnimationFrame(step);
      else done();
    };
    requestAnimationFrame(step);
  });
  send(window, 'mouseup', 0, 0, 0);
  return {frames_s: frames / ((performance.now() - start) / 1000), longest_ms: longest};
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--reaches", type=int, default=60_000, help="for panning: made-up reaches, 20,000 of them coloured"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder = Path(scratch)
        options = [
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
        ]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=options)
        publish(folder / "small", 0)
        with serving(folder / "small") as (origin, sent):
            opening(browser, origin, sent, chosen.rounds)
        publish(folder / "large", chosen.reaches)
        with serving(folder / "large") as (origin, _sent):
            panning(browser, origin, chosen.rounds)
        browser.close()


def opening(browser: Browser, origin: str, sent: list[int], rounds: int) -> None:
    """From the first byte asked for to a map that stands still with its colours, on an empty cache."""
    times, weights = [], []
    for nth in range(rounds):
        context = browser.new_context(viewport=PHONE, locale="zh-CN", device_scale_factor=2, service_workers="block")
        page = context.new_page()
        slow_down(context.new_cdp_session(page))
        sent.clear()
        page.goto(f"{origin}/", wait_until="commit")
        page.wait_for_selector("#map[data-ready]", timeout=60_000, state="attached")
        times.append(page.evaluate("performance.getEntriesByName('map-coloured')[0].startTime"))
        weights.append(sum(sent))
        print(f"round {nth + 1}: {times[-1]:,.0f} ms, {weights[-1]:,} bytes")
        context.close()
    verdict("first map on a slow phone", statistics.median(times), GOAL_MS, "ms")
    verdict("transferred in all", statistics.median(weights), GOAL_BYTES, "bytes")


def panning(browser: Browser, origin: str, rounds: int) -> None:
    """Frames while a hand moves the country about, 20,000 coloured waters in view.

    Without a graphics card the drawing itself is done by the processor, in another process; what the map's own code
    takes of each frame is counted apart, because that is the same on a phone that has one.
    """
    rates, own = [], []
    for nth in range(rounds):
        page: Page = browser.new_page(viewport=PHONE, locale="zh-CN")
        page.goto(f"{origin}/#map=3.2/35/105")
        page.wait_for_selector("#map[data-ready]", timeout=120_000)
        page.wait_for_timeout(3000)  # the list of what is in view is filled after the map has come to rest
        session = page.context.new_cdp_session(page)
        session.send("Profiler.enable")
        session.send("Profiler.start")
        found: dict[str, Any] = page.evaluate(PAN, PAN_S)
        own.append(script_ms(session.send("Profiler.stop")["profile"]) / (found["frames_s"] * PAN_S))
        rates.append(found["frames_s"])
        print(
            f"round {nth + 1}: {found['frames_s']:.1f} frames/s, longest {found['longest_ms']:.0f} ms, "
            f"{own[-1]:.1f} ms script a frame"
        )
        page.close()
    verdict("script of one frame while panning", statistics.median(own), 1000 / GOAL_FRAMES, "ms")
    verdict("panning, drawn in software", statistics.median(rates), GOAL_FRAMES, "frames/s", more_is_better=True)


def script_ms(profile: dict[str, Any]) -> float:
    """Time in scripts; neither waiting nor handing data to the drawing process, which blocks while that one draws."""
    names = {node["id"]: node["callFrame"]["functionName"] for node in profile["nodes"]}
    waiting = {"(idle)", "(program)", "bufferData", "bufferSubData", "texImage2D", "texSubImage2D", "getError"}
    spent = zip(profile["samples"], profile["timeDeltas"], strict=False)
    return sum(micros for node, micros in spent if names[node] not in waiting) / 1000


def slow_down(session: CDPSession) -> None:
    """Hold network and processor to those of a cheap phone on a poor line."""
    conditions = {
        "offline": False,
        "latency": SLOW_RTT_MS,
        "downloadThroughput": SLOW_BYTES_S,
        "uploadThroughput": SLOW_BYTES_S / 2,
    }
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", conditions)
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOW_CPU})


def publish(folder: Path, reaches: int) -> None:
    script = CHECKOUT / "map_static" / "tests" / "fixture" / "publish.mjs"
    node = CHECKOUT / "var" / "venv" / "bin" / "node"
    subprocess.run([node, script, folder, str(reaches)], check=True, cwd=CHECKOUT / "map_static")


@contextmanager
def serving(published: Path) -> Iterator[tuple[str, list[int]]]:
    """The page, the built front end and the published files; gives the address and the bytes of every answer."""
    html, policy = page_of(published)
    sent: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            roots = {"/static/": CHECKOUT / "map_static" / "dist", "/published/": published}
            prefix = next((prefix for prefix in roots if path.startswith(prefix)), None)
            if prefix is None and path != "/":
                self.answer(404, b"", {})
                return
            file = roots[prefix] / path.removeprefix(prefix) if prefix else None
            body = html if file is None else file.read_bytes() if file.is_file() else None
            if body is None:
                self.answer(404, b"", {})
                return
            suffix = file.suffix if file else ".html"
            headers = {"Content-Type": TYPES.get(suffix, "application/octet-stream"), "Content-Security-Policy": policy}
            headers["Cache-Control"] = "public, max-age=31536000, immutable" if file else "no-cache"
            wanted = self.headers.get("Range")
            if wanted:
                first, last = (int(part) for part in wanted.removeprefix("bytes=").split("-"))
                piece = body[first : last + 1]
                headers["Content-Range"] = f"bytes {first}-{first + len(piece) - 1}/{len(body)}"
                self.answer(206, piece, headers)
            elif suffix in TYPES and suffix != ".pmtiles":
                self.answer(200, gzip.compress(body, 6), headers | {"Content-Encoding": "gzip"})
            else:
                self.answer(200, body, headers)

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            sent.append(len(body) + 350)  # what the headers take
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", sent
    server.shutdown()
    server.server_close()


def page_of(published: Path) -> tuple[bytes, str]:
    """The application's page with the map, and its content policy; no database is asked."""
    settings = Settings(
        mode="test",
        secret_key="x" * 40,
        public_url="http://localhost",
        database_url="postgresql://nobody@127.0.0.1:9/none",
        redis_url="redis://127.0.0.1:9/0",
        smtp_url="smtp://127.0.0.1:9",
        objects_url=f"file://{published.parent}/objects",
        spool_dir=published.parent / "spool",
        publish_dir=published.parent / "publish",
        log_level="ERROR",
    )
    (published.parent / "objects").mkdir(exist_ok=True)
    app = create_app(settings)
    with app.test_request_context("/", headers={"Accept-Language": "zh-CN"}):
        html = render_template_string(PAGE)
        headers = app.process_response(app.make_response("")).headers
    return html.encode(), headers["Content-Security-Policy"]


def verdict(what: str, found: float, goal: float, unit: str, *, more_is_better: bool = False) -> None:
    is_met = found >= goal if more_is_better else found <= goal
    print(
        json.dumps(
            {"what": what, "median": round(found, 1), "goal": goal, "unit": unit, "met": is_met}, ensure_ascii=False
        )
    )


if __name__ == "__main__":
    sys.exit(main())
