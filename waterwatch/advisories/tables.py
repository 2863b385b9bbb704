"""The warning each reach or lake carries, and what is expected to reach which waters when.

No hidden index: a confirmed level is the highest severity among the open incidents of a water, an approaching one the
highest among the forecasts that name it.
"""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.accounts.tables import Person
from waterwatch.incidents.tables import Incident
from waterwatch.kernel.db import Base
from waterwatch.reports.tables import Report
from waterwatch.waters.tables import WaterFeature


class Advisory(Base):
    """The present level of one reach or lake; no row means no warning. ``level`` is a severity rank 1 to 4."""

    __tablename__ = "advisory"
    __table_args__ = (
        CheckConstraint("level BETWEEN 1 AND 4", name="level"),
        CheckConstraint("basis IN ('confirmed', 'approaching')", name="basis"),
        Index("ix_advisory_approaching", "water_feature_id", postgresql_where=text("basis = 'approaching'")),
    )

    water_feature_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(WaterFeature.id), primary_key=True)
    basis: Mapped[str] = mapped_column(Text, primary_key=True)
    level: Mapped[int] = mapped_column(SmallInteger)
    since: Mapped[datetime]
    changed_at: Mapped[datetime]


class DownstreamRuling(Base):
    """What a moderator decided of the warning below an incident: none, or a shorter one, and why.

    No row: it goes as it is reckoned.
    """

    __tablename__ = "downstream_ruling"
    __table_args__ = (
        CheckConstraint("limit_km > 0 AND limit_km <= 200", name="limit_km"),
        CheckConstraint("is_withheld OR limit_km IS NOT NULL", name="decides"),
        CheckConstraint("length(reason) BETWEEN 3 AND 500", name="reason"),
    )

    incident_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Incident.id), primary_key=True)
    is_withheld: Mapped[bool]
    limit_km: Mapped[float | None]
    reason: Mapped[str] = mapped_column(Text)
    ruled_by: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id))
    ruled_at: Mapped[datetime]


class DownstreamForecast(Base):
    """What an incident means for the waters below it, as it was reckoned last; at most one an incident.

    ``level``: severity rank 1 to 3 of the warning. ``observed_from``, ``observed_until``: when the pollution was first
    and last seen at its place; windows count from the first, and lapse by the last. ``flow_ratio``: Q/Qa it began with.
    ``is_timed``: whether any window is known. Departments are told at once; everybody else from ``public_at`` on, and
    of what it names since then at the reach's own.
    ``revision`` counts what changed of it, for who follows it (CAP). ``state_deadline_at``: when one that stands is
    reckoned anew at the latest: a window lapses, it becomes public, or the gauges it was reckoned by have aged.
    """

    __tablename__ = "downstream_forecast"
    __table_args__ = (
        CheckConstraint("state IN ('standing', 'withheld', 'ended')", name="state"),
        CheckConstraint("level BETWEEN 1 AND 3", name="level"),
        CheckConstraint("observed_until >= observed_from", name="observed"),
        CheckConstraint("flow_ratio > 0 AND flow_ratio <= 100", name="flow_ratio"),
        CheckConstraint("limit_km > 0 AND limit_km <= 200", name="limit_km"),
        CheckConstraint("revision >= 1", name="revision"),
        Index(
            "ix_downstream_forecast_deadline",
            "state_deadline_at",
            postgresql_where=text("state_deadline_at IS NOT NULL"),
        ),
        Index("ix_downstream_forecast_public", "public_at", postgresql_where=text("state = 'standing'")),
    )

    incident_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Incident.id), primary_key=True)
    state: Mapped[str] = mapped_column(Text)
    state_since: Mapped[datetime]
    state_deadline_at: Mapped[datetime | None]
    kind: Mapped[str] = mapped_column(Text)
    level: Mapped[int] = mapped_column(SmallInteger)
    observed_from: Mapped[datetime]
    observed_until: Mapped[datetime]
    flow_ratio: Mapped[float]
    limit_km: Mapped[float]
    is_timed: Mapped[bool]
    made_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    public_at: Mapped[datetime]
    revision: Mapped[int] = mapped_column(Integer)


