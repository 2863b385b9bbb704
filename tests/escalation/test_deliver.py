import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import IN_WUHAN, add_agency, add_incident, add_photo, add_report
from tests.messaging.servers import HOST, Inbox, Peer, closed_port, kind_server, rude_server
from waterwatch.escalation import deliveries, sending, service
from waterwatch.escalation.tables import Case, Delivery
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings

NOTE = "我住在三单元，看见老王家往江里倒东西"


@dataclass(frozen=True)
class Sending:
    """A delivery that waits, and how to run its job against a server on a port."""

    settings: Settings
    sessions: sessionmaker[Session]
    photo: bytes

    def context(self, port: int, *, timeout_s: float = 5.0) -> JobContext:
        changes = {"smtp_url": f"smtp://{HOST}:{port}", "smtp_timeout_s": timeout_s, "mail_from": "waters@example.org"}
        settings = self.settings.model_copy(update=changes)
        return JobContext(settings, self.sessions, ObjectStore(settings.objects_url))

    def message(self) -> outbox.Message:
        """The row a worker would have begun."""
        with transaction(self.sessions) as session:
            session.execute(text("UPDATE outbox SET available_at = now() - interval '1 s', leased_until = NULL"))
            (ring,) = outbox.lease(session, window=8, lease_s=30, topics=[service.TOPIC_DELIVER])
            begun = outbox.begin(session, ring.id, ring.lease_no, lease_s=30)
        assert begun is not None
        return begun

    def run(self, port: int, *, timeout_s: float = 5.0) -> None:
        hand_over(self.context(port, timeout_s=timeout_s), self.message())

    def outcome(self) -> tuple[str, str, int, str | None]:
        """State of the case, state of the delivery, attempts, last error."""
        with transaction(self.sessions) as session:
            case, delivery = session.query(Case).one(), session.query(Delivery).one()
            return case.state, delivery.state, delivery.attempts, delivery.last_error

    def is_done(self) -> bool:
        with transaction(self.sessions) as session:
            statement = text("SELECT bool_and(done_at IS NOT NULL) FROM outbox WHERE topic = :topic")
            return session.execute(statement, {"topic": service.TOPIC_DELIVER}).scalar_one() is True


@pytest.fixture
def one_letter(
    make_settings: Callable[..., Settings],
    database_url: str,
    sessions: sessionmaker[Session],
    tmp_path: Path,
) -> Sending:
    settings = make_settings(database_url=database_url, public_url="https://waters.example.org")
    now = JobContext(settings, sessions, ObjectStore(settings.objects_url)).now()
    with transaction(sessions) as session:
        add_agency(session, "武汉市生态环境局", ["huanbao@wuhan.example"])
        incident_id = add_incident(session, now=now)
        report_id = add_report(session, incident_id, now=now - timedelta(hours=1), note=NOTE, extent="under_1_km")
        photo = add_photo(session, report_id, ObjectStore(settings.objects_url), tmp_path, now=now)
        service.escalate(session, incident_id, settings=settings, actor=Actor.system("tests"), now=now)
    return Sending(settings, sessions, photo)


def hand_over(context: JobContext, message: outbox.Message) -> None:
    """Run the job for this letter; a row it gave back says so as an exception."""
    sending.deliver(context, message)
    with transaction(context.sessions) as session:
        row = session.execute(
            text(
                "SELECT done_at, last_error, extract(epoch FROM available_at - clock_timestamp())::float8 AS pause_s"
                " FROM outbox WHERE id = :id"
            ),
            {"id": message.id},
        ).one()
    if row.done_at is None:
        raise Unavailable(row.last_error, retry_after_s=row.pause_s)


def parsed(inbox: Inbox) -> list[EmailMessage]:
    mails = [message_from_bytes(envelope.content or b"", policy=default) for envelope in inbox.received]
    return [mail for mail in mails if isinstance(mail, EmailMessage)]


