"""The receiving process, spoken to by real SMTP and LMTP; killed at the worst moments."""

import contextlib
import json
import signal
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tests.inbox import mails
from tests.inbox.conftest import DOMAIN, Letter
from tests.workers.programs import ROOT, environment, running
from waterwatch.inbox import service
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from workers.inbox import MAX_CONNECTIONS, MAX_STRANGERS
from workers.processes import ChildProcess

HOST, SENDER = "127.0.0.1", "MAILER-DAEMON@mx.wuhan.example"


@contextlib.contextmanager
def receiving(context: JobContext, log: Path) -> Iterator[tuple[int, ChildProcess]]:
    """The process, and the port it listens on."""
    with running(context.settings, log, "inbox") as process:
        process.wait_until(lambda: "inbox.listening" in log.read_text(), timeout_s=30)
        said = next(line for line in log.read_text().splitlines() if "inbox.listening" in line)
        yield int(json.loads(said)["port"]), process


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "inbox.log"


@pytest.fixture
def port(context: JobContext, log: Path) -> Iterator[int]:
    with receiving(context, log) as (found, _):
        yield found


def kept(context: JobContext) -> int:
    with transaction(context.sessions) as session:
        return int(session.execute(text("SELECT count(*) FROM incoming_mail")).scalar_one())


def objects(context: JobContext) -> int:
    return len(list(context.objects.list(service.FOLDER)))


@contextlib.contextmanager
def conversing(port: int, letter: Letter) -> Iterator[socket.socket]:
    """A conversation that has come to DATA."""
    with socket.create_connection((HOST, port), timeout=20) as line:
        said = line.makefile("rb")
        for say in ("HELO relay", "MAIL FROM:<>", f"RCPT TO:<{letter.address}>", "DATA"):
            assert said.readline()[:3] in (b"220", b"250")
            line.sendall(f"{say}\r\n".encode())
        assert said.readline().startswith(b"354")
        yield line


def hear(line: socket.socket) -> bytes:
    """What is said next; nothing where the line is dead."""
    try:
        return line.recv(4096)
    except ConnectionResetError:
        return b""


def test_a_bounce_with_the_null_return_path_is_kept_before_it_is_answered(
    context: JobContext, letter: Letter, port: int, log: Path
) -> None:
    with smtplib.SMTP(HOST, port, timeout=20) as talk:
        assert talk.sendmail("", [letter.address], mails.POSTFIX) == {}
        with transaction(context.sessions) as session:
            row = session.execute(text("SELECT * FROM incoming_mail")).one()
    assert (row.delivery_id, row.has_null_sender, row.state) == (letter.delivery_id, True, "received")
    assert service.open_raw(context, row.id, row.object_key) == mails.POSTFIX
    said = log.read_text()
    assert letter.address.partition("@")[0] not in said
    assert "wuhan" not in said


def test_one_conversation_brings_many_mails_and_one_mail_many_times_once(
    context: JobContext, letter: Letter, port: int
) -> None:
    with smtplib.SMTP(HOST, port, timeout=20) as talk:
        for number in range(25):
            talk.sendmail("wang@wuhan.example", [letter.address], mails.simple("已办", message_id=f"<{number % 20}@x>"))
    assert (kept(context), objects(context)) == (20, 20)


def test_lmtp_is_spoken_to_whoever_greets_so(context: JobContext, letter: Letter, port: int) -> None:
    with smtplib.LMTP(HOST, port) as talk:
        assert talk.sendmail("wang@wuhan.example", [letter.address], mails.simple("已办")) == {}
    assert kept(context) == 1


@pytest.mark.parametrize(
    "address",
    [
        "somebody@elsewhere.example",
        f"postmaster@{DOMAIN}",
        f"case+{'a' * 45}@{DOMAIN}",
        f"case@{DOMAIN}",
    ],
)
def test_nothing_is_relayed_and_no_stranger_let_in(context: JobContext, port: int, address: str) -> None:
    with smtplib.SMTP(HOST, port, timeout=20) as talk:
        talk.ehlo()
        talk.mail("spam@elsewhere.example")
        code, _ = talk.rcpt(address)
        assert code == 550
        assert talk.docmd("DATA")[0] == 503
    assert kept(context) == 0


