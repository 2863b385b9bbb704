"""Use cases of contacts: keep, confirm, stop, show on demand, erase. No address ever reaches log, audit or export.

Nothing here commits. Every change writes one audit row on the report, with truth values and reasons only.
"""

import json
import uuid
from dataclasses import asdict
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.contacts import queries, rules
from waterwatch.contacts.rules import Contact
from waterwatch.contacts.tables import PushSubscription, ReportContact
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Forbidden, Gone, Invalid, NotFound
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.sealing import open_value, seal_value
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.webpush import Subscription
from waterwatch.postbox import service as postbox

TOPIC_GIVEN = "contacts.given"
PURPOSE, PUSH_PURPOSE = "contact", "push-subscription"
BROWSERS_MAX = 5  # of one report (ours): one person's devices, and no more


def keep(session: Session, report_id: uuid.UUID, contact: Contact, *, settings: Settings, now: datetime) -> uuid.UUID:
    """Keep a report's contact in place of any earlier one; returns its id.

    An address that notices may go to is asked first whether it wants them (:data:`TOPIC_GIVEN`).
    """
    _remove(session, report_id, now=now)
    contact_id = new_id()
    content = json.dumps({"email": contact.email, "phone": contact.phone}).encode()
    session.add(
        ReportContact(
            id=contact_id,
            report_id=report_id,
            sealed=seal_value(settings, PURPOSE, contact_id, content),
            has_email=contact.email is not None,
            has_phone=contact.phone is not None,
            by_mail=contact.by_mail,
            may_ask=contact.may_ask,
            created_at=now,
        )
    )
    session.flush()
    after: dict[str, audit.Fact] = {
        "has_email": contact.email is not None,
        "has_phone": contact.phone is not None,
        "by_mail": contact.by_mail,
        "may_ask": contact.may_ask,
    }
    _record(session, "contact.kept", report_id, Actor.anonymous(), now, after)
    if contact.by_mail:
        outbox.emit(session, TOPIC_GIVEN, {"contact_id": str(contact_id)}, now=now)
    return contact_id


def subscribe(
    session: Session, report_id: uuid.UUID, subscription: Subscription, *, settings: Settings, now: datetime
) -> None:
    """Tell this browser of the report. The same one again is as good.

    Raises :class:`Conflict` ``too_many_browsers`` beyond :data:`BROWSERS_MAX`.
    """
    digest = postbox.address_digest(settings, subscription.endpoint)
    found = queries.subscriptions_of(session, report_id)
    if any(one.endpoint_digest == digest for one in found):
        return
    if len(found) >= BROWSERS_MAX:
        raise Conflict("too_many_browsers")
    subscription_id = new_id()
    content = json.dumps(asdict(subscription)).encode()
    session.add(
        PushSubscription(
            id=subscription_id,
            report_id=report_id,
            endpoint_digest=digest,
            sealed=seal_value(settings, PUSH_PURPOSE, subscription_id, content),
            created_at=now,
        )
    )
    session.flush()
    _record(session, "contact.browser_added", report_id, Actor.anonymous(), now)


def unsubscribe(session: Session, report_id: uuid.UUID, *, now: datetime) -> None:
    """Tell no browser of the report any more. Twice is once."""
    for found in queries.subscriptions_of(session, report_id):
        forget_browser(session, found.id, now=now)


def forget_browser(session: Session, subscription_id: uuid.UUID, *, now: datetime) -> None:
    """A browser that is gone, or not wanted any more, and what still waits to be sent to it. Twice is once."""
    found = session.get(PushSubscription, subscription_id)
    if found is None:
        return
    postbox.drop(session, recipient_id=found.id, now=now)
    _record(session, "contact.browser_removed", found.report_id, Actor.anonymous(), now)
    session.delete(found)
    session.flush()


def read_subscription(kept: PushSubscription, *, settings: Settings) -> Subscription:
    """Open a subscription, for sending."""
    return Subscription(**json.loads(open_value(settings, PUSH_PURPOSE, kept.id, kept.sealed)))


