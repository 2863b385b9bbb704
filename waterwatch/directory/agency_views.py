"""The administrator's pages of agencies: the tree, one agency, how it is reached, a letter to try that."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from waterwatch.agencies import competence, registry, upkeep
from waterwatch.agencies.tables import AGENCY_KINDS, AGENCY_LEVELS, CHANNELS, OBSERVATION_KINDS
from waterwatch.directory import forms, showing, trial, words
from waterwatch.escalation.links import feed_token
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language
from waterwatch.web.people import current_actor

bp = Blueprint("agencies", __name__, url_prefix="/admin", template_folder="templates")
PAGE = 100


@bp.get("/agencies")
@requires("administer")
def tree() -> str:
    """The roots of the tree, or what was looked for."""
    sought, page = _sought(), max(1, min(request.args.get("page", 1, type=int), 1000))
    lang, offset = viewer_language(), (page - 1) * PAGE
    area_words, errors = request.args.get("area", ""), {}
    with transaction(house().sessions) as session:
        try:
            area = showing.read_area(session, area_words)
        except Invalid as error:
            area, errors = None, error.errors
        wanted = registry.Sought(sought.words, sought.kind, area, sought.is_retired)
        is_tree = wanted == registry.Sought()
        look = registry.top_agencies if is_tree else lambda s, **how: registry.agencies_found(s, wanted, **how)
        rows = look(session, lang=lang, limit=PAGE + 1, offset=offset)
    shown = {"rows": rows[:PAGE], "has_more": len(rows) > PAGE, "page": page, "is_tree": is_tree, "sought": wanted}
    return render_template(
        "directory/agencies.html",
        **shown,
        area=area_words,
        error_words=words.said(errors),
        kinds=AGENCY_KINDS,
        words=words,
    )


@bp.get("/agencies/new")
@requires("administer")
def new() -> str:
    """The form for one more."""
    return _form_page(request.args, {}, {})


@bp.post("/agencies")
@requires("administer")
def add() -> Response | tuple[str, int]:
    """One more agency."""
    try:
        with transaction(house().sessions) as session:
            facts = _facts(session, None)
            agency_id = upkeep.add_agency(session, facts, actor=current_actor(), now=utc_now())
    except Invalid as error:
        return _form_page(request.form, error.errors, error.facts), 400
    flash(gettext("部门已添加。请补上联系方式，否则什么也收不到。"), "success")
    return redirect(url_for("agencies.show", agency_id=agency_id), code=303)


@bp.get("/agencies/<uuid:agency_id>")
@requires("administer")
def show(agency_id: uuid.UUID) -> str:
    """One agency: whom it answers to and who to it, what it is told of, how it is reached."""
    return _agency_page(agency_id, {}, {})


@bp.post("/agencies/<uuid:agency_id>")
@requires("administer")
def change(agency_id: uuid.UUID) -> Response | tuple[str, int]:
    """Change what it is."""
    try:
        with transaction(house().sessions) as session:
            agency, _names = registry.agency_and_names(session, agency_id)
            facts = _facts(session, agency.code)
            upkeep.change_agency(session, agency_id, facts, actor=current_actor(), now=utc_now())
    except Invalid as error:
        return _agency_page(agency_id, request.form, error.errors, error.facts), 400
    flash(gettext("已保存。"), "success")
    return _back(agency_id)


@bp.post("/agencies/<uuid:agency_id>/retire")
@requires("administer")
def retire(agency_id: uuid.UUID) -> Response:
    """It is told of nothing new."""
    with transaction(house().sessions) as session:
        moved = upkeep.retire_agency(session, agency_id, actor=current_actor(), now=utc_now())
    flash(gettext("部门已停用，历史保留。有 %(count)s 个下级部门改归它的上级。", count=moved), "success")
    return _back(agency_id)


@bp.post("/agencies/<uuid:agency_id>/reinstate")
@requires("administer")
def reinstate(agency_id: uuid.UUID) -> Response:
    """It takes up work again."""
    with transaction(house().sessions) as session:
        upkeep.reinstate_agency(session, agency_id, actor=current_actor(), now=utc_now())
    flash(gettext("部门已恢复。"), "success")
    return _back(agency_id)


@bp.post("/agencies/<uuid:agency_id>/own")
@requires("administer")
def leave_to_rules(agency_id: uuid.UUID) -> Response:
    """It has no competence of its own any more."""
    with transaction(house().sessions) as session:
        competence.drop_own(session, agency_id, actor=current_actor(), now=utc_now())
    flash(gettext("这个部门现在只按规则收信。"), "success")
    return _back(agency_id)


@bp.post("/agencies/<uuid:agency_id>/contacts")
@requires("administer")
def add_contact(agency_id: uuid.UUID) -> Response | tuple[str, int]:
    """One more way to reach it. A secret made for it is shown on this answer, and never again."""
    how: dict[str, Any] = {"settings": house().settings, "actor": current_actor(), "now": utc_now()}
    try:
        facts = forms.parse_contact(request.form)
        with transaction(house().sessions) as session:
            contact_id, secret = upkeep.add_contact(session, agency_id, facts, **how)
    except Invalid as error:
        return _agency_page(agency_id, request.form | {"form": "contact"}, error.errors), 400
    if facts.channel in upkeep.MADE_BY_US:
        return _once(agency_id, contact_id, secret)
    flash(gettext("联系方式已添加。"), "success")
    return _back(agency_id)


@bp.post("/contacts/<uuid:contact_id>")
@requires("administer")
def change_contact(contact_id: uuid.UUID) -> Response | tuple[str, int]:
    """Another address, other settings. A secret made for another server is shown on this answer, and never again."""
    how: dict[str, Any] = {"settings": house().settings, "actor": current_actor(), "now": utc_now()}
    agency_id = _agency_of(contact_id)
    try:
        facts = forms.parse_contact(request.form)
        with transaction(house().sessions) as session:
            secret = upkeep.change_contact(session, contact_id, facts, **how)
    except Invalid as error:
        return _agency_page(agency_id, request.form | {"form": str(contact_id)}, error.errors), 400
    if secret is not None:
        return _once(agency_id, contact_id, secret)
    flash(gettext("已保存。"), "success")
    return _back(agency_id)


@bp.post("/contacts/<uuid:contact_id>/use")
@requires("administer")
def use_contact(contact_id: uuid.UUID) -> Response:
    """Write there again, or no more."""
    is_used = request.form.get("active") == "yes"
    return _do(contact_id, lambda session, **how: upkeep.use_contact(session, contact_id, is_used, **how))


@bp.post("/contacts/<uuid:contact_id>/prefer")
@requires("administer")
def prefer_contact(contact_id: uuid.UUID) -> Response:
    """Write there before the one before it."""
    return _do(contact_id, lambda session, **how: upkeep.prefer_contact(session, contact_id, **how))


@bp.post("/contacts/<uuid:contact_id>/rotate")
@requires("administer")
def rotate(contact_id: uuid.UUID) -> Response:
    """A new secret, shown on this answer and never again."""
    how: dict[str, Any] = {"settings": house().settings, "actor": current_actor(), "now": utc_now()}
    agency_id = _agency_of(contact_id)
    with transaction(house().sessions) as session:
        secret = upkeep.rotate_secret(session, contact_id, **how)
    return _once(agency_id, contact_id, secret)


@bp.post("/contacts/<uuid:contact_id>/test")
@requires("administer")
def try_contact(contact_id: uuid.UUID) -> Response:
    """Send a letter that says it is only a test."""
    agency_id = _agency_of(contact_id)
    try:
        with transaction(house().sessions) as session:
            trial.send(session, contact_id, settings=house().settings, actor=current_actor(), now=utc_now())
        flash(gettext("测试信已交给发信程序。请问对方是否收到；一分钟内只发一封。"), "success")
    except Conflict as conflict:
        flash(trial.REFUSED_WORDS[conflict.error_code], "warning")
    return _back(agency_id)


def _do(contact_id: uuid.UUID, act: Callable[..., object]) -> Response:
    agency_id = _agency_of(contact_id)
    with transaction(house().sessions) as session:
        act(session, actor=current_actor(), now=utc_now())
    return _back(agency_id)


def _agency_of(contact_id: uuid.UUID) -> uuid.UUID:
    with transaction(house().sessions) as session:
        return registry.locked_contact(session, contact_id).agency_id


def _back(agency_id: uuid.UUID) -> Response:
    return redirect(url_for("agencies.show", agency_id=agency_id), code=303)


def _once(agency_id: uuid.UUID, contact_id: uuid.UUID, secret: str | None) -> Response:
    """The page of the agency with a secret, or a feed's address, that nobody will see again; kept by no cache."""
    if secret is None:
        with transaction(house().sessions) as session:
            rotated_at = registry.locked_contact(session, contact_id).secret_rotated_at
        token = feed_token(house().settings, contact_id, rotated_at)
        secret = house().settings.public_url + url_for("cap.of_agency", token=token)
    answer = make_response(_agency_page(agency_id, {}, {}, {"secret": secret}))
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _facts(session: Session, code: str | None) -> upkeep.AgencyFacts:
    """The form of an agency, every error of form and area at once. Raises :class:`Invalid`."""
    errors: dict[str, list[str]] = {}
    facts: dict[str, Any] = {}
    area = None
    try:
        area = showing.read_area(session, request.form.get("area", ""))
    except Invalid as error:
        errors, facts = error.errors, error.facts
    try:
        found = forms.parse_agency(request.form, area, code=code)
    except Invalid as error:
        raise Invalid(error.errors | errors, **facts) from None
    return found


