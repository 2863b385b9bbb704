"""Importing reports: photos alone, tables of other systems; twice is once, and a row is a report or nothing."""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import Engine

from tests.cli.archive import GOOD, files, photo, read_table, rows, write_table
from tests.cli.conftest import Waterwatch
from tests.photos.forge import png, scene
from waterwatch.cli.archives import NAMESPACE
from waterwatch.cli.reports import WORDS
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_sessions
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.opendata.forms import Datum
from waterwatch.photos import service as photos
from waterwatch.photos.rules import REFUSALS
from waterwatch.reports import forms


def test_a_folder_of_photos_and_the_ones_without_a_place(
    waterwatch: Waterwatch, owner: Engine, tmp_path: Path, folder: Path
) -> None:
    words, listed = ("reports", "import", "patrol", folder, "--kind", "foam"), tmp_path / "refused.csv"
    tried = waterwatch(*words, "--dry-run")
    assert (tried.exit_code, rows(owner), files(tmp_path / "objects")) == (0, [], [])
    assert "新增 2，已有 0，拒绝 1" in tried.output
    refused = waterwatch(*words)
    assert (refused.exit_code, rows(owner)) == (1, [])
    assert "row 2  c.jpg  没有位置" in refused.output
    taken = waterwatch(*words, "--accept-refused", "--refused", listed)
    assert taken.exit_code == 0, taken.output
    assert rows(owner) == [
        ("import", "foam", 114.3056, 30.5928, None, at, "device", "wgs84", "received")
        for at in (datetime(2025, 5, 20, 2, 30, tzinfo=UTC), datetime(2025, 5, 20, 5, 30, tzinfo=UTC))
    ]
    (line,) = read_table(listed)
    assert (line["id"], line["photos"], line["code"]) == ("c.jpg", "c.jpg", "place_missing")
    assert "lon、lat" in line["reason"]
    # The operator fills in where it was, and imports the list itself.
    write_table(listed, line | {"lon": "114.5", "lat": "30.5", "datum": "gcj02"})
    added = waterwatch("reports", "import", "patrol", listed, "--photos-in", folder, "--kind", "foam")
    assert added.exit_code == 0, added.output
    assert [(row[6], row[7]) for row in rows(owner)] == [("device", "wgs84"), ("device", "wgs84"), ("typed", "gcj02")]
    before = rows(owner), sorted(files(tmp_path / "objects"))
    for again in (words, ("reports", "import", "patrol", listed, "--photos-in", folder, "--kind", "foam")):
        assert waterwatch(*again, "--accept-refused").exit_code == 0
    assert (rows(owner), sorted(files(tmp_path / "objects"))) == before


def test_photos_that_were_moved_are_still_the_same(waterwatch: Waterwatch, owner: Engine, folder: Path) -> None:
    (folder / "c.jpg").unlink()
    assert "新增 2" in waterwatch("reports", "import", "patrol", folder, "--kind", "foam").output
    (folder / "a.jpg").rename(folder / "z.jpg")
    (folder / "copy.jpg").write_bytes((folder / "z.jpg").read_bytes())
    assert "新增 0，已有 3，拒绝 0" in waterwatch("reports", "import", "patrol", folder, "--kind", "foam").output
    assert "新增 2，已有 1，拒绝 0" in waterwatch("reports", "import", "another", folder, "--kind", "foam").output


