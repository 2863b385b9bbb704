"""How fast letters to departments leave, and how long a red takes when a thousand others wait.

A private PostgreSQL with fsync on, 400 departments in 100 areas, 250 incidents with a photo of a phone's size each, so
a thousand mails of some 200 kB with photo, map, CAP and GeoJSON. The server is a process of its own that answers at
once.

`rate`: the engine as jobs run it, in as many processes as serve letters in production (two), with real rows: claimed,
written, handed over, recorded, committed. Beside it, in
turn, a bare ``smtplib`` loop that sends the very same bytes to the same addresses over one connection. Once with a
server that knows PIPELINING, as Postfix does, once with one that does not.

`hang`: the engine alone and beside a job of the other channels whose one endpoint takes connections and never answers,
in turn.

`red`: real worker processes (relay and teams, Redis), a thousand other letters waiting for a server that takes a mail
each ``--server-ms``; one incident after the other is red, by the whole of ``escalate`` in a transaction, and the clock
runs from before it until the last of its departments' letters is on record as taken, while the others are kept at a
thousand.

    python -m bench.deliveries [rate] [hang] [red] [--letters 1000] [--rounds 5] [--processes 2] [--reds 40]
        [--server-ms 20]
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import smtplib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation.rows import add_incident, add_report, insert
from waterwatch.agencies.tables import SEALED_FOR
from waterwatch.escalation import letters, sending, service
from waterwatch.kernel import migrate, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.log import configure
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.sealing import seal_value
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.webhook import make_secret
from workers.services import PrivatePostgres, PrivateRedis
from workers.teams import LETTERS, TEAMS

HOST = "127.0.0.1"
AREAS, KINDS, INCIDENTS_AN_AREA = 100, ("ecology_environment", "water", "urban_management", "agriculture"), 2.5
ACTOR = Actor.system("bench")
END = b"\r\n.\r\n"


# The server: its own process, one thread a connection, answers as fast as Python can.


def serve(  # noqa: C901  # a protocol, in one place
    listener: socket.socket, to_us: Connection, *, pipelining: bool, pause_s: float, keeps: bool
) -> None:
    """Take mails until killed; tells of each (recipient, red?, when, bytes or size)."""
    turn = threading.Lock()

    def talk(connection: socket.socket) -> None:  # noqa: C901
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"220 bench\r\n")
        buffer, recipient = b"", ""
        while True:
            while b"\r\n" not in buffer:
                piece = connection.recv(1 << 20)
                if not piece:
                    return
                buffer += piece
            line, _, buffer = buffer.partition(b"\r\n")
            verb = line[:4].upper()
            if verb == b"EHLO":
                connection.sendall(b"250-bench\r\n250 PIPELINING\r\n" if pipelining else b"250 bench\r\n")
            elif verb == b"RCPT":
                recipient = line.decode().partition("<")[2].rstrip(">")
                connection.sendall(b"250 ok\r\n")
            elif verb == b"DATA":
                connection.sendall(b"354 go on\r\n")
                pieces, tail = [buffer], buffer[-8:]
                while not tail.endswith(END):
                    piece = connection.recv(1 << 20)
                    if not piece:
                        return
                    pieces.append(piece)
                    tail = (tail + piece)[-8:]
                buffer = b""
                took = time.time()
                content = b"".join(pieces)[: -len(END) + 2]
                if pause_s:
                    time.sleep(pause_s)
                with turn:
                    to_us.send((recipient, took, content if keeps else len(content)))
                connection.sendall(b"250 taken\r\n")
            elif verb == b"QUIT":
                connection.sendall(b"221 bye\r\n")
                return
            else:
                connection.sendall(b"250 ok\r\n")

    def guard(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            talk(connection)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=guard, args=(connection,), daemon=True).start()


class Server:
    """The server process, and what it has told."""

    def __init__(self, *, pipelining: bool = True, pause_s: float = 0.0, keeps: bool = False) -> None:
        listener = socket.create_server((HOST, 0), backlog=64)
        self.port = int(listener.getsockname()[1])
        ours, theirs = multiprocessing.Pipe(duplex=False)
        options = {"pipelining": pipelining, "pause_s": pause_s, "keeps": keeps}
        self._process = multiprocessing.Process(target=serve, args=(listener, theirs), kwargs=options, daemon=True)
        self._process.start()
        listener.close()
        self.told: list[tuple[str, float, Any]] = []
        threading.Thread(target=self._listen, args=(ours,), daemon=True).start()

    def _listen(self, ours: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self.told.append(ours.recv())

    def close(self) -> None:
        self._process.kill()
        self._process.join()


# What waits.


def photo(folder: Path, seed: int) -> Path:
    """A picture with a photograph's roughness: some 150 kB at 1024 pixels, as ours are."""
    noise = np.random.default_rng(seed).normal(0, 14, (768, 1024, 3))
    slope = np.linspace(60, 190, 1024)[None, :, None] + np.linspace(0, 40, 768)[:, None, None]
    path = folder / "photo.jpg"
    Image.fromarray(np.clip(noise + slope, 0, 255).astype("uint8")).save(path, quality=80)
    return path


