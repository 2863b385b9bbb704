"""What the pages of a case show, put together for the desk and for whoever holds a letter's link, and their words."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Response
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from sqlalchemy.orm import Session

from waterwatch.accounts.queries import officers_of
from waterwatch.advisories import telling
from waterwatch.agencies.queries import river_chiefs_at
from waterwatch.casework import queries as casework
from waterwatch.escalation.queries import CaseFacts, case_facts
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.errors import NotFound
from waterwatch.officers import case_queries, forms, queries, rules
from waterwatch.officers.queries import Office
from waterwatch.photos.views import serve_derivative
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language
from waterwatch.web.windows import window_words

STAGE_WORDS = {
    "acknowledge": _l("确认收到"),
    "answer": _l("答复"),
    "finish": _l("办结"),
}
# The states as the agency itself reads them; the public's words are in ``web.words``.
CASE_STATE_WORDS = {
    "queued": _l("正在送达"),
    "delivered": _l("等待确认"),
    "acknowledged": _l("已确认，待答复"),
    "answered": _l("已答复，待办结"),
    "closed": _l("称已处理完"),
    "no_contact": _l("没有可用的联系方式"),
    "refused_not_ours": _l("不归我们管，已转走"),
    "dead": _l("信没有送到"),
    "withdrawn": _l("已撤回"),
}
BUCKET_WORDS = {
    "open": _l("全部待办"),
    "acknowledge": _l("待确认"),
    "answer": _l("待答复"),
    "finish": _l("待办结"),
    "overdue": _l("已逾期"),
    "done": _l("已办结"),
    "refused": _l("不归我们管"),
    "withdrawn": _l("已撤回"),
    "ended": _l("事件已结束"),
}
VIA_WORDS = {
    "link": _l("通过邮件里的链接"),
    "desk": _l("在工作台"),
    "email": _l("回复邮件"),
    "open311": _l("由部门的系统"),
    "api": _l("由部门的系统"),
}
ANSWER_KIND_WORDS = {
    "answer": _l("答复"),
    "done": _l("已处理完"),
    "not_ours": _l("不归我们管"),
    "comment": _l("补充说明"),
}
ANSWER_STATE_WORDS = {
    "held": _l("等本站核对后公开"),
    "published": _l("已公开"),
    "withheld": _l("没有公开"),
}
WITHHELD_WORDS = {
    "personal_data": _l("含有个人信息"),
    "not_an_answer": _l("不是答复"),
    "not_from_the_agency": _l("不能确认来自贵单位"),
    "abuse": _l("不当内容"),
    "other": _l("其他原因"),
}
CHANNEL_WORDS = {
    "email": _l("电子邮件"),
    "webhook": _l("系统接口"),
    "open311": "Open311",
    "cap_feed": _l("CAP 订阅"),
    "post": _l("纸质信函"),
}
SAYS_WORDS = {
    "case": _l("转办"),
    "lowered": _l("等级更正"),
    "withdrawn": _l("撤回"),
    "reminder": _l("提醒"),
    "overdue": _l("逾期通报"),
    "reopened": _l("重新打开"),
    "warning": _l("下游预警"),
    "warning_over": _l("下游预警结束"),
}
DELIVERY_WORDS = {
    "pending": _l("等待发出"),
    "sending": _l("正在发出"),
    "sent": _l("已送达"),
    "awaiting": _l("已交出，等对方接收"),
    "refused": _l("被退回"),
    "dead": _l("没有送到"),
}
# What a case's history tells; what is not here is told by another line or by the answers themselves.
ACTION_WORDS = {
    "case.opened": _l("转给贵单位"),
    "case.assigned": _l("转给贵单位"),
    "case.queued": _l("重新转交"),
    "case.delivered": _l("送达"),
    "case.acknowledged": _l("确认收到"),
    "case.answered": _l("答复"),
    "case.closed": _l("称已处理完"),
    "case.refused_not_ours": _l("称不归贵单位管"),
    "case.withdrawn": _l("本站撤回"),
    "case.reinstated": _l("撤回取消，恢复原状"),
    "case.regraded": _l("等级改变"),
    "case.warning_over": _l("下游预警结束"),
    "case.ended": _l("事件结束，不再计算期限"),
    "case.resumed": _l("事件没有结束，期限继续"),
    "case.reopened": _l("公众的照片显示没有干净，重新打开"),
    "case.reminded": _l("提醒：期限将到"),
    "case.overdue": _l("逾期，已告知上级单位"),
    "case.supervision_ended": _l("下级单位已补办，不再督办"),
    "case.staffed": _l("内部分派"),
    "case.unstaffed": _l("内部分派结束"),
    "case.noted": _l("写了内部备注"),
    "case.dead": _l("没有送到，转人工处理"),
    "case.no_contact": _l("没有可用的联系方式"),
    "answer.published": _l("答复公开"),
    "answer.withheld": _l("答复没有公开"),
}
ERROR_WORDS = {
    "words_missing": _l("请写几句话。"),
    "words_too_long": _l("太长了，请写短一些。"),
    "date_malformed": _l("请选择日期，例如 2026-05-30。"),
    "date_past": _l("计划日期不能早于今天。"),
    "date_far": _l("计划日期太远了。"),
    "photo_too_many": _l("照片太多，最多 6 张。"),
    "photo_too_large": _l("有照片太大。请选择小一些的照片，其他内容都已保留。"),
    "photo_empty": _l("有照片是空文件。请重新选择。"),
    "photos_too_large": _l("照片合起来太大了，没有送出。请少选几张或选小一些的，其他内容都已保留。"),
    "photo_choose_again": _l("请重新选择照片：浏览器不会替网页记住文件，其他内容都已保留。"),
    "choice_unknown": _l("请从列表里选择。"),
    "assignee_missing": _l("请选择一位同事，或写一个科室。"),
    "nothing_chosen": _l("请先勾选要确认的案件。"),
    "too_many_chosen": _l("一次最多确认 100 件。"),
    "missing": _l("请写几句话。"),
    "too_many": _l("照片太多，最多 6 张。"),
    "out_of_range": _l("请选择今天以后五年以内的日期。"),
    "email_invalid": _l("请填写正确的邮箱地址，例如 wang@example.org。"),
    "password_too_short": _l("密码至少要 12 个字符。"),
    "time_malformed": _l("请写时间，例如 09:00。"),
    "case_moved": _l("你填写的时候，这件案子的状态变了。你写的都还在，请看过下面的现状再决定。"),
}


@dataclass(frozen=True)
class Asked:
    """What somebody has just tried to say: which form, what they typed, what was wrong with it."""

    form: str = ""
    fields: Mapping[str, str] | None = None
    errors: Mapping[str, list[str]] | None = None

    def sentences(self) -> dict[str, list[str]]:
        """The faults in words, by field."""
        return {name: [str(ERROR_WORDS[code]) for code in codes] for name, codes in (self.errors or {}).items()}

    def by_place(self) -> dict[str, list[str]]:
        """The same by the id of the field it is about, for the top of the page. That it moved has its own notice."""
        found: dict[str, list[str]] = {}
        for name, sentences in self.sentences().items():
            if "case_moved" not in (self.errors or {})[name]:
                found.setdefault(_PLACES.get((self.form, name), f"{self.form}-{name}"), []).extend(sentences)
        return found


# Where a fault is mended that is not called as its field is.
_PLACES = {
    ("not_ours", "words"): "not_ours-reason",
    ("not_ours", "suggested_agency"): "not_ours-agency_id",
    ("assign", "person_id"): "assign-person",
    ("note", "note"): "note",
    ("answer", "key"): "say-answer",
    ("done", "key"): "say-done",
    ("comment", "key"): "say-comment",
}


def case_page(
    session: Session, case_id: uuid.UUID, *, now: datetime, is_own: bool, asked: Asked | None = None
) -> dict[str, Any]:
    """Everything an agency may know of a case, for both pages. ``is_own`` False: an agency above looks at it."""
    language = viewer_language()
    facts = case_facts(session, case_id, language=language)
    if facts.agency_id is None:
        raise NotFound("case_not_found")
    dates = case_queries.dates_of(session, case_id, language=language)
    can_answer = rules.can_answer(facts.state, is_own=is_own)
    stage = _stage(facts.state)
    return {
        "facts": facts,
        "warned": expected_rows(facts, language),
        "dates": dates,
        "photos": case_queries.photos_of(session, case_id),
        "answers": casework.answers_of_case(session, case_id, language=language),
        "others": case_queries.others_near(session, case_id, language=language) if can_answer else [],
        "stage": stage,
        "due": rules.due(
            facts.state_deadline_at if facts.state in rules.RUNNING and dates.incident_closed_at is None else None,
            facts.delivered_at or facts.created_at,
            now=now,
        ),
        "can_acknowledge": rules.can_acknowledge(facts.state, is_own=is_own),
        "sure": _sure(facts, language),
        "can_answer": can_answer and facts.warned is None,
        "can_comment": rules.can_comment(facts.state, is_own=is_own) or (can_answer and facts.warned is not None),
        "is_own": is_own,
        "asked": asked or Asked(),
        "now": now,
        **case_words(),
    }


def _sure(facts: CaseFacts, language: str) -> str:
    if facts.warned is None:
        return ""
    has_magnitudes = telling.has_magnitudes(facts.warned.segments)
    return telling.how_sure(
        facts.kind, is_timed=facts.warned.is_timed, has_magnitudes=has_magnitudes, language=language
    )


def expected_rows(facts: CaseFacts, language: str) -> list[dict[str, Any]] | None:
    """What is expected in the agency's area, stretch by stretch; None for a case of its own."""
    if facts.warned is None:
        return None
    now = utc_now()
    return [
        {
            "water": telling.name_of(one, language),
            "from_km": f"{one.from_km:.0f}",
            "until_km": f"{one.until_km:.0f}",
            "window": window_words(one.window.earliest, one.window.probable, language, now=now),
            "passage": telling.passage_words(one.passage_s, language),
            "peak": telling.peak_line(one.unit_peak, language),
            "marks": telling.marks_of(one, language),
        }
        for one in facts.warned.segments
    ]


