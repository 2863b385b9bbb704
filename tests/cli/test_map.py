"""``waterwatch map build``: the archive ahead of its publication, as the operator reads it."""

from pathlib import Path

from tests.cli.conftest import Waterwatch
from tests.imports.conftest import write_reaches


def test_it_builds_the_archive_and_says_how_large_each_zooms_tiles_are(waterwatch: Waterwatch, tmp_path: Path) -> None:
    file = write_reaches(tmp_path / "rivers.gpkg")
    assert waterwatch("waters", "import", "hydrorivers", file, "--map", "name.zh-Hans=NAME_ZH").exit_code == 0
    told = waterwatch("map", "build")
    assert told.exit_code == 0, told.output
    (archive,) = (tmp_path / "published").glob("waters.*.pmtiles")
    lines = told.stdout.splitlines()
    assert lines[0].startswith(f"{archive.name}: 0.0 MB")
    assert "0 of an earlier run" in lines[1]
    assert [line.split()[0] for line in lines[3:]] == [str(zoom) for zoom in range(12)]
    assert float(lines[-1].split()[2]) > 0  # zoom 11 shows the smallest brook
    assert waterwatch("map", "build").stdout.splitlines()[0] == lines[0]
