"""Answers about people."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

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
