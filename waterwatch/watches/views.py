"""Watching a water: two small forms on its page, and what the links of the mails lead to."""

import uuid

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.contacts.forms import parse_subscription
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid, NotFound
from waterwatch.messaging.webpush import public_key
from waterwatch.postbox.service import make_pusher
from waterwatch.watches import forms, service
from waterwatch.watches.service import WatchByBrowser, WatchWater
from waterwatch.waters.queries import water_by_public_id
from waterwatch.web.errors import ask_nobody_who_is_signed_in
from waterwatch.web.guards import by_link, public
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language

bp = Blueprint("watches", __name__, template_folder="templates")
# What mail programs call (RFC 8058): no cookie gives any right there, so no token of a form is asked for.
one_click = Blueprint("watches_one_click", __name__, url_prefix="/api/v1/watch")
one_click.url_value_preprocessor(lambda _endpoint, _values: ask_nobody_who_is_signed_in())


@bp.post("/w/<public_id>/watch")
@public
def watch(public_id: str) -> WerkzeugResponse:
    """Ask the address by mail whether it wants to. The answer is the same whatever we knew of it."""
    try:
        address = forms.parse_address(request.form)
    except Invalid:
        flash(gettext("请填写正确的邮箱地址，例如 wang@example.org。"), "error")
        return _back(public_id)
    settings = house().settings
    with transaction(house().sessions) as session:
        command = WatchWater(_water(session, public_id), address, viewer_language())
        service.watch_by_mail(session, command, settings=settings, now=utc_now())
    flash(gettext("请打开我们刚寄出的邮件，点里面的链接确认。如果这个邮箱已经在关注，就不会再寄。"), "success")
    return _back(public_id)


@bp.post("/w/<public_id>/watch/push")
@public
def watch_by_browser(public_id: str) -> WerkzeugResponse:
    """This browser wants to be told. Raises :class:`Conflict` ``push_not_offered`` where no push service is set."""
    settings = house().settings
    vapid = public_key(settings) if settings.push_hosts else None
    if vapid is None:
        raise Conflict("push_not_offered")
    try:
        subscription = parse_subscription(request.form, vapid=vapid, pusher=make_pusher(settings))
    except Invalid:
        flash(gettext("这台设备没有加上。可以改用邮箱关注。"), "warning")
        return _back(public_id)
    with transaction(house().sessions) as session:
        command = WatchByBrowser(_water(session, public_id), subscription, viewer_language())
        service.watch_by_browser(session, command, settings=settings, now=utc_now())
    flash(gettext("好的，等级有变化时会在这台设备上提醒你。"), "success")
    return _back(public_id)


@bp.post("/w/<public_id>/watch/push/stop")
@public
def stop_browser(public_id: str) -> WerkzeugResponse:
    """This browser wants it no more; it names itself by its own push address, which nobody else knows."""
    endpoint = request.form.get("endpoint", "").strip()
    with transaction(house().sessions) as session:
        water_body_id = _water(session, public_id)
        service.stop_browser(session, water_body_id, endpoint, settings=house().settings, now=utc_now())
    flash(gettext("好的，这台设备不再提醒。"), "success")
    return _back(public_id)


@bp.get("/watch/confirm/<token>", defaults={"choice": "confirm"})
@bp.get("/watch/stop/<token>", defaults={"choice": "stop"})
@by_link
def ask_choice(token: str, choice: str) -> str:
    """Asks by a button: programs that look for viruses open every link of a mail."""
    return render_template("watches/choice.html", token=token, choice=choice, is_done=False)


@bp.post("/watch/confirm/<token>")
@by_link
def confirm(token: str) -> str:
    """This address wants to watch the water."""
    with transaction(house().sessions) as session:
        public_id = service.confirm(session, token, settings=house().settings, now=utc_now())
    return render_template("watches/choice.html", choice="confirm", is_done=True, public_id=public_id)


@bp.post("/watch/stop/<token>")
@by_link
def stop(token: str) -> str:
    """It wants no further mail: the address is erased."""
    with transaction(house().sessions) as session:
        service.stop(session, token, settings=house().settings, now=utc_now())
    return render_template("watches/choice.html", choice="stop", is_done=True)


@one_click.post("/unsubscribe/<token>")
@by_link
def unsubscribe(token: str) -> Response:
    """What a mail program sends at one click: the token alone is asked for, whatever the body says."""
    with transaction(house().sessions) as session:
        service.stop(session, token, settings=house().settings, now=utc_now())
    return Response(status=204)


@one_click.get("/unsubscribe/<token>")
@by_link
def unsubscribe_page(token: str) -> WerkzeugResponse:
    """The same address opened by a person: the page asks first, for scanners open links too."""
    return redirect(url_for("watches.ask_choice", token=token, choice="stop"), code=303)


def _water(session: Session, public_id: str) -> uuid.UUID:
    found = water_by_public_id(session, public_id)
    if found is None:
        raise NotFound("water_not_found")
    return found.water_body_id


def _back(public_id: str) -> WerkzeugResponse:
    return redirect(url_for("portal.water", public_id=public_id, _anchor="watch"), code=303)
