"""Colleagues of an agency, how letters come to it, and the page behind an invitation."""

import uuid

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_login import current_user
from werkzeug.wrappers import Response

from waterwatch.accounts.queries import officers_of
from waterwatch.accounts.rules import MIN_PASSWORD_LENGTH
from waterwatch.accounts.service import remove_officer
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Gone, Invalid
from waterwatch.officers import forms, invitations, queries, service
from waterwatch.officers.showing import CHANNEL_WORDS, ERROR_WORDS, Asked, own_office
from waterwatch.web.guards import by_link, requires
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language
from waterwatch.web.people import current_actor

bp = Blueprint("office_people", __name__, url_prefix="/office", template_folder="templates")


@bp.errorhandler(Gone)
def _over(_error: Gone) -> Response:
    return make_response(render_template("officers/join_over.html"), 410)


@bp.get("/colleagues")
@requires("agency_desk")
def colleagues() -> str:
    """Whoever may act for the agency."""
    return _colleagues()


@bp.post("/colleagues")
@requires("agency_desk")
def invite() -> Response | tuple[str, int]:
    """Send somebody an invitation. The same is said whatever is known of the address."""
    email = request.form.get("email", "")
    try:
        with transaction(house().sessions) as session:
            invitations.invite(
                session,
                own_office(session),
                email,
                language=viewer_language(),
                settings=house().settings,
                actor=current_actor(),
                now=utc_now(),
            )
    except Invalid as fault:
        return _colleagues(Asked("invite", request.form, fault.errors)), 400
    flash(gettext("邀请已寄出，三天内有效。对方设好密码后会出现在名单里。"), "success")
    return redirect(url_for("office_people.colleagues"), 303)


@bp.post("/colleagues/<uuid:person_id>/remove")
@requires("agency_desk")
def remove(person_id: uuid.UUID) -> Response:
    """Somebody acts for the agency no more: signed out everywhere at once."""
    if person_id == current_user.id:
        flash(gettext("不能移除自己。请让一位同事来做。"), "warning")
        return redirect(url_for("office_people.colleagues"), 303)
    with transaction(house().sessions) as session:
        remove_officer(session, person_id, own_office(session).code, actor=current_actor(), now=utc_now())
    flash(gettext("已移除，对方的登录已全部失效。"), "success")
    return redirect(url_for("office_people.colleagues"), 303)


@bp.get("/settings")
@requires("agency_desk")
def settings() -> str:
    """How letters come; the addresses they go to."""
    return _settings()


@bp.post("/settings")
@requires("agency_desk")
def choose() -> Response | tuple[str, int]:
    """Letters one by one, or those of little severity together."""
    try:
        wish = forms.parse_digest(request.form)
        with transaction(house().sessions) as session:
            service.choose_digest(session, own_office(session), wish, actor=current_actor(), now=utc_now())
    except Invalid as fault:
        return _settings(Asked("digest", request.form, fault.errors)), 400
    flash(gettext("已保存。"), "success")
    return redirect(url_for("office_people.settings"), 303)


@bp.get("/join/<token>")
@by_link
def joining(token: str) -> str:
    """Who is asked to join what, and the form for a password."""
    return _joining(token)


@bp.post("/join/<token>")
@by_link
def join(token: str) -> Response | tuple[str, int]:
    """The account is made, or an officer's who had left comes back. Signing in asks for the second factor."""
    now, password = utc_now(), request.form.get("password", "")
    try:
        with transaction(house().sessions) as session:
            invitation = invitations.read(session, token, settings=house().settings, now=now)
            invitations.take_up(session, invitation, password, language=viewer_language(), now=now)
    except Invalid as fault:
        return _joining(token, Asked("join", {}, fault.errors)), 400
    except Conflict as taken:
        return render_template("officers/join_taken.html", reason=taken.error_code), 409
    flash(gettext("密码已设好。请登录，第一次登录时会带你设置手机验证器。"), "success")
    return redirect(url_for("security.login", next=url_for("officers.inbox")), 303)


def _colleagues(asked: Asked | None = None) -> str:
    with transaction(house().sessions) as session:
        office = own_office(session)
        people = officers_of(session, office.code)
    return render_template("officers/colleagues.html", office=office, people=people, asked=asked or Asked())


def _settings(asked: Asked | None = None) -> str:
    with transaction(house().sessions) as session:
        office = own_office(session)
        contacts = queries.contacts_of(session, office.agency_id)
    return render_template(
        "officers/settings.html", office=office, contacts=contacts, channel_words=CHANNEL_WORDS, asked=asked or Asked()
    )


def _joining(token: str, asked: Asked | None = None) -> str:
    with transaction(house().sessions) as session:
        invitation = invitations.read(session, token, settings=house().settings, now=utc_now())
        agency = queries.agency_name(session, invitation.agency_code, language=viewer_language())
    return render_template(
        "officers/join.html",
        token=token,
        invitation=invitation,
        agency=agency,
        least=MIN_PASSWORD_LENGTH,
        asked=asked or Asked(),
        words_of=ERROR_WORDS,
    )
