"""How the field's sources name things: which column is what, per source, and what an operator says of any other file.

Roles a column may play for a reach carry the names of HydroRIVERS (Technical Documentation v1.0, 2019) in lower case;
for a lake they follow HydroLAKES (Technical Documentation v1.0, 2016). What a source calls otherwise is mapped.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

REACH, LAKE = "reach", "lake"
AREA, ZONE = "area", "zone"  # jurisdictions, and zones of protection: read the same way, merged each in their own
WATERS = (REACH, LAKE)
MISSING = -9999  # HydroSHEDS products write it where a number is unknown
INTEGERS = ("ord_stra", "ord_clas", "ord_flow", "hybas_l12")
SLOPE = "slope"  # of a reach, m/m
FLOATS = ("length_km", "dist_dn_km", "dist_up_km", "upland_skm", "catch_skm", "dis_av_cms", "area_km2", SLOPE)
STEEPEST = 10.0  # m/m; nothing that falls more steeply is a reach, the unit is wrong
DM_PER_KM = 10_000.0  # in one m/m
REFERENCES = ("key", "next_down")
NAME_ROLES = ("name.zh-Hans", "name.zh-Hant", "name.en", "name.zh", "name")
WATER_ROLES = (*REFERENCES, "key.else", *INTEGERS, *FLOATS, "endorheic", "water_kind", *NAME_ROLES, "alias")
ROLES = {
    REACH: WATER_ROLES,
    LAKE: tuple(role for role in WATER_ROLES if role != SLOPE),
    AREA: ("key", "next_down", "level", *NAME_ROLES),
    ZONE: ("key", "zone_kind", "grade", *NAME_ROLES),
}
# The columns of a staged row, in the order in which they are copied, and their PostgreSQL types.
WATER_STAGED = (
    ("ordinal", "int8"),
    ("key", "text"),
    ("next_key", "text"),
    ("water_kind", "text"),
    *((name, "float8") for name in FLOATS),
    *((name, "int8" if name == "hybas_l12" else "int2") for name in INTEGERS),
    ("endorheic", "bool"),
    ("zh_hans", "text"),
    ("zh_hant", "text"),
    ("en", "text"),
    ("aliases", "text"),
    ("geom", "bytea"),
)
NAMED_STAGED = (("zh_hans", "text"), ("zh_hant", "text"), ("en", "text"), ("geom", "bytea"))
STAGED = {
    REACH: WATER_STAGED,
    LAKE: WATER_STAGED,
    AREA: (("ordinal", "int8"), ("key", "text"), ("next_key", "text"), ("level", "text"), *NAMED_STAGED),
    ZONE: (("ordinal", "int8"), ("key", "text"), ("zone_kind", "text"), ("grade", "int2"), *NAMED_STAGED),
}
BASIN = "basin"  # an area with a code of its own making, "basin-…", and no parent
LEVELS = ("province", "prefecture", "county", BASIN)
# Which grades a kind of zone has, the strictest first: 一级, 二级, 准保护区; national, provincial, county reserves.
ZONE_GRADES = {"drinking_water": (1, 2, 3), "nature_reserve": (1, 2, 3), "bathing": (), "intake": ()}
# What a source's values may be turned into.
KINDS = {
    REACH: ("river", "canal"),
    LAKE: ("lake", "reservoir", "pond"),
    AREA: LEVELS,
    ZONE: tuple(ZONE_GRADES),
}


class LayoutFault(ValueError):
    """A description of a source that cannot be used. ``code`` is stable; ``facts`` are values a sentence may need."""

    def __init__(self, code: str, **facts: str) -> None:
        self.code = code
        self.facts = facts
        super().__init__(f"{code} {facts}")


@dataclass(frozen=True)
class Layout:
    """How one layer of a source is read.

    ``columns``: role → column. ``water_kinds``: a source's value → our kind of water, of zone or level of area;
    ``default_kind`` where there is no column for it. ``units``: role → how many of the source's units make one of ours;
    a column that an operator names for a role holds ours.
    """

    code: str
    title: str
    licence: str
    url: str | None
    kind: str
    prefix: str
    columns: Mapping[str, str] = field(default_factory=dict)
    water_kinds: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, float] = field(default_factory=dict)
    default_kind: str = "river"
    where: str | None = None
    layer: str | None = None


HYDRORIVERS = Layout(
    code="hydrorivers",
    title="HydroRIVERS v1.0",
    licence="HydroSHEDS licence: free with attribution",
    url="https://www.hydrosheds.org/products/hydrorivers",
    kind=REACH,
    prefix="hr",
    columns=MappingProxyType(
        {
            "key": "HYRIV_ID",
            "next_down": "NEXT_DOWN",
            "length_km": "LENGTH_KM",
            "dist_dn_km": "DIST_DN_KM",
            "dist_up_km": "DIST_UP_KM",
            "catch_skm": "CATCH_SKM",
            "upland_skm": "UPLAND_SKM",
            "endorheic": "ENDORHEIC",
            "dis_av_cms": "DIS_AV_CMS",
            "ord_stra": "ORD_STRA",
            "ord_clas": "ORD_CLAS",
            "ord_flow": "ORD_FLOW",
            "hybas_l12": "HYBAS_L12",
            # Not in HydroRIVERS itself but in RiverATLAS v1.0, the same reaches with more columns: "stream gradient".
            SLOPE: "sgr_dk_rav",
        }
    ),
    units=MappingProxyType({SLOPE: DM_PER_KM}),
)
HYDROLAKES = Layout(
    code="hydrolakes",
    title="HydroLAKES v1.0",
    licence="CC BY 4.0",
    url="https://www.hydrosheds.org/products/hydrolakes",
    kind=LAKE,
    prefix="hl",
    columns=MappingProxyType(
        {
            "key": "Hylak_id",
            "name": "Lake_name",
            "area_km2": "Lake_area",
            "water_kind": "Lake_type",
            "dis_av_cms": "Dis_avg",
        }
    ),
    # 1 natural, 2 reservoir, 3 "lake control": natural, with a dam at its outlet. People call it a lake.
    water_kinds=MappingProxyType({"1": "lake", "2": "reservoir", "3": "lake"}),
    default_kind="lake",
)
NATURAL_EARTH_RIVERS = Layout(
    code="natural-earth-rivers",
    title="Natural Earth: rivers and lake centerlines",
    licence="public domain",
    url="https://www.naturalearthdata.com/",
    kind=REACH,
    prefix="ne",
    columns=MappingProxyType(
        {"name.zh-Hans": "name_zh", "name.zh-Hant": "name_zht", "name.en": "name_en", "name": "name"}
    ),
)
NATURAL_EARTH_LAKES = Layout(
    code="natural-earth-lakes",
    title="Natural Earth: lakes and reservoirs",
    licence="public domain",
    url="https://www.naturalearthdata.com/",
    kind=LAKE,
    prefix="nl",
    columns=MappingProxyType(
        {
            "name.zh-Hans": "name_zh",
            "name.zh-Hant": "name_zht",
            "name.en": "name_en",
            "name": "name",
            "water_kind": "featurecla",
        }
    ),
    water_kinds=MappingProxyType({"Lake": "lake", "Alkaline Lake": "lake", "Reservoir": "reservoir"}),
    default_kind="lake",
)
_OSM_NAMES = {
    "name.zh-Hans": "name:zh-Hans",
    "name.zh-Hant": "name:zh-Hant",
    "name.en": "name:en",
    "name.zh": "name:zh",
    "name": "name",
    "alias": "alt_name",
}
OSM_RIVERS = Layout(
    code="osm-rivers",
    title="OpenStreetMap: waterways",
    licence="ODbL 1.0",
    url="https://www.openstreetmap.org/",
    kind=REACH,
    prefix="or",
    columns=MappingProxyType({"key": "osm_id", "water_kind": "waterway", **_OSM_NAMES}),
    water_kinds=MappingProxyType({"canal": "canal", "ditch": "canal", "drain": "canal"}),
    where="waterway IN ('river', 'stream', 'canal', 'ditch', 'drain')",
    layer="lines",
)
OSM_LAKES = Layout(
    code="osm-lakes",
    title="OpenStreetMap: water areas",
    licence="ODbL 1.0",
    url="https://www.openstreetmap.org/",
    kind=LAKE,
    prefix="ol",
    columns=MappingProxyType({"key": "osm_id", "key.else": "osm_way_id", "water_kind": "water", **_OSM_NAMES}),
    water_kinds=MappingProxyType({"reservoir": "reservoir", "pond": "pond", "basin": "pond", "fish_pond": "pond"}),
    default_kind="lake",
    # Areas of rivers and canals are the rivers' own, which are there as lines.
    where=(
        "natural = 'water' AND (water IS NULL OR water NOT IN"
        " ('river', 'canal', 'stream', 'ditch', 'drain', 'lock', 'moat', 'fountain', 'wastewater', 'swimming_pool'))"
    ),
    layer="multipolygons",
)
KNOWN = MappingProxyType(
    {
        layout.code: layout
        for layout in (HYDRORIVERS, HYDROLAKES, NATURAL_EARTH_RIVERS, NATURAL_EARTH_LAKES, OSM_RIVERS, OSM_LAKES)
    }
)


def generic(code: str, kind: str) -> Layout:
    """A layout for a source nobody described: everything is to be mapped. Raises :class:`LayoutFault`."""
    if kind not in KINDS:
        raise LayoutFault("kind_unknown", given=kind, known=", ".join(WATERS))
    if not code or not code.replace("-", "").isalnum() or not code.isascii() or not code.islower():
        raise LayoutFault("source_code_unusable", given=code)
    default_kind = KINDS[kind][0] if kind in WATERS else ""
    return Layout(code, code, "see the operator", None, kind, code[:24], default_kind=default_kind)


def with_mapping(layout: Layout, pairs: Iterable[str]) -> Layout:
    """The layout with ``role=column`` pairs added or replaced. Raises :class:`LayoutFault` for the first bad pair."""
    columns, units = dict(layout.columns), dict(layout.units)
    for pair in pairs:
        role, sign, column = pair.partition("=")
        if not sign or not column:
            raise LayoutFault("mapping_unreadable", given=pair)
        if role not in ROLES[layout.kind]:
            raise LayoutFault("role_unknown", given=role, known=", ".join(ROLES[layout.kind]))
        columns[role] = column
        units.pop(role, None)
    return replace(layout, columns=columns, units=units)


def from_file(path: Path, kind: str = "") -> Layout:
    """A layout written down in a small TOML file (see the guide to operations), of ``kind`` if that is settled.

    Raises :class:`LayoutFault`.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise LayoutFault("mapping_file_unreadable", file=path.name, reason=str(fault)) from None
    layout = KNOWN.get(str(given.get("like", ""))) if not kind else None
    layout = layout or generic(str(given.get("source", "")), kind or str(given.get("kind", "")))
    texts = {name: str(given[name]) for name in ("title", "licence", "url", "where", "layer") if name in given}
    layout = replace(layout, code=str(given.get("source", layout.code)), **texts)  # type: ignore[arg-type]
    kinds = {str(value): str(kind) for value, kind in given.get("kinds", {}).items()}
    for known in kinds.values():
        if known not in KINDS[layout.kind]:
            raise LayoutFault("water_kind_unknown", given=known, known=", ".join(KINDS[layout.kind]))
    if kinds:
        layout = replace(layout, water_kinds=kinds)
    return with_mapping(layout, [f"{role}={column}" for role, column in given.get("columns", {}).items()])


