"""The archive of the map's geometry: one immutable PMTiles file, named by its content.

It is cut in pieces of neighbouring tiles, each written to a spool as it is done and named by the state of the ground it
was cut from. Killed at any instant, the next run goes on with the pieces that are there; when the ground has changed
meanwhile they are thrown away. The same ground gives the same bytes on every machine.
"""

import fcntl
import gzip
import hashlib
import html
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmtiles.tile import Compression, TileType, tileid_to_zxy, zxy_to_tileid
from pmtiles.writer import Writer
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.mapping import tile_queries as queries
from waterwatch.mapping import tiles_drawing
from waterwatch.mapping.archive_pieces import Piece, Spool
from waterwatch.mapping.tiles_rules import MAX_ZOOM, MIN_ZOOM, NAMES_FROM, PLACES_FROM, ZONES_FROM, describe

# Another number for another content of the same ground, so that a new program never goes on with an old one's pieces.
FORMAT = 1
PIECE_TILES = 64  # neighbours: a piece is some tenths of a second's work and a few megabytes at most
GZIP_LEVEL = 6
_WRITER: Any = Writer  # its package has no types
NAME = "江湖網·預警圖 · WaterWatch: rivers and lakes"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ArchiveInfo:
    """What an archive is: its file, how many tiles and bytes, and the fullest and the middle tile of each zoom."""

    path: Path
    tiles: int
    bytes: int
    fullest: dict[int, int]
    middle: dict[int, int]
    resumed: int
    pieces: int


def ensure(context: JobContext, *, folder: Path, progress: Progress | None = None) -> Path:
    """The archive of the present ground in ``folder``, built if it isn't there. Call it outside any transaction.

    Costs one query while nothing has changed; see :func:`build` for when something has.
    """
    with transaction(context.sessions) as session:
        state = fingerprint(session)
    known = latest(context, folder=folder)
    if state is not None and known is not None and known[0] == state:
        return known[1]
    return build(context, folder=folder, progress=progress).path


def latest(context: JobContext, *, folder: Path) -> tuple[str, Path] | None:
    """The archive built last on this machine, if it still is in ``folder``: (the ground it was built from, its path).

    For a publication that would rather show yesterday's geometry than wait: compare with :func:`fingerprint`.
    """
    try:
        told = json.loads(_record(context).read_text())
        found = folder / told["file"]
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return (told["ground"], found) if found.is_file() else None


def fingerprint(session: Session) -> str | None:
    """Of which ground an archive would be now; None while tiles are not drawn from it yet. One query of three rows."""
    versions = queries.ground_versions(session)
    if not all(is_drawn for _part, _version, is_drawn in versions):
        return None
    told = f"{FORMAT} " + " ".join(f"{part}={version}" for part, version, _is_drawn in versions)
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def build(context: JobContext, *, folder: Path, progress: Progress | None = None) -> ArchiveInfo:
    """Draw what has changed, cut every tile from one state of the database, and put the file into ``folder``.

    One build at a time on a machine: a second one waits for the first and finds its pieces. ``progress(step, done,
    total)`` is told of every piece.
    """
    tell = progress or (lambda _step, _done, _total: None)
    root = context.settings.spool_dir / "tiles"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(root):
        while True:
            tiles_drawing.draw(context.sessions, progress=tell)
            with _one_state(context.sessions) as session:
                ground = fingerprint(session)
                if ground is None:  # written to between the two transactions
                    continue
                spool = Spool(root, ground)
                pieces = _cut(session, spool, tell)
                metadata = _metadata(session)
            info = _assemble(spool, pieces, metadata, folder, tell)
            _write_record(_record(context), {"ground": ground, "file": info.path.name})
            spool.clear()
            return info


