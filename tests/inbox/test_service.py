"""A mail is taken in once, sorted in a job, opened by whoever may, and forgotten in time."""

import threading
import uuid
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.casework.test_unheard import wait_until_somebody_waits
from tests.escalation import rows
from tests.inbox import mails
from tests.inbox.conftest import DOMAIN, Letter, send_letter
from waterwatch.inbox import queries, service
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import NotFound, Unavailable
from waterwatch.kernel.outbox import Message
from waterwatch.reports import erasure
from workers import deadlines, handlers, reconcile, sweep


def take(context: JobContext, letter: Letter, raw: bytes, *, null: bool = False) -> service.Taken:
    to = service.destination(letter.address, settings=context.settings)
    return service.take_in(context, to, raw, has_null_sender=null)


def work(context: JobContext, topic: str) -> list[dict[str, str]]:
    """Do what was ordered for one topic; gives the payloads."""
    with transaction(context.sessions) as session:
        orders = session.execute(
            text("SELECT id, payload FROM outbox WHERE topic = :t AND done_at IS NULL ORDER BY created_at"),
            {"t": topic},
        ).all()
    job = {service.TOPIC_SORT: service.sort, service.TOPIC_RECEIVED: handlers.take_mail}[topic]
    for order in orders:
        job(context, Message(order.id, 1, topic, order.payload, 1, timedelta(0), None, None))
    return [order.payload for order in orders]


def sort(context: JobContext, letter: Letter, raw: bytes, *, null: bool = False) -> tuple[uuid.UUID, str]:
    taken = take(context, letter, raw, null=null)
    work(context, service.TOPIC_SORT)
    (told,) = work(context, service.TOPIC_RECEIVED)
    assert told["incoming_mail_id"] == str(taken.mail_id)
    assert told["delivery_id"] == str(letter.delivery_id)
    return taken.mail_id, told["kind"]


def column(context: JobContext, statement: str, **values: object) -> list[object]:
    with transaction(context.sessions) as session:
        return list(session.execute(text(statement), values).scalars())


def acts(context: JobContext, letter: Letter) -> list[object]:
    return column(context, "SELECT action FROM audit_entry WHERE subject_id = :id ORDER BY id", id=letter.case_id)


def test_an_answer_is_kept_sealed_and_read_again(context: JobContext, letter: Letter) -> None:
    raw = mails.simple(mails.QUOTED["outlook"])
    mail_id, kind = sort(context, letter, raw)
    assert kind == "answer"
    with transaction(context.sessions) as session:
        assert service.answer_text(session, mail_id, context.settings).split() == mails.SAID.split()
        key = queries.waiting(session, mail_id)
        assert key is None
    (stored,) = context.objects.list("quarantine/mail")
    kept = b"".join(context.objects.open(stored.key))
    assert "雨污混接".encode() not in kept
    assert service.open_raw(context, mail_id, stored.key) == raw
    (row,) = column(context, "SELECT m::text FROM incoming_mail m")
    assert "王" not in str(row)
    assert acts(context, letter)[:2] == ["answer.received", "case.mail_came"]
    assert column(context, "SELECT via || ' ' || state || ' ' || kind FROM case_answer") == ["email held answer"]


def test_the_same_mail_again_changes_nothing(context: JobContext, letter: Letter) -> None:
    first = take(context, letter, mails.POSTFIX, null=True)
    again = take(context, letter, b"Received: from elsewhere\r\n" + mails.POSTFIX, null=True)
    assert (first.is_new, again.is_new) == (True, False)
    assert len(list(context.objects.list("quarantine/mail"))) == 1
    assert len(work(context, service.TOPIC_SORT)) == 1
    assert len(work(context, service.TOPIC_RECEIVED)) == 1


def test_sorting_twice_tells_once(context: JobContext, letter: Letter) -> None:
    taken = take(context, letter, mails.POSTFIX, null=True)
    order = Message(
        uuid.uuid4(), 1, service.TOPIC_SORT, {"incoming_mail_id": str(taken.mail_id)}, 1, timedelta(0), None, None
    )
    service.sort(context, order)
    service.sort(context, order)
    assert column(context, "SELECT count(*) FROM outbox WHERE topic = 'inbox.received'") == [1]


def test_a_bounce_ends_the_delivery_and_a_case_nobody_else_was_told_of(context: JobContext, letter: Letter) -> None:
    assert sort(context, letter, mails.POSTFIX, null=True)[1] == "bounce"
    assert column(context, "SELECT state || ' ' || last_error FROM delivery") == ["refused bounced_5.1.1"]
    assert column(context, "SELECT state FROM escalation_case") == ["dead"]
    assert acts(context, letter) == ["delivery.failed", "case.dead"]


