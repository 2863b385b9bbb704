"""A made-up country of any size, as the files an operator would be given: reaches, lakes, counties.

Rivers run down a smooth made-up relief on a jittered grid, so they meet, grow and reach a mouth as real ones do:
reaches join into a tree, drainage area adds up downstream, Strahler order follows. Same seed, same country.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import shapely

WEST, SOUTH, EAST, NORTH = 80.0, 20.0, 130.0, 50.0
VERTICES = 15
CELL_KM2 = 18.0
FIRST = "东西南北大小清白黑黄金青龙凤石沙长新汉湘沅资洛泾渭沂沭漳滏永桑滹潮温泗颍涡浍浉淠史赣抚信饶修闽"
SECOND = "水阳泉潭沙石山溪龙马牛羊花竹松柏梅兰桂云家村桥湾坪坝塘岭头口店庄集营寨屯堡关峪沟"
LAST = "河江溪水沟川"


@dataclass(frozen=True)
class Reaches:
    """``n`` reaches: ids from 1, the id below (0 at a mouth), nodes (n, 2) in degrees, and what adds up downstream."""

    hyriv_id: np.ndarray
    next_down: np.ndarray
    start: np.ndarray
    end: np.ndarray
    upland_skm: np.ndarray
    order: np.ndarray
    main_riv: np.ndarray
    dist_dn_km: np.ndarray
    length_km: np.ndarray
    names: list[str | None]


def make_reaches(count: int, *, seed: int = 7) -> Reaches:
    """About ``count`` reaches (exactly, less the few whose cell is a pit)."""
    random = np.random.default_rng(seed)
    columns = int(np.ceil(np.sqrt(count * (EAST - WEST) / (NORTH - SOUTH))))
    rows = int(np.ceil(count / columns))
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    place = np.stack([x, y], axis=-1) + random.uniform(-0.3, 0.3, (rows, columns, 2))
    span = np.array([(EAST - WEST) / columns, (NORTH - SOUTH) / rows])
    place = place * span + (WEST, SOUTH) + span / 2
    relief = _relief(place, random) + random.normal(0, 0.004, (rows, columns))
    below = _steepest(relief).ravel()
    place, relief = place.reshape(-1, 2), relief.ravel()
    order_of_height = np.argsort(-relief, kind="stable")
    upland, strahler = _accumulate(below, order_of_height)
    flows = np.flatnonzero(below >= 0)
    end = place[below[flows]]
    length = _kilometres(place[flows], end) * 1.1
    dist, mouth = _to_the_mouth(below, order_of_height, dict(zip(flows.tolist(), length.tolist(), strict=True)))
    new_id = np.zeros(len(below) + 1, dtype=np.int64)
    new_id[flows] = np.arange(1, len(flows) + 1)
    next_down = new_id[np.where(below[below[flows]] >= 0, below[flows], -1)]
    return Reaches(
        new_id[flows],
        next_down,
        place[flows],
        end,
        upland[flows] * CELL_KM2,
        strahler[flows],
        new_id[mouth[flows]],
        dist[flows],
        length,
        _names(flows, below, upland, order_of_height, random),
    )


def shapes_of(reaches: Reaches, *, seed: int = 7) -> np.ndarray:
    """One winding line of :data:`VERTICES` vertices a reach."""
    random = np.random.default_rng(seed + 1)
    count = len(reaches.hyriv_id)
    along = np.linspace(0, 1, VERTICES)[None, :, None]
    line = reaches.start[:, None, :] * (1 - along) + reaches.end[:, None, :] * along
    line[:, 1:-1] += random.normal(0, 0.0012, (count, VERTICES - 2, 2))
    return shapely.linestrings(line)


def make_lakes(count: int, *, seed: int = 7) -> np.ndarray:
    """Lakes of 24 shore points, most of them small."""
    random = np.random.default_rng(seed + 2)
    centre = random.uniform((WEST, SOUTH), (EAST, NORTH), (count, 2))
    radius = np.minimum(0.002 * (1 + random.pareto(1.3, count)), 0.12)
    return _blobs(centre, radius, 24, random)


def make_counties(count: int) -> np.ndarray:
    """A coverage without gaps: cells whose shared borders wind through the same points."""
    columns = int(np.ceil(np.sqrt(count * (EAST - WEST) / (NORTH - SOUTH))))
    rows = int(np.ceil(count / columns))
    per_side = 60
    grid_x = np.linspace(WEST - 1, EAST + 1, columns * per_side + 1)
    grid_y = np.linspace(SOUTH - 1, NORTH + 1, rows * per_side + 1)

    def bend(points: np.ndarray) -> np.ndarray:
        x, y = points[:, 0], points[:, 1]
        return points + 0.05 * np.stack([np.sin(9 * y) + np.sin(41 * x), np.sin(8 * x) + np.sin(43 * y)], axis=-1)

    cells = []
    for row in range(rows):
        for column in range(columns):
            xs = grid_x[column * per_side : (column + 1) * per_side + 1]
            ys = grid_y[row * per_side : (row + 1) * per_side + 1]
            ring = [(x, ys[0]) for x in xs] + [(xs[-1], y) for y in ys[1:]]
            ring += [(x, ys[-1]) for x in xs[-2::-1]] + [(xs[0], y) for y in ys[-2::-1]]
            cells.append(shapely.polygons(bend(np.array(ring))))
    return np.array(cells[:count])


def write_reaches(path: Path, reaches: Reaches, shapes: np.ndarray) -> None:
    """A file in HydroRIVERS' layout, with a column of names that HydroRIVERS itself has not."""
    fields = {
        "HYRIV_ID": reaches.hyriv_id,
        "NEXT_DOWN": reaches.next_down,
        "MAIN_RIV": reaches.main_riv,
        "LENGTH_KM": np.round(reaches.length_km, 2),
        "DIST_DN_KM": np.round(reaches.dist_dn_km, 1),
        "UPLAND_SKM": np.round(reaches.upland_skm, 1),
        "ORD_STRA": reaches.order.astype(np.int32),
        "DIS_AV_CMS": np.round(reaches.upland_skm * 0.015, 3),
        "NAME_ZH": np.array(reaches.names, dtype=object),
    }
    _write(path, shapes, fields, "LineString")


