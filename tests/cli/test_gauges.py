"""``waterwatch gauges``: readings from a file or an address, and what the operator is told of them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import Waterwatch
from tests.imports.conftest import write_reaches
from tests.messaging.https import answer, https_server
from waterwatch.cli.gauges import MOST_BYTES, read
from waterwatch.messaging.http import Client, FetchError

HEADER = "lon,lat,discharge_cms,measured_at,source"


@pytest.fixture(autouse=True)
def _rivers(waterwatch: Waterwatch, tmp_path: Path) -> None:
    file = write_reaches(tmp_path / "rivers.gpkg")
    assert waterwatch("waters", "import", "hydrorivers", file, "--map", "name.zh-Hans=NAME_ZH").exit_code == 0


def sheet(folder: Path, *rows: str, hours: float = 1) -> Path:
    """Rows of "lon,lat,discharge_cms" as measured so many hours ago."""
    moment = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="seconds")
    path = folder / "gauges.csv"
    path.write_text("\n".join((HEADER, *(f"{row},{moment},汉江水文站" for row in rows))), encoding="utf-8")
    return path


def test_readings_come_in_and_are_listed(waterwatch: Waterwatch, tmp_path: Path) -> None:
    told = waterwatch("gauges", "import", sheet(tmp_path, "110.15,31.001,2.5"))
    assert told.exit_code == 0, told.output
    assert "汉江水文站 → 汉江" in told.output
    assert "110 m: 2.5 m³/s = 2.50 × 多年平均" in told.output
    assert "1 added, 0 changed, 0 unchanged, 0 older" in told.output

    listed = waterwatch("gauges", "list").output
    assert "1 个水文站；24 小时以内" in listed
    assert "在用" in listed


def test_what_is_old_is_said_to_be(waterwatch: Waterwatch, tmp_path: Path) -> None:
    assert waterwatch("gauges", "import", sheet(tmp_path, "110.15,31,2.5", hours=30)).exit_code == 0
    assert "2.50 × 多年平均" in (listed := waterwatch("gauges", "list").output)
    assert "过旧 · too old (30 h)" in listed


def test_a_dry_run_and_a_bad_row_change_nothing(waterwatch: Waterwatch, tmp_path: Path) -> None:
    dry = waterwatch("gauges", "import", sheet(tmp_path, "110.15,31,2.5"), "--dry-run")
    assert (dry.exit_code, "1 added" in dry.output, "nothing was changed" in dry.output) == (0, True, True)
    file = sheet(tmp_path, "110.15,31,2.5", "110.15,31,-1", "10,10,5")
    bad = waterwatch("gauges", "import", file, "--refused", tmp_path / "bad.csv")
    assert bad.exit_code == 1
    assert "row 2  汉江水文站  流量应大于 0" in bad.output
    assert "row 3  汉江水文站  2 千米以内没有" in bad.output
    refused = (tmp_path / "bad.csv").read_text(encoding="utf-8-sig").splitlines()
    assert refused[1] == "2,汉江水文站,discharge_unusable,-1"
    assert "0 个水文站" in waterwatch("gauges", "list").output
    assert waterwatch("gauges", "import", file, "--accept-refused").exit_code == 0
    assert "1 个水文站" in waterwatch("gauges", "list").output


def test_what_cannot_be_read_is_said_in_words(waterwatch: Waterwatch, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2")
    other = waterwatch("gauges", "import", tmp_path / "other.csv")
    assert (other.exit_code, "缺少所需的列" in other.output) == (1, True)
    gone = waterwatch("gauges", "import", tmp_path / "gone.csv")
    assert (gone.exit_code, "无法读取文件" in gone.output) == (1, True)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://gauges.example.org/all.csv", "not_https"),
        ("file:///etc/passwd", "not_https"),
        ("https://127.0.0.1/all.csv", "address_not_public"),
        ("https://169.254.169.254/latest", "address_not_public"),
    ],
)
def test_an_address_that_leads_inside_is_not_asked(url: str, code: str, waterwatch: Waterwatch) -> None:
    told = waterwatch("gauges", "import", url)
    assert told.exit_code == 1
    assert f"not fetched ({code})" in told.output


@pytest.fixture
def client() -> Callable[..., Client]:
    return lambda server: Client(timeout_s=5, is_allowed=lambda _address: True, tls=server.trust)


def test_a_feed_is_fetched_whole_and_no_more_than_may_be(tmp_path: Path, client: Callable[..., Client]) -> None:
    with https_server(tmp_path, answer(b"lon,lat\n")) as server:
        assert read(f"https://{server.host}/all.csv", client(server)) == b"lon,lat\n"
    with (
        https_server(tmp_path, answer(b"", length=MOST_BYTES + 1)) as server,
        pytest.raises(FetchError, match="too_large"),
    ):
        read(f"https://{server.host}/all.csv", client(server))
    for manners in ({"status": "404 Not Found"}, {"headers": "Content-Encoding: gzip\r\n"}):
        with https_server(tmp_path, answer(b"x", **manners)) as server, pytest.raises(FetchError) as fault:
            read(f"https://{server.host}/all.csv", client(server))
        assert fault.value.code == "answer_refused"