def test_a_bounce_of_one_of_two_letters_leaves_the_case_delivered(context: JobContext, letter: Letter) -> None:
    with transaction(context.sessions) as session:
        send_letter(session, context.settings, now=context.now(), case_id=letter.case_id)
    sort(context, letter, mails.QQ, null=True)
    assert column(context, "SELECT state FROM escalation_case") == ["delivered"]
    assert column(context, "SELECT last_error FROM delivery WHERE state = 'refused'") == ["bounced"]


def test_an_agency_that_has_acknowledged_stays_so_whatever_bounces(context: JobContext, letter: Letter) -> None:
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE escalation_case SET state = 'acknowledged'"))
    sort(context, letter, mails.SENDMAIL, null=True)
    assert column(context, "SELECT state FROM escalation_case") == ["acknowledged"]


def test_a_bounce_that_is_faster_than_our_own_record_waits_for_it(context: JobContext, letter: Letter) -> None:
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE delivery SET state = 'sending', sent_at = NULL"))
    take(context, letter, mails.EXCHANGE, null=True)
    work(context, service.TOPIC_SORT)
    with pytest.raises(Unavailable):
        work(context, service.TOPIC_RECEIVED)
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE delivery SET state = 'sent', sent_at = now()"))
    work(context, service.TOPIC_RECEIVED)
    assert column(context, "SELECT last_error FROM delivery") == ["bounced_5.2.2"]


@pytest.mark.parametrize(
    ("raw", "kind"), [(mails.POSTFIX_DELAY, "delayed"), (mails.AWAY["qq"], "auto_reply"), (b"", "unknown")]
)
def test_what_is_no_bounce_ends_nothing_and_is_on_record(
    context: JobContext, letter: Letter, raw: bytes, kind: str
) -> None:
    assert sort(context, letter, raw)[1] == kind
    assert column(context, "SELECT state FROM delivery") == ["sent"]
    assert acts(context, letter) == ["case.mail_came"]


def test_a_mail_nobody_can_read_is_told_to_a_person(context: JobContext, letter: Letter) -> None:
    deep = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" * 60
    assert sort(context, letter, deep)[1] == "unknown"
    assert column(context, "SELECT state || ' ' || fault FROM incoming_mail") == ["unreadable too_deep"]


def test_a_mail_whose_file_is_gone_is_told_too(context: JobContext, letter: Letter) -> None:
    take(context, letter, mails.POSTFIX, null=True)
    for stored in context.objects.list("quarantine/mail"):
        context.objects.delete(stored.key)
    work(context, service.TOPIC_SORT)
    assert column(context, "SELECT fault FROM incoming_mail") == ["raw_gone"]


def test_a_mail_for_a_letter_that_is_gone_is_kept_and_changes_nothing(context: JobContext, letter: Letter) -> None:
    with transaction(context.sessions) as session:
        session.execute(text("DELETE FROM delivery"))
    assert sort(context, letter, mails.POSTFIX, null=True)[1] == "bounce"
    assert column(context, "SELECT state FROM incoming_mail") == ["sorted"]


def test_what_was_kept_for_long_enough_is_forgotten_whole(context: JobContext, letter: Letter) -> None:
    mail_id, _ = sort(context, letter, mails.simple(mails.SAID))
    assert sweep.forget_mails(context) == 0
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE incoming_mail SET keep_until = now() - interval '1 second'"))
    assert sweep.forget_mails(context) == 1
    assert list(context.objects.list("quarantine/mail")) == []
    assert column(context, "SELECT kind FROM incoming_mail WHERE sealed IS NULL AND object_key IS NULL") == ["answer"]
    with transaction(context.sessions) as session, pytest.raises(NotFound):
        service.answer_text(session, mail_id, context.settings)


def test_what_came_back_about_a_report_goes_with_it(context: JobContext, letter: Letter) -> None:
    mail_id, _ = sort(context, letter, mails.simple(mails.QUOTED["qq"]))
    unread = take(context, letter, mails.simple("尚未读过", message_id="<2@x>")).mail_id
    now = context.now()
    with transaction(context.sessions) as session:
        incident_id = session.execute(text("SELECT incident_id FROM escalation_case")).scalar_one()
        report_id = rows.add_report(session, incident_id, now=now)
        person = rows.insert(
            session, "person", email="m@example.org", fs_uniquifier="m", language="zh-Hans", created_at=now
        )
        session.execute(
            text("""INSERT INTO grade (id, incident_id, graded_at, graded_by, rubric_version, inputs, points,
                        proposed_severity, severity, basis, report_id, standing)
                    VALUES (gen_random_uuid(), :incident, :now, :person, '1', '{}', 5, 3, 3, 'report', :report, 3)"""),
            {"incident": incident_id, "now": now, "person": person, "report": report_id},
        )
        session.execute(text("DELETE FROM incident_report"))
        session.execute(text("UPDATE report SET state = 'withdrawn'"))
    with transaction(context.sessions) as session:
        erasure.erase(session, report_id, "author", actor=Actor.anonymous(), now=now)
    assert column(context, "SELECT sealed IS NULL FROM incoming_mail WHERE id = :id", id=mail_id) == [True]
    assert sweep.forget_mails(context) == 1
    assert column(context, "SELECT id FROM incoming_mail WHERE object_key IS NOT NULL") == [unread]
    soon = "SELECT keep_until < now() + interval '11 minutes' FROM incoming_mail WHERE id = :id"
    assert column(context, soon, id=unread) == [True]


