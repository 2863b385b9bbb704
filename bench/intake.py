"""How many 4 MB photos a second are accepted, durably, by each way a photo comes; what each step of it costs.

Private PostgreSQL (fsync on) and Redis, a real gunicorn, a real nginx configured as the operations manual says. Two
floors are measured in the same run, round by round in turn, because machines differ and the same machine differs from
minute to minute: writing and fsyncing the same bytes bare, and plain Flask (``request.files`` saved and fsynced) under
the same gunicorn. Every other contestant has answered only when file, row, audit entry and outbox row are durable.

    python -m bench.intake [--uploads 24] [--rounds 5] [--threads 4] [--megabytes 4]
"""

import argparse
import http.client
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flask import Flask, request

MEBIBYTE = 1024 * 1024
BOUNDARY = b"waterwatch-bench-boundary"
FIELDS = {"kind": "sewage_outfall", "lon": "114.3055", "lat": "30.5928", "place_confirmed": "1"}
PLAIN_FOLDER = "WATERWATCH_BENCH_FOLDER"


@dataclass(frozen=True)
class Round:
    """What one round of one contestant gave: uploads per second and each upload's latency in seconds."""

    per_s: float
    latencies_s: list[float]


@dataclass(frozen=True)
class Visitor:
    """Who has opened the form: the session cookie and the CSRF token that belongs to it."""

    cookie: str
    token: str


def plain_app() -> Flask:
    """The floor: what Flask does by itself with a file, made durable by one fsync. Served by gunicorn as ours is."""
    app = Flask("plain")
    folder = Path(os.environ[PLAIN_FOLDER])

    @app.post("/report")
    def take() -> tuple[str, int]:
        path = folder / uuid.uuid4().hex
        request.files["photo"].save(path)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        return "", 201

    @app.get("/healthz")
    def healthz() -> str:
        return "ok"

    return app


def photo_like(size_bytes: int) -> bytes:
    """Incompressible bytes with a JPEG's head and tail; nobody decodes them here."""
    return b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + os.urandom(size_bytes - 13) + b"\xff\xd9"


def multipart(photo: bytes, fields: dict[str, str]) -> list[bytes]:
    """The request body in pieces, so that the photo is never copied."""
    head = b"".join(
        b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (BOUNDARY, name.encode(), value.encode())
        for name, value in fields.items()
    )
    head += b'--%s\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n' % BOUNDARY
    return [head + b"Content-Type: image/jpeg\r\n\r\n", photo, b"\r\n--%s--\r\n" % BOUNDARY]


@dataclass(frozen=True)
class Way:
    """One way to send a photo: where to, and whether as the body itself or as a form's file."""

    port: int
    path: str
    is_raw: bool = False
    visitor: Visitor | None = None


def upload(connection: http.client.HTTPConnection, photo: bytes, way: Way) -> float:
    """Send one photo; seconds until the whole answer was read. Anything but 201 ends the benchmark."""
    fields: dict[str, str] = {}
    if way.path == "/report":
        fields = FIELDS | {"idempotency_key": str(uuid.uuid4())}
    if way.visitor:
        fields["csrf_token"] = way.visitor.token
    pieces = [photo] if way.is_raw else multipart(photo, fields)
    started = time.perf_counter()
    connection.putrequest("POST", way.path)
    form = f"multipart/form-data; boundary={BOUNDARY.decode()}"
    connection.putheader("Content-Type", "image/jpeg" if way.is_raw else form)
    connection.putheader("Content-Length", str(sum(map(len, pieces))))
    connection.putheader("Accept", "application/json")
    if way.visitor:
        connection.putheader("Cookie", way.visitor.cookie)
    connection.endheaders()
    for piece in pieces:
        connection.send(piece)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 201:
        sys.exit(f"an upload was answered {answer.status}: {body[:300]!r}")
    return time.perf_counter() - started