def read(kept: ReportContact, *, settings: Settings) -> Contact:
    """Open a contact. For sending what its owner asked for; a person who looks at one goes by :func:`show`."""
    content = json.loads(open_value(settings, PURPOSE, kept.id, kept.sealed))
    return Contact(content["email"], content["phone"], kept.by_mail, kept.may_ask)


def confirm(session: Session, contact_id: uuid.UUID, *, now: datetime) -> uuid.UUID:
    """Whoever reads that mailbox wants the notices; returns the report's id. Twice is once.

    Raises :class:`Gone` ``contact_gone`` when the contact was changed or erased since.
    """
    kept = queries.lock_contact_by_id(session, contact_id)
    if kept is None or not kept.by_mail:
        raise Gone("contact_gone")
    if kept.confirmed_at is None:
        kept.confirmed_at = now
        session.flush()
        _record(session, "contact.confirmed", kept.report_id, Actor.anonymous(), now)
    return kept.report_id


def stop_mail(session: Session, contact_id: uuid.UUID, *, now: datetime) -> None:
    """No further mail to this contact. An address kept for nothing else is erased. Twice, or too late, is nothing."""
    kept = queries.lock_contact_by_id(session, contact_id)
    if kept is None or not kept.by_mail:
        return
    kept.by_mail = False
    postbox.drop(session, recipient_id=kept.id, now=now)
    _record(session, "contact.mail_stopped", kept.report_id, Actor.anonymous(), now)
    if not kept.may_ask:
        session.delete(kept)
    session.flush()


def show(
    session: Session, report_id: uuid.UUID, reason: str, *, actor: Actor, settings: Settings, now: datetime
) -> Contact:
    """Open a contact for the lead moderator, who says why; that it was done, and why, stands in the audit for good.

    Raises :class:`Invalid` for a reason that is not on the list, :class:`Forbidden` ``contact_not_for_asking``,
    :class:`NotFound` ``contact_unknown``.
    """
    if reason not in rules.SHOW_REASONS:
        raise Invalid({"reason": ["choice_unknown" if reason else "missing"]})
    kept = queries.lock_contact(session, report_id)
    if kept is None:
        raise NotFound("contact_unknown")
    if not rules.may_show(reason, may_ask=kept.may_ask):
        raise Forbidden("contact_not_for_asking")
    _record(session, "contact.shown", report_id, actor, now, {"reason": reason})
    return read(kept, settings=settings)


def erase(session: Session, report_id: uuid.UUID, reason: str, *, actor: Actor, now: datetime) -> bool:
    """Erase every way to reach a report's author, and whatever still waits to be sent. Whether there was any.

    ``reason``: ``author``, ``withdrawn``, ``ended``, ``account_deleted``, ``unconfirmed``.
    """
    had_contact = _remove(session, report_id, now=now)
    found = queries.subscriptions_of(session, report_id)
    for subscription in found:
        session.delete(subscription)
    session.flush()
    postbox.drop(session, subject_id=report_id, now=now)
    if had_contact or found:
        facts: dict[str, audit.Fact] = {"reason": reason, "contact": had_contact, "browsers": len(found)}
        _record(session, "contact.erased", report_id, actor, now, facts)
    return had_contact or bool(found)


def erase_contact(session: Session, report_id: uuid.UUID, reason: str, *, actor: Actor, now: datetime) -> bool:
    """Erase address and number, and leave the browsers that follow. Whether there was any."""
    had_contact = _remove(session, report_id, now=now)
    if had_contact:
        _record(session, "contact.erased", report_id, actor, now, {"reason": reason, "contact": True, "browsers": 0})
    return had_contact


def _remove(session: Session, report_id: uuid.UUID, *, now: datetime) -> bool:
    kept = queries.lock_contact(session, report_id)
    if kept is None:
        return False
    postbox.drop(session, recipient_id=kept.id, now=now)
    session.delete(kept)
    session.flush()
    return True


def _record(
    session: Session,
    action: str,
    report_id: uuid.UUID,
    actor: Actor,
    now: datetime,
    after: dict[str, audit.Fact] | None = None,
) -> None:
    audit.record(session, action=action, subject_kind="report", subject_id=report_id, actor=actor, now=now, after=after)
