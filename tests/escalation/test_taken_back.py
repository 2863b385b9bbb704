"""What agencies are told, and what not, of cases that were closed, refused or withdrawn."""

import uuid
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.engine import Engine
from tests.escalation.test_engine import TESTS, agency, forward, kind, mails, now, prefer
from tests.escalation.ways import add_way, tell
from tests.messaging.servers import Fickle, rude_server
from waterwatch.agencies.tables import AgencyContact
from waterwatch.casework import service as casework
from waterwatch.casework.service import Answer
from waterwatch.escalation import claims, deliveries, service
from waterwatch.escalation.channels import Awaiting
from waterwatch.escalation.channels.known import CHANNELS
from waterwatch.escalation.feeding import feed_url
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings


def make_red(engine: Engine, incident_id: uuid.UUID, *, wait: timedelta = timedelta(0)) -> None:
    with transaction(engine.sessions) as session:
        session.execute(
            text("UPDATE incident SET severity = 4, graded_severity = 4 WHERE id = :id"), {"id": incident_id}
        )
        at = now()
        service.escalate(session, incident_id, settings=engine.settings, actor=TESTS, now=at, tell_at=at + wait)


def withdraw(engine: Engine, incident_id: uuid.UUID, *, wait: timedelta = timedelta(0)) -> list[uuid.UUID]:
    with transaction(engine.sessions) as session:
        at = now()
        found = service.withdraw_cases(
            session, incident_id, settings=engine.settings, actor=TESTS, now=at, tell_at=at + wait
        )
        return [case.id for case in found]


def answer(engine: Engine, agency_id: uuid.UUID, *, is_ours: bool) -> None:
    (case,) = engine.cases()
    values = {"settings": engine.settings, "actor": Actor.agency_link(agency_id), "now": now()}
    with transaction(engine.sessions) as session:
        if is_ours:
            casework.report_done(session, case.id, Answer("做完了"), **values)
        else:
            casework.refuse_not_ours(session, case.id, Answer("不归我们"), **values)


def letters_of(engine: Engine) -> list[tuple[str, str]]:
    return [(one.says, one.state) for one in engine.deliveries()]


def attached(mail: EmailMessage) -> list[str]:
    return [str(part.get_filename()).rpartition("-")[2].partition(".")[2] for part in mail.iter_attachments()]


def test_an_agency_that_closed_its_case_is_told_of_the_withdrawal_and_of_nothing_that_was_taken_back(
    engine_of: Engine,
) -> None:
    agency_id = agency(engine_of, "a@x.example")
    incident_id = forward(engine_of)
    server = Fickle(kind)
    with rude_server(server) as port:
        engine = engine_of.at(port)
        engine.run()
        answer(engine, agency_id, is_ours=True)
        make_red(engine, incident_id, wait=timedelta(minutes=5))
        assert withdraw(engine, incident_id) == []
        withdraw(engine, incident_id)  # twice is once
        engine.pass_time(1)
        engine.run()
    assert letters_of(engine_of) == [("case", "sent"), ("case", "cancelled"), ("withdrawn", "sent")]
    assert [case.state for case in engine_of.cases()] == ["closed"]
    assert "上调" not in "".join(str(mail["Subject"]) for mail in mails(server))


def test_a_letter_whose_sender_was_killed_does_not_follow_the_withdrawal_of_a_closed_case(engine_of: Engine) -> None:
    agency_id = agency(engine_of, "a@x.example")
    incident_id = forward(engine_of)
    server = Fickle(kind)
    with rude_server(server) as port:
        engine = engine_of.at(port)
        engine.run()
        answer(engine, agency_id, is_ours=True)
        make_red(engine, incident_id)
        raised = engine.deliveries()[-1].id
        with transaction(engine.sessions) as session:
            claims.claim(session, [raised], settings=engine.settings, channels=CHANNELS, now=now())
        with transaction(engine.sessions) as session:
            session.execute(text("UPDATE incident SET state = 'retracted', closed_at = now()"))
        withdraw(engine, incident_id)
        engine.pass_time(1)
        engine.run()
    assert letters_of(engine_of) == [("case", "sent"), ("case", "cancelled"), ("withdrawn", "sent")]


