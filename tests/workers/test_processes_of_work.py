"""Relay and workers as real processes: what they outlive, and what they leave behind."""

import os
import resource
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.faults.system import await_true
from tests.workers.conftest import AddPhoto, Row
from tests.workers.programs import ROOT, environment, running
from waterwatch.kernel import outbox
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from workers.processes import ChildProcess
from workers.queues import _make_worker
from workers.relay import Relay
from workers.services import PrivateRedis
from workers.stopping import Stop
from workers.teams import TEAMS

Emit = Callable[..., None]
MakeSettings = Callable[..., Settings]
LIMIT_S = 40


@pytest.fixture
def busy(make_settings: MakeSettings, database_url: str, own_redis: PrivateRedis) -> Settings:
    return make_settings(database_url=database_url, redis_url=own_redis.url(), outbox_lease_s=3)


def ring_once(settings: Settings) -> int:
    with closing(Relay(settings, Stop())) as relay:
        return relay.ring_once()


@contextmanager
def work_under_way(
    settings: Settings, sessions: sessionmaker[Session], add_photo: AddPhoto, emit: Emit, folder: Path
) -> Iterator[tuple[ChildProcess, psutil.Process, Session]]:
    """A worker whose horse waits for a photo's row, which the test holds: (worker, horse, holding session)."""
    photo_id = add_photo("ready")
    with (
        sessions() as holder,
        running(settings, folder / "relay.log", "relay"),
        running(settings, folder / "work.log", "work", "--queues", "photos") as worker,
    ):
        holder.execute(text("SELECT 1 FROM photo WHERE id = :id FOR UPDATE"), {"id": photo_id})
        emit("photos.sanitise", photo_id=photo_id)

        def horses() -> list[psutil.Process]:
            return psutil.Process(worker.pid).children()

        def is_waiting() -> bool:
            with transaction(sessions) as session:
                waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                return bool(session.execute(text(waiting)).scalar_one()) and bool(horses())

        await_true(is_waiting, limit_s=LIMIT_S, what="a horse waits for the photo")
        yield worker, horses()[0], holder


def test_a_row_goes_through_relay_and_worker(settings: Settings, emit: Emit, row: Row, tmp_path: Path) -> None:
    with (
        running(settings, tmp_path / "relay.log", "relay"),
        running(settings, tmp_path / "work.log", "work", "--queues", "photos"),
    ):
        emit("photos.settled", photo_id=uuid.uuid4())
        await_true(lambda: row().done_at is not None, limit_s=LIMIT_S, what="the row is done")
    assert "Traceback" not in (tmp_path / "work.log").read_text()


def test_a_burst_ends_when_the_queues_are_empty(
    make_settings: MakeSettings, database_url: str, redis_url: str, emit: Emit, row: Row
) -> None:
    # The ring lasts as long as the lease, and nobody rings again: a worker may take its time to start.
    settings = make_settings(database_url=database_url, redis_url=redis_url, outbox_lease_s=120)
    emit("photos.settled", photo_id=uuid.uuid4())
    assert ring_once(settings) == 1
    command = [sys.executable, "-m", "workers", "work", "--queues", "photos", "--burst"]
    subprocess.run(command, env=os.environ | environment(settings), cwd=ROOT, check=True, timeout=60)
    assert row().done_at is not None


def test_relay_and_worker_outlive_a_flush_and_register_again(
    busy: Settings, own_redis: PrivateRedis, emit: Emit, row: Row, tmp_path: Path
) -> None:
    with (
        Redis.from_url(own_redis.url()) as client,
        running(busy, tmp_path / "relay.log", "relay") as relay,
        running(busy, tmp_path / "work.log", "work", "--queues", "photos") as worker,
    ):
        await_true(lambda: client.scard("rq:workers") == 1, limit_s=LIMIT_S, what="the worker has registered")
        client.flushall()
        emit("photos.settled", photo_id=uuid.uuid4())
        await_true(lambda: row().done_at is not None, limit_s=LIMIT_S, what="the row is done")
        await_true(lambda: client.scard("rq:workers") == 1, limit_s=LIMIT_S, what="it is registered again")
        assert None not in (relay.pid, worker.pid)


