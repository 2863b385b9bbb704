import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from tests.messaging.servers import HOST, closed_port
from waterwatch.messaging import email, smtp
from workers.mailbox import Mailbox
from workers.mailbox_page import FRAME_SANDBOX, Store

FROM, TO = "waters@example.org", "huanbao@wuhan.example"
PNG = b"\x89PNG\r\n\x1a\n picture"
EVIL = '<html><head></head><body><script>alert(1)</script><img src="cid:map"><a href="https://a.example/">去</a></body></html>'


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    with Mailbox(tmp_path / "mail", 0, 0) as running:
        yield running


def mail(now: datetime, subject: str = "长江：污水直排", html: str = EVIL) -> EmailMessage:
    return email.compose(
        sender=email.Mailbox("江湖网", FROM),
        recipient=TO,
        subject=subject,
        text="正文在此\n",
        html=html,
        message_id="<one@example.org>",
        sent_at=now,
        language="zh-Hans",
        images=[email.InlineImage("map", "image/png", PNG, "map.png")],
    )


def post(mailbox: Mailbox, message: EmailMessage) -> None:
    url = f"smtp://{HOST}:{mailbox.smtp_port}"
    smtp.send(url, message, envelope_from=FROM, recipients=[TO], timeout_s=10)


def get(port: int, path: str, host: str | None = None) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def name_of_first(mailbox: Mailbox) -> str:
    _, page = get(mailbox.http_port, "/")
    return page.decode().split('<li><a href="/')[1].split('"')[0]


def test_an_empty_mailbox_says_so_in_both_languages(mailbox: Mailbox) -> None:
    _, page = get(mailbox.http_port, "/")
    assert "还没有信" in page.decode()
    assert "No mail yet" in page.decode()


def test_what_was_answered_with_250_is_on_the_disk_whole(mailbox: Mailbox, tmp_path: Path, now: datetime) -> None:
    sent = mail(now)
    post(mailbox, sent)
    (path,) = (tmp_path / "mail").glob("*.eml")
    kept = message_from_bytes(path.read_bytes(), policy=default)
    assert (kept["Return-Path"], kept["Delivered-To"]) == (f"<{FROM}>", TO)
    assert path.read_bytes().endswith(sent.as_bytes())


def test_the_list_shows_the_newest_first(mailbox: Mailbox, now: datetime) -> None:
    post(mailbox, mail(now, "第一封"))
    post(mailbox, mail(now, "第二封"))
    _, page = get(mailbox.http_port, "/")
    words = page.decode()
    assert words.index("第二封") < words.index("第一封")
    assert "2 封 · 2 mails" in words


def test_a_mail_is_shown_in_a_frame_that_may_open_links_and_nothing_else(mailbox: Mailbox, now: datetime) -> None:
    post(mailbox, mail(now))
    name = name_of_first(mailbox)
    _, page = get(mailbox.http_port, f"/{name}")
    assert f'<iframe src="/{name}/html"' in page.decode()
    assert f'sandbox="{FRAME_SANDBOX}"' in page.decode()
    assert "正文在此" in page.decode()
    answer, frame = get(mailbox.http_port, f"/{name}/html")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith(f"sandbox {FRAME_SANDBOX}; default-src 'none'")
    assert "allow-scripts" not in policy
    assert f'src="/{name}/part/map"' in frame.decode()
    assert '<base target="_blank">' in frame.decode()
    assert get(mailbox.http_port, f"/{name}/part/map")[1] == PNG


def test_the_mail_can_be_downloaded_as_it_came(mailbox: Mailbox, now: datetime) -> None:
    sent = mail(now)
    post(mailbox, sent)
    answer, raw = get(mailbox.http_port, f"/{name_of_first(mailbox)}/raw")
    assert answer.headers["Content-Type"] == "message/rfc822"
    assert raw.endswith(sent.as_bytes())


def test_markup_in_headers_is_shown_not_run(mailbox: Mailbox, now: datetime) -> None:
    post(mailbox, mail(now, "<script>alert(1)</script>"))
    for path in ("/", f"/{name_of_first(mailbox)}"):
        assert b"<script>" not in get(mailbox.http_port, path)[1]


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/%2e%2e%2fetc%2fpasswd", "/nothing", "/" + "0" * 36])
def test_only_mails_can_be_read(mailbox: Mailbox, path: str) -> None:
    assert get(mailbox.http_port, path)[0].status == 404


def test_the_page_answers_under_this_machines_own_names_only(mailbox: Mailbox) -> None:
    assert get(mailbox.http_port, "/", host="localhost")[0].status == 200
    assert get(mailbox.http_port, "/", host="evil.example")[0].status == 400


def test_a_half_written_mail_is_not_listed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "0190.part").write_bytes(b"Subject: half")
    assert (store.newest(), store.count()) == ([], 0)


def test_a_mail_without_html_or_subject_can_be_read(mailbox: Mailbox) -> None:
    plain = EmailMessage(email.POLICY)
    plain["From"] = FROM
    plain.set_content("只有文字")
    post(mailbox, plain)
    answer, page = get(mailbox.http_port, f"/{name_of_first(mailbox)}")
    assert answer.status == 200
    assert "只有文字" in page.decode()
    assert "<iframe" not in page.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_serves_both_ports_and_ends_cleanly(tmp_path: Path, number: signal.Signals, now: datetime) -> None:
    smtp_port, http_port = closed_port(), closed_port()
    arguments = ["--smtp-port", str(smtp_port), "--http-port", str(http_port), "--folder", str(tmp_path / "mail")]
    program = "import sys; from workers.mailbox import main; sys.exit(main())"
    child = subprocess.Popen([sys.executable, "-W", "error", "-c", program, *arguments], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not _is_answering(http_port) and child.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=0.05)
        smtp.send(f"smtp://{HOST}:{smtp_port}", mail(now), envelope_from=FROM, recipients=[TO], timeout_s=10)
        child.send_signal(number)
        _, errors = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert (child.returncode, errors) == (0, b"")
    assert len(list((tmp_path / "mail").glob("*.eml"))) == 1


def _is_answering(port: int) -> bool:
    try:
        return get(port, "/")[0].status == 200
    except OSError:
        return False
