"""nginx as docs/operations.md configures it, with the addresses, folders and the port of this run put in."""

import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAIN = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}
events {{ worker_connections 256; }}
http {{
{server}
}}
"""


def documented_server() -> str:
    """The server block of the operations manual."""
    blocks = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "operations.md").read_text(encoding="utf-8"), re.DOTALL)
    (server,) = (block for block in blocks if block.startswith("server {"))
    return str(server)


@contextmanager
def nginx(
    folder: Path, *, port: int, backend: int, bodies: Path, secret: str, published: Path | None = None
) -> Iterator[None]:
    """The documented proxy before the application at ``backend``, without TLS, listening when this is entered.

    As root its workers are another user's, so every folder above ``folder`` and ``bodies`` must be passable.
    """
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        raise RuntimeError("nginx is missing: install the Debian package nginx-light (bin/test does)")
    for name in ("log", "tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "secret.conf").write_text(f'proxy_set_header X-WaterWatch-Body-Secret "{secret}";')
    server = documented_server()
    for documented, ours in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
        ("http://127.0.0.1:8000", f"http://127.0.0.1:{backend}"),
        ("/var/lib/waterwatch/bodies", str(bodies)),
        ("/var/lib/waterwatch/published", str(published or folder / "published")),
        ("/etc/nginx/waterwatch-secret.conf", f"{folder}/secret.conf"),
        ("/var/log/nginx/waterwatch.log", f"{folder}/log/waterwatch.log"),
    ):
        assert documented in server
        server = server.replace(documented, ours)
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        server = f"{kind}_temp_path {folder}/tmp/{kind};\n" + server
    configuration = folder / "nginx.conf"
    # As root it is what Debian makes it: workers of another user, who share a group with the application only there.
    user = "user www-data;" if os.geteuid() == 0 else ""
    configuration.write_text(MAIN.format(folder=folder, user=user, server=server))
    process = subprocess.Popen([program, "-c", str(configuration), "-p", str(folder)], stderr=subprocess.DEVNULL)
    try:
        _await(process, port, folder)
        yield
    finally:
        process.terminate()
        process.wait(20)


def make_bodies_folder(folder: Path) -> Path:
    """The folder as the manual makes it: of nginx' user, its files in the application's group."""
    folder.mkdir(parents=True)
    if os.geteuid() == 0:
        shutil.chown(folder, user="www-data", group=os.getegid())
    folder.chmod(0o2770)
    return folder


def _await(process: "subprocess.Popen[bytes]", port: int, folder: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            threading.Event().wait(0.05)
    log = folder / "error.log"
    raise RuntimeError(f"nginx did not come up: {log.read_text() if log.exists() else 'no log'}")
