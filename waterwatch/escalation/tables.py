"""One case per (incident, agency), and one where it is warned; one delivery per channel's attempt to hand it over."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.agencies.tables import Agency, AgencyContact
from waterwatch.incidents.tables import Incident
from waterwatch.kernel.db import Base

CASE_STATES = (
    "queued",
    "delivered",
    "acknowledged",
    "answered",
    "closed",
    "no_contact",
    "refused_not_ours",
    "dead",
    "withdrawn",
)
DELIVERY_STATES = ("pending", "sending", "sent", "awaiting", "refused", "dead", "cancelled")
SAYS = ("case", "lowered", "withdrawn", "reminder", "overdue", "reopened", "warning", "warning_over")


class Case(Base):
    """An incident forwarded to an agency. ``agency_id`` is null when nobody is competent: state ``no_contact``.

    ``withdrawn``: the moderators took the incident back, or it turned out to be another one.

    ``role`` ``supervising``: the agency is told because the one of the case ``supervises_id``, below it, missed a
    deadline; ``escalated_at`` is when that happened to a case. ``downstream``: it is not competent for the incident,
    but for waters that the pollution is expected to reach; it is warned, nothing is asked of it, and no clock runs
    (:class:`CaseStretch` has what concerns it).

    ``acknowledge_by``, ``answer_by`` and ``finish_by`` are what was promised when it was handed over, kept for who
    looks back; ``state_deadline_at`` is the one that runs now, ``remind_at`` when it is reminded of, if it has not
    been. ``answered_at``: of the first answer; ``closed_at``: when it said "done". Those of rounds before the case was
    reopened are in :class:`CaseRound`.
    """

    __tablename__ = "escalation_case"
    __table_args__ = (
        # One for what it is to do, and one for what may come down to its waters.
        Index(
            "ix_escalation_case_once",
            "incident_id",
            "agency_id",
            text("(role = 'downstream')"),
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
        CheckConstraint(
            "state IN ('queued', 'delivered', 'acknowledged', 'answered', 'closed', 'no_contact', 'refused_not_ours',"
            " 'dead', 'withdrawn')",
            name="state",
        ),
        CheckConstraint("severity BETWEEN 1 AND 4", name="severity"),
        CheckConstraint("agency_id IS NOT NULL OR state IN ('no_contact', 'withdrawn')", name="agency_or_no_contact"),
        CheckConstraint("role IN ('competent', 'supervising', 'downstream')", name="role"),
        CheckConstraint("(role = 'supervising') = (supervises_id IS NOT NULL)", name="supervises"),
        CheckConstraint("supervises_id <> id", name="not_itself"),
        Index("ix_escalation_case_remind_at", "remind_at", postgresql_where=text("remind_at IS NOT NULL")),
        Index(
            "ix_escalation_case_deadline", "state_deadline_at", postgresql_where=text("state_deadline_at IS NOT NULL")
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    incident_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Incident.id))
    agency_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Agency.id), index=True)
    state: Mapped[str] = mapped_column(Text)
    state_since: Mapped[datetime]
    state_deadline_at: Mapped[datetime | None]
    severity: Mapped[int] = mapped_column(SmallInteger)
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    role: Mapped[str] = mapped_column(Text, server_default=text("'competent'"))
    supervises_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("escalation_case.id"), index=True)
    answered_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    acknowledge_by: Mapped[datetime | None]
    answer_by: Mapped[datetime | None]
    finish_by: Mapped[datetime | None]
    remind_at: Mapped[datetime | None]
    escalated_at: Mapped[datetime | None]


class CaseStretch(Base):
    """Of a case with the role ``downstream``: which of the warned reaches and lakes lie in the agency's area, and which
    intakes and protection zones on them, the nearest first.

    As its agency was told last: ``first_at``, when it may be there first, null where no time was known; ``told_km``,
    how far below the farthest of its reaches is; ``told_zone_ids``, ``told_water_ids``, on what zones and waters;
    ``told_kind``, of which kind.
    """

    __tablename__ = "case_stretch"
    __table_args__ = (CheckConstraint("cardinality(feature_ids) > 0", name="feature_ids"),)

    case_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("escalation_case.id", ondelete="CASCADE"), primary_key=True)
    feature_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    zone_ids: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(Uuid))
    first_at: Mapped[datetime | None]
    told_km: Mapped[float]
    told_zone_ids: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(Uuid))
    told_water_ids: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(Uuid))
    told_kind: Mapped[str] = mapped_column(Text)


class CaseRound(Base):
    """A former round of a case: what was promised and kept before a citizen's photo showed that it was not over.

    The case itself holds the present round.
    """

    __tablename__ = "case_round"
    __table_args__ = (CheckConstraint("number >= 1", name="number"),)

    case_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("escalation_case.id"), primary_key=True)
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    severity: Mapped[int] = mapped_column(SmallInteger)
    delivered_at: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    acknowledge_by: Mapped[datetime | None]
    answer_by: Mapped[datetime | None]
    finish_by: Mapped[datetime | None]
    escalated_at: Mapped[datetime | None]
    reopened_at: Mapped[datetime]


class Digest(Base):
    """Letters of one agency to one address that go as one mail. What became of each is in its own delivery.

    ``retry_at``: it was put off until then.
    """

    __tablename__ = "digest"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    agency_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Agency.id), index=True)
    message_id: Mapped[str] = mapped_column(Text, unique=True)
    created_at: Mapped[datetime]
    retry_at: Mapped[datetime | None]


class Delivery(Base):
    """One channel's hand-over of a case. The Message-ID is fixed when the row is written and never changes.

    A case whose severity rises after it was sent is sent again, as a letter of its own: ``severity`` is what a letter
    was written for, ``raised_from`` what the one before it said. ``says``: the case itself, that its severity is lower
    than was said, that it is withdrawn, that its deadline is near (``reminder``), that an agency below has let it pass
    (``overdue``), that the water is not clean after all (``reopened``), that something may come down the river
    (``warning``), or is expected no more (``warning_over``). ``number`` counts the letters to an
    address. ``cancelled``: what it would have said was taken back before anybody tried to send it.

    ``contact_id`` is null where the address is no contact of the agency (any more), such as a river chief's. It first
    leaves no sooner than ``due_at``. ``awaiting``: handed over, but somebody has yet to do something, which ``awaits``
    names. ``endpoint``: what was last asked for it. ``is_digested``: it waits for its agency's digest. ``remote_id``:
    what the other side calls it; ``remote_status`` and ``remote_digest`` (SHA-256 of its words) are what it said when
    it was asked last, ``polled_at``. ``told``: what an alert to be fetched says, and which it follows.

    ``attempts`` counts every try, ``deferrals`` those of them that the recipient's side put off (SMTP 4xx, an HTTP
    server that was away): the two are retried after different pauses.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("case_id", "channel", "address", "number"),
        CheckConstraint("severity BETWEEN 1 AND 4 AND raised_from BETWEEN 1 AND severity - 1", name="severity"),
        CheckConstraint(
            "state IN ('pending', 'sending', 'sent', 'awaiting', 'refused', 'dead', 'cancelled')", name="state"
        ),
        CheckConstraint(
            "says IN ('case', 'lowered', 'withdrawn', 'reminder', 'overdue', 'reopened', 'warning', 'warning_over')",
            name="says",
        ),
        CheckConstraint("number >= 1", name="number"),
        CheckConstraint("channel IN ('email', 'webhook', 'open311', 'cap_feed', 'post')", name="channel"),
        CheckConstraint("attempts >= 0 AND deferrals BETWEEN 0 AND attempts", name="attempts"),
        CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="sent_at"),
        CheckConstraint("(state = 'awaiting') = (awaits IS NOT NULL)", name="awaits"),
        Index("ix_delivery_deadline", "state_deadline_at", postgresql_where=text("state_deadline_at IS NOT NULL")),
        CheckConstraint("told IS NULL OR says IN ('warning', 'warning_over')", name="told"),
        CheckConstraint("remote_status IN ('open', 'closed')", name="remote_status"),
        Index(
            "ix_delivery_polled",
            "polled_at",
            postgresql_where=text("channel = 'open311' AND remote_id IS NOT NULL"),
        ),
        Index("ix_delivery_waiting", "contact_id", "due_at", postgresql_where=text("state = 'pending'")),
        Index("ix_delivery_sending", "endpoint", postgresql_where=text("state = 'sending'")),
        Index("ix_delivery_awaiting", "channel", postgresql_where=text("state = 'awaiting'")),
        Index("ix_delivery_digest_id", "digest_id", postgresql_where=text("digest_id IS NOT NULL")),
        Index("ix_delivery_remote_id", "contact_id", "remote_id", postgresql_where=text("remote_id IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("escalation_case.id"))
    contact_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(AgencyContact.id, ondelete="SET NULL"))
    channel: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    message_id: Mapped[str] = mapped_column(Text, unique=True)
    severity: Mapped[int] = mapped_column(SmallInteger)
    raised_from: Mapped[int | None] = mapped_column(SmallInteger)
    says: Mapped[str] = mapped_column(Text, server_default=text("'case'"))
    number: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    state: Mapped[str] = mapped_column(Text)
    state_since: Mapped[datetime]
    state_deadline_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    deferrals: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    created_at: Mapped[datetime]
    due_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    sent_at: Mapped[datetime | None]
    awaits: Mapped[str | None] = mapped_column(Text)
    remote_id: Mapped[str | None] = mapped_column(Text)
    endpoint: Mapped[str | None] = mapped_column(Text)
    remote_status: Mapped[str | None] = mapped_column(Text)
    remote_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    polled_at: Mapped[datetime | None]
    digest_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Digest.id))
    told: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    is_digested: Mapped[bool] = mapped_column(server_default=text("false"))
    last_error: Mapped[str | None] = mapped_column(Text)


