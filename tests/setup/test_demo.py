"""The demo as a newcomer runs it: everything comes up, a second one is refused, Ctrl-C leaves nothing behind."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
import redis
from rich.console import Console

from waterwatch.kernel.settings import Settings, environment_name
from workers.demo import FIRST_PORT, PORTS_TRIED, Demo
from workers.demo_processes import Process, Supervisor
from workers.processes import ServiceError, pick_free_port
from workers.progress import Progress
from workers.services import PrivatePostgres, PrivateRedis

CHECKOUT = Path(__file__).resolve().parents[2]


def bare_environment() -> dict[str, str]:
    """This process's environment without any setting of a system."""
    settings = {environment_name(field) for field in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name not in settings}


def demo_command(folder: Path, *options: str) -> list[str]:
    """On a port of its own: the default one, or the next, may be chosen by somebody else's demo in the same moment."""
    port = str(pick_free_port())
    return [sys.executable, "-m", "workers.demo", "--folder", str(folder), "--port", port, *options]


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


class RunningDemo:
    """One demo and what it printed."""

    def __init__(self, folder: Path, *options: str, **settings: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            demo_command(folder, *options),
            cwd=CHECKOUT,
            env=bare_environment() | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.printed = ""

    def wait_for(self, words: str) -> None:
        """Read its output until ``words`` appear; fail with all of it when it ends first."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if words in line:
                return
        pytest.fail(f"the demo ended without saying {words!r}:\n{self.printed}")

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=60)
        self.printed += rest
        return self.process.returncode


@pytest.fixture(scope="module")
def demo(services_folder: Path) -> Iterator[RunningDemo]:
    running = RunningDemo(services_folder / "demo")
    try:
        running.wait_for("Ctrl-C")
        yield running
    finally:
        if running.process.poll() is None:
            running.interrupt()


def read_facts(demo: RunningDemo) -> dict[str, str]:
    facts: dict[str, str] = json.loads((demo.folder / "running.json").read_text())
    return facts


def get_status(url: str) -> int:
    parts = urlsplit(url)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_pages_it_names_answer(demo: RunningDemo) -> None:
    facts = read_facts(demo)
    for address in (facts["url"] + "/", facts["url"] + "/report", facts["url"] + "/readyz", facts["mailbox"]):
        assert get_status(address) == 200, address


def test_it_names_a_person_of_every_staff_role(demo: RunningDemo) -> None:
    for role in ("moderator", "lead moderator", "agency officer", "administrator"):
        assert f"· {role}" in demo.printed


def test_the_doctor_finds_no_fault_in_it(demo: RunningDemo) -> None:
    lines = (demo.folder / "environment").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    environment = bare_environment() | {name: value.strip("'") for name, value in settings.items()}
    command = [sys.executable, "-m", "waterwatch.cli", "doctor"]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_second_one_says_that_one_runs(demo: RunningDemo) -> None:
    command = demo_command(demo.folder)
    done = subprocess.run(command, cwd=CHECKOUT, env=bare_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "a demo already runs here" in done.stdout
    assert read_facts(demo)["url"] in done.stdout


def test_everything_listens_on_loopback_alone(demo: RunningDemo) -> None:
    listening = set()
    for process in descendants(demo.process.pid):
        try:
            connections = process.net_connections("inet")
        except psutil.NoSuchProcess:
            continue
        listening |= {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
    assert {address for address, _ in listening} == {"127.0.0.1"}
    assert {port for _, port in listening}.isdisjoint({25, 5432, 6379, 8000, 8025, 8080})


def test_interrupting_leaves_no_process_starting_keeps_the_data_and_resetting_does_not(services_folder: Path) -> None:
    folder = services_folder / "demo-twice"
    first = RunningDemo(folder)
    first.wait_for("Ctrl-C")
    children = descendants(first.process.pid)
    secret = (folder / "secret").read_text()
    assert len(children) >= 6
    assert first.interrupt() == 0
    assert psutil.wait_procs(children, timeout=10)[1] == []
    second = RunningDemo(folder)
    second.wait_for("Ctrl-C")
    assert (folder / "secret").read_text() == secret
    assert second.interrupt(signal.SIGTERM) == 0
    assert not (folder / "running.json").exists()
    (folder / "objects" / "left over").mkdir(parents=True)
    third = RunningDemo(folder, "--reset")
    third.wait_for("Ctrl-C")
    assert (folder / "secret").read_text() != secret
    assert not (folder / "objects" / "left over").exists()
    third.interrupt()


def test_services_that_are_named_are_used_and_left_alone(services_folder: Path) -> None:
    place = services_folder / "named"
    place.mkdir(mode=0o755)
    with (
        PrivatePostgres(place / "postgres", is_durable=False) as postgres,
        PrivateRedis(place / "redis") as private_redis,
        socket.create_server(("127.0.0.1", 0)) as mail_server,  # nothing is sent: its address is all that counts
    ):
        settings = {
            "DATABASE_URL": postgres.create_database("named"),
            "REDIS_URL": private_redis.url(),
            "SMTP_URL": f"smtp://127.0.0.1:{mail_server.getsockname()[1]}",
        }
        with psycopg.connect(settings["DATABASE_URL"]) as connection:
            connection.execute("CREATE TABLE of_somebody_else (n int)")
        running = RunningDemo(place / "demo", **settings)
        running.wait_for("Ctrl-C")
        names = {process.name() for process in descendants(running.process.pid)}
        assert {name for name in names if "postgres" in name or "redis" in name} == set()
        assert "the demo's mailbox" not in running.printed
        assert running.interrupt() == 0
        with psycopg.connect(settings["DATABASE_URL"]) as connection:
            assert connection.execute("SELECT count(*) FROM person").fetchone() == (5,)
            connection.execute("SELECT count(*) FROM of_somebody_else")
        with redis.Redis.from_url(settings["REDIS_URL"]) as client:
            assert client.ping()


@pytest.mark.parametrize("options", [(), ("--reset",)])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    command = demo_command(tmp_path, *options)
    done = subprocess.run(command, cwd=CHECKOUT, env=bare_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "thesis.txt" in done.stdout
    assert "--folder" in done.stdout
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_database_that_is_named_is_not_parted_from_its_photos(tmp_path: Path) -> None:
    environment = bare_environment() | {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
    (tmp_path / "objects").mkdir()
    command = demo_command(tmp_path, "--reset")
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DATABASE_URL names a database" in done.stdout
    assert (tmp_path / "objects").exists()


def test_killing_it_leaves_no_process(services_folder: Path) -> None:
    running = RunningDemo(services_folder / "demo-killed")
    running.wait_for("Ctrl-C")
    children = descendants(running.process.pid)
    running.process.kill()
    running.process.communicate(timeout=60)
    assert psutil.wait_procs(children, timeout=20)[1] == []


def test_a_step_that_fails_says_which_why_and_what_to_do(services_folder: Path) -> None:
    command = demo_command(services_folder / "demo-broken")
    environment = bare_environment() | {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "step that failed: bringing the database schema up to date" in done.stdout
    assert "why: " in done.stdout
    assert "what to do: " in done.stdout


def test_two_demos_at_once_have_two_addresses(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # somebody's demo may have it: as good
            stack.enter_context(socket.create_server(("127.0.0.1", FIRST_PORT)))
        port = Demo(tmp_path, Progress())._choose_web_port()
    assert FIRST_PORT < port < FIRST_PORT + PORTS_TRIED


def make_process(name: str, script: str) -> Process:
    return Process(name, name, f"the {name}", ("sh", "-c", script), {}, lambda: True)


def check_for_ever(supervisor: Supervisor) -> None:
    while True:
        supervisor.check()


def test_a_process_that_ends_is_started_again_until_it_keeps_ending(tmp_path: Path) -> None:
    with (tmp_path / "told").open("w") as told:
        supervisor = Supervisor(tmp_path, Progress(Console(file=told)))
        supervisor.start(make_process("brief", "echo cannot go on; exit 4"))
        with pytest.raises(ServiceError) as caught:
            check_for_ever(supervisor)
        supervisor.stop()
    assert caught.value.step == "the brief"
    assert "keeps ending" in caught.value.reason
    assert "cannot go on" in caught.value.reason
    assert (tmp_path / "told").read_text().count("starting it again") == 5