def desk_page(
    session: Session, office: Office, case_id: uuid.UUID, *, now: datetime, is_own: bool, asked: Asked | None = None
) -> dict[str, Any]:
    """The same with what is the agency's own: who works on it, notes, history, letters, river chiefs."""
    shown = case_page(session, case_id, now=now, is_own=is_own, asked=asked)
    facts, dates = shown["facts"], shown["dates"]
    chiefs = river_chiefs_at(
        session, dates.water_body_id, dates.water_feature_id, facts.lon, facts.lat, lang=viewer_language()
    )
    colleagues = officers_of(session, office.code) if is_own else []
    return shown | {
        "office": office,
        "chiefs": chiefs,
        "working": case_queries.working_on(session, case_id),
        "history": case_queries.history(session, case_id, is_own=is_own),
        "letters": case_queries.letters_of(session, case_id) if is_own else [],
        "notes": case_queries.notes_of(session, case_id) if is_own else [],
        "colleagues": colleagues,
        "addresses": {one.person_id: one.email for one in colleagues},
        "known_offices": case_queries.known_offices(session, office.agency_id) if is_own else [],
    }


def case_words() -> dict[str, Any]:
    """The words of codes both pages need."""
    return {
        "case_state_words": CASE_STATE_WORDS,
        "stage_words": STAGE_WORDS,
        "via_words": VIA_WORDS,
        "answer_kinds": ANSWER_KIND_WORDS,
        "answer_states": ANSWER_STATE_WORDS,
        "withheld_words": WITHHELD_WORDS,
        "channel_words": CHANNEL_WORDS,
        "says_words": SAYS_WORDS,
        "delivery_words": DELIVERY_WORDS,
        "action_words": ACTION_WORDS,
        "photos_per_answer": forms.PHOTOS_PER_ANSWER,
        "answers_are_checked": house().settings.answers_are_checked,
        "new_key": lambda: str(uuid.uuid4()),
        "words_max": forms.WORDS_MAX_CHARACTERS,
    }


