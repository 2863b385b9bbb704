import contextlib
import itertools
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest

from tests.messaging.servers import HOST, Fickle, Inbox, Peer, closed_port, kind_server, rude_server
from waterwatch.messaging import email, smtp

Script = Callable[[Peer], None]
FROM, TO = "waters@example.org", "huanbao@example.net"


@pytest.fixture
def letter(now: datetime) -> EmailMessage:
    return email.compose(
        sender=email.Mailbox("江湖网", FROM),
        recipient=TO,
        subject="发现污水直排",
        text="正文\n.一个以点开头的行\n",
        html="<p>正文</p>",
        message_id="<one@example.org>",
        sent_at=now,
        language="zh-Hans",
    )


def send(
    port: int, letter: EmailMessage, *, scheme: str = "smtp", login: str = "", timeout_s: float = 5.0
) -> smtp.Accepted:
    return smtp.send(
        f"{scheme}://{login}{HOST}:{port}", letter, envelope_from=FROM, recipients=[TO], timeout_s=timeout_s
    )


def test_a_server_with_manners_takes_the_mail_unchanged(letter: EmailMessage) -> None:
    inbox = Inbox()
    with kind_server(inbox) as port:
        send(port, letter)
    (envelope,) = inbox.received
    assert (envelope.mail_from, envelope.rcpt_tos) == (FROM, [TO])
    assert envelope.content == letter.as_bytes()


def test_a_line_that_begins_with_a_dot_stays_one(now: datetime) -> None:
    letter = EmailMessage(email.POLICY)
    letter.set_content(".a\n..b\n.\nend\n")
    inbox = Inbox()
    with kind_server(inbox) as port:
        send(port, letter)
    received = message_from_bytes(inbox.received[0].content or b"", policy=default)
    assert received.get_content() == ".a\r\n..b\r\n.\r\nend\r\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("command", "answer", "code", "permanent"),
    [
        ("RCPT", "450 greylisted", "recipient_refused_450", False),
        ("RCPT", "550 no such user", "recipient_refused_550", True),
        ("DATA", "452 mailbox full", "content_refused_452", False),
        ("DATA", "554 not wanted", "content_refused_554", True),
    ],
)
def test_a_refusal_of_the_recipient_or_content_says_whether_it_is_for_good(
    letter: EmailMessage, command: str, answer: str, code: str, permanent: bool
) -> None:
    with kind_server(Inbox({command: answer})) as port, pytest.raises(smtp.Refused) as caught:
        send(port, letter)
    assert (caught.value.code, caught.value.permanent) == (code, permanent)


@pytest.mark.parametrize(
    ("command", "answer", "code"),
    [
        ("MAIL", "550 you may not send", "sender_refused_550"),
        ("RCPT", "421 closing down", "recipient_refused_421"),
        ("DATA", "421 closing down", "content_refused_421"),
    ],
)
def test_what_is_no_fault_of_the_recipient_is_never_blamed_on_the_recipient(
    letter: EmailMessage, command: str, answer: str, code: str
) -> None:
    with kind_server(Inbox({command: answer})) as port, pytest.raises(smtp.Unreachable) as caught:
        send(port, letter)
    assert caught.value.code == code


def test_no_server_is_unreachable(letter: EmailMessage) -> None:
    with pytest.raises(smtp.Unreachable) as caught:
        send(closed_port(), letter)
    assert caught.value.code == "nobody_listens"


def _busy(peer: Peer) -> None:
    peer.say("421 too busy")


def _closed_for_us(peer: Peer) -> None:
    peer.say("554 no service for you")


def _drop_at_once(_peer: Peer) -> None:
    return


def _drop_after_rcpt(peer: Peer) -> None:
    peer.say("220 mail.test")
    peer.exchange("250 mail.test", "250 OK", "250 OK")
    peer.hear()


def _garbage(peer: Peer) -> None:
    peer.say("HTTP/1.1 400 Bad Request")
    peer.hang()


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (_busy, "connection_refused_421"),
        (_closed_for_us, "connection_refused_554"),
        (_drop_at_once, "disconnected"),
        (_drop_after_rcpt, "disconnected"),
        (_garbage, "connection_refused_-1"),
    ],
)
def test_a_server_that_breaks_off_before_the_data_took_nothing(letter: EmailMessage, script: Script, code: str) -> None:
    with rude_server(script) as port, pytest.raises(smtp.Unreachable) as caught:
        send(port, letter)
    assert caught.value.code == code


def _hang_at_once(peer: Peer) -> None:
    peer.hang()


def _hang_after_data(peer: Peer) -> None:
    peer.take_mail()
    peer.hang()


def _drop_after_data(peer: Peer) -> None:
    peer.take_mail()


