"""The postbox on a real mail server: each message once, its words gone with it, and what servers may answer."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email import message_from_bytes, policy

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.messaging.servers import HOST, Inbox, closed_port, kind_server
from waterwatch.kernel import outbox
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.attempts import Failure
from waterwatch.postbox import rules, service
from waterwatch.postbox.service import About, Mail

MAIL = Mail(
    "wang@example.org",
    "你关注的一条上报有新进展",
    "已转交主管部门。",
    "<p>已转交主管部门。</p>",
    "zh-Hans",
    "https://waters.example.org/api/v1/unsubscribe/abc",
)


@dataclass
class Office:
    """A system whose mail goes to one port of loopback."""

    settings: Settings
    sessions: sessionmaker[Session]

    def post(self, *, once_key: str | None = None, mail: Mail = MAIL, now: datetime | None = None) -> bool:
        with transaction(self.sessions) as session:
            about = About("notice.handed_over", new_id(), new_id(), once_key)
            return service.post_mail(session, about, mail, settings=self.settings, now=now or utc_now())

    def send(self, port: int) -> None:
        """What a worker does with the next ring."""
        settings = self.settings.model_copy(update={"smtp_url": f"smtp://{HOST}:{port}"})
        with transaction(self.sessions) as session:
            session.execute(text("UPDATE outbox SET available_at = now() - interval '1 s', leased_until = NULL"))
            (ring,) = outbox.lease(session, window=8, lease_s=30, topics=[service.TOPIC_SEND])
            message = outbox.begin(session, ring.id, ring.lease_no, lease_s=30)
        assert message is not None
        service.send(JobContext(settings, self.sessions, ObjectStore(settings.objects_url)), message)

    def outcome(self) -> tuple[str, int, str | None, bool]:
        """State, attempts, last error, and whether its words are still there."""
        with transaction(self.sessions) as session:
            row = session.execute(text("SELECT state, attempts, last_error, sealed FROM posting")).one()
            return row.state, row.attempts, row.last_error, row.sealed is not None


@pytest.fixture
def office(settings: Settings, sessions: sessionmaker[Session]) -> Office:
    return Office(settings.model_copy(update={"mail_from": "waters@example.org"}), sessions)


def test_a_mail_is_handed_over_with_its_way_out_and_leaves_nothing_behind(office: Office) -> None:
    inbox = Inbox()
    office.post()
    with kind_server(inbox) as port:
        office.send(port)
    (envelope,) = inbox.received
    letter = message_from_bytes(envelope.content, policy=policy.default)  # type: ignore[arg-type]
    assert (letter["To"], letter["Subject"]) == ("wang@example.org", "你关注的一条上报有新进展")
    assert letter["List-Unsubscribe"] == "<https://waters.example.org/api/v1/unsubscribe/abc>"
    assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert office.outcome() == ("sent", 1, None, False)


def test_the_same_thing_is_taken_once(office: Office) -> None:
    assert [office.post(once_key="a"), office.post(once_key="a"), office.post(once_key="b")] == [True, False, True]


def test_a_server_that_is_away_is_tried_again_with_the_same_message_id(office: Office) -> None:
    inbox = Inbox()
    office.post()
    with pytest.raises(Unavailable) as put_off:
        office.send(closed_port())
    assert put_off.value.facts["retry_after_s"] == rules.TRANSPORT_PAUSES_S[0]
    assert office.outcome() == ("pending", 1, "nobody_listens", True)
    with kind_server(inbox) as port:
        office.send(port)
    assert office.outcome() == ("sent", 2, None, False)
    assert b"<posting." in inbox.received[0].content  # type: ignore[operator]


def test_greylisting_is_waited_for(office: Office) -> None:
    office.post()
    with kind_server(Inbox({"RCPT": "451 later"})) as port, pytest.raises(Unavailable) as put_off:
        office.send(port)
    assert put_off.value.facts["retry_after_s"] == 60
    assert office.outcome() == ("pending", 1, "recipient_refused_451", True)


def test_an_address_that_does_not_exist_is_given_up_and_its_owner_told(office: Office) -> None:
    office.post()
    with kind_server(Inbox({"RCPT": "550 no such user"})) as port:
        office.send(port)
    assert office.outcome() == ("refused", 1, "recipient_refused_550", False)
    with transaction(office.sessions) as session:
        open_topics = session.execute(text("SELECT topic FROM outbox WHERE done_at IS NULL")).scalars().all()
    assert open_topics == [service.TOPIC_UNDELIVERABLE]


def test_what_was_dropped_is_not_sent(office: Office) -> None:
    inbox = Inbox()
    office.post()
    with transaction(office.sessions) as session:
        (recipient,) = session.execute(text("SELECT recipient_id FROM posting")).scalars()
        assert service.drop(session, recipient_id=recipient, now=utc_now()) == 1
    with kind_server(inbox) as port:
        office.send(port)
    assert inbox.received == []
    assert office.outcome() == ("dropped", 0, None, False)


def test_two_workers_do_not_send_at_once(office: Office, now: datetime) -> None:
    office.post(now=now)
    with transaction(office.sessions) as session:
        (posting_id,) = session.execute(text("SELECT id FROM posting")).scalars()
        assert service.claim(session, posting_id, settings=office.settings, now=now) is not None
    with transaction(office.sessions) as session, pytest.raises(Unavailable, match="posting_claimed"):
        service.claim(session, posting_id, settings=office.settings, now=now + timedelta(seconds=1))
    later = now + timedelta(seconds=rules.claim_lasts_s(office.settings) + 1)
    with transaction(office.sessions) as session:
        held = service.claim(session, posting_id, settings=office.settings, now=later)
    assert held is not None
    assert (held.attempt, Mail(**held.content)) == (2, MAIL)


def test_after_three_days_it_is_given_up(office: Office, now: datetime) -> None:
    office.post(now=now - timedelta(seconds=office.settings.delivery_give_up_s))
    with transaction(office.sessions) as session:
        (posting_id,) = session.execute(text("SELECT id FROM posting")).scalars()
        held = service.claim(session, posting_id, settings=office.settings, now=now)
        assert held is not None
        failure = Failure("timeout")
        assert service.record_failure(session, held, failure, settings=office.settings, now=now) is None
    assert office.outcome() == ("dead", 1, "timeout", False)


def test_nobody_is_written_to_more_than_three_times_a_day_unasked(office: Office, now: datetime) -> None:
    def is_pestered(address: str, at: datetime) -> bool:
        with transaction(office.sessions) as session:
            return service.is_pestered(session, address, "notice.handed_over", settings=office.settings, now=at)

    for number in range(rules.UNASKED_PER_DAY):
        assert not is_pestered(MAIL.address, now)
        office.post(once_key=str(number), now=now)
    assert is_pestered("Wang@example.org ", now)
    assert not is_pestered("li@example.org", now)
    assert not is_pestered(MAIL.address, now + timedelta(days=1, seconds=1))
    with transaction(office.sessions) as session:
        assert service.forget_digests(session, now=now + timedelta(days=1, seconds=1)) == 3
        assert session.execute(text("SELECT count(*) FROM posting WHERE recipient_digest IS NOT NULL")).scalar() == 0


def test_words_and_address_stand_nowhere_in_the_clear(office: Office) -> None:
    office.post(mail=replace(MAIL, text="CANARY"))
    with transaction(office.sessions) as session:
        written = str(session.execute(text("SELECT string_agg(p::text, ' ') FROM posting p")).scalar_one())
        written += str(session.execute(text("SELECT string_agg(o::text, ' ') FROM outbox o")).scalar_one())
    for secret in ("wang", "CANARY", b"CANARY".hex(), b"wang@example.org".hex()):
        assert secret not in written