def test_a_table_of_another_system(waterwatch: Waterwatch, owner: Engine, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for name, width in (("1.jpg", 400), ("2.jpg", 410), ("3.jpg", 420)):
        (tmp_path / "p" / name).write_bytes(photo(width))
    first = {"编号": "A1", "lon": "114.3117", "lat": "30.5904", "datum": "gcj02", "kind": "排污", "note": "水很臭"}
    first["place_words"] = "三号桥下"
    second = {"编号": "A2", "lon": "", "lat": "", "datum": "", "kind": "", "note": "又来了", "place_words": ""}
    first |= {"observed_at": "2024-01-02 08:00:00", "照片": "p/1.jpg; p/2.jpg"}
    second |= {"observed_at": "2024-01-03T08:00:00Z", "照片": "p/3.jpg"}
    file = tmp_path / "hotline.csv"
    file.write_bytes(write_table(tmp_path / "utf8.csv", first, second).read_text().encode("GB18030"))
    words = ("reports", "import", "hotline", file, "--map", "id=编号", "--map", "photos=照片", "--kind", "foam")
    words += ("--map-kind", "排污=sewage_outfall", "--encoding", "GB18030")
    assert "新增 2，已有 0，拒绝 0" in waterwatch(*words).output
    assert {row[4]: (row[0], row[1], row[5], row[6], row[7]) for row in rows(owner)} == {
        "又来了": ("import", "foam", datetime(2024, 1, 3, 8, tzinfo=UTC), "device", "wgs84"),
        "水很臭": ("import", "sewage_outfall", datetime(2024, 1, 2, tzinfo=UTC), "typed", "gcj02"),
    }
    assert rows(owner, "SELECT place_words FROM report ORDER BY note DESC") == [("三号桥下",), (None,)]
    assert rows(owner, "SELECT count(*) FROM report_photo") == [(3,)]
    assert rows(owner, "SELECT count(*) FROM outbox WHERE topic = 'photos.sanitise'") == [(3,)]
    assert "新增 0，已有 2，拒绝 0" in waterwatch(*words).output


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"id": ""}, "id_missing"),
        ({"id": "0"}, "id_doubled"),
        ({"lon": "", "lat": ""}, "place_missing"),
        ({"lon": ""}, "lon_missing"),
        ({"lat": "north"}, "lat_not_a_number"),
        ({"lat": "95"}, "lat_out_of_range"),
        ({"lon": "30.5", "lat": "114.3"}, "lat_out_of_range place_swapped"),
        ({"datum": "cgcs2000"}, "datum_unknown"),
        ({"kind": ""}, "kind_missing"),
        ({"kind": "rain"}, "kind_unknown"),
        ({"note": "长" * 501}, "note_too_long"),
        ({"observed_at": "yesterday"}, "observed_at_unreadable"),
        ({"observed_at": "2999-01-01T00:00:00Z"}, "observed_at_in_future"),
        ({"photos": ""}, "photo_missing"),
        ({"photos": ";".join(["good.jpg"] * 7)}, "photo_too_many"),
        ({"photos": "nowhere.jpg"}, "photo_unreadable"),
        ({"photos": "."}, "photo_unreadable"),
        ({"photos": "../secret.jpg"}, "photo_elsewhere"),
        ({"photos": "/etc/passwd"}, "photo_elsewhere"),
        ({"photos": "link.jpg"}, "photo_elsewhere"),
        ({"photos": "empty.jpg"}, "empty_file"),
        ({"photos": "text.jpg"}, "not_an_image"),
        ({"photos": "moving.gif"}, "type_not_accepted"),
        ({"photos": "large.jpg"}, "photo_too_large"),
        ({"photos": "cut.jpg", "lon": "", "lat": ""}, "undecodable"),
    ],
)
def test_a_row_that_is_no_report_is_told_and_nothing_of_it_is_stored(
    waterwatch: Waterwatch, owner: Engine, tmp_path: Path, changes: dict[str, str], code: str
) -> None:
    folder, listed = tmp_path / "archive", tmp_path / "refused.csv"
    folder.mkdir()
    contents = {
        "good.jpg": photo(400, is_placed=False),
        "empty.jpg": b"",
        "text.jpg": b"hello",
        "moving.gif": b"GIF89a",
    }
    contents |= {"cut.jpg": b"\xff\xd8\xff" + bytes(100), "large.jpg": photo(400) + bytes(25 * 2**20)}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (tmp_path / "secret.jpg").write_bytes(photo(430))
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    good = GOOD | {"id": "0", "datum": ""}
    file = write_table(folder / "table.csv", good, GOOD | {"datum": ""} | changes)
    words = ("reports", "import", "hotline", file, "--refused", listed)
    refused = waterwatch(*words)
    assert (refused.exit_code, rows(owner), files(tmp_path / "objects")) == (1, [], [])
    (line,) = read_table(listed)
    assert line["code"] == code
    assert WORDS[code.split(maxsplit=1)[0]] in line["reason"]
    assert waterwatch(*words, "--accept-refused").exit_code == 0
    assert len(rows(owner)) == len(files(tmp_path / "objects")) == 1