def write_lakes(path: Path, lakes: np.ndarray) -> None:
    """A file in HydroLAKES' layout."""
    count = len(lakes)
    fields = {
        "Hylak_id": np.arange(1, count + 1, dtype=np.int64),
        "Lake_name": np.array([f"Lake {number}" if number % 5 == 0 else "" for number in range(count)], dtype=object),
        "Lake_type": np.where(np.arange(count) % 10 == 0, 2, 1).astype(np.int32),
        "Lake_area": np.round(shapely.area(lakes) * 10000, 2),
    }
    _write(path, lakes, fields, "Polygon")


def write_areas(path: Path, counties: np.ndarray) -> None:
    """Areas with codes of GB/T 2260: a hundred counties to a province, which is the box around them."""
    codes = [f"{11 + number // 88}{1 + number % 88:04d}" for number in range(len(counties))]
    provinces = sorted({code[:2] for code in codes})
    around = [
        shapely.box(*shapely.total_bounds(counties[[code[:2] == province for code in codes]])) for province in provinces
    ]
    fields = {
        "CODE": np.array([f"{province}0000" for province in provinces] + codes, dtype=object),
        "NAME": np.array([f"{province}省" for province in provinces] + [f"{code}县" for code in codes], dtype=object),
    }
    _write(path, np.array([*around, *counties]), fields, "Polygon")


