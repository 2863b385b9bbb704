"""When something is expected, in words: "tomorrow 14:00–20:00". For pages, mails and alerts alike."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from babel.dates import format_date
from flask_babel import lazy_gettext as _l

from waterwatch.kernel.writing import in_language

CHINA = ZoneInfo("Asia/Shanghai")
UNKNOWN = _l("时间不详")
NOT_BEFORE = _l("不早于%(day)s %(from)s")
ONE_DAY = _l("%(day)s %(from)s–%(until)s")
TWO_DAYS = _l("%(day)s %(from)s 至 %(last_day)s %(until)s")
MAYBE_THERE = _l("可能已经到达")
DAYS = {-1: _l("昨天"), 0: _l("今天"), 1: _l("明天"), 2: _l("后天")}
PATTERNS = {"zh-Hans": "M月d日", "zh-Hant": "M月d日", "en": "d MMM"}
LOCALES = {"zh-Hans": "zh_Hans", "zh-Hant": "zh_Hant", "en": "en"}
HOUR = timedelta(hours=1)


def window_words(
    earliest: datetime | None, probable: datetime | None, language: str, *, now: datetime, zone: ZoneInfo = CHINA
) -> str:
    """A window in a reader's language and time zone, its ends moved outwards to full hours.

    Without ``probable`` it says "not before"; without ``earliest`` that no time is known.
    """
    if earliest is None:
        return in_language(language, UNKNOWN)
    begins = _floor(earliest.astimezone(zone))
    today = now.astimezone(zone).date()
    words = {"day": _day(begins.date(), today, language), "from": f"{begins:%H:%M}"}
    if probable is None:
        return in_language(language, NOT_BEFORE) % words
    ends = _floor(probable.astimezone(zone) + HOUR - timedelta(microseconds=1))
    ends = max(ends, begins + HOUR)
    last_day, until = ends.date(), f"{ends:%H:%M}"
    if until == "00:00":  # the day that ends then, as people say it
        last_day, until = last_day - timedelta(days=1), "24:00"
    words |= {"until": until}
    if last_day == begins.date():
        return in_language(language, ONE_DAY) % words
    return in_language(language, TWO_DAYS) % (words | {"last_day": _day(last_day, today, language)})


def _day(day: date, today: date, language: str) -> str:
    named = DAYS.get((day - today).days)
    if named is not None:
        return in_language(language, named).lower()  # within a sentence: "today", though headings say "Today"
    return str(format_date(day, PATTERNS[language], locale=LOCALES[language]))


def _floor(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