def test_relay_and_worker_outlive_a_redis_that_is_away(
    busy: Settings, own_redis: PrivateRedis, emit: Emit, row: Row, tmp_path: Path
) -> None:
    with (
        running(busy, tmp_path / "relay.log", "relay") as relay,
        running(busy, tmp_path / "work.log", "work", "--queues", "photos") as worker,
    ):
        own_redis.stop()
        emit("photos.settled", photo_id=uuid.uuid4())
        await_true(lambda: row().lease_no > 0, limit_s=LIMIT_S, what="the relay tries")
        own_redis.start()
        await_true(lambda: row().done_at is not None, limit_s=LIMIT_S, what="the row is done")
        assert None not in (relay.pid, worker.pid)


def test_a_worker_waits_for_a_redis_that_is_away_and_can_still_be_stopped(
    busy: Settings, own_redis: PrivateRedis, tmp_path: Path
) -> None:
    log = tmp_path / "work.log"
    own_redis.stop()
    with running(busy, log, "work", "--queues", "photos") as worker:
        await_true(
            lambda: log.exists() and log.read_text().count("worker.waits_for_redis") > 1,
            limit_s=LIMIT_S,
            what="the worker waits",
        )
        worker.send(signal.SIGTERM)
        await_true(lambda: worker.exit_code is not None, limit_s=LIMIT_S, what="the worker has ended")
    assert "Traceback" not in log.read_text()


def test_a_killed_horse_gives_its_row_back_at_once(
    busy: Settings, sessions: sessionmaker[Session], add_photo: AddPhoto, emit: Emit, row: Row, tmp_path: Path
) -> None:
    with work_under_way(busy, sessions, add_photo, emit, tmp_path) as (_worker, horse, holder):
        horse.kill()
        await_true(lambda: row().last_error == "killed_by_signal_9", limit_s=LIMIT_S, what="the row says what happened")
        holder.rollback()
        await_true(lambda: row().done_at is not None, limit_s=LIMIT_S, what="the next attempt did it")
        assert row().attempts == 2


def test_a_horse_killed_for_its_silence_costs_the_row_no_attempt(
    busy: Settings, sessions: sessionmaker[Session], own_redis: PrivateRedis, emit: Emit, row: Row
) -> None:
    """RQ kills a horse long past its time, and then tells nobody how it ended."""
    emit("photos.settled", photo_id=uuid.uuid4())
    with transaction(sessions) as session:
        (ring,) = outbox.lease(session, window=8, lease_s=30)
        outbox.begin(session, ring.id, ring.lease_no, lease_s=30)
    assert row().attempts == 1
    with Redis.from_url(own_redis.url()) as client:
        worker = _make_worker(busy, ["photos"], client)
        args = [str(ring.id), ring.lease_no]
        job = Job.create("workers.jobs.run", args, connection=client, serializer=JSONSerializer)
        worker.handle_work_horse_killed(job, 1, None, None)
    assert (row().attempts, row().last_error) == (0, "killed_for_its_silence")


def test_a_lease_is_prolonged_while_its_horse_works(
    busy: Settings, sessions: sessionmaker[Session], add_photo: AddPhoto, emit: Emit, row: Row, tmp_path: Path
) -> None:
    with work_under_way(busy, sessions, add_photo, emit, tmp_path) as (_worker, _horse, holder):
        first = row()  # not always its first lease: where work begins late, that one has run out unused
        await_true(
            lambda: (row().leased_until - first.leased_until).total_seconds() > busy.outbox_lease_s + 1,
            limit_s=LIMIT_S,
            what="the lease is longer than a lease",
        )
        holder.rollback()
        await_true(lambda: row().done_at is not None, limit_s=LIMIT_S, what="the row is done")
        assert (row().lease_no, row().attempts) == (first.lease_no, 1)