def _write(path: Path, shapes: np.ndarray, fields: dict[str, np.ndarray], geometry_type: str) -> None:
    pyogrio.raw.write(
        path,
        shapely.to_wkb(shapes),
        list(fields.values()),
        list(fields),
        geometry_type=geometry_type,
        crs="EPSG:4326",
        encoding="UTF-8",
    )


def _relief(place: np.ndarray, random: np.random.Generator) -> np.ndarray:
    lon, lat = place[..., 0], place[..., 1]
    height = 3.0 * (EAST - lon) / (EAST - WEST)
    for wave in range(1, 7):
        turn, phase_x, phase_y = random.uniform(0, np.pi, 3)
        across = np.cos(turn) * lon + np.sin(turn) * lat
        height = height + np.sin(wave * 0.35 * across + phase_x) * np.cos(wave * 0.2 * lat + phase_y) / wave
    return height


def _steepest(relief: np.ndarray) -> np.ndarray:
    """For each cell the flat index of its lowest neighbour, or -1 where none is lower."""
    rows, columns = relief.shape
    padded = np.pad(relief, 1, constant_values=np.inf)
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    around = np.stack([padded[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns] for dy, dx in steps])
    lowest = around.argmin(axis=0)
    offsets = np.array([dy * columns + dx for dy, dx in steps])
    below = np.arange(rows * columns).reshape(rows, columns) + offsets[lowest]
    return np.where(around.min(axis=0) < relief, below, -1)


def _accumulate(below: np.ndarray, downhill: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    upland, order, ties = [1.0] * len(below), [1] * len(below), [0] * len(below)
    down = below.tolist()
    for cell in downhill.tolist():
        under = down[cell]
        if under < 0:
            continue
        upland[under] += upland[cell]
        if order[cell] > order[under]:
            order[under], ties[under] = order[cell], 1
        elif order[cell] == order[under]:
            ties[under] += 1
            if ties[under] == 2:
                order[under], ties[under] = order[under] + 1, 0
    return np.array(upland), np.array(order)


def _to_the_mouth(below: np.ndarray, downhill: np.ndarray, length: dict[int, float]) -> tuple[np.ndarray, np.ndarray]:
    distance, mouth = [0.0] * len(below), list(range(len(below)))
    down = below.tolist()
    for cell in reversed(downhill.tolist()):
        under = down[cell]
        if under >= 0 and down[under] >= 0:
            distance[cell] = distance[under] + length[under]
            mouth[cell] = mouth[under]
    return np.array(distance), np.array(mouth)


def _names(
    flows: np.ndarray, below: np.ndarray, upland: np.ndarray, downhill: np.ndarray, random: np.random.Generator
) -> list[str | None]:
    """A name for every river of some size, along its main stem; brooks have none."""
    main: dict[int, int] = {}
    for cell in flows.tolist():
        under = int(below[cell])
        if under not in main or upland[cell] > upland[main[under]]:
            main[under] = cell
    letters = random.integers(0, (len(FIRST), len(SECOND), len(LAST)), (len(below), 3)).tolist()
    name: list[str | None] = [None] * len(below)
    for cell in reversed(downhill.tolist()):
        under = int(below[cell])
        if upland[cell] < 3 or under < 0:
            continue
        if main.get(under) == cell and name[under]:
            name[cell] = name[under]
        else:
            first, second, last = letters[cell]
            name[cell] = FIRST[first] + SECOND[second] + LAST[last]
    return [name[cell] for cell in flows.tolist()]


def _kilometres(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    step = np.radians(end - start) * 6371.0
    step[:, 0] *= np.cos(np.radians(start[:, 1]))
    return np.hypot(step[:, 0], step[:, 1])


def _blobs(centre: np.ndarray, radius: np.ndarray, points: int, random: np.random.Generator) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
    reach = radius[:, None] * random.uniform(0.6, 1.0, (len(radius), points))
    ring = centre[:, None, :] + reach[..., None] * np.stack([np.cos(turn), np.sin(turn)], axis=-1)[None]
    return shapely.polygons(ring)
