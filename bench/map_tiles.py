"""The map's geometry at the size of a country: the archive's sizes and seconds; the desk's tiles beside two others.

A made-up country (``bench.country``) in a private PostgreSQL. The archive is built by a process that is killed
half-way and by one that goes on. Then, in rounds, each round every contestant in turn, on the same table of the same
database: the application under gunicorn, tipg (PyPI, in an environment of its own that this bench makes under var/),
and MapServer (Debian's cgi-mapserver, FastCGI behind nginx); each with two processes, loaded by wrk over eight
connections.

    apt-get install -y wrk cgi-mapserver spawn-fcgi multiwatch nginx-light
    python -m bench.map_tiles [--reaches 1000000] [--lakes 50000] [--rounds 5] [--seconds 4] [--keep FOLDER]
                              [--only archive|serve]
"""

import argparse
import gzip
import http.client
import json
import math
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from bench import waters
from bench.waters import Goal

ROOT = Path(__file__).resolve().parents[1]
CONNECTIONS = 8
ZOOMS = range(10, 15)
WAITING, OPEN = 10_000, 10_000
KEEP_TILES = 400  # asked for over and over in a round
WRK = """
local paths = {}
for line in io.lines("%s") do table.insert(paths, line) end
local at = math.random(#paths)
request = function()
  at = at %% #paths + 1
  return wrk.format("GET", paths[at])
end
done = function(summary)
  local told = "\\nRESULT %%d %%d %%d\\n"
  io.write(string.format(told, summary.requests, summary.duration, summary.errors.status))
end
"""


@dataclass(frozen=True)
class Contestant:
    """Somebody who serves tiles: where, and the path of one."""

    port: int
    path: Callable[[int, int, int], str]


