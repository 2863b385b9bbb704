"""A real web server's own log: it keeps quiet about who asked for what."""

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.system import await_true
from tests.workers.programs import ROOT, environment
from waterwatch.kernel.settings import Settings
from workers.processes import is_port_free, pick_free_port

SECRET = "a-follow-token-nobody-may-read"


@pytest.mark.parametrize("options", [(), ("--access-logfile", "-")], ids=["as documented", "with an access log"])
def test_the_servers_log_names_neither_link_nor_sender(
    settings: Settings, tmp_path: Path, options: tuple[str, ...]
) -> None:
    port, log = pick_free_port(), tmp_path / "web.log"
    command = [sys.executable, "-m", "gunicorn", "wsgi:application", "--bind", f"127.0.0.1:{port}", *options]
    settings.spool_dir.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "--no-control-socket"],
            cwd=ROOT, env=os.environ | environment(settings), stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            await_true(lambda: not is_port_free(port) and "Booting" in log.read_text(), limit_s=30, what="it listens")
            for line in (f"GET /f/{SECRET} HTTP/1.1", f"GET /f/{SECRET} and more HTTP/1.1", f"BREW /f/{SECRET}"):
                with socket.create_connection(("127.0.0.1", port), timeout=20) as visitor:
                    visitor.sendall(f"{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                    while visitor.recv(65536):
                        pass
            await_true(lambda: "Invalid request" in log.read_text(), limit_s=20, what="it says that one was malformed")
        finally:
            server.terminate()
            server.wait(20)
    said = log.read_text()
    assert SECRET not in said
    assert [line for line in said.splitlines() if "127.0.0.1" in line and "Listening at" not in line] == []


@pytest.mark.usefixtures("settings")
def test_a_fault_while_answering_is_told_without_the_address(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("gunicorn.error")
    logger.addHandler(caplog.handler)
    try:
        logger.error("Error handling request %s", f"/f/{SECRET}")
        logger.info("Booting worker with pid: %s", 7)
    finally:
        logger.removeHandler(caplog.handler)
    assert SECRET not in caplog.text
    assert "Error handling request" in caplog.text
    assert "pid: 7" in caplog.text
