"""What the desk's pages show, put together: one report with everything a judgement needs, and where to go after it."""

import uuid
from collections.abc import Mapping
from typing import Any

from flask import flash, jsonify, redirect, render_template, request, url_for
from flask import session as browser_session
from flask_babel import force_locale
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from waterwatch.advisories import arrivals
from waterwatch.contacts import queries as contacts
from waterwatch.duplicates.queries import Candidate
from waterwatch.duplicates.queries import candidates as candidates_of
from waterwatch.duplicates.service import CANDIDATES_KEPT
from waterwatch.incidents.queries import (
    IncidentView,
    incident_of_report,
    incidents_for_patrol,
    incidents_near,
    incidents_of_reports,
)
from waterwatch.incidents.rules import rubric, score
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.moderation import decisions, queries
from waterwatch.moderation.forms import parse_ids
from waterwatch.moderation.queries import NearReport
from waterwatch.photos.queries import redactable
from waterwatch.reports import appeals, questions
from waterwatch.reports import queries as report_queries
from waterwatch.reports.queries import PhotoEvidence, ReviewFacts
from waterwatch.reports.rules import is_photo_time_doubtful, is_place_doubtful, photo_age
from waterwatch.reports.tables import ALL_CLEAR
from waterwatch.triage import queries as triage_queries
from waterwatch.triage import rules as triage_rules
from waterwatch.triage import service as triage
from waterwatch.triage.queries import Wanted
from waterwatch.waters import queries as waters
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language
from waterwatch.web.people import current_actor
from waterwatch.web.pictures import conceals
from waterwatch.web.words import (
    EXTENT_WORDS,
    HAND_WORDS,
    KIND_WORDS,
    QUESTION_WORDS,
    READY_WORDS,
    REASON_WORDS,
    RECEPTOR_WORDS,
    REFUSAL_WORDS,
    REPORT_KIND_WORDS,
    REPORT_STATE_WORDS,
    SEVERITY_WORDS,
    ZONE_WORDS,
)
from waterwatch.zones.queries import ZoneAt, shapes_near, zones_at

ERROR_WORDS = {
    "missing": _l("请选择一项。"),
    "choice_unknown": _l("请从列表里选择。"),
    "too_long": _l("最多 500 个字，请写短一些。"),
    "departure_needs_reason": _l("等级与评分表的建议不同，请写明理由（至少三个字）。"),
    "water_unknown": _l("请选择是哪片水体。"),
    "place_invalid": _l("请写经度和纬度，例如 114.30550 和 30.59280。"),
    "nothing_chosen": _l("请先勾选要处理的上报。"),
    "too_many_chosen": _l("一次最多处理 100 条。"),
    "incident_unknown": _l("没有这个编号的事件。"),
    "incident_is_closed": _l("这个事件已经结束。"),
    "nothing_would_stay": _l("请选一部分上报：至少一条，也至少留下一条。"),
    "report_not_here": _l("选的上报里有一条已经不属于这起事件。"),
    "downstream_reason": _l("请写明为什么，3 到 500 个字，会存档。"),
    "downstream_limit": _l("请写 200 以内的公里数，最多两位小数。"),
    "downstream_ruled": _l("要并入的事件已经有下游预警的决定，请到那起事件的页面修改；这里请选“按推算发布”。"),
    "report_changed": _l("你看这条上报的时候，上报人修改了它。下面是修改后的内容，请重新看过再决定。"),
}
CONTACT_REASONS = {
    "ask_author": _l("有疑问要问上报人（对方同意过）"),
    "people_in_danger": _l("可能有人正处在危险之中"),
    "legal_demand": _l("法律文书要求"),
}
CANDIDATES = 5
SNAP_FAR_M = 20_000.0  # the moderator may choose among waters this far from the pin; the citizen sees 2 km
ZONES_M = 1000.0
VIEW = "desk_view"  # key of the session: what of the queue this moderator works on


def person_id() -> uuid.UUID:
    """Who sits at the desk."""
    found = current_actor().id
    assert found is not None, "guards let only signed-in people in"
    return found


def wanted(session: Session) -> Wanted:
    """What of the queue this moderator works on now: chosen on the queue page, kept with the sign-in."""
    view = browser_session.get(VIEW) or {}
    areas: tuple[str, ...] = ()
    if view.get("area") == "mine":
        areas = triage_queries.areas_of(session, person_id())
    elif view.get("area"):
        areas = (view["area"],)
    water = view.get("water")
    return Wanted(areas, uuid.UUID(water) if water else None, view.get("kind"))


def go_on(said: str, *, undo: str | None = None) -> Response:
    """After an act: the next report. To a page that has it already, only the words and the address that undoes it."""
    if request.form.get("answer") == "json":
        return jsonify(said=said, undo=undo)
    flash(said, "success")
    return next_report()


def take_next() -> uuid.UUID | None:
    """Hold the report that comes next, besides those this page says (``held``) it has before it; None when none."""
    before = parse_ids(request.form.getlist("held"))
    with transaction(house().sessions) as session:
        view, settings = wanted(session), house().settings
        return triage.resume_or_claim(session, person_id(), view, but=before, settings=settings, now=utc_now())


def next_report() -> Response:
    """The most urgent report that nobody looks at, or back to the queue when none is left."""
    report_id = take_next()
    if report_id is None:
        flash(_l("没有等待审核的上报。谢谢你，现在可以歇一会儿。"), "success")
        return redirect(url_for("moderation.desk"), code=303)
    return redirect(url_for("moderation.review", report_id=report_id), code=303)


