"""The private servers: alone on loopback, behind a password, never orphaned, never confused by what a crash left."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import obstore
import obstore.exceptions
import psutil
import psycopg
import pytest
import redis
from obstore.store import S3Store

from workers.processes import PORT_RANGE, ChildProcess, ServiceError, is_port_free, pick_free_port
from workers.services import PrivatePostgres, PrivateRedis, PrivateS3

KEEP_POSTGRES_AND_REDIS = """
import sys
from pathlib import Path
from workers.services import PrivatePostgres, PrivateRedis
folder = Path(sys.argv[1])
servers = [PrivatePostgres(folder / "postgres", is_durable=False).start(), PrivateRedis(folder / "redis").start()]
print(*(server.pid for server in servers), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def folder(services_folder: Path) -> Path:
    place = services_folder / "setup"
    place.mkdir(mode=0o755)
    return place


@pytest.fixture(scope="module")
def postgres(folder: Path) -> Iterator[PrivatePostgres]:
    with PrivatePostgres(folder / "postgres", is_durable=False) as server:
        yield server


@pytest.fixture(scope="module")
def private_redis(folder: Path) -> Iterator[PrivateRedis]:
    with PrivateRedis(folder / "redis") as server:
        yield server


def listening_addresses(pid: int) -> set[tuple[str, int]]:
    """Every address and port that the process listens on."""
    connections = psutil.Process(pid).net_connections("inet")
    return {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}


def test_postgres_has_postgis_utf8_and_scram(postgres: PrivatePostgres) -> None:
    with psycopg.connect(postgres.create_database("setup_spatial")) as connection:
        connection.execute("CREATE EXTENSION postgis")
        row = connection.execute("SELECT ST_SRID('SRID=4326;POINT(114 30)'::geometry), '江'::bytea").fetchone()
        rules = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
    assert row == (4326, "江".encode())
    assert rules == [("scram-sha-256",)]


def test_postgres_listens_on_loopback_alone(postgres: PrivatePostgres) -> None:
    assert postgres.pid is not None
    assert listening_addresses(postgres.pid) == {("127.0.0.1", postgres.port)}
    assert postgres.port in PORT_RANGE


def test_postgres_refuses_whoever_does_not_know_the_password(postgres: PrivatePostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres.url().replace(postgres.password, "guessed"), connect_timeout=5)


def test_postgres_recovers_what_was_committed_before_a_crash(postgres: PrivatePostgres) -> None:
    url = postgres.create_database("setup_crash")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    postgres.stop("immediate")
    postgres.start()
    assert postgres.url("setup_crash") == url, "port and password are remembered"
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]


def test_postgres_starts_although_its_pid_file_names_a_stranger(folder: Path) -> None:
    server = PrivatePostgres(folder / "stranger", is_durable=False).start()
    server.stop()
    (server.cluster / "postmaster.pid").write_text(f"{os.getpid()}\n{server.cluster}\n")
    with server:
        assert server.is_answering()


def test_a_folder_serves_one_owner_at_a_time(postgres: PrivatePostgres) -> None:
    with pytest.raises(ServiceError, match="another process uses"):
        PrivatePostgres(postgres.folder).start()


def test_a_named_port_that_is_taken_is_refused_by_name(folder: Path, postgres: PrivatePostgres) -> None:
    with pytest.raises(ServiceError, match=f"port {postgres.port} is taken"):
        PrivateRedis(folder / "redis-collides", port=postgres.port).start()


