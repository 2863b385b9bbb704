"""Reading what a survey published: any vector file GDAL knows, in batches, in bounded memory.

The only importer of pyogrio. Nothing is trusted: each row is ready to be staged or becomes a :class:`Refusal` that
names the row, its key and the reason. A file that cannot be read at all raises :class:`FileRefused`.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyproj
import shapely
from numpy.typing import NDArray

from waterwatch.imports import attributes, rules
from waterwatch.imports.attributes import LINES, POINTS, POLYGONS
from waterwatch.imports.rules import REACH, STAGED, ZONE, Layout
from waterwatch.waters.rules import to_wgs84

BATCH = 20_000
WGS84 = "EPSG:4326"

# OpenStreetMap extracts that other tools cut or merged are not always sorted by id, as GDAL's faster index needs.
pyogrio.set_gdal_config_options(
    {"OSM_USE_CUSTOM_INDEXING": "NO", "OSM_CONFIG_FILE": str(Path(__file__).parent / "osmconf.ini")}
)


class FileRefused(Exception):
    """A file that cannot be read as what it is said to be. ``code`` is stable; ``facts`` are values for a sentence."""

    def __init__(self, code: str, **facts: str) -> None:
        self.code = code
        self.facts = facts
        super().__init__(f"{code} {facts}")


@dataclass(frozen=True)
class Reading:
    """How a file is to be read: ``crs`` overrides what it says, ``datum`` undoes a Chinese map's shift."""

    layout: Layout
    crs: str | None = None
    datum: str = "wgs84"
    encoding: str | None = None
    batch_rows: int = BATCH


@dataclass(frozen=True)
class Refusal:
    """One row that cannot be taken, or one link of it. ``row`` counts from 1, as people do."""

    row: int
    key: str | None
    code: str
    detail: str = ""


@dataclass(frozen=True)
class Batch:
    """Rows of one stretch of a file as columns in the order of :data:`STAGED`, what was refused, what was repaired."""

    first: int
    read: int
    columns: list[Sequence[Any]]
    refusals: list[Refusal]
    repaired: int