def _trickle(peer: Peer) -> None:
    for letter in itertools.chain("220", itertools.repeat("-")):
        peer.connection.sendall(letter.encode())
        if peer.is_over.wait(0.01):
            return


def _trickle_lines(peer: Peer) -> None:
    while not peer.is_over.wait(0.01):
        peer.say("220-still here")


def _trickle_after_data(peer: Peer) -> None:
    peer.take_mail()
    _trickle_lines(peer)


@pytest.mark.parametrize(
    ("script", "error", "code"),
    [
        (_hang_at_once, smtp.Unreachable, "timeout"),
        (_trickle, smtp.Unreachable, "timeout"),
        (_trickle_lines, smtp.Unreachable, "timeout"),
        (_hang_after_data, smtp.Uncertain, "timeout_after_data"),
        (_trickle_after_data, smtp.Uncertain, "timeout_after_data"),
        (_drop_after_data, smtp.Uncertain, "lost_after_data"),
    ],
)
def test_the_whole_conversation_is_bounded_whatever_the_server_does(
    letter: EmailMessage,
    script: Script,
    error: type[smtp.SendError],
    code: str,
) -> None:
    # That this test ends is the assertion: unbounded, each of these servers would hold the client for ever. Servers
    # that first take the mail get time enough to do so on a busy machine.
    timeout_s = 3.0 if error is smtp.Uncertain else 0.4
    with rude_server(script) as port, pytest.raises(error) as caught:
        send(port, letter, timeout_s=timeout_s)
    assert caught.value.code == code


def test_a_mail_accepted_right_before_the_connection_drops_is_accepted(letter: EmailMessage) -> None:
    def accept_and_drop(peer: Peer) -> None:
        peer.take_mail()
        peer.say("250 OK")

    with rude_server(accept_and_drop) as port:
        assert send(port, letter).duration_s >= 0


def test_a_mail_accepted_by_a_server_that_then_hangs_is_accepted(letter: EmailMessage) -> None:
    def accept_and_hang(peer: Peer) -> None:
        peer.take_mail()
        peer.say("250 OK")
        peer.hang()

    with rude_server(accept_and_hang) as port:
        send(port, letter, timeout_s=3.0)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed, so no certificate can be made to test TLS with")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", "/CN=mail.test", "-addext", f"subjectAltName=IP:{HOST}"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
