"""The author's contact, for the lead moderator alone: asked for with a reason, shown once, written down for good."""

import uuid

from flask import Blueprint, render_template, request
from flask_babel import lazy_gettext as _l
from flask_login import current_user

from waterwatch.contacts import service as contacts
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.reports import queries as reports
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.people import current_actor

bp = Blueprint("contact", __name__, url_prefix="/desk", template_folder="templates")

REASON_WORDS = {
    "ask_author": _l("有疑问要问上报人（对方同意过）"),
    "people_in_danger": _l("可能有人正处在危险之中"),
    "legal_demand": _l("法律文书要求"),
}


def may_reach_authors() -> bool:
    """Whether whoever is signed in may ask for a contact; nobody else is told that there is one."""
    return bool(current_user.has_permission("reverse"))


@bp.post("/<uuid:report_id>/contact")
@requires("reverse")
def show(report_id: uuid.UUID) -> str:
    """Show it on this answer only: no address holds it, so that going back or opening it again shows nothing."""
    reason = request.form.get("reason", "").strip()
    with transaction(house().sessions) as session:
        facts = reports.telling(session, report_id)
        shown = contacts.show(
            session, report_id, reason, actor=current_actor(), settings=house().settings, now=utc_now()
        )
    return render_template(
        "moderation/contact.html", report_id=report_id, code=facts.code, contact=shown, reason=REASON_WORDS[reason]
    )