def test_redis_asks_for_its_password_and_keeps_nothing(private_redis: PrivateRedis) -> None:
    with redis.Redis.from_url(private_redis.url()) as client:
        client.set("bell", "rung")
    with redis.Redis(port=private_redis.port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.get("bell")
    assert private_redis.pid is not None
    assert listening_addresses(private_redis.pid) == {("127.0.0.1", private_redis.port)}
    private_redis.stop()
    private_redis.start()
    with redis.Redis.from_url(private_redis.url()) as client:
        assert client.get("bell") is None


def test_no_secret_is_readable_by_others_or_shown_in_a_command_line(
    postgres: PrivatePostgres, private_redis: PrivateRedis
) -> None:
    for server in (postgres, private_redis):
        assert server.folder.stat().st_mode & 0o077 == 0
        assert (server.folder / "password").stat().st_mode & 0o077 == 0
        assert server.pid is not None
        assert server.password not in " ".join(psutil.Process(server.pid).cmdline())


def test_servers_do_not_run_as_root(postgres: PrivatePostgres, private_redis: PrivateRedis) -> None:
    for server in (postgres, private_redis):
        assert server.pid is not None
        assert psutil.Process(server.pid).uids().real != 0 or os.geteuid() != 0


def test_nothing_outlives_an_owner_that_is_killed_and_the_next_one_starts(folder: Path) -> None:
    place = folder / "killed"
    place.mkdir(mode=0o755)
    owner = subprocess.Popen(
        [sys.executable, "-c", KEEP_POSTGRES_AND_REDIS, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    servers = [psutil.Process(int(pid)) for pid in owner.stdout.readline().split()]
    owner.kill()
    owner.communicate()
    _, alive = psutil.wait_procs(servers, timeout=20)
    assert alive == []
    with PrivatePostgres(place / "postgres", is_durable=False) as postgres, PrivateRedis(place / "redis") as doorbell:
        assert postgres.is_answering()
        assert doorbell.is_answering()


def test_the_object_store_keeps_what_it_is_given_and_knows_its_owner(folder: Path) -> None:
    with PrivateS3(folder / "s3") as server:
        assert server.pid is not None
        addresses = listening_addresses(server.pid)
        assert {address for address, _ in addresses} == {"127.0.0.1"}
        assert {port for _, port in addresses}.isdisjoint({8333, 9333, 8080, 8888, 8181, 9101})
        owner, stranger = (
            S3Store(
                "photos",
                endpoint=server.endpoint,
                region=server.region,
                access_key_id=server.access_key,
                secret_access_key=secret,
                virtual_hosted_style_request=False,
                client_options={"allow_http": True},
                retry_config={"max_retries": 0},
            )
            for secret in (server.secret_key, "guessed")
        )
        obstore.put(owner, "public/a.jpg", b"picture")
        assert bytes(obstore.get(owner, "public/a.jpg").bytes()) == b"picture"
        with pytest.raises(obstore.exceptions.PermissionDeniedError):
            obstore.get(stranger, "public/a.jpg")


def test_a_child_that_ends_before_it_is_ready_is_reported_with_its_log(tmp_path: Path) -> None:
    child = ChildProcess("thing", ["sh", "-c", "echo the disk is full >&2; exit 3"], log=tmp_path / "log")
    child.start()
    with pytest.raises(ServiceError) as caught:
        child.wait_until(lambda: False, timeout_s=30)
    assert caught.value.step == "thing"
    assert "ended with code 3" in caught.value.reason
    assert "the disk is full" in caught.value.reason


def test_a_child_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap '' TERM; touch {ready}; while :; do sleep 60; done"
    child = ChildProcess("stubborn", ["sh", "-c", script], log=tmp_path / "log")
    child.start()
    child.wait_until(ready.exists, timeout_s=30)
    child.stop(timeout_s=0.2)
    assert child.exit_code == -signal.SIGKILL


def test_what_a_killed_program_leaves_behind_is_killed_with_it(tmp_path: Path) -> None:
    left = tmp_path / "left"
    child = ChildProcess("master", ["sh", "-c", f"sleep 600 & echo $! > {left}.new; mv {left}.new {left}; wait"],
                         log=tmp_path / "log")  # fmt: skip
    child.start()
    child.wait_until(left.exists, timeout_s=30)
    orphan = psutil.Process(int(left.read_text()))
    child.send(signal.SIGKILL)
    child.stop()
    assert orphan.is_running()
    child.kill_remains()
    psutil.wait_procs([orphan], timeout=30)
    assert not psutil.pid_exists(orphan.pid) or orphan.status() == psutil.STATUS_ZOMBIE
    child.kill_remains()


def test_a_free_port_is_never_a_well_known_default() -> None:
    port = pick_free_port()
    assert is_port_free(port)
    assert {5432, 6379, 8000, 8080, 8333, 9333, 25, 587}.isdisjoint(PORT_RANGE)
    assert max(PORT_RANGE) + 10_000 < 65_536
    assert max(PORT_RANGE) < 32_768, "the kernel gives ports from 32768 to outgoing connections"
