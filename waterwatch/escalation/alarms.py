"""A case that reached nobody is told to the lead moderators by mail, and so is a letter that did not arrive.

Each time it happens once, and many in one mail.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, delete, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from waterwatch.accounts.queries import Staff, people_with_role
from waterwatch.escalation import delivery_queries as queries
from waterwatch.escalation.delivery_queries import AlarmingCase
from waterwatch.escalation.tables import CaseAlarm
from waterwatch.kernel import gathering, outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.writing import environment, in_language
from waterwatch.postbox import service as postbox
from waterwatch.postbox.service import About, Mail
from waterwatch.web.words import SEVERITY_WORDS

TOPIC_ALARM: Final = "escalation.alarm"
ALARMING: Final = ("dead", "no_contact")
LATE: Final = ("delivered", "acknowledged", "answered")
GATHER_FOR: Final = timedelta(seconds=30)  # what fails together is told together
LISTED: Final = 40
LETTER_FAILED: Final = "letter_failed"

REASON_WORDS: Final = {
    "nobody_competent": _l("没有部门负责这个地点的这类问题"),
    "no_address": _l("部门没有能用的联系方式"),
    "every_letter_failed": _l("所有信件都没有送达"),
    "warning_no_address": _l("下游预警没有人收得到：部门没有能用的联系方式，请马上打电话告知"),
    "warning_failed": _l("下游预警没有送达，请马上打电话告知"),
    "all_refused": _l("收到的部门都说不归自己管，没有部门可以再转交"),
    "overdue": _l("逾期，没有上级可以再告知"),
    LETTER_FAILED: _l("有一封信没有送达，部门的这个地址可能已经失效"),
}

log = get_logger(__name__)


def raise_alarm(session: Session, case_id: UUID, reason: str, *, since: datetime, now: datetime) -> None:
    """The leads are to be told of a case, in the caller's transaction: once for each reason and time it happens.

    ``since``: when it came to that. What was raised before then was another time, and is raised anew.
    """
    gathering.write(session)  # the case itself may still wait for the end of the act
    statement = insert(CaseAlarm).values(case_id=case_id, reason=reason, raised_at=now)
    statement = statement.on_conflict_do_update(
        index_elements=[CaseAlarm.case_id, CaseAlarm.reason],
        set_={"raised_at": now, "told_at": None},
        where=CaseAlarm.raised_at < since,
    )
    if session.execute(statement.returning(CaseAlarm.case_id)).first() is not None:
        outbox.emit(session, TOPIC_ALARM, {}, now=now, priority=2, available_at=now + GATHER_FOR)


def tell(context: JobContext, message: outbox.Message) -> None:
    """The job of :data:`TOPIC_ALARM`: one mail to each lead about every case they have not been told of.

    Idempotent: the cases are marked in the transaction that posts the mails; a second run finds none.
    """
    now = context.now()
    with transaction(context.sessions) as session:
        waiting = queries.untold_alarms(session)
        alarms = [alarm for alarm in waiting if _is_alarming(alarm)]
        _forget(session, [alarm for alarm in waiting if not _is_alarming(alarm)])
        leads = people_with_role(session, "lead_moderator") or people_with_role(session, "admin")
        for lead in leads if alarms else ():
            _post(session, lead, alarms, message.id, settings=context.settings, now=now)
        if alarms and leads:
            session.execute(update(CaseAlarm).where(_are(alarms)).values(told_at=now))
        elif alarms:
            log.error("alarm.nobody_to_tell", cases=len(alarms))
        outbox.finish(session, message.id)


def _is_alarming(alarm: AlarmingCase) -> bool:
    if alarm.reason == LETTER_FAILED:
        return alarm.state not in ALARMING  # else that is what is said of it
    return alarm.state in (LATE if alarm.reason == "overdue" else ALARMING)


def _are(alarms: list[AlarmingCase]) -> ColumnElement[bool]:
    return tuple_(CaseAlarm.case_id, CaseAlarm.reason).in_([(alarm.case_id, alarm.reason) for alarm in alarms])


def _forget(session: Session, alarms: list[AlarmingCase]) -> None:
    """What was taken back, or has somebody to go to after all, is no alarm; it may become one again."""
    if alarms:
        session.execute(delete(CaseAlarm).where(_are(alarms)))


def _post(
    session: Session, lead: Staff, alarms: list[AlarmingCase], message_id: UUID, *, settings: Settings, now: datetime
) -> None:
    render = environment(lead.language, "waterwatch.escalation").get_template
    words = {
        "alarms": alarms[:LISTED],
        "count": len(alarms),
        "more": max(0, len(alarms) - LISTED),
        "desk_url": f"{settings.public_url}/desk/",
        "public_url": settings.public_url,
        "language": lead.language,
        "reasons": {code: in_language(lead.language, words) for code, words in REASON_WORDS.items()},
        "severities": {rank: in_language(lead.language, words) for rank, words in SEVERITY_WORDS.items()},
    }
    mail = Mail(
        address=lead.email,
        subject=render("escalation/alarm_subject.txt").render(words),
        text=render("escalation/alarm.txt").render(words),
        html=render("escalation/alarm.html").render(words),
        language=lead.language,
    )
    about = About("case.alarm", message_id, lead.person_id, f"case.alarm:{message_id}:{lead.person_id}")
    postbox.post_mail(session, about, mail, settings=settings, now=now)


_FORGOTTEN = text("SELECT EXISTS (SELECT FROM case_alarm WHERE told_at IS NULL AND raised_at < :before)")


def tell_again(session: Session, *, now: datetime) -> int:
    """Cases that nobody was told of for an hour, because there was no lead, or the order was lost. Returns 1 if any."""
    is_due = bool(session.execute(_FORGOTTEN, {"before": now - timedelta(hours=1)}).scalar_one())
    if is_due:
        outbox.emit(session, TOPIC_ALARM, {}, now=now)
    return int(is_due)
