"""From an incident to the mail of whoever watches a water below it: job after job, to a real mail server."""

import threading
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy

from sqlalchemy import text

from tests.incidents.rows import open_on
from tests.messaging.servers import HOST, Inbox, kind_server
from tests.moderation.rows import add_moderator
from tests.notices.test_taking_back import wait_until_somebody_waits
from tests.reports.rows import LAT, LON
from tests.watches.test_approaching import Upstream
from waterwatch.advisories import forecasts
from waterwatch.incidents.rules import Severity
from waterwatch.incidents.service import lock_incident
from waterwatch.kernel import outbox
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.postbox import service as postbox
from waterwatch.watches import approaching
from workers.deadlines import reckon_anew
from workers.topics import TOPICS

PATIENCE_S = 20.0
DONE_HERE = [forecasts.TOPIC_FORECAST, forecasts.TOPIC_APPROACHING, postbox.TOPIC_SEND]


def work(context: JobContext) -> list[str]:
    """Does what is due, as workers do; the topics in their order."""
    done: list[str] = []
    while True:
        with transaction(context.sessions) as session:
            rings = outbox.lease(session, window=1, lease_s=30, topics=DONE_HERE)
            message = outbox.begin(session, rings[0].id, rings[0].lease_no, lease_s=30) if rings else None
        if message is None:
            return done
        TOPICS[message.topic].handler(context, message)
        done.append(message.topic)


def publications(context: JobContext) -> int:
    """How often the map was asked to be published; forgotten at once."""
    with transaction(context.sessions) as session:
        gone = session.execute(text("DELETE FROM outbox WHERE topic = 'mapping.publish' RETURNING id"))
        return len(gone.all())


def test_who_watches_below_reads_of_it_once_everybody_may_know_and_of_its_end(context: JobContext) -> None:
    inbox = Inbox()
    with kind_server(inbox) as port:
        mailing = {"smtp_url": f"smtp://{HOST}:{port}", "mail_from": "waters@example.org"}
        context = replace(context, settings=context.settings.model_copy(update=mailing))
        with transaction(context.sessions) as session:
            upstream = Upstream(session, context.settings, utc_now())
            upstream.watched()
            session.execute(text("DELETE FROM outbox"))
            forecasts.order(session, upstream.incident_id, "sewage_outfall", now=upstream.now, is_new=True)
        assert (work(context), publications(context)) == ([forecasts.TOPIC_FORECAST], 1)

        with transaction(context.sessions) as session:  # ten minutes go by
            session.execute(text("UPDATE outbox SET available_at = available_at - interval '11 minutes'"))
            session.execute(text("UPDATE downstream_forecast SET made_at = made_at - interval '11 minutes',"
                                 " public_at = public_at - interval '11 minutes'"))  # fmt: skip
            session.execute(text("UPDATE downstream_reach SET public_at = public_at - interval '11 minutes'"))
        assert (work(context), publications(context)) == (DONE_HERE, 1)

        with transaction(context.sessions) as session:  # two hours later it is found clean
            session.execute(text("UPDATE watch SET told_at = told_at - interval '2 hours'"))
            session.execute(text("UPDATE incident SET state = 'expired', closed_at = now()"))
            forecasts.order(session, upstream.incident_id, "sewage_outfall", now=utc_now())
        assert (work(context), publications(context)) == (DONE_HERE, 1)
    letters = [message_from_bytes(one.content, policy=policy.default) for one in inbox.received]
    subjects = [letter["Subject"] for letter in letters]
    assert subjects[0].startswith("下河：上游有污染，预计到达：")
    assert subjects[1:] == ["下河：下游预警已解除"]
    assert {letter["List-Unsubscribe-Post"] for letter in letters} == {"List-Unsubscribe=One-Click"}
    with transaction(context.sessions) as session:  # nothing tells any more who was told of which incident
        told = session.execute(text("SELECT subject_id = recipient_id AS is_forgotten, state FROM posting"
                                    " WHERE kind IN ('watch.approaching', 'watch.over')")).all()  # fmt: skip
        assert [tuple(row) for row in told] == [(True, "sent")] * 2


def test_two_runs_at_once_tell_everybody_once(context: JobContext) -> None:
    with transaction(context.sessions) as session:
        upstream = Upstream(session, context.settings, utc_now())
        upstream.watched()
        upstream.published()
        now = upstream.now + timedelta(minutes=15)
    found: list[approaching.Warned] = []

    def tell() -> None:
        with transaction(context.sessions) as session:
            found.append(approaching.tell(session, upstream.incident_id, settings=context.settings, now=now))

    beside = threading.Thread(target=tell)
    with transaction(context.sessions) as session:
        first = approaching.tell(session, upstream.incident_id, settings=context.settings, now=now)
        beside.start()
        wait_until_somebody_waits(context.sessions)
    beside.join(PATIENCE_S)
    assert (first.told, [one.told for one in found]) == (1, [0])


def test_a_moderator_who_waits_for_the_job_keeps_it_from_nothing(context: JobContext) -> None:
    """It writes rows that name the incident, and may lock it afterwards while the moderator is next in the queue."""
    with transaction(context.sessions) as session:
        upstream = Upstream(session, context.settings, utc_now())
    kinds: list[str] = []

    def moderate() -> None:
        with transaction(context.sessions) as session:
            incident = lock_incident(session, upstream.incident_id)
            forecasts.order(session, incident.id, "floating_garbage", now=upstream.now)
            kinds.append(incident.kind)

    beside = threading.Thread(target=moderate)
    with transaction(context.sessions) as session:
        upstream.session = session
        upstream.reckon()
        beside.start()
        wait_until_somebody_waits(context.sessions)
        lock_incident(session, upstream.incident_id)
    beside.join(PATIENCE_S)
    with transaction(context.sessions) as session:
        ordered = session.execute(text("SELECT count(*) FROM outbox WHERE topic = 'advisories.forecast'")).scalar_one()
    # The one for when it is public, and the moderator's: it was of a kind the river carries when the job read it.
    assert (kinds, ordered) == (["sewage_outfall"], 2)


def test_an_incident_that_should_warn_and_has_no_forecast_is_found(context: JobContext) -> None:
    """Its order was lost, or it is older than forecasts; where nothing lay below it an import may have changed that."""
    with transaction(context.sessions) as session:
        upstream = Upstream(session, context.settings, utc_now())
        mild, _report = open_on(
            session, upstream.river.ids[0], add_moderator(session, "乙", now=upstream.now), now=upstream.now,
            at=(LON + 0.02, LAT), severity=Severity.GENERAL,
        )  # fmt: skip
        session.execute(text("DELETE FROM outbox"))
    assert (reckon_anew(context), reckon_anew(context)) == (1, 0)
    assert work(context) == [forecasts.TOPIC_FORECAST]
    with transaction(context.sessions) as session:
        rows = session.execute(text("SELECT incident_id, state FROM downstream_forecast")).all()
        assert [tuple(row) for row in rows] == [(upstream.incident_id, "standing")] != [(mild.id, "standing")]
        session.execute(text("UPDATE downstream_forecast SET state = 'ended', state_deadline_at = NULL"))
        session.execute(text("DELETE FROM outbox"))
    assert reckon_anew(context) == 0
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE downstream_forecast SET made_at = made_at - interval '61 minutes'"))
    assert (reckon_anew(context), reckon_anew(context)) == (1, 0)
