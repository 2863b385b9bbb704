"""What a city's server says of our requests is asked for, kept, and told on once."""

import hashlib
import json
import re
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.ways import Told, add_way, delivery_of, tell
from tests.messaging.city import API_KEY, City
from tests.messaging.peers import HttpPeer, Request, Script, drops, hangs, http_peer, says
from waterwatch.escalation import polling
from waterwatch.escalation.channels import Awaiting, Handed
from waterwatch.kernel import outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.outbox import Message
from waterwatch.kernel.settings import Settings

NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Clock(JobContext):
    """A job's context at a time of our choice."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


@dataclass
class Town:
    """A city's server, and a round of questions to it."""

    city: City
    peer: HttpPeer
    sessions: sessionmaker[Session]
    settings: Settings
    contact_id: uuid.UUID

    def tell(self, *, token: bool = False) -> Told:
        """Hand one case over, as the channel would."""
        number = len(self.city.requests)
        request_id, handle = (None, f"t-{number}") if token else (f"C-{number}", f"t-{number}")
        self.city.requests.append({"service_request_id": request_id, "token": handle, "status": "open", "notes": ""})
        self.city.tokens[handle] = request_id
        outcome = Awaiting("remote_id", handle) if request_id is None else Handed(request_id)
        return tell(self.sessions, self.contact_id, outcome, settings=self.settings, now=NOW)

    def ask(self, *, after: timedelta = timedelta()) -> int:
        """Order what is due and do it; how many rounds that were."""
        context = Clock(self.settings, self.sessions, ObjectStore(self.settings.objects_url), NOW + after)
        with transaction(self.sessions) as session:
            ordered = polling.order(session, now=context.now())
            assert polling.order(session, now=context.now()) == 0  # one round a server at a time
            rows = session.execute(
                text("SELECT id, payload FROM outbox WHERE topic = 'escalation.poll' AND done_at IS NULL")
            )
            messages = [Message(row.id, 1, polling.TOPIC_POLL, row.payload, 1, timedelta(), None, None) for row in rows]
        for message in messages:
            polling.poll(context, message, client=self.peer.client(timeout_s=1.0))
        return ordered

    def news(self) -> list[dict[str, Any]]:
        """What was told on."""
        with transaction(self.sessions) as session:
            rows = session.execute(
                text("SELECT payload FROM outbox WHERE topic = 'escalation.remote_status' ORDER BY id")
            )
            return list(rows.scalars())


@pytest.fixture
def town(sessions: sessionmaker[Session], make_settings: Any, database_url: str) -> Iterator[Town]:
    city = City()
    with http_peer(city) as peer:
        settings = make_settings(database_url=database_url, webhook_allow=f"127.0.0.1:{peer.port}", channel_timeout_s=1)
        services = {"services": {"other": "water"}, "jurisdiction_id": "city.example"}
        with transaction(sessions) as session:
            contact_id = add_way(
                session, "open311", f"{peer.url}/v2", services, secret=API_KEY.encode(), settings=settings
            )
        yield Town(city, peer, sessions, settings, contact_id)


def test_a_token_becomes_an_id_and_the_case_is_delivered(town: Town) -> None:
    told = town.tell(token=True)
    assert town.ask() == 1
    assert delivery_of(town.sessions, told).state == "awaiting"
    assert town.ask(after=timedelta(minutes=4)) == 0
    town.city.number("t-0")
    assert town.ask(after=timedelta(minutes=6)) == 1
    row = delivery_of(town.sessions, told)
    assert (row.state, row.case_state, row.remote_id) == ("sent", "delivered", "C-1")


def test_news_is_told_on_once_and_no_news_never(town: Town) -> None:
    told = town.tell()
    assert town.ask() == 1
    assert town.news() == []
    town.city.requests[0]["notes"] = "已派人查看。"
    town.ask(after=timedelta(minutes=31))
    town.ask(after=timedelta(minutes=62))
    town.city.requests[0] |= {"status": "closed", "notes": "已清理。"}
    town.ask(after=timedelta(minutes=93))
    assert town.news() == [
        {"delivery_id": str(told.delivery_id), "status": "open", "note": "已派人查看。"},
        {"delivery_id": str(told.delivery_id), "status": "closed", "note": "已清理。"},
    ]
    row = delivery_of(town.sessions, told)
    assert (row.remote_status, bytes(row.remote_digest)) == ("closed", hashlib.sha256("已清理。".encode()).digest())
    assert town.ask(after=timedelta(days=2)) == 0  # nothing more is asked of what is closed


def test_another_server_is_not_asked_for_requests_it_was_never_sent(town: Town) -> None:
    told = town.tell()
    town.city.requests[0] |= {"status": "closed", "notes": "另一座城市的第一号"}
    with transaction(town.sessions) as session:
        values = {"address": f"{town.peer.url}/other", "id": told.contact_id}
        session.execute(text("UPDATE delivery SET address = 'https://former.example/v2'"))
        session.execute(text("UPDATE agency_contact SET address = :address WHERE id = :id"), values)
    assert town.ask() == 0
    assert town.news() == []


def test_a_citys_words_are_bounded_and_stand_in_no_audit_entry(town: Town) -> None:
    town.tell()
    town.city.requests[0] |= {"status": "closed", "notes": "长" * 5000}
    town.ask()
    (news,) = town.news()
    assert len(news["note"]) == 1000
    assert len(json.dumps(news, ensure_ascii=False).encode()) < 4096
    with transaction(town.sessions) as session:
        entries = session.execute(text("SELECT to_jsonb(a)::text FROM audit_entry a")).scalars().all()
    assert any("delivery.remote_status" in entry for entry in entries)
    assert not any("长长" in entry for entry in entries)


