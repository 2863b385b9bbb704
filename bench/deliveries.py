"""How fast letters to departments leave, and how long a red takes when a thousand others wait.

A private PostgreSQL with fsync on, 400 departments in 100 areas, 250 incidents with a photo of a phone's size each, so
a thousand mails of some 200 kB with photo, map, CAP and GeoJSON. The server is a process of its own that answers at
once.

`rate`: the engine as a job runs it, with real rows: claimed, written, handed over, recorded, committed. Beside it, in
turn, a bare ``smtplib`` loop that sends the very same bytes to the same addresses over one connection. Once with a
server that knows PIPELINING, as Postfix does, once with one that does not; and once more while an HTTP endpoint hangs
with a hundred letters waiting for it.

`red`: real worker processes (relay and teams, Redis), a thousand other letters waiting for a server that takes a mail
each ``--server-ms``; every half second an incident is graded red, by the whole of ``escalate`` in a transaction, and
the clock runs from before it to the last byte of its mail at the server.

    python -m bench.deliveries [rate] [red] [--letters 1000] [--rounds 5] [--reds 40] [--server-ms 20]
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import smtplib
import socket
import statistics
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
from waterwatch.escalation import letters, sending, service
from waterwatch.kernel import migrate, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.log import configure
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from workers.services import PrivatePostgres

HOST = "127.0.0.1"
AREAS, KINDS, INCIDENTS_AN_AREA = 100, ("ecology_environment", "water", "urban_management", "agriculture"), 2.5
ACTOR = Actor.system("bench")
END = b"\r\n.\r\n"


# The server: its own process, one thread a connection, answers as fast as Python can.


def serve(listener: socket.socket, to_us: Connection, *, pipelining: bool, pause_s: float, keeps: bool) -> None:
    """Take mails until killed; tells of each (recipient, red?, when, bytes or size)."""
    turn = threading.Lock()

    def talk(connection: socket.socket) -> None:
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
        box = f"MULTIPOLYGON((({west} {south},{west + 1} {south},{west + 1} {south + 1},{west} {south + 1},{west} {south})))"
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
    ratios = []
    for number in range(args.rounds):
        waiting = all_back(context)
        engine_s, bare_s = run_engine(ours), run_bare(server.port, mails)
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
    server.close()


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=["rate", "red"])
    parser.add_argument("--letters", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reds", type=int, default=40)
    parser.add_argument("--server-ms", type=float, default=20.0)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    configure("ERROR", "json")
    if "rate" in (args.parts or ["rate", "red"]):
        measure_rate(args)


if __name__ == "__main__":
    main()
