"""People who act for an organisation. Citizens need no account; staff have one, with a second factor.

The column names ``active``, ``fs_uniquifier``, ``tf_*`` and ``mf_*`` are Flask-Security's.
"""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.mutable import MutableList
from sqlalchemy.orm import Mapped, mapped_column, relationship

from waterwatch.kernel.db import Base

ROLES = ("citizen", "moderator", "lead_moderator", "agency_officer", "admin")


class Organisation(Base):
    """Who runs this: areas, moderators and settings hang on it. One by default."""

    __tablename__ = "organisation"
    __table_args__ = (CheckConstraint("code ~ '^[a-z0-9-]{1,40}$'", name="code"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(Text, unique=True)
    title: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class Role(Base):
    """One of :data:`ROLES`. ``permissions`` is what Flask-Security checks; the table is filled by migration."""

    __tablename__ = "role"
    __table_args__ = (
        CheckConstraint("name IN ('citizen', 'moderator', 'lead_moderator', 'agency_officer', 'admin')", name="name"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    permissions: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))


class Person(Base):
    """Someone with an account."""

    __tablename__ = "person"
    __table_args__ = (
        CheckConstraint("language IN ('zh-Hans', 'zh-Hant', 'en')", name="language"),
        CheckConstraint("email = lower(email)", name="email_lower"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(Text, unique=True)
    password: Mapped[str | None] = mapped_column(Text)
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    fs_uniquifier: Mapped[str] = mapped_column(Text, unique=True)
    confirmed_at: Mapped[datetime | None]
    tf_primary_method: Mapped[str | None] = mapped_column(Text)
    tf_totp_secret: Mapped[str | None] = mapped_column(Text)
    tf_last_counter: Mapped[int | None] = mapped_column(BigInteger)  # the time step of the last code that admitted them
    # Mutable: Flask-Security takes a used code out of the list in place, which a plain column would not notice.
    mf_recovery_codes: Mapped[list[Any] | None] = mapped_column(MutableList.as_mutable(JSONB))
    language: Mapped[str] = mapped_column(Text, server_default=text("'zh-Hans'"))
    timezone: Mapped[str] = mapped_column(Text, server_default=text("'Asia/Shanghai'"))
    created_at: Mapped[datetime]

    memberships: Mapped[list["Membership"]] = relationship(back_populates="person", lazy="selectin")


class Membership(Base):
    """A role someone holds within an organisation; an officer's also names the agency they answer for."""

    __tablename__ = "membership"
    __table_args__ = (
        UniqueConstraint("person_id", "organisation_id", "role_id"),
        CheckConstraint("agency_code IS NULL OR agency_code <> ''", name="agency_code"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"))
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    role_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("role.id"))
    agency_code: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]

    person: Mapped[Person] = relationship(back_populates="memberships")
    role: Mapped[Role] = relationship(lazy="joined")


class ApiClient(Base):
    """An application that reports for people: a mini program, a city's 311 service. Its token is stored as a digest."""

    __tablename__ = "api_client"
    __table_args__ = (
        CheckConstraint("name <> '' AND length(name) <= 80", name="name"),
        CheckConstraint("octet_length(token_digest) = 32", name="token_digest"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organisation.id"))
    name: Mapped[str] = mapped_column(Text, unique=True)
    token_digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    rate_limit: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
