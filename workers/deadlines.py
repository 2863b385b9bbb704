"""Every state that must be left by a time, and what is done when it was not: one table, so that none is forgotten.

Work that should be under way but has no open outbox row any more is ordered again. What only a person can hurry is
counted (``waterwatch_overdue`` in ``/metrics``) and logged. A department that is late is reminded, and then told on.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from waterwatch.advisories import forecasts
from waterwatch.advisories.rules import CARRIED_KINDS, WARNS_FROM
from waterwatch.casework import pressing
from waterwatch.casework import queries as cases
from waterwatch.escalation import deliveries
from waterwatch.escalation.rules import order_patience
from waterwatch.inbox import service as inbox
from waterwatch.incidents.queries import overdue_incidents
from waterwatch.incidents.rules import RED_SECOND_WITHIN
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import DomainError
from waterwatch.kernel.log import get_logger
from waterwatch.moderation import actions
from waterwatch.moderation import service as moderation
from waterwatch.photos import service as photos
from waterwatch.postbox import service as postbox
from workers import papers

BATCH = 200
SWEEP = Actor.system("sweep")
Remedy = Callable[[JobContext], int]
log = get_logger(__name__)

_PHOTOS_FORGOTTEN = text("""
SELECT p.id FROM photo p
WHERE p.state IN ('received', 'sanitising') AND p.state_deadline_at < :now AND NOT EXISTS (
    SELECT FROM outbox o WHERE o.topic = 'photos.sanitise' AND o.done_at IS NULL AND o.dead_at IS NULL
      AND o.payload ->> 'photo_id' = p.id::text)
ORDER BY p.state_deadline_at LIMIT :limit
""")
_REPORTS_FORGOTTEN = text("""
SELECT DISTINCT ON (r.id) rp.photo_id
FROM report r JOIN report_photo rp ON rp.report_id = r.id
WHERE r.state IN ('received', 'sanitising') AND r.state_deadline_at < :now
  AND NOT EXISTS (SELECT FROM report_photo x JOIN photo p ON p.id = x.photo_id
                  WHERE x.report_id = r.id AND p.state NOT IN ('ready', 'refused'))
  AND NOT EXISTS (SELECT FROM outbox o JOIN report_photo x ON o.payload ->> 'photo_id' = x.photo_id::text
                  WHERE x.report_id = r.id AND o.topic = 'photos.settled' AND o.done_at IS NULL AND o.dead_at IS NULL)
ORDER BY r.id LIMIT :limit
""")
_DELIVERIES_FORGOTTEN = text("""
SELECT d.id, d.channel FROM delivery d
WHERE d.state IN ('pending', 'sending') AND d.state_deadline_at < :now AND NOT EXISTS (
    SELECT FROM outbox o WHERE o.topic IN ('escalation.deliver', 'escalation.call')
      AND o.done_at IS NULL AND o.dead_at IS NULL
      AND o.payload ->> 'delivery_id' = d.id::text)
ORDER BY d.state_deadline_at LIMIT :limit
""")
_AWAITED_IN_VAIN = text("""
SELECT id FROM delivery WHERE state = 'awaiting' AND state_deadline_at < :now ORDER BY state_deadline_at LIMIT :limit
""")
# Letters that keep others waiting, of agencies that are told one by one and have somebody who was not told yet.
_LETTERS_SLOW = text("""
SELECT d.id FROM delivery d
JOIN (VALUES (4, :red), (3, :orange), (2, :yellow), (1, :blue)) patience (severity, term) USING (severity)
JOIN escalation_case c ON c.id = d.case_id AND c.state = 'queued'
JOIN agency a ON a.id = c.agency_id AND a.channels_in = 'order'
WHERE d.state = 'pending' AND greatest(d.created_at, d.due_at) <= :now - patience.term
  AND NOT EXISTS (SELECT FROM delivery later WHERE later.case_id = d.case_id AND later.id > d.id)
  AND EXISTS (
      SELECT FROM agency_contact k WHERE k.agency_id = a.id AND k.active AND k.channel <> 'post' AND NOT EXISTS (
      SELECT FROM delivery x WHERE x.case_id = c.id AND x.channel = k.channel AND x.address = k.address))
ORDER BY d.severity DESC, d.created_at LIMIT :limit
""")
_POSTINGS_FORGOTTEN = text("""
SELECT p.id FROM posting p
WHERE p.state IN ('pending', 'sending') AND p.state_deadline_at < :now AND NOT EXISTS (
    SELECT FROM outbox o WHERE o.topic = 'postbox.send' AND o.done_at IS NULL AND o.dead_at IS NULL
      AND o.payload ->> 'posting_id' = p.id::text)
ORDER BY p.state_deadline_at LIMIT :limit
""")
_MAILS_FORGOTTEN = text("""
SELECT m.id FROM incoming_mail m
WHERE m.state = 'received' AND m.state_deadline_at < :now AND NOT EXISTS (
    SELECT FROM outbox o WHERE o.topic = 'inbox.sort' AND o.done_at IS NULL AND o.dead_at IS NULL
      AND o.payload ->> 'incoming_mail_id' = m.id::text)
