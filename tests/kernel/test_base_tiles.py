"""The operator's base maps: what is understood, and that a slip is told before anybody opens a page."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from waterwatch.kernel.base_tiles import read_base_tiles
from waterwatch.kernel.settings import Settings, SettingsError

SOURCE: dict[str, Any] = {
    "names": {"zh-Hans": "影像"},
    "url": "https://tiles.example.org:8443/a/{z}/{x}/{y}.jpg",
    "datum": "gcj02",
    "attribution": "© 甲",
    "maxzoom": 17,
}


def read(**changes: Any) -> Any:
    return read_base_tiles(json.dumps([SOURCE | changes]))


def test_none_is_the_default() -> None:
    assert read_base_tiles("") == ()


def test_a_source_is_read_and_named_as_a_content_policy_names_it() -> None:
    (source,) = read()
    assert source.origin == "https://tiles.example.org:8443"
    assert source.described() == SOURCE | {"type": "raster", "layers": []}


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "https://tiles.example.org/{z}/{x}.png"},
        {"url": "https://*.example.org/{z}/{x}/{y}.png"},
        {"url": "https://a;script-src.example.org/{z}/{x}/{y}.png"},
        {"url": "https://user@tiles.example.org/{z}/{x}/{y}.png"},
        {"url": "javascript:alert({z}{x}{y})"},
        {"url": "//tiles.example.org/{z}/{x}/{y}.png"},
        {"type": "vector", "layers": ["roads"]},
        {"type": "vector", "datum": "wgs84"},
        {"datum": "bd09"},
        {"attribution": ""},
        {"names": {}},
        {"maxzoom": 30},
        {"token": "x"},
    ],
)
def test_what_cannot_be_drawn_or_would_open_the_policy_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(**changes)


def test_a_slip_is_told_by_the_settings_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATERWATCH_BASE_TILES", "[{")
    with pytest.raises(SettingsError) as told:
        Settings.from_environ()
    assert "WATERWATCH_BASE_TILES: is no JSON list" in told.value.faults


def test_the_settings_hold_them(make_settings: Callable[..., Settings]) -> None:
    assert [source.maxzoom for source in make_settings(base_tiles=json.dumps([SOURCE])).base_maps] == [17]
