"""Push messages through the postbox: sent once, put off when the service asks, and given up with the browser."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.messaging.https import https_server
from tests.messaging.test_webpush import PAYLOAD, Browser, pusher
from tests.moderation.rows import add_waiting
from waterwatch.contacts import queries as contacts
from waterwatch.contacts import service as contacts_service
from waterwatch.kernel import outbox
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.webpush import Pusher
from waterwatch.notices import service as notices
from waterwatch.postbox import service
from workers import handlers


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"mail_from": "waters@example.org"})


def follow(sessions: sessionmaker[Session], settings: Settings, browser: Browser, endpoint: str) -> None:
    """A report a browser follows, and one step of it that is to be told."""
    with transaction(sessions) as session:
        report_id = add_waiting(session, None, now=utc_now())
        subscription = browser.subscription(endpoint, settings)
        for _twice in range(2):
            contacts_service.subscribe(session, report_id, subscription, settings=settings, now=utc_now())
        told = [notices.tell(session, report_id, "graded", settings=settings, now=utc_now()) for _twice in range(2)]
    assert told == [1, 0]


def work(sessions: sessionmaker[Session], settings: Settings, topic: str, client: Pusher | None = None) -> None:
    """What a worker does with the next ring of a topic."""
    context = JobContext(settings, sessions, ObjectStore(settings.objects_url))
    with transaction(sessions) as session:
        (ring,) = outbox.lease(session, window=8, lease_s=30, topics=[topic])
        message = outbox.begin(session, ring.id, ring.lease_no, lease_s=30)
    assert message is not None
    if topic == service.TOPIC_SEND:
        service.send(context, message, pusher=client)
    else:
        handlers.give_up_address(context, message)


def outcome(sessions: sessionmaker[Session]) -> tuple[str, str | None, bool, int]:
    """State, last error, whether its words are still there, and how many browsers follow."""
    with transaction(sessions) as session:
        row = session.execute(text("SELECT state, last_error, sealed IS NOT NULL, subject_id FROM posting")).one()
        return row[0], row[1], row[2], contacts.count_subscriptions(session, row[3])


def test_a_step_reaches_the_browser(sessions: sessionmaker[Session], settings: Settings, tmp_path: Path) -> None:
    browser = Browser()
    with https_server(tmp_path, browser.service("201 Created")) as server:
        follow(sessions, settings, browser, f"https://{server.host}/send")
        work(sessions, settings, service.TOPIC_SEND, pusher(server))
        (request,) = server.heard
    assert "你关注的一条上报有新进展".encode("unicode_escape") in browser.read(request)[1]
    assert outcome(sessions) == ("sent", None, False, 1)


def test_a_busy_service_is_waited_for(sessions: sessionmaker[Session], settings: Settings, tmp_path: Path) -> None:
    browser = Browser()
    with https_server(tmp_path, browser.service("429 Too Many")) as server:
        follow(sessions, settings, browser, f"https://{server.host}/send")
        with pytest.raises(Unavailable) as put_off:
            work(sessions, settings, service.TOPIC_SEND, pusher(server))
    assert put_off.value.facts["retry_after_s"] == 60
    assert outcome(sessions) == ("pending", "push_refused_429", True, 1)


def test_a_browser_that_is_gone_is_forgotten(
    sessions: sessionmaker[Session], settings: Settings, tmp_path: Path
) -> None:
    browser = Browser()
    with https_server(tmp_path, browser.service("410 Gone")) as server:
        follow(sessions, settings, browser, f"https://{server.host}/send")
        work(sessions, settings, service.TOPIC_SEND, pusher(server))
    assert outcome(sessions) == ("refused", "subscription_gone", False, 1)
    work(sessions, settings, service.TOPIC_UNDELIVERABLE)
    assert outcome(sessions) == ("refused", "subscription_gone", False, 0)


def test_the_address_of_a_browser_stands_nowhere_in_the_clear(
    sessions: sessionmaker[Session], settings: Settings
) -> None:
    follow(sessions, settings, Browser(), "https://fcm.googleapis.com/fcm/send/CANARY")
    with transaction(sessions) as session:
        written = "".join(
            str(session.execute(text(f"SELECT string_agg(t::text, ' ') FROM {name} t")).scalar())
            for name in ("posting", "push_subscription", "outbox", "audit_entry")
        )
    for secret in ("CANARY", b"CANARY".hex(), PAYLOAD.decode()):
        assert secret not in written