def test_tls_to_a_trusted_server_works_and_to_an_unknown_one_does_not(
    letter: EmailMessage,
    scheme: str,
    tls: ssl.SSLContext,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inbox = Inbox()
    with kind_server(inbox, starttls=tls) if scheme == "smtp+starttls" else kind_server(inbox, tls=tls) as port:
        with pytest.raises(smtp.Unreachable) as caught:
            send(port, letter, scheme=scheme)
        assert caught.value.code == "tls_failed"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        send(port, letter, scheme=scheme)
    assert len(inbox.received) == 1


def test_user_and_password_are_percent_decoded_and_used(
    letter: EmailMessage, tls: ssl.SSLContext, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    inbox = Inbox()
    with kind_server(inbox, starttls=tls, wants_login=True) as port:
        send(port, letter, scheme="smtp+starttls", login="waters:a%20p%40ss%3Aword@")
    assert len(inbox.received) == 1


def test_a_wrong_password_is_our_fault_not_the_recipients(letter: EmailMessage) -> None:
    def turn_away(peer: Peer) -> None:
        peer.say("220 mail.test")
        peer.exchange("250-mail.test\r\n250 AUTH PLAIN", "535 wrong password")

    with rude_server(turn_away) as port, pytest.raises(smtp.Unreachable) as caught:
        send(port, letter, login="waters:wrong@")
    assert caught.value.code == "login_refused_535"


def test_a_tls_handshake_that_never_ends_is_cut_off(letter: EmailMessage) -> None:
    with rude_server(_hang_at_once) as port, pytest.raises(smtp.Unreachable) as caught:
        send(port, letter, scheme="smtps", timeout_s=0.4)
    assert caught.value.code == "timeout"


def test_no_thread_and_no_connection_outlives_the_conversation(letter: EmailMessage) -> None:
    before = threading.active_count()
    inbox = Inbox()
    with kind_server(inbox) as port:
        send(port, letter)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert threading.active_count() == before


@pytest.mark.parametrize("url", ["http://mail.example.org", "smtp://", "mail.example.org", ""])
def test_an_address_of_another_kind_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="must look like"):
        smtp.parse_url(url)


@pytest.mark.parametrize("recipient", ["a@b\r\nRCPT TO:<x@y>", "a b@c", "<a@b>", "", "a@", "@b", "a@b,c@d", "王@b"])
def test_an_address_that_is_none_never_reaches_the_wire(letter: EmailMessage, recipient: str) -> None:
    with pytest.raises(ValueError, match="not a mail address"):
        smtp.send("smtp://127.0.0.1:9", letter, envelope_from=FROM, recipients=[recipient], timeout_s=1)


def kept(port: int, *, timeout_s: float = 3.0) -> contextlib.closing[smtp.Outlet]:
    return contextlib.closing(smtp.Outlet(f"smtp://{HOST}:{port}", timeout_s=timeout_s))


def test_a_conversation_is_kept_from_mail_to_mail(letter: EmailMessage) -> None:
    server = Fickle(lambda _recipient, _nth: "kind")
    with rude_server(server) as port, kept(port) as outlet:
        for _ in range(3):
            outlet.send(letter.as_bytes(), envelope_from=FROM, recipient=TO)
    assert (len(server.copies), server.conversations) == (3, 1)


def test_a_refusal_leaves_the_conversation_to_the_next_mail(letter: EmailMessage) -> None:
    server = Fickle(lambda _recipient, nth: {1: "550", 2: "554", 3: "450"}.get(nth, "kind"))
    with rude_server(server) as port, kept(port) as outlet:
        for _ in range(3):
            with pytest.raises(smtp.Refused):
                outlet.send(letter.as_bytes(), envelope_from=FROM, recipient=TO)
        outlet.send(letter.as_bytes(), envelope_from=FROM, recipient=TO)
    assert (len(server.copies), server.conversations) == (1, 1)


def test_a_server_that_hangs_up_between_two_mails_costs_nothing(letter: EmailMessage) -> None:
    def one_each(peer: Peer) -> None:
        took.append(peer.take_mail())
        peer.say("250 OK")

    took: list[bytes] = []
    with rude_server(one_each) as port, kept(port) as outlet:
        for _ in range(3):
            outlet.send(letter.as_bytes(), envelope_from=FROM, recipient=TO)
    assert len(took) == 3


def test_a_mail_that_may_have_been_taken_is_not_sent_again_by_itself(letter: EmailMessage) -> None:
    server = Fickle(lambda _recipient, nth: "drop" if nth == 2 else "kind")
    with rude_server(server) as port, kept(port) as outlet:
        outlet.send(letter.as_bytes(), envelope_from=FROM, recipient=TO)
        with pytest.raises(smtp.Uncertain):
            outlet.send(letter.as_bytes(), envelope_from=FROM, recipient=TO)
        outlet.send(letter.as_bytes(), envelope_from=FROM, recipient=TO)
    assert [copy.is_accepted for copy in server.copies] == [True, False, True]


@pytest.mark.parametrize(
    ("answers", "error", "code"),
    [
        (("250 OK", "250 OK", "354 go on"), None, None),
        (("250 OK", "550 nobody", "554 no recipients"), smtp.Refused, "recipient_refused_550"),
        (("250 OK", "550 nobody", "354 go on"), smtp.Refused, "recipient_refused_550"),
        (("550 not you", "503 no", "503 no"), smtp.Unreachable, "sender_refused_550"),
        (("250 OK", "250 OK", "451 not now"), smtp.Unreachable, "data_refused_451"),
    ],
)
def test_an_envelope_sent_at_once_is_answered_command_by_command(
    letter: EmailMessage, answers: tuple[str, ...], error: type[smtp.SendError] | None, code: str | None
) -> None:
    def talk(peer: Peer) -> None:
        peer.say("220 mail.test")
        peer.exchange("250-mail.test\r\n250 PIPELINING")
        heard.extend(peer.hear() for _ in range(3))
        for answer in answers:
            peer.say(answer)
        if error is None:
            took.append(peer.hear_mail())
            peer.say("250 OK")

    heard: list[str] = []
    took: list[bytes] = []
    with rude_server(talk) as port, kept(port) as outlet:
        if error is None:
            outlet.send(letter.as_bytes(), envelope_from=FROM, recipient=TO)
        else:
            with pytest.raises(error) as caught:
                outlet.send(letter.as_bytes(), envelope_from=FROM, recipient=TO)
            assert caught.value.code == code
    assert heard == [f"MAIL FROM:<{FROM}>", f"RCPT TO:<{TO}>", "DATA"]
    assert len(took) == (error is None)


@pytest.mark.parametrize(("manner", "code"), [("trickle", "timeout_after_data"), ("garbage", "garbage_after_data")])
def test_what_reads_like_an_answer_and_is_none_leaves_it_uncertain(
    letter: EmailMessage, manner: str, code: str
) -> None:
    """A byte at a time, twos make 222, as if the mail had been taken."""
    with rude_server(Fickle(lambda _recipient, _nth: manner)) as port, pytest.raises(smtp.Uncertain) as caught:
        send(port, letter, timeout_s=1.5)
    assert caught.value.code == code
