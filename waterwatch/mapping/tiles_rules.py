"""What a tile shows: bands of zooms, sizes of waters, and from which size on a zoom draws them. No I/O.

Sizes follow the land a water drains, not its order in one survey: the length of rivers that drain at least A km² falls
with the square root of A wherever one looks (Horton's and Hack's laws), so one ladder serves a survey of 2,000 reaches
and one of a million.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

EXTENT = 4096  # units of a tile, as the vector tile specification's examples have it
BUFFER = 64  # units drawn beyond a tile's edge: 8 px of the 512 a tile is shown at, wider than half the widest line
HALF_WORLD_M = 20037508.342789244  # of EPSG:3857
PX = 512
MIN_ZOOM, MAX_ZOOM = 0, 11  # of the archive; above, phones enlarge the tiles of 11
NAMES_FROM = 7  # zoom from which lines and shapes carry their names; below, only labels do
PLACES_FROM = {1: 3, 2: 6, 3: 8}  # zoom from which provinces, prefectures and counties are named
ZONES_FROM = 6


def tile_m(zoom: int) -> float:
    """How wide a tile of a zoom is, metres of EPSG:3857."""
    return 2 * HALF_WORLD_M / float(2**zoom)


@dataclass(frozen=True)
class Band:
    """Zooms that share one generalised geometry: lines keep what is more than ``tolerance_m`` (EPSG:3857) away."""

    number: int
    zooms: range

    @property
    def tolerance_m(self) -> float:
        """Half a pixel at the band's highest zoom, and at the last one unit of a tile, which phones enlarge."""
        if self.zooms[0] == MAX_ZOOM:
            return tile_m(MAX_ZOOM) / EXTENT
        return tile_m(self.zooms[-1]) / PX / 2


BANDS = (Band(4, range(5)), Band(6, range(5, 7)), Band(8, range(7, 9)), Band(10, range(9, 11)), Band(11, range(11, 23)))


def band_of(zoom: int) -> Band:
    """The band whose geometry a zoom is drawn from."""
    return next(band for band in BANDS if zoom in band.zooms)


# ---- sizes -----------------------------------------------------------------------------------------------------------

# Four steps to a factor of ten. A lake stands beside the rivers that drain twenty times its surface, as the importers
# rank them.
STEPS_A_DECADE = 4
LARGEST_STEP = 27
LAKE_AS_RIVER = 20.0
# The size of a reach whose drained land is not known: by its Strahler order (areas grow some 4.6-fold with each, from
# about 10 km² in surveys of HydroRIVERS' grain), else by its water's rank, which the importers took from the same.
ORDER_RATIO, FIRST_ORDER_KM2 = 4.6, 10.0


def step_of(size_km2: float) -> int:
    """The rung of a size on the ladder, 0 to :data:`LARGEST_STEP`; drawn_waters.sql says the same in SQL."""
    return max(0, min(LARGEST_STEP, math.floor(STEPS_A_DECADE * math.log10(max(size_km2, 1.0)))))


def size_of(step: int) -> float:
    """The least km² of a rung."""
    return float(10 ** (step / STEPS_A_DECADE))


# Legibility: what is drawn at least, km² of drained land. A phone's map of a country is not made better by brooks,
# though they might fit into the file.
LEAST_KM2 = {0: 3e4, 1: 3e4, 2: 3e4, 3: 1.5e4, 4: 8e3, 5: 2e3, 6: 5e2, 7: 1e2, 8: 1e1}
# A lake smaller than this many square pixels is a dot; at 45° Mercator doubles areas, so it errs towards drawing.
LEAST_LAKE_PX2 = 4.0


def least_lake_km2(zoom: int) -> float:
    """The surface of a lake of :data:`LEAST_LAKE_PX2` at the equator's scale."""
    px_km = tile_m(zoom) / 1000 / PX
    return LEAST_LAKE_PX2 * px_km * px_km


# ---- weights ---------------------------------------------------------------------------------------------------------

# What a feature weighs in a compressed tile, measured by bench.map_tiles: id, attributes and frame, and each vertex;
# a generalised line has about one vertex every four pixels.
FRAME_BYTES, VERTEX_BYTES, PX_A_VERTEX = 16, 2.4, 4.0
# Budgets of one layer of one tile, in reckoned bytes. Together they leave a tile far below the 500 KB nobody waits for,
# and the middle one below 50 KB.
FULLEST = {"rivers": 200_000, "lakes": 80_000, "labels": 60_000}
MIDDLE = {"rivers": 26_000, "lakes": 8_000, "labels": 6_000}
LABEL_BYTES = 60
CELL_ZOOM = 10  # waters are counted in tiles of this zoom; coarser ones are sums of them


