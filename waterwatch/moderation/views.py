"""The moderators' desk: queue, review, grade, refuse, second a red."""

import uuid
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.contacts import queries as contacts
from waterwatch.contacts import service as contacts_service
from waterwatch.duplicates.queries import Candidate
from waterwatch.duplicates.queries import candidates as candidates_of
from waterwatch.duplicates.service import CANDIDATES_KEPT
from waterwatch.escalation.queries import open_no_contact
from waterwatch.incidents.queries import (
    IncidentView,
    incidents_awaiting_second,
    incidents_for_patrol,
    incidents_near,
    incidents_of_reports,
    secondable_by,
)
from waterwatch.incidents.rules import RubricInputs, score
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.moderation import forms, queries, service
from waterwatch.photos.queries import redactable
from waterwatch.reports import queries as report_queries
from waterwatch.reports.queries import PhotoEvidence, ReviewFacts
from waterwatch.reports.rules import is_photo_time_doubtful, is_place_doubtful, photo_age
from waterwatch.reports.tables import ALL_CLEAR
from waterwatch.waters import queries as waters
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language
from waterwatch.web.people import current_actor
from waterwatch.web.words import (
    EXTENT_WORDS,
    KIND_WORDS,
    RECEPTOR_WORDS,
    REFUSAL_WORDS,
    REPORT_KIND_WORDS,
    SEVERITY_WORDS,
)

bp = Blueprint("moderation", __name__, url_prefix="/desk", template_folder="templates")

ERROR_WORDS = {
    "missing": _l("请选择一项。"),
    "choice_unknown": _l("请从列表里选择。"),
    "too_long": _l("最多 500 个字，请写短一些。"),
    "departure_needs_reason": _l("等级与评分表的建议不同，请写明理由（至少三个字）。"),
    "water_unknown": _l("请选择是哪片水体。"),
    "report_changed": _l("你看这条上报的时候，上报人修改了它。下面是修改后的内容，请重新看过再决定。"),
}
CONTACT_REASONS = {
    "ask_author": _l("有疑问要问上报人（对方同意过）"),
    "people_in_danger": _l("可能有人正处在危险之中"),
    "legal_demand": _l("法律文书要求"),
}
CANDIDATES = 5
SNAP_FAR_M = 20_000.0  # the moderator may choose among waters this far from the pin; the citizen sees 2 km


@bp.get("/")
@requires("review")
def desk() -> str:
    """What waits, since when; red grades that need a second; cases nobody could be reached for."""
    person_id, now = _person_id(), utc_now()
    with transaction(house().sessions) as session:
        summary = queries.queue_summary(session, now=now)
        waiting = queries.waiting_reports(session, person_id, now=now)
        reds = incidents_awaiting_second(session)
        secondable = secondable_by(session, [red.incident_id for red in reds], person_id)
        unreachable = open_no_contact(session, language=viewer_language())
    return render_template(
        "moderation/desk.html",
        summary=summary,
        waiting=waiting,
        reds=reds,
        secondable=secondable,
        unreachable=unreachable,
        kinds=REPORT_KIND_WORDS,
    )


@bp.post("/next")
@requires("review")
def claim_next() -> WerkzeugResponse:
    """Take the most urgent report that nobody looks at."""
    with transaction(house().sessions) as session:
        report_id = service.claim_next(session, _person_id(), settings=house().settings, now=utc_now())
    if report_id is None:
        flash(gettext("没有等待审核的上报。谢谢你，现在可以歇一会儿。"), "success")
        return redirect(url_for("moderation.desk"))
    return redirect(url_for("moderation.review", report_id=report_id), code=303)


@bp.get("/<uuid:report_id>")
@requires("review")
def review(report_id: uuid.UUID) -> str:
    """One report with everything a judgement needs."""
    return _render_review(report_id, {}, {})


