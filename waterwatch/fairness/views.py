"""Judging blind, training, and the lead's page on how alike judgements are."""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.fairness import forms, queries, rules, service
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid, NotFound
from waterwatch.photos.queries import redactable
from waterwatch.reports import queries as reports
from waterwatch.reports.rules import is_photo_time_doubtful, is_place_doubtful, photo_age
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.people import current_actor
from waterwatch.web.pictures import conceals
from waterwatch.web.words import EXTENT_WORDS, KIND_WORDS, RECEPTOR_WORDS, REPORT_KIND_WORDS, SEVERITY_WORDS

bp = Blueprint("fairness", __name__, url_prefix="/desk", template_folder="templates")

WINDOW = timedelta(days=365)  # what the lead's page looks back on
EXAMPLES = 10
OUTCOME_WORDS = {0: _l("退回")} | SEVERITY_WORDS
ERROR_WORDS = {
    "missing": _l("请选择一项。"),
    "choice_unknown": _l("请从列表里选择。"),
    "too_long": _l("写得太长了，请写短一些。"),
    "departure_needs_reason": _l("等级与评分表的建议不同，请写明理由（至少三个字）。"),
    "report_unknown": _l("没有这个编号的上报。"),
    "not_decided": _l("只有已经受理或退回、内容还在的污染上报可以用来训练。"),
    "explanation_missing": _l("请写明为什么应当这样评（至少三个字）。"),
}


@bp.get("/blind/")
@requires("review")
def blind() -> str:
    """How many reports wait for a second judgement by whoever asks, and what that is."""
    with transaction(house().sessions) as session:
        waiting = queries.waiting_for(session, _person_id(), now=utc_now())
    return render_template("fairness/blind.html", waiting=waiting)


@bp.post("/blind/next")
@requires("review")
def claim() -> WerkzeugResponse:
    """Take the longest waiting one."""
    with transaction(house().sessions) as session:
        found = service.claim(session, _person_id(), settings=house().settings, now=utc_now())
    if found is None:
        flash(gettext("没有等待盲评的上报。"), "success")
        return redirect(url_for("fairness.blind"), code=303)
    return redirect(url_for("fairness.judge", blind_review_id=found), code=303)


@bp.get("/blind/<uuid:blind_review_id>")
@requires("review")
def judge(blind_review_id: uuid.UUID) -> str:
    """What the report shows, and nothing of what became of it."""
    return _blind_page(blind_review_id, {}, {})


