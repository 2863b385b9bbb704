"""What whoever holds a follow link may change: the report until it is judged, and how its author is told."""

from collections.abc import Mapping

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.contacts import queries as contacts
from waterwatch.contacts import service as contacts_service
from waterwatch.contacts.forms import parse_contact, parse_subscription
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.messaging.webpush import public_key
from waterwatch.notices import service
from waterwatch.postbox.service import make_pusher
from waterwatch.reports import appeals, corrections, questions
from waterwatch.reports import queries as reports
from waterwatch.reports.forms import NOTE_MAX_CHARACTERS, PLACE_WORDS_MAX_CHARACTERS
from waterwatch.reports.queries import Followed
from waterwatch.reports.rules import CORRECTABLE
from waterwatch.reports.views import ERROR_WORDS, FIELD_ORDER
from waterwatch.triage import service as triage
from waterwatch.waters import queries as waters
from waterwatch.waters.rules import to_wgs84
from waterwatch.web.guards import by_link
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language
from waterwatch.web.words import (
    COLOUR_WORDS,
    CONTACT_ERROR_WORDS,
    EXTENT_WORDS,
    MEASURED_WORDS,
    REPORT_KIND_WORDS,
    SINCE_WORDS,
    SMELL_WORDS,
)

bp = Blueprint("following", __name__, template_folder="templates")
NEAREST_SHOWN = 3


@bp.get("/f/<token>/correct")
@by_link
def correction_form(token: str) -> str | WerkzeugResponse:
    """The form as the author has filled it in so far, its place left out."""
    with transaction(house().sessions) as session:
        report = reports.report_by_follow_token(session, token)
        answers = _shown(corrections.answers_of(session, report.report_id))
    if report.state not in CORRECTABLE:
        return _too_late(token)
    return _correction_page(token, report, answers, {})


@bp.post("/f/<token>/correct")
@by_link
def correct(token: str) -> WerkzeugResponse | tuple[str, int]:
    """Take the correction; faults are shown on the form, and being too late is said on the follow page."""
    fields = request.form.to_dict()
    typed = fields.get("place_words", "").strip()
    try:
        with transaction(house().sessions) as session:
            report = reports.report_by_follow_token(session, token)
            language, settings = viewer_language(), house().settings
            if not typed:  # left blank on the page, so that they stay as they are
                fields |= _hidden(corrections.answers_of(session, report.report_id))
            done = corrections.restate(
                session,
                report.report_id,
                fields,
                settings=settings,
                language=language,
                to_wgs84=to_wgs84,
                now=utc_now(),
            )
    except Invalid as fault:
        return _correction_page(token, report, _shown(fields) if not typed else fields, fault.errors), 400
    except Conflict:
        return _too_late(token)
    flash(gettext("已修改。审核员会看到新的内容。") if done.changed else gettext("内容没有变化。"), "success")
    return redirect(url_for("notices.follow", token=token), code=303)


def _shown(answers: Mapping[str, str]) -> dict[str, str]:
    """What a follow link may show, which may be passed on: how one gets there may lead to where its author lives."""
    return {name: value for name, value in answers.items() if name != "place_words"}


def _hidden(answers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in answers.items() if name == "place_words"}


def _too_late(token: str) -> WerkzeugResponse:
    flash(gettext("这条上报已经审核完毕，不能再修改。"), "warning")
    return redirect(url_for("notices.follow", token=token), code=303)


def _correction_page(token: str, report: Followed, values: Mapping[str, str], errors: Mapping[str, list[str]]) -> str:
    """Render the form. ``errors`` reach the template as sentences by field, in the order of the form."""
    return render_template(
        "following/correct.html",
        token=token,
        report=report,
        values=values,
        errors={
            field: [str(ERROR_WORDS[code]) for code in errors[field]] for field in sorted(errors, key=FIELD_ORDER.index)
        },
        waters=_waters(report),
        kinds=REPORT_KIND_WORDS,
        colours=COLOUR_WORDS,
        since=SINCE_WORDS,
        measured=MEASURED_WORDS,
        extents=EXTENT_WORDS,
        smells=SMELL_WORDS,
        note_max_characters=NOTE_MAX_CHARACTERS,
        place_words_max_characters=PLACE_WORDS_MAX_CHARACTERS,
    )


def _waters(report: Followed) -> list[tuple[str, str]]:
    """The waters the report may mean, by name alone: how far they lie would tell where somebody stood."""
    with transaction(house().sessions) as session:
        place = reports.place_of(session, report.report_id)
        found = waters.nearest_waters(
            session,
            place.lon,
            place.lat,
            place.accuracy_m or 0.0,
            NEAREST_SHOWN,
            search_limit_m=house().settings.snap_limit_m,
        )
        names = waters.names_of(session, [one.water_body_id for one in found])
    language = viewer_language()
    return [
        (str(one.water_feature_id), of_body.get(language) or of_body.get("zh-Hans") or one.public_id)
        for one in found
        for of_body in [names.get(one.water_body_id, {})]
    ]


@bp.post("/f/<token>/answer")
@by_link
def answer(token: str) -> WerkzeugResponse:
    """The author answers a moderator's question; the report returns to the queue."""
    try:
        words = questions.parse_answer(request.form)
        with transaction(house().sessions) as session:
            report = reports.report_by_follow_token(session, token)
            questions.answer(session, report.report_id, words, now=utc_now())
            triage.put_back_if(session, report.report_id, "question")
        flash(gettext("谢谢你的回答，审核员会看到。"), "success")
    except Invalid:
        flash(gettext("请写下回答，最多 500 个字。"), "error")
    except Conflict:
        flash(gettext("这个问题已经不需要回答了。谢谢你。"), "info")
    return redirect(url_for("notices.follow", token=token), code=303)


