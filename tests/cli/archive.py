"""Archives that somebody else collected, and what an import leaves in the database and in the store."""

import csv
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from tests.photos.forge import app1, ascii_tag, exif, gps_tags, jpeg, scene, with_segments

TAKEN, OFFSET = 36867, 36881  # EXIF: DateTimeOriginal, OffsetTimeOriginal
STORED = """SELECT source, kind, round(ST_X(point)::numeric, 4)::float, round(ST_Y(point)::numeric, 4)::float, note,
                   observed_at, place_source, input_datum, state FROM report ORDER BY ST_X(point), note"""
GOOD = {"id": "1", "lon": "114.3", "lat": "30.5", "kind": "foam", "note": "", "observed_at": "", "photos": "good.jpg"}


def photo(width: int, *, is_placed: bool = True, taken: str = "2025:05:20 10:30:00", offset: str = "") -> bytes:
    """A photograph at 30°35'34"N 114°18'20"E; one of each width is unlike any other."""
    details = [ascii_tag(TAKEN, taken)] + ([ascii_tag(OFFSET, offset)] if offset else [])
    gps = gps_tags([(30, 1), (35, 1), (34, 1)], "N", [(114, 1), (18, 1), (20, 1)], "E") if is_placed else None
    return with_segments(jpeg(scene(width=width)), app1(exif([], gps=gps, details=details)))


def rows(owner: Engine, statement: str = STORED) -> list[tuple[Any, ...]]:
    with owner.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def write_table(path: Path, *lines: dict[str, str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(name for line in lines for name in line)))
        table.writeheader()
        table.writerows(lines)
    return path


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))
