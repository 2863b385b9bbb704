"""The demonstration, running for real, and Debian's Chromium."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from pydantic import SecretStr
from sqlalchemy import select

from tests.journeys.people import Watch
from tests.setup.test_demo import RunningDemo, read_facts
from waterwatch.accounts.service import demo_totp_secret
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.errors import Conflict
from waterwatch.kernel.settings import Settings
from waterwatch.reports.rules import WITHDRAWABLE
from waterwatch.reports.service import withdraw
from waterwatch.reports.tables import Report

CHROMIUM = "/usr/bin/chromium"
ARCHIVE_S = 180.0
CHROMIUM_OPTIONS = (
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
expect.set_options(timeout=30_000)  # as long as for everything else: the machine may have other work


@dataclass(frozen=True)
class Site:
    """A running demonstration."""

    origin: str
    mailbox: str
    folder: Path

    def setting(self, name: str) -> str:
        """What it runs with."""
        lines = (self.folder / "environment").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)[name].strip("'")

    def totp_secret(self, email: str) -> str:
        """The second factor of one of its people, as its terminal prints it."""
        secret = SecretStr(self.setting("WATERWATCH_SECRET_KEY"))
        settings = Settings.model_construct(secret_key=secret, secret_key_previous=None)
        return demo_totp_secret(settings, email)


def await_archive(pointer: Path) -> None:
    """The archive is cut after the start: until then maps have an empty ground, which is not what is tested."""
    pause, ends_at = threading.Event(), time.monotonic() + ARCHIVE_S
    while not (pointer.exists() and "tiles" in json.loads(pointer.read_text())):
        assert time.monotonic() < ends_at, "the archive was not built"
        pause.wait(0.2)


@contextmanager
def running_site(folder: Path, *, head_start_s: int = 0) -> Iterator[Site]:
    """``bin/demo``'s second half on a folder of its own; ``head_start_s``: by how much departments know first."""
    # All journeys come from one address within minutes: what a flood is, and what comes of it, is not their matter.
    # Nor does any of them wait ten minutes until what departments know is public.
    head_start = str(head_start_s)
    running = RunningDemo(folder, WATERWATCH_FLOOD_REPORTS="10000", WATERWATCH_DOWNSTREAM_HEAD_START_S=head_start)
    try:
        running.wait_for("Ctrl-C")
        facts = read_facts(running)
        await_archive(running.folder / "published" / "map.json")
        yield Site(facts["url"], facts["mailbox"], running.folder)
    finally:
        if running.process.poll() is None:
            running.interrupt()


@pytest.fixture(scope="package")
def site(services_folder: Path) -> Iterator[Site]:
    """The one that most journeys share: whoever needs a map without colours has one of their own."""
    with running_site(services_folder / "journeys") as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_is_left_waiting(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a journey reported and nobody judged is withdrawn: the next one's report is the next in the queue."""
    yield
    if "site" in request.fixturenames:
        withdraw_waiting(request.getfixturevalue("site"))


def withdraw_waiting(site: Site) -> None:
    """As their authors would, one after the other."""
    engine = make_engine(site.setting("DATABASE_URL"))
    sessions = make_sessions(engine)
    with transaction(sessions) as session:
        waiting = session.scalars(select(Report.id).where(Report.state.in_(WITHDRAWABLE))).all()
    for report_id in waiting:
        with transaction(sessions) as session, suppress(Conflict):  # its photo has just turned out unusable
            withdraw(session, report_id, now=utc_now())
    engine.dispose()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    options = [*CHROMIUM_OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield launched
        launched.close()


@pytest.fixture
def watch(site: Site) -> Iterator[Watch]:
    """Fails the journey when a script broke, the content policy refused something, or another host was asked."""
    watching = Watch(site.origin, allowed=(site.mailbox,))
    yield watching
    assert watching.faults == []