def render_review(report_id: uuid.UUID, fields: Mapping[str, str], errors: dict[str, list[str]]) -> str:
    """The page of one report. Holds it, if nobody else does. Raises :class:`NotFound`."""
    with transaction(house().sessions) as session:
        shown = _facts(session, report_id)
    return render_template(
        "moderation/review.html",
        **shown,
        fields=fields,
        errors=errors,
        error_words={name: [ERROR_WORDS[code] for code in codes] for name, codes in errors.items()},
        contact_reasons=CONTACT_REASONS,
        likes_max=CANDIDATES_KEPT,
        rubric=rubric(),
        conceals=conceals,
        lease_s=house().settings.review_lease_s,
        kinds=KIND_WORDS,
        report_kinds=REPORT_KIND_WORDS,
        states=REPORT_STATE_WORDS,
        severities=SEVERITY_WORDS,
        extents=EXTENT_WORDS,
        receptors=RECEPTOR_WORDS,
        refusals=REFUSAL_WORDS,
        question_words=QUESTION_WORDS,
        hand_words=HAND_WORDS,
        reasons=REASON_WORDS,
        zone_words=ZONE_WORDS,
    )


def _facts(session: Session, report_id: uuid.UUID) -> dict[str, Any]:
    now = utc_now()
    facts = report_queries.review_facts(session, report_id)
    is_mine = facts.state == "in_review" and triage.hold(
        session, report_id, person_id(), settings=house().settings, now=now
    )
    nearby = incidents_near(session, facts.lon, facts.lat)
    likes = candidates_of(session, report_id, limit=CANDIDATES_KEPT)
    of_likes = incidents_of_reports(session, [one.report_id for one in likes]) if likes else {}
    joinable = _joinable(likes, of_likes, nearby)
    zones = zones_at(session, facts.lon, facts.lat, within_m=ZONES_M)
    near = queries.reports_near(session, report_id, now=now)
    covered = redactable(session, _shown_photos(facts, likes))
    inputs = triage_rules.rubric_inputs(_observed(facts, zones, likes))
    return {
        "facts": facts,
        "is_mine": is_mine,
        "is_patrol": facts.kind == ALL_CLEAR,
        "bar": triage_queries.queue_summary(session, now=now),
        "author_contact": contacts.state_of(session, report_id) if may_reach_authors() else None,
        "questions": questions.questions_of(session, report_id),
        "appeal": appeals.appeal_of(session, report_id),
        "undoable": decisions.undoable_by(session, person_id(), settings=house().settings, now=now),
        "ready_words": _ready_words(report_queries.telling(session, report_id).language),
        "track": queries.track_record(session, report_id),
        "candidates": _candidates(session, facts),
        "nearby": nearby,
        "incident": incident_of_report(session, report_id) if facts.state in ("accepted", "merged") else None,
        "verifiable": incidents_for_patrol(session, report_id) if facts.kind == ALL_CLEAR else [],
        "near": near,
        "zones": zones,
        "likes": likes,
        "incidents_of_likes": of_likes,
        "of_duplicates": joinable,
        "claims": _claims(facts, report_queries.photo_evidence(session, report_id)),
        "covered": covered,
        "versions": {photo_id: one.version for photo_id, one in covered.items()},
        "inputs": inputs,
        "proposal": score(inputs),
        "arriving": arrivals.asked_of(session, report_id),
        "is_concealed": conceals(facts.kind, facts.has_dead_animals),
        "around": _around(session, facts, [*nearby, *joinable], near, zones),
    }


def _ready_words(language: str) -> dict[str, str]:
    """Kind words for each reason, in the language its author reads."""
    with force_locale(language.replace("-", "_")):
        return {code: str(words) for code, words in READY_WORDS.items()}


def may_reach_authors() -> bool:
    """Whether whoever is signed in may ask for a contact; nobody else is told that there is one."""
    return bool(current_user.has_permission("reverse"))


def _observed(facts: ReviewFacts, zones: list[ZoneAt], likes: list[Candidate]) -> triage_rules.Observed:
    return triage_rules.Observed(
        kind=facts.kind,
        extent=facts.extent,
        since=facts.since,
        is_ongoing=facts.is_ongoing,
        has_dead_animals=facts.has_dead_animals,
        affects_people=facts.affects_people,
        measured=facts.measured,
        zone_kinds=[zone.kind for zone in zones if zone.distance_m <= triage_rules.ZONE_NEAR_M],
        has_independent_reports=any(one.is_near and not one.is_same_device and not one.is_recycled for one in likes),
    )


def _around(
    session: Session,
    facts: ReviewFacts,
    incidents: list[IncidentView],
    near: list[NearReport],
    zones: list[ZoneAt],
) -> dict[str, Any]:
    """What the map shows besides the report itself."""
    shapes = shapes_near(session, [zone.zone_id for zone in zones], facts.lon, facts.lat) if zones else {}
    language = viewer_language()
    return {
        "incidents": [
            {"at": [one.lon, one.lat], "severity": one.severity, "name": f"{KIND_WORDS[one.kind]} {one.code}"}
            for one in incidents
        ],
        "reports": [
            {
                "at": [one.lon, one.lat],
                "name": f"{REPORT_KIND_WORDS[one.kind]} {one.code} · {REPORT_STATE_WORDS[one.state]}",
            }
            for one in near
        ],
        "zones": [
            {
                "shape": shapes[zone.zone_id],
                "name": zone.names.get(language) or zone.names.get("zh-Hans") or str(ZONE_WORDS[zone.kind]),
            }
            for zone in zones
            if zone.zone_id in shapes
        ],
    }


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
