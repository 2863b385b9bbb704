"""Use cases of accounts. Passwords are hashed with Argon2id, second-factor secrets are encrypted at rest."""

import base64
import hashlib
import hmac
import uuid
from dataclasses import dataclass
from datetime import datetime

import limits
from argon2 import PasswordHasher
from email_validator import EmailNotValidError, validate_email
from passlib.totp import TOTP
from sqlalchemy import select
from sqlalchemy.orm import Session

from waterwatch.accounts import queries
from waterwatch.accounts.rules import DEMO_ACCOUNTS, DEMO_PASSWORD, MIN_PASSWORD_LENGTH, OFFICER, TOTP_ISSUER
from waterwatch.accounts.tables import ROLES, ApiClient, Membership, Person
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from waterwatch.kernel.ids import new_id, new_token, token_digest
from waterwatch.kernel.settings import Settings

CLIENT_NAME_MAX_CHARACTERS = 80


@dataclass(frozen=True)
class CreatePerson:
    """A new account within the default organisation."""

    email: str
    password: str
    role: str
    agency_code: str | None = None
    language: str = "zh-Hans"


@dataclass(frozen=True)
class DemoPerson:
    """Somebody the demonstration lets you be; ``totp_secret`` is base32, for an authenticator app."""

    email: str
    password: str
    role: str
    totp_secret: str


def create_person(session: Session, command: CreatePerson, *, actor: Actor, now: datetime) -> Person:
    """Create an account.

    Raises :class:`Invalid` with every fault at once, :class:`Conflict` when the address is taken.
    """
    errors: dict[str, list[str]] = {}
    if not is_mail_address(command.email):
        errors["email"] = ["email_invalid"]
    if len(command.password) < MIN_PASSWORD_LENGTH:
        errors["password"] = ["password_too_short"]
    if command.role not in ROLES:
        errors["role"] = ["role_unknown"]
    if errors:
        raise Invalid(errors)
    email = command.email.strip().lower()
    if queries.person_by_email(session, email) is not None:
        raise Conflict("email_taken")
    person = Person(
        id=new_id(),
        email=email,
        password=hash_password(command.password),
        fs_uniquifier=uuid.uuid4().hex,
        confirmed_at=now,
        language=command.language,
        created_at=now,
    )
    session.add(person)
    session.flush()
    session.add(
        Membership(
            id=new_id(),
            person_id=person.id,
            organisation_id=queries.default_organisation_id(session),
            role_id=queries.role_by_name(session, command.role).id,
            agency_code=command.agency_code,
            created_at=now,
        )
    )
    audit.record(
        session,
        action="person.created",
        subject_kind="person",
        subject_id=person.id,
        actor=actor,
        now=now,
        after={"role": command.role, "agency_code": command.agency_code},
    )
    return person


def add_officer(
    session: Session, email: str, password: str, agency_code: str, *, language: str, actor: Actor, now: datetime
) -> Person:
    """Somebody begins to act for an agency; whoever calls has made sure that the mailbox is theirs.

    An officer who left comes back under the same row with a new password and without their old second factor. An
    account that is anything else stays what it is: a citizen's reports and an office are kept apart.

    Raises :class:`Invalid` ``password_too_short``, ``email_invalid``; :class:`Conflict` ``officer_already``,
    ``account_is_personal``.
    """
    person = queries.person_by_email(session, email)
    if person is None:
        command = CreatePerson(email, password, OFFICER, agency_code, language)
        return create_person(session, command, actor=actor, now=now)
    if any(held.role.name == OFFICER and held.agency_code == agency_code for held in person.memberships):
        raise Conflict("officer_already")
    if person.memberships or person.active:
        raise Conflict("account_is_personal")
    if len(password) < MIN_PASSWORD_LENGTH:
        raise Invalid({"password": ["password_too_short"]})
    person.password, person.active = hash_password(password), True
    person.fs_uniquifier = uuid.uuid4().hex
    person.tf_primary_method = person.tf_totp_secret = person.mf_recovery_codes = None
    session.add(
        Membership(
            id=new_id(),
            person_id=person.id,
            organisation_id=queries.default_organisation_id(session),
            role_id=queries.role_by_name(session, OFFICER).id,
            agency_code=agency_code,
            created_at=now,
        )
    )
    session.flush()
    session.refresh(person, ["memberships"])
    facts: dict[str, audit.Fact] = {"role": OFFICER, "agency_code": agency_code}
    audit.record(
        session,
        action="person.returned",
        subject_kind="person",
        subject_id=person.id,
        actor=actor,
        now=now,
        after=facts,
    )
    return person


