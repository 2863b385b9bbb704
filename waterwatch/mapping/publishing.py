"""What the published files hold: from the answers of the database to bytes. ``docs/published-map.md`` describes them.

Equal states give equal bytes, so a file's name, made of its content, changes exactly when the content does.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import Any

from waterwatch.mapping.publishing_queries import ColouredGroup, IncidentGroup
from waterwatch.mapping.rules import ANSWERS

VERSION = 2
DETAIL_ZOOM, SUM_ZOOM = 6, 8
RANKS = (4, 3, 2, 1)


def encode(value: Any) -> bytes:
    """Compact JSON in UTF-8, keys in order."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def delta_coded(ids: Sequence[int]) -> list[int]:
    """Ascending numbers, each but the first as the difference to the one before it: a third of the bytes."""
    ordered = sorted(ids)
    return [*ordered[:1], *(after - before for before, after in pairwise(ordered))]


def levels(groups: Iterable[ColouredGroup]) -> bytes:
    """Coloured waters by basis and level."""
    found: dict[str, dict[str, list[int]]] = {
        "confirmed": {str(rank): [] for rank in RANKS},
        "approaching": {},
    }
    for group in groups:
        found[group.basis][str(group.level)] = delta_coded(group.feature_ids)
    return encode(found)


def month(first: date, spans: Mapping[int, Sequence[tuple[int, int, int]]]) -> bytes:
    """Which water carried which level on which days of a month."""
    rows = {str(rank): [list(span) for span in spans.get(rank, ())] for rank in RANKS}
    return encode({"month": f"{first:%Y-%m}", "spans": rows})


def tiles(groups: Iterable[IncidentGroup]) -> dict[str, bytes]:
    """Details of open incidents, by tile of zoom 6 (``x/y``): a GeoJSON FeatureCollection each."""
    found: dict[str, list[str]] = defaultdict(list)
    shift = SUM_ZOOM - DETAIL_ZOOM
    for group in groups:
        found[f"{group.x >> shift}/{group.y >> shift}"] += group.features
    return {
        tile: ('{"type":"FeatureCollection","features":[' + ",".join(sorted(features)) + "]}").encode()
        for tile, features in found.items()
    }


def incidents(groups: Iterable[IncidentGroup], files: Mapping[str, str]) -> bytes:
    """Where the details lie, and sums for clusters. ``files``: by tile the file's name."""
    counted = list(groups)
    kinds = sorted({group.kind for group in counted})
    numbers = {kind: number for number, kind in enumerate(kinds)}
    sums = [[round(g.lon, 2), round(g.lat, 2), numbers[g.kind], g.severity, g.answer, len(g.features)] for g in counted]
    return encode(
        {"zoom": DETAIL_ZOOM, "kinds": kinds, "answers": list(ANSWERS), "tiles": dict(files), "sums": sorted(sums)}
    )


def pointer(
    names: Mapping[str, str], history: Mapping[str, str], *, published_at: datetime, stale_after_s: int
) -> bytes:
    """What is written last. ``names``: ``levels``, ``expected``, ``incidents``; ``tiles`` once there is an archive."""
    return encode(
        {
            "version": VERSION,
            "generated_at": published_at.isoformat(),
            "stale_after_s": stale_after_s,
            "history": dict(history),
            "snapshot": "maps/national.html",
            **names,
        }
    )
