"""What is asked of an agency's server stays out of logs, whatever the server answers."""

import subprocess
import sys

from tests.messaging.peers import http_peer, sends

PROGRAM = """
import sys
from waterwatch.kernel import log
from waterwatch.messaging.http import Client
log.configure("INFO", "json")
client = Client(frozenset({"127.0.0.1"}), timeout_s=2)
print(client.send("POST", sys.argv[1], body=b"x", max_bytes=0).status)
"""


def test_headers_that_cannot_be_read_do_not_put_our_address_on_record() -> None:
    broken = b"HTTP/1.1 200 OK\r\nno colon here\r\n: nothing\r\nContent-Length: 0\r\n\r\n"
    with http_peer(sends(broken)) as peer:
        url = f"{peer.url}/hook?key=secret-in-the-address"
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, url], capture_output=True, text=True, timeout=60, check=False
        )
    assert done.stdout == "200\n"
    assert "secret-in-the-address" not in done.stderr