def _record(context: JobContext) -> Path:
    return context.settings.spool_dir / "tiles" / "built.json"


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _one_state(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """A transaction that sees the database as it stands at its first question, however long it takes."""
    with sessions() as session, session.begin():
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        session.execute(text("SET LOCAL statement_timeout = 0"))
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        # Workers would hand their rows over in any order.
        session.execute(text("SET LOCAL max_parallel_workers_per_gather = 0"))
        yield session


def _cut(session: Session, spool: Spool, tell: Progress) -> list[Piece]:
    """Every piece of the archive in the order of its tiles; those that are in the spool already are left alone."""
    tell("list", 0, MAX_ZOOM + 1)
    pieces = spool.read_plan()
    if pieces is None:
        pieces = []
        for zoom in range(MIN_ZOOM, MAX_ZOOM + 1):
            pieces += _pieces_of(zoom, queries.occupied_tiles(session, zoom))
            tell("list", zoom + 1, MAX_ZOOM + 1)
        spool.write_plan(pieces)
    there = spool.pieces_there()
    spool.resumed = len(there)
    for number, piece in enumerate(pieces):
        if number not in there:
            tiles = [tileid_to_zxy(tile_id)[1:] for tile_id in piece.tile_ids]
            found = queries.cut_tiles(session, piece.zoom, [(x, y) for x, y in tiles])
            spool.write(
                number,
                [
                    (tile_id, gzip.compress(found[x, y], GZIP_LEVEL, mtime=0))
                    for tile_id, (x, y) in zip(piece.tile_ids, tiles, strict=True)
                    if (x, y) in found
                ],
            )
        tell("cut", number + 1, len(pieces))
    return pieces


def _pieces_of(zoom: int, tiles: list[tuple[int, int]]) -> list[Piece]:
    """Neighbours together: along the curve of PMTiles' ids, so that pieces in order are tiles in order."""
    ids = sorted(zxy_to_tileid(zoom, x, y) for x, y in tiles)
    return [Piece(zoom, tuple(ids[at : at + PIECE_TILES])) for at in range(0, len(ids), PIECE_TILES)]


def _metadata(session: Session) -> dict[str, Any]:
    """What the specification asks for. An attribution is HTML there, and a title is whatever an import said."""
    told = [
        html.escape(citation or f"{title} ({licence})") for title, licence, citation in queries.sources_shown(session)
    ]
    names = {"n": "String", "nt": "String", "ne": "String"}
    fields: dict[str, tuple[int, dict[str, str]]] = {
        "rivers": (MIN_ZOOM, {"o": "Number", "w": "String", **names}),
        "lakes": (MIN_ZOOM, {"o": "Number", "w": "String", **names}),
        "labels": (MIN_ZOOM, {"o": "Number", "w": "String", "k": "String", **names}),
        "places": (min(PLACES_FROM.values()), {"l": "Number", "c": "String", **names}),
        "zones": (ZONES_FROM, {"k": "String", "g": "Number", **names}),
    }
    layers = [
        {"id": layer, "minzoom": least, "maxzoom": MAX_ZOOM, "fields": columns}
        for layer, (least, columns) in fields.items()
    ]
    return {
        "name": NAME,
        "description": f"names of lines and shapes from zoom {NAMES_FROM}",
        "type": "overlay",
        "attribution": " · ".join(told),
        "vector_layers": layers,
        "least_km2_drained": describe(queries.tile_rules(session)),
    }


def _assemble(spool: Spool, pieces: list[Piece], metadata: dict[str, Any], folder: Path, tell: Progress) -> ArchiveInfo:
    """One file of all pieces. It gets its name, and so is there, only when it is whole and on the disk."""
    tell("assemble", 0, 1)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".waters.{spool.ground}.part"
    sizes: dict[int, list[int]] = {zoom: [] for zoom in range(MIN_ZOOM, MAX_ZOOM + 1)}
    last_zoom: list[tuple[int, int]] = []
    with draft.open("wb") as file:
        writer = _WRITER(file)
        writer.tile_f.close()
        writer.tile_f = spool.open_scratch()  # not the system's folder of temporary files, which may be small
        for number, piece in enumerate(pieces):
            for tile_id, content in spool.read(number):
                writer.write_tile(tile_id, content)
                sizes[piece.zoom].append(len(content))
                if piece.zoom == MAX_ZOOM:
                    last_zoom.append(tileid_to_zxy(tile_id)[1:])
        if not writer.tile_entries:  # a country without water: the format knows no empty archive
            writer.write_tile(0, gzip.compress(b"", GZIP_LEVEL, mtime=0))
        writer.finalize(_header(last_zoom), metadata)
        file.flush()
        os.fsync(file.fileno())
    with draft.open("rb") as whole:
        digest = hashlib.file_digest(whole, "sha256").hexdigest()[:16]
    path = folder / f"waters.{digest}.pmtiles"
    draft.replace(path)
    _sync_folder(folder)
    tell("assemble", 1, 1)
    return ArchiveInfo(
        path,
        sum(map(len, sizes.values())),
        path.stat().st_size,
        {zoom: max(found, default=0) for zoom, found in sizes.items()},
        {zoom: sorted(found)[len(found) // 2] if found else 0 for zoom, found in sizes.items()},
        spool.resumed,
        len(pieces),
    )


def _header(tiles: list[tuple[int, int]]) -> dict[str, Any]:
    """Where there is anything, to the tile: what a map is opened on."""
    west, north, east, south = -180.0, 85.0, 180.0, -85.0
    if tiles:
        xs, ys = [x for x, _y in tiles], [y for _x, y in tiles]
        west, east = _longitude(min(xs)), _longitude(max(xs) + 1)
        north, south = _latitude(min(ys)), _latitude(max(ys) + 1)
    return {
        "tile_type": TileType.MVT,
        "tile_compression": Compression.GZIP,
        "min_lon_e7": round(west * 1e7),
        "min_lat_e7": round(south * 1e7),
        "max_lon_e7": round(east * 1e7),
        "max_lat_e7": round(north * 1e7),
        "center_zoom": 4,
        "center_lon_e7": round((west + east) / 2 * 1e7),
        "center_lat_e7": round((north + south) / 2 * 1e7),
    }


def _longitude(x: int) -> float:
    return float(x / 2**MAX_ZOOM * 360 - 180)


def _latitude(y: int) -> float:
    return float(math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * y / 2**MAX_ZOOM)))))


def _write_record(path: Path, content: dict[str, str]) -> None:
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(content))
    draft.replace(path)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