def level_of(code: str) -> str:
    """The level a code tells: basin-… a basin; of GB/T 2260 xx0000 a province, xxyy00 a prefecture, else a county."""
    if code.startswith("basin-"):
        return BASIN
    return "province" if code.endswith("0000") else "prefecture" if code.endswith("00") else "county"


def languages_of(name: str, role: str) -> str:
    """The language a name is kept under: the role's own, or for ``name`` by its script.

    A Latin name in whatever language stands where the English one would, until a source gives that.
    """
    if role == "name.zh":
        return "zh-Hans"
    if role != "name":
        return role.removeprefix("name.")
    return "zh-Hans" if any("\u4e00" <= letter <= "\u9fff" for letter in name) else "en"


def strahler_orders(next_of: Sequence[int]) -> list[int]:
    """Stream order (Strahler 1957: 1 at a source, one more where two of the same order meet) of each reach.

    ``next_of``: the place of the reach below in this very sequence, or -1. Reaches of a circle get 0.
    """
    waiting, highest, ties = [0] * len(next_of), [0] * len(next_of), [0] * len(next_of)
    for below in next_of:
        if below >= 0:
            waiting[below] += 1
    orders = [0] * len(next_of)
    ready = [place for place, count in enumerate(waiting) if count == 0]
    while ready:
        place = ready.pop()
        orders[place] = order = max(1, highest[place] + (ties[place] > 1))
        below = next_of[place]
        if below < 0:
            continue
        if order > highest[below]:
            highest[below], ties[below] = order, 0
        ties[below] += order == highest[below]
        waiting[below] -= 1
        if waiting[below] == 0:
            ready.append(below)
    return orders
