"""The administrator's pages about who is told: the table of rules, the box that asks, the report of what is lacking."""

import csv
import io
import uuid
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.agencies import competence, coverage, registry
from waterwatch.agencies.tables import AGENCY_LEVELS, OBSERVATION_KINDS, OFFICE_KINDS
from waterwatch.directory import forms, showing, words
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid, NotFound
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language
from waterwatch.web.people import current_actor

bp = Blueprint("directory", __name__, url_prefix="/admin", template_folder="templates")
PROVINCE_DIGITS = 2


@bp.get("/")
@requires("administer")
def home() -> WerkzeugResponse:
    """Where the administrator begins: the box."""
    return redirect(url_for("directory.who"))


@bp.get("/rules")
@requires("administer")
def rules() -> str:
    """The table of rules, a form for one more, and what was in force before."""
    with transaction(house().sessions) as session:
        edited = registry.rules_by_id(session, _ids(request.args.get("edit")), lang=viewer_language())
    rule = next((one for one in edited.values() if one.retired_at is None), None)
    return _rules_page(_fields_of(rule) if rule else {}, {}, {})


@bp.post("/rules/preview")
@requires("administer")
def preview_rule() -> str | tuple[str, int]:
    """What a rule would change, before anything is changed."""
    replaces = next(iter(_ids(request.form.get("replaces"))), None)
    try:
        with transaction(house().sessions) as session:
            rule = _rule(session, request.form)
            found = competence.preview(session, rule, replaces=replaces, actor=current_actor(), now=utc_now())
            names = _names(session, found)
    except Invalid as error:
        return _rules_page(request.form, error.errors, error.facts), 400
    except (Conflict, NotFound) as error:
        return _rules_page(request.form, {"area": [error.error_code]}, {}), 400
    fields = request.form.to_dict() | {"area": rule.area_code or "", "replaces": replaces or ""}
    return _preview_page("set", rule, fields, found, names)


@bp.post("/rules")
@requires("administer")
def set_rule() -> WerkzeugResponse | tuple[str, int]:
    """Put a rule in force; what follows from it follows in the same transaction."""
    replaces = next(iter(_ids(request.form.get("replaces"))), None)
    try:
        with transaction(house().sessions) as session:
            rule = _rule(session, request.form)
            competence.set_rule(session, rule, replaces=replaces, actor=current_actor(), now=utc_now())
    except Invalid as error:
        return _rules_page(request.form, error.errors, error.facts), 400
    except (Conflict, NotFound) as error:
        return _rules_page(request.form, {"area": [error.error_code]}, {}), 400
    flash(gettext("规则已生效。新的事件按它转交。"), "success")
    return redirect(url_for("directory.rules"), code=303)


@bp.post("/rules/<uuid:rule_id>/preview")
@requires("administer")
def preview_removal(rule_id: uuid.UUID) -> str:
    """What would change without a rule."""
    with transaction(house().sessions) as session:
        found = competence.preview(session, None, replaces=rule_id, actor=current_actor(), now=utc_now())
        rule, names = competence.said_by(session, rule_id), _names(session, found)
    return _preview_page("remove", rule, {"rule_id": rule_id}, found, names)


@bp.post("/rules/<uuid:rule_id>/remove")
@requires("administer")
def remove_rule(rule_id: uuid.UUID) -> WerkzeugResponse:
    """Take a rule out of force; it stays in the history, from where it can be restored."""
    with transaction(house().sessions) as session:
        competence.remove_rule(session, rule_id, actor=current_actor(), now=utc_now())
    flash(gettext("规则已停用。要撤销，可在下面的历史里恢复。"), "success")
    return redirect(url_for("directory.rules", _anchor="history"), code=303)


@bp.post("/rules/<uuid:rule_id>/restore")
@requires("administer")
def restore_rule(rule_id: uuid.UUID) -> WerkzeugResponse:
    """Put a rule of the past in force again, in the place of what decides about the same now."""
    try:
        with transaction(house().sessions) as session:
            competence.restore_rule(session, rule_id, actor=current_actor(), now=utc_now())
        flash(gettext("规则已恢复。"), "success")
    except Conflict:
        flash(gettext("完全一样的规则已经有了。"), "warning")
    return redirect(url_for("directory.rules"), code=303)


@bp.get("/who")
@requires("administer")
def who() -> str | tuple[str, int]:
    """Who would get this? The same code as routing, and why, and why not."""
    try:
        asked = forms.parse_question(request.args)
    except Invalid as error:
        return _who_page(None, None, [], error.errors), 400
    with transaction(house().sessions) as session:
        found = showing.find_places(session, asked.words) if asked.words and asked.place is None else []
        answer = showing.answer(session, asked, lang=viewer_language()) if asked.place is not None else None
    return _who_page(asked, answer, found, {})