@bp.post("/<uuid:report_id>/grade")
@requires("review")
def grade(report_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """Accept with a grade: opens or joins an incident and sets map, departments and citizen moving."""
    try:
        command = forms.parse_grade(report_id, request.form)
        with transaction(house().sessions) as session:
            incident = service.grade_report(
                session, command, settings=house().settings, actor=current_actor(), now=utc_now()
            )
    except Invalid as error:
        return _render_review(report_id, request.form, error.errors), 400
    except Conflict as conflict:
        return _show_what_changed(report_id, conflict)
    flash(gettext("已受理并评级，事件编号 %(code)s；正在转交主管部门。", code=incident.code), "success")
    return redirect(url_for("moderation.desk"), code=303)


@bp.post("/<uuid:report_id>/refuse")
@requires("review")
def refuse(report_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """Refuse with a reason from the list and words the author will read."""
    try:
        code, words = forms.parse_refusal(request.form)
        with transaction(house().sessions) as session:
            service.refuse_report(
                session,
                report_id,
                code,
                words,
                seen_version=forms.parse_version(request.form),
                settings=house().settings,
                actor=current_actor(),
                now=utc_now(),
            )
    except Invalid as error:
        return _render_review(report_id, request.form, error.errors), 400
    except Conflict as conflict:
        return _show_what_changed(report_id, conflict)
    flash(gettext("已退回，上报人会看到你写的理由。"), "success")
    return redirect(url_for("moderation.desk"), code=303)


@bp.post("/<uuid:report_id>/patrol")
@requires("review")
def accept_patrol(report_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """The picture shows what the patrol says: water in order, and perhaps that an incident there is over."""
    seen = forms.parse_version(request.form)
    settings, actor = house().settings, current_actor()
    try:
        over = forms.parse_verified(request.form)
        with transaction(house().sessions) as session:
            service.accept_patrol(
                session,
                report_id,
                verifies_incident_id=over,
                seen_version=seen,
                settings=settings,
                actor=actor,
                now=utc_now(),
            )
    except Invalid as error:
        return _render_review(report_id, request.form, error.errors), 400
    except Conflict as conflict:
        return _show_what_changed(report_id, conflict)
    flash(gettext("已确认这次巡护。"), "success")
    return redirect(url_for("moderation.desk"), code=303)


@bp.post("/<uuid:report_id>/release")
@requires("review")
def release(report_id: uuid.UUID) -> WerkzeugResponse:
    """Give the report back to the queue."""
    with transaction(house().sessions) as session:
        service.release(session, report_id, _person_id())
    return redirect(url_for("moderation.desk"), code=303)


@bp.post("/incident/<uuid:incident_id>/second")
@requires("review")
def second(incident_id: uuid.UUID) -> WerkzeugResponse:
    """Confirm another moderator's red grade."""
    with transaction(house().sessions) as session:
        service.second_red(session, incident_id, settings=house().settings, actor=current_actor(), now=utc_now())
    flash(gettext("已复核为红色，地图与部门同时更新。"), "success")
    return redirect(url_for("moderation.desk"), code=303)


@bp.post("/<uuid:report_id>/contact")
@requires("reverse")
def show_contact(report_id: uuid.UUID) -> str:
    """Show it on this answer only: no address holds it, so that going back or opening it again shows nothing."""
    reason = request.form.get("reason", "").strip()
    with transaction(house().sessions) as session:
        facts = report_queries.telling(session, report_id)
        shown = contacts_service.show(
            session, report_id, reason, actor=current_actor(), settings=house().settings, now=utc_now()
        )
    return render_template(
        "moderation/contact.html", report_id=report_id, code=facts.code, contact=shown, reason=CONTACT_REASONS[reason]
    )


def _may_reach_authors() -> bool:
    """Whether whoever is signed in may ask for a contact; nobody else is told that there is one."""
    return bool(current_user.has_permission("reverse"))


def _show_what_changed(report_id: uuid.UUID, conflict: Conflict) -> tuple[str, int]:
    """The report as its author has it now, for a second look. Any other conflict is raised again."""
    if conflict.error_code != "report_changed":
        raise conflict
    return _render_review(report_id, {}, {"version": ["report_changed"]}), 409


def _render_review(report_id: uuid.UUID, fields: object, errors: dict[str, list[str]]) -> str:
    now = utc_now()
    with transaction(house().sessions) as session:
        facts = report_queries.review_facts(session, report_id)
        is_mine = facts.state == "in_review" and service.hold(
            session, report_id, _person_id(), settings=house().settings, now=now
        )
        candidates = _candidates(session, facts)
        nearby = incidents_near(session, facts.lon, facts.lat)
        verifiable = incidents_for_patrol(session, report_id) if facts.kind == ALL_CLEAR else []
        evidence = report_queries.photo_evidence(session, report_id)
        author_contact = contacts.state_of(session, report_id) if _may_reach_authors() else None
        likes = candidates_of(session, report_id, limit=CANDIDATES_KEPT)
        covered = redactable(session, _shown_photos(facts, likes))
        of_likes = incidents_of_reports(session, [one.report_id for one in likes]) if likes else {}
    return render_template(
        "moderation/review.html",
        facts=facts,
        fields=fields,
        errors=errors,
        error_words={name: [ERROR_WORDS[code] for code in codes] for name, codes in errors.items()},
        is_mine=is_mine,
        author_contact=author_contact,
        contact_reasons=CONTACT_REASONS,
        candidates=candidates,
        nearby=nearby,
        verifiable=verifiable,
        of_duplicates=_joinable(likes, of_likes, nearby),
        likes=likes,
        likes_max=CANDIDATES_KEPT,
        incidents_of_likes=of_likes,
        claims=_claims(facts, evidence),
        covered=covered,
        versions={photo_id: one.version for photo_id, one in covered.items()},
        proposal=score(_observed(facts)),
        kinds=KIND_WORDS,
        report_kinds=REPORT_KIND_WORDS,
        is_patrol=facts.kind == ALL_CLEAR,
        severities=SEVERITY_WORDS,
        extents=EXTENT_WORDS,
        receptors=RECEPTOR_WORDS,
        refusals=REFUSAL_WORDS,
    )


def _joinable(
    likes: list[Candidate], of_likes: dict[uuid.UUID, IncidentView], nearby: list[IncidentView]
) -> list[IncidentView]:
    """Open incidents of possible duplicates, however far, that are not among those nearby. An old picture is no reason
    to join, and nothing is chosen beforehand."""
    known = {incident.incident_id for incident in nearby}
    found = {
        incident.incident_id: incident
        for one in likes
        if not one.is_recycled and (incident := of_likes.get(one.report_id)) is not None and incident.is_open
    }
    return [incident for incident_id, incident in found.items() if incident_id not in known]


def _shown_photos(facts: ReviewFacts, likes: list[Candidate]) -> list[uuid.UUID]:
    of_likes = [photo_id for one in likes for photo_id in (one.own_photo_id, one.photo_id) if photo_id is not None]
    return [picture.photo_id for picture in facts.photos] + of_likes


def _candidates(session: Session, facts: ReviewFacts) -> list[tuple[waters.Candidate, dict[str, str]]]:
    found = waters.nearest_waters(
        session, facts.lon, facts.lat, facts.accuracy_m or 0.0, limit=CANDIDATES, search_limit_m=SNAP_FAR_M
    )
    names = waters.names_of(session, [candidate.water_body_id for candidate in found])
    return [(candidate, names.get(candidate.water_body_id, {})) for candidate in found]


def _claims(facts: ReviewFacts, evidence: list[PhotoEvidence]) -> list[dict[str, Any]]:
    """What each photo says of place and time, by the photo's number, and what of it should be looked at twice."""
    numbers = {photo.photo_id: number for number, photo in enumerate(facts.photos, start=1)}
    claims = []
    for one in evidence:
        age = photo_age(one.taken_at_local, facts.received_at)
        claims.append(
            {
                "number": numbers[one.photo_id],
                "distance_m": one.distance_m,
                "is_far": is_place_doubtful(one.distance_m),
                "taken_at": (one.taken_at_local or "").replace("T", " "),
                "is_old": is_photo_time_doubtful(age),
            }
        )
    return claims


def _observed(facts: ReviewFacts) -> RubricInputs:
    return RubricInputs(
        kind="other" if facts.kind == ALL_CLEAR else facts.kind,
        extent=facts.extent,
        is_ongoing=bool(facts.is_ongoing),
        has_dead_animals=bool(facts.has_dead_animals),
        has_ill_people=bool(facts.affects_people),
    )


def _person_id() -> uuid.UUID:
    person_id = current_actor().id
    assert person_id is not None, "guards let only signed-in people in"
    return person_id
