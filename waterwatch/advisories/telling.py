"""The words of an early warning, and what it says as an alert (CAP 1.2): for letters, feeds and machines alike.

Never a forecast of harm: what may come where and when, how that was reckoned, and how far it may be wrong.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from flask_babel import lazy_gettext as _l

from waterwatch.advisories.rules import CAUTION_KINDS, Window, unit_peak_magnitude
from waterwatch.advisories.segments import Segment
from waterwatch.alerts.rules import Area, Info, Urgency
from waterwatch.kernel.writing import in_language
from waterwatch.web.windows import window_words
from waterwatch.web.words import KIND_WORDS, SEVERITY_WORDS

LANGUAGE: Final = "zh-Hans"
SOON: Final = timedelta(hours=24)
NO_WARNING = _l("这是由公众观察推算的结果，不是政府发布的预警。")
HOW_SURE = _l(
    "时间由汇水面积和多年平均流量按经验公式推算（Jobson，1996；流速均方根误差约 0.15 米/秒），"
    "只是一个范围：可能更早、更晚，也可能不会到达。"
)
NO_TIMES = _l("这里没有流量资料，只知道沿河的距离，推算不出时间。")
DISSOLVED = _l("按溶于水或随水流动的物质推算。")
FLOATING = _l("油膜浮在水面，随风和水流漂移，时间更不确定，只作提醒。")
ASKED = _l("请留意水面和水质，并告诉我们到了没有；除此之外，不要求贵单位做什么。")
LAKE = _l("湖泊或水库：水在其中停留多久不详")
DAM = _l("有闸坝：下泄多少由调度决定")
OTHERS = _l("其他水体")
UNNAMED = _l("未命名水体")
EVENT = _l("%(kind)s（下游预警）")
HEADLINE = _l("%(water)s：%(kind)s可能到达（下游预警，%(level)s）")
STRETCH = _l("%(water)s，沿河下游 %(from)s–%(until)s 公里")
BEIJING = _l("%(window)s（北京时间）")
EXPECTED = _l("预计到达：%(window)s（北京时间）")
PASSES = _l("到达后，通过一处的时间大约是：%(time)s（只是数量级）")
UNIT_PEAK = _l("约 %(peak)s 毫克/升")
PEAKS = _l("每公斤的峰浓度：%(peak)s（数量级）")
# What both are, and how far they may be wrong: said once beside whatever shows them.
MAGNITUDES = _l(
    "每公斤的峰浓度：假如一次排入 1 公斤溶于水的东西、流量每秒 1 立方米，最浓时有多浓；与排放量成正比，与流量成反比。"
    "它和经过的时间都只是数量级，实际可能是几倍，也可能是几分之一；"
    "误差的一个来源是流速（均方根误差约 0.15 米/秒，USGS SIR 2013-5182）。"
    "没有人知道排了多少，所以这不是水里实际会有的浓度，也不预报危害。"
)
# Up to so many seconds; beyond the last, days.
PASSAGES: Final = (
    (3600.0, _l("不到一小时")),
    (10 * 3600.0, _l("几小时")),
    (24 * 3600.0, _l("十几小时")),
    (72 * 3600.0, _l("一到三天")),
)
DAYS = _l("几天")
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
# Names of our parameters in alerts.
DISTANCE_PARAMETER, INCIDENT_PARAMETER = "waterwatch:distanceKm", "waterwatch:incident"
WARNING_CODE = ("waterwatch:warning", "downstream")


def dated_words(window: Window, language: str = LANGUAGE) -> str:
    """A window by its dates: what is kept and read another day says no "tomorrow"."""
    return window_words(window.earliest, window.probable, language, now=_LONG_AGO)


def beijing_words(window: Window, language: str = LANGUAGE) -> str:
    """The same, and whose clock that is; without a time only that none is known."""
    dated = dated_words(window, language)
    return dated if window.earliest is None else in_language(language, BEIJING) % {"window": dated}


def passage_words(passage_s: float | None, language: str = LANGUAGE) -> str | None:
    """How long it takes to pass, as an order of magnitude; None where that is not known."""
    if passage_s is None:
        return None
    words = next((words for up_to, words in PASSAGES if passage_s < up_to), DAYS)
    return in_language(language, words)


def unit_peak_words(unit_peak: float | None, language: str = LANGUAGE) -> str | None:
    """The peak's concentration for each kilogram dissolved and each m³/s of flow, to the nearest power of ten.

    ``unit_peak``: as ``flow.travel`` gives it, 10⁻⁶/s. None where it is not known. Never alone: :data:`MAGNITUDES`.
    """
    power = unit_peak_magnitude(unit_peak)
    if power is None:
        return None
    return in_language(language, UNIT_PEAK) % {"peak": f"{Decimal(1).scaleb(power):f}"}


def peak_line(unit_peak: float | None, language: str = LANGUAGE) -> str | None:
    """The same as a line that says of what, for where no heading does."""
    words = unit_peak_words(unit_peak, language)
    return None if words is None else in_language(language, PEAKS) % {"peak": words}


def name_of(segment: Segment, language: str = LANGUAGE) -> str:
    """What its water is called."""
    if segment.is_rest:
        return in_language(language, OTHERS)
    return segment.water or in_language(language, UNNAMED)


def stretch_words(segment: Segment, language: str = LANGUAGE) -> str:
    """Which water, and how far below the incident, kilometres."""
    far = {"from": f"{segment.from_km:.0f}", "until": f"{segment.until_km:.0f}"}
    return in_language(language, STRETCH) % {"water": name_of(segment, language), **far}


def marks_of(segment: Segment, language: str = LANGUAGE) -> list[str]:
    """What is to be known of a stretch besides: a lake, a dam."""
    marks = [LAKE] if segment.is_lake else []
    return [in_language(language, words) for words in (*marks, *([DAM] if segment.is_dammed else []))]


def has_magnitudes(segments: Sequence[Segment]) -> bool:
    """Whether an order of magnitude is known of any of them: near an incident that of the passage alone is."""
    return any(one.unit_peak is not None or one.passage_s is not None for one in segments)


def how_sure(kind: str, *, is_timed: bool, has_magnitudes: bool = False, language: str = LANGUAGE) -> str:
    """How it was reckoned and how far it may be wrong: one paragraph. ``has_magnitudes``: some stand beside it."""
    way = FLOATING if kind in CAUTION_KINDS else DISSOLVED
    said = [way, HOW_SURE if is_timed else NO_TIMES, *([MAGNITUDES] if has_magnitudes else []), NO_WARNING]
    return " ".join(in_language(language, words) for words in said)


def infos_of(
    segments: Sequence[Segment], kind: str, level: int, code: str, *, now: datetime, web: str, instruction: str | None
) -> tuple[Info, ...]:
    """One ``info`` for each stretch that has an outline, in Chinese as every alert of ours. ``code``: the incident's.

    Without times there is no onset, and the words say so.
    """
    kind_words, level_words = in_language(LANGUAGE, KIND_WORDS[kind]), in_language(LANGUAGE, SEVERITY_WORDS[level])
    infos = []
    for one in segments:
        if not one.rings:
            continue
        said = {"water": name_of(one), "kind": kind_words, "level": level_words}
        infos.append(
            Info(
                event=in_language(LANGUAGE, EVENT) % {"kind": kind_words},
                level=level,
                headline=in_language(LANGUAGE, HEADLINE) % said,
                description=_description(one, kind),
                areas=(Area(stretch_words(one), polygons=one.rings),),
                urgency=_urgency(one.window, now),
                certainty="Possible",
                responses=("Monitor",),
                instruction=instruction,
                onset=one.window.earliest,
                expires=one.lapses_at,
                web=web,
                event_codes=(("waterwatch:kind", kind), WARNING_CODE),
                parameters=(
                    (DISTANCE_PARAMETER, f"{one.from_km:.1f}-{one.until_km:.1f}"),
                    (INCIDENT_PARAMETER, code),
                ),
            )
        )
    return tuple(infos)


def _description(one: Segment, kind: str) -> str:
    lines = [stretch_words(one), in_language(LANGUAGE, EXPECTED) % {"window": dated_words(one.window)}]
    passage = passage_words(one.passage_s)
    if passage is not None:
        lines.append(in_language(LANGUAGE, PASSES) % {"time": passage})
    peak = peak_line(one.unit_peak)
    if peak is not None:
        lines.append(peak)
    lines += marks_of(one)
    sure = how_sure(kind, is_timed=one.window.earliest is not None, has_magnitudes=has_magnitudes([one]))
    return "\n".join([*lines, sure])


def _urgency(window: Window, now: datetime) -> Urgency:
    if window.earliest is None:
        return "Unknown"
    return "Expected" if window.earliest <= now + SOON else "Future"
