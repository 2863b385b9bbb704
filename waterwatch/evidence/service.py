"""Use cases of evidence: put on record who wants a bundle and why, read what it is made of, put it on record again."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from waterwatch.evidence import queries
from waterwatch.evidence.forms import OpenBundle
from waterwatch.evidence.queries import Facts
from waterwatch.evidence.rules import ORIGINAL_REASON, REASONS
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor, Sealed
from waterwatch.kernel.errors import Forbidden, Invalid
from waterwatch.kernel.ids import new_id
from waterwatch.photos import service as photos

WHO_MAY: Final = frozenset({"lead_moderator", "admin"})
# What was done to a person's way of being reached is not evidence, though it is on record under their report.
_LEFT_OUT: Final = ("contact.",)


@dataclass(frozen=True)
class Opening:
    """A bundle somebody demanded; on record before a byte of it is read. ``originals``: the photos whose sealed
    originals were demanded with it."""

    bundle_id: uuid.UUID
    incident_id: uuid.UUID
    command: OpenBundle
    opened_at: datetime
    originals: frozenset[uuid.UUID]


@dataclass(frozen=True)
class Gathered:
    """What a bundle is made of: the facts, the acts with their seals, and the last seal there was."""

    facts: Facts
    acts: tuple[Sealed, ...]
    head: tuple[int, bytes] | None


def open_bundle(
    session: Session, command: OpenBundle, *, roles: frozenset[str], actor: Actor, now: datetime
) -> Opening:
    """Somebody demands a bundle. Each sealed original in it is demanded too, and on record as such.

    Raises :class:`Forbidden` for whoever is neither lead moderator nor administrator, :class:`Invalid`,
    :class:`NotFound`.
    """
    if not roles & WHO_MAY:
        raise Forbidden("evidence_is_for_leads")
    if command.reason not in REASONS:
        raise Invalid({"reason": ["choice_unknown" if command.reason else "missing"]})
    incident_id, bundle_id = queries.incident_by_code(session, command.code), new_id()
    originals = queries.originals_of(session, incident_id)
    for photo_id in originals:
        reason = ORIGINAL_REASON.get(command.reason, "evidence_check")
        photos.open_original(session, photo_id, reason, actor=actor, now=now)
    after: dict[str, audit.Fact] = {
        "bundle_id": bundle_id,
        "reason": command.reason,
        "reference": command.reference,
        "with_named": command.with_named,
    }
    _record(session, "evidence.opened", incident_id, actor, now, after)
    return Opening(bundle_id, incident_id, command, now, frozenset(originals))


def gather(session: Session, incident_id: uuid.UUID) -> Gathered:
    """Everything a bundle is made of, as of one moment where the transaction is repeatable. Reads only."""
    facts = queries.facts_of(session, incident_id)
    subjects = [("incident", incident_id)]
    subjects += [("report", row["report_id"]) for row in facts.reports]
    subjects += [("photo", row["photo_id"]) for row in (*facts.photos, *facts.answer_photos)]
    subjects += [("case", row["case_id"]) for row in facts.cases]
    subjects += [("mail", row["mail_id"]) for row in facts.mails]
    acts = [act for act in audit.acts_upon(session, subjects) if not _is_left_out(act)]
    return Gathered(facts, tuple(acts), audit.head(session))


def record_bundled(
    session: Session, opening: Opening, sha256: str, size_bytes: int, *, actor: Actor, now: datetime
) -> None:
    """The bundle is made: on record by its digest, so that it can be told from any other."""
    after: dict[str, audit.Fact] = {"bundle_id": opening.bundle_id, "sha256": sha256, "bytes": size_bytes}
    _record(session, "evidence.bundled", opening.incident_id, actor, now, after)


def _is_left_out(act: Sealed) -> bool:
    return any(f'"action":"{prefix}' in act.act for prefix in _LEFT_OUT)


def _record(
    session: Session, action: str, incident_id: uuid.UUID, actor: Actor, now: datetime, after: dict[str, Any]
) -> None:
    audit.record(
        session, action=action, subject_kind="incident", subject_id=incident_id, actor=actor, now=now, after=after
    )
