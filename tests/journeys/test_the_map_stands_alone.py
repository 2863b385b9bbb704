"""The application is stopped: nginx, as the manual has it, serves the whole live map from the published folder."""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.journeys import people
from tests.journeys.people import DESKTOP, PHONE, Watch
from tests.mapping.publishing import order, run
from tests.web.proxy import make_bodies_folder, nginx
from waterwatch.advisories.service import refresh
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.ids import new_code, new_id
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import service
from waterwatch.waters.service import load_builtin
from workers.processes import pick_free_port

pytestmark = pytest.mark.journey

HOSTILE = "<img src=x onerror=window.hacked=1>湖"
_OPEN = text("""
INSERT INTO incident (id, code, organisation_id, state, state_since, kind, severity, graded_severity, water_feature_id,
                      exact_point, public_point, opened_at, last_confirmed_at)
SELECT :id, :code, o.id, 'open', :now, 'black_odorous', :severity, :severity, f.id, p.at, p.at, :now, :now
FROM organisation o, water_feature f JOIN water_body b ON b.id = f.water_body_id, LATERAL (
    SELECT ST_ClosestPoint(f.geom, ST_SetSRID(ST_MakePoint(114.35, 30.55), 4326)) AS at) p
WHERE b.public_id = :water ORDER BY f.geom <-> ST_SetSRID(ST_MakePoint(114.35, 30.55), 4326) LIMIT 1
RETURNING water_feature_id
""")


def shots_folder() -> Path | None:
    """Where somebody wants to look at the pages afterwards."""
    return Path(folder) if (folder := os.environ.get("WATERWATCH_SHOTS")) else None


@dataclass(frozen=True)
class Standing:
    origin: str
    context: JobContext


@pytest.fixture
def standing(
    make_settings: Callable[..., Settings], database_url: str, sessions: sessionmaker[Session]
) -> Iterator[Standing]:
    """China's waters, two of them coloured, published once; then nginx alone."""
    with tempfile.TemporaryDirectory(prefix="waterwatch-standing-") as name:
        folder, port = Path(name), pick_free_port()
        folder.chmod(0o755)
        settings = make_settings(
            database_url=database_url,
            publish_dir=folder / "published",
            spool_dir=folder / "spool",
            public_url=f"http://127.0.0.1:{port}",
        )
        settings.spool_dir.mkdir()
        context = JobContext(settings, sessions, ObjectStore(settings.objects_url))
        with transaction(sessions) as session:
            load_builtin(session, now=utc_now())
            for water, severity in (("w-yangtze", 3), ("w-tangxun", 4)):
                values = {"id": new_id(), "code": new_code(), "now": utc_now(), "severity": severity, "water": water}
                feature_id = session.execute(_OPEN, values).scalar_one()
                refresh(session, feature_id, actor=Actor.system("tests"), now=utc_now())
            session.execute(
                text("UPDATE water_name SET name = :name WHERE is_primary AND lang = 'zh-Hans' AND water_body_id ="
                     " (SELECT id FROM water_body WHERE public_id = 'w-tangxun')"),
                {"name": HOSTILE},
            )  # fmt: skip
        service.build_archive(context, order(context, service.TOPIC_ARCHIVE))
        run(context)
        nobody = pick_free_port()  # where the application would listen
        bodies = make_bodies_folder(folder / "bodies")
        with nginx(
            folder / "nginx", port=port, backend=nobody, bodies=bodies, secret="0" * 32, published=settings.publish_dir
        ):
            yield Standing(f"http://127.0.0.1:{port}", context)


def test_the_live_map_stands_with_the_application_stopped(standing: Standing, browser: Browser) -> None:
    watch = Watch(standing.origin)
    for path in ("", "zh-Hant/", "en/"):
        with people.person(browser, watch, PHONE) as anybody:
            anybody.goto(f"{standing.origin}/" if not path else f"{standing.origin}/published/{path}")
            assert anybody.url == f"{standing.origin}/published/{path}"
            anybody.goto(f"{anybody.url}#map=9.5/30.5/114.35")
            anybody.reload()
            anybody.wait_for_selector("#map[data-ready]")
            expect(anybody.locator("#map-in-view li")).to_have_count(2)
            if not path:
                expect(anybody.locator("#map-in-view")).to_contain_text(HOSTILE)
            expect(anybody.locator("#map-in-view-count")).to_contain_text("2")
            assert anybody.evaluate("window.hacked") is None
            assert people.overflow_px(anybody) == 0
            if shots := shots_folder():
                anybody.screenshot(path=shots / f"standing-{path.strip('/') or 'zh-Hans'}.png", full_page=True)
    assert watch.faults == []


def test_folium_pages_stand_too_and_no_name_runs(standing: Standing, browser: Browser) -> None:
    watch = Watch(standing.origin)
    for place in ("national", "water-w-tangxun", "water-w-yangtze"):
        with people.person(browser, watch, PHONE if place == "national" else DESKTOP) as anybody:
            anybody.goto(f"{standing.origin}/published/maps/{place}.html")
            coloured = anybody.locator("path.leaflet-interactive")
            expect(coloured.first).to_be_attached()
            expect(anybody.get_by_role("heading", level=1)).not_to_be_empty()
            expect(anybody.get_by_text("公众观察等级，非政府预警", exact=True)).to_be_visible()
            for number in range(min(coloured.count(), 30)):
                coloured.nth(number).dispatch_event("click")
            expect(anybody.locator(".leaflet-popup").last).to_be_visible()
            assert anybody.evaluate("window.hacked") is None
            assert people.overflow_px(anybody) == 0
            picture = anybody.request.get(f"{standing.origin}/published/maps/{place}.png")
            assert picture.headers["content-type"] == "image/png"
            if shots := shots_folder():
                anybody.screenshot(path=shots / f"folium-{place}.png", full_page=True)
                (shots / f"picture-{place}.png").write_bytes(picture.body())
            anybody.goto(f"{standing.origin}/published/maps/{place}.html?lang=en")
            english = "Public observation level, not a government warning"
            expect(anybody.get_by_text(english, exact=True)).to_be_visible()
    assert watch.faults == []