def remove_officer(session: Session, person_id: uuid.UUID, agency_code: str, *, actor: Actor, now: datetime) -> None:
    """Somebody acts for an agency no longer: their sign-ins end at once, and their account with its last role.

    Raises :class:`NotFound` ``person_unknown`` for whoever is no officer of this agency.
    """
    membership = queries.lock_officer(session, person_id, agency_code)
    if membership is None:
        raise NotFound("person_unknown")
    person = membership.person
    session.delete(membership)
    session.flush()
    session.refresh(person, ["memberships"])
    person.fs_uniquifier = uuid.uuid4().hex
    person.active = bool(person.memberships)
    session.flush()
    audit.record(
        session,
        action="person.left_agency",
        subject_kind="person",
        subject_id=person_id,
        actor=actor,
        now=now,
        before={"role": OFFICER, "agency_code": agency_code},
    )


def add_client(session: Session, name: str, rate_limit: str, *, actor: Actor, now: datetime) -> str:
    """Let an application report for people; returns its token, which is shown this once.

    Raises :class:`Invalid` ``name_missing``, ``name_too_long``, ``rate_limit_malformed``; :class:`Conflict`
    ``client_exists``.
    """
    name = name.strip()
    errors: dict[str, list[str]] = {}
    if not name or len(name) > CLIENT_NAME_MAX_CHARACTERS:
        errors["name"] = ["name_too_long" if name else "name_missing"]
    try:
        limits.parse_many(rate_limit)
    except ValueError:
        errors["rate_limit"] = ["rate_limit_malformed"]
    if errors:
        raise Invalid(errors)
    if any(client.name == name for client in queries.clients(session)):
        raise Conflict("client_exists")
    client_id, token = new_id(), new_token()
    session.add(
        ApiClient(
            id=client_id,
            organisation_id=queries.default_organisation_id(session),
            name=name,
            token_digest=token_digest(token),
            rate_limit=rate_limit,
            created_at=now,
        )
    )
    session.flush()
    audit.record(session, action="client.added", subject_kind="api_client", subject_id=client_id, actor=actor, now=now)
    return token


def revoke_client(session: Session, name: str, *, actor: Actor, now: datetime) -> None:
    """Its token opens nothing from now on; its reports stay. Twice is once. Raises :class:`NotFound`."""
    client = session.scalars(select(ApiClient).where(ApiClient.name == name.strip()).with_for_update()).one_or_none()
    if client is None:
        raise NotFound("client_unknown")
    if client.revoked_at is None:
        client.revoked_at = now
        session.flush()
        audit.record(
            session, action="client.revoked", subject_kind="api_client", subject_id=client.id, actor=actor, now=now
        )


def load_demo_people(session: Session, *, settings: Settings, now: datetime) -> list[DemoPerson]:
    """The demonstration's people, each with a second factor that is known. Idempotent. Refuses in production."""
    if settings.mode == "production":
        raise Forbidden("not_in_production")
    people = []
    for account in DEMO_ACCOUNTS:
        secret = demo_totp_secret(settings, account.email)
        person = queries.person_by_email(session, account.email)
        if person is None:
            command = CreatePerson(account.email, DEMO_PASSWORD, account.role, account.agency_code)
            person = create_person(session, command, actor=Actor.system("demo"), now=now)
        person.tf_primary_method = "authenticator"
        person.tf_totp_secret = totp_factory(settings)(key=secret, format="base32").to_json(encrypt=True)
        people.append(DemoPerson(account.email, DEMO_PASSWORD, account.role, secret))
    session.flush()
    return people


def demo_totp_secret(settings: Settings, email: str) -> str:
    """The base32 secret of a demonstration account: derived, so every start prints the same one."""
    key = settings.derive_key("demo-totp")
    assert key is not None
    return base64.b32encode(hmac.new(key, email.encode(), hashlib.sha256).digest()[:20]).decode()


def totp_keys(settings: Settings) -> dict[str, str]:
    """The keys under which second-factor secrets are encrypted at rest; the highest tag encrypts, all decrypt."""
    keys = {}
    for tag, is_previous in (("1", True), ("2", False)):
        key = settings.derive_key("totp", previous=is_previous)
        if key is not None:
            keys[tag] = key.hex()
    return keys


def totp_factory(settings: Settings) -> type[TOTP]:
    """Makes and reads second-factor secrets the way Flask-Security stores them."""
    factory: type[TOTP] = TOTP.using(issuer=TOTP_ISSUER, secrets=totp_keys(settings))
    return factory


def hash_password(password: str) -> str:
    """Argon2id with the library's present parameters."""
    return PasswordHasher().hash(password)


def is_mail_address(email: str) -> bool:
    """Whether it is written as addresses are; nobody asks whether it exists."""
    try:
        validate_email(email.strip(), check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return False
    return True
