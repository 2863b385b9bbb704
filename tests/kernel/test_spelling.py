"""The keys by which names are found."""

import pytest

from waterwatch.kernel import spelling


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("长江", {"长江": 0, "changjiang": 2, "cj": 4, "江": 6, "jiang": 6}),
        ("Yangtze River", {"yangtzeriver": 0, "river": 6}),
        ("绿水", {"绿水": 0, "lvshui": 2, "lushui": 2, "ls": 4, "水": 6, "shui": 6}),
        ("Cháng Jiāng", {"changjiang": 0, "jiang": 6}),
        ("", {}),
        ("·、—", {}),
    ],
)
def test_a_name_gives_keys_for_what_people_type(name: str, wanted: dict[str, int]) -> None:
    assert wanted.items() <= spelling.search_keys([name]).items()
    assert bool(spelling.search_keys([name])) == bool(wanted)


def test_a_better_grade_wins_and_no_key_is_long() -> None:
    assert spelling.search_keys(["太湖", "湖"])["湖"] == 0
    assert max(map(len, spelling.search_keys(["很长的名字" * 40]))) <= spelling.MAX_KEY_CHARACTERS
