"""The built front end: its addresses, how long they may be cached, and what a phone has to load."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from waterwatch.web.assets import Assets, AssetsMissingError, install_assets

DIST = Path(__file__).resolve().parents[2] / "map_static" / "dist"
REPORT_BUDGET_BYTES = 200 * 1024
MANIFEST = {
    "src/site.css": {"file": "assets/site-AAAAAAAA.css", "isEntry": True},
    "src/map.ts": {
        "file": "assets/map-BBBBBBBB.js",
        "isEntry": True,
        "imports": ["_shared.js"],
        "css": ["assets/a.css"],
    },
    "_shared.js": {"file": "assets/shared-CCCCCCCC.js", "imports": ["_deep.js"], "css": ["assets/b.css"]},
    "_deep.js": {"file": "assets/deep-DDDDDDDD.js", "imports": ["_shared.js"], "css": ["assets/a.css", "assets/c.css"]},
}


@pytest.fixture
def build(tmp_path: Path) -> Path:
    (tmp_path / ".vite").mkdir()
    (tmp_path / ".vite" / "manifest.json").write_text(json.dumps(MANIFEST))
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "map-BBBBBBBB.js").write_text("1")
    (tmp_path / "icon.svg").write_text("<svg/>")
    return tmp_path


def test_a_missing_build_says_which_command_makes_it(tmp_path: Path) -> None:
    with pytest.raises(AssetsMissingError, match=r"not built.*Run: bin/build"):
        Assets.read(tmp_path)


def test_a_torn_manifest_says_so(build: Path) -> None:
    (build / ".vite" / "manifest.json").write_text("{")
    with pytest.raises(AssetsMissingError, match=r"is not a manifest.*bin/build"):
        Assets.read(build)


def test_an_unknown_entry_names_the_known_ones(build: Path) -> None:
    with pytest.raises(AssetsMissingError, match=r"no entry 'maps\.ts' \(it has: src/map\.ts, src/site\.css\)"):
        Assets.read(build).url("maps.ts")


def test_an_entry_has_an_address_and_every_style_sheet_of_its_imports_once(build: Path) -> None:
    assets = Assets.read(build)
    assert assets.url("map.ts") == "/static/assets/map-BBBBBBBB.js"
    assert assets.css("map.ts") == ["/static/assets/a.css", "/static/assets/b.css", "/static/assets/c.css"]
    assert assets.css("site.css") == []


def test_hashed_names_are_cached_for_ever_and_others_asked_for_again(build: Path) -> None:
    app = Flask("test", static_folder=None)
    install_assets(app, build)
    client = app.test_client()
    with client.get("/static/assets/map-BBBBBBBB.js") as hashed:
        assert (hashed.status_code, hashed.headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
    with client.get("/static/icon.svg") as plain:
        assert (plain.status_code, plain.headers["Cache-Control"]) == (200, "no-cache")
    for outside in ("/static/../setup.cfg", "/static/%2e%2e/setup.cfg", "/static/assets"):
        assert client.get(outside).status_code == 404


def _static_files(assets: Assets, *names: str) -> Iterator[str]:
    """Files a page loads before anything is asked for lazily."""
    waiting, seen = [f"src/{name}" for name in names], set()
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        entry = assets.entries[key]
        yield entry["file"]
        yield from entry.get("css", ())
        waiting.extend(entry.get("imports", ()))


def test_the_report_page_is_light_before_its_map_comes_into_view() -> None:
    assets = Assets.read(DIST)
    files = set(_static_files(assets, "site.css", "page.ts", "report.ts"))
    # What reads a chosen photo comes with the first one, the service worker once the page is there.
    files |= {entry["file"] for name, entry in assets.entries.items() if "exifreader" in name} | {"sw.js"}
    total = sum(len(gzip.compress((DIST / file).read_bytes())) for file in files)
    assert total <= REPORT_BUDGET_BYTES


def test_what_is_named_by_a_fixed_path_lies_there() -> None:
    assert {path.name for path in (DIST / "vendor").iterdir() if path.suffix != ".gz"} == {
        "leaflet.js",
        "leaflet.css",
        "swagger-ui.css",
        "swagger-ui-bundle.js",
    }


def test_the_build_names_no_foreign_address_to_load_from() -> None:
    styles = "".join(path.read_text() for path in DIST.rglob("*.css"))
    assert "@import" not in styles
    assert "url(http" not in styles
    assert "url(//" not in styles


def test_the_maps_worker_is_a_whole_file_of_our_own() -> None:
    """Bundlers have thrown its content away, MapLibre declaring it free of effects; no map would ever open."""
    worker = next((DIST / "assets").glob("worker-*.js"))
    assert worker.stat().st_size > 100_000


def test_a_browser_that_takes_it_gets_the_packed_twin(build: Path) -> None:
    content = b"let water = 'clean';" * 100
    (build / "assets" / "map-BBBBBBBB.js").write_bytes(content)
    (build / "assets" / "map-BBBBBBBB.js.gz").write_bytes(gzip.compress(content))
    app = Flask("tests", static_folder=None)
    install_assets(app, build)
    with app.test_client() as client:
        packed = client.get("/static/assets/map-BBBBBBBB.js", headers={"Accept-Encoding": "gzip, br"}, buffered=True)
        plain = client.get("/static/assets/map-BBBBBBBB.js", buffered=True)
        lone = client.get("/static/icon.svg", headers={"Accept-Encoding": "gzip"}, buffered=True)
        assert gzip.decompress(packed.data) == plain.data == content
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.mimetype == plain.mimetype == "text/javascript"
        assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
        assert packed.headers["Cache-Control"] == plain.headers["Cache-Control"]
        assert "Content-Encoding" not in lone.headers
        assert client.get("/static/..%2f..%2fetc/passwd", headers={"Accept-Encoding": "gzip"}).status_code == 404


def test_every_script_and_style_sheet_of_the_build_has_its_twin() -> None:
    made = [path for path in DIST.rglob("*") if path.suffix in (".js", ".css", ".svg")]
    assert len(made) > 20
    for path in made:
        assert gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes()) == path.read_bytes(), path