ORDER BY m.state_deadline_at LIMIT :limit
""")
# An order for later counts: nobody is told of what a moderator may still undo, and one that failed waits a while.
# Also incidents that should warn, and have no forecast, or one that ended, made an hour ago: their order was lost, they
# are older than this system's forecasts, or the rivers below them came by an import since.
_FORECASTS_DUE = text(f"""
SELECT due.incident_id FROM (
    SELECT incident_id, state_deadline_at AS at FROM downstream_forecast WHERE state_deadline_at < :now
    UNION
    SELECT i.id, coalesce(f.made_at, i.opened_at) FROM incident i
    LEFT JOIN downstream_forecast f ON f.incident_id = i.id
    WHERE i.closed_at IS NULL AND i.severity >= {int(WARNS_FROM)}
      AND i.kind IN ({", ".join(f"'{kind}'" for kind in sorted(CARRIED_KINDS))})
      AND (f.incident_id IS NULL
           OR f.state = 'ended' AND f.made_at < :now - make_interval(secs => {forecasts.RECKONED_EVERY_S}))) due
WHERE NOT EXISTS (
    SELECT FROM outbox o WHERE o.topic = 'advisories.forecast' AND o.done_at IS NULL AND o.dead_at IS NULL
      AND o.payload ->> 'incident_id' = due.incident_id::text)
ORDER BY due.at LIMIT :limit
""")  # noqa: S608  # names and numbers of our own
_QUESTIONS_OVERDUE = text("""
SELECT id FROM question WHERE state_deadline_at < :now ORDER BY state_deadline_at LIMIT :limit
""")
# A red that waits for its second stands as orange: see incidents.rules.
_REDS_OVERDUE = """
SELECT 'incident' AS name, 'awaiting_second' AS state, count(DISTINCT i.id)::int AS rows
FROM incident i JOIN grade g ON g.incident_id = i.id
WHERE i.closed_at IS NULL AND i.graded_severity > i.severity AND g.standing = 4 AND g.seconded_by IS NULL
  AND g.reversed_at IS NULL AND g.superseded_by_id IS NULL AND g.graded_at < :red_before
HAVING count(*) > 0
"""
_OVERDUE = text(  # names of our own
    " UNION ALL ".join(  # noqa: S608
        f"SELECT '{name}' AS name, state, count(*)::int AS rows FROM {name}"  # noqa: S608  # names of our own
        " WHERE state_deadline_at < :now GROUP BY state"
        for name in (
            "photo",
            "report",
            "incident",
            "downstream_forecast",
            "escalation_case",
            "case_answer",
            "delivery",
            "posting",
            "question",
            "incoming_mail",
            "bulletin",
            "bulletin_letter",
            "period_release",
        )
    )
    + f" UNION ALL {_REDS_OVERDUE}"
)


def sanitise_again(context: JobContext) -> int:
    """Photos that should have been sanitised by now. Returns how many were ordered."""
    return _order(context, _PHOTOS_FORGOTTEN, photos.TOPIC_SANITISE, "photo_id")


def settle_again(context: JobContext) -> int:
    """Reports whose photos are all settled, but which have not moved on. Returns how many were ordered."""
    return _order(context, _REPORTS_FORGOTTEN, photos.TOPIC_SETTLED, "photo_id")


def deliver_again(context: JobContext) -> int:
    """Deliveries nobody is trying any more. Returns how many were ordered."""
    now = context.now()
    with transaction(context.sessions) as session:
        found = [(row.id, row.channel) for row in session.execute(_DELIVERIES_FORGOTTEN, {"now": now, "limit": BATCH})]
        deliveries.order(session, found, now=now)
        return len(found)


def give_up_awaiting(context: JobContext) -> int:
    """Letters nobody fetched, posted or gave a number to in time: the agency's next contact gets one, or a person is
    told. Each in its own transaction. Returns how many."""
    with transaction(context.sessions) as session:
        due = list(session.execute(_AWAITED_IN_VAIN, {"now": context.now(), "limit": BATCH}).scalars())
    for delivery_id in due:
        with transaction(context.sessions) as session:
            deliveries.fail_awaiting(
                session, delivery_id, "awaited_in_vain", settings=context.settings, now=context.now()
            )
    return len(due)


def pass_over_slow(context: JobContext) -> int:
    """Letters that wait for too long: the agency's next contact is told beside them. Returns how many were."""
    patience = dict(zip(("red", "orange", "yellow", "blue"), map(order_patience, (4, 3, 2, 1)), strict=True))
    with transaction(context.sessions) as session:
        due = list(session.execute(_LETTERS_SLOW, {"now": context.now(), "limit": BATCH} | patience).scalars())
    passed = 0
    for delivery_id in due:
        with transaction(context.sessions) as session:
            passed += deliveries.pass_over(session, delivery_id, settings=context.settings, now=context.now())
    return passed


def send_again(context: JobContext) -> int:
    """Postings nobody is trying to send any more. Returns how many were ordered."""
    return _order(context, _POSTINGS_FORGOTTEN, postbox.TOPIC_SEND, "posting_id")


