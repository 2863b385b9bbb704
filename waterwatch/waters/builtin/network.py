"""Turns a map's river lines into a flow network: reaches that run downstream, each knowing the next one.

Natural Earth draws some rivers towards their mouth, some away from it, and leaves gaps at lakes. Direction is therefore
never taken from the drawing. It follows from what a river flows into: the end nearest to that water (or to the sea) is
the mouth, and every stretch points to the mouth along the shortest way. Coordinates are WGS-84 degrees.
"""

import bisect
import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import shapely
from shapely import LineString, Point
from shapely.geometry.base import BaseGeometry
from shapely.ops import substring

MAX_REACH_KM = 60.0
EARTH_KM_PER_DEGREE = 111.32
TOUCH_DEG = 0.02  # an end this near another stretch's middle joins it: the source's own drawing tolerance
SAME_DEG = 0.005  # a confluence this near a junction is that junction: no reach shorter than some 500 m is cut off
CRUMB_DEG = 0.004  # shorter left-overs of overlapping drawings are dropped; the bridge over a gap takes their place
LINK_DEG = 0.6  # a mouth farther than this from the water it flows into is not linked: what is between is missing
GAP_WEIGHT = 3.0  # crossing a gap in the drawing costs three times its length, so that drawn ways are preferred

Node = tuple[float, float]
Lakes = Mapping[str, tuple[BaseGeometry, str | None]]  # polygon, and the key of what the lake drains into


@dataclass(frozen=True)
class River:
    """A river as drawn. ``mouth`` overrides the search for its lower end; ``flows_into`` is a river's or lake's key."""

    key: str
    lines: BaseGeometry
    flows_into: str | None
    mouth: Point | None = None


@dataclass
class Reach:
    """A stretch, coordinates downstream. ``next_key`` is the reach or lake below; ``dist_dn_km`` from its lower end."""

    key: str
    body: str
    line: LineString
    length_km: float
    next_key: str | None = None
    dist_dn_km: float = 0.0


@dataclass
class Network:
    """Every reach by key, and for every lake the reach or lake it drains into."""

    reaches: dict[str, Reach] = field(default_factory=dict)
    outflows: dict[str, str | None] = field(default_factory=dict)

    def of(self, body: str) -> list[Reach]:
        """The reaches of one river, upstream first."""
        return [reach for reach in self.reaches.values() if reach.body == body]


def build(rivers: Mapping[str, River], lakes: Lakes, sea: BaseGeometry) -> Network:
    """The network of all rivers and lakes; a lake is its polygon and the key of what it drains into.

    Raises ``ValueError`` when the rivers would flow in a circle.
    """
    mouths = {key: _mouth(river, rivers, lakes, sea) for key, river in rivers.items()}
    cuts = _confluences(rivers, lakes, mouths)
    network = Network()
    for key, river in rivers.items():
        for reach in _reaches(river, mouths[key], cuts[key]):
            network.reaches[reach.key] = reach
    by_river = {key: network.of(key) for key in rivers}
    for key, river in rivers.items():
        below = _entry(river.flows_into, mouths[key], by_river, lakes)
        for reach in by_river[key]:
            if reach.next_key is None:
                reach.next_key = below
    for key, (polygon, into) in lakes.items():
        network.outflows[key] = _outflow(polygon, into, by_river, lakes)
    _measure(network)
    return network


def _confluences(rivers: Mapping[str, River], lakes: Lakes, mouths: Mapping[str, Point]) -> dict[str, list[Point]]:
    """Where each river takes in others: it is cut there, so that a reach begins at every confluence."""
    cuts: dict[str, list[Point]] = defaultdict(list)
    for key, river in rivers.items():
        if river.flows_into is not None and river.flows_into in rivers:
            cuts[river.flows_into].append(mouths[key])
    for polygon, below in lakes.values():
        if below is not None and below in rivers and not polygon.intersects(rivers[below].lines):
            cuts[below].append(Point(shapely.shortest_line(rivers[below].lines, polygon).coords[0]))
    return cuts


def length_km(line: LineString) -> float:
    """Length on a sphere's local plane; within 0.5 % of the ellipsoid's at these latitudes."""
    total = 0.0
    for (west, south), (east, north) in itertools.pairwise(line.coords):
        width = (east - west) * math.cos(math.radians((south + north) / 2))
        total += math.hypot(width, north - south) * EARTH_KM_PER_DEGREE
    return total