def test_a_mail_nobody_is_reading_any_more_is_ordered_again(context: JobContext, letter: Letter) -> None:
    take(context, letter, mails.POSTFIX, null=True)
    assert deadlines.sort_again(context) == 0
    with transaction(context.sessions) as session:
        session.execute(text("DELETE FROM outbox"))
        session.execute(text("UPDATE incoming_mail SET state_deadline_at = now() - interval '1 second'"))
    assert deadlines.sort_again(context) == 1
    assert deadlines.sort_again(context) == 0
    assert len(work(context, service.TOPIC_SORT)) == 1


def test_the_reconciler_keeps_mails_that_have_rows_and_removes_others(context: JobContext, letter: Letter) -> None:
    take(context, letter, mails.POSTFIX, null=True)
    (stored,) = context.objects.list("quarantine/mail")
    assert reconcile.compare(context).missing == ()
    context.objects.delete(stored.key)
    assert reconcile.compare(context).missing == (stored.key,)


@pytest.mark.parametrize("spoil", [str.swapcase, lambda a: a.replace(a[10], "7" if a[10] != "7" else "a", 1)])
def test_a_forged_token_names_nothing(context: JobContext, letter: Letter, spoil: object) -> None:
    assert callable(spoil)
    spoilt = spoil(letter.address.partition("@")[0]) + "@" + DOMAIN
    if spoil is str.swapcase:  # some servers write addresses in capitals
        assert service.destination(spoilt, settings=context.settings).delivery_id == letter.delivery_id
        return
    with pytest.raises(NotFound):
        service.destination(spoilt, settings=context.settings)


def test_an_answer_holds_its_incident_before_any_case_of_it(
    context: JobContext, letter: Letter, sessions: sessionmaker[Session]
) -> None:
    take(context, letter, mails.simple(mails.SAID))
    work(context, service.TOPIC_SORT)
    with transaction(sessions) as session:
        session.execute(text("SELECT id FROM incident FOR UPDATE"))
        other = threading.Thread(target=work, args=(context, service.TOPIC_RECEIVED))
        other.start()
        wait_until_somebody_waits(sessions)
        held = session.execute(text("SELECT id FROM escalation_case FOR UPDATE NOWAIT")).scalars().all()
        assert held == [letter.case_id]
    other.join()
    assert acts(context, letter) == ["answer.received", "case.mail_came"]


def test_an_answer_to_a_digest_holds_its_incidents_in_order_before_any_case_of_them(
    context: JobContext, letter: Letter, sessions: sessionmaker[Session]
) -> None:
    with transaction(sessions) as session:
        now = context.now()
        other_id = rows.add_incident(session, now=now)  # the later of the two
        agency_id = session.execute(text("SELECT agency_id FROM escalation_case")).scalar_one()
        case_id = rows.insert(
            session,
            "escalation_case",
            incident_id=other_id,
            agency_id=agency_id,
            state="delivered",
            state_since=now,
            severity=3,
            created_at=now,
            delivered_at=now,
        )
        answered = send_letter(session, context.settings, now=now, case_id=case_id)
        digest = {"id": rows.insert(session, "digest", agency_id=agency_id, message_id="<d@x>", created_at=now)}
        session.execute(text("UPDATE delivery SET digest_id = :id, is_digested = true"), digest)
        first_id = session.execute(text("SELECT min(id::text)::uuid FROM incident")).scalar_one()
    assert first_id != other_id
    take(context, answered, mails.simple(mails.SAID))
    work(context, service.TOPIC_SORT)
    with transaction(sessions) as session:
        session.execute(text("SELECT id FROM incident WHERE id = :id FOR UPDATE"), {"id": first_id})
        other = threading.Thread(target=work, args=(context, service.TOPIC_RECEIVED))
        other.start()
        wait_until_somebody_waits(sessions)
        held = text("SELECT id FROM incident WHERE id = :id FOR UPDATE NOWAIT")
        assert session.execute(held, {"id": other_id}).scalar_one() == other_id
        cases = session.execute(text("SELECT count(*) FROM (SELECT FROM escalation_case FOR UPDATE NOWAIT) c"))
        assert cases.scalar_one() == 2
    other.join()
    assert acts(context, answered) == ["answer.received", "case.mail_came"]


def test_a_token_of_another_secret_names_nothing(context: JobContext, letter: Letter) -> None:
    other = context.settings.model_copy(update={"secret_key": type(context.settings.secret_key)("y" * 40)})
    with pytest.raises(NotFound):
        service.destination(letter.address, settings=other)