def test_a_withdrawal_that_was_undone_in_time_is_not_told_to_an_agency_that_closed_its_case(engine_of: Engine) -> None:
    agency_id = agency(engine_of, "a@x.example")
    incident_id = forward(engine_of)
    with rude_server(Fickle(kind)) as port:
        engine = engine_of.at(port)
        engine.run()
        answer(engine, agency_id, is_ours=True)
        withdraw(engine, incident_id, wait=timedelta(minutes=5))
        with transaction(engine.sessions) as session:
            service.escalate(session, incident_id, settings=engine.settings, actor=TESTS, now=now())
    assert letters_of(engine_of) == [("case", "sent"), ("withdrawn", "cancelled")]
    assert [case.state for case in engine_of.cases()] == ["closed"]


def test_a_withdrawal_after_one_that_was_undone_is_told(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    incident_id = forward(engine_of)
    with rude_server(Fickle(kind)) as port:
        engine = engine_of.at(port)
        engine.run()
        withdraw(engine, incident_id, wait=timedelta(minutes=5))
        with transaction(engine.sessions) as session:
            service.escalate(session, incident_id, settings=engine.settings, actor=TESTS, now=now())
        withdraw(engine, incident_id)
        engine.run()
    assert letters_of(engine_of) == [("case", "sent"), ("withdrawn", "cancelled"), ("withdrawn", "sent")]


def test_an_agency_that_refused_a_case_is_not_told_that_it_became_graver(engine_of: Engine) -> None:
    agency_id = agency(engine_of, "a@x.example")
    incident_id = forward(engine_of)
    with rude_server(Fickle(kind)) as port:
        engine = engine_of.at(port)
        engine.run()
        answer(engine, agency_id, is_ours=False)
        make_red(engine, incident_id)
    assert letters_of(engine_of) == [("case", "sent")]
    refused = engine_of.cases()[0]
    assert (refused.state, refused.severity) == ("refused_not_ours", 4)


def test_a_withdrawal_of_what_never_arrived_attaches_nothing(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    incident_id = forward(engine_of)
    server = Fickle(lambda _recipient, nth: "450" if nth == 1 else "kind")
    with rude_server(server) as port:
        engine = engine_of.at(port)
        engine.run()
        withdraw(engine, incident_id)
        engine.pass_time(2)
        engine.run()
    withdrawal = mails(server)[-1]
    assert "撤回" in str(withdrawal["Subject"])
    assert attached(withdrawal) == []


def test_a_withdrawal_of_what_arrived_cancels_its_alert_and_names_no_place(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    incident_id = forward(engine_of)
    server = Fickle(kind)
    with rude_server(server) as port:
        engine = engine_of.at(port)
        engine.run()
        withdraw(engine, incident_id)
        engine.run()
    first, withdrawal = mails(server)
    assert (attached(first), attached(withdrawal)) == (["cap.xml", "geojson"], ["cap.xml"])
    (cap,) = withdrawal.iter_attachments()
    written = bytes(cap.get_payload(decode=True)).decode()  # type: ignore[arg-type]
    assert "<msgType>Cancel</msgType>" in written
    assert "30.59" not in written


def test_a_feed_tells_no_withdrawal_of_what_was_never_in_it(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings
) -> None:
    at = datetime.now(UTC)
    with transaction(sessions) as session:
        contact_id = add_way(session, "cap_feed", "feed", settings=settings)
    told = tell(sessions, contact_id, Awaiting("fetch"), settings=settings, now=at)
    with transaction(sessions) as session:
        session.execute(text("UPDATE delivery SET state = 'dead', awaits = NULL"))
    with transaction(sessions) as session:
        service.withdraw_cases(session, told.incident_id, settings=settings, actor=TESTS, now=at)
    with transaction(sessions) as session:
        contact = session.get(AgencyContact, contact_id)
        assert contact is not None
        feed = feed_url(settings, contact).removeprefix(settings.public_url)
        row = text("UPDATE delivery SET state = 'awaiting', awaits = 'fetch' WHERE says = 'withdrawn' RETURNING id")
        withdrawal_id = session.execute(row).scalar_one()
    assert "<entry>" not in client.get(feed).text
    assert client.get(f"{feed.removesuffix('.xml')}/{withdrawal_id}.xml").status_code == 410


def test_a_digest_whose_sender_was_killed_lists_no_case_that_was_withdrawn_meanwhile(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    prefer(engine_of, digest_upto=2)
    incidents = [forward(engine_of) for _ in range(3)]
    engine_of.pass_time(24 * 5)
    first = engine_of.deliveries()[0].id
    with transaction(engine_of.sessions) as session:
        claims.claim(session, [first], settings=engine_of.settings, channels=CHANNELS, now=now())
    assert {one.state for one in engine_of.deliveries()} == {"sending"}
    withdraw(engine_of, incidents[2])
    engine_of.pass_time(0.5)
    server = Fickle(kind)
    with rude_server(server) as port:
        engine_of.at(port).run()
    assert letters_of(engine_of)[:3] == [("case", "sent"), ("case", "sent"), ("case", "cancelled")]
    digest = next(mail for mail in mails(server) if "转请处理" in str(mail["Subject"]))
    assert str(digest["Subject"]) == "【公众观察】2 起事件转请处理"


@pytest.mark.parametrize(("channel", "address"), [("post", "武汉市江岸区一号"), ("cap_feed", "feed")])
def test_what_nobody_posted_or_fetched_before_it_was_taken_back_is_neither_awaited_nor_withdrawn(
    sessions: sessionmaker[Session], settings: Settings, channel: str, address: str
) -> None:
    at = datetime.now(UTC)
    with transaction(sessions) as session:
        contact_id = add_way(session, channel, address, settings=settings)
    told = tell(sessions, contact_id, Awaiting("fetch"), settings=settings, now=at)
    for _ in range(2):  # twice is once
        with transaction(sessions) as session:
            service.withdraw_cases(session, told.incident_id, settings=settings, actor=TESTS, now=at)
    assert fail_all(sessions, settings) == [False]
    with transaction(sessions) as session:
        assert session.execute(text("SELECT says, state, awaits FROM delivery")).all() == [("case", "cancelled", None)]
        assert session.execute(text("SELECT count(*) FROM case_alarm")).scalar_one() == 0
        service.escalate(session, told.incident_id, settings=settings, actor=TESTS, now=at)
    with transaction(sessions) as session:
        assert session.execute(text("SELECT state FROM delivery ORDER BY id")).scalars().all() == [
            "cancelled",
            "pending",
        ]


def test_nobody_is_called_because_a_case_that_was_taken_back_got_no_number(
    sessions: sessionmaker[Session], settings: Settings
) -> None:
    at = datetime.now(UTC)
    with transaction(sessions) as session:
        facts = {"service_code": "1"}
        contact_id = add_way(session, "open311", "https://x.example/open311", facts, settings=settings)
    told = tell(sessions, contact_id, Awaiting("token"), settings=settings, now=at)
    with transaction(sessions) as session:
        service.withdraw_cases(session, told.incident_id, settings=settings, actor=TESTS, now=at)
    assert fail_all(sessions, settings) == [True]
    with transaction(sessions) as session:
        assert session.execute(text("SELECT count(*) FROM case_alarm")).scalar_one() == 0


def fail_all(sessions: sessionmaker[Session], settings: Settings) -> list[bool]:
    """Nobody has done what the first letters await."""
    with transaction(sessions) as session:
        ids = session.execute(text("SELECT id FROM delivery WHERE says = 'case' ORDER BY id")).scalars().all()
        return [deliveries.fail_awaiting(session, one, "awaited_in_vain", settings=settings, now=now()) for one in ids]
