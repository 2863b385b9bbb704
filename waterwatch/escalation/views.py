"""The page behind the signed link of a mail: an officer sees the case and acknowledges it. No account is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from flask import Blueprint, Response, make_response, redirect, render_template, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as BaseResponse

from waterwatch.escalation import service
from waterwatch.escalation.channels.letter import LINK_PURPOSE
from waterwatch.escalation.queries import CaseFacts, case_facts
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Gone, NotFound, Unavailable
from waterwatch.kernel.signing import open_link
from waterwatch.mapping.snapshot import incident_png
from waterwatch.photos.rules import MADE_ANEW_WITHIN_S
from waterwatch.web.guards import by_link
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language

bp = Blueprint("escalation", __name__, template_folder="templates")


@bp.get("/a/<token>")
@by_link
def show_case(token: str) -> BaseResponse:
    """The case and one button. Changes nothing: scanners of mail follow every link they find."""
    try:
        with _case(token) as (_, facts, now):
            page = render_template("escalation/case.html", token=token, facts=facts, now=now)
    except Gone:
        return _private(make_response(render_template("escalation/expired.html"), 410))
    return _private(make_response(page))


@bp.post("/a/<token>")
@by_link
def acknowledge(token: str) -> BaseResponse:
    """The officer has pressed the button. A second time changes nothing."""
    try:
        with _case(token) as (session, facts, now):
            if facts.agency_id is None:
                raise NotFound("link_unknown")
            if facts.state == "withdrawn":  # the page says so
                return _private(redirect(url_for("escalation.show_case", token=token), 303))
            service.acknowledge(session, facts.case_id, actor=Actor.agency_link(facts.agency_id), now=now)
    except Gone:
        return _private(make_response(render_template("escalation/expired.html"), 410))
    return _private(redirect(url_for("escalation.show_case", token=token), 303))


@bp.get("/a/<token>/map.png")
@by_link
def show_map(token: str) -> BaseResponse:
    """The map around the exact place, for the holder of the link."""
    with _case(token) as (session, facts, _):
        drawn = incident_png(session, facts.incident_id)
    return _private(Response(drawn, mimetype="image/png"))


@bp.get("/a/<token>/photo.jpg")
@by_link
def show_photo(token: str) -> BaseResponse:
    """The photo the mail carried, rebuilt from pixels."""
    with _case(token) as (_, facts, _now):
        key, is_pending = facts.photo_key, facts.is_photo_pending
    if key is None:
        raise NotFound("photo_not_found")
    if is_pending:
        raise Unavailable("photo_is_made_anew", retry_after_s=MADE_ANEW_WITHIN_S)
    return _private(Response(b"".join(house().objects.open(key)), mimetype="image/jpeg"))


@contextmanager
def _case(token: str) -> Iterator[tuple[Session, CaseFacts, datetime]]:
    """The link's case within one transaction, and the time. Raises :class:`NotFound` or :class:`Gone`."""
    now = utc_now()
    case_id = open_link(house().settings, LINK_PURPOSE, token, now=now)
    with transaction(house().sessions) as session:
        yield session, case_facts(session, case_id, language=viewer_language()), now


def _private(response: BaseResponse) -> BaseResponse:
    """The address is a key: no search engine keeps it. That no cache and no other site does is the house's rule."""
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response