def test_a_worker_told_to_stop_finishes_its_job(
    busy: Settings, sessions: sessionmaker[Session], add_photo: AddPhoto, emit: Emit, row: Row, tmp_path: Path
) -> None:
    with work_under_way(busy, sessions, add_photo, emit, tmp_path) as (worker, horse, holder):
        worker.send(signal.SIGTERM)
        assert horse.is_running()
        holder.rollback()
        await_true(lambda: worker.exit_code is not None, limit_s=LIMIT_S, what="the worker has ended")
        assert (worker.exit_code, row().done_at is not None) == (0, True)


@pytest.mark.parametrize("name", ["relay", "sweep", "work"])
def test_a_process_ends_in_peace_on_sigterm(settings: Settings, tmp_path: Path, name: str) -> None:
    log = tmp_path / f"{name}.log"
    with running(settings, log, name) as child, Redis.from_url(settings.redis_url) as client:

        def is_up() -> bool:
            said = log.read_text() if log.exists() else ""
            if name == "work":
                return client.scard("rq:workers") == len(TEAMS)
            return "relay.listening" in said or (name == "sweep" and psutil.Process(child.pid).num_threads() > 0)

        await_true(is_up, limit_s=LIMIT_S, what="it is up")
        if name == "sweep":
            await_true(lambda: b"workers" in Path(f"/proc/{child.pid}/cmdline").read_bytes(), limit_s=5, what="exec")
        child.send(signal.SIGTERM)
        await_true(lambda: child.exit_code is not None, limit_s=LIMIT_S, what="it has ended")
        assert child.exit_code in ((0, -15) if name == "sweep" else (0,))


@pytest.mark.parametrize("process", ["relay", "work", "sweep", "reconcile"])
def test_settings_that_cannot_work_are_all_named(process: str) -> None:
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    outcome = subprocess.run(
        [sys.executable, "-m", "workers", process], env=bare, capture_output=True, text=True, timeout=60, check=False
    )
    assert outcome.returncode == 2
    for name in ("DATABASE_URL", "REDIS_URL", "WATERWATCH_SECRET_KEY"):
        assert f"{name}: is not set" in outcome.stderr


def in_confined_fork(settings: Settings, act: Callable[[], Any], *, cpu_s: int = 30) -> int:
    """The wait status of a fork that confined itself as a horse does and then acted."""
    from workers.queues import confine_horse

    child = os.fork()
    if child == 0:
        status = 99
        try:
            confine_horse(settings, cpu_s=cpu_s)
            act()
            status = 0
        except MemoryError:
            status = 3
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def spin() -> None:
    while True:
        pass


def grow() -> None:
    held = [bytearray(1024 * 1024 * 256) for _ in range(64)]
    held.clear()


def test_a_horse_cannot_take_all_memory(settings: Settings) -> None:
    assert os.WEXITSTATUS(in_confined_fork(settings, grow)) == 3


def test_a_horse_cannot_spin_for_ever(settings: Settings) -> None:
    assert os.WTERMSIG(in_confined_fork(settings, spin, cpu_s=1)) == signal.SIGXCPU


def test_a_horse_cannot_fill_the_disk(settings: Settings, tmp_path: Path) -> None:
    def write() -> None:
        with (tmp_path / "large").open("wb") as sink:
            sink.truncate(resource.getrlimit(resource.RLIMIT_FSIZE)[0])
            sink.seek(0, os.SEEK_END)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            sink.write(b"x")
            sink.flush()

    assert os.WTERMSIG(in_confined_fork(settings, write)) == signal.SIGXFSZ


def test_the_relay_leaves_rows_nobody_knows_alone(settings: Settings, emit: Emit, row: Row) -> None:
    emit("nobody.knows", x=1)
    assert ring_once(settings) == 0
    assert row().lease_no == 0


def test_hanging_mails_leave_the_photos_their_window(
    make_settings: MakeSettings, database_url: str, redis_url: str, emit: Emit, sessions: sessionmaker[Session]
) -> None:
    settings = make_settings(database_url=database_url, redis_url=redis_url, relay_window=2)
    for topic in ("escalation.deliver", "escalation.deliver", "escalation.deliver", "photos.sanitise"):
        emit(topic)
    assert ring_once(settings) == 3
    with transaction(sessions) as session:
        assert outbox.depth(session).waiting == 4
