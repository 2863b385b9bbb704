"""``waterwatch waters walk``: what lies below or above a place, how far, and when what is seen here comes there.

How an operator looks at an import.
"""

import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy.orm import Session

from waterwatch.advisories import walking
from waterwatch.advisories.forecasts import flow_now
from waterwatch.advisories.rules import DILUTED_BY, LIMIT_H
from waterwatch.advisories.walking import Flow, Way, ratio_from
from waterwatch.flow.rules import Network, Walk
from waterwatch.flow.service import open_network
from waterwatch.kernel.clock import utc_now
from waterwatch.rosters.queries import operators_of
from waterwatch.waters import queries as waters
from waterwatch.zones.queries import zones_along

DEFAULT_LIMIT_KM = 200.0  # as far as warnings go downstream
# A warning ends sooner; who looks at an import sees what lies beyond, too.
ANY_H, ANY_DILUTION = 1e9, 1e12


@dataclass(frozen=True)
class Stretch:
    """One water on the way: from which km to which, in how many reaches and lakes; ``first`` is the nearest of them."""

    water_body_id: uuid.UUID
    first: int
    from_km: float
    to_km: float
    features: int


@dataclass(frozen=True)
class Protected:
    """One zone on the way and how far it is to the first reach that touches it. ``operator``: who runs it, or empty."""

    zone_id: uuid.UUID
    kind: str
    grade: int | None
    name: str
    first: int
    from_km: float
    operator: str = ""


@dataclass(frozen=True)
class Times:
    """Hours after something is seen at the place, by feature: (earliest, probable); and which lakes there are.

    Empty against the flow. ``ratio``: of the mean discharge, by which they are reckoned; None where no reach on the way
    has a velocity.
    """

    hours: Mapping[int, tuple[float, float]]
    marks: Mapping[int, str]
    ratio: float | None = None

    def words(self, feature_id: int) -> str:
        """The window of a feature, as short as it can be said; empty where it is not known."""
        earliest, probable = self.hours.get(feature_id, (math.inf, math.inf))
        if not math.isfinite(earliest):
            return ""
        return f"{earliest:.1f} – {probable:.1f} h" if math.isfinite(probable) else f"≥ {earliest:.1f} h"


@click.command("walk")
@click.argument("place")
@click.option("--up", is_flag=True, help="Against the flow.")
@click.option("--limit-km", type=click.FloatRange(0), default=DEFAULT_LIMIT_KM, show_default=True)
def walk_command(place: str, up: bool, limit_km: float) -> None:
    """List the waters below PLACE (or above it), with the way to each, and the protected zones they touch.

    Downstream with the hours from when something is seen here, earliest and probable, where discharges are known.

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
        if up:
            walked, times = network.upstream(found[0], limit_km=limit_km), Times({}, {})
        else:
            walked, times = _downstream(network, found, flow_now(session, settings, now=utc_now()), limit_km)
        stretches = _stretches(session, walked)
        names = waters.names_of(session, [one.water_body_id for one in stretches])
        addresses = waters.public_ids_of(session, {one.water_body_id for one in stretches})
        zones = _zones(session, walked)
    titles = ("km", "水体 · water", "网址 · address", "河段 · reaches", "" if up else "到达 · arrival")
    table = Table(*titles, box=None)
    for one in stretches:
        name = names.get(one.water_body_id, {})
        shown = (name.get("zh-Hans") or name.get("en") or "（无名 · unnamed）") + times.marks.get(one.first, "")
        km = f"{one.from_km:.1f} – {one.to_km:.1f}"
        table.add_row(
            km, escape(shown), f"/w/{addresses[one.water_body_id]}", str(one.features), times.words(one.first)
        )
    console = Console()
    way = "上游 · upstream" if up else "下游 · downstream"
    console.print(f"{way}, ≤ {limit_km:g} km: {len(walked)} 河段和湖面 · reaches and lakes", highlight=False)
    console.print(table)
    for zone in zones:
        grade = f" {zone.grade}" if zone.grade else ""
        more = "".join(f"  {words}" for words in (times.words(zone.first), zone.operator) if words)
        click.echo(f"{zone.from_km:.1f} km  {zone.kind}{grade}  {zone.name}{more}")
    if not up:
        click.echo(_explained(times))


def _explained(times: Times) -> str:
    """What the hours are, or why there are none."""
    if times.ratio is None:
        return (
            "没有流量或集水面积，只有距离，没有时间：导入 HydroRIVERS 之后才有"
            " · no discharges or drainage areas, so distances only: import HydroRIVERS for times"
        )
    return (
        f"时间：最早 – 可能，按多年平均流量的 {times.ratio:g} 倍推算（Jobson 1996），有误差；湖泊以下只知不早于。"
        f"预警到 {LIMIT_H:g} 小时或流量增至 {DILUTED_BY:g} 倍为止。"
        f" · hours: earliest – probable at {times.ratio:g} × the mean discharge (Jobson 1996), with its error; below a"
        f" lake not before. A warning ends at {LIMIT_H:g} h, or where the river carries {DILUTED_BY:g} times as much."
    )


def _downstream(network: Network, found: tuple[int, float], flow: Flow, limit_km: float) -> tuple[Walk, Times]:
    """What lies below, as a warning would be walked, but to the end; and when what is seen here comes there."""
    feature_id, start_km = found
    ratio = ratio_from(network, feature_id, flow)
    way = walking.walk(
        network,
        feature_id,
        start_km=start_km,
        flow=Flow(ratio, flow.gauges),
        limit_km=limit_km,
        limit_h=ANY_H,
        diluted_by=ANY_DILUTION,
    )
    hours = zip(way.earliest_h.tolist(), way.probable_h.tolist(), strict=True)
    rows = [network.row_of(one) for one in (feature_id, *way.feature_ids.tolist())]
    is_timed = bool((network.term[rows] > 0).any())
    times = Times(dict(zip(way.feature_ids.tolist(), hours, strict=True)), _marks(way), ratio if is_timed else None)
    return Walk(way.feature_ids, way.distance_km), times


def _marks(way: Way) -> dict[int, str]:
    lakes = zip(way.feature_ids.tolist(), way.is_lake.tolist(), way.is_dammed.tolist(), strict=True)
    return {
        feature_id: "（有坝 · dammed）" if is_dammed else "（湖 · lake）"
        for feature_id, is_lake, is_dammed in lakes
        if is_lake
    }


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
    found: dict[uuid.UUID, list[tuple[float, int]]] = {}
    for feature_id, km in walk.as_dict().items():
        found.setdefault(body_of[feature_id], []).append((km, feature_id))
    return [
        Stretch(body, all_of_it[0][1], all_of_it[0][0], all_of_it[-1][0], len(all_of_it))
        for body, all_of_it in found.items()
    ]


def _zones(session: Session, walk: Walk) -> list[Protected]:
    km_of = walk.as_dict()
    nearest: dict[uuid.UUID, Protected] = {}
    for zone in zones_along(session, list(km_of)):
        km = km_of[zone.feature_id]
        if zone.zone_id not in nearest or km < nearest[zone.zone_id].from_km:
            name = zone.names.get("zh-Hans") or zone.names.get("en") or ""
            nearest[zone.zone_id] = Protected(zone.zone_id, zone.kind, zone.grade, name, zone.feature_id, km)
    run_by = operators_of(session, nearest)
    for zone_id, operator in run_by.items():
        nearest[zone_id] = replace(nearest[zone_id], operator=operator.name)
    return sorted(nearest.values(), key=lambda zone: zone.from_km)
