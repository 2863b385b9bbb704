"""How a colleague comes to the desk: an invitation by mail, which makes an account when it is taken up, and no sooner.

Whoever invites learns nothing of an address: the same is said, and the same letter goes, whether it has an account
here or not. A citizen's account would otherwise be given away to an agency that wonders who reports.
"""

import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from waterwatch.accounts import queries as accounts
from waterwatch.accounts import service as people
from waterwatch.accounts.service import is_mail_address
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Gone, Invalid, NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import seal, unseal
from waterwatch.officers import letters
from waterwatch.officers.queries import Office
from waterwatch.postbox import service as postbox
from waterwatch.postbox.service import About

PURPOSE = "officer-invitation"
KIND = "office.invitation"
VALID_FOR = timedelta(days=3)
ADDRESS_MAX_CHARACTERS = 254  # RFC 5321, section 4.5.3.1.3


@dataclass(frozen=True)
class Invitation:
    """Who is asked to act for which agency, and by whom."""

    email: str
    agency_code: str
    invited_by: uuid.UUID


def invite(
    session: Session, office: Office, email: str, *, language: str, settings: Settings, actor: Actor, now: datetime
) -> None:
    """Send an invitation. Raises :class:`Invalid` ``email_invalid``.

    An address that got so many letters of ours today gets no further one, and nobody is told so.
    """
    email = email.strip().lower()
    if len(email) > ADDRESS_MAX_CHARACTERS or not is_mail_address(email):
        raise Invalid({"email": ["email_invalid"]})
    assert actor.id is not None
    body = json.dumps([email, office.code, actor.id.hex, now.isoformat()], separators=(",", ":")).encode()
    join_url = f"{settings.public_url}/office/join/{seal(settings, PURPOSE, body)}"
    if not postbox.is_pestered(session, email, KIND, settings=settings, now=now):
        mail = letters.invitation(email, office.name, join_url, language=language, settings=settings)
        postbox.post_mail(session, About(KIND, office.agency_id, actor.id), mail, settings=settings, now=now)
    audit.record(
        session,
        action="agency.colleague_invited",
        subject_kind="agency",
        subject_id=office.agency_id,
        actor=actor,
        now=now,
    )


def read(session: Session, token: str, *, settings: Settings, now: datetime) -> Invitation:
    """The invitation of a link. Raises :class:`NotFound` for a forged one, :class:`Gone` for one that is over.

    It is over after three days, as soon as whoever invited acts for the agency no more, and as soon as whoever was
    invited has left it: they come back by a new one alone.
    """
    try:
        email, code, inviter, issued = json.loads(unseal(settings, PURPOSE, token))
        issued_at = datetime.fromisoformat(issued)
    except (ValueError, TypeError):
        raise NotFound("link_unknown") from None
    if issued_at + VALID_FOR <= now:
        raise Gone("link_expired")
    invited_by = uuid.UUID(hex=inviter)
    if accounts.agency_code_of(session, invited_by) != code:
        raise Gone("link_expired")
    if accounts.has_left_since(session, email, code, issued_at):
        raise Gone("link_expired")
    return Invitation(email, code, invited_by)


def take_up(session: Session, invitation: Invitation, password: str, *, language: str, now: datetime) -> uuid.UUID:
    """The account of whoever opened the link. The second factor is set up when they sign in.

    Raises :class:`Invalid` ``password_too_short``, :class:`Conflict` ``officer_already``, ``account_is_personal``.
    """
    person = people.add_officer(
        session,
        invitation.email,
        password,
        invitation.agency_code,
        language=language,
        actor=Actor.person(invitation.invited_by, None),
        now=now,
    )
    return person.id
