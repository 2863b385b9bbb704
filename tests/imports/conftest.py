"""An owner's engine on a fresh clone, files of a few reaches, and what is live after an import."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from sqlalchemy import Engine, text

from waterwatch.imports import rules
from waterwatch.imports.reading import Reading
from waterwatch.imports.service import ImportReport, ImportWaters, import_waters
from waterwatch.kernel.db import make_engine

NOW = datetime(2026, 5, 20, tzinfo=UTC)
NAMED_HYDRORIVERS = rules.with_mapping(rules.HYDRORIVERS, ["name.zh-Hans=NAME_ZH"])


@dataclass(frozen=True)
class Reach:
    """One row of a file in HydroRIVERS' layout."""

    id: int | None
    down: int
    line: Sequence[tuple[float, float]] | None
    name: str | None = None
    upland: float = 100.0
    order: int = 1
    length: float = 5.0
    discharge: float = 1.0


# Two brooks make the 汉江, which takes a nameless brook and reaches its mouth as the 长江.
SMALL = (
    Reach(1, 3, [(110.0, 31.0), (110.1, 31.0)], "汉江", 300),
    Reach(2, 3, [(110.1, 31.1), (110.1, 31.0)], None, 100),
    Reach(3, 5, [(110.1, 31.0), (110.2, 31.0)], "汉江", 450, 2),
    Reach(4, 5, [(110.2, 31.1), (110.2, 31.0)], "堵河", 80),
    Reach(5, 0, [(110.2, 31.0), (110.3, 31.0)], "长江", 600, 2),
)


def write_reaches(
    path: Path, reaches: Sequence[Reach] = SMALL, *, crs: str | None = "EPSG:4326", encoding: str = "UTF-8"
) -> Path:
    """The rows as a file whose format the name tells."""
    shapes = np.array([None if reach.line is None else shapely.LineString(reach.line) for reach in reaches])
    return write(
        path,
        shapes,
        {
            "HYRIV_ID": np.array([0 if reach.id is None else reach.id for reach in reaches], dtype=np.int64),
            "NEXT_DOWN": np.array([reach.down for reach in reaches], dtype=np.int64),
            "LENGTH_KM": np.array([reach.length for reach in reaches]),
            "DIST_DN_KM": np.zeros(len(reaches)),
            "DIST_UP_KM": np.zeros(len(reaches)),
            "CATCH_SKM": np.full(len(reaches), 9.5),
            "UPLAND_SKM": np.array([reach.upland for reach in reaches]),
            "ENDORHEIC": np.zeros(len(reaches), dtype=np.int32),
            "DIS_AV_CMS": np.array([reach.discharge for reach in reaches]),
            "ORD_STRA": np.array([reach.order for reach in reaches], dtype=np.int32),
            "ORD_CLAS": np.ones(len(reaches), dtype=np.int32),
            "ORD_FLOW": np.full(len(reaches), 7, dtype=np.int32),
            "HYBAS_L12": np.full(len(reaches), 4120000010, dtype=np.int64),
            "NAME_ZH": np.array([reach.name for reach in reaches], dtype=object),
        },
        "LineString",
        crs=crs,
        encoding=encoding,
    )


def write(
    path: Path,
    shapes: Any,
    fields: dict[str, Any],
    geometry_type: str,
    *,
    crs: str | None = "EPSG:4326",
    encoding: str = "UTF-8",
) -> Path:
    """Any rows as a file."""
    options = {
        ".shp": {"encoding": encoding},
        ".gdb": {"driver": "OpenFileGDB", "TARGET_ARCGIS_VERSION": "ARCGIS_PRO_3_2_OR_LATER"},
    }.get(path.suffix, {})
    pyogrio.raw.write(
        path,
        shapely.to_wkb(shapes),
        list(fields.values()),
        list(fields),
        geometry_type=geometry_type,
        crs=crs,
        **options,
    )
    return path


@pytest.fixture
def owner(database_url: str) -> Iterator[Engine]:
    """The engine of whoever owns the tables."""
    made = make_engine(database_url, role=None)
    yield made
    made.dispose()


@pytest.fixture
def run(owner: Engine) -> Callable[..., ImportReport]:
    """Import one file as told."""

    def go(path: Path, layout: rules.Layout = NAMED_HYDRORIVERS, **told: Any) -> ImportReport:
        reading = {name: told.pop(name) for name in ("crs", "datum", "encoding", "batch_rows") if name in told}
        command = ImportWaters((path,), Reading(layout, **reading), **told)
        return import_waters(owner, command, now=lambda: NOW, progress=told.pop("progress", lambda *_: None))

    return go


def live(engine: Engine) -> list[tuple[Any, ...]]:
    """Every reach and lake by its source's key: what it is, where it flows, what water it is, whether it is retired."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT f.source_key, d.source_key, b.public_id, n.name, p.public_id AS parent, b.basin, b.rank,"
                " round(f.length_km::numeric, 2)::float8, round(f.dist_dn_km::numeric, 2)::float8,"
                " md5(ST_AsBinary(f.geom)), f.retired_at IS NOT NULL AS is_retired"
                " FROM water_feature f JOIN water_body b ON b.id = f.water_body_id"
                " LEFT JOIN water_feature d ON d.id = f.next_down_id LEFT JOIN water_body p ON p.id = b.parent_id"
                " LEFT JOIN water_name n ON n.water_body_id = b.id AND n.lang = 'zh-Hans' AND n.is_primary"
                " ORDER BY f.source_key"
            )
        )
        return [tuple(row) for row in rows]


def identities(engine: Engine) -> dict[str, tuple[Any, ...]]:
    """Source key → (id, feature id, water's id, water's address)."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT f.source_key, f.id, f.feature_id, b.id AS body, b.public_id"
                " FROM water_feature f JOIN water_body b ON b.id = f.water_body_id"
            )
        )
        return {row.source_key: tuple(row)[1:] for row in rows}