class DownstreamReach(Base):
    """One reach or lake that a standing forecast names; once an incident.

    ``nth`` is its place by distance, 0 the nearest; ``distance_km`` the way to its near end. Times are null where they
    are not known; an ``earliest_at`` alone means "not before" (a lake on the way holds it back). ``lapses_at``: when it
    is no longer warned of. ``public_at``: everybody may know from then on. ``unit_peak`` (10⁻⁶/s) and ``passage_s`` are
    orders of magnitude: see ``flow.travel``.
    """

    __tablename__ = "downstream_reach"
    __table_args__ = (
        CheckConstraint("nth >= 0 AND distance_km >= 0 AND unit_peak > 0 AND passage_s > 0", name="numbers"),
        CheckConstraint("earliest_at <= probable_at AND probable_at <= lapses_at", name="window"),
        CheckConstraint("probable_at IS NULL OR earliest_at IS NOT NULL", name="earliest"),
        CheckConstraint("is_lake OR NOT is_dammed", name="dammed"),
        Index("ix_downstream_reach_feature_id", "feature_id"),
    )

    incident_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("downstream_forecast.incident_id", ondelete="CASCADE"), primary_key=True
    )
    feature_id: Mapped[int] = mapped_column(BigInteger, ForeignKey(WaterFeature.feature_id), primary_key=True)
    nth: Mapped[int] = mapped_column(Integer)
    distance_km: Mapped[float]
    earliest_at: Mapped[datetime | None]
    probable_at: Mapped[datetime | None]
    lapses_at: Mapped[datetime]
    unit_peak: Mapped[float | None]
    passage_s: Mapped[float | None]
    is_lake: Mapped[bool]
    is_dammed: Mapped[bool]
    public_at: Mapped[datetime]


class DownstreamPast(Base):
    """A window that has lapsed, kept for some days beside those that have not: a report that was taken while it ran may
    be judged later, and what is told of how good the windows were would else know the good ones alone."""

    __tablename__ = "downstream_past"
    __table_args__ = (
        CheckConstraint("distance_km >= 0", name="distance_km"),
        CheckConstraint("earliest_at <= probable_at AND probable_at <= lapses_at", name="window"),
        Index("ix_downstream_past_feature_id", "feature_id"),
    )

    incident_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("downstream_forecast.incident_id", ondelete="CASCADE"), primary_key=True
    )
    feature_id: Mapped[int] = mapped_column(BigInteger, ForeignKey(WaterFeature.feature_id), primary_key=True)
    distance_km: Mapped[float]
    earliest_at: Mapped[datetime | None]
    probable_at: Mapped[datetime | None]
    lapses_at: Mapped[datetime]
    gone_at: Mapped[datetime]


class ArrivalCheck(Base):
    """A report from a reach that was warned: whether what was expected there had come, as a moderator judged.

    The window is kept as it stood when the report was judged, with by how much it was missed (seconds: below zero
    before it, above after it, zero within; null without times): forecasts change and end, the comparison stays.
    """

    __tablename__ = "arrival_check"
    __table_args__ = (
        CheckConstraint("outcome IN ('arrived', 'not_arrived')", name="outcome"),
        CheckConstraint("distance_km >= 0", name="distance_km"),
        CheckConstraint("earliest_at <= probable_at", name="window"),
        CheckConstraint("outcome = 'arrived' OR missed_by_s IS NULL", name="missed_by"),
        Index("ix_arrival_check_report_id", "report_id"),
    )

    incident_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Incident.id), primary_key=True)
    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Report.id), primary_key=True)
    feature_id: Mapped[int] = mapped_column(BigInteger, ForeignKey(WaterFeature.feature_id))
    outcome: Mapped[str] = mapped_column(Text)
    observed_at: Mapped[datetime]
    distance_km: Mapped[float]
    earliest_at: Mapped[datetime | None]
    probable_at: Mapped[datetime | None]
    missed_by_s: Mapped[float | None]
    checked_by: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id))
    checked_at: Mapped[datetime]


class GaugeReading(Base):
    """The latest discharge a gauge told of a reach, m³/s. ``source``: who measures, for who looks it up."""

    __tablename__ = "gauge_reading"
    __table_args__ = (
        CheckConstraint("discharge_cms > 0 AND discharge_cms < 1000000", name="discharge_cms"),
        CheckConstraint("source <> '' AND length(source) <= 200", name="source"),
    )

    feature_id: Mapped[int] = mapped_column(BigInteger, ForeignKey(WaterFeature.feature_id), primary_key=True)
    discharge_cms: Mapped[float]
    measured_at: Mapped[datetime]
    source: Mapped[str] = mapped_column(Text)
