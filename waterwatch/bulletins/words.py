"""The words of bulletins. What is printed is simplified Chinese, whoever asks; numbers are named on pages, too."""

from flask_babel import lazy_gettext as _l

LANGUAGE = "zh-Hans"
NOTICE = "公众观察等级，非政府预警"
ROMAN = {1: "IV", 2: "III", 3: "II", 4: "I"}
STAGE_WORDS = {
    "waiting": "尚未送达",
    "delivered": "已送达",
    "acknowledged": "已确认收到",
    "answered": "已答复",
    "done": "部门称已办结",
}
OVERDUE_WORDS = {"acknowledge": "逾期未确认", "answer": "逾期未答复", "finish": "逾期未办结"}
STATE_WORDS = {
    "open": "未结束",
    "answered": "未结束",
    "resolved_claimed": "部门称已解决，待公众核实",
    "verified_clean": "公众核实已清洁",
    "reopened": "核实未解决",
    "expired": "长期无人确认，已结束",
}
NUMBER_WORDS = {
    "going_on": _l("本期内存在的事件"),
    "opened": _l("其中本期新发生"),
    "carried_over": _l("其中上期延续"),
    "ended": _l("本期内结束"),
    "clean": _l("其中公众核实已清洁"),
    "answered": _l("已答复"),
    "overdue": _l("逾期"),
    "waters": _l("涉及水体"),
}