def test_the_agency_gets_a_mail_with_photo_map_place_grade_and_link(one_letter: Sending) -> None:
    inbox = Inbox()
    with kind_server(inbox) as port:
        one_letter.run(port)
    assert one_letter.outcome() == ("delivered", "sent", 1, None)
    assert one_letter.is_done()
    (mail,) = parsed(inbox)
    assert mail["To"] == "huanbao@wuhan.example"
    assert mail["From"].addresses[0].addr_spec == inbox.received[0].mail_from == "waters@example.org"
    assert str(mail["Subject"]).startswith("【公众观察·橙色·重大】长江：污水直排（事件 ")
    body = mail.get_body(("plain",))
    page = mail.get_body(("html",))
    assert body is not None
    assert page is not None
    for words in (body.get_content(), page.get_content()):
        assert "武汉市生态环境局" in words
        assert "不是政府" in words
        assert "100 米到 1 公里" in words
        assert f"北纬 {IN_WUHAN[1]:.6f}，东经 {IN_WUHAN[0]:.6f}" in words
        assert "https://waters.example.org/a/" in words
    pictures = {
        part["Content-ID"]: part.get_content() for part in mail.walk() if part.get_content_maintype() == "image"
    }
    assert pictures["<photo>"] == one_letter.photo
    assert pictures["<map>"].startswith(b"\x89PNG")
    assert 'src="cid:photo"' in page.get_content()
    assert 'src="cid:map"' in page.get_content()


def test_nothing_of_the_citizen_is_in_the_mail(one_letter: Sending) -> None:
    inbox = Inbox()
    with kind_server(inbox) as port:
        one_letter.run(port)
    (mail,) = parsed(inbox)
    words = "".join(part.get_content() for part in mail.walk() if part.get_content_maintype() == "text")
    with transaction(one_letter.sessions) as session:
        report = session.execute(text("SELECT code, id::text FROM report")).one()
    for secret in (NOTE, "老王", report.code, report.id):
        assert secret not in words
        assert secret not in str(mail["Subject"])


def _drop_after_data(peer: Peer) -> None:
    peer.take_mail()


def _hang_after_data(peer: Peer) -> None:
    peer.take_mail()
    peer.hang()


def _busy(peer: Peer) -> None:
    peer.say("421 too busy")


def _greylist(peer: Peer) -> None:
    peer.say("220 mail.test")
    peer.exchange("250 mail.test", "250 OK", "450 come back later")
    peer.hear()


@pytest.mark.parametrize(
    ("script", "code", "pause_s"),
    [
        (_busy, "connection_refused_421", 1),
        (_drop_after_data, "lost_after_data", 1),
        (_hang_after_data, "timeout_after_data", 1),
        (_greylist, "recipient_refused_450", 60),
    ],
)
def test_after_a_failure_the_mail_goes_out_again_under_the_same_message_id(
    one_letter: Sending, script: Callable[[Peer], None], code: str, pause_s: float
) -> None:
    with rude_server(script) as port, pytest.raises(Unavailable) as caught:
        one_letter.run(port, timeout_s=3.0)
    assert caught.value.error_code == code
    assert pause_s - 1 < caught.value.facts["retry_after_s"] <= 1.1 * pause_s
    assert one_letter.outcome() == ("queued", "pending", 1, code)
    assert not one_letter.is_done()
    with transaction(one_letter.sessions) as session:
        message_id = session.query(Delivery).one().message_id
    inbox = Inbox()
    with kind_server(inbox) as port:
        one_letter.run(port)
    assert [mail["Message-ID"] for mail in parsed(inbox)] == [message_id]
    assert one_letter.outcome() == ("delivered", "sent", 2, None)


