"""Early warnings as data: reach by reach what may come when, as GeoJSON and as CSV. No I/O.

Each field is documented in docs/api.md. What is unknown is null; what is an order of
magnitude alone is not told.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from waterwatch.atlas.expected import ExpectedPart
from waterwatch.kernel import sheets
from waterwatch.opendata.exports import LEVELS, NOTICE, Facts

RECKONED = (
    "由公众上报推算，可能早到、晚到或不到，流速误差约 ±0.15 m/s · reckoned from citizens' reports (Jobson 1996, root "
    "mean square error of velocity 0.15 m/s): it may come sooner, later or not at all"
)


def _time(at: datetime | None) -> str | None:
    return at.isoformat(timespec="minutes") if at else None


_COLUMNS: tuple[tuple[str, Callable[[ExpectedPart], Any]], ...] = (
    ("incident", lambda one: one.code),
    ("kind", lambda one: one.kind),
    ("level", lambda one: LEVELS[one.level]),
    ("feature_id", lambda one: one.feature_id),
    ("water", lambda one: one.water),
    ("name_zh_hans", lambda one: one.names.get("zh-Hans")),
    ("name_zh_hant", lambda one: one.names.get("zh-Hant")),
    ("name_en", lambda one: one.names.get("en")),
    ("distance_km", lambda one: round(one.distance_km, 1)),
    ("earliest_at", lambda one: _time(one.window.earliest)),
    ("probable_at", lambda one: _time(one.window.probable)),
    ("lapses_at", lambda one: _time(one.lapses_at)),
    ("is_lake", lambda one: one.is_lake),
    ("is_dammed", lambda one: one.is_dammed),
)
COLUMNS = tuple(name for name, _value in _COLUMNS)


def facts_of(part: ExpectedPart) -> Facts:
    """What is told of one reach or lake, but for its shape."""
    return {name: value(part) for name, value in _COLUMNS}


def as_geojson(parts: Sequence[ExpectedPart], about: Mapping[str, Any]) -> str:
    """A FeatureCollection of lines and shapes, the incident's nearest first."""
    features = [
        {"type": "Feature", "id": f"{one.code}/{one.feature_id}", "geometry": one.geometry, "properties": facts_of(one)}
        for one in parts
    ]
    collection = {"type": "FeatureCollection", "notice": f"{NOTICE}。{RECKONED}", "about": about, "features": features}
    return json.dumps(collection, ensure_ascii=False, separators=(",", ":"))


def as_csv(parts: Sequence[ExpectedPart]) -> str:
    """A table with a line of column names."""
    return sheets.as_csv(COLUMNS, (list(facts_of(one).values()) for one in parts))
