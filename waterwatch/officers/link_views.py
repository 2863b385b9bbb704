"""The page behind the signed link of a letter: an officer sees the case and says what there is to say, without account.

The link is a bearer key: it opens this one case for the agency it was sent to, no search engine keeps it, no address
leaves with a referrer, and the page loads nothing from anybody else. Looking changes nothing: scanners of mail follow
every link they find.
"""

import uuid
from collections.abc import Callable
from typing import TypeVar

from flask import Blueprint, Response, flash, g, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from sqlalchemy.orm import Session
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response as BaseResponse

from waterwatch.escalation import service as escalation
from waterwatch.escalation.channels.letter import LINK_PURPOSE
from waterwatch.escalation.queries import CaseFacts, case_facts
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Gone, Invalid, NotFound, Unavailable
from waterwatch.kernel.signing import open_link
from waterwatch.mapping.snapshot import incident_png
from waterwatch.officers import saying
from waterwatch.officers.showing import Asked, case_page, picture, said_words, serve_picture
from waterwatch.photos.rules import MADE_ANEW_WITHIN_S
from waterwatch.web.errors import render_error
from waterwatch.web.guards import by_link
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language

bp = Blueprint("case_link", __name__, template_folder="templates")
bp.teardown_request(saying.discard_spool)
T = TypeVar("T")


@bp.url_value_preprocessor
def _spool_photos(endpoint: str | None, _values: object) -> None:
    if endpoint in ("case_link.answer", "case_link.report_done"):
        saying.begin_spool()


@bp.errorhandler(RequestEntityTooLarge)
def _too_large(_error: RequestEntityTooLarge) -> BaseResponse | tuple[str, int]:
    """The page again with what was typed: the photos alone have to be chosen anew."""
    if "spool" not in g:
        return render_error(413, code="request_entity_too_large")
    typed = saying.typed_before_photos()
    asked = Asked(saying.kind_of(request.endpoint, typed), typed, {"photo": ["photos_too_large"]})
    return _page((request.view_args or {})["token"], asked), 413


@bp.errorhandler(Gone)
def _expired(_error: Gone) -> BaseResponse:
    return make_response(render_template("officers/expired.html"), 410)


@bp.get("/a/<token>")
@by_link
def show(token: str) -> str:
    """The case and what can be said of it."""
    return _page(token)


@bp.post("/a/<token>")
@by_link
def acknowledge(token: str) -> BaseResponse:
    """The officer has pressed the button. A second time changes nothing."""
    case_id = _case_id(token)
    with transaction(house().sessions) as session:
        facts = _facts(session, case_id)
        if facts.state != "withdrawn":  # the page says so
            done = escalation.acknowledge(session, case_id, actor=_actor(facts), now=utc_now())
            if done.is_new:
                flash(
                    gettext("已确认收到预警。")
                    if facts.warned is not None
                    else gettext("已确认收到，公开页面会显示确认时间。"),
                    "success",
                )
    return _back(token)


@bp.post("/a/<token>/answer")
@by_link
def answer(token: str) -> BaseResponse | tuple[str, int]:
    """What the agency does about it, and until when."""
    return _say(token, "comment" if request.form.get("comment") else "answer")


@bp.post("/a/<token>/done")
@by_link
def report_done(token: str) -> BaseResponse | tuple[str, int]:
    """The agency says it is done, and shows it."""
    return _say(token, "done")


@bp.post("/a/<token>/not-ours")
@by_link
def refuse(token: str) -> BaseResponse | tuple[str, int]:
    """The case is another agency's."""
    case_id = _case_id(token)
    try:
        saying.refuse(case_id, via="link", actor=_actor_of(case_id), check=_anybody)
    except (Invalid, Conflict) as fault:
        return _again(token, "not_ours", fault)
    flash(said_words("not_ours"), "success")
    return _back(token)


@bp.get("/a/<token>/map.png")
@by_link
def show_map(token: str) -> BaseResponse:
    """The map around the exact place, for the holder of the link."""
    drawn = _read(token, _map_of)
    return Response(drawn, mimetype="image/png")


@bp.get("/a/<token>/photo.jpg")
@by_link
def show_cover(token: str) -> BaseResponse:
    """The photo the letter carried, rebuilt from pixels."""
    facts = _read(token, lambda _session, facts: facts)
    if facts.photo_key is None:
        raise NotFound("photo_not_found")
    if facts.is_photo_pending:
        raise Unavailable("photo_is_made_anew", retry_after_s=MADE_ANEW_WITHIN_S)
    return Response(b"".join(house().objects.open(facts.photo_key)), mimetype="image/jpeg")


@bp.get("/a/<token>/photo/<uuid:photo_id>/<int:size_px>")
@by_link
def show_photo(token: str, photo_id: uuid.UUID, size_px: int) -> BaseResponse:
    """A photo of the case or of one of its answers."""
    _read(token, lambda session, facts: picture(session, facts.case_id, photo_id))
    response = serve_picture(photo_id, size_px)
    response.headers["Cache-Control"] = "no-store"
    return response


def _say(token: str, kind: str) -> BaseResponse | tuple[str, int]:
    case_id = _case_id(token)
    try:
        saying.say(case_id, kind, via="link", actor=_actor_of(case_id), check=_anybody)
    except (Invalid, Conflict) as fault:
        return _again(token, kind, fault)
    flash(said_words(kind), "success")
    return _back(token)


def _page(token: str, asked: Asked | None = None) -> str:
    case_id = _case_id(token)
    with transaction(house().sessions) as session:
        shown = case_page(session, case_id, now=utc_now(), is_own=True, asked=asked)
    return render_template("officers/link.html", token=token, **shown)


def _again(token: str, form: str, fault: Invalid | Conflict) -> tuple[str, int]:
    """The page as it is now, with every word that was typed."""
    errors, status = saying.faults_of(fault)
    return _page(token, Asked(form, request.form, errors)), status


def _read(token: str, ask: Callable[[Session, CaseFacts], T]) -> T:
    """What a picture is made of. Raises :class:`Gone` for a case that was taken back: the page alone still says so."""
    case_id = _case_id(token)
    with transaction(house().sessions) as session:
        facts = _facts(session, case_id)
        if facts.state == "withdrawn":
            raise Gone("case_withdrawn")
        return ask(session, facts)


def _map_of(session: Session, facts: CaseFacts) -> bytes:
    """Raises :class:`NotFound` for who is only warned: the map shows the exact place."""
    if facts.warned is not None:
        raise NotFound("photo_not_found")
    return incident_png(session, facts.incident_id)


def _case_id(token: str) -> uuid.UUID:
    """Raises :class:`NotFound` for a forged link, :class:`Gone` for an expired one."""
    return open_link(house().settings, LINK_PURPOSE, token, now=utc_now())


def _facts(session: Session, case_id: uuid.UUID) -> CaseFacts:
    facts = case_facts(session, case_id, language=viewer_language())
    if facts.agency_id is None:
        raise NotFound("link_unknown")
    return facts


def _actor(facts: CaseFacts) -> Actor:
    assert facts.agency_id is not None
    return Actor.agency_link(facts.agency_id)


def _actor_of(case_id: uuid.UUID) -> Actor:
    with transaction(house().sessions) as session:
        return _actor(_facts(session, case_id))


def _anybody(_session: Session) -> None:
    """The link is the key: whoever holds it speaks for the agency."""


def _back(token: str) -> BaseResponse:
    return redirect(url_for("case_link.show", token=token), 303)
