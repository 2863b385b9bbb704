"""The spool of an archive under way: a plan, and each piece that is done, all of one state of the ground."""

import json
import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_HEAD = struct.Struct(">QI")  # a tile's id in PMTiles, and how many bytes follow


@dataclass(frozen=True)
class Piece:
    """Neighbouring tiles of one zoom, by their ids in PMTiles, ascending."""

    zoom: int
    tile_ids: tuple[int, ...]


class Spool:
    """Pieces of the archive of one ``ground`` under ``root``; pieces of any other ground are thrown away.

    Assumes that nobody else writes there: the builder holds a lock. Files are written under another name, synced and
    renamed, so what has its name is whole.
    """

    def __init__(self, root: Path, ground: str) -> None:
        self.ground = ground
        self.resumed = 0
        self._folder = root / f"pieces-{ground}"
        for other in root.glob("pieces-*"):
            if other != self._folder:
                shutil.rmtree(other)
        self._folder.mkdir(exist_ok=True)
        for unfinished in self._folder.glob("*.part"):
            unfinished.unlink()

    def read_plan(self) -> list[Piece] | None:
        """Which pieces there are to be, as an earlier run found them."""
        path = self._folder / "plan.json"
        if not path.exists():
            return None
        return [Piece(zoom, tuple(ids)) for zoom, ids in json.loads(path.read_text())]

    def write_plan(self, pieces: Sequence[Piece]) -> None:
        """Keep the plan for a run after this one."""
        self._put("plan.json", json.dumps([[piece.zoom, piece.tile_ids] for piece in pieces]).encode())

    def pieces_there(self) -> set[int]:
        """The numbers of the pieces that are done."""
        return {int(path.stem) for path in self._folder.glob("*.piece")}

    def write(self, number: int, tiles: Sequence[tuple[int, bytes]]) -> None:
        """Keep a piece: (id, compressed bytes) of its tiles in order."""
        parts: list[bytes] = []
        for tile_id, content in tiles:
            parts += [_HEAD.pack(tile_id, len(content)), content]
        self._put(f"{number}.piece", b"".join(parts))

    def read(self, number: int) -> Iterator[tuple[int, bytes]]:
        """The tiles of a piece, as they were written."""
        with (self._folder / f"{number}.piece").open("rb") as file:
            while head := file.read(_HEAD.size):
                tile_id, length = _HEAD.unpack(head)
                yield tile_id, file.read(length)

    def open_scratch(self) -> IO[bytes]:
        """A file to write to and read back, gone with the spool."""
        return (self._folder / "scratch.part").open("w+b")

    def clear(self) -> None:
        """Throw everything away: the archive is built."""
        shutil.rmtree(self._folder)

    def _put(self, name: str, content: bytes) -> None:
        draft = self._folder / f"{name}.part"
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._folder / name)