def in_parallel(work: Callable[[int], list[float]], threads: int) -> Round:
    """Run ``work`` on several threads at once; it returns the latencies it saw."""
    found: list[float] = []
    runners = [threading.Thread(target=lambda number=number: found.extend(work(number))) for number in range(threads)]
    started = time.perf_counter()
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    elapsed_s = time.perf_counter() - started
    return Round(len(found) / elapsed_s, found)


def http_round(way: Way, photo: bytes, uploads: int, threads: int) -> Round:
    """``uploads`` photos over ``threads`` connections."""

    def work(_number: int) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", way.port, timeout=60)
        latencies = [upload(connection, photo, way) for _ in range(uploads // threads)]
        connection.close()
        return latencies

    return in_parallel(work, threads)


def bare_round(folder: Path, photo: bytes, uploads: int, threads: int) -> Round:
    """The floor below every server: write, fsync, close."""

    def work(_number: int) -> list[float]:
        latencies = []
        for _ in range(uploads // threads):
            started = time.perf_counter()
            with (folder / uuid.uuid4().hex).open("wb") as file:
                file.write(photo)
                file.flush()
                os.fsync(file.fileno())
            latencies.append(time.perf_counter() - started)
        return latencies

    return in_parallel(work, threads)


@contextmanager
def gunicorn(target: str, port: int, environment: dict[str, str], log: Path) -> Iterator[None]:
    """A gunicorn with two workers of four threads, ready when ``/healthz`` answers, stopped at the end."""
    command = [sys.executable, "-m", "gunicorn", target, "--bind", f"127.0.0.1:{port}"]
    command += ["--workers", "2", "--threads", "4", "--no-control-socket"]
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=os.environ | environment, stdout=sink, stderr=sink)
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"gunicorn did not come up:\n{log.read_text()[-2000:]}")
            threading.Event().wait(0.1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def open_form(port: int) -> Visitor:
    """Open the form as a browser does, for its cookie and its CSRF token."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/report")
    answer = connection.getresponse()
    page = answer.read().decode()
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
    if answer.status != 200 or found is None or not cookie:
        sys.exit(f"the form was answered {answer.status}, without what a visitor needs")
    return Visitor(cookie, found[1])


def percentile(values: list[float], share: float) -> float:
    """Nearest-rank percentile."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


FLOORS = ("bare write+fsync", "plain Flask")


def print_contest(rounds: dict[str, list[Round]]) -> None:
    """Every round, the medians, and the ratios that outlast the machine."""
    print(f"\n{'uploads/s':28}" + "".join(f"round {n + 1:<4}" for n in range(len(rounds[FLOORS[0]]))) + "median")
    for name, found in rounds.items():
        rates = [one.per_s for one in found]
        print(f"{name:28}" + "".join(f"{r:<10.1f}" for r in rates) + f"{statistics.median(rates):.1f}")
    for name, found in rounds.items():
        latencies = [latency for one in found for latency in one.latencies_s]
        p50, p95 = percentile(latencies, 0.5) * 1000, percentile(latencies, 0.95) * 1000
        print(f"{name + ', latency':36}p50 {p50:.0f} ms   p95 {p95:.0f} ms   ({len(latencies)} uploads)")
    for name in [name for name in rounds if name not in FLOORS]:
        for floor in FLOORS:
            ratios = [a.per_s / b.per_s for a, b in zip(rounds[name], rounds[floor], strict=True)]
            low, high = min(ratios), max(ratios)
            verdict = "" if low > 1 or high < 1 else "  (ranges overlap: no verdict)"
            print(f"{name} / {floor}: {statistics.median(ratios):.2f}x, from {low:.2f} to {high:.2f}{verdict}")


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False


def main() -> None:
    """Set up, contest, take apart."""
    from bench.intake_database import print_database
    from bench.intake_memory import print_memory
    from bench.intake_steps import print_steps
    from tests.web.proxy import make_bodies_folder, nginx
    from waterwatch.kernel import migrate
    from waterwatch.kernel.settings import Settings
    from workers.processes import pick_free_port
    from workers.services import PrivatePostgres, PrivateRedis

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=24, help="per round and contestant")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--megabytes", type=int, default=4)
    asked = parser.parse_args()
    photo = photo_like(asked.megabytes * MEBIBYTE)
    with tempfile.TemporaryDirectory(prefix="waterwatch-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "bare").mkdir()
        postgres, redis = PrivatePostgres(folder / "postgres"), PrivateRedis(folder / "redis")
        postgres.start()
        redis.start()
        try:
            migrate.upgrade(postgres.url("postgres"))
            bodies = make_bodies_folder(folder / "bodies")
            environment = _environment(folder, postgres.url("postgres"), redis.url(), bodies)
            ours, plain, front = pick_free_port(), pick_free_port(), pick_free_port()
            secret = environment["WATERWATCH_PROXY_BODIES_SECRET"]
            with (
                gunicorn("wsgi:application", ours, environment, folder / "ours.log"),
                gunicorn("bench.intake:plain_app()", plain, environment, folder / "plain.log"),
                nginx(folder / "nginx", port=front, backend=ours, bodies=bodies, secret=secret),
            ):
                _contest(ours, plain, front, folder / "bare", photo, asked)
                print_memory(ours, front, photo_like)
            print_steps(environment, photo, uploads=asked.uploads)
            print_database(Settings.from_environ())
        finally:
            redis.stop()
            postgres.stop()


def _contest(ours: int, plain: int, front: int, bare: Path, photo: bytes, asked: argparse.Namespace) -> None:
    each = f"{asked.uploads} uploads of {asked.megabytes} MB over {asked.threads} connections"
    print(f"{asked.rounds} rounds; in each, every contestant takes {each}")
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the start")
    ways = {
        "plain Flask": Way(plain, "/report"),
        "the form /report": Way(ours, "/report", visitor=open_form(ours)),
        "photo in a form": Way(ours, "/api/v1/photos"),
        "photo as the body": Way(ours, "/api/v1/photos", is_raw=True),
        "photo in a form, nginx": Way(front, "/api/v1/photos"),
        "photo as the body, nginx": Way(front, "/api/v1/photos", is_raw=True),
    }
    contestants: dict[str, Callable[[], Round]] = {
        "bare write+fsync": lambda: bare_round(bare, photo, asked.uploads, asked.threads)
    }
    for name, way in ways.items():
        contestants[name] = partial(http_round, way, photo, asked.uploads, asked.threads)
    for run in contestants.values():
        run()  # warm: connections, imports, page cache
    rounds: dict[str, list[Round]] = {name: [] for name in contestants}
    for _ in range(asked.rounds):
        for name, run in contestants.items():
            rounds[name].append(run())
    print_contest(rounds)


def _environment(folder: Path, database_url: str, redis_url: str, bodies: Path) -> dict[str, str]:
    return {
        "WATERWATCH_MODE": "test",
        "WATERWATCH_SECRET_KEY": uuid.uuid4().hex,
        "WATERWATCH_PUBLIC_URL": "http://localhost",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SMTP_URL": "smtp://127.0.0.1:9",
        "WATERWATCH_OBJECTS_URL": f"file://{folder / 'objects'}",
        "WATERWATCH_SPOOL_DIR": str(folder / "spool"),
        "WATERWATCH_PUBLISH_DIR": str(folder / "published"),
        "WATERWATCH_PROXY_BODIES_DIR": str(bodies),
        "WATERWATCH_PROXY_BODIES_SECRET": uuid.uuid4().hex,
        "WATERWATCH_TRUSTED_PROXIES": "1",
        "WATERWATCH_REPORT_RATE_LIMIT": "1000000/hour",
        "WATERWATCH_PHOTO_RATE_LIMIT": "1000000/hour",
        "WATERWATCH_PAGE_RATE_LIMIT": "1000000/minute",
        "WATERWATCH_LOG_LEVEL": "WARNING",
        PLAIN_FOLDER: str(folder / "bare"),
    }


if __name__ == "__main__":
    main()