@bp.post("/f/<token>/appeal")
@by_link
def appeal(token: str) -> WerkzeugResponse:
    """The author asks that somebody else look at a report that was refused, once."""
    try:
        words = appeals.parse_appeal(request.form)
        with transaction(house().sessions) as session:
            report = reports.report_by_follow_token(session, token)
            against = appeals.appeal(session, report.report_id, words, settings=house().settings, now=utc_now())
            triage.keep_from(session, report.report_id, against)
            triage.weigh(session, report.report_id)
        flash(gettext("已收到你的申诉，会由另一位审核员重新看。"), "success")
    except Invalid:
        flash(gettext("请写明为什么应该受理，最多 500 个字。"), "error")
    except Conflict:
        flash(gettext("现在不能申诉：已经申诉过，或者内容已经删除。"), "warning")
    return redirect(url_for("notices.follow", token=token), code=303)


@bp.get("/f/<token>/contact")
@by_link
def contact_form(token: str) -> str:
    """What has been left, never shown back, and the form to leave another."""
    return _contact_page(token, {}, {})


@bp.post("/f/<token>/contact")
@by_link
def keep_contact(token: str) -> WerkzeugResponse | tuple[str, int]:
    """Keep a contact in place of any earlier one, as long as there is something to tell."""
    try:
        contact = parse_contact(request.form)
    except Invalid as fault:
        return _contact_page(token, request.form, fault.errors), 400
    with transaction(house().sessions) as session:
        service.leave_contact(session, token, contact, settings=house().settings, now=utc_now())
    said = gettext("已保存。请打开我们刚寄出的邮件，点里面的链接确认。") if contact.by_mail else gettext("已保存。")
    flash(said, "success")
    return redirect(url_for("notices.follow", token=token), code=303)


@bp.post("/f/<token>/contact/erase")
@by_link
def erase_contact(token: str) -> WerkzeugResponse:
    """Erase it at once."""
    with transaction(house().sessions) as session:
        report = reports.report_by_follow_token(session, token)
        contacts_service.erase_contact(session, report.report_id, "author", actor=Actor.anonymous(), now=utc_now())
    flash(gettext("联系方式已删除。"), "success")
    return redirect(url_for("notices.follow", token=token), code=303)


@bp.post("/f/<token>/push")
@by_link
def subscribe(token: str) -> WerkzeugResponse:
    """This browser wants to be told. What its script filled in is checked like everything else.

    Raises :class:`Conflict` ``push_not_offered`` where no push service is set.
    """
    settings = house().settings
    vapid = public_key(settings) if settings.push_hosts else None
    if vapid is None:
        raise Conflict("push_not_offered")
    try:
        subscription = parse_subscription(request.form, vapid=vapid, pusher=make_pusher(settings))
        with transaction(house().sessions) as session:
            service.add_browser(session, token, subscription, settings=settings, now=utc_now())
        flash(gettext("好的，有进展时会在这台设备上提醒你。"), "success")
    except (Invalid, Conflict):
        flash(gettext("这台设备没有加上。可以留一个邮箱，或保存本页链接。"), "warning")
    return redirect(url_for("notices.follow", token=token), code=303)


@bp.post("/f/<token>/push/stop")
@by_link
def unsubscribe(token: str) -> WerkzeugResponse:
    """No browser is told of this report any more."""
    with transaction(house().sessions) as session:
        report = reports.report_by_follow_token(session, token)
        contacts_service.unsubscribe(session, report.report_id, now=utc_now())
    flash(gettext("好的，不再提醒。"), "success")
    return redirect(url_for("notices.follow", token=token), code=303)


@bp.get("/n/confirm/<token>", defaults={"choice": "confirm"})
@bp.get("/n/stop/<token>", defaults={"choice": "stop"})
@by_link
def ask_choice(token: str, choice: str) -> str:
    """Asks by a button: programs that look for viruses open every link of a mail."""
    return _choice_page(token, choice, is_done=False)


@bp.post("/n/confirm/<token>")
@by_link
def confirm(token: str) -> str:
    """This address wants the notices."""
    with transaction(house().sessions) as session:
        service.confirm(session, token, settings=house().settings, now=utc_now())
    return _choice_page(token, "confirm", is_done=True)


@bp.post("/n/stop/<token>")
@by_link
def stop(token: str) -> str:
    """No further mail to this address."""
    with transaction(house().sessions) as session:
        service.stop(session, token, settings=house().settings, now=utc_now())
    return _choice_page(token, "stop", is_done=True)


def _choice_page(token: str, choice: str, *, is_done: bool) -> str:
    return render_template("following/mail_choice.html", choice=choice, is_done=is_done, token=token)


def _contact_page(token: str, values: Mapping[str, str], errors: Mapping[str, list[str]]) -> str:
    with transaction(house().sessions) as session:
        report = reports.report_by_follow_token(session, token)
        contact = contacts.state_of(session, report.report_id)
    return render_template(
        "following/contact.html",
        token=token,
        report=report,
        contact=contact,
        values=values,
        errors={field: [str(CONTACT_ERROR_WORDS[code]) for code in codes] for field, codes in errors.items()},
    )