def main() -> None:
    """Make the country, build its archive, serve its tiles."""
    asked = _arguments()
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the start")
    with waters._folder(asked.keep) as folder, waters._postgres(folder) as url:
        _import(url, waters._files(folder, asked))
        if asked.only in (None, "archive"):
            _archive(url, folder)
        if asked.only in (None, "serve"):
            _serve(url, folder, asked)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.map_tiles")
    parser.add_argument("--reaches", type=int, default=1_000_000)
    parser.add_argument("--lakes", type=int, default=50_000)
    parser.add_argument("--counties", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each contestant in each round")
    parser.add_argument("--keep", type=Path, help="a folder for files and cluster, used again the next time")
    parser.add_argument("--only", choices=("archive", "serve"))
    parser.add_argument("--build-one", nargs=2, metavar=("URL", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.build_one:
        _build_one(*asked.build_one)
        raise SystemExit
    return asked


def _import(url: str, files: dict[str, Path]) -> None:
    from waterwatch.kernel import migrate

    migrate.upgrade(url)
    with psycopg.connect(url, autocommit=True) as admin:
        if admin.execute("SELECT 1 FROM water_feature LIMIT 1").fetchone():
            print("the country was imported before")
            return
        for what in ("reaches", "lakes", "areas"):
            told = waters._run_import(url, what, files[what])
            print(f"imported {told['rows']:,} {what} in {told['seconds']:.0f} s")
        admin.execute("ANALYZE")


# ---- the archive -----------------------------------------------------------------------------------------------------


def _context(url: str, folder: Path) -> Any:
    from waterwatch.kernel.context import JobContext
    from waterwatch.kernel.db import make_engine, make_sessions
    from waterwatch.kernel.objects import ObjectStore

    settings = _settings(url, folder, "redis://127.0.0.1:9/0")
    return JobContext(settings, make_sessions(make_engine(url)), ObjectStore(settings.objects_url))


def _settings(url: str, folder: Path, redis_url: str) -> Any:
    from waterwatch.kernel.settings import Settings

    return Settings(
        mode="test",
        secret_key="bench " * 8,
        public_url="http://localhost",
        database_url=url,
        redis_url=redis_url,
        smtp_url="smtp://127.0.0.1:9",
        objects_url=f"file://{folder / 'objects'}",
        spool_dir=folder / "spool",
        publish_dir=folder / "published",
        log_level="WARNING",
    )


def _build_one(url: str, folder: str) -> None:
    """In a process of its own, so that its memory is its own and it can be killed."""
    from waterwatch.mapping import archive

    began = time.monotonic()
    steps: dict[str, float] = {}

    def tell(step: str, done: int, total: int) -> None:
        steps[step] = time.monotonic() - began
        print(f"{step} {done} {total}", file=sys.stderr, flush=True)

    info = archive.build(_context(url, Path(folder)), folder=Path(folder) / "published", progress=tell)
    peak_mb = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    told = {"tiles": info.tiles, "bytes": info.bytes, "fullest": info.fullest, "middle": info.middle}
    told |= {"resumed": info.resumed, "pieces": info.pieces, "path": str(info.path), "peak_mb": peak_mb}
    print(json.dumps(told | {"seconds": time.monotonic() - began, "steps": steps}))


def _archive(url: str, folder: Path) -> None:
    shutil.rmtree(folder / "spool" / "tiles", ignore_errors=True)
    shutil.rmtree(folder / "published", ignore_errors=True)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("TRUNCATE water_tile, water_label, area_label, tile_rule")
        admin.execute("UPDATE map_ground SET drawn_version = NULL")
    command = [sys.executable, "-m", "bench.map_tiles", "--build-one", url, str(folder)]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        for line in first.stderr:
            step, done, total = line.split()
            if step == "cut" and int(done) * 2 > int(total):
                first.send_signal(signal.SIGKILL)
                break
    killed_s = time.monotonic() - began
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    whole = Path(told["path"]).read_bytes()
    again = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    megabytes = told["bytes"] / 1e6
    print(f"\narchive: {megabytes:.0f} MB ({Goal(at_most=350).verdict([megabytes])}), {told['tiles']:,} tiles")
    print(f"  killed after {killed_s:.0f} s; the next run kept {told['resumed']} of {told['pieces']} pieces")
    print(f"  and took {told['seconds']:.0f} s; peak memory {told['peak_mb']:.0f} MB")
    verdict = "the same" if _same(again, whole) else "OTHER"
    print(f"  cut anew as a whole: {again['seconds']:.0f} s, its bytes are {verdict}")
    print("  zoom   middle   fullest, KB gzip")
    for zoom, fullest in told["fullest"].items():
        print(f"  {zoom:>4}{told['middle'][zoom] / 1000:>9.1f}{fullest / 1000:>10.1f}")
    print(f"  middle tile, KB: {Goal(at_most=50).verdict([max(told['middle'].values()) / 1000])}")
    print(f"  fullest tile, KB: {Goal(at_most=500).verdict([max(told['fullest'].values()) / 1000])}\n")


def _same(told: dict[str, Any], whole: bytes) -> bool:
    return Path(told["path"]).read_bytes() == whole


# ---- serving ---------------------------------------------------------------------------------------------------------


def _serve(url: str, folder: Path, asked: argparse.Namespace) -> None:
    from waterwatch.kernel.clock import utc_now
    from waterwatch.mapping import tiles_drawing
    from waterwatch.mapping.tiles_access import tiles_token
    from workers.processes import pick_free_port
    from workers.services import PrivateRedis

    context = _context(url, folder)
    tiles_drawing.draw(context.sessions)
    _fill(url)
    places = _places(url)
    choose = random.Random(5)
    redis = PrivateRedis(folder / "redis")
    redis.start()
    settings = _settings(url, folder, redis.url())
    ports = {name: pick_free_port() for name in ("ours", "tipg", "mapserver", "front")}
    try:
        with ExitStack() as opened:
            opened.enter_context(_gunicorn(settings, ports["ours"], folder / "ours.log"))
            opened.enter_context(_tipg(url, ports["tipg"], folder / "tipg.log"))
            opened.enter_context(_mapserver(url, ports["mapserver"], folder / "mapserver"))
            token, _expires_at = tiles_token(settings, now=utc_now())
            ours = Contestant(ports["ours"], lambda z, x, y: f"/desk/tiles/{token}/waters/{z}/{x}/{y}")
            everything = Contestant(ports["ours"], lambda z, x, y: f"/desk/tiles/{token}/all/{z}/{x}/{y}")
            tipg = Contestant(
                ports["tipg"], lambda z, x, y: f"/collections/bench.rivers/tiles/WebMercatorQuad/{z}/{x}/{y}"
            )
            mapserver = Contestant(
                ports["mapserver"], lambda z, x, y: f"/tiles?mode=tile&layers=rivers&tile={x}+{y}+{z}"
            )
            contestants = {"ours": ours, "tipg": tipg, "mapserver": mapserver}
            _compare_contents(contestants, places, choose)
            _like_for_like(contestants, places, choose, folder, asked)
            _all_layers(everything, tipg, places, choose)
            with _proxy(ports["front"], ports["ours"], folder / "proxy"):
                token, _expires_at = tiles_token(settings, now=utc_now())
                _through_the_proxy(ports["front"], token, places, choose, folder, asked)
    finally:
        redis.stop()


def _fill(url: str) -> None:
    """What waits and what is open, on reaches all over the country; and the one table all three read."""
    with psycopg.connect(url, autocommit=True) as admin:
        if not admin.execute("SELECT 1 FROM report LIMIT 1").fetchone():
            admin.execute(_FILL.format(reports=WAITING, incidents=OPEN))
        admin.execute("DROP SCHEMA IF EXISTS bench CASCADE; CREATE SCHEMA bench")
        # As the application's own table has them: the same rows, columns, order on disk and kind of index.
        admin.execute(
            "CREATE TABLE bench.rivers AS SELECT feature_id, size_class AS o, public_id AS w, name AS n,"
            " name_hant AS nt, name_en AS ne, geom::geometry(Geometry, 3857) AS geom"
            " FROM water_tile WHERE band = 11 AND NOT is_lake ORDER BY geom"
        )
        admin.execute("ALTER TABLE bench.rivers ADD PRIMARY KEY (feature_id)")
        admin.execute("CREATE INDEX ON bench.rivers USING gist (geom)")
        admin.execute("VACUUM ANALYZE")


_FILL = """
WITH chosen AS (
    SELECT id, water_body_id, ST_LineInterpolatePoint(geom, 0.5) AS place, row_number() OVER () AS nth
    FROM (SELECT * FROM water_feature WHERE kind = 'reach' ORDER BY md5(feature_id::text) LIMIT {reports}) f),
reports AS (
    INSERT INTO report (id, code, follow_digest, submission_digest, organisation_id, state, state_since, kind, language,
                        received_at, point, place_source, input_datum, water_feature_id, snapped_point)
    SELECT gen_random_uuid(), 'B' || nth, sha256(('f' || nth)::bytea), sha256(('s' || nth)::bytea),
           (SELECT id FROM organisation LIMIT 1), 'in_review', now(), 'sewage_outfall', 'zh-Hans',
           now() - nth * interval '1 minute', place, 'pin', 'wgs84', id, place FROM chosen)
INSERT INTO incident (id, code, organisation_id, state, state_since, kind, severity, graded_severity, water_feature_id,
                      exact_point, public_point, opened_at, last_confirmed_at)
SELECT gen_random_uuid(), 'I' || nth, (SELECT id FROM organisation LIMIT 1), 'open', now(), 'sewage_outfall',
       1 + nth % 3, 1 + nth % 3, id, place, place, now(), now() FROM chosen WHERE nth <= {incidents}
"""


def _places(url: str) -> list[tuple[float, float]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT ST_X(ST_StartPoint(geom)), ST_Y(ST_StartPoint(geom)) FROM water_feature"
            " WHERE kind = 'reach' ORDER BY md5(feature_id::text) LIMIT 5000"
        ).fetchall()


def _tile(zoom: int, place: tuple[float, float]) -> tuple[int, int, int]:
    side = 2**zoom
    lat = math.radians(place[1])
    return zoom, int((place[0] + 180) / 360 * side), int((1 - math.asinh(math.tan(lat)) / math.pi) / 2 * side)


def _compare_contents(
    contestants: dict[str, Contestant], places: Sequence[tuple[float, float]], choose: random.Random
) -> None:
    """The three must serve the same rivers, or the race means nothing."""
    from tests.mapping.ground import decode

    agree = 0
    for zoom in range(11, 15):
        for _ in range(5):
            tile = _tile(zoom, choose.choice(places))
            held: dict[str, set[Any]] = {}
            for name, contestant in contestants.items():
                layers = decode(_get(contestant.port, contestant.path(*tile))[1], *tile)
                rivers = layers.get("rivers") or layers.get("default") or []
                held[name] = {one.attributes.get("w") for one in rivers}
            # tipg looks 256 units beyond the edge, we 64: who looks farther has more.
            agree += held["ours"] <= held["tipg"] and held["mapserver"] <= held["tipg"]
    print(f"\nthe same rivers in {agree} of 20 tiles decoded")


def _like_for_like(
    contestants: dict[str, Contestant],
    places: Sequence[tuple[float, float]],
    choose: random.Random,
    folder: Path,
    asked: argparse.Namespace,
) -> None:
    scripts = {}
    tiles = [_tile(choose.choice(ZOOMS), choose.choice(places)) for _ in range(KEEP_TILES * 5)]
    for name, contestant in contestants.items():
        scripts[name] = _script(folder / f"{name}.lua", [contestant.path(*tile) for tile in tiles])
    for name, contestant in contestants.items():  # plans, caches
        _wrk(contestant.port, scripts[name], asked.seconds)
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    costs: dict[str, list[float]] = {name: [] for name in contestants}
    for _round in range(asked.rounds):
        for name, contestant in contestants.items():
            before = _cpu_s()
            rates[name].append(_wrk(contestant.port, scripts[name], asked.seconds))
            costs[name].append((_cpu_s() - before) / (rates[name][-1] * asked.seconds) * 1e3)
    print(f"\none layer, z{ZOOMS[0]}–{ZOOMS[-1]}, nothing cached, requests/s by round (ours has the lakes as well)")
    for name, found in rates.items():
        print(f"  {name:12}" + "".join(f"{rate:>9.0f}" for rate in found))
    print("CPU of servers, database and client together, ms a request: others' work on the machine does not count")
    for name, found in costs.items():
        print(f"  {name:12}" + "".join(f"{cost:>9.2f}" for cost in found))
    for name in ("tipg", "mapserver"):
        ratios = [theirs / ours for ours, theirs in zip(costs["ours"], costs[name], strict=True)]
        waters._ratio(f"CPU of {name} / ours", ratios, Goal(at_least=1))
    for name, goal in (("tipg", 4.0), ("mapserver", 2.0)):
        ratios = [ours / theirs for ours, theirs in zip(rates["ours"], rates[name], strict=True)]
        waters._ratio(f"ours / {name}", ratios, Goal(at_least=goal))


def _all_layers(
    ours: Contestant, tipg: Contestant, places: Sequence[tuple[float, float]], choose: random.Random
) -> None:
    times: dict[str, list[float]] = {"ours": [], "tipg": []}
    fullest = dict.fromkeys(range(4, 15), 0)
    for turn in range(12):
        for zoom in range(4, 15):
            tile = _tile(zoom, choose.choice(places))
            # tipg's tiles of zoom 4 take seconds each.
            for name, contestant in (("ours", ours), ("tipg", tipg))[: 2 if turn % 4 == 0 else 1]:
                began = time.perf_counter()
                status, content = _get(contestant.port, contestant.path(*tile))
                times[name].append(time.perf_counter() - began)
                assert status in (200, 204), (name, tile, status, content[:300])
                if name == "ours":
                    fullest[zoom] = max(fullest[zoom], len(gzip.compress(content, 4)))
    for zoom in range(4, 8):  # and every tile there is of the zooms that are fullest
        for tile in {_tile(zoom, place) for place in places}:
            fullest[zoom] = max(fullest[zoom], len(gzip.compress(_get(ours.port, ours.path(*tile))[1], 4)))
    p95 = {name: waters._percentile(found, 0.95) * 1e3 for name, found in times.items()}
    p50 = {name: statistics.median(found) * 1e3 for name, found in times.items()}
    print("\nall layers z4–14 against one layer of tipg, nothing left out by it, one client, ms")
    for name in times:
        print(f"  {name:12} p50 {p50[name]:.1f}   p95 {p95[name]:.1f}")
    waters._ratio("p95 of ours / p95 of tipg", [p95["ours"] / p95["tipg"]], Goal(at_most=1 / 20))
    print("  fullest of ours, KB gzip: " + ", ".join(f"z{zoom} {size / 1000:.1f}" for zoom, size in fullest.items()))
    print(f"  {Goal(at_most=100).verdict([max(fullest.values()) / 1000])}")


def _through_the_proxy(
    port: int,
    token: str,
    places: Sequence[tuple[float, float]],
    choose: random.Random,
    folder: Path,
    asked: argparse.Namespace,
) -> None:
    tiles = list({_tile(choose.choice(ZOOMS), choose.choice(places)) for _ in range(KEEP_TILES)})
    cached, static = [], []
    for z, x, y in tiles:
        path = f"/desk/tiles/{token}/waters/{z}/{x}/{y}"
        _status, content = _get(port, path)
        file = folder / "proxy" / "static" / str(z) / str(x) / str(y)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        cached.append(path)
        static.append(f"/static/{z}/{x}/{y}")
    scripts = {"cached": _script(folder / "cached.lua", cached), "static": _script(folder / "static.lua", static)}
    rates: dict[str, list[float]] = {"cached": [], "static": []}
    for name in rates:
        _wrk(port, scripts[name], 2)
    for _round in range(asked.rounds):
        for name, found in rates.items():
            found.append(_wrk(port, scripts[name], asked.seconds))
    print("\nthrough nginx, requests/s by round")
    for name, found in rates.items():
        print(f"  {name:12}" + "".join(f"{rate:>9.0f}" for rate in found))
    ratios = [kept / plain for kept, plain in zip(rates["cached"], rates["static"], strict=True)]
    waters._ratio("from nginx's cache / nginx static", ratios, Goal(at_least=0.5))


def _cpu_s() -> float:
    """Seconds of CPU that this process and everybody it started have used."""
    mine = psutil.Process()
    total = 0.0
    for process in (mine, *mine.children(recursive=True)):
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system + (used.children_user + used.children_system if process == mine else 0)
    return total


# ---- servers and load ------------------------------------------------------------------------------------------------


def _script(path: Path, paths: Sequence[str]) -> Path:
    listed = path.with_suffix(".txt")
    listed.write_text("\n".join(paths))
    path.write_text(WRK % listed)
    return path


def _wrk(port: int, script: Path, seconds: int) -> float:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--timeout", "30", "-s", str(script)]
    done = subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True)
    found = re.search(r"RESULT (\d+) (\d+) (\d+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    requests, micros, errors = map(int, found.groups())
    assert errors == 0, f"{errors} of {requests} answers on port {port} were errors"
    return requests / (micros / 1e6)


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextmanager
def _running(command: Sequence[str], environment: dict[str, str], log: Path, port: int, path: str) -> Iterator[None]:
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=os.environ | environment, stdout=sink, stderr=sink, cwd=ROOT)
    try:
        deadline = time.monotonic() + 90
        while not _answers(port, path):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{command[0]} did not come up:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(port: int, path: str) -> bool:
    try:
        return _get(port, path)[0] < 500
    except OSError:
        return False


def _gunicorn(settings: Any, port: int, log: Path) -> Any:
    environment = {
        "WATERWATCH_MODE": "test",
        "WATERWATCH_SECRET_KEY": settings.secret_key.get_secret_value(),
        "WATERWATCH_PUBLIC_URL": settings.public_url,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SMTP_URL": settings.smtp_url,
        "WATERWATCH_OBJECTS_URL": settings.objects_url,
        "WATERWATCH_SPOOL_DIR": str(settings.spool_dir),
        "WATERWATCH_PUBLISH_DIR": str(settings.publish_dir),
        "WATERWATCH_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "gunicorn", "wsgi:application", "--bind", f"127.0.0.1:{port}"]
    command += ["--workers", "2", "--threads", "4", "--no-control-socket"]
    return _running(command, environment, log, port, "/healthz")


def _tipg(url: str, port: int, log: Path) -> Any:
    """With uvloop and httptools, two processes, its checks of the schema off, no access log: as fast as it goes."""
    programs = ROOT / "var" / "bench-tipg"
    if not (programs / "bin" / "uvicorn").exists():
        subprocess.run([sys.executable, "-m", "venv", programs], check=True)
        subprocess.run(
            [programs / "bin" / "pip", "install", "-q", "tipg", "uvicorn", "uvloop", "httptools"], check=True
        )
    environment = {
        "DATABASE_URL": url.replace("postgresql+psycopg", "postgresql"),
        "TIPG_DB_SCHEMAS": '["bench"]',
        "TIPG_DB_SPATIAL_EXTENT": "FALSE",
        "TIPG_DB_DATETIME_EXTENT": "FALSE",
        "TIPG_MAX_FEATURES_PER_TILE": "2000000",  # of itself it leaves out what is beyond 10,000, and does not say so
    }
    command = [str(programs / "bin" / "uvicorn"), "tipg.main:app", "--port", str(port), "--workers", "2"]
    command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return _running(command, environment, log, port, "/healthz")


_MAPFILE = """
MAP
  NAME "bench"
  EXTENT -20037508.34 -20037508.34 20037508.34 20037508.34
  PROJECTION "init=epsg:3857" END
  OUTPUTFORMAT NAME "mvt" DRIVER "MVT" MIMETYPE "application/vnd.mapbox-vector-tile"
    FORMATOPTION "EXTENT=4096" FORMATOPTION "EDGE_BUFFER=10" END
  IMAGETYPE "mvt"
  LAYER
    NAME "rivers" TYPE LINE STATUS ON
    CONNECTIONTYPE POSTGIS
    CONNECTION "{connection}"
    PROCESSING "CLOSE_CONNECTION=DEFER"
    DATA "geom FROM bench.rivers USING UNIQUE feature_id USING SRID=3857"
    PROJECTION "init=epsg:3857" END
    METADATA "gml_include_items" "all" "ows_include_items" "all" END
  END
END
"""


@contextmanager
def _mapserver(url: str, port: int, folder: Path) -> Iterator[None]:
    """FastCGI, two processes that keep their connection to the database, behind nginx."""
    from workers.processes import pick_free_port

    folder.mkdir(parents=True, exist_ok=True)
    told = psycopg.conninfo.conninfo_to_dict(url)
    connection = " ".join(f"{key}={value}" for key, value in told.items())
    (folder / "bench.map").write_text(_MAPFILE.format(connection=connection))
    (folder / "mapserver.conf").write_text(
        f'CONFIG\n  ENV\n    MS_MAP_PATTERN "."\n    MS_MAPFILE "{folder}/bench.map"\n  END\nEND\n'
    )
    backend = pick_free_port()
    environment = {"MAPSERVER_CONFIG_FILE": str(folder / "mapserver.conf"), "MS_MAPFILE": str(folder / "bench.map")}
    command = ["spawn-fcgi", "-n", "-a", "127.0.0.1", "-p", str(backend), "--"]
    command += ["/usr/bin/multiwatch", "-f", "2", "--", "/usr/lib/cgi-bin/mapserv"]
    site = f"""
        location /tiles {{
            fastcgi_pass fcgi;
            fastcgi_keep_conn on;
            fastcgi_param QUERY_STRING map={folder}/bench.map&$query_string;
            fastcgi_param REQUEST_METHOD GET;
            fastcgi_param SCRIPT_NAME mapserv;
            fastcgi_param MAPSERVER_CONFIG_FILE {folder}/mapserver.conf;
        }}"""
    upstream = f"upstream fcgi {{ server 127.0.0.1:{backend}; keepalive 8; }}"
    with (folder / "log").open("wb") as sink:
        process = subprocess.Popen(
            command, env=os.environ | environment, stdout=sink, stderr=sink, start_new_session=True
        )
    try:
        with _nginx(port, site, folder, before=upstream):
            yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def _proxy(port: int, backend: int, folder: Path) -> Any:
    """nginx as docs/operations.md has it for the desk's tiles, and beside it the same tiles as plain files."""
    before = f"proxy_cache_path {folder}/cache keys_zone=tiles:10m max_size=500m inactive=20m use_temp_path=off;"
    site = f"""
        location /desk/tiles/ {{
            proxy_pass http://127.0.0.1:{backend};
            proxy_cache tiles;
            proxy_cache_key $uri;
            proxy_cache_lock on;
            proxy_cache_use_stale updating;
            proxy_ignore_headers Vary;
            proxy_set_header Cookie "";
            proxy_set_header Accept-Encoding "gzip";
            proxy_set_header Host $host;
            gunzip on;
        }}
        location /static/ {{ root {folder}; default_type application/vnd.mapbox-vector-tile; }}"""
    return _nginx(port, site, folder, before=before)


@contextmanager
def _nginx(port: int, site: str, folder: Path, *, before: str = "") -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder, *folder.parents):
        if path.stat().st_mode & 0o5 != 0o5:
            print(f"  ({path} is closed to nginx's user)")
    temp = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(f"""
user root; daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off; {temp} keepalive_requests 1000000; open_file_cache max=4000; {before}
    server {{ listen 127.0.0.1:{port}; {site} }}
}}""")
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with _running(command, {}, folder / "nginx.log", port, "/"):
        yield


if __name__ == "__main__":
    main()
