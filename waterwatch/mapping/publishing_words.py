"""The words of published pages, in all three languages: a page on a static host has nobody to ask for the viewer's."""

from typing import Any

from flask_babel import lazy_gettext as _l

from waterwatch.kernel.writing import translations
from waterwatch.web.words import KIND_WORDS

LANGUAGES = ("zh-Hans", "zh-Hant", "en")

SITE = _l("江湖網·预警图")
LEVEL_WORDS = {0: _l("没有警示"), 1: _l("蓝色·一般"), 2: _l("黄色·较大"), 3: _l("橙色·重大"), 4: _l("红色·特别重大")}
NOT_OFFICIAL = _l("公众观察等级，非政府预警")
NATIONAL = _l("全国江河湖泊")
CHANGED = _l("数据时间 %(time)s（北京时间）")
COUNTS = _l("带警示的水体 %(waters)s 段、片，未结束的事件 %(incidents)s 起")
NEAR = _l("将受影响（预计到达）")
REACHED = _l("下游预计将受影响的水体 %(waters)s 段、片；何时到达见实时地图和水体页面")
LEFT_OUT = _l("按等级从高到低画到这里：另有 %(waters)s 段、片水体和 %(incidents)s 起事件没有画出")
OPENED_ON = _l("%(date)s 起")
LIST = _l("带警示的水体")
NONE = _l("现在没有带警示的水体")
INCIDENT = _l("事件")
OPEN_LIVE = _l("打开实时地图")
NO_SCRIPT = _l("这里是地图的图片；互动地图需要脚本。")


def say(language: str, words: Any, **values: object) -> str:
    """A sentence in a language of ours. Lazy ones are their own msgid outside of a request."""
    sentence = str(translations(language).ugettext(str(words)))
    return sentence % values if values else sentence


def kind_in(language: str, kind: str) -> str:
    """A kind of pollution in words; one that is unknown is its own code."""
    return say(language, KIND_WORDS[kind]) if kind in KIND_WORDS else kind


def name_in(language: str, names: dict[str, str], otherwise: str) -> str:
    """A water's or an area's name in a language, or in the one nearest to it."""
    wanted = {"zh-Hant": ("zh-Hant", "zh-Hans", "en"), "en": ("en", "pinyin", "zh-Hans")}
    order = wanted.get(language, ("zh-Hans", "zh-Hant", "en"))
    return next((names[lang] for lang in order if lang in names), otherwise)
