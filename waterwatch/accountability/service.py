"""Use cases of accountability: count a period, show it to the departments, take their word, publish. None commits."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.accountability import letters, queries
from waterwatch.accountability.forms import WriteComment
from waterwatch.accountability.rules import COMMENT, RELEASE, WITHHELD_FOR, Period
from waterwatch.accountability.tables import AgencyComment, PeriodRelease
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Gone, Invalid
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.email import is_address
from waterwatch.postbox import service as postbox
from waterwatch.workdays.queries import terms_of
from waterwatch.workdays.rules import CHINA_TIME, add_working_days

KIND = "accountability.figures"


@dataclass(frozen=True)
class Counted:
    """What counting a period came to: departments, areas and the country together, letters, until when it is shown."""

    period: str
    rows: int
    letters: int
    shown_until: datetime


def show_period(session: Session, period: Period, *, settings: Settings, actor: Actor, now: datetime) -> Counted:
    """Count a period that is over, and show each department its figures before anybody else sees them.

    Counted again while it is only shown, it is counted anew: the links that were sent show what is counted now, and
    whoever has not been written to is.

    Raises:
        Invalid: the period is not over.
        Conflict: it is published, or a department has commented on it.
    """
    if period.until > now:
        raise Invalid({"period": ["period_not_over"]})
    release = queries.locked_release(session, period.code)
    if release is not None and release.state == "published":
        raise Conflict("figures_are_published")
    today = now.astimezone(CHINA_TIME).date()
    until = add_working_days(now, settings.comment_working_days, terms_of(session, None, today).calendar)
    if release is None:
        release = PeriodRelease(period=period.code, id=new_id(), as_of=now)
        RELEASE.enter(release, now=now)
        release.state_deadline_at = until
        session.add(release)
        session.flush()
    else:
        if queries.has_comments(session, period.code):
            raise Conflict("figures_are_commented")  # a department that has spoken is not talked past
        release.as_of, release.state_deadline_at = now, max(until, release.state_deadline_at or until)
        session.flush()
    rows = queries.count(session, period, as_of=now)
    told = _write_to_departments(session, period, release, settings=settings, now=now)
    facts: dict[str, audit.Fact] = {"period": period.code, "rows": rows, "letters": told}
    _record(session, "figures.shown", release.id, actor=actor, now=now, after=facts)
    return Counted(period.code, rows, told, until)


def _write_to_departments(
    session: Session, period: Period, release: PeriodRelease, *, settings: Settings, now: datetime
) -> int:
    """One mail to each department with an address; none twice, however often a period is counted."""
    told = 0
    for figures_id, agency_id, address in queries.addressed(session, period.code):
        if not is_address(address):
            continue
        recipient = settings.staging_mail or address
        mail = letters.figures_shown(
            queries.shown(session, figures_id), release, recipient, address, settings=settings, now=now
        )
        about = postbox.About(KIND, figures_id, agency_id, once_key=f"figures:{period.code}:{agency_id}")
        told += postbox.post_mail(session, about, mail, settings=settings, now=now)
    return told


def publish_due(session: Session, *, actor: Actor, now: datetime) -> int:
    """Publish the periods whose departments have had their time. Idempotent. Gives how many."""
    due = queries.releases_due(session, now=now)
    for period in due:
        publish(session, period, actor=actor, now=now)
    return len(due)


def publish(session: Session, period: str, *, actor: Actor, now: datetime) -> None:
    """Make a period's figures public. Idempotent. Raises :class:`Conflict` while the departments have time left."""
    release = queries.locked_release(session, period)
    if release is None or release.state == "published":
        return
    if release.state_deadline_at is not None and release.state_deadline_at > now:
        raise Conflict("figures_still_shown")
    RELEASE.move(release, "published", now=now)
    release.published_at = now
    _record(session, "figures.published", release.id, actor=actor, now=now, after={"period": period})


def comment(
    session: Session, figures_id: uuid.UUID, command: WriteComment, *, actor: Actor, now: datetime
) -> AgencyComment:
    """A department says something of its figures. Once more replaces what was not checked yet.

    Raises:
        NotFound: there are no such figures, or not any more.
        Gone: they are published; what is said then is said in public elsewhere.
        Conflict: the lead has checked what was said before.
    """
    # The release first: whoever counts anew holds it, and may take these figures away.
    release = queries.locked_release(session, queries.period_of(session, figures_id))
    queries.shown(session, figures_id)
    if release is None or release.state == "published":
        raise Gone("comments_are_closed")
    said = queries.comment_on(session, figures_id)
    if said is None:
        said = AgencyComment(id=new_id(), figures_id=figures_id, words=command.words, written_at=now)
        COMMENT.enter(said, now=now)
        session.add(said)
    elif said.state == "held":
        said.words, said.written_at = command.words, now
    else:
        raise Conflict("comment_was_checked")
    session.flush()
    _record(session, "comment.written", said.id, actor=actor, now=now, after={"figures_id": figures_id})
    return said


def publish_comment(session: Session, comment_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """The lead lets a comment stand beside the figures; public as soon as they are. Raises :class:`NotFound`."""
    said = queries.locked_comment(session, comment_id)
    if said.state == "published":
        return
    before = COMMENT.move(said, "published", now=now)
    said.checked_by, said.withheld_reason = actor.id, None
    session.flush()
    _record(session, "comment.published", said.id, actor=actor, now=now, before={"state": before})


def withhold_comment(session: Session, comment_id: uuid.UUID, reason: str, *, actor: Actor, now: datetime) -> None:
    """The lead keeps a comment from the public. Raises :class:`NotFound`, :class:`Invalid` for an unknown reason."""
    if reason not in WITHHELD_FOR:
        raise Invalid({"reason": ["reason_unknown"]})
    said = queries.locked_comment(session, comment_id)
    if said.state == "withheld":
        return
    before = COMMENT.move(said, "withheld", now=now)
    said.checked_by, said.withheld_reason = actor.id, reason
    session.flush()
    _record(
        session, "comment.withheld", said.id, actor=actor, now=now, before={"state": before}, after={"reason": reason}
    )


def _record(
    session: Session,
    action: str,
    subject_id: uuid.UUID,
    *,
    actor: Actor,
    now: datetime,
    before: dict[str, audit.Fact] | None = None,
    after: dict[str, audit.Fact] | None = None,
) -> None:
    audit.record(
        session,
        action=action,
        subject_kind="agency_comment" if action.startswith("comment") else "period_release",
        subject_id=subject_id,
        actor=actor,
        now=now,
        before=before,
        after=after,
    )