class SourceFile:
    """One file of a source, opened as its layout says. Raises :class:`FileRefused` when it is something else."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self.path = path
        self.reading = reading
        self._source = path
        self._layer, self._where = reading.layout.layer, reading.layout.where
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        try:
            found = pyogrio.read_info(path, layer=self._layer, encoding=reading.encoding)
            if not found["capabilities"]["fast_set_next_by_index"]:
                found = self._index(str(found["geometry_type"]))
        except Exception as fault:  # GDAL's reasons are many and only words
            raise FileRefused("file_unreadable", file=path.name, reason=_first_line(fault)) from None
        self.columns = self._resolve([str(name) for name in found["fields"]])
        self.rows: int | None = int(found["features"]) if found["features"] >= 0 else None
        self.encoding = reading.encoding or _trusted_encoding(path, str(found["driver"]))
        crs = reading.crs or found["crs"]
        if crs is None:
            raise FileRefused("crs_missing", file=path.name)
        try:
            self._crs = pyproj.CRS.from_user_input(crs)
        except pyproj.exceptions.CRSError:
            raise FileRefused("crs_unknown", file=path.name, crs=str(crs)[:80]) from None

    def close(self) -> None:
        """Remove what opening it made."""
        if self._copy is not None:
            self._copy.cleanup()

    def batches(self, start: int = 0, *, ordinal: int = 0) -> Iterator[Batch]:
        """Batches from row ``start`` (0-based) on; ``ordinal`` is what the file's first row is numbered with."""
        wanted = sorted(set(self.columns.values()))
        while True:
            meta, geometry, fields = self._read(start, wanted)
            if not len(geometry):
                return
            by_column = dict(zip([str(name) for name in meta["fields"]], fields, strict=True))
            values = {role: by_column[column] for role, column in self.columns.items()}
            yield self._batch(ordinal + start, geometry, values)
            start += len(geometry)

    def _read(self, start: int, wanted: list[str]) -> tuple[dict[str, Any], NDArray[Any], list[NDArray[Any]]]:
        try:
            return self._rows(start, self.reading.batch_rows, wanted)
        except UnicodeDecodeError:
            row = self._first_undecodable(start, wanted)
            raise FileRefused(
                "encoding_unknown", file=self.path.name, tried=str(self.encoding), row=str(row + 1)
            ) from None
        except Exception as fault:
            facts = {"file": self.path.name, "row": str(start + 1), "reason": _first_line(fault)}
            raise FileRefused("file_broken", **facts) from None

    def _rows(
        self, start: int, count: int, wanted: list[str]
    ) -> tuple[dict[str, Any], NDArray[Any], list[NDArray[Any]]]:
        meta, _fids, geometry, fields = pyogrio.raw.read(
            self._source,
            layer=self._layer,
            where=self._where,
            # A column that is not asked for cannot be chosen by either: GDAL then finds no row, and says nothing.
            columns=wanted if self._where is None else None,
            encoding=self.encoding,
            skip_features=start,
            max_features=count,
            force_2d=True,
        )
        return meta, geometry, fields

    def _first_undecodable(self, start: int, wanted: list[str]) -> int:
        """The first row of a batch whose text cannot be decoded, found by halving."""
        count = self.reading.batch_rows
        while count > 1:
            count = (count + 1) // 2
            try:
                self._rows(start, count, wanted)
                start += count
            except UnicodeDecodeError:
                pass
        return start

    def _index(self, geometry_type: str) -> dict[str, Any]:
        """Copy a file that can only be read from its beginning into one that can be entered anywhere, row by row."""
        self._copy = tempfile.TemporaryDirectory(prefix="waterwatch-import-")
        copy = Path(self._copy.name) / "rows.gpkg"
        with pyogrio.open_arrow(
            self.path, layer=self._layer, where=self._where, encoding=self.reading.encoding, use_pyarrow=False
        ) as (meta, stream):
            pyogrio.write_arrow(
                stream,
                copy,
                driver="GPKG",
                layer="rows",
                geometry_name=meta["geometry_name"] or "wkb_geometry",
                geometry_type=geometry_type,
                crs=meta["crs"],
                layer_options={"SPATIAL_INDEX": "NO"},
            )
        self._source, self._layer, self._where = copy, "rows", None
        return dict(pyogrio.read_info(copy, layer="rows"))

    def _resolve(self, present: list[str]) -> dict[str, str]:
        """Role → column as the file spells it. Names may be missing, what the layout builds on may not."""
        spelt = {name.lower(): name for name in present}
        columns = {}
        for role, column in self.reading.layout.columns.items():
            if column.lower() in spelt:
                columns[role] = spelt[column.lower()]
            elif role in rules.REFERENCES:
                raise FileRefused(
                    "column_missing", file=self.path.name, role=role, column=column, has=", ".join(present)
                )
        return columns

    def _batch(self, first: int, geometry: NDArray[Any], values: dict[str, NDArray[Any]]) -> Batch:
        layout = self.reading.layout
        count = len(geometry)
        read = shapely.from_wkb(geometry, on_invalid="ignore")
        shapes, repaired, faults = self._shapes(read.copy())
        keys = attributes.keys_of(values, shapes)
        table: dict[str, Sequence[Any]] = {"ordinal": range(first, first + count), "key": keys}
        for row, key in enumerate(keys):
            if key is None:
                faults.setdefault(row, ("key_missing", ""))
        table.update(attributes.attributes_of(layout, values, count, keys, shapes, faults))
        table.update(attributes.names_of(values, count))
        table["geom"] = _wkb_of(shapes, read, geometry)  # the merge says that they are WGS-84
        columns = [table[name] for name, _type in STAGED[layout.kind]]
        if faults:
            good = [row for row in range(count) if row not in faults]
            columns = [[column[row] for row in good] for column in columns]
        refusals = [Refusal(first + row + 1, keys[row], *fault) for row, fault in sorted(faults.items())]
        return Batch(first, count, columns, refusals, repaired)

    def _shapes(self, shapes: NDArray[Any]) -> tuple[NDArray[Any], int, dict[int, tuple[str, str]]]:
        faults: dict[int, tuple[str, str]] = {}

        def refuse(rows: NDArray[Any], code: str, detail: Callable[[int], str] = lambda _row: "") -> None:
            for row in np.flatnonzero(rows).tolist():
                faults.setdefault(row, (code, detail(row)))
                shapes[row] = None

        refuse(shapely.is_missing(shapes) | shapely.is_empty(shapes), "geometry_empty")
        wanted = {REACH: LINES, ZONE: POLYGONS + POINTS}.get(self.reading.layout.kind, POLYGONS)
        odd = ~shapely.is_missing(shapes) & ~np.isin(shapely.get_type_id(shapes), wanted)
        refuse(odd, "geometry_type", lambda row: str(shapes[row].geom_type))
        shapes = self._to_wgs84(shapes)
        west, south, east, north = shapely.bounds(shapes).T
        with np.errstate(invalid="ignore"):
            inside = (west >= -180) & (south >= -90) & (east <= 180) & (north <= 90)
        refuse(~shapely.is_missing(shapes) & ~inside, "outside_the_world", lambda row: _corner(west[row], south[row]))
        shapes, repaired = self._repair(shapes)
        size = shapely.length if self.reading.layout.kind == REACH else shapely.area
        is_none = shapely.is_empty(shapes) | ~((size(shapes) > 0) | np.isin(shapely.get_type_id(shapes), POINTS))
        refuse(~shapely.is_missing(shapes) & is_none, "geometry_degenerate")
        return shapes, repaired, faults

    def _repair(self, shapes: NDArray[Any]) -> tuple[NDArray[Any], int]:
        """Areas that cross themselves are made valid and keep what they enclose; a reach in pieces becomes one line."""
        if self.reading.layout.kind != REACH:
            broken = ~shapely.is_missing(shapes) & ~shapely.is_valid(shapes)
            mended = shapely.make_valid(shapes[broken], method="structure", keep_collapsed=False)
            shapes[broken] = [_polygons(shape) for shape in mended]
            return shapes, int(broken.sum())
        pieces = shapely.get_type_id(shapes) == LINES[1]
        shapes[pieces] = shapely.line_merge(shapes[pieces])
        return shapes, 0

    def _to_wgs84(self, shapes: NDArray[Any]) -> NDArray[Any]:
        if self._crs != pyproj.CRS(WGS84) and self._crs.to_epsg() != 4326:
            move = pyproj.Transformer.from_crs(self._crs, WGS84, always_xy=True)
            shapes = shapely.transform(shapes, lambda points: np.column_stack(move.transform(*points.T)))
        if self.reading.datum != "wgs84":
            shapes = shapely.transform(shapes, self._undo_shift)
        return shapes

    def _undo_shift(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([to_wgs84(lon, lat, self.reading.datum) for lon, lat in points.tolist()]).reshape(-1, 2)


def digest_of(paths: Sequence[Path]) -> str:
    """SHA-256 over the files, with the parts that belong to them (a Shapefile's siblings, a folder's members), hex."""
    total = hashlib.sha256()
    for path in paths:
        parts = sorted(path.parent.glob(f"{path.stem}.*")) if path.suffix.lower() == ".shp" else [path]
        if path.is_dir():
            parts = sorted(member for member in path.rglob("*") if member.is_file())
        for part in parts:
            with part.open("rb") as file:
                total.update(f"{part.name}\0".encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _trusted_encoding(path: Path, driver: str) -> str | None:
    """What text is decoded with. A Shapefile that does not say is UTF-8 or is refused: guessing invents characters."""
    if driver != "ESRI Shapefile" or path.suffix.lower() != ".shp":
        return None
    said = [sibling for sibling in path.parent.glob(f"{path.stem}.*") if sibling.suffix.lower() == ".cpg"]
    if not said:
        return "UTF-8"
    name = said[0].read_text(encoding="ascii", errors="replace").strip()
    return {"65001": "UTF-8", "936": "GB18030", "GBK": "GB18030", "GB2312": "GB18030"}.get(
        name.upper(), name or "UTF-8"
    )


def _wkb_of(shapes: NDArray[Any], read: NDArray[Any], geometry: NDArray[Any]) -> list[bytes | None]:
    """The shapes as WKB: what nobody touched stays as the file had it, most of a good file."""
    touched = np.array([now is not then for now, then in zip(shapes.tolist(), read.tolist(), strict=True)], dtype=bool)
    wkb = geometry.astype(object)
    wkb[touched] = shapely.to_wkb(shapes[touched])
    return list(wkb.tolist())


def _polygons(shape: Any) -> Any:
    """The areas of a mended shape; the lines and points that mending left over are no water."""
    parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    if shape.geom_type == "GeometryCollection":
        parts = [piece for part in shapely.get_parts(shape) for piece in shapely.get_parts(part)]
        parts = [part for part in parts if part.geom_type == "Polygon"]
    return parts[0] if len(parts) == 1 else shapely.multipolygons(parts)


def _corner(west: float, south: float) -> str:
    return f"{west:.6g}, {south:.6g}"


def _first_line(fault: Exception) -> str:
    return str(fault).splitlines()[0][:300] if str(fault) else type(fault).__name__
