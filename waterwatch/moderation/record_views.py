"""The lead's record: who decided what, when, what became of it; and the means to reverse it."""

import uuid
from datetime import date
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.moderation import decisions, reversal
from waterwatch.moderation.tables import ACTIONS
from waterwatch.web.errors import WORDS
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.people import current_actor
from waterwatch.web.words import (
    INCIDENT_STATE_WORDS,
    REFUSAL_WORDS,
    REPORT_KIND_WORDS,
    REPORT_STATE_WORDS,
    SEVERITY_WORDS,
)

bp = Blueprint("record", __name__, url_prefix="/desk/record", template_folder="templates")

ACTION_WORDS = {
    "accepted": _l("受理，新的事件"),
    "joined": _l("并入事件"),
    "refused": _l("退回"),
    "patrol_accepted": _l("确认巡护"),
    "corrected": _l("更正上报"),
    "asked": _l("询问上报人"),
    "handed": _l("交给组长"),
    "seconded": _l("复核为红色"),
    "regraded": _l("重新评级"),
    "split": _l("拆分事件"),
    "absorbed": _l("合并事件"),
    "reversed": _l("撤销或推翻"),
}
REASON_WORDS = {
    "wrong_level": _l("等级不对"),
    "wrong_refusal": _l("不该退回"),
    "wrong_incident": _l("并错了事件"),
    "wrong_place": _l("地点或水体不对"),
    "not_pollution": _l("不是污染"),
    "other_mistake": _l("其他差错"),
}
# Said on the page itself; any other conflict is for the page of errors. Here some mean something of their own.
CONFLICTS = frozenset(
    {
        *("later_acts", "already_reversed", "moved_on", "erased", "question_answered", "report_changed"),
        *("not_reversible", "no_regrade", "incident_is_closed", "appealed_against_you"),
    }
)
OWN_WORDS = {
    "later_acts": _l("后面还有依据它的决定，请先推翻那一条：%(action)s。"),
    "report_changed": _l("上报人后来自己修改过，更正不能收回。"),
    "no_regrade": _l("这次评级已经不再算数。"),
}


@bp.get("")
@requires("reverse")
def show() -> str:
    """Decisions, newest first, by person, action, code and day."""
    wanted, page = _wanted(), max(1, min(request.args.get("page", 1, type=int), 1000))
    with transaction(house().sessions) as session:
        rows = decisions.decisions_on_record(session, wanted, page=page)
        people = decisions.deciders(session)
    return render_template(
        "moderation/record.html",
        rows=rows[: decisions.PAGE],
        has_more=len(rows) > decisions.PAGE,
        page=page,
        people=people,
        wanted=wanted,
        actions=ACTION_WORDS,
        reasons=REASON_WORDS,
        tell=_tell,
    )


@bp.post("/<uuid:decision_id>/reverse")
@requires("reverse")
def reverse(decision_id: uuid.UUID) -> WerkzeugResponse:
    """Take a decision back, whoever's it was."""
    reason, actor = request.form.get("reason", ""), current_actor()
    try:
        with transaction(house().sessions) as session:
            reversal.reverse(session, decision_id, reason, settings=house().settings, actor=actor, now=utc_now())
        flash(gettext("已推翻。上报或事件回到原来的样子，相关的部门和上报人会知道。"), "success")
    except Invalid:
        flash(gettext("请选择理由。"), "error")
    except Conflict as conflict:
        if conflict.error_code not in CONFLICTS:
            raise
        words = OWN_WORDS.get(conflict.error_code) or WORDS[conflict.error_code]
        action = ACTION_WORDS.get(conflict.facts.get("action", ""), "")
        flash(str(words).replace("%(action)s", str(action)), "warning")
    return redirect(url_for("record.show"), code=303)


def _wanted() -> decisions.Wanted:
    """What is looked for; what cannot be read is not looked for."""
    person, action, code, day = (request.args.get(name, "").strip() for name in ("person", "action", "code", "day"))
    try:
        person_id = uuid.UUID(person) if person else None
    except ValueError:
        person_id = None
    try:
        on = date.fromisoformat(day) if day else None
    except ValueError:
        on = None
    return decisions.Wanted(person_id, action if action in ACTIONS else None, code.upper()[:9] or None, on)


def _tell(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What a decision keeps of before or after, in words; ids say nothing to anybody and are left out."""
    told = []
    for name, value in facts.items():
        if value is None or name not in _TOLD:
            continue
        words, of_values = _TOLD[name]
        told.append((str(words), str(of_values.get(value, value)) if of_values else str(value)))
    return told


_TOLD: dict[str, tuple[Any, dict[Any, Any] | None]] = {
    "state": (_l("状态"), REPORT_STATE_WORDS | INCIDENT_STATE_WORDS),
    "severity": (_l("等级"), SEVERITY_WORDS),
    "graded_severity": (_l("评定的等级"), SEVERITY_WORDS),
    "given": (_l("给出的等级"), SEVERITY_WORDS),
    "kind": (_l("类型"), REPORT_KIND_WORDS),
    "code": (_l("理由"), REFUSAL_WORDS),
    "point": (_l("位置"), None),
    "reason": (_l("理由"), None),
    "action": (_l("决定"), ACTION_WORDS),
}