def settle(session: Session, objects: ObjectStore, folder: Path, letters_wanted: int) -> list[uuid.UUID]:
    """Areas, departments and incidents; nothing is forwarded yet."""
    now = utc_now()
    for area in range(AREAS):
        west = 100 + (area % 10)
        south = 22 + area // 10
        east, north = west + 1, south + 1
        box = f"MULTIPOLYGON((({west} {south},{east} {south},{east} {north},{west} {north},{west} {south})))"
        jurisdiction = insert(session, "jurisdiction", code=str(400000 + area), level="county", geom=box)
        for kind in KINDS:
            code = f"{kind}-{area}"
            agency = insert(session, "agency", code=code, kind=kind, level="county", jurisdiction_id=jurisdiction)
            insert(session, "agency_name", agency_id=agency, lang="zh-Hans", name=f"第 {area} 区{kind}局")
            insert(session, "competence", agency_id=agency, min_severity=1)
            address = f"{code}@agency.example"
            insert(session, "agency_contact", agency_id=agency, channel="email", address=address, position=0)
    incidents = []
    path = photo(folder, 1)
    for number in range(-(-letters_wanted // len(KINDS))):
        incidents.append(one_incident(session, objects, path, number % AREAS, severity=2))
        if number % 50 == 0:
            print(f"\r{number} incidents", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    _ = now
    return incidents


def one_incident(session: Session, objects: ObjectStore, path: Path, area: int, *, severity: int) -> uuid.UUID:
    """An incident in an area, with a report and its photo."""
    now = utc_now()
    at = (100.5 + area % 10 + random.uniform(-0.3, 0.3), 22.5 + area // 10 + random.uniform(-0.3, 0.3))
    incident = add_incident(session, now=now, severity=severity, at=at)
    report = add_report(session, incident, now=now, extent="under_1_km")
    photo_id = insert(
        session, "photo", state="ready", state_since=now, sha256=os.urandom(32), original_bytes=1, received_at=now,
        original_delete_after=now,
    )  # fmt: skip
    key = f"public/{photo_id}/1024.jpg"
    objects.put_file(key, path)
    insert(
        session, "photo_derivative", photo_id=photo_id, size_px=1024, key=key, bytes=path.stat().st_size, width=1024,
        height=768, sha256=os.urandom(32),
    )  # fmt: skip
    insert(session, "report_photo", report_id=report, photo_id=photo_id, position=0)
    return incident


_BACK = (
    "UPDATE delivery SET state = 'pending', attempts = 0, deferrals = 0, sent_at = NULL, last_error = NULL,"
    " state_deadline_at = now() + interval '15 minutes', digest_id = NULL WHERE channel = 'email'",
    "UPDATE escalation_case SET state = 'queued', delivered_at = NULL",
    "UPDATE outbox SET done_at = NULL, leased_until = NULL, attempts = 0, lease_no = 0, is_rung = false,"
    " available_at = now() - interval '1 second' WHERE topic = 'escalation.deliver'",
    "DELETE FROM outbox WHERE topic NOT IN ('escalation.deliver', 'escalation.call')",
)


def all_back(context: JobContext) -> int:
    """Everything waits again; how many letters."""
    with transaction(context.sessions) as session:
        for statement in _BACK:
            session.execute(text(statement))
        return int(session.execute(text("SELECT count(*) FROM outbox WHERE topic = 'escalation.deliver'")).scalar_one())


def run_engine(context: JobContext) -> float:
    """Hand everything over as jobs do, one after the other; seconds."""
    began = time.perf_counter()
    while True:
        with transaction(context.sessions) as session:
            taken = outbox.take(session, letters.TOPIC_DELIVER, limit=1, lease_s=30)
        if not taken:
            return time.perf_counter() - began
        sending.deliver(context, taken[0])


class Drains:
    """So many processes as serve letters in production, each running jobs one after the other."""

    def __init__(self, settings: Settings, url: str, count: int) -> None:
        self._ends = []
        for _ in range(count):
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.get_context("spawn").Process(
                target=drain,
                args=(theirs, settings.model_dump(mode="json"), settings.secret_key.get_secret_value(), url),
                daemon=True,
            )
            process.start()
            ours.recv()
            self._ends.append((process, ours))

    def run(self) -> float:
        """Let all of them drain what waits; seconds until the last found nothing more."""
        began = time.perf_counter()
        for _process, end in self._ends:
            end.send("go")
        for _process, end in self._ends:
            end.recv()
        return time.perf_counter() - began

    def close(self) -> None:
        for process, _end in self._ends:
            process.kill()
            process.join()


def drain(end: Connection, values: dict[str, Any], secret: str, url: str) -> None:
    """One such process."""
    configure("ERROR", "json")
    values |= {"secret_key": secret, "DATABASE_URL": url, "REDIS_URL": values["redis_url"]}
    settings = Settings(**(values | {"SMTP_URL": values["smtp_url"]}))
    context = JobContext(settings, make_sessions(make_engine(url)), ObjectStore(settings.objects_url))
    end.send("ready")
    while True:
        end.recv()
        run_engine(context)
        end.send("done")


def run_bare(port: int, mails: list[tuple[str, bytes]]) -> float:
    """The floor: the same bytes over one connection of the standard library's client; seconds."""
    began = time.perf_counter()
    with smtplib.SMTP(HOST, port, local_hostname="bench") as client:
        for recipient, content in mails:
            client.sendmail("waters@example.org", [recipient], content)
    return time.perf_counter() - began


@contextlib.contextmanager
def base(folder: Path) -> Iterator[tuple[Settings, str]]:
    """A migrated database and settings for it."""
    with PrivatePostgres(folder / "postgres") as postgres:
        url = postgres.create_database("bench")
        migrate.upgrade(url)
        settings = Settings(
            mode="test", secret_key="known to the bench alone, 0123456789abcdef", public_url="https://waters.example.org",
            DATABASE_URL=url, REDIS_URL="redis://localhost:1/0", SMTP_URL="smtp://127.0.0.1:9",
            mail_from="waters@example.org", inbox_domain="answers.example.org", objects_url=f"file://{folder}/objects",
            spool_dir=folder / "spool", publish_dir=folder / "published",
        )  # fmt: skip
        yield settings, url


def measure_rate(args: argparse.Namespace) -> None:
    """Part (a)."""
    with tempfile.TemporaryDirectory() as name, base(Path(name)) as (settings, url):
        settings.spool_dir.mkdir()
        engine = make_engine(url)
        objects = ObjectStore(settings.objects_url)
        context = JobContext(settings, make_sessions(engine), objects)
        with transaction(context.sessions) as session:
            incidents = settle(session, objects, Path(name), args.letters)
            for incident in incidents:
                service.escalate(session, incident, settings=settings, actor=ACTOR, now=utc_now())
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
        for pipelining in (True, False):
            one_rate(context, args, f"server {'with' if pipelining else 'without'} PIPELINING", pipelining=pipelining)
        engine.dispose()


def one_rate(context: JobContext, args: argparse.Namespace, title: str, *, pipelining: bool) -> None:
    """One table: rounds in turn."""
    keeper = Server(pipelining=pipelining, keeps=True)
    changes = {"smtp_url": f"smtp://{HOST}:{keeper.port}"}
    waiting = all_back(context)
    run_engine(JobContext(context.settings.model_copy(update=changes), context.sessions, context.objects))
    while len(keeper.told) < waiting:
        time.sleep(0.05)
    mails = [(recipient, content) for recipient, _at, content in keeper.told]
    keeper.close()
    sizes = [len(content) for _recipient, content in mails]
    print(f"\n{title}: {len(mails)} mails of {statistics.median(sizes) / 1e3:.0f} kB, load {os.getloadavg()[0]:.1f}")
    server = Server(pipelining=pipelining)
    changes = {"smtp_url": f"smtp://{HOST}:{server.port}"}
    ours = JobContext(context.settings.model_copy(update=changes), context.sessions, context.objects)
    url = context.settings.database_url
    drains = Drains(ours.settings, url, args.processes)
    ratios = []
    for number in range(args.rounds):
        waiting = all_back(context)
        engine_s, bare_s = drains.run(), run_bare(server.port, mails)
        with transaction(context.sessions) as session:
            sent = session.execute(text("SELECT count(*) FROM delivery WHERE state = 'sent'")).scalar_one()
        assert sent == waiting, (sent, waiting)
        ratios.append(bare_s / engine_s)
        print(
            f"round {number + 1}: engine {waiting / engine_s:6.0f}/s   bare smtplib {len(mails) / bare_s:6.0f}/s"
            f"   ratio {ratios[-1]:.2f}"
        )
    verdict = "reached" if statistics.median(ratios) >= 0.5 else "missed"
    print(f"median ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}); goal ≥ 0.5: {verdict}")
    drains.close()
    server.close()


def measure_hang(args: argparse.Namespace) -> None:
    """The rate with one HTTP endpoint that hangs, a hundred letters waiting for it, and both jobs at work."""
    with tempfile.TemporaryDirectory() as name, base(Path(name)) as (basic, url):
        basic.spool_dir.mkdir()
        engine = make_engine(url)
        objects = ObjectStore(basic.objects_url)
        silent = socket.create_server((HOST, 0), backlog=128)
        server = Server()
        changes = {"smtp_url": f"smtp://{HOST}:{server.port}", "webhook_allow": HOST}
        settings = basic.model_copy(update=changes)
        context = JobContext(settings, make_sessions(engine), objects)
        with transaction(context.sessions) as session:
            incidents = settle(session, objects, Path(name), args.letters)
            hook = f"http://{HOST}:{silent.getsockname()[1]}/hook"
            agencies = list(session.execute(text("SELECT id FROM agency ORDER BY code LIMIT 40")).scalars())
            for agency in agencies:
                key = new_id()
                sealed = seal_value(settings, SEALED_FOR, key, make_secret().encode())
                insert(session, "agency_contact", id=key, agency_id=agency, channel="webhook", address=hook,
                       position=1, sealed_secret=sealed)  # fmt: skip
            for incident in incidents:
                service.escalate(session, incident, settings=settings, actor=ACTOR, now=utc_now())
        run_engine(context)
        alone, beside = [], []
        for number in range(args.rounds):
            waiting = all_back(context)
            alone.append(waiting / run_engine(context))
            waiting = all_back(context)
            calling = threading.Thread(target=call_once, args=(context,))
            calling.start()
            beside.append(waiting / run_engine(context))
            calling.join()
            print(f"round {number + 1}: alone {alone[-1]:5.0f}/s   beside one that hangs {beside[-1]:5.0f}/s")
        print(f"median ratio {statistics.median(b / a for a, b in zip(alone, beside, strict=True)):.2f}")
        server.close()
        silent.close()
        engine.dispose()


def call_once(context: JobContext) -> None:
    """One job of the other channels."""
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE outbox SET available_at = now() WHERE topic = 'escalation.call'"))
        session.execute(text("DELETE FROM endpoint"))
    with transaction(context.sessions) as session:
        taken = outbox.take(session, letters.TOPIC_CALL, limit=1, lease_s=30)
    for message in taken:
        sending.call(context, message, go_on_s=8)


def measure_red(args: argparse.Namespace) -> None:
    """Part (b): real processes, and the clock from before the grade to the last byte at the server."""
    with (
        tempfile.TemporaryDirectory() as name,
        base(Path(name)) as (basic, url),
        PrivateRedis(Path(name) / "redis") as redis,
    ):
        server = Server(pause_s=args.server_ms / 1000)
        changes = {"smtp_url": f"smtp://{HOST}:{server.port}", "redis_url": redis.url()}
        settings = basic.model_copy(update=changes)
        engine = make_engine(url)
        objects = ObjectStore(settings.objects_url)
        context = JobContext(settings, make_sessions(engine), objects)
        with transaction(context.sessions) as session:
            incidents = settle(session, objects, Path(name), args.letters)
            path = photo(Path(name), 2)
            reds = [one_incident(session, objects, path, number % AREAS, severity=4) for number in range(args.reds)]
        children = [start_process(name, settings, url) for name in ("relay", "work")]
        try:
            watch_reds(context, incidents, reds)
        finally:
            for child in children:
                child.terminate()
            for child in children:
                child.wait()
            server.close()
            engine.dispose()


def start_process(name: str, settings: Settings, url: str) -> "subprocess.Popen[bytes]":
    """A relay or the teams, as in production."""
    environment = os.environ | {
        "WATERWATCH_MODE": "test",
        "WATERWATCH_SECRET_KEY": settings.secret_key.get_secret_value(),
        "WATERWATCH_PUBLIC_URL": settings.public_url,
        "WATERWATCH_OBJECTS_URL": settings.objects_url,
        "WATERWATCH_SPOOL_DIR": str(settings.spool_dir),
        "WATERWATCH_PUBLISH_DIR": str(settings.publish_dir),
        "WATERWATCH_MAIL_FROM": settings.mail_from,
        "WATERWATCH_INBOX_DOMAIN": settings.inbox_domain,
        "WATERWATCH_LOG_LEVEL": "ERROR",
        "DATABASE_URL": url,
        "REDIS_URL": settings.redis_url,
        "SMTP_URL": settings.smtp_url,
    }
    return subprocess.Popen([sys.executable, "-m", "workers", name], env=environment)


def watch_reds(context: JobContext, incidents: list[uuid.UUID], reds: list[uuid.UUID]) -> None:
    """Keep a thousand letters waiting, grade a red now and then, and say how long each took to its first department."""
    while not _is_working(context):
        time.sleep(0.2)
    waited_s, graded = [], {}
    for number, red in enumerate(reds):
        top_up(context, incidents)
        with transaction(context.sessions) as session:
            waiting = session.execute(
                text("SELECT count(*) FROM outbox WHERE topic = 'escalation.deliver' AND done_at IS NULL")
            ).scalar_one()
        graded[red] = time.time()
        with transaction(context.sessions) as session:
            service.escalate(session, red, settings=context.settings, actor=ACTOR, now=utc_now())
        with transaction(context.sessions) as session:
            wanted = set(
                session.execute(
                    text(
                        "SELECT d.id FROM delivery d JOIN escalation_case c ON c.id = d.case_id"
                        " WHERE c.incident_id = :id"
                    ),
                    {"id": red},
                ).scalars()
            )
        while True:
            with transaction(context.sessions) as session:
                rows = session.execute(
                    text("SELECT state, sent_at FROM delivery WHERE id = ANY(:ids)"), {"ids": list(wanted)}
                ).all()
            if all(row.state == "sent" for row in rows):
                break
            time.sleep(0.05)
        waited_s.append(max(row.sent_at.timestamp() for row in rows) - graded[red])
        print(f"red {number + 1:>3}: {waited_s[-1]:5.2f} s to all {len(rows)} departments, {waiting} others waiting, "
              f"load {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip
    ranked = sorted(waited_s)
    p95 = ranked[min(len(ranked) - 1, round(0.95 * len(ranked)))]
    verdict = "reached" if p95 <= 10 else "missed"
    print(f"{len(ranked)} reds: p50 {statistics.median(ranked):.2f} s   p95 {p95:.2f} s   most {ranked[-1]:.2f} s;"
          f" goal p95 ≤ 10 s: {verdict}")  # fmt: skip


def _is_working(context: JobContext) -> bool:
    from redis import Redis

    with contextlib.suppress(OSError), Redis.from_url(context.settings.redis_url) as client:
        return bool(client.scard("rq:workers") >= len(TEAMS))
    return False


def top_up(context: JobContext, incidents: list[uuid.UUID]) -> None:
    """Whatever has left waits again: a thousand others, whenever a red comes."""
    with transaction(context.sessions) as session:
        there = session.execute(text("SELECT count(*) FROM delivery")).scalar_one()
        if there < len(incidents):
            for incident in incidents:
                service.escalate(session, incident, settings=context.settings, actor=ACTOR, now=utc_now())
            return
        session.execute(
            text(
                "WITH again AS (UPDATE delivery SET state = 'pending', attempts = 0, sent_at = NULL, digest_id = NULL,"
                " state_deadline_at = now() + interval '15 minutes' WHERE state = 'sent' AND severity < 4 RETURNING id)"
                " UPDATE outbox SET done_at = NULL, leased_until = NULL, is_rung = false, attempts = 0,"
                " available_at = now() FROM again WHERE topic = 'escalation.deliver' AND done_at IS NOT NULL"
                " AND payload ->> 'delivery_id' = again.id::text"
            )
        )


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=["rate", "hang", "red"])
    parser.add_argument("--letters", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=sum(LETTERS in team for team in TEAMS))
    parser.add_argument("--reds", type=int, default=40)
    parser.add_argument("--server-ms", type=float, default=20.0)
    args = parser.parse_args()
    configure("ERROR", "json")
    for part, measure in (("rate", measure_rate), ("hang", measure_hang), ("red", measure_red)):
        if not args.parts or part in args.parts:
            measure(args)


if __name__ == "__main__":
    main()