@dataclass(frozen=True)
class Cell:
    """How many waters of one rung and layer lie in a tile of :data:`CELL_ZOOM`, their vertices, and metres of line."""

    layer: str
    x: int
    y: int
    step: int
    count: int
    vertices: int
    length_m: float


def weigh(cell: Cell, zoom: int) -> float:
    """Bytes that the waters of a cell take in tiles of a zoom, as reckoned above."""
    if cell.layer == "labels":
        return float(LABEL_BYTES * cell.count)
    px = cell.length_m / (tile_m(zoom) / PX)
    vertices = min(cell.vertices, 2 * cell.count + px / PX_A_VERTEX)
    return FRAME_BYTES * cell.count + VERTEX_BYTES * vertices


def least_steps(cells: Iterable[Cell]) -> dict[tuple[str, int], int]:
    """From which rung on each (layer, zoom) is drawn: what fits and is legible, and at the last zoom everything.

    A rung that is drawn at a zoom is drawn at every higher one.
    """
    grouped: dict[str, list[Cell]] = {layer: [] for layer in FULLEST}
    for cell in cells:
        grouped[cell.layer].append(cell)
    found: dict[tuple[str, int], int] = {}
    for layer, mine in grouped.items():
        found[layer, MAX_ZOOM] = 0
        above = 0
        for zoom in range(MAX_ZOOM - 1, MIN_ZOOM - 1, -1):
            above = max(above, _legible(layer, zoom), _fitting(mine, layer, zoom))
            found[layer, zoom] = above
    return found


def _legible(layer: str, zoom: int) -> int:
    if layer == "lakes":
        return step_of(least_lake_km2(zoom) * LAKE_AS_RIVER)
    return step_of(LEAST_KM2.get(zoom, 0.0))


def _fitting(cells: Iterable[Cell], layer: str, zoom: int) -> int:
    """The lowest rung from which on a zoom's tiles keep to the budgets; the highest where none does."""
    shift = CELL_ZOOM - zoom
    tiles: dict[tuple[int, int], list[float]] = {}
    for cell in cells:
        weights = tiles.setdefault((cell.x >> shift, cell.y >> shift), [0.0] * (LARGEST_STEP + 1))
        weights[cell.step] += weigh(cell, zoom)
    if not tiles:
        return 0
    for weights in tiles.values():
        for step in range(LARGEST_STEP - 1, -1, -1):
            weights[step] += weights[step + 1]
    for step in range(LARGEST_STEP + 1):
        held = sorted(weights[step] for weights in tiles.values())
        if held[-1] <= FULLEST[layer] and held[len(held) // 2] <= MIDDLE[layer]:
            return step
    return LARGEST_STEP


def describe(steps: Mapping[tuple[str, int], int]) -> dict[str, list[float]]:
    """The rule as the archive tells it: by layer and zoom the least km² of drained land (20 × a lake's surface)."""
    layers = sorted({layer for layer, _zoom in steps})
    return {
        layer: [round(size_of(steps[layer, zoom]), 1) if steps[layer, zoom] else 0 for zoom in range(MAX_ZOOM + 1)]
        for layer in layers
    }


# ---- the desk --------------------------------------------------------------------------------------------------------

DESK_ZOOMS = range(4, 15)
# The desk's tiles stay below 100 KB each, whatever the archive's budgets let through: the largest waters first.
DESK_VERTICES = {"rivers": 20_000, "lakes": 6_000}
POINTS_A_TILE = 1_000  # incidents or reports one by one: the gravest, or the most urgent and oldest
INCIDENTS_ONE_BY_ONE, REPORTS_ONE_BY_ONE = 8, 11  # zooms; below, each cell of a tile says how many it holds
CELLS_A_TILE = 16  # to a side: 32 px, as wide as the mark that stands for a cell


def is_desk_tile(zoom: int, x: int, y: int) -> bool:
    """Whether the desk has such a tile."""
    return zoom in DESK_ZOOMS and 0 <= x < 2**zoom and 0 <= y < 2**zoom
