"""Importing reports where disk, database or archive are not as they should be: told exactly, and nothing is lost."""

import os
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError, OperationalError

from tests.cli.archive import GOOD, files, photo, read_table, rows, write_table
from tests.cli.conftest import Waterwatch
from waterwatch.cli.reports import WORDS
from waterwatch.kernel.objects import ObjectStore


def test_a_row_that_fails_half_way_leaves_nothing(
    waterwatch: Waterwatch, owner: Engine, tmp_path: Path, folder: Path
) -> None:
    (folder / "c.jpg").unlink()
    with owner.begin() as connection:
        kept = connection.execute(text("SELECT row_to_json(o)::text FROM organisation o")).scalar_one()
        connection.execute(text("DELETE FROM organisation"))
    words = ("reports", "import", "patrol", folder, "--kind", "foam")
    with pytest.raises(IntegrityError):
        waterwatch(*words)
    assert (rows(owner), rows(owner, "SELECT id FROM photo"), files(tmp_path / "objects")) == ([], [], [])
    with owner.begin() as connection:
        restore = text("INSERT INTO organisation SELECT * FROM json_populate_record(NULL::organisation, :kept)")
        connection.execute(restore, {"kept": kept})
    assert "新增 2" in waterwatch(*words).output


def test_what_is_no_file_among_the_photos_is_refused_and_never_waited_for(
    waterwatch: Waterwatch, owner: Engine, tmp_path: Path
) -> None:
    (tmp_path / "good.jpg").write_bytes(photo(400))
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    names = ("pipe.jpg", "circle.jpg", "a" * 300 + ".jpg")
    file = write_table(tmp_path / "t.csv", *(GOOD | {"id": name, "photos": name} for name in names), GOOD)
    told = waterwatch("reports", "import", "hotline", file, "--accept-refused")
    assert told.exit_code == 0, told.output
    assert f"{WORDS['photo_unreadable']}: 3" in told.output
    assert len(rows(owner)) == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device"), "interrupted: No space left on device"),
        (OperationalError("", {}, Exception()), "interrupted: database_unavailable"),
    ],
)
def test_an_import_that_is_cut_short_says_so_and_goes_on(
    waterwatch: Waterwatch, owner: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    (folder / "c.jpg").unlink()
    words = ("reports", "import", "patrol", folder, "--kind", "foam")
    real = ObjectStore.put_file

    def fail(store: ObjectStore, key: str, path: Path) -> None:
        if path.name == "b.JPG":
            raise error
        real(store, key, path)

    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "put_file", fail)
        cut = waterwatch(*words)
    assert (cut.exit_code, told in cut.output, len(rows(owner))) == (1, True, 1)
    assert "新增 1，已有 1" in waterwatch(*words).output


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_photo_that_changed_since_it_was_checked_is_refused_and_the_others_are_stored(
    waterwatch: Waterwatch, owner: Engine, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, is_moved: bool
) -> None:
    words, last = ("reports", "import", "patrol", folder, "--kind", "foam"), folder / "day 2" / "b.JPG"
    (folder / "c.jpg").unlink()
    real, other = ObjectStore.put_file, photo(430)

    def meanwhile(store: ObjectStore, key: str, path: Path) -> None:
        if path.name == "a.jpg":
            last.write_bytes(other)
            if is_moved:
                last.unlink()
        real(store, key, path)

    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "put_file", meanwhile)
        told = waterwatch(*words)
    assert (told.exit_code, len(rows(owner)), len(files(tmp_path / "objects"))) == (1, 1, 1)
    assert f"row 2  day 2/b.JPG  {WORDS['photo_changed']}" in told.output
    assert "新增 1，已有 0，拒绝 1" in told.output
    assert "其余的行已经入库" in told.output
    assert "未作任何改动" not in told.output
    last.write_bytes(other)
    assert "新增 1，已有 1，拒绝 0" in waterwatch(*words).output


def test_a_folder_that_cannot_be_read_is_named(waterwatch: Waterwatch, owner: Engine, folder: Path) -> None:
    """One whose path is too long for the system: an administrator, too, may not look into it."""
    (folder / "c.jpg").unlink()
    deep, at = "d" * 250, os.open(folder, os.O_RDONLY)
    for _ in range(17):
        os.mkdir(deep, dir_fd=at)  # beyond what a path can say
        at, above = os.open(deep, os.O_RDONLY, dir_fd=at), at
        os.close(above)
    os.close(at)
    words = ("reports", "import", "patrol", folder, "--kind", "foam")
    refused = waterwatch(*words)
    assert (refused.exit_code, rows(owner)) == (1, [])
    assert f"{WORDS['folder_unreadable']}: 1" in refused.output
    assert f"{deep}/{deep}" in refused.output
    assert "新增 2，已有 0，拒绝 1" in waterwatch(*words, "--accept-refused").output


def test_a_name_that_is_no_text_is_shown_and_listed(waterwatch: Waterwatch, owner: Engine, tmp_path: Path) -> None:
    folder, listed = tmp_path / "archive", tmp_path / "refused.csv"
    folder.mkdir()
    (folder / os.fsdecode("测试.jpg".encode("GB18030"))).write_bytes(photo(400, is_placed=False))
    (folder / "b\x1b[2J.jpg").write_bytes(photo(410, is_placed=False))
    (folder / "c.jpg").write_bytes(photo(420))
    told = waterwatch("reports", "import", "patrol", folder, "--kind", "foam", "--accept-refused", "--refused", listed)
    assert told.exit_code == 0, told.output
    assert "b\\x1b[2J.jpg" in told.output
    assert "\x1b[2J" not in told.output
    assert len(rows(owner)) == 1
    assert r"\udcb2\udce2\udcca\udcd4.jpg" in [line["id"] for line in read_table(listed)]


def test_where_the_refused_rows_go_is_looked_at_first(waterwatch: Waterwatch, owner: Engine, tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(photo(400))
    file = write_table(tmp_path / "t.csv", GOOD, GOOD | {"id": "2", "lat": "north"})
    before = file.read_bytes()
    words = ("reports", "import", "hotline", file, "--accept-refused", "--refused")
    for listed, code in (
        (file, "refusals_over_archive"),
        (tmp_path / "nowhere" / "r.csv", "refusals_unwritable"),
        (tmp_path, "refusals_unwritable"),
    ):
        told = waterwatch(*words, listed)
        assert (told.exit_code, WORDS[code] in told.output) == (1, True)
    assert (rows(owner), file.read_bytes()) == ([], before)
