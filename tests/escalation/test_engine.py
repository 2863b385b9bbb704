"""Ways in their order, digests, what is awaited, what comes back, breakers, rehearsals, alarms."""

import uuid
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

from cap_tools.models import Alert
from sqlalchemy import text
from xsdata.formats.dataclass.parsers import XmlParser

from tests.escalation.engine import Engine
from tests.escalation.rows import add_agency, add_incident, insert
from tests.messaging.servers import Fickle, rude_server
from waterwatch.escalation import alarms, deliveries, letters, reading, returns, service
from waterwatch.escalation.channels import Awaiting
from waterwatch.escalation.tables import Case
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.signing import open_delivery_token

TESTS = Actor.system("tests")


def now() -> datetime:
    return datetime.now(UTC)


def forward(engine: Engine, *, severity: int = 2) -> uuid.UUID:
    with transaction(engine.sessions) as session:
        incident_id = add_incident(session, now=now(), severity=severity)
        service.escalate(session, incident_id, settings=engine.settings, actor=TESTS, now=now())
        return incident_id


def prefer(engine: Engine, **values: object) -> None:
    with transaction(engine.sessions) as session:
        session.execute(text(f"UPDATE agency SET {', '.join(f'{name} = :{name}' for name in values)}"), values)


def agency(engine: Engine, *addresses: str) -> uuid.UUID:
    with transaction(engine.sessions) as session:
        return add_agency(session, "武汉市生态环境局", addresses)


def mails(server: Fickle) -> list[EmailMessage]:
    found = [message_from_bytes(copy.content, policy=default) for copy in server.copies]
    return [mail for mail in found if isinstance(mail, EmailMessage)]


def kind(_recipient: str, _nth: int) -> str:
    return "kind"


# One conversation.


def test_many_letters_go_over_one_conversation(engine_of: Engine) -> None:
    for number in range(4):
        agency(engine_of, f"a{number}@x.example", f"b{number}@x.example")
    forward(engine_of)
    server = Fickle(kind)
    with rude_server(server) as port:
        assert engine_of.at(port).run() == 1
    assert len(server.copies) == 8
    assert server.conversations == 1
    assert {case.state for case in engine_of.cases()} == {"delivered"}