def _sought() -> registry.Sought:
    kind = request.args.get("kind", "")
    return registry.Sought(
        request.args.get("q", "").strip()[: forms.WORDS_MAX],
        kind if kind in AGENCY_KINDS else None,
        None,
        request.args.get("retired", "") == "yes",
    )


def _form_page(fields: Mapping[str, str], errors: Mapping[str, list[str]], facts: Mapping[str, Any]) -> str:
    return render_template(
        "directory/agency_new.html",
        fields=fields,
        error_words=words.said(errors),
        ambiguous=facts.get("areas", []),
        kinds=AGENCY_KINDS,
        levels=AGENCY_LEVELS,
        words=words,
    )


def _agency_page(
    agency_id: uuid.UUID,
    fields: Mapping[str, str],
    errors: Mapping[str, list[str]],
    facts: Mapping[str, Any] | None = None,
) -> str:
    lang = viewer_language()
    with transaction(house().sessions) as session:
        agency, names = registry.agency_and_names(session, agency_id)
        rows = registry.agencies_with_those_above(session, [agency_id], lang=lang)
        below = registry.agencies_below(session, agency_id, lang=lang)
        duties = registry.duties_of(session, agency_id)
        rules = registry.rules_by_id(session, {one.rule_id for one in duties if one.rule_id}, lang=lang)
        contacts = showing.contacts_shown(session, agency_id, settings=house().settings)
    return render_template(
        "directory/agency.html",
        agency=agency,
        row=rows[agency_id],
        names=names,
        above=showing.chain_above(rows, agency_id),
        below=below,
        duties=duties,
        rules=rules,
        contacts=contacts,
        fields=fields,
        error_words=words.said(errors),
        facts=facts or {},
        now=utc_now(),
        least={kind: showing.least_severity(duties, kind) for kind in OBSERVATION_KINDS},
        kinds=AGENCY_KINDS,
        levels=AGENCY_LEVELS,
        channels=CHANNELS,
        words=words,
    )
