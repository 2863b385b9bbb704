"""``waterwatch waters walk``: what lies below or above a place, and how far; how an operator looks at an import."""

import uuid
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy.orm import Session

from waterwatch.flow.rules import Walk
from waterwatch.flow.service import open_network
from waterwatch.waters import queries as waters
from waterwatch.zones.queries import zones_along

DEFAULT_LIMIT_KM = 200.0  # as far as warnings go downstream


@dataclass(frozen=True)
class Stretch:
    """One water on the way: from which km to which, in how many reaches and lakes."""

    water_body_id: uuid.UUID
    from_km: float
    to_km: float
    features: int


@dataclass(frozen=True)
class Protected:
    """One zone on the way and how far it is to the first reach that touches it."""

    kind: str
    grade: int | None
    name: str
    from_km: float


@click.command("walk")
@click.argument("place")
@click.option("--up", is_flag=True, help="Against the flow.")
@click.option("--limit-km", type=click.FloatRange(0), default=DEFAULT_LIMIT_KM, show_default=True)
def walk_command(place: str, up: bool, limit_km: float) -> None:
    """List the waters below PLACE (or above it), with the way to each, and the protected zones they touch.

    PLACE: LON,LAT in WGS-84 degrees, or SOURCE:KEY of a reach (hydrorivers:40123456).
    """
    from waterwatch.cli import _refuse, _session, _settings

    settings = _settings()
    with _session(settings) as session:
        found = _start(session, place)
        if found is None:
            _refuse(
                "那里没有水体。写作 经度,纬度（如 114.29,30.55）或 来源:河段编号"
                " · no water there: write LON,LAT (such as 114.29,30.55) or SOURCE:KEY"
            )
        network = open_network(session, settings.network_dir)
        feature_id, start_km = found
        go = network.upstream if up else network.downstream
        walk = go(feature_id, start_km=0.0 if up else start_km, limit_km=limit_km)
        stretches = _stretches(session, walk)
        names = waters.names_of(session, [one.water_body_id for one in stretches])
        addresses = waters.public_ids_of(session, {one.water_body_id for one in stretches})
        zones = _zones(session, walk)
    table = Table("km", "水体 · water", "网址 · address", "河段 · reaches", box=None)
    for one in stretches:
        name = names.get(one.water_body_id, {})
        shown = name.get("zh-Hans") or name.get("en") or "（无名 · unnamed）"
        table.add_row(
            f"{one.from_km:.1f} – {one.to_km:.1f}", shown, f"/w/{addresses[one.water_body_id]}", str(one.features)
        )
    console = Console()
    way = "上游 · upstream" if up else "下游 · downstream"
    console.print(f"{way}, ≤ {limit_km:g} km: {len(walk)} 河段和湖面 · reaches and lakes", highlight=False)
    console.print(table)
    for zone in zones:
        grade = f" {zone.grade}" if zone.grade else ""
        console.print(f"{zone.from_km:.1f} km  {zone.kind}{grade}  {zone.name}", highlight=False)


def _start(session: Session, place: str) -> tuple[int, float] | None:
    """(feature id, km from the place to the lower end of its reach); None where there is no water."""
    lon, comma, lat = place.partition(",")
    if not comma:
        source, _colon, key = place.partition(":")
        feature_id = waters.feature_of_key(session, source, key)
        return None if feature_id is None else (feature_id, 0.0)
    try:
        at = float(lon), float(lat)
    except ValueError:
        return None
    if not (-180 <= at[0] <= 180 and -90 <= at[1] <= 90):
        return None
    nearest = waters.nearest_waters(session, *at, 0.0, limit=1)
    if not nearest:
        return None
    return nearest[0].feature_id, waters.km_to_lower_end(session, nearest[0].water_feature_id, *at)


def _stretches(session: Session, walk: Walk) -> list[Stretch]:
    """Each water once, in the order in which the walk came to it."""
    body_of = waters.bodies_of_features(session, walk.feature_ids.tolist())
    found: dict[uuid.UUID, list[float]] = {}
    for feature_id, km in walk.as_dict().items():
        found.setdefault(body_of[feature_id], []).append(km)
    return [Stretch(body, min(kms), max(kms), len(kms)) for body, kms in found.items()]


def _zones(session: Session, walk: Walk) -> list[Protected]:
    km_of = walk.as_dict()
    nearest: dict[uuid.UUID, Protected] = {}
    for zone in zones_along(session, list(km_of)):
        km = km_of[zone.feature_id]
        if zone.zone_id not in nearest or km < nearest[zone.zone_id].from_km:
            name = zone.names.get("zh-Hans") or zone.names.get("en") or ""
            nearest[zone.zone_id] = Protected(zone.kind, zone.grade, name, km)
    return sorted(nearest.values(), key=lambda zone: zone.from_km)
