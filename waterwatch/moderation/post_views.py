"""The lead's letters on paper: which wait to be posted, each as a PDF, and the day one went."""

import uuid
from datetime import date

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response as BaseResponse

from waterwatch.escalation import posting, reading
from waterwatch.escalation.rules import CHINA_TIME
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.people import current_actor
from waterwatch.web.words import KIND_WORDS, SEVERITY_WORDS

bp = Blueprint("letters", __name__, url_prefix="/desk/letters", template_folder="templates")


@bp.get("")
@requires("reverse")
def show() -> str:
    """What waits to be posted, gravest first, and what went last."""
    with transaction(house().sessions) as session:
        waiting, gone = reading.to_post(session), reading.posted(session)
        facts = reading.facts_of(session, [*waiting, *gone])
    return render_template(
        "moderation/letters.html",
        waiting=waiting,
        gone=gone,
        facts=facts,
        kinds=KIND_WORDS,
        severities=SEVERITY_WORDS,
        today=utc_now().astimezone(CHINA_TIME).date().isoformat(),
    )


@bp.get("/<uuid:delivery_id>/letter.pdf")
@requires("reverse")
def download(delivery_id: uuid.UUID) -> BaseResponse:
    """The letter, to be printed."""
    context = JobContext(house().settings, house().sessions, house().objects)
    code, written = posting.print_delivery(context, delivery_id)
    response = Response(written, mimetype="application/pdf")
    response.headers["Content-Disposition"] = f'attachment; filename="letter-{code}-{str(delivery_id)[-6:]}.pdf"'
    return response


@bp.post("/<uuid:delivery_id>/posted")
@requires("reverse")
def record(delivery_id: uuid.UUID) -> BaseResponse:
    """It went to the post on that day."""
    try:
        on = date.fromisoformat(request.form.get("on", "").strip()[:10])
        with transaction(house().sessions) as session:
            posting.record_posted(session, delivery_id, on, actor=current_actor(), now=utc_now())
        flash(gettext("已记下：这封信已经寄出。"), "success")
    except (ValueError, Invalid):
        flash(gettext("请填写寄出的日期：不早于写信那天，也不晚于今天。"), "error")
    except Conflict:
        flash(gettext("这封信已经不在等待寄出。"), "warning")
    return redirect(url_for("letters.show"), code=303)
