"""A letter that only tries whether an address works. It says so, and tells of nothing that happened."""

import uuid
from datetime import datetime

from flask_babel import lazy_gettext as _l
from sqlalchemy.orm import Session

from waterwatch.agencies import registry
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.writing import environment
from waterwatch.postbox.service import About, Mail, post_mail

REFUSED_WORDS = {
    "trial_not_for_channel": _l("测试信目前只能发到电子邮箱。其他方式请等真实事件，或请对方在他们那边检查。"),
    "contact_not_used": _l("这个联系方式已停用。"),
}
LANGUAGE = "zh-Hans"


def send(session: Session, contact_id: uuid.UUID, *, settings: Settings, actor: Actor, now: datetime) -> bool:
    """Take a test letter for an agency's mail address; at most one a minute. False where this minute has one.

    In staging it goes to ourselves and says whom it was for. Raises :class:`NotFound`, :class:`Conflict`.
    """
    contact = registry.locked_contact(session, contact_id)
    if contact.channel != "email":
        raise Conflict("trial_not_for_channel")
    if not contact.active:
        raise Conflict("contact_not_used")
    facts = {
        "agency": registry.agency_name(session, contact.agency_id, lang=LANGUAGE) or "",
        "meant_for": contact.address if settings.staging_mail else None,
        "site": settings.public_url,
        "at": now,
    }
    render = environment(LANGUAGE, "waterwatch.directory").get_template
    mail = Mail(
        address=settings.staging_mail or contact.address,
        subject=" ".join(render("directory/mail/trial_subject.txt").render(facts).split()),
        text=render("directory/mail/trial.txt").render(facts),
        html=render("directory/mail/trial.html").render(facts),
        language=LANGUAGE,
    )
    about = About("agency.trial", contact.agency_id, contact.id, f"trial/{contact.id}/{now:%Y%m%d%H%M}")
    is_taken = post_mail(session, about, mail, settings=settings, now=now)
    if is_taken:
        audit.record(
            session,
            action="contact.tried",
            subject_kind="agency_contact",
            subject_id=contact.id,
            actor=actor,
            now=now,
            after={"channel": contact.channel},
        )
    return is_taken