def test_what_ended_is_not_asked_about(town: Town) -> None:
    told = town.tell()
    with transaction(town.sessions) as session:
        session.execute(text("UPDATE escalation_case SET state = 'withdrawn' WHERE id = :id"), {"id": told.case_id})
    assert town.ask() == 0
    with transaction(town.sessions) as session:
        session.execute(text("UPDATE escalation_case SET state = 'delivered' WHERE id = :id"), {"id": told.case_id})
        session.execute(text("UPDATE delivery SET created_at = now() - interval '181 days'"))
    assert town.ask() == 0
    assert town.peer.heard == []


def test_a_request_the_city_lost_keeps_nobody_from_being_asked_about(town: Town) -> None:
    town.tell()
    other = town.tell()
    town.city.requests[0]["service_request_id"] = "C-lost"
    town.city.requests[1] |= {"status": "closed", "notes": "好"}
    town.ask()
    assert [one["delivery_id"] for one in town.news()] == [str(other.delivery_id)]


def test_a_server_that_hangs_costs_one_requests_time_and_is_asked_again_later(
    sessions: sessionmaker[Session], make_settings: Any, database_url: str
) -> None:
    with http_peer(hangs) as peer:
        settings = make_settings(database_url=database_url, webhook_allow=f"127.0.0.1:{peer.port}", channel_timeout_s=1)
        with transaction(sessions) as session:
            contact_id = add_way(session, "open311", f"{peer.url}/v2", {"services": {"other": "w"}}, settings=settings)
        town = Town(City(), peer, sessions, settings, contact_id)
        for _ in range(3):
            town.tell()
        assert town.ask() == 1
        assert len(peer.heard) == 1
        assert town.ask(after=timedelta(minutes=29)) == 0
        assert town.ask(after=timedelta(minutes=31)) == 1


@pytest.fixture
def odd(sessions: sessionmaker[Session], make_settings: Any, database_url: str) -> Iterator[Callable[..., Town]]:
    """A town with requests that are closed, of which the one that is asked first is answered by another script."""
    with ExitStack() as peers:

        def make(script: Script, *, requests: int = 3, first: int = 0) -> Town:
            city, handles = City(), list[str]()

            def answer(request: Request, line: socket.socket, is_over: threading.Event) -> None:
                is_odd = f"/{handles[first]}." in request.path
                (script if is_odd else city)(request, line, is_over)

            peer = peers.enter_context(http_peer(answer))
            allow = f"127.0.0.1:{peer.port}"
            settings = make_settings(database_url=database_url, webhook_allow=allow, channel_timeout_s=1)
            with transaction(sessions) as session:
                services = {"services": {"other": "w"}}
                contact_id = add_way(session, "open311", f"{peer.url}/v2", services, settings=settings)
            town = Town(city, peer, sessions, settings, contact_id)
            told = [(town.tell().delivery_id, f"C-{number}") for number in range(requests)]
            handles.extend(handle for _, handle in sorted(told))
            for one in city.requests:
                one |= {"status": "closed", "notes": "好"}
            return town

        yield make


def asked_in(town: Town) -> list[str]:
    """The requests the server was asked about, in order."""
    return [re.findall(r"(C-[0-9]+)", one.path)[0] for one in town.peer.heard]


@pytest.mark.parametrize("script", [says("<html>oops</html>"), says(b"", status="500 x"), drops, says(b"x" * 200_000)])
def test_an_odd_answer_to_one_request_keeps_nobody_else_from_being_asked_about(
    odd: Callable[..., Town], script: Script
) -> None:
    town = odd(script)
    assert town.ask() == 1
    assert sorted(asked_in(town)) == ["C-0", "C-1", "C-2"]
    assert len(town.news()) == 2


@pytest.mark.parametrize("status", ["429 x", "503 x"])
def test_a_server_that_asks_for_a_pause_is_left_alone_for_all_requests(odd: Callable[..., Town], status: str) -> None:
    town = odd(says(b"", status=status))
    assert town.ask() == 1
    assert len(town.peer.heard) == 1
    assert town.ask(after=timedelta(minutes=29)) == 0


def test_a_request_that_is_never_answered_comes_after_the_others_the_next_time(odd: Callable[..., Town]) -> None:
    town = odd(hangs)
    assert town.ask() == 1
    assert (len(town.peer.heard), town.news()) == (1, [])
    assert town.ask(after=timedelta(minutes=31)) == 1
    never = asked_in(town)[0]
    assert (asked_in(town)[3], sorted(asked_in(town)[:3])) == (never, ["C-0", "C-1", "C-2"])
    assert len(town.news()) == 2


def test_what_there_was_no_time_for_is_asked_at_once(odd: Callable[..., Town]) -> None:
    town = odd(hangs, first=1)
    assert town.ask() == 1
    assert (len(town.peer.heard), len(town.news())) == (2, 1)
    assert town.ask(after=timedelta(minutes=1)) == 1
    assert (len(town.peer.heard), len(town.news())) == (3, 2)
    assert town.ask(after=timedelta(minutes=2)) == 0


def test_garbage_is_no_news(sessions: sessionmaker[Session], make_settings: Any, database_url: str) -> None:
    with http_peer(says("<html>oops</html>")) as peer:
        settings = make_settings(database_url=database_url, webhook_allow=f"127.0.0.1:{peer.port}")
        with transaction(sessions) as session:
            contact_id = add_way(session, "open311", f"{peer.url}/v2", {"services": {"other": "w"}}, settings=settings)
        town = Town(City(), peer, sessions, settings, contact_id)
        town.tell()
        assert town.ask() == 1
        assert town.news() == []
    assert outbox.BACKGROUND == 9
