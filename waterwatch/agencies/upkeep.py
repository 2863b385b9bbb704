"""The administrator's use cases: agencies, whom they answer to, and how each of them is reached.

The audit keeps codes and numbers of what was done; names, addresses and secrets are in the rows alone.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Any

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from waterwatch.agencies import registry
from waterwatch.agencies.competence import compile_agencies, say_changed
from waterwatch.agencies.rules import address_faults, is_same_host, read_settings
from waterwatch.agencies.tables import (
    BASIN,
    BASIN_AUTHORITY,
    CHANNELS,
    LEVELS,
    SEALED_FOR,
    WATERWORKS,
    Agency,
    AgencyContact,
    AgencyName,
    Competence,
)
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Invalid, NotFound
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.sealing import seal_value
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.email import is_address
from waterwatch.messaging.webhook import make_secret

# Channels whose secret we make; of an Open311 server we are given one. That of a feed is no secret of its own but the
# feed's address, which is made of the moment it was asked for.
MADE_BY_US = ("webhook", "cap_feed")


@dataclass(frozen=True)
class AgencyFacts:
    """What an administrator says of an agency. ``level`` None: its area's. ``parent_code`` None: it answers to none."""

    code: str
    kind: str
    area_code: str
    names: Mapping[str, str]
    level: str | None = None
    parent_code: str | None = None
    channels_in: str = "parallel"
    digest_upto: int = 0
    digest_at: time = time(9)


@dataclass(frozen=True)
class ContactFacts:
    """One way to reach an agency. ``secret``: an Open311 server's api_key, None to leave what there is."""

    channel: str
    address: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    secret: str | None = field(default=None, repr=False)


def add_agency(session: Session, facts: AgencyFacts, *, actor: Actor, now: datetime) -> uuid.UUID:
    """A new agency. Raises :class:`Invalid` with every fault at once."""
    if registry.agency_id_of(session, facts.code) is not None:
        raise Invalid({"code": ["code_taken"]})
    agency = Agency(id=new_id(), code=facts.code)
    _apply(session, agency, facts)
    session.add(agency)
    _rename(session, agency.id, facts.names)
    compile_agencies(session, [agency.id])
    _record(session, "agency.added", agency.id, actor=actor, now=now, after=_told(agency))
    return agency.id


def change_agency(session: Session, agency_id: uuid.UUID, facts: AgencyFacts, *, actor: Actor, now: datetime) -> None:
    """Change what an agency is; its code stays. Raises :class:`NotFound`, :class:`Invalid`."""
    agency = registry.locked_agency(session, agency_id)
    before = _told(agency)
    _apply(session, agency, facts)
    _rename(session, agency.id, facts.names)
    compile_agencies(session, [agency.id])
    say_changed(session, agency.id, now=now)
    _record(session, "agency.changed", agency.id, actor=actor, now=now, before=before, after=_told(agency))


def retire_agency(session: Session, agency_id: uuid.UUID, *, actor: Actor, now: datetime) -> int:
    """An agency is told of nothing new; its cases and what it answered stay. Idempotent.

    Those that answered to it answer to whom it answered to. Returns how many.
    """
    agency = registry.locked_agency(session, agency_id)
    if agency.retired_at is not None:
        return 0
    agency.retired_at = now
    moved = session.execute(
        update(Agency)
        .where(Agency.parent_id == agency.id, Agency.retired_at.is_(None))
        .values(parent_id=agency.parent_id)
        .returning(Agency.id)
    ).all()
    session.flush()
    compile_agencies(session, [agency.id])
    _record(session, "agency.retired", agency.id, actor=actor, now=now, after={"moved": len(moved)})
    return len(moved)


