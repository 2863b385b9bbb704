"""Digests: what comes back of one, what follows one, who holds one, and when one leaves."""

import uuid
from datetime import UTC, date, datetime, time, timedelta
from email.message import EmailMessage

from sqlalchemy import text

from tests.escalation.engine import Engine
from tests.escalation.rows import add_incident, insert
from tests.escalation.test_engine import TESTS, agency, forward, kind, mails, now, prefer
from tests.escalation.test_taken_back import make_red
from tests.messaging.servers import Fickle, rude_server
from waterwatch.casework import incoming, queries
from waterwatch.escalation import claims, returns, rules, service
from waterwatch.escalation.channels.known import CHANNELS
from waterwatch.escalation.claims import Claim, Joined, Later
from waterwatch.inbox.reading import Contents
from waterwatch.inbox.service import record_sorted
from waterwatch.kernel.db import transaction
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.signing import open_delivery_token
from waterwatch.workdays.tables import Workday


def hand_over_three(engine: Engine, server: Fickle) -> list[uuid.UUID]:
    """A digest of three cases goes; gives their incidents."""
    agency(engine, "a@x.example")
    prefer(engine, digest_upto=2)
    incidents = [forward(engine) for _ in range(3)]
    engine.pass_time((engine.deliveries()[0].due_at - now()) / timedelta(hours=1) + 0.01)
    with rude_server(server) as port:
        engine.at(port).run()
    return incidents


def addressed(engine: Engine, mail: EmailMessage) -> uuid.UUID:
    """The delivery whose address a mail asks to be answered at."""
    return open_delivery_token(engine.settings, str(mail["Reply-To"]).partition("+")[2].partition("@")[0])


def test_when_a_digest_comes_back_every_letter_in_it_does(engine_of: Engine) -> None:
    server = Fickle(kind)
    hand_over_three(engine_of, server)
    (digest,) = mails(server)
    values = {"settings": engine_of.settings, "now": now()}
    with transaction(engine_of.sessions) as session:
        assert returns.take_bounce(session, addressed(engine_of, digest), "5.1.1", **values)
    with transaction(engine_of.sessions) as session:
        assert not returns.take_bounce(session, addressed(engine_of, digest), "5.1.1", **values)
    assert [(one.state, one.last_error) for one in engine_of.deliveries()] == [("refused", "bounced_5.1.1")] * 3
    assert [case.state for case in engine_of.cases()] == ["dead"] * 3
    assert engine_of.count("SELECT count(*) FROM case_alarm") == 3


def test_a_mail_that_answers_a_digest_moves_no_case_and_tells_the_lead_of_which_it_may_be(engine_of: Engine) -> None:
    server = Fickle(kind)
    hand_over_three(engine_of, server)
    delivery_id, at = addressed(engine_of, mails(server)[0]), now()
    with transaction(engine_of.sessions) as session:
        mail_id = insert(session, "incoming_mail", purpose="case", delivery_id=delivery_id, state="received",
                         state_since=at, received_at=at, has_null_sender=False, fingerprint=new_id().bytes * 2,
                         sha256=bytes(32), raw_bytes=1, object_key=f"quarantine/mail/{new_id()}",
                         keep_until=at)  # fmt: skip
        contents = Contents(
            kind="answer", status=None, text="第二件已处理", subject="", sender="a@x.example", attachments=()
        )
        record_sorted(session, mail_id, contents, settings=engine_of.settings, now=at)
    with transaction(engine_of.sessions) as session:
        incoming.answered_by_mail(session, delivery_id, mail_id, settings=engine_of.settings, now=at)
    with transaction(engine_of.sessions) as session:
        (held,) = queries.held_answers(session)
        codes = session.execute(text("SELECT code FROM incident ORDER BY code")).scalars().all()
    assert (held.kind, held.words, held.digest_codes) == ("answer", "第二件已处理", codes)
    assert [(case.state, case.acknowledged_at) for case in engine_of.cases()] == [("delivered", None)] * 3


def test_what_follows_a_digest_answers_its_mail_and_is_an_alert_of_its_own(engine_of: Engine) -> None:
    server = Fickle(kind)
    incidents = hand_over_three(engine_of, server)
    with rude_server(server) as port:
        engine = engine_of.at(port)
        make_red(engine, incidents[0])
        engine.run()
        with transaction(engine.sessions) as session:
            session.execute(text("UPDATE incident SET severity = 3, graded_severity = 3"))
            values = {"settings": engine.settings, "actor": TESTS, "now": now()}
            service.escalate(session, incidents[0], is_correction=True, **values)
        engine.run()
    digest, raised, lowered = mails(server)
    assert raised["In-Reply-To"] == lowered["In-Reply-To"] == digest["Message-ID"]
    assert list(digest.iter_attachments()) == []
    raised_id = engine_of.deliveries()[3].id
    assert "<msgType>Alert</msgType>" in alert(raised)
    assert "<references>" not in alert(raised)
    assert "<msgType>Update</msgType>" in alert(lowered)
    (named,) = alert(lowered).partition("<references>")[2].partition("</references>")[0].split()
    assert named.split(",")[1] == str(raised_id)


def alert(mail: EmailMessage) -> str:
    (cap,) = [part for part in mail.iter_attachments() if str(part.get_filename()).endswith(".cap.xml")]
    return bytes(cap.get_payload(decode=True)).decode()  # type: ignore[arg-type]


def test_two_workers_on_one_digest_that_was_put_off_do_not_wait_for_each_other(engine_of: Engine) -> None:
    hand_over_three(engine_of, Fickle(lambda *_: "450"))
    engine_of.pass_time(3)
    ids = [one.id for one in engine_of.deliveries()]
    with engine_of.sessions() as other, transaction(engine_of.sessions) as session:
        other.execute(text("SELECT FROM delivery WHERE id = :id FOR UPDATE"), {"id": ids[2]})
        session.execute(text("SET LOCAL lock_timeout = '2s'"))
        values = {"settings": engine_of.settings, "channels": CHANNELS, "now": now()}
        held = claims.claim(session, ids[:2], **values)  # type: ignore[arg-type]
        assert [found.code for found in held.values() if isinstance(found, Later)] == ["digest_busy"] * 2
    assert {one.state for one in engine_of.deliveries()} == {"pending"}
    with transaction(engine_of.sessions) as session:
        held = claims.claim(session, ids[:2], **values)  # type: ignore[arg-type]
    assert [type(found) for found in held.values()] == [Claim, Joined, Joined]
    assert {one.state for one in engine_of.deliveries()} == {"sending"}


def test_a_digest_leaves_on_a_day_that_is_worked(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    prefer(engine_of, digest_upto=2, digest_at=time(9))
    at = datetime(2026, 9, 30, 3, tzinfo=UTC)  # the day before the National Day, a Wednesday
    with transaction(engine_of.sessions) as session:
        for day, is_working in ((1, False), (2, False), (5, False), (6, False), (7, False), (10, True)):
            session.add(Workday(day=date(2026, 10, day), is_working=is_working))
        incident_id = add_incident(session, now=at, severity=2)
        service.escalate(session, incident_id, settings=engine_of.settings, actor=TESTS, now=at)
    (delivery,) = engine_of.deliveries()
    assert delivery.due_at == datetime(2026, 10, 8, 9, tzinfo=rules.CHINA_TIME)