@pytest.mark.parametrize(
    ("name", "content", "words", "told"),
    [
        ("a.csv", "id,lon\n", (), "缺少所需的列"),
        ("a.csv", "id,photos\n", (), "这里没有照片"),
        ("a.csv", "id,photos\n", ("--map", "lon=x"), "缺少所需的列"),
        ("a.csv", "id,photos\n", ("--map", "colour=x"), "没有这个角色"),
        ("a.csv", "id,photos\n", ("--map", "lon"), "应写作 --map"),
        ("a.csv", "id,photos\n", ("--map-kind", "雨=rain"), "没有这个种类"),
        ("a.csv", "id,photos\n", ("--zone", "Mars/Olympus"), "没有这个时区"),
        ("a.csv", "id,photos\n", ("--encoding", "klingon"), "文字不是所述编码"),
        ("a.csv", '"', (), "不是 CSV 表格"),
    ],
)
def test_a_table_that_cannot_be_read_changes_nothing(
    waterwatch: Waterwatch, tmp_path: Path, name: str, content: str, words: tuple[str, ...], told: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    refused = waterwatch("reports", "import", "x", tmp_path / name, *words)
    assert refused.exit_code == 1
    assert told in refused.output
    assert "未作任何改动" in refused.output


def test_what_is_imported_is_rebuilt_like_every_photo_and_never_shown_as_it_came(
    waterwatch: Waterwatch, owner: Engine, tmp_path: Path, make_settings: Callable[..., Settings], database_url: str
) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(photo(400))
    (folder / "b.png").write_bytes(png(picture=scene(width=300)))
    told = waterwatch("reports", "import", "patrol", folder, "--kind", "foam", "--accept-refused")
    assert "新增 1，已有 0，拒绝 1" in told.output
    stored = files(tmp_path / "objects")
    assert [path.relative_to(tmp_path / "objects").parts[0] for path in stored] == ["quarantine"]
    settings = make_settings(database_url=database_url)
    ((photo_id,),) = rows(owner, "SELECT id FROM photo")
    context = JobContext(settings, make_sessions(owner), ObjectStore(settings.objects_url))
    assert photos.sanitise(context, uuid.UUID(str(photo_id))) == "ready"
    public = files(tmp_path / "objects" / "public")
    assert len(public) == 3
    assert all(b"Exif" not in path.read_bytes() for path in public)


def test_no_refused_row_is_a_formula_and_every_one_is_imported_as_it_was(
    waterwatch: Waterwatch, owner: Engine, tmp_path: Path
) -> None:
    (tmp_path / "good.jpg").write_bytes(photo(400))
    listed = tmp_path / "refused.csv"
    bad = GOOD | {
        "id": "=cmd|' /C calc'!A0",
        "note": "＠SUM(1)",
        "lon": "-114.3",
        "lat": "-north",
        "photos": "good.jpg",
    }
    file = write_table(tmp_path / "t.csv", bad)
    assert waterwatch("reports", "import", "hotline", file, "--refused", listed).exit_code == 1
    (line,) = read_table(listed)
    assert (line["id"], line["note"]) == ("'=cmd|' /C calc'!A0", "'＠SUM(1)")
    assert (line["lon"], line["lat"]) == ("-114.3", "'-north")
    assert waterwatch("reports", "import", "hotline", write_table(listed, line | {"lat": "30.5"})).exit_code == 0
    ((note,),) = rows(owner, "SELECT note FROM report")
    assert note == "＠SUM(1)"
    assert "已有 1" in waterwatch("reports", "import", "hotline", write_table(file, bad | {"lat": "30.5"})).output


def test_an_encoding_has_many_names(waterwatch: Waterwatch, owner: Engine, tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(photo(400))
    file = write_table(tmp_path / "t.csv", GOOD)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert waterwatch("reports", "import", "hotline", file, "--encoding", "utf_8").exit_code == 0
    assert len(rows(owner)) == 1


def test_every_code_of_a_row_has_words() -> None:
    source = Path(forms.__file__).read_text() + (Path(__file__).parents[2] / "waterwatch/cli/archives.py").read_text()
    fixed = set(re.findall(r'"((?:photo|place|note|id|observed_at|column|encoding|file)_[a-z_]+)"', source))
    fixed -= {
        "photo_unknown",
        "photo_taken",
        "place_confirmed",
        "place_source",
        "place_words",
        "place_not_confirmed",
        "note_max",
    }
    assert len(fixed) > 12
    assert (fixed | set(REFUSALS)) - set(WORDS) == set()
    assert {f"{axis}_{fault}" for axis in ("lon", "lat") for fault in ("missing", "wrong_axis")} <= set(WORDS)
    assert len(get_args(get_args(Datum)[0])) == 3


def test_the_namespace_of_the_keys_never_changes() -> None:
    assert uuid.UUID("6f1c2b1e-8d0f-5c39-9f0a-5a1d3b6e7c84") == NAMESPACE