@bp.get("/coverage")
@requires("administer")
def cover() -> str:
    """What is lacking: the country by province, a province by county."""
    prefix = request.args.get("in", "")
    prefix = prefix if len(prefix) == PROVINCE_DIGITS and prefix.isascii() and prefix.isdigit() else ""
    with transaction(house().sessions) as session:
        counties = coverage.coverage(session, prefix=prefix or None, lang=viewer_language())
        lacking = [county.code for county in counties if county.lacking] if prefix else []
        waters = coverage.waters_in(session, lacking, lang=viewer_language())
    return render_template(
        "directory/coverage.html",
        prefix=prefix,
        counties=counties,
        by_province=coverage.by_province(counties),
        waters=waters,
        kinds=OBSERVATION_KINDS,
        words=words,
    )


@bp.get("/coverage.csv")
@requires("administer")
def cover_csv() -> Response:
    """The same as a table: a row a county, a column a kind of observation."""
    sheet = io.StringIO()
    with transaction(house().sessions) as session:
        lang = viewer_language()
        counties = coverage.coverage(session, lang=lang)
        waters = coverage.waters_in(session, [one.code for one in counties if one.lacking], lang=lang)
    csv.writer(sheet).writerows(coverage.sheet_rows(counties, waters))
    headers = {"Content-Disposition": "attachment; filename=coverage.csv"}
    return Response("\ufeff" + sheet.getvalue(), mimetype="text/csv", headers=headers)


def _rule(session: Any, fields: Mapping[str, str]) -> competence.Rule:
    """The rule of a form, every error of form and area at once. Raises :class:`Invalid`."""
    errors: dict[str, list[str]] = {}
    facts: dict[str, Any] = {}
    area = None
    try:
        area = showing.read_area(session, fields.get("area", ""))
    except Invalid as error:
        errors, facts = error.errors, error.facts
    try:
        rule = forms.parse_rule(fields, area)
    except Invalid as error:
        raise Invalid(error.errors | errors, **facts) from None
    if errors:
        raise Invalid(errors, **facts)
    return rule


def _ids(given: str | None) -> list[uuid.UUID]:
    try:
        return [uuid.UUID(given)] if given else []
    except ValueError:
        return []


def _names(session: Any, found: tuple[competence.Change, ...]) -> dict[uuid.UUID, str]:
    wanted = {agency_id for change in found for agency_id in change.sample}
    rows = registry.agencies_with_those_above(session, wanted, lang=viewer_language())
    return {agency_id: rows[agency_id].name or rows[agency_id].code for agency_id in wanted}


def _fields_of(rule: registry.RuleView) -> dict[str, str]:
    return {
        "area": rule.area_code or "",
        "agency_kind": rule.agency_kind,
        "level": rule.level or "",
        "observation_kind": rule.observation_kind or "",
        "min_severity": str(rule.min_severity),
        "is_competent": "yes" if rule.is_competent else "no",
        "replaces": str(rule.rule_id),
    }


def _rules_page(fields: Mapping[str, str], errors: Mapping[str, list[str]], facts: Mapping[str, Any]) -> str:
    with transaction(house().sessions) as session:
        in_force = registry.rules_in_force(session, lang=viewer_language())
        past = registry.rules_of_the_past(session, lang=viewer_language())
    return render_template(
        "directory/rules.html",
        in_force=in_force,
        past=past,
        fields=fields,
        error_words=words.said(errors),
        ambiguous=facts.get("areas", []),
        kinds=OFFICE_KINDS,
        levels=AGENCY_LEVELS,
        observations=OBSERVATION_KINDS,
        words=words,
    )


def _preview_page(
    act: str,
    rule: competence.Rule,
    fields: Mapping[str, Any],
    found: tuple[competence.Change, ...],
    names: Mapping[uuid.UUID, str],
) -> str:
    return render_template(
        "directory/preview.html", act=act, rule=rule, fields=fields, changes=found, names=names, words=words
    )


def _who_page(
    asked: forms.Question | None,
    answer: showing.Answer | None,
    found: list[showing.FoundPlace],
    errors: Mapping[str, list[str]],
) -> str:
    return render_template(
        "directory/who.html",
        asked=asked,
        answer=answer,
        found=found,
        fields=request.args,
        error_words=words.said(errors),
        observations=OBSERVATION_KINDS,
        words=words,
    )
