"""Somebody's own pace: pure arithmetic over their own decisions, for nobody's eyes but theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from statistics import median

BREAK = timedelta(minutes=15)  # a pause this long is a rest: the next decision begins a new stretch
REST_AFTER = timedelta(minutes=90)
ACCEPTED = ("accepted", "joined", "patrol_accepted")


@dataclass(frozen=True)
class Act:
    """One decision: when, which, and for how long the report was held before it; None where that says nothing."""

    at: datetime
    action: str
    took_s: float | None = None


@dataclass(frozen=True)
class Pace:
    """``median_s``: of what is known, None where nothing is; ``stretch``: how long without a break until now."""

    today: int
    week: int
    accepted: int
    refused: int
    median_s: float | None
    stretch: timedelta

    @property
    def needs_rest(self) -> bool:
        """Whether it is time to look away from the screen."""
        return self.stretch >= REST_AFTER


def pace(acts: Sequence[Act], *, now: datetime, zone: tzinfo) -> Pace:
    """One's own pace from the acts of the last week, in their order. Days and weeks (from Monday) are the viewer's."""
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    monday = midnight - timedelta(days=midnight.weekday())
    this_week = [act for act in acts if act.at >= monday]
    times = durations(this_week)
    return Pace(
        today=sum(act.at >= midnight for act in acts),
        week=len(this_week),
        accepted=sum(act.action in ACCEPTED for act in this_week),
        refused=sum(act.action == "refused" for act in this_week),
        median_s=median(times) if times else None,
        stretch=stretch([act.at for act in acts], now=now),
    )


def durations(acts: Sequence[Act]) -> list[float]:
    """How long each act took, in seconds: since the report was taken, but not before the last one was done with. The
    next report is taken while another is on the screen."""
    found = []
    for before, act in zip([None, *acts], acts, strict=False):
        if act.took_s is not None:
            since_last_s = act.took_s if before is None else (act.at - before.at).total_seconds()
            found.append(min(act.took_s, since_last_s))
    return found


def stretch(moments: Sequence[datetime], *, now: datetime) -> timedelta:
    """How long somebody has worked without a break of :data:`BREAK` until now; nothing when they rest already."""
    begun = now
    for moment in reversed(moments):
        if begun - moment >= BREAK:
            break
        begun = moment
    return now - begun