class Endpoint(Base):
    """What is known of one place letters go to: a breaker that keeps us from asking where nobody has answered.

    Closed while ``open_until`` is null; open until then; afterwards half-open: whoever sets ``probing_until`` asks once
    for all. ``failures`` are those in a row, ``opened`` how often it opened since it last answered.
    """

    __tablename__ = "endpoint"
    __table_args__ = (
        CheckConstraint("failures >= 0 AND opened >= 0", name="counts"),
        CheckConstraint("open_until IS NULL OR opened > 0", name="opened"),
    )

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    opened: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    open_until: Mapped[datetime | None]
    probing_until: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(Text)
    changed_at: Mapped[datetime]


class CaseAlarm(Base):
    """Why the lead moderators are told of a case: of each reason once, of all that wait to be told in one mail.

    What happens anew, such as a second death, is told anew.
    """

    __tablename__ = "case_alarm"
    __table_args__ = (
        CheckConstraint("reason ~ '^[a-z_]{1,40}$'", name="reason"),
        Index("ix_case_alarm_untold", "raised_at", postgresql_where=text("told_at IS NULL")),
    )

    case_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("escalation_case.id", ondelete="CASCADE"), primary_key=True)
    reason: Mapped[str] = mapped_column(Text, primary_key=True)
    raised_at: Mapped[datetime]
    told_at: Mapped[datetime | None]
