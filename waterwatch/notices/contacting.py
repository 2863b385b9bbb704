"""Pages about how an author is told: leave, change or erase a contact; confirm an address; stop the mails."""

from collections.abc import Mapping

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.contacts import queries as contacts
from waterwatch.contacts import service as contact_service
from waterwatch.contacts.forms import parse_contact
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Invalid
from waterwatch.notices import service
from waterwatch.reports import queries as reports
from waterwatch.web.guards import by_link
from waterwatch.web.house import house
from waterwatch.web.words import CONTACT_ERROR_WORDS

bp = Blueprint("contacting", __name__, template_folder="templates")


@bp.get("/f/<token>/contact")
@by_link
def form(token: str) -> str:
    """What has been left, never shown back, and the form to leave another."""
    return _page(token, {}, {})


@bp.post("/f/<token>/contact")
@by_link
def keep(token: str) -> WerkzeugResponse | tuple[str, int]:
    """Keep a contact in place of any earlier one, as long as there is something to tell."""
    try:
        contact = parse_contact(request.form)
    except Invalid as fault:
        return _page(token, request.form, fault.errors), 400
    with transaction(house().sessions) as session:
        service.leave_contact(session, token, contact, settings=house().settings, now=utc_now())
    said = gettext("已保存。请打开我们刚寄出的邮件，点里面的链接确认。") if contact.by_mail else gettext("已保存。")
    flash(said, "success")
    return redirect(url_for("notices.follow", token=token), code=303)


@bp.post("/f/<token>/contact/erase")
@by_link
def erase(token: str) -> WerkzeugResponse:
    """Erase it at once."""
    with transaction(house().sessions) as session:
        report = reports.report_by_follow_token(session, token)
        contact_service.erase_contact(session, report.report_id, "author", actor=Actor.anonymous(), now=utc_now())
    flash(gettext("联系方式已删除。"), "success")
    return redirect(url_for("notices.follow", token=token), code=303)


@bp.get("/n/confirm/<token>")
@by_link
def ask_confirm(token: str) -> str:
    """Asks by a button: programs that look for viruses open every link of a mail."""
    return render_template("notices/mail_choice.html", choice="confirm", is_done=False, token=token)


@bp.post("/n/confirm/<token>")
@by_link
def confirm(token: str) -> str:
    """This address wants the notices."""
    with transaction(house().sessions) as session:
        service.confirm(session, token, settings=house().settings, now=utc_now())
    return render_template("notices/mail_choice.html", choice="confirm", is_done=True, token=token)


@bp.get("/n/stop/<token>")
@by_link
def ask_stop(token: str) -> str:
    """Asks by a button, as above."""
    return render_template("notices/mail_choice.html", choice="stop", is_done=False, token=token)


@bp.post("/n/stop/<token>")
@by_link
def stop(token: str) -> str:
    """No further mail to this address."""
    with transaction(house().sessions) as session:
        service.stop(session, token, settings=house().settings, now=utc_now())
    return render_template("notices/mail_choice.html", choice="stop", is_done=True, token=token)


def _page(token: str, values: Mapping[str, str], errors: Mapping[str, list[str]]) -> str:
    with transaction(house().sessions) as session:
        report = reports.report_by_follow_token(session, token)
        contact = contacts.state_of(session, report.report_id)
    return render_template(
        "notices/contact.html",
        token=token,
        report=report,
        contact=contact,
        values=values,
        errors={field: [str(CONTACT_ERROR_WORDS[code]) for code in codes] for field, codes in errors.items()},
    )
