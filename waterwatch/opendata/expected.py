"""Early warnings as data: reach by reach what may come when, as GeoJSON and as CSV. No I/O.

Each field is documented in docs/api.md. What is unknown is null; what is an order of
magnitude is told as a power of ten.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from waterwatch.advisories.rules import passage_h, unit_peak_mg_per_l
from waterwatch.atlas.expected import ExpectedPart
from waterwatch.kernel import sheets
from waterwatch.opendata.exports import LEVELS, NOTICE, Facts

RECKONED = (
    "由公众上报推算，可能早到、晚到或不到，流速误差约 ±0.15 m/s · reckoned from citizens' reports (Jobson 1996, root "
    "mean square error of velocity 0.15 m/s): it may come sooner, later or not at all"
)
MAGNITUDES = (
    "unit_peak_mg_per_l 是每公斤溶解物、每 1 m³/s 流量的峰浓度，它和 passage_h 都只是 10 的几次方，"
    "实际可能是几倍或几分之一；不知道排了多少，不是危害预报 · unit_peak_mg_per_l is the peak for each kilogram "
    "dissolved and each m³/s of flow; it and passage_h are powers of ten and may be several times more or less; nobody "
    "knows how much was spilled: no forecast of harm"
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
    ("unit_peak_mg_per_l", lambda one: unit_peak_mg_per_l(one.unit_peak)),
    ("passage_h", lambda one: passage_h(one.passage_s)),
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
    notice = f"{NOTICE}。{RECKONED}。{MAGNITUDES}"
    collection = {"type": "FeatureCollection", "notice": notice, "about": about, "features": features}
    return json.dumps(collection, ensure_ascii=False, separators=(",", ":"))


def as_csv(parts: Sequence[ExpectedPart]) -> str:
    """A table with a line of column names."""
    return sheets.as_csv(COLUMNS, (list(facts_of(one).values()) for one in parts))