def test_every_attempt_uses_the_one_delivery_row_and_its_message_id(one_letter: Sending) -> None:
    seen: list[str] = []

    def note_and_drop(peer: Peer) -> None:
        mail = message_from_bytes(peer.take_mail(), policy=default)
        seen.append(mail["Message-ID"])

    with rude_server(note_and_drop) as port:
        for _ in range(3):
            with pytest.raises(Unavailable):
                one_letter.run(port)
    with transaction(one_letter.sessions) as session:
        (delivery,) = session.query(Delivery).all()
    assert seen == [delivery.message_id] * 3


def test_a_dead_server_is_tried_later_and_nothing_is_lost(one_letter: Sending) -> None:
    with pytest.raises(Unavailable) as caught:
        one_letter.run(closed_port())
    assert 0 < caught.value.facts["retry_after_s"] <= 1
    assert one_letter.outcome() == ("queued", "pending", 1, "nobody_listens")


def test_an_address_refused_for_good_ends_the_case_and_the_job(one_letter: Sending) -> None:
    with kind_server(Inbox({"RCPT": "550 no such user"})) as port:
        one_letter.run(port)
    assert one_letter.outcome() == ("dead", "refused", 1, "recipient_refused_550")
    assert one_letter.is_done()


def test_a_mail_taken_over_right_before_the_connection_drops_is_not_sent_again(one_letter: Sending) -> None:
    def accept_and_drop(peer: Peer) -> None:
        peer.take_mail()
        peer.say("250 OK")

    with rude_server(accept_and_drop) as port:
        one_letter.run(port)
    assert one_letter.outcome() == ("delivered", "sent", 1, None)


def test_two_workers_on_one_delivery_send_one_mail(one_letter: Sending) -> None:
    """The second begins while the first waits for the server's answer to its mail."""
    has_mail, may_answer, mails = threading.Event(), threading.Event(), []

    def answer_when_told(peer: Peer) -> None:
        mails.append(peer.take_mail())
        has_mail.set()
        may_answer.wait()
        peer.say("250 OK")

    message = one_letter.message()
    with rude_server(answer_when_told) as port:
        first = threading.Thread(target=hand_over, args=(one_letter.context(port), message))
        first.start()
        assert has_mail.wait(30)
        with pytest.raises(Unavailable) as caught:
            hand_over(one_letter.context(port), message)
        may_answer.set()
        first.join()
        hand_over(one_letter.context(port), message)  # a third finds nothing left to do
    assert caught.value.error_code == "delivery_claimed"
    assert len(mails) == 1
    assert one_letter.outcome() == ("delivered", "sent", 1, None)


def test_a_worker_killed_while_sending_leaves_a_claim_that_runs_out(one_letter: Sending) -> None:
    inbox = Inbox()
    message = one_letter.message()
    with transaction(one_letter.sessions) as session:
        delivery_id = uuid.UUID(message.payload["delivery_id"])
        long_ago = datetime.now().astimezone() - timedelta(minutes=5)
        deliveries.claim_delivery(session, delivery_id, settings=one_letter.settings, now=long_ago)
    with kind_server(inbox) as port:
        hand_over(one_letter.context(port), message)
    assert len(inbox.received) == 1
    assert one_letter.outcome() == ("delivered", "sent", 2, None)


def test_a_lost_photo_does_not_hold_the_mail_back(one_letter: Sending) -> None:
    store = ObjectStore(one_letter.settings.objects_url)
    for stored in list(store.list("public/")):
        store.delete(stored.key)
    inbox = Inbox()
    with kind_server(inbox) as port:
        one_letter.run(port)
    (mail,) = parsed(inbox)
    page = mail.get_body(("html",))
    assert page is not None
    assert "照片没有随信附上" in page.get_content()
    assert "cid:photo" not in page.get_content()
    assert "cid:map" in page.get_content()