def _stretch(line: LineString, start: float, end: float) -> LineString:
    """The part of a line between two fractions of its length."""
    part = substring(line, start, end, normalized=True)
    assert isinstance(part, LineString), "a stretch of no length"
    return part


def _node(coordinate: tuple[float, ...]) -> Node:
    return round(coordinate[0], 5), round(coordinate[1], 5)


def _parts(geometry: BaseGeometry) -> list[LineString]:
    merged = shapely.line_merge(shapely.union_all([geometry]))
    parts = list(getattr(merged, "geoms", [merged]))
    return [part for part in parts if part.length > CRUMB_DEG] or parts


def _mouth(
    river: River,
    rivers: Mapping[str, River],
    lakes: Lakes,
    sea: BaseGeometry,
) -> Point:
    ends = [Point(end) for part in _parts(river.lines) for end in (part.coords[0], part.coords[-1])]
    if river.mouth is not None:
        target: BaseGeometry = river.mouth
    elif river.flows_into is not None and river.flows_into in rivers:
        target = rivers[river.flows_into].lines
    elif river.flows_into is not None and river.flows_into in lakes:
        target = lakes[river.flows_into][0]
    else:
        target = sea
    shapely.prepare(target)
    return min(ends, key=lambda end: (target.distance(end), end.x, end.y))


def _reaches(river: River, mouth: Point, cuts: list[Point]) -> list[Reach]:
    """The river's reaches, upstream first; the ``next_key`` of those that leave the river is still open."""
    stretches = _cut(_parts(river.lines), cuts)
    leads_to, distance = _ways_down(stretches, _node(mouth.coords[0]))
    pieces: list[tuple[float, int, LineString]] = []  # km from the stretch's lower end to the mouth, stretch, line
    for index, stretch in enumerate(stretches):
        start, end = distance[_node(stretch.coords[0])], distance[_node(stretch.coords[-1])]
        line = stretch if start >= end else stretch.reverse()
        count = max(1, math.ceil(length_km(line) / MAX_REACH_KM))
        size = length_km(line) / count
        marks = _marks(line, count)
        for position, (upper, lower) in enumerate(itertools.pairwise(marks)):
            pieces.append((min(start, end) + (count - 1 - position) * size, index, _stretch(line, upper, lower)))
    pieces.sort(key=lambda piece: (-piece[0], piece[2].coords[0]))
    chains: dict[int, list[Reach]] = defaultdict(list)
    reaches = []
    for number, (_, index, line) in enumerate(pieces, 1):
        reaches.append(Reach(f"{river.key}/{number}", river.key, line, round(length_km(line), 1)))
        chains[index].append(reaches[-1])
    for chain in chains.values():
        for above, beneath in itertools.pairwise(chain):
            above.next_key = beneath.key
        below = leads_to[_node(chain[-1].line.coords[-1])]
        chain[-1].next_key = None if below is None else chains[below][0].key
    return reaches


def _marks(line: LineString, count: int) -> list[float]:
    """Fractions of a line's length in degrees that part it into ``count`` pieces of equal length in km."""
    steps = list(itertools.pairwise(line.coords))
    km = list(itertools.accumulate((length_km(LineString(step)) for step in steps), initial=0.0))
    degrees = list(itertools.accumulate((math.dist(*step) for step in steps), initial=0.0))
    marks = [0.0]
    for number in range(1, count):
        target_km = km[-1] * number / count
        step = bisect.bisect_right(km, target_km) - 1
        inside = (target_km - km[step]) / (km[step + 1] - km[step])
        marks.append((degrees[step] + inside * (degrees[step + 1] - degrees[step])) / degrees[-1])
    return [*marks, 1.0]


def _cut(parts: list[LineString], cuts: list[Point]) -> list[LineString]:
    """Cut the parts where tributaries come in, and where the end of one lies on the middle of another."""
    for point in cuts:
        _cut_at(parts, point, within_deg=math.inf)
    for end in [Point(end) for part in parts for end in (part.coords[0], part.coords[-1])]:
        _cut_at(parts, end, within_deg=TOUCH_DEG)
    return parts


def _cut_at(parts: list[LineString], point: Point, *, within_deg: float) -> None:
    for index, part in enumerate(parts):
        along_deg = part.project(point)
        is_inside = SAME_DEG < along_deg < part.length - SAME_DEG
        nearest_deg = min(other.distance(point) for other in parts) if within_deg == math.inf else within_deg
        if is_inside and part.distance(point) <= nearest_deg:
            parts[index : index + 1] = [
                _stretch(part, 0, along_deg / part.length),
                _stretch(part, along_deg / part.length, 1),
            ]
            return


