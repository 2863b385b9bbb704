"""Answers about people."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from waterwatch.accounts.rules import OFFICER
from waterwatch.accounts.tables import Membership, Organisation, Person, Role
from waterwatch.kernel.ids import token_digest


def person_by_email(session: Session, email: str) -> Person | None:
    """Somebody by their address; case does not matter."""
    return session.scalars(select(Person).where(Person.email == email.strip().lower())).one_or_none()


def default_organisation_id(session: Session) -> uuid.UUID:
    """The organisation every installation begins with."""
    return session.scalars(select(Organisation.id).where(Organisation.code == "default")).one()


def role_by_name(session: Session, name: str) -> Role:
    """A role. Raises ``NoResultFound`` for a name that is not one of ours."""
    return session.scalars(select(Role).where(Role.name == name)).one()


def lock_officer(session: Session, person_id: uuid.UUID, agency_code: str) -> Membership | None:
    """Somebody's membership as an officer of an agency, locked."""
    held = select(Membership).join(Role, Role.id == Membership.role_id)
    wanted = held.where(
        Membership.person_id == person_id, Membership.agency_code == agency_code, Role.name == OFFICER
    ).with_for_update(of=Membership)
    return session.scalars(wanted).one_or_none()


def agency_code_of(session: Session, person_id: uuid.UUID) -> str | None:
    """The agency somebody acts for as an officer, if any: the one of their oldest membership."""
    row = session.execute(_AGENCY_CODE, {"person_id": person_id, "role": OFFICER}).first()
    return row.agency_code if row else None


def has_left_since(session: Session, email: str, agency_code: str, since: datetime) -> bool:
    """Whether somebody was removed from an agency after ``since``, whatever they are now."""
    values = {"email": email, "code": agency_code, "since": since}
    return bool(session.execute(_HAS_LEFT, values).scalar_one())


_HAS_LEFT = text("""
SELECT EXISTS (SELECT FROM person p JOIN audit_entry e ON e.subject_kind = 'person' AND e.subject_id = p.id
    WHERE p.email = :email AND e.action = 'person.left_agency' AND e.before ->> 'agency_code' = :code AND e.at > :since)
""")
_AGENCY_CODE = text("""
SELECT m.agency_code FROM membership m JOIN role r ON r.id = m.role_id JOIN person p ON p.id = m.person_id
WHERE m.person_id = :person_id AND r.name = :role AND m.agency_code IS NOT NULL AND p.active
ORDER BY m.created_at, m.id LIMIT 1
""")


@dataclass(frozen=True)
class OfficerView:
    """A colleague. ``has_second_factor`` is False until they have signed in for the first time."""

    person_id: uuid.UUID
    email: str
    since: datetime
    has_second_factor: bool


_OFFICERS = text("""
SELECT p.id AS person_id, p.email, m.created_at AS since, p.tf_primary_method IS NOT NULL AS has_second_factor
FROM membership m JOIN role r ON r.id = m.role_id JOIN person p ON p.id = m.person_id
WHERE m.agency_code = :code AND r.name = :role AND p.active ORDER BY p.email
""")


def officers_of(session: Session, agency_code: str) -> list[OfficerView]:
    """Whoever acts for an agency, by address."""
    return [OfficerView(*row) for row in session.execute(_OFFICERS, {"code": agency_code, "role": OFFICER})]


@dataclass(frozen=True)
class ClientView:
    """An application that reports for people. ``rate_limit`` as in the settings, e.g. ``600/hour``."""

    client_id: uuid.UUID
    name: str
    rate_limit: str
    created_at: datetime
    revoked_at: datetime | None


_CLIENTS = "SELECT id AS client_id, name, rate_limit, created_at, revoked_at FROM api_client "


def client_by_token(session: Session, token: str) -> ClientView | None:
    """The application a token belongs to, unless it was revoked. Only the token's digest is stored."""
    statement = text(_CLIENTS + "WHERE token_digest = :digest AND revoked_at IS NULL")
    row = session.execute(statement, {"digest": token_digest(token)}).first()
    return ClientView(*row) if row else None


def clients(session: Session) -> list[ClientView]:
    """All applications, the revoked ones included, oldest first."""
    return [ClientView(*row) for row in session.execute(text(_CLIENTS + "ORDER BY created_at, id"))]


@dataclass(frozen=True)
class Staff:
    """Somebody who acts for the organisation, as far as a mail to them needs."""

    person_id: uuid.UUID
    email: str
    language: str


def people_with_role(session: Session, role: str) -> list[Staff]:
    """Everybody who has a role and an account that is in use."""
    wanted = (
        select(Person.id, Person.email, Person.language)
        .where(Person.active, Person.id.in_(select(Membership.person_id).join(Role).where(Role.name == role)))
        .order_by(Person.email)
    )
    return [Staff(row.id, row.email, row.language) for row in session.execute(wanted)]