def test_a_raised_severity_goes_out_as_a_letter_of_its_own(one_letter: Sending) -> None:
    """Who holds a letter that gives them a day must be told before they are held to two hours."""
    inbox = Inbox()
    with kind_server(inbox) as port:
        one_letter.run(port)
        with transaction(one_letter.sessions) as session:
            case = session.query(Case).one()
            first, promised = session.query(Delivery).one(), case.state_deadline_at
            assert (case.severity, first.raised_from) == (3, None)
            session.execute(text("UPDATE incident SET severity = 4, graded_severity = 4"))
            now = one_letter.context(port).now()
            for _ in range(2):  # asked twice, told once
                service.escalate(
                    session, case.incident_id, settings=one_letter.settings, actor=Actor.system("tests"), now=now
                )
            assert case.state_deadline_at == promised
            second = session.query(Delivery).filter(Delivery.id != first.id).one()
            assert (second.severity, second.raised_from, second.state) == (4, 3, "pending")
        one_letter.run(port)
    letter, raised = parsed(inbox)
    assert raised["Message-ID"] == second.message_id != letter["Message-ID"]
    assert raised["In-Reply-To"] == raised["References"] == letter["Message-ID"] == first.message_id
    assert "等级上调为" in str(raised["Subject"])
    page = raised.get_body(("plain",))
    assert page is not None
    assert "上调为" in page.get_content()
    with transaction(one_letter.sessions) as session:
        case = session.query(Case).one()
        told_at = session.query(Delivery).filter_by(raised_from=3).one().sent_at
        assert told_at is not None
        assert case.state_deadline_at is not None
        assert timedelta(hours=1, minutes=59) < case.state_deadline_at - told_at <= timedelta(hours=2)


def test_a_letter_that_still_waits_says_the_severity_of_its_day_and_is_the_only_one(one_letter: Sending) -> None:
    inbox = Inbox()
    with transaction(one_letter.sessions) as session:
        case = session.query(Case).one()
        session.execute(text("UPDATE incident SET severity = 4, graded_severity = 4"))
        now = one_letter.context(1).now()
        service.escalate(session, case.incident_id, settings=one_letter.settings, actor=Actor.system("tests"), now=now)
    with kind_server(inbox) as port:
        one_letter.run(port)
    (mail,) = parsed(inbox)
    assert "特别重大" in str(mail["Subject"])
    assert "上调" not in str(mail["Subject"])


def store_that_is_away(patch: pytest.MonkeyPatch) -> ObjectStore:
    patch.setenv("AWS_ACCESS_KEY_ID", "tests")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    return ObjectStore(f"s3://photos?endpoint=http://{HOST}:{closed_port()}")


