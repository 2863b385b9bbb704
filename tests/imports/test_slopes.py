"""How steep reaches are, and which lakes a dam holds: what velocities and the clock of a warning depend on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from tests.imports.conftest import write
from waterwatch.flow.queries import version
from waterwatch.imports import rules
from waterwatch.imports.service import ImportReport

Run = Callable[..., ImportReport]
SURVEY = rules.with_mapping(rules.generic("survey", "reach"), ["key=ID", "next_down=DOWN", "slope=S", "upland_skm=A"])


def write_slopes(path: Path, values: Sequence[float | None], column: str, area: float = 100.0) -> Path:
    """Reaches that flow one into the next, each as steep as it says."""
    count = len(values)
    shapes = np.array([shapely.LineString([(110 + n / 10, 31), (110 + (n + 1) / 10, 31)]) for n in range(count)])
    ids = np.arange(1, count + 1)
    fields: dict[str, Any] = {
        column: np.array([np.nan if value is None else value for value in values]),
        "ID": ids,
        "HYRIV_ID": ids,
        "DOWN": np.append(ids[1:], 0),
        "NEXT_DOWN": np.append(ids[1:], 0),
        "A": np.full(count, area),
    }
    return write(path, shapes, fields, "LineString")


def slopes(owner: Engine) -> list[float | None]:
    with owner.connect() as connection:
        return list(connection.execute(text("SELECT slope FROM water_feature ORDER BY source_key")).scalars())


def network_version(owner: Engine) -> int:
    with Session(owner) as session:
        return version(session)


def test_riveratlas_gradients_are_decimetres_a_kilometre(run: Run, owner: Engine, tmp_path: Path) -> None:
    path = write_slopes(tmp_path / "r.gpkg", [45, 0, -9999, None], "sgr_dk_rav")
    assert run(path, rules.HYDRORIVERS).is_live
    assert slopes(owner) == [0.0045, 0.0, None, None]


def test_hydrorivers_itself_has_no_slope_and_needs_none(run: Run, owner: Engine, tmp_path: Path) -> None:
    assert run(write_slopes(tmp_path / "r.gpkg", [45], "else"), rules.HYDRORIVERS).is_live
    assert slopes(owner) == [None]


def test_a_column_that_an_operator_names_holds_metres_a_metre(run: Run, owner: Engine, tmp_path: Path) -> None:
    assert run(write_slopes(tmp_path / "r.gpkg", [0.0045], "S"), SURVEY).is_live
    assert slopes(owner) == [0.0045]
    own = rules.with_mapping(rules.HYDRORIVERS, ["slope=S"])
    assert run(write_slopes(tmp_path / "other.gpkg", [0.002], "S"), own, replaces="survey").is_live
    assert sorted(filter(None, slopes(owner))) == [0.002, 0.0045]  # that of the survey is retired


def test_a_small_file_names_the_column_as_well(run: Run, owner: Engine, tmp_path: Path) -> None:
    described = tmp_path / "survey.toml"
    described.write_text('source = "survey"\nkind = "reach"\n[columns]\nkey = "ID"\nnext_down = "DOWN"\nslope = "S"\n')
    assert run(write_slopes(tmp_path / "r.gpkg", [0.01], "S"), rules.from_file(described)).is_live
    assert slopes(owner) == [0.01]


@pytest.mark.parametrize(
    ("value", "code", "detail"),
    [
        (-0.001, "number_out_of_range", "slope = -0.001"),
        (10.5, "slope_too_steep", "10.5 m/m"),
        (float("inf"), "number_out_of_range", "slope = inf"),
    ],
)
def test_a_slope_no_river_has_is_refused(
    value: float, code: str, detail: str, run: Run, owner: Engine, tmp_path: Path
) -> None:
    report = run(write_slopes(tmp_path / "r.gpkg", [value, 0.001], "S"), SURVEY)
    assert [(one.row, one.key, one.code, one.detail) for one in report.first] == [(1, "1", code, detail)]
    assert not report.is_live


def test_a_lake_has_no_slope() -> None:
    with pytest.raises(rules.LayoutFault, match="role_unknown"):
        rules.with_mapping(rules.generic("survey", "lake"), ["slope=S"])


def test_another_slope_or_drainage_area_is_another_network(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_slopes(tmp_path / "a.gpkg", [0.001, 0.001], "S"), SURVEY)
    first = network_version(owner)

    steeper = run(write_slopes(tmp_path / "b.gpkg", [0.002, 0.001], "S"), SURVEY)
    second = network_version(owner)
    wider = run(write_slopes(tmp_path / "c.gpkg", [0.002, 0.001], "S", area=120), SURVEY)

    assert steeper.merged is not None
    assert wider.merged is not None
    assert (steeper.merged.changed, wider.merged.changed) == (1, 2)
    assert first < second < network_version(owner)
    assert slopes(owner) == [0.002, 0.001]


def test_a_lake_that_a_dam_holds_is_a_reservoir_and_becoming_one_is_another_network(
    run: Run, owner: Engine, tmp_path: Path
) -> None:
    def lakes(path: Path, types: Sequence[int]) -> Path:
        shapes = np.array([shapely.box(115 + n, 30, 115.1 + n, 30.1) for n in range(len(types))])
        fields = {"Hylak_id": np.arange(1, len(types) + 1), "Lake_type": np.array(types)}
        return write(path, shapes, fields, "Polygon")

    def kinds() -> list[str]:
        with owner.connect() as connection:
            return list(connection.execute(text("SELECT kind FROM water_body ORDER BY public_id")).scalars())

    run(lakes(tmp_path / "a.gpkg", [1, 2, 3]), rules.HYDROLAKES)
    assert kinds() == ["lake", "reservoir", "lake"]  # 3: a natural lake with a dam at its outlet
    before = network_version(owner)
    run(lakes(tmp_path / "b.gpkg", [2, 2, 3]), rules.HYDROLAKES)
    assert kinds() == ["reservoir", "reservoir", "lake"]
    assert network_version(owner) > before
