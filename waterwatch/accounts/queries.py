"""Answers about people."""

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from waterwatch.accounts.tables import Organisation, Person, Role


def person_by_email(session: Session, email: str) -> Person | None:
    """Somebody by their address; case does not matter."""
    return session.scalars(select(Person).where(Person.email == email.strip().lower())).one_or_none()


def default_organisation_id(session: Session) -> uuid.UUID:
    """The organisation every installation begins with."""
    return session.scalars(select(Organisation.id).where(Organisation.code == "default")).one()


def role_by_name(session: Session, name: str) -> Role:
    """A role. Raises ``NoResultFound`` for a name that is not one of ours."""
    return session.scalars(select(Role).where(Role.name == name)).one()