def test_a_store_that_is_away_for_a_moment_costs_the_mail_nothing_but_time(
    one_letter: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = store_that_is_away(monkeypatch)
    message, inbox = one_letter.message(), Inbox()
    with kind_server(inbox) as port:
        context = one_letter.context(port)
        with pytest.raises(Unavailable, match="pictures_unavailable"):
            hand_over(replace(context, objects=away), message)
        assert one_letter.outcome() == ("queued", "pending", 1, "pictures_unavailable")
        hand_over(context, message)
    (mail,) = parsed(inbox)
    page = mail.get_body(("html",))
    assert page is not None
    assert "cid:photo" in page.get_content()


def test_a_mail_waits_while_more_of_its_photo_is_being_covered(one_letter: Sending) -> None:
    message, inbox = one_letter.message(), Inbox()
    with kind_server(inbox) as port:
        context = one_letter.context(port)
        with transaction(one_letter.sessions) as session:
            session.execute(text("UPDATE photo SET redaction_wanted_at = now()"))
        with pytest.raises(Unavailable, match="pictures_unavailable"):
            hand_over(context, message)
        assert inbox.received == []
        with transaction(one_letter.sessions) as session:
            session.execute(text("UPDATE photo SET redaction_wanted_at = NULL"))
        hand_over(context, message)
    assert "<photo>" in {str(part["Content-ID"]) for part in parsed(inbox)[0].walk()}


def test_a_mail_waits_for_its_photo_only_so_long(one_letter: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    away = store_that_is_away(monkeypatch)
    message, inbox = one_letter.message(), Inbox()
    with transaction(one_letter.sessions) as session:
        session.execute(text("UPDATE delivery SET created_at = created_at - interval '11 minutes'"))
    with kind_server(inbox) as port:
        hand_over(replace(one_letter.context(port), objects=away), message)
    (mail,) = parsed(inbox)
    page = mail.get_body(("html",))
    assert page is not None
    assert "照片没有随信附上" in page.get_content()


def test_a_store_that_hangs_holds_the_mail_back_only_twice(one_letter: Sending) -> None:
    message, inbox = one_letter.message(), Inbox()
    with transaction(one_letter.sessions) as session:
        session.execute(text("UPDATE delivery SET attempts = 2, last_error = 'preparation_slow'"))
    with kind_server(inbox) as port:
        hand_over(one_letter.context(port), message)
    (mail,) = parsed(inbox)
    assert [part for part in mail.walk() if part.get_content_maintype() == "image"] == []


def test_no_address_is_written_into_the_log(one_letter: Sending, caplog: pytest.LogCaptureFixture) -> None:
    """Not even when the recipient's server repeats it in its refusal."""
    with kind_server(Inbox({"RCPT": "450 <huanbao@wuhan.example> is over quota"})) as port, pytest.raises(Unavailable):
        one_letter.run(port)
    with kind_server(Inbox({"RCPT": "550 no huanbao@wuhan.example here"})) as port:
        one_letter.run(port)
    written = " ".join(str(record.msg) for record in caplog.records)
    assert "delivery.postponed" in written
    assert "delivery.failed" in written
    assert "huanbao" not in written
    with transaction(one_letter.sessions) as session:
        kept = session.execute(text("SELECT string_agg(a::text, ' ') FROM audit_entry a")).scalar_one()
    assert "huanbao" not in kept


def test_two_moderators_at_once_make_one_case(one_letter: Sending) -> None:
    """The second waits for the first's transaction and then finds its case."""
    now = JobContext(one_letter.settings, one_letter.sessions, ObjectStore(one_letter.settings.objects_url)).now()
    with transaction(one_letter.sessions) as session:
        incident_id = add_incident(session, now=now)

    def escalate_too() -> None:
        with transaction(one_letter.sessions) as session:
            escalate(session)

    def escalate(session: Session) -> None:
        service.escalate(session, incident_id, settings=one_letter.settings, actor=Actor.system("tests"), now=now)

    with transaction(one_letter.sessions) as session:
        escalate(session)
        second = threading.Thread(target=escalate_too)
        second.start()
        _wait_until_somebody_waits(one_letter.settings)
    second.join()
    with transaction(one_letter.sessions) as session:
        assert session.query(Case).filter_by(incident_id=incident_id).count() == 1


def _activity(settings: Settings, condition: str) -> int:
    """How many other connections to this database meet a condition; only the owner is shown what they do."""
    engine = make_engine(settings.database_url, role=None)
    try:
        with engine.connect() as connection:
            counted = connection.execute(
                text(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    f" AND pid <> pg_backend_pid() AND {condition}"
                )
            )
            return int(counted.scalar_one())
    finally:
        engine.dispose()


def _wait_until_somebody_waits(settings: Settings) -> None:
    deadline = time.monotonic() + 30
    while not _activity(settings, "wait_event_type = 'Lock'"):
        assert time.monotonic() < deadline, "nobody waits for a lock"


def test_no_transaction_is_open_while_the_server_takes_its_time(one_letter: Sending) -> None:
    open_transactions: list[int] = []

    def look(peer: Peer) -> None:
        peer.take_mail()
        open_transactions.append(_activity(one_letter.settings, "xact_start IS NOT NULL"))
        peer.say("250 OK")

    with rude_server(look) as port:
        one_letter.run(port)
    assert open_transactions == [0]