def reinstate_agency(session: Session, agency_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """A retired agency takes up work again. Idempotent. Raises :class:`NotFound`."""
    agency = registry.locked_agency(session, agency_id)
    if agency.retired_at is None:
        return
    agency.retired_at = None
    session.flush()
    compile_agencies(session, [agency.id])
    say_changed(session, agency.id, now=now)
    _record(session, "agency.reinstated", agency.id, actor=actor, now=now)


def add_contact(
    session: Session, agency_id: uuid.UUID, facts: ContactFacts, *, settings: Settings, actor: Actor, now: datetime
) -> tuple[uuid.UUID, str | None]:
    """One more way to reach an agency, after those it has. With it, once, the secret made for it, if it has one.

    Raises :class:`NotFound`, :class:`Invalid` with every fault at once.
    """
    agency = registry.locked_agency(session, agency_id)
    _check_contact(session, agency_id, facts)
    last = session.scalars(
        select(func.max(AgencyContact.position)).where(AgencyContact.agency_id == agency_id)
    ).one_or_none()
    contact = AgencyContact(
        id=new_id(),
        agency_id=agency.id,
        channel=facts.channel,
        address=facts.address,
        position=(last or 0) + 1,
        active=True,
        settings=dict(facts.settings),
    )
    secret = make_secret() if facts.channel == "webhook" else facts.secret
    if secret:
        contact.sealed_secret = seal_value(settings, SEALED_FOR, contact.id, secret.encode())
    if secret or facts.channel in MADE_BY_US:
        contact.secret_rotated_at = now
    session.add(contact)
    session.flush()
    after: dict[str, audit.Fact] = {"channel": contact.channel, "position": contact.position, "agency_id": agency.id}
    say_changed(session, agency.id, now=now)
    _record_contact(session, "contact.added", contact, actor=actor, now=now, after=after)
    return contact.id, secret if facts.channel == "webhook" else None


def change_contact(
    session: Session, contact_id: uuid.UUID, facts: ContactFacts, *, settings: Settings, actor: Actor, now: datetime
) -> str | None:
    """Another address or other settings; the channel stays. The secret made for another server, shown once, or None.

    Another server inherits nothing: a webhook's gets a secret of its own, of an Open311 server a key has to be given
    (``api_key`` ``key_of_another_host``). Raises :class:`NotFound`, :class:`Invalid`.
    """
    contact = registry.locked_contact(session, contact_id)
    if facts.channel != contact.channel:
        raise Invalid({"channel": ["not_a_choice"]})
    _check_contact(session, contact.agency_id, facts, besides=contact.id)
    is_moved = not is_same_host(contact.channel, contact.address, facts.address)
    made = make_secret() if is_moved and contact.channel == "webhook" else None
    given = made or (facts.secret if contact.channel not in MADE_BY_US else None)
    if is_moved and contact.sealed_secret is not None:
        if not given:
            raise Invalid({"api_key": ["key_of_another_host"]})
        contact.sealed_secret_previous = None
    contact.address, contact.settings = facts.address, dict(facts.settings)
    if given:
        contact.sealed_secret = seal_value(settings, SEALED_FOR, contact.id, given.encode())
        contact.secret_rotated_at = now
    session.flush()
    say_changed(session, contact.agency_id, now=now)
    after: dict[str, audit.Fact] = {"channel": contact.channel, "has_new_secret": bool(given)}
    _record_contact(session, "contact.changed", contact, actor=actor, now=now, after=after)
    return made


def use_contact(session: Session, contact_id: uuid.UUID, is_used: bool, *, actor: Actor, now: datetime) -> None:
    """Write to a contact (no more). Letters under way are not taken back. Idempotent."""
    contact = registry.locked_contact(session, contact_id)
    if contact.active == is_used:
        return
    contact.active = is_used
    session.flush()
    if is_used:
        say_changed(session, contact.agency_id, now=now)
    action = "contact.taken_up" if is_used else "contact.dropped"
    _record_contact(session, action, contact, actor=actor, now=now, after={"channel": contact.channel})


def prefer_contact(session: Session, contact_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """Write to a contact before the one that comes before it now."""
    contact = registry.locked_contact(session, contact_id)
    registry.locked_agency(session, contact.agency_id)
    used = [one for one in registry.contacts_of(session, contact.agency_id) if one.active]
    at = next((nth for nth, one in enumerate(used) if one.id == contact.id), 0)
    if at == 0:
        return
    used[at - 1], used[at] = used[at], used[at - 1]
    for position, one in enumerate(used, start=1):
        one.position = position
    session.flush()
    _record_contact(session, "contact.preferred", contact, actor=actor, now=now, after={"position": contact.position})


def rotate_secret(
    session: Session, contact_id: uuid.UUID, *, settings: Settings, actor: Actor, now: datetime
) -> str | None:
    """A new secret, which only this answer shows; the one before stays in use beside it for a while.

    Of a feed the address is another from now on, and the one before opens nothing; then there is no secret to show.

    Raises :class:`NotFound`, or :class:`Conflict` where we make no secrets for the channel.
    """
    contact = registry.locked_contact(session, contact_id)
    if contact.channel not in MADE_BY_US:
        raise Conflict("secret_not_ours")
    secret = make_secret() if contact.channel == "webhook" else None
    if secret is not None:
        contact.sealed_secret_previous = contact.sealed_secret
        contact.sealed_secret = seal_value(settings, SEALED_FOR, contact.id, secret.encode())
    contact.secret_rotated_at = now
    session.flush()
    _record_contact(session, "contact.rotated", contact, actor=actor, now=now, after={"channel": contact.channel})
    return secret


def _apply(session: Session, agency: Agency, facts: AgencyFacts) -> None:
    """Write the facts to the row, once all of them hold together."""
    errors: dict[str, list[str]] = {}
    try:
        area = registry.area_id(session, facts.area_code)
    except NotFound:
        raise Invalid({"area": ["area_unknown"]}) from None
    area_level, lineage = registry.lineage_of(session, area)
    level = facts.level or area_level
    if (level == BASIN) != (facts.kind == BASIN_AUTHORITY) or (level == BASIN) != (area_level == BASIN):
        errors["kind"] = ["basin_and_authority"]
    parent_id = _parent(session, agency.id, facts, level, lineage, errors)
    if not facts.names.get("zh-Hans"):
        errors["name"] = ["missing"]
    if errors:
        raise Invalid(errors)
    agency.kind, agency.level, agency.jurisdiction_id, agency.parent_id = facts.kind, level, area, parent_id
    agency.channels_in, agency.digest_upto, agency.digest_at = facts.channels_in, facts.digest_upto, facts.digest_at
    session.flush()
    if facts.kind == WATERWORKS:  # which is competent for nothing, whatever it was before
        session.execute(delete(Competence).where(Competence.agency_id == agency.id, Competence.rule_id.is_(None)))


def _parent(
    session: Session,
    agency_id: uuid.UUID,
    facts: AgencyFacts,
    level: str,
    lineage: tuple[uuid.UUID, ...],
    errors: dict[str, list[str]],
) -> uuid.UUID | None:
    """Whom the agency answers to: one level up, where there is one of its kind there."""
    if facts.parent_code is None:
        return None
    found = registry.agency_id_of(session, facts.parent_code)
    parent = session.get(Agency, found) if found is not None else None
    if parent is None or parent.retired_at is not None:
        errors["parent"] = ["parent_unknown"]
        return None
    if agency_id in registry.answers_to(session, parent.id):
        errors["parent"] = ["answers_in_a_circle"]
    elif level not in LEVELS or parent.level not in LEVELS or LEVELS.index(parent.level) >= LEVELS.index(level):
        errors["parent"] = ["parent_not_above"]
    elif parent.jurisdiction_id not in lineage:
        errors["parent"] = ["parent_elsewhere"]
    elif (level, parent.level) == ("county", "province") and registry.has_prefectures_agency(
        session, parent.kind, lineage, besides=agency_id
    ):
        errors["parent"] = ["parent_skips_level"]
    return parent.id


def _check_contact(
    session: Session, agency_id: uuid.UUID, facts: ContactFacts, *, besides: uuid.UUID | None = None
) -> None:
    errors: dict[str, list[str]] = {}
    if facts.channel not in CHANNELS:
        raise Invalid({"channel": ["not_a_choice"]})
    faults = address_faults(facts.channel, facts.address)
    if not faults and facts.channel == "email" and not is_address(facts.address):
        faults = ["address_unreadable"]
    if faults:
        errors["address"] = faults
    try:
        read_settings(facts.channel, facts.settings)
    except Invalid as error:
        errors |= error.errors
    twin = session.scalars(
        select(AgencyContact.id).where(
            AgencyContact.agency_id == agency_id,
            AgencyContact.channel == facts.channel,
            AgencyContact.address == facts.address,
        )
    ).one_or_none()
    if twin is not None and twin != besides:
        errors["address"] = ["address_taken"]
    if errors:
        raise Invalid(errors)


_NAMES = text("""
INSERT INTO agency_name AS n (agency_id, lang, name) VALUES (:id, :lang, :name)
ON CONFLICT (agency_id, lang) DO UPDATE SET name = excluded.name
""")


def _rename(session: Session, agency_id: uuid.UUID, names: Mapping[str, str]) -> None:
    session.flush()
    for lang in ("zh-Hans", "zh-Hant", "en"):
        if names.get(lang):
            session.execute(_NAMES, {"id": agency_id, "lang": lang, "name": names[lang]})
        else:
            session.execute(
                AgencyName.__table__.delete().where(AgencyName.agency_id == agency_id, AgencyName.lang == lang)  # type: ignore[attr-defined]
            )


def _told(agency: Agency) -> dict[str, audit.Fact]:
    return {
        "code": agency.code,
        "kind": agency.kind,
        "level": agency.level,
        "area_id": agency.jurisdiction_id,
        "parent_id": agency.parent_id,
        "channels_in": agency.channels_in,
        "digest_upto": agency.digest_upto,
    }


def _record(
    session: Session,
    action: str,
    agency_id: uuid.UUID,
    *,
    actor: Actor,
    now: datetime,
    before: Mapping[str, audit.Fact] | None = None,
    after: Mapping[str, audit.Fact] | None = None,
) -> None:
    audit.record(
        session,
        action=action,
        subject_kind="agency",
        subject_id=agency_id,
        actor=actor,
        now=now,
        before=before,
        after=after,
    )


def _record_contact(
    session: Session,
    action: str,
    contact: AgencyContact,
    *,
    actor: Actor,
    now: datetime,
    after: Mapping[str, audit.Fact],
) -> None:
    audit.record(
        session,
        action=action,
        subject_kind="agency_contact",
        subject_id=contact.id,
        actor=actor,
        now=now,
        after=dict(after),
    )
