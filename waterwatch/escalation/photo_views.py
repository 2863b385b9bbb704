"""The photo of a case by itself: for servers that publish what they are told, so nothing else opens with its link."""

from flask import Blueprint, Response

from waterwatch.escalation.links import PHOTO_PURPOSE
from waterwatch.escalation.queries import case_facts
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Gone, NotFound, Unavailable
from waterwatch.kernel.signing import open_link
from waterwatch.photos.rules import MADE_ANEW_WITHIN_S
from waterwatch.web.guards import by_link
from waterwatch.web.house import house

bp = Blueprint("case_photo", __name__)


@bp.get("/case-photo/<token>.jpg")
@by_link
def show(token: str) -> Response:
    """The photo the agency's letters show, rebuilt from pixels; gone when the case was withdrawn."""
    case_id = open_link(house().settings, PHOTO_PURPOSE, token, now=utc_now())
    with transaction(house().sessions) as session:
        facts = case_facts(session, case_id)
    if facts.state == "withdrawn":
        raise Gone("case_withdrawn")
    if facts.photo_key is None:
        raise NotFound("photo_not_found")
    if facts.is_photo_pending:
        raise Unavailable("photo_is_made_anew", retry_after_s=MADE_ANEW_WITHIN_S)
    response = Response(b"".join(house().objects.open(facts.photo_key)), mimetype="image/jpeg")
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response
