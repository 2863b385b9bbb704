"""The audit: who did what to what, when. Append-only by database privilege and by trigger, sealed into a hash chain.

Entries are written in the transaction of the change they describe. Chaining there would make every writer queue for
the head of the chain, so a single sealer (the sweep) gives entries their place afterwards, in batches, under an
advisory lock; see ``docs/decisions/0002``. An entry holds references and digests, never personal data or free text:
:func:`record` refuses anything else, so erasing a person never has to touch the chain.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, TypeAlias

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, Text, insert, select, text, tuple_
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from waterwatch.kernel import gathering
from waterwatch.kernel.db import Base
from waterwatch.kernel.ids import new_id

ACTOR_KINDS = ("anonymous", "person", "agency_link", "system")
GENESIS = bytes(32)
SEALER_LOCK = 0x57415445_53454131  # "WATE SEA1": the advisory lock of the one sealer
# An entry is committed at most so long after another that got its id later: no transaction lasts an hour, and no two
# machines' clocks may differ by one. Older entries are all sealed, so the sealer need not look at the whole table.
SEALED_LATE_MS = 3_600_000
_REFERENCE = re.compile(r"[A-Za-z0-9_.:+\-]{0,80}")

Fact: TypeAlias = str | int | bool | uuid.UUID | None


class AuditEntry(Base):
    """One act. Never updated, never deleted."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        CheckConstraint("actor_kind IN ('anonymous', 'person', 'agency_link', 'system')", name="actor_kind"),
        CheckConstraint("(actor_kind = 'person') <= (actor_id IS NOT NULL)", name="person_has_id"),
        Index("ix_audit_entry_subject", "subject_kind", "subject_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor_kind: Mapped[str] = mapped_column(Text)
    actor_id: Mapped[uuid.UUID | None]
    actor_name: Mapped[str | None] = mapped_column(Text)
    organisation_id: Mapped[uuid.UUID | None]
    action: Mapped[str] = mapped_column(Text)
    subject_kind: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[uuid.UUID]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    request_id: Mapped[str | None] = mapped_column(Text)


class AuditSeal(Base):
    """An entry's place in the chain: ``hash = SHA-256(previous hash ‖ canonical entry)``."""

    __tablename__ = "audit_seal"
    __table_args__ = (CheckConstraint("octet_length(hash) = 32", name="hash_length"),)

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    entry_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("audit_entry.id"), unique=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_at: Mapped[datetime]


@dataclass(frozen=True)
class Actor:
    """Who acts. A citizen without account is ``anonymous``: deliberately without any trace."""

    kind: str
    id: uuid.UUID | None = None
    name: str | None = None
    organisation_id: uuid.UUID | None = None

    @classmethod
    def anonymous(cls) -> Self:
        """A citizen without account; nothing about them is recorded."""
        return cls("anonymous")

    @classmethod
    def person(cls, person_id: uuid.UUID, organisation_id: uuid.UUID | None) -> Self:
        """A person with an account, acting for an organisation."""
        return cls("person", person_id, None, organisation_id)

    @classmethod
    def agency_link(cls, agency_id: uuid.UUID) -> Self:
        """An officer of an agency who followed a signed link; the agency is known, the person is not."""
        return cls("agency_link", agency_id)

    @classmethod
    def system(cls, name: str) -> Self:
        """A part of the system itself, e.g. ``sanitiser`` or ``sweep``."""
        return cls("system", None, name)


@dataclass(frozen=True)
class Verdict:
    """Outcome of :func:`verify`. ``broken_at`` is the first sequence number that does not hold, or None."""

    sealed: int
    unsealed: int
    broken_at: int | None
    reason: str | None

    @property
    def is_whole(self) -> bool:
        """Whether every sealed entry still is what it was when sealed."""
        return self.broken_at is None


def record(
    session: Session,
    *,
    action: str,
    subject_kind: str,
    subject_id: uuid.UUID,
    actor: Actor,
    now: datetime,
    before: Mapping[str, Fact] | None = None,
    after: Mapping[str, Fact] | None = None,
    request_id: str | None = None,
) -> None:
    """Write one entry in the caller's transaction.

    ``before`` and ``after`` take identifiers, codes, numbers and truth values; a string with a space or any other
    character outside ``[A-Za-z0-9_.:+-]`` raises ``ValueError``, because free text could name a person.
    ``request_id`` defaults to the one of the running request or job.
    """
    values = entry(
        action=action,
        subject_kind=subject_kind,
        subject_id=subject_id,
        actor=actor,
        now=now,
        before=before,
        after=after,
        request_id=request_id,
    )
    if (gathered := gathering.waiting(session)) is not None:
        gathered.entries.append(values)
    else:
        session.execute(insert(AuditEntry).values(**values))


def entry(
    *,
    action: str,
    subject_kind: str,
    subject_id: uuid.UUID,
    actor: Actor,
    now: datetime,
    before: Mapping[str, Fact] | None = None,
    after: Mapping[str, Fact] | None = None,
    request_id: str | None = None,
) -> dict[str, Any]:
    """The row :func:`record` writes, for a statement that writes several tables at once."""
    from waterwatch.kernel.log import current_request_id

    return {
        "id": new_id(),
        "at": now,
        "actor_kind": actor.kind,
        "actor_id": actor.id,
        "actor_name": actor.name,
        "organisation_id": actor.organisation_id,
        "action": action,
        "subject_kind": subject_kind,
        "subject_id": subject_id,
        "before": _facts(before),
        "after": _facts(after),
        "request_id": request_id or current_request_id(),
    }


def seal(session: Session, *, now: datetime, limit: int = 5000) -> int:
    """Give up to ``limit`` unsealed entries their place in the chain; returns how many. One sealer at a time.

    Idempotent: an entry has at most one seal (UNIQUE), and a second sealer leaves at once without the lock.
    """
    if not session.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": SEALER_LOCK}).scalar_one():
        return 0
    head = session.scalars(select(AuditSeal).order_by(AuditSeal.seq.desc()).limit(1)).first()
    seq, chain, oldest_id = (head.seq, head.hash, _earlier(head.entry_id)) if head else (0, GENESIS, uuid.UUID(int=0))
    entries = session.scalars(
        select(AuditEntry)
        .outerjoin(AuditSeal, AuditSeal.entry_id == AuditEntry.id)
        .where(AuditEntry.id > oldest_id, AuditSeal.entry_id.is_(None))
        .order_by(AuditEntry.id)
        .limit(limit)
    ).all()
    rows = []
    for entry in entries:
        seq += 1
        chain = _link(chain, entry)
        rows.append({"seq": seq, "entry_id": entry.id, "hash": chain, "sealed_at": now})
    if rows:
        session.execute(insert(AuditSeal), rows)
    return len(rows)


def acts(session: Session, actions: Sequence[str], *, since: datetime) -> Iterator[tuple[str, uuid.UUID, datetime]]:
    """What was done, to what and when: some acts since a time, oldest first."""
    chosen = select(AuditEntry.action, AuditEntry.subject_id, AuditEntry.at).where(
        AuditEntry.action.in_(actions), AuditEntry.at >= since
    )
    for row in session.execute(chosen.order_by(AuditEntry.id)):
        yield row.action, row.subject_id, row.at


@dataclass(frozen=True)
class Sealed:
    """An act as it was sealed: ``hash = SHA-256(before ‖ act)``. Number and hashes are None while it waits for that."""

    act: str
    number: int | None
    before: bytes | None
    hash: bytes | None
    sealed_at: datetime | None


def acts_upon(session: Session, subjects: Sequence[tuple[str, uuid.UUID]]) -> list[Sealed]:
    """Everything that was done to some things (kind, id), in the order of its seals, each with the seal before it."""
    entry, before = aliased(AuditSeal), aliased(AuditSeal)
    chosen = (
        select(AuditEntry, entry.seq, before.hash, entry.hash, entry.sealed_at)
        .outerjoin(entry, entry.entry_id == AuditEntry.id)
        .outerjoin(before, before.seq == entry.seq - 1)
        .where(tuple_(AuditEntry.subject_kind, AuditEntry.subject_id).in_(list(subjects)))
        .order_by(entry.seq.nulls_last(), AuditEntry.id)
    )
    return [
        Sealed(_canonical(act).decode(), seq, GENESIS if seq == 1 else chain, found, at)
        for act, seq, chain, found, at in session.execute(chosen)
    ]


def head(session: Session) -> tuple[int, bytes] | None:
    """Number and hash of the last seal there is."""
    row = session.execute(select(AuditSeal.seq, AuditSeal.hash).order_by(AuditSeal.seq.desc()).limit(1)).first()
    return None if row is None else (row.seq, row.hash)


def verify(session: Session) -> Verdict:
    """Walk the chain from its beginning, in batches, recomputing every hash. Costs one pass over the table."""
    chain, expected, batch = GENESIS, 1, 2000
    while True:
        rows = session.execute(
            select(AuditSeal, AuditEntry)
            .outerjoin(AuditEntry, AuditEntry.id == AuditSeal.entry_id)
            .where(AuditSeal.seq >= expected)
            .order_by(AuditSeal.seq)
            .limit(batch)
        ).all()
        for sealed, entry in rows:
            reason = _fault(sealed, entry, expected, chain)
            if reason is not None:
                return Verdict(expected - 1, 0, expected, reason)
            chain, expected = sealed.hash, expected + 1
        session.expunge_all()
        if len(rows) < batch:
            break
    unsealed = session.execute(
        text("""SELECT count(*) FROM audit_entry e
                WHERE NOT EXISTS (SELECT FROM audit_seal s WHERE s.entry_id = e.id)""")
    )
    return Verdict(expected - 1, unsealed.scalar_one(), None, None)


def _earlier(entry_id: uuid.UUID) -> uuid.UUID:
    """The smallest UUIDv7 of the time ``SEALED_LATE_MS`` before another: its first 48 bits are milliseconds."""
    return uuid.UUID(int=max(0, (entry_id.int >> 80) - SEALED_LATE_MS) << 80)


def _fault(sealed: AuditSeal, entry: AuditEntry | None, expected: int, chain: bytes) -> str | None:
    if sealed.seq != expected:
        return "seal_missing"
    if entry is None:
        return "entry_missing"
    if _link(chain, entry) != sealed.hash:
        return "entry_changed"
    return None


def _link(chain: bytes, entry: AuditEntry) -> bytes:
    return hashlib.sha256(chain + _canonical(entry)).digest()


def _canonical(entry: AuditEntry) -> bytes:
    from datetime import UTC

    fields = {
        "id": str(entry.id),
        "at": entry.at.astimezone(UTC).isoformat(),
        "actor": [
            entry.actor_kind,
            str(entry.actor_id or ""),
            entry.actor_name or "",
            str(entry.organisation_id or ""),
        ],
        "action": entry.action,
        "subject": [entry.subject_kind, str(entry.subject_id)],
        "before": entry.before,
        "after": entry.after,
        "request_id": entry.request_id,
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _facts(facts: Mapping[str, Fact] | None) -> dict[str, str | int | bool | None] | None:
    if facts is None:
        return None
    return {key: _reference(key, value) for key, value in facts.items()}


def _reference(key: str, value: Fact) -> str | int | bool | None:
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, str) and not _REFERENCE.fullmatch(value):
        raise ValueError(f"audit fact {key!r} looks like free text; the audit holds references and digests only")
    return value
