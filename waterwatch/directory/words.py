"""The words of the administrator's pages beside those every room shares."""

from collections.abc import Iterable, Mapping
from typing import Any

from flask_babel import lazy_gettext as _l

from waterwatch.web.language import viewer_language
from waterwatch.web.words import AGENCY_KIND_WORDS, AREA_LEVEL_WORDS, KIND_WORDS, SEVERITY_WORDS, WATER_KIND_WORDS

CHANNEL_WORDS = {
    "email": _l("电子邮件"),
    "webhook": _l("网络接口（webhook）"),
    "open311": _l("Open311 受理平台"),
    "cap_feed": _l("CAP 订阅源"),
    "post": _l("纸质信函"),
}
CHANNELS_IN_WORDS = {"parallel": _l("同时发出"), "order": _l("依次：前一个不通再用下一个")}
DIGEST_WORDS = {
    "0": _l("每次都马上发"),
    "1": _l("蓝色的每天合并一封"),
    "2": _l("蓝色、黄色的每天合并一封"),
    "3": _l("除红色外每天合并一封"),
}
DATUM_WORDS = {
    "wgs84": _l("WGS-84（卫星定位）"),
    "gcj02": _l("GCJ-02（高德、腾讯地图）"),
    "bd09": _l("BD-09（百度地图）"),
}
VERDICT_WORDS = {
    "gained": _l("新增负责"),
    "lost": _l("不再负责"),
    "sooner": _l("更低的等级就会收到"),
    "later": _l("更高的等级才会收到"),
}
WHY_NOT_WORDS = {
    "nearer": _l("同类部门里有更基层的会收到"),
    "severity": _l("等级不够"),
    "rule_says_no": _l("规则规定不负责"),
    "no_rule": _l("没有规则让它负责这类问题"),
}
WHY_NOBODY_WORDS = {
    "nobodys_area": _l("这个地点不在任何行政区里（可能在海上或境外）。"),
    "no_agency": _l("这里的区县、地市、省都没有登记部门。请先添加部门。"),
    "nobody_competent": _l("登记的部门都不负责这类问题或这个等级。请看下面的原因，再调整规则。"),
    "nobody_reachable": _l("有部门负责，但没有一个留下联系方式。请补上联系方式。"),
}
ERROR_WORDS = {
    "missing": _l("请填写。"),
    "required": _l("请填写。"),
    "choice_unknown": _l("请从列表里选择。"),
    "not_a_choice": _l("请从列表里选择。"),
    "too_long": _l("写得太长了，请写短一些。"),
    "area_unknown": _l("没有这个行政区或流域。可以写名称，也可以写行政区划代码。"),
    "area_ambiguous": _l("叫这个名字的地方不止一个，请改写下面的代码。"),
    "area_not_found": _l("没有这个行政区或流域。可以写名称，也可以写行政区划代码。"),
    "code_unreadable": _l("代码只能用小写字母、数字和连字符，至少两个字符。"),
    "code_taken": _l("这个代码已经有部门在用。"),
    "basin_and_authority": _l("流域只归流域机构，流域机构也只管流域。请一起改类别和区域。"),
    "parent_unknown": _l("没有这个上级部门。请写它的代码。"),
    "answers_in_a_circle": _l("这样上下级会成环。"),
    "parent_not_above": _l("上级部门的级别必须更高。"),
    "parent_elsewhere": _l("上级部门管的区域不包含这里。"),
    "parent_skips_level": _l("地市有同类部门，上级应当是它。"),
    "address_unreadable": _l("这不是邮箱地址。"),
    "address_taken": _l("这个联系方式已经登记过了。"),
    "key_of_another_host": _l("网址换了主机：请写那台主机的 api_key，原来的不会交给它。"),
    "not_a_url": _l("请写完整的网址，以 https:// 开头，不带用户名和密码。"),
    "not_a_word": _l("请写短一些，不能为空。"),
    "not_a_mapping": _l("服务代码只能用字母、数字和 . _ : -。"),
    "services_unreadable": _l("每行写“类型=服务代码”，类型用下面列出的英文名，不要重复。"),
    "time_unreadable": _l("请写 24 小时制的时间，例如 09:00。"),
    "coordinate_not_a_number": _l("没有看懂这个坐标。"),
    "coordinate_wrong_axis": _l("经度和纬度好像写反了。"),
    "coordinate_out_of_range": _l("超出了经纬度的范围。"),
    "rule_already_there": _l("完全一样的规则已经有了。"),
    "unknown": _l("这一项不能用。"),
}
PLACE_WORDS = AREA_LEVEL_WORDS | WATER_KIND_WORDS

# Areas have no Latin names; what an English reader can be told is what kind of area it is. Longest first.
_AREA_KINDS_IN_ENGLISH = {
    "特别行政区": "Special Administrative Region",
    "自治区": "Autonomous Region",
    "自治州": "Autonomous Prefecture",
    "自治县": "Autonomous County",
    "自治旗": "Autonomous Banner",
    "地区": "Prefecture",
    "新区": "New Area",
    "林区": "Forestry District",
    "省": "Province",
    "市": "City",
    "区": "District",
    "县": "County",
    "旗": "Banner",
    "盟": "League",
}


def area_in_words(name: str) -> str:
    """An area's Chinese name; for a reader of English the word for its kind is English: 江岸 District."""
    if viewer_language() != "en":
        return name
    kind = next((kind for kind in _AREA_KINDS_IN_ENGLISH if name.endswith(kind) and len(name) > len(kind)), None)
    return name if kind is None else f"{name.removesuffix(kind)} {_AREA_KINDS_IN_ENGLISH[kind]}"


__all__ = ["AGENCY_KIND_WORDS", "AREA_LEVEL_WORDS", "KIND_WORDS", "SEVERITY_WORDS"]


def pairs(codes: Iterable[str], names: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """Codes with their words, as a form's choices."""
    return [(code, names[code]) for code in codes]


def named(names: Mapping[str, str]) -> str:
    """A name in the viewer's language, else in Chinese, else in any; empty where there is none."""
    return names.get(viewer_language()) or names.get("zh-Hans") or next(iter(names.values()), "")


def said(errors: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Faults by field, in words."""
    return {
        name: [str(ERROR_WORDS.get(code, ERROR_WORDS["unknown"])) for code in codes] for name, codes in errors.items()
    }