@bp.post("/blind/<uuid:blind_review_id>")
@requires("review")
def record(blind_review_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """Keep the second judgement; nothing else changes."""
    try:
        answer = forms.parse_answer(request.form)
        with transaction(house().sessions) as session:
            service.record_second(session, blind_review_id, answer, actor=current_actor(), now=utc_now())
    except Invalid as error:
        return _blind_page(blind_review_id, request.form, error.errors), 400
    flash(gettext("已记下你的盲评。它不改变任何结果，只用来比较评级的一致程度。"), "success")
    return redirect(url_for("fairness.blind"), code=303)


@bp.get("/training/")
@requires("review")
def training() -> str | WerkzeugResponse:
    """The next case to train by; after the last one, how alike one judges to the reference."""
    with transaction(house().sessions) as session:
        following = queries.next_case(session, _person_id())
        answered = queries.answered(session, _person_id())
        left = queries.cases_left(session, _person_id())
    if following is not None and "summary" not in request.args:
        return redirect(url_for("fairness.train", case_id=following))
    return render_template(
        "fairness/training.html",
        answered=answered,
        left=left,
        agreement=rules.agreement((one.outcome, one.reference_outcome) for one in answered),
        outcomes=OUTCOME_WORDS,
        kinds=REPORT_KIND_WORDS,
    )


@bp.get("/training/<uuid:case_id>")
@requires("review")
def train(case_id: uuid.UUID) -> str:
    """A case: the form before, reference and explanation after one has answered."""
    return _training_page(case_id, {}, {})


@bp.post("/training/<uuid:case_id>")
@requires("review")
def answer(case_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """Keep the first answer and show the reference."""
    try:
        given = forms.parse_answer(request.form, is_reason_asked=False)
        with transaction(house().sessions) as session:
            is_first = service.answer_case(session, case_id, given, actor=current_actor(), now=utc_now())
    except Invalid as error:
        return _training_page(case_id, request.form, error.errors), 400
    if not is_first:
        flash(gettext("你答过这一题了，以第一次为准。"), "info")
    return redirect(url_for("fairness.train", case_id=case_id), code=303)


@bp.get("/fairness/")
@requires("reverse")
def overview() -> str:
    """How alike the moderators judge, where they differ, and what to talk about."""
    return _overview_page({}, {})


@bp.post("/fairness/cases")
@requires("reverse")
def add_case() -> WerkzeugResponse | tuple[str, int]:
    """Let moderators train by a decided report."""
    try:
        case = forms.parse_case(request.form)
        with transaction(house().sessions) as session:
            report_id = reports.report_id_by_code(session, case.code)
            if report_id is None:
                raise Invalid({"code": ["report_unknown"]})
            service.add_case(session, report_id, case.outcome, case.explanation, actor=current_actor(), now=utc_now())
    except Invalid as error:
        return _overview_page(request.form, error.errors), 400
    except Conflict as conflict:
        return _overview_page(request.form, {"code": [conflict.error_code]}), 400
    flash(gettext("已加入训练题。"), "success")
    return redirect(url_for("fairness.overview", _anchor="training"), code=303)


@bp.post("/fairness/cases/<uuid:case_id>/retire")
@requires("reverse")
def retire_case(case_id: uuid.UUID) -> WerkzeugResponse:
    """Show a case to nobody any more who has not answered it."""
    with transaction(house().sessions) as session:
        service.retire_case(session, case_id, actor=current_actor(), now=utc_now())
    return redirect(url_for("fairness.overview", _anchor="training"), code=303)


def _blind_page(blind_review_id: uuid.UUID, fields: Mapping[str, str], errors: Mapping[str, list[str]]) -> str:
    with transaction(house().sessions) as session:
        report_id = queries.lent_report(session, blind_review_id, _person_id())
        if report_id is None:
            raise Conflict("lease_lost")
        evidence = _evidence(session, report_id)
    action = url_for("fairness.record", blind_review_id=blind_review_id)
    return render_template("fairness/judge.html", action=action, **evidence, **_form(fields, errors))


def _training_page(case_id: uuid.UUID, fields: Mapping[str, str], errors: Mapping[str, list[str]]) -> str:
    with transaction(house().sessions) as session:
        given = queries.answered(session, _person_id(), case_id)
        report_id = given[0].report_id if given else queries.case_report(session, case_id)
        if report_id is None:
            raise NotFound("case_unknown")
        evidence = _evidence(session, report_id)
        left = queries.cases_left(session, _person_id())
    return render_template(
        "fairness/train.html",
        action=url_for("fairness.answer", case_id=case_id),
        given=given[0] if given else None,
        left=left,
        outcomes=OUTCOME_WORDS,
        **evidence,
        **_form(fields, errors),
    )


def _evidence(session: Session, report_id: uuid.UUID) -> dict[str, Any]:
    """What a report itself shows and says. Its code, state and incident are not for the page."""
    facts = reports.review_facts(session, report_id)
    covered = redactable(session, [photo.photo_id for photo in facts.photos])
    numbers = {photo.photo_id: number for number, photo in enumerate(facts.photos, start=1)}
    claims = [
        {
            "number": numbers[one.photo_id],
            "distance_m": one.distance_m,
            "is_far": is_place_doubtful(one.distance_m),
            "taken_at": (one.taken_at_local or "").replace("T", " "),
            "is_old": is_photo_time_doubtful(photo_age(one.taken_at_local, facts.received_at)),
        }
        for one in reports.photo_evidence(session, report_id)
    ]
    return {
        "facts": facts,
        "claims": claims,
        "versions": {key: one.version for key, one in covered.items()},
        "is_concealed": conceals(facts.kind, facts.has_dead_animals),
    }


def _form(fields: Mapping[str, str], errors: Mapping[str, list[str]]) -> dict[str, Any]:
    return {
        "fields": fields,
        "errors": errors,
        "error_words": {name: [ERROR_WORDS[code] for code in codes] for name, codes in errors.items()},
        "kinds": KIND_WORDS,
        "report_kinds": REPORT_KIND_WORDS,
        "severities": SEVERITY_WORDS,
        "extents": EXTENT_WORDS,
        "receptors": RECEPTOR_WORDS,
    }


def _overview_page(fields: Mapping[str, str], errors: Mapping[str, list[str]]) -> str:
    now = utc_now()
    since, until = now - WINDOW, now + timedelta(seconds=1)
    with transaction(house().sessions) as session:
        pairs = queries.pairs(session, since=since, until=until)
        departures = queries.departures(session, since=since, until=until)
        cases, answers = queries.cases(session), queries.answers_by_person(session)
        judges = {person_id for pair in pairs for person_id in pair.people}
        names = queries.addresses_of(session, judges | set(departures) | set(answers))
        differing = [pair for pair in sorted(pairs, key=lambda pair: -pair.distance) if pair.distance][:EXAMPLES]
        codes = queries.codes_of(session, [pair.report_id for pair in differing])
    by_kind = rules.agreement_by(pairs, lambda pair: pair.kind)
    return render_template(
        "fairness/overview.html",
        whole=rules.agreement((pair.first_outcome, pair.second_outcome) for pair in pairs),
        by_people=_by_people(rules.agreement_by(pairs, lambda pair: pair.people), names),
        by_kind=[(words, by_kind[kind]) for kind, words in KIND_WORDS.items() if kind in by_kind],
        by_month=list(rules.agreement_by(pairs, lambda pair: pair.month).items()),
        moderators=_moderators(names, pairs, departures),
        examples=[(pair, codes.get(pair.report_id)) for pair in differing],
        names=names,
        cases=cases,
        trained=[
            (name, rules.agreement(answers[person_id])) for person_id, name in names.items() if person_id in answers
        ],
        outcomes=OUTCOME_WORDS,
        least=rules.MIN_PAIRS,
        **_form(fields, errors),
    )


def _by_people(
    found: Mapping[tuple[uuid.UUID, uuid.UUID], rules.Agreement], names: Mapping[uuid.UUID, str]
) -> list[tuple[str, rules.Agreement]]:
    """Pairs of moderators by their names in alphabetical order, never by how well they agree."""
    named = [
        (" · ".join(sorted(names.get(person_id, "—") for person_id in people)), agreement)
        for people, agreement in found.items()
    ]
    return sorted(named, key=lambda one: one[0])


def _moderators(
    names: Mapping[uuid.UUID, str], pairs: list[rules.Pair], departures: Mapping[uuid.UUID, queries.Departures]
) -> list[dict[str, Any]]:
    """Each moderator's departures from the rubric and from the others, in alphabetical order."""
    return [
        {
            "name": name,
            "departures": given,
            "rubric": rules.mean_difference(given.differences),
            "judged_twice": len(others),
            "others": rules.mean_difference(others),
        }
        for person_id, name in names.items()
        for given in (departures.get(person_id, queries.Departures(person_id, {})),)
        for others in (rules.against_others(pairs, person_id),)
        if given.graded or others
    ]


def _person_id() -> uuid.UUID:
    person_id = current_actor().id
    assert person_id is not None, "guards let only signed-in people in"
    return person_id