def test_a_red_overtakes_what_waits(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    for _ in range(3):
        forward(engine_of, severity=1)
    forward(engine_of, severity=4)
    server = Fickle(kind)
    with rude_server(server) as port:
        engine_of.at(port).run()
    assert "特别重大" in str(mails(server)[0]["Subject"])


# The letter itself.


def test_each_letter_has_a_return_path_and_a_reply_address_of_its_own(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    forward(engine_of)
    server, heard = Fickle(kind), []

    def note(peer: object) -> None:
        inner = peer.hear  # type: ignore[attr-defined]

        def hear() -> str:
            line: str = inner()
            heard.append(line)
            return line

        peer.hear = hear  # type: ignore[attr-defined]
        server(peer)  # type: ignore[arg-type]

    with rude_server(note) as port:
        engine_of.at(port).run()
    (delivery,), (mail,) = engine_of.deliveries(), mails(server)
    address = mail["Reply-To"].addresses[0]
    assert f"mail FROM:<{address.addr_spec}>" in heard
    assert len(address.username) <= 64
    assert address.domain == "in.example.org"
    assert open_delivery_token(engine_of.settings, address.username.removeprefix("case+").upper()) == delivery.id
    assert mail["From"].addresses[0].addr_spec == "w@example.org"


def test_programs_find_the_alert_and_the_place_attached(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    forward(engine_of)
    server = Fickle(kind)
    with rude_server(server) as port:
        engine_of.at(port).run()
    (mail,) = mails(server)
    attached = {part.get_filename(): part for part in mail.iter_attachments()}
    assert [name.rpartition(".")[2] for name in attached] == ["xml", "geojson"]
    content = next(iter(attached.values())).get_content()
    alert = XmlParser().from_bytes(content if isinstance(content, bytes) else content.encode(), Alert)
    assert alert.identifier == str(engine_of.deliveries()[0].id)
    lines = server.copies[0].content.split(b"\r\n")
    assert max(len(line) for line in lines) <= 100  # a signature breaks where a relay folds lines beyond 998
    assert server.copies[0].content.isascii()


# In their order.


def test_the_next_contact_is_told_when_the_one_before_is_refused(engine_of: Engine) -> None:
    agency(engine_of, "first@x.example", "second@x.example", "third@x.example")
    prefer(engine_of, channels_in="order")
    forward(engine_of)
    assert [one.address for one in engine_of.deliveries()] == ["first@x.example"]
    server = Fickle(lambda recipient, _nth: "550" if recipient.startswith("first") else "kind")
    with rude_server(server) as port:
        engine_of.at(port).run()
    assert [(one.address, one.state) for one in engine_of.deliveries()] == [
        ("first@x.example", "refused"),
        ("second@x.example", "sent"),
    ]
    assert [case.state for case in engine_of.cases()] == ["delivered"]
    assert engine_of.count("SELECT count(*) FROM case_alarm") == 0


def test_what_nobody_fetched_goes_to_the_next_contact(engine_of: Engine) -> None:
    agency_id = agency(engine_of)
    with transaction(engine_of.sessions) as session:
        insert(session, "agency_contact", agency_id=agency_id, channel="cap_feed", address="feed", position=0)
        insert(session, "agency_contact", agency_id=agency_id, channel="email", address="b@x.example", position=1)
    prefer(engine_of, channels_in="order")
    forward(engine_of)
    server = Fickle(kind)
    with rude_server(server) as port:
        engine = engine_of.at(port)
        engine.run()
        assert [(one.channel, one.state, one.awaits) for one in engine.deliveries()] == [
            ("cap_feed", "awaiting", "fetch")
        ]
        with transaction(engine.sessions) as session:
            delivery_id = engine.deliveries()[0].id
            assert deliveries.fail_awaiting(
                session, delivery_id, "awaited_in_vain", settings=engine.settings, now=now()
            )
        engine.run()
    assert [(one.channel, one.state) for one in engine_of.deliveries()] == [("cap_feed", "dead"), ("email", "sent")]


def test_what_was_awaited_and_happened_is_sent_and_its_case_delivered(engine_of: Engine) -> None:
    agency_id = agency(engine_of)
    with transaction(engine_of.sessions) as session:
        insert(session, "agency_contact", agency_id=agency_id, channel="cap_feed", address="feed", position=0)
    forward(engine_of)
    engine_of.at(1).run()
    (delivery,) = engine_of.deliveries()
    assert [case.state for case in engine_of.cases()] == ["queued"]
    with transaction(engine_of.sessions) as session:
        assert deliveries.settle_awaiting(session, delivery.id, now=now())
        assert not deliveries.settle_awaiting(session, delivery.id, now=now())
    assert [case.state for case in engine_of.cases()] == ["delivered"]


def test_a_mail_that_came_back_ends_the_case_unless_another_letter_stands(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example", "b@x.example")
    forward(engine_of)
    with rude_server(Fickle(kind)) as port:
        engine_of.at(port).run()
    states = []
    for delivery in engine_of.deliveries():
        with transaction(engine_of.sessions) as session:
            assert deliveries.record_bounce(
                session, delivery.id, "bounced_5.1.1", settings=engine_of.settings, now=now()
            )
        states.append([case.state for case in engine_of.cases()])
    assert states == [["delivered"], ["dead"]]
    told = "SELECT count(*) FROM case_alarm WHERE reason = :reason"
    assert engine_of.count(told, reason="letter_failed") == engine_of.count(told, reason="every_letter_failed") == 1


# Digests.


def test_an_agency_that_wants_a_digest_gets_one_mail_and_red_at_once(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    prefer(engine_of, digest_upto=2)
    for severity in (1, 2, 1, 4, 3):
        forward(engine_of, severity=severity)
    server = Fickle(kind)
    with rude_server(server) as port:
        engine = engine_of.at(port)
        engine.run()
        assert len(server.copies) == 2  # red and orange
        engine.pass_time(24 * 5)
        engine.run()
    assert len(server.copies) == 3
    digest = mails(server)[2]
    body = digest.get_body(("plain",))
    assert body is not None
    assert str(digest["Subject"]) == "【公众观察】3 起事件转请处理"
    assert body.get_content().count("https://waters.example.org/a/") == 3
    assert {one.state for one in engine_of.deliveries()} == {"sent"}
    assert {case.state for case in engine_of.cases()} == {"delivered"}


def test_more_than_ten_at_one_time_go_as_one_and_a_red_by_itself(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    for _ in range(11):
        forward(engine_of, severity=2)
    forward(engine_of, severity=4)
    server = Fickle(kind)
    with rude_server(server) as port:
        engine_of.at(port).run()
    assert len(server.copies) == 2
    assert {one.state for one in engine_of.deliveries()} == {"sent"}


def test_a_digest_that_is_put_off_comes_again_whole_under_the_same_id(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    for _ in range(12):
        forward(engine_of, severity=2)
    server = Fickle(lambda _recipient, nth: "drop" if nth == 1 else "450" if nth == 2 else "kind")
    with rude_server(server) as port:
        engine = engine_of.at(port)
        for _ in range(6):
            engine.run()
            engine.pass_time(1.2)
    assert len({str(mail["Message-ID"]) for mail in mails(server)}) == 1
    assert [copy.is_accepted for copy in server.copies] == [False, True]
    assert {(one.state, one.attempts) for one in engine_of.deliveries()} == {("sent", 3)}


def test_a_letter_in_a_digest_that_becomes_red_leaves_at_once(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    prefer(engine_of, digest_upto=3)
    incident_id = forward(engine_of, severity=3)
    with transaction(engine_of.sessions) as session:
        session.execute(text("UPDATE incident SET severity = 4, graded_severity = 4"))
        service.escalate(session, incident_id, settings=engine_of.settings, actor=TESTS, now=now())
    server = Fickle(kind)
    with rude_server(server) as port:
        engine_of.at(port).run()
    assert len(server.copies) == 1


def test_a_digest_that_came_back_ends_every_letter_in_it(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    prefer(engine_of, digest_upto=2)
    for _ in range(3):
        forward(engine_of)
    engine_of.pass_time(24 * 5)
    server = Fickle(kind)
    with rude_server(server) as port:
        engine_of.at(port).run()
    (mail,) = mails(server)
    token = mail["Reply-To"].addresses[0].username.removeprefix("case+").upper()
    for is_first in (True, False):
        with transaction(engine_of.sessions) as session:
            delivery_id = open_delivery_token(engine_of.settings, token)
            assert (
                returns.take_bounce(session, delivery_id, "5.1.1", settings=engine_of.settings, now=now()) == is_first
            )
    assert [one.state for one in engine_of.deliveries()] == ["refused"] * 3
    assert [case.state for case in engine_of.cases()] == ["dead"] * 3
    assert engine_of.count("SELECT count(*) FROM case_alarm WHERE reason = 'every_letter_failed'") == 3


# Breakers.


def test_an_address_that_puts_everything_off_is_asked_no_more_and_others_are(engine_of: Engine) -> None:
    agency(engine_of, "full@x.example")
    agency(engine_of, "fine@x.example")
    for _ in range(9):
        forward(engine_of)
    server = Fickle(lambda recipient, _nth: "450" if recipient.startswith("full") else "kind")
    with rude_server(server) as port:
        engine = engine_of.at(port)
        engine.run()
        found = engine.deliveries()
        assert {(one.state, one.attempts) for one in found if one.address == "fine@x.example"} == {("sent", 1)}
        tried = [one.attempts for one in found if one.address == "full@x.example"]
        assert 5 <= sum(tried) <= 9
        engine.pass_time(0.1)  # six minutes: the breaker is half-open, and one asks for all
        before = server._asked["full@x.example"]
        engine.run()
        assert server._asked["full@x.example"] == before + 1
        assert engine.count("SELECT opened FROM endpoint") == 2


def test_one_answer_closes_a_breaker(engine_of: Engine) -> None:
    agency(engine_of, "full@x.example")
    for _ in range(6):
        forward(engine_of)
    server = Fickle(lambda _recipient, nth: "450" if nth <= 6 else "kind")
    with rude_server(server) as port:
        engine = engine_of.at(port)
        for _ in range(4):
            engine.run()
            engine.pass_time(2)
        engine.run()
    assert {one.state for one in engine_of.deliveries()} == {"sent"}
    assert engine_of.count("SELECT count(*) FROM endpoint WHERE failures > 0 OR open_until IS NOT NULL") == 0


# Rehearsals.


def test_a_rehearsal_reaches_nobody_but_ourselves(engine_of: Engine) -> None:
    agency_id = agency(engine_of, "a@x.example")
    with transaction(engine_of.sessions) as session:
        insert(session, "agency_contact", agency_id=agency_id, channel="webhook", address="https://x.example/hook",
               position=1)  # fmt: skip
    forward(engine_of)
    server = Fickle(kind)
    with rude_server(server) as port:
        engine_of.at(port, staging_mail="ours@example.org").run()
    assert [copy.recipient for copy in server.copies] == ["ours@example.org"] * 2
    texts = []
    for mail in mails(server):
        assert str(mail["Subject"]).startswith("【演练】")
        body = mail.get_body(("plain",))
        assert body is not None
        texts.append(body.get_content())
    assert sorted("https://x.example/hook" in words for words in texts) == [False, True]
    assert sum("a@x.example" in words for words in texts) == 1


def test_a_rehearsal_puts_nothing_on_record_that_did_not_happen(engine_of: Engine) -> None:
    agency_id = agency(engine_of, "a@x.example")
    with transaction(engine_of.sessions) as session:
        feed_id = insert(session, "agency_contact", agency_id=agency_id, channel="cap_feed", address="f", position=1)
    incident_id = forward(engine_of)
    server = Fickle(kind)
    with rude_server(server) as port:
        engine_of.at(port, staging_mail="ours@example.org").run()
    for mail in mails(server):
        (cap,) = [part for part in mail.iter_attachments() if str(part.get_filename()).endswith("cap.xml")]
        assert b"<status>Exercise</status>" in bytes(cap.get_payload(decode=True))  # type: ignore[arg-type]
    assert {(one.state, one.attempts, one.last_error) for one in engine_of.deliveries()} == {
        ("cancelled", 0, "rehearsed")
    }
    assert [(case.state, case.acknowledge_by) for case in engine_of.cases()] == [("queued", None)]
    with transaction(engine_of.sessions) as session:
        assert reading.fed(session, feed_id, since=now() - timedelta(days=1), limit=9) == []
        # In earnest, whoever forwards it tells it.
        service.escalate(session, incident_id, settings=engine_of.settings, actor=TESTS, now=now())
    with rude_server(server) as port:
        engine_of.at(port).run()
    assert [copy.recipient for copy in server.copies] == ["ours@example.org"] * 2 + ["a@x.example"]
    assert [case.state for case in engine_of.cases()] == ["delivered"]


def test_what_our_own_mailbox_refuses_in_a_rehearsal_says_nothing_of_the_agencys(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    forward(engine_of)
    with rude_server(Fickle(lambda *_: "550")) as port:
        engine_of.at(port, staging_mail="ours@example.org").run()
    assert [one.state for one in engine_of.deliveries()] == ["pending"]
    assert [case.state for case in engine_of.cases()] == ["queued"]


# Further letters.


def test_a_reminder_goes_to_whoever_has_the_case(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example", "b@x.example")
    forward(engine_of)
    server = Fickle(lambda recipient, _nth: "550" if recipient.startswith("b") else "kind")
    with rude_server(server) as port:
        engine = engine_of.at(port)
        engine.run()
        with transaction(engine.sessions) as session:
            case = session.query(Case).one()
            assert service.queue_letter(session, case, says="reminder", settings=engine.settings, now=now()) == 1
        engine.run()
    reminder = mails(server)[-1]
    assert "期限将至" in str(reminder["Subject"])
    assert reminder["In-Reply-To"] == mails(server)[0]["Message-ID"]


def test_a_case_without_a_letter_yet_is_told_to_its_agency(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    forward(engine_of)
    with transaction(engine_of.sessions) as session:
        session.execute(text("DELETE FROM delivery"))
        session.execute(text("DELETE FROM outbox"))
        case = session.query(Case).one()
        assert service.queue_letter(session, case, says="overdue", settings=engine_of.settings, now=now()) == 1
    server = Fickle(kind)
    with rude_server(server) as port:
        engine_of.at(port).run()
    assert "请督办" in str(mails(server)[0]["Subject"])


# Alarms.


def lead(engine: Engine, address: str = "lead@example.org") -> None:
    with transaction(engine.sessions) as session:
        person = insert(session, "person", email=address, fs_uniquifier=address, created_at=now())
        organisation = session.execute(text("SELECT id FROM organisation LIMIT 1")).scalar_one()
        role = session.execute(text("SELECT id FROM role WHERE name = 'lead_moderator'")).scalar_one()
        insert(session, "membership", person_id=person, organisation_id=organisation, role_id=role, created_at=now())


def test_leads_are_told_once_of_every_case_that_reached_nobody_in_one_mail(engine_of: Engine) -> None:
    agency(engine_of, "gone@x.example")
    for _ in range(3):
        forward(engine_of)
    lead(engine_of)
    with rude_server(Fickle(lambda *_: "550")) as port:
        engine_of.at(port).run()
    assert {case.state for case in engine_of.cases()} == {"dead"}
    for _ in range(2):
        engine_of.pass_time(1)
        with transaction(engine_of.sessions) as session:
            (first, *_others) = outbox.take(session, alarms.TOPIC_ALARM, limit=1, lease_s=30) or [None]
        if first is not None:
            alarms.tell(engine_of.context, first)
    assert engine_of.count("SELECT count(*) FROM posting WHERE kind = 'case.alarm'") == 1
    assert engine_of.count("SELECT count(*) FROM case_alarm WHERE told_at IS NOT NULL") == 3


def test_without_a_lead_it_is_said_again_later(engine_of: Engine) -> None:
    agency(engine_of, "gone@x.example")
    forward(engine_of)
    with rude_server(Fickle(lambda *_: "550")) as port:
        engine_of.at(port).run()
    with transaction(engine_of.sessions) as session:
        assert alarms.tell_again(session, now=now()) == 0
        assert alarms.tell_again(session, now=now() + timedelta(hours=2)) == 1


def test_topics_go_by_channel() -> None:
    assert letters.topic_of("email") == "escalation.deliver"
    assert letters.topic_of("webhook") == letters.topic_of("post") == "escalation.call"
    assert Awaiting("fetch").patience_s is None
