"""What whoever holds a report's token may change of it by the JSON API, and the address that takes "no more mails".

Like the rest of the API it reads no cookie: what the token does not open stays closed.
"""

from flask import Blueprint, Response, jsonify, redirect, request
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.contacts import service as contacts
from waterwatch.contacts.forms import parse_contact
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.notices import queries as notices
from waterwatch.notices import service as notice_service
from waterwatch.opendata import forms
from waterwatch.opendata.views import followed, keep_nothing, refuse_bad_token
from waterwatch.reports import corrections
from waterwatch.reports import queries as reports
from waterwatch.waters.rules import to_wgs84
from waterwatch.web.errors import ask_nobody_who_is_signed_in
from waterwatch.web.guards import by_link
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language

bp = Blueprint("api_following", __name__, url_prefix="/api/v1")
bp.url_value_preprocessor(lambda _endpoint, _values: ask_nobody_who_is_signed_in())
bp.before_request(refuse_bad_token)
bp.after_request(keep_nothing)


@bp.patch("/reports/<token>")
@by_link
def correct(token: str) -> Response:
    """Say parts of a report differently, while nobody has accepted it. What is left out stays, null takes it back."""
    told = forms.read(forms.CorrectionIn, request.get_json())
    with transaction(house().sessions) as session:
        report = reports.report_by_follow_token(session, token)
        fields = forms.overlay(corrections.answers_of(session, report.report_id), told)
        corrections.restate(
            session,
            report.report_id,
            fields,
            settings=house().settings,
            language=viewer_language(),
            to_wgs84=to_wgs84,
            now=utc_now(),
        )
        found = notices.following(session, token, language=viewer_language(), now=utc_now())
    return jsonify(followed(found).model_dump(mode="json"))


@bp.put("/reports/<token>/contact")
@by_link
def keep_contact(token: str) -> Response:
    """Say how the author may be reached, in place of what was said before."""
    told = forms.read(forms.ContactIn, request.get_json())
    with transaction(house().sessions) as session:
        reports.report_by_follow_token(session, token)  # whoever holds no link is told nothing else
        contact = parse_contact(forms.contact_fields(told))
        notice_service.leave_contact(session, token, contact, settings=house().settings, now=utc_now())
    return Response(status=204)


@bp.delete("/reports/<token>/contact")
@by_link
def erase_contact(token: str) -> Response:
    """Erase it. Twice is once."""
    with transaction(house().sessions) as session:
        report = reports.report_by_follow_token(session, token)
        contacts.erase_contact(session, report.report_id, "author", actor=Actor.anonymous(), now=utc_now())
    return Response(status=204)


@bp.post("/unsubscribe/<token>")
@by_link
def unsubscribe(token: str) -> Response:
    """What a mail program sends at one click (RFC 8058): the token alone is asked for, whatever the body says."""
    with transaction(house().sessions) as session:
        notice_service.stop(session, token, settings=house().settings, now=utc_now())
    return Response(status=204)


@bp.get("/unsubscribe/<token>")
@by_link
def unsubscribe_page(token: str) -> WerkzeugResponse:
    """The same address opened by a person: the page asks before anything is stopped, for scanners open links too."""
    return redirect(f"/n/stop/{token}", code=303)
