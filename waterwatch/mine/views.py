"""My reports, on every device: the list, taking one in by its link, letting it go, deleting the account."""

import uuid

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_login import current_user, logout_user
from flask_security import verify_password
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Forbidden, NotFound
from waterwatch.mine import queries, service
from waterwatch.reports.intake import follow_token
from waterwatch.web.guards import SIGNED_IN, requires
from waterwatch.web.house import house
from waterwatch.web.people import current_actor
from waterwatch.web.words import REPORT_KIND_WORDS, REPORT_STATE_WORDS

bp = Blueprint("mine", __name__, url_prefix="/my", template_folder="templates")


@bp.get("")
@requires(SIGNED_IN)
def reports() -> str:
    """The reports in this account, each with the link to its own page."""
    settings = house().settings
    with transaction(house().sessions) as session:
        found = queries.my_reports(session, _person_id())
    tokens = {one.report_id: follow_token(settings, one.report_id, one.follow_digest) for one in found}
    return render_template(
        "mine/reports.html", reports=found, tokens=tokens, kinds=REPORT_KIND_WORDS, states=REPORT_STATE_WORDS
    )


@bp.post("/reports")
@requires(SIGNED_IN)
def keep() -> WerkzeugResponse:
    """Take a report in by its follow link, whole or its last part."""
    token = request.form.get("token", "").strip().rstrip("/").rpartition("/")[2]
    try:
        with transaction(house().sessions) as session:
            service.keep(session, _person_id(), token, now=utc_now())
        flash(gettext("已存到你的账号。"), "success")
    except NotFound:
        flash(gettext("这个链接不完整或不正确。"), "error")
    return redirect(url_for("mine.reports"), code=303)


@bp.post("/reports/<uuid:report_id>/remove")
@requires(SIGNED_IN)
def let_go(report_id: uuid.UUID) -> WerkzeugResponse:
    """Take it out of the account; the report stays."""
    with transaction(house().sessions) as session:
        service.let_go(session, _person_id(), report_id)
    flash(gettext("已从账号移除。上报本身不受影响。"), "success")
    return redirect(url_for("mine.reports"), code=303)


@bp.get("/delete")
@requires(SIGNED_IN)
def ask_delete() -> str:
    """What deleting means, and the password once more."""
    return render_template("mine/delete.html", errors={})


@bp.post("/delete")
@requires(SIGNED_IN)
def delete_account() -> WerkzeugResponse | tuple[str, int]:
    """Erase the account, what it kept, and the contacts left with it."""
    if current_user.is_staff:
        raise Forbidden("staff_account")
    if not verify_password(request.form.get("password", ""), current_user.password or ""):
        return render_template("mine/delete.html", errors={"password": [gettext("密码不正确。")]}), 400
    person_id = _person_id()
    logout_user()
    with transaction(house().sessions) as session:
        service.delete_account(session, person_id, now=utc_now())
    flash(gettext("账号已删除。上报还在，用各自的链接照样能打开。"), "success")
    return redirect("/", code=303)


def _person_id() -> uuid.UUID:
    person_id = current_actor().id
    assert person_id is not None, "guards let only signed-in people in"
    return person_id