def test_who_guesses_addresses_is_hung_up_on(port: int) -> None:
    with smtplib.SMTP(HOST, port, timeout=20) as talk:
        talk.ehlo()
        talk.mail("")
        codes = [talk.rcpt(f"case+{'b' * 45}@{DOMAIN}")[0] for _ in range(MAX_STRANGERS + 1)]
    assert codes == [550] * MAX_STRANGERS + [421]


def test_a_second_recipient_is_asked_to_come_by_itself(letter: Letter, port: int) -> None:
    with smtplib.SMTP(HOST, port, timeout=20) as talk:
        talk.ehlo()
        talk.mail("")
        assert [talk.rcpt(letter.address)[0], talk.rcpt(letter.address)[0]] == [250, 452]


def test_a_mail_beyond_the_limit_is_refused(context: JobContext, letter: Letter, port: int) -> None:
    with smtplib.SMTP(HOST, port, timeout=20) as talk:
        talk.ehlo()
        assert talk.docmd(f"MAIL FROM:<> SIZE={context.settings.inbox_max_bytes + 1}")[0] == 552
        talk.mail("")
        talk.rcpt(letter.address)
        line = b"x" * 76 + b"\r\n"
        assert talk.data(b"X: y\r\n\r\n" + line * (context.settings.inbox_max_bytes // len(line) + 1))[0] == 552
    assert kept(context) == 0


def test_millions_of_empty_lines_are_hung_up_on_before_they_fill_the_memory(
    context: JobContext, letter: Letter, port: int
) -> None:
    with conversing(port, letter) as line, pytest.raises(ConnectionError):
        line.sendall(b"\r\n" * (context.settings.inbox_max_bytes // 2))
    with smtplib.SMTP(HOST, port, timeout=20) as talk:
        assert talk.sendmail("", [letter.address], mails.POSTFIX) == {}
    assert kept(context) == 1


def test_lines_longer_than_the_standard_allows_are_kept(context: JobContext, letter: Letter, port: int) -> None:
    with smtplib.SMTP(HOST, port, timeout=20) as talk:
        talk.sendmail("", [letter.address], b"Subject: x\r\n\r\n" + b"a" * 100_000 + b"\r\n")
    assert kept(context) == 1


def test_a_bare_line_feed_ends_no_mail(context: JobContext, letter: Letter, port: int) -> None:
    with conversing(port, letter) as line:
        line.sendall(b"Subject: x\r\n\r\nfirst\n.\nMAIL FROM:<evil@x>\r\n.\r\n")
        line.recv(4096)
    assert kept(context) <= 1  # kept as one mail, or refused as none: never as two
    with transaction(context.sessions) as session:
        found = session.execute(text("SELECT id, object_key FROM incoming_mail")).all()
    for row in found:
        assert b"MAIL FROM" in service.open_raw(context, row.id, row.object_key)


def test_more_conversations_than_there_is_room_for_are_told_to_come_again(letter: Letter, port: int) -> None:
    with contextlib.ExitStack() as opened:
        lines = [socket.create_connection((HOST, port), timeout=20) for _ in range(MAX_CONNECTIONS + 1)]
        for line in lines:
            opened.enter_context(line)
        assert [line.recv(4096)[:3] for line in lines] == [b"220"] * MAX_CONNECTIONS + [b"421"]
        assert hear(lines[-1]) == b""
    with smtplib.SMTP(HOST, port, timeout=20) as talk:
        assert talk.noop()[0] == 250


def test_what_cannot_be_kept_is_asked_for_again(context: JobContext, letter: Letter, port: int) -> None:
    folder = Path(context.settings.objects_url.removeprefix("file://")) / "quarantine"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("a file where a folder should be")
    with smtplib.SMTP(HOST, port, timeout=20) as talk:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            talk.sendmail("", [letter.address], mails.POSTFIX)
        folder.unlink()
        talk.sendmail("", [letter.address], mails.POSTFIX)
    assert (refused.value.smtp_code, kept(context)) == (451, 1)


def test_killed_before_it_said_250_it_has_promised_nothing(context: JobContext, letter: Letter, log: Path) -> None:
    with receiving(context, log) as (port, process), conversing(port, letter) as line:
        line.sendall(mails.POSTFIX[:400])
        process.send(signal.SIGKILL)
        assert hear(line) == b""
    assert (kept(context), objects(context)) == (0, 0)
    with receiving(context, log.with_suffix(".2")) as (port, _), smtplib.SMTP(HOST, port, timeout=20) as talk:
        talk.sendmail("", [letter.address], mails.POSTFIX)
    assert (kept(context), objects(context)) == (1, 1)


def test_killed_while_the_row_is_written_the_mail_comes_again_and_is_kept_once(
    context: JobContext, letter: Letter, log: Path, engine: Engine
) -> None:
    with receiving(context, log) as (port, process), engine.connect() as holder, conversing(port, letter) as line:
        holder.execute(text("LOCK TABLE outbox IN SHARE MODE"))
        line.sendall(mails.POSTFIX + b".\r\n")
        process.wait_until(lambda: objects(context) == 1, timeout_s=20)
        process.send(signal.SIGKILL)
        assert hear(line) == b""
        holder.rollback()
    assert kept(context) == 0
    with receiving(context, log.with_suffix(".2")) as (port, _), smtplib.SMTP(HOST, port, timeout=20) as talk:
        talk.sendmail("", [letter.address], mails.POSTFIX)
    assert (kept(context), objects(context)) == (1, 2)  # the one nobody names is the reconciler's


def test_killed_after_it_said_250_it_has_the_mail(context: JobContext, letter: Letter, log: Path) -> None:
    with receiving(context, log) as (port, process), conversing(port, letter) as line:
        line.sendall(mails.POSTFIX + b".\r\n")
        assert line.recv(4096).startswith(b"250")
        process.send(signal.SIGKILL)
    with transaction(context.sessions) as session:
        row = session.execute(text("SELECT id, object_key FROM incoming_mail")).one()
    assert service.open_raw(context, row.id, row.object_key) == mails.POSTFIX
    with receiving(context, log.with_suffix(".2")) as (port, _), smtplib.SMTP(HOST, port, timeout=20) as talk:
        talk.sendmail("", [letter.address], mails.POSTFIX)  # the answer was lost on the way
    assert (kept(context), objects(context)) == (1, 1)


def test_a_sender_that_hangs_up_after_the_last_dot_is_taken_at_its_word_once(
    context: JobContext, letter: Letter, port: int
) -> None:
    with conversing(port, letter) as line:
        line.sendall(mails.POSTFIX + b".\r\n")
    with smtplib.SMTP(HOST, port, timeout=20) as talk:
        talk.sendmail("", [letter.address], mails.POSTFIX)
    assert kept(context) == 1


def test_asked_to_stop_it_stops(context: JobContext, log: Path) -> None:
    with receiving(context, log) as (port, process):
        with socket.create_connection((HOST, port), timeout=20) as silent:
            silent.recv(4096)
            process.stop(timeout_s=20)
        assert process.exit_code == 0


def receive(context: JobContext, raw: bytes, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "waterwatch.cli", "mail", "receive", *arguments]
    values = {"PATH": "/usr/bin:/bin", **environment(context.settings)}
    return subprocess.run(command, input=raw, env=values, cwd=ROOT, capture_output=True, timeout=60, check=False)


def test_a_mail_server_may_hand_a_mail_to_a_command(context: JobContext, letter: Letter) -> None:
    done = receive(context, mails.POSTFIX.replace(b"\r\n", b"\n"), "--recipient", letter.address, "--sender", "")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert kept(context) == 1
    unknown = receive(context, mails.POSTFIX, "--recipient", f"case+{'a' * 45}@{DOMAIN}")
    assert unknown.returncode == 67  # EX_NOUSER
    assert kept(context) == 1


def test_a_command_that_cannot_keep_a_mail_says_come_again(context: JobContext, letter: Letter) -> None:
    Path(context.settings.spool_dir).write_text("no folder")
    done = receive(context, mails.POSTFIX, "--recipient", letter.address)
    assert done.returncode == 75  # EX_TEMPFAIL
    assert kept(context) == 0


def test_a_mail_that_is_too_large_for_the_command_is_refused(context: JobContext, letter: Letter) -> None:
    done = receive(context, b"x" * (context.settings.inbox_max_bytes + 1), "--recipient", letter.address)
    assert done.returncode == 69  # EX_UNAVAILABLE
    assert kept(context) == 0