def own_office(session: Session) -> Office:
    """The agency of whoever is signed in. Raises :class:`NotFound` ``office_unknown``."""
    return queries.office_of(session, current_user.id, language=viewer_language())


def picture(session: Session, case_id: uuid.UUID, photo_id: uuid.UUID) -> None:
    """Raises :class:`NotFound` unless the photo belongs to the case."""
    if not case_queries.has_photo(session, case_id, photo_id):
        raise NotFound("photo_not_found")


def serve_picture(photo_id: uuid.UUID, size_px: int) -> Response:
    """A rebuilt picture, kept by no cache but the reader's own and not for long: it may be covered anew."""
    return serve_derivative(photo_id, size_px, cache_control="private, max-age=60")


def said_words(kind: str) -> str:
    """What the page says once something was said."""
    return str(_SAID_WORDS[kind])


_SAID_WORDS = {
    "answer": _l("答复已收到。"),
    "comment": _l("补充说明已收到。"),
    "done": _l("已收到：贵单位称已处理完。上报人会收到通知，由公众的照片核实水面是否干净。"),
    "not_ours": _l("已登记：不归贵单位管。我们会转给负责的单位；写的理由已记录在案。"),
}


def _stage(state: str) -> str | None:
    if state in rules.TO_ACKNOWLEDGE:
        return "acknowledge"
    if state in rules.TO_ANSWER:
        return "answer"
    return "finish" if state in rules.TO_FINISH else None
