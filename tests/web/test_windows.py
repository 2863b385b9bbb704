"""When something is expected, in words."""

from datetime import UTC, datetime

import pytest

from waterwatch.web.windows import CHINA, window_words

NOW = datetime(2026, 11, 28, 2, 0, tzinfo=UTC)  # ten in the morning in China


def china(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=CHINA)


@pytest.mark.parametrize(
    ("earliest", "probable", "words"),
    [
        (china(29, 14, 20), china(29, 19, 10), "明天 14:00–20:00"),
        (china(28, 14), china(28, 14), "今天 14:00–15:00"),
        (china(28, 22), china(29, 6), "今天 22:00 至 明天 06:00"),
        (china(28, 22), china(29, 0), "今天 22:00–24:00"),
        (china(27, 9), china(30, 9), "昨天 09:00 至 后天 09:00"),
        (china(26, 9), china(26, 11), "11月26日 09:00–11:00"),
        (china(29, 14, 20), None, "不早于明天 14:00"),
        (None, None, "时间不详"),
    ],
)
def test_a_window_is_said_in_days_people_name_and_full_hours(
    earliest: datetime | None, probable: datetime | None, words: str
) -> None:
    assert window_words(earliest, probable, "zh-Hans", now=NOW) == words


def test_a_named_day_within_an_english_sentence_is_small() -> None:
    assert window_words(china(28, 14), None, "en", now=NOW) == "not before today 14:00"