def sort_again(context: JobContext) -> int:
    """Mails that came and that nobody is reading any more. Returns how many were ordered."""
    return _order(context, _MAILS_FORGOTTEN, inbox.TOPIC_SORT, "incoming_mail_id")


def remind_agencies(context: JobContext) -> int:
    """Cases whose time is running out: one letter each says so. Returns how many went."""
    with transaction(context.sessions) as session:
        due = cases.reminders_due(session, now=context.now(), limit=BATCH)
    return _press(context, due, pressing.remind)


def tell_superiors(context: JobContext) -> int:
    """Cases whose time is over: the agency above gets one of its own, once a level. Returns how many were told of."""
    with transaction(context.sessions) as session:
        due = cases.overdue_cases(session, now=context.now(), limit=BATCH)
    return _press(context, due, pressing.escalate_overdue)


def _press(context: JobContext, case_ids: Sequence[uuid.UUID], act: Callable[..., object]) -> int:
    """Each case in a transaction of its own, so that one that cannot be helped keeps no other waiting."""
    pressed = 0
    for case_id in case_ids:
        try:
            with transaction(context.sessions) as session:
                found = act(session, case_id, settings=context.settings, actor=SWEEP, now=context.now())
                pressed += bool(found)
        except DomainError as error:
            log.warning("sweep.case_left", case_id=str(case_id), error=error.error_code)
    return pressed


def step_incidents_down(context: JobContext) -> int:
    """Incidents nobody confirmed for too long lose a colour, each in its own transaction. Returns how many."""
    with transaction(context.sessions) as session:
        due = overdue_incidents(session, now=context.now(), limit=BATCH)
    for incident_id in due:
        try:
            with transaction(context.sessions) as session:
                moderation.step_down(session, incident_id, now=context.now())
        except DomainError as error:
            log.warning("sweep.incident_left", incident_id=str(incident_id), error=error.error_code)
    return len(due)


def lapse_questions(context: JobContext) -> int:
    """Questions whose answer was waited for long enough: their reports return to the queue. Returns how many."""
    with transaction(context.sessions) as session:
        due = list(session.execute(_QUESTIONS_OVERDUE, {"now": context.now(), "limit": BATCH}).scalars())
    for question_id in due:
        with transaction(context.sessions) as session:
            actions.lapse_question(session, question_id, now=context.now())
    return len(due)


def reckon_anew(context: JobContext) -> int:
    """Forecasts of which a window has lapsed, that were reckoned long ago, or that are missing. Returns how many were
    ordered."""
    return _order(context, _FORECASTS_DUE, forecasts.TOPIC_FORECAST, "incident_id")


# (table, state) → remedy; None: only a person can do it.
REMEDIES: Mapping[tuple[str, str], Remedy | None] = MappingProxyType(
    {
        ("photo", "received"): sanitise_again,
        ("photo", "sanitising"): sanitise_again,
        ("report", "received"): settle_again,
        ("report", "sanitising"): settle_again,
        ("report", "in_review"): None,  # a moderator
        ("incident", "open"): step_incidents_down,
        ("incident", "answered"): step_incidents_down,
        ("incident", "resolved_claimed"): step_incidents_down,
        ("incident", "reopened"): step_incidents_down,
        ("downstream_forecast", "standing"): reckon_anew,
        ("escalation_case", "queued"): None,  # its deliveries are watched below; nobody knows a faster way
        # The department owes an acknowledgement, an answer, an end: past its time whoever is above it is told.
        ("escalation_case", "delivered"): tell_superiors,
        ("escalation_case", "acknowledged"): tell_superiors,
        ("escalation_case", "answered"): tell_superiors,
        ("case_answer", "held"): None,  # a lead
        ("delivery", "pending"): deliver_again,
        ("delivery", "sending"): deliver_again,
        ("delivery", "awaiting"): give_up_awaiting,
        ("posting", "pending"): send_again,
        ("posting", "sending"): send_again,
        ("question", "open"): lapse_questions,
        ("bulletin", "making"): papers.make_again,
        ("bulletin", "draft"): None,  # the lead moderator
        ("bulletin_letter", "pending"): papers.send_again,
        ("bulletin_letter", "sending"): papers.send_again,
        ("period_release", "shown"): papers.publish_figures,
        ("incoming_mail", "received"): sort_again,
    }
)


def overdue(session: Session, *, now: datetime) -> dict[tuple[str, str], int]:
    """How many rows of each (table, state) are past their deadline; only where there are any."""
    values = {"now": now, "red_before": now - RED_SECOND_WITHIN}
    return {(row.name, row.state): row.rows for row in session.execute(_OVERDUE, values)}


def _order(context: JobContext, query: TextClause, topic: str, name: str) -> int:
    """Emit ``topic`` for every id the query finds. Idempotent: the query leaves out what has been ordered."""
    now = context.now()
    with transaction(context.sessions) as session:
        found: list[uuid.UUID] = list(session.execute(query, {"now": now, "limit": BATCH}).scalars())
        for row_id in found:
            outbox.emit(session, topic, {name: str(row_id)}, now=now)
        return len(found)