def _ways_down(stretches: list[LineString], mouth: Node) -> tuple[dict[Node, int | None], dict[Node, float]]:
    """For every node the stretch that leaves it towards the mouth, and its distance in km (Dijkstra from the mouth)."""
    edges: dict[Node, list[tuple[Node, float, int | None]]] = defaultdict(list)
    for index, stretch in enumerate(stretches):
        a, b = _node(stretch.coords[0]), _node(stretch.coords[-1])
        size = length_km(stretch)
        edges[a].append((b, size, index))
        edges[b].append((a, size, index))
    for a, b in _bridges(stretches):
        gap_km = length_km(LineString([a, b])) * GAP_WEIGHT
        edges[a].append((b, gap_km, None))
        edges[b].append((a, gap_km, None))
    distance: dict[Node, float] = {}
    leads_to: dict[Node, int | None] = {}
    queue: list[tuple[float, Node, int | None]] = [(0.0, mouth, None)]
    while queue:
        far, node, by = heapq.heappop(queue)
        if node in distance:
            continue
        distance[node], leads_to[node] = far, by
        for other, size, along in edges[node]:
            # Across a gap the way continues with whatever leaves the other side.
            heapq.heappush(queue, (far + size, other, by if along is None else along))
    return leads_to, distance


def _bridges(stretches: list[LineString]) -> list[tuple[Node, Node]]:
    """The shortest gaps that join all stretches into one piece (a minimum spanning tree over their ends)."""
    group = {_node(end): _node(end) for part in stretches for end in (part.coords[0], part.coords[-1])}

    def root(node: Node) -> Node:
        while group[node] != node:
            node = group[node]
        return node

    for part in stretches:
        group[root(_node(part.coords[0]))] = root(_node(part.coords[-1]))
    pairs = sorted((math.dist(a, b), a, b) for a, b in itertools.combinations(sorted(group), 2))
    bridges = []
    for _, a, b in pairs:
        if root(a) != root(b):
            group[root(a)] = root(b)
            bridges.append((a, b))
    return bridges


def _entry(into: str | None, mouth: Point, by_river: Mapping[str, list[Reach]], lakes: Lakes) -> str | None:
    """The reach that begins at a confluence (a tributary's water passes the reach below it), or the lake."""
    if into is None:
        return None
    if into in lakes:
        return lake_feature(into)
    if into not in by_river:
        return None
    candidates = by_river[into]
    closest = min(reach.line.distance(mouth) for reach in candidates)
    if closest > LINK_DEG:
        return None
    near = [reach for reach in candidates if reach.line.distance(mouth) <= closest + SAME_DEG]
    return min(near, key=lambda reach: (Point(reach.line.coords[0]).distance(mouth), reach.key)).key


def _outflow(
    polygon: BaseGeometry,
    into: str | None,
    by_river: Mapping[str, list[Reach]],
    lakes: Lakes,
) -> str | None:
    """Where a lake's water goes: the lowest reach of its river that touches it, else the one at the nearest point."""
    if into is None:
        return None
    if into in lakes:
        return lake_feature(into)
    if into not in by_river:
        return None
    touching = [reach for reach in by_river[into] if reach.line.intersects(polygon)]
    if touching:
        return touching[-1].key
    river = shapely.MultiLineString([reach.line for reach in by_river[into]])
    return _entry(into, Point(shapely.shortest_line(river, polygon).coords[0]), by_river, lakes)


def lake_feature(key: str) -> str:
    """The key of a lake's one feature."""
    return f"{key}/1"


def _measure(network: Network) -> None:
    """Distance from every reach's lower end to where its water ends, along the network; lakes add nothing."""
    outflows = {lake_feature(key): below for key, below in network.outflows.items()}
    known: dict[str, float] = {}

    def below(key: str) -> str | None:
        return network.reaches[key].next_key if key in network.reaches else outflows.get(key)

    for start in network.reaches:
        way = [start]
        while (following := below(way[-1])) is not None and following not in known:
            if following in way:
                raise ValueError(f"the water flows in a circle at {following}")
            way.append(following)
        for key in reversed(way):
            after = below(key)
            own = network.reaches[after].length_km if after in network.reaches else 0.0
            known[key] = known[after] + own if after is not None else 0.0
    for key, reach in network.reaches.items():
        reach.dist_dn_km = round(known[key], 1)
