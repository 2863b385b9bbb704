"""What is published of early warnings: incident by incident the waters below it, how far and when.

Only what everybody may know by now: forecasts that stand and whose head start is over, places not yet passed. Written
in columns of small numbers, because one incident names hundreds of reaches.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.advisories.rules import passage_magnitude, unit_peak_magnitude


@dataclass(frozen=True)
class ExpectedGroup:
    """One incident and the reaches and lakes below it, the nearest first; columns of equal length.

    ``hectometres`` to the near end of each. ``earliest``, ``probable``: minutes since the epoch, None where not known;
    ``earliest`` alone: not before then. ``unit_peaks`` (10⁻⁶/s), ``passages`` (seconds): None where not known.
    ``level``: severity rank 1 to 3 of the warning.
    """

    code: str
    kind: str
    level: int
    feature_ids: list[int]
    hectometres: list[int]
    earliest: list[int | None]
    probable: list[int | None]
    unit_peaks: list[float | None]
    passages: list[float | None]
    are_lakes: list[bool]
    are_dammed: list[bool]


# Of an incident that has just ended or was withdrawn nothing is told, though its forecast may not know it yet.
_PUBLIC = text("""
SELECT i.code, i.kind, f.level,
       array_agg(r.feature_id ORDER BY r.nth) AS feature_ids,
       array_agg(round(10 * r.distance_km)::int ORDER BY r.nth) AS hectometres,
       array_agg((extract(epoch FROM r.earliest_at)::float8 / 60)::int ORDER BY r.nth) AS earliest,
       array_agg((extract(epoch FROM r.probable_at)::float8 / 60)::int ORDER BY r.nth) AS probable,
       array_agg(r.unit_peak ORDER BY r.nth) AS unit_peaks, array_agg(r.passage_s ORDER BY r.nth) AS passages,
       array_agg(r.is_lake ORDER BY r.nth) AS are_lakes, array_agg(r.is_dammed ORDER BY r.nth) AS are_dammed
FROM downstream_forecast f JOIN incident i ON i.id = f.incident_id AND i.closed_at IS NULL
JOIN downstream_reach r ON r.incident_id = f.incident_id
WHERE f.state = 'standing' AND r.public_at <= :now AND r.lapses_at > :now
GROUP BY i.code, i.kind, f.level ORDER BY i.code
""")


def expected_groups(session: Session, *, now: datetime) -> list[ExpectedGroup]:
    """Every forecast that is public at ``now``. One query."""
    return [ExpectedGroup(**row._mapping) for row in session.execute(_PUBLIC, {"now": now})]


def encoded(groups: Iterable[ExpectedGroup]) -> bytes:
    """The file ``expected``: see ``docs/published-map.md``."""
    incidents = [
        {
            "code": group.code,
            "kind": group.kind,
            "level": group.level,
            "ids": steps(group.feature_ids),
            "hm": steps(group.hectometres),
            "from": steps(group.earliest),
            "to": steps(group.probable),
            "peak": runs([unit_peak_magnitude(one) for one in group.unit_peaks]),
            "pass": runs([passage_magnitude(one) for one in group.passages]),
            "lakes": _places(group.are_lakes),
            "dams": _places(group.are_dammed),
        }
        for group in groups
    ]
    return json.dumps({"incidents": incidents}, separators=(",", ":"), sort_keys=True).encode()


def steps(values: Sequence[int | None]) -> list[int | None]:
    """Each number as the difference to the last one before it, the first to 0: neighbours are alike. None stays."""
    found: list[int | None] = []
    last = 0
    for value in values:
        found.append(None if value is None else value - last)
        last = last if value is None else value
    return found


def runs(values: Sequence[int | None]) -> list[list[int | None]]:
    """[value, how many in a row have it], again and again: an order of magnitude seldom changes."""
    return [[value, sum(1 for _ in alike)] for value, alike in groupby(values)]


def _places(flags: Sequence[bool]) -> list[int]:
    return [place for place, is_so in enumerate(flags) if is_so]
