"""Sending a report by the page's own form: the form, its photos, the receipt."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, g, jsonify, redirect, render_template, request
from flask_babel import lazy_gettext as _l
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.contacts import service as contacts
from waterwatch.contacts.forms import FIELDS as CONTACT_FIELDS
from waterwatch.contacts.forms import read_contact
from waterwatch.contacts.rules import Contact
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Invalid
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import MEBIBYTE
from waterwatch.reports import forms, intake
from waterwatch.reports.intake import Receipt, SubmitReport
from waterwatch.reports.tables import MEASURED
from waterwatch.waters.rules import to_wgs84
from waterwatch.web import work
from waterwatch.web.errors import render_error, wants_json
from waterwatch.web.guards import public
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language
from waterwatch.web.uploads import Spool, SpooledFile, UploadLimits, spool_uploads
from waterwatch.web.words import (
    AREA_LEVEL_WORDS,
    COLOUR_WORDS,
    CONTACT_ERROR_WORDS,
    EXTENT_WORDS,
    MEASURED_WORDS,
    REPORT_KIND_WORDS,
    SEVERITY_WORDS,
    SINCE_WORDS,
    SMELL_WORDS,
    WATER_KIND_WORDS,
)

bp = Blueprint("reports", __name__, template_folder="templates")
log = get_logger(__name__)

TRAP = "homepage"  # a field for programs that fill in whatever there is

# As a person meets them on the page; the summary of faults follows it.
FIELD_ORDER = (
    *("idempotency_key", "photo", "place", "lon", "lat", "datum", "water_feature_id", "place_confirmed"),
    "place_words",
    *("kind", "note", "extent", "ongoing", "since", "colour", "smell", "dead_animals", "people_affected"),
    *MEASURED,
    "same_as",
    *CONTACT_FIELDS,
)
OUT_OF_RANGE_WORDS = {
    "transparency_cm": _l("透明度应在 0 到 3000 厘米之间。"),
    "water_depth_cm": _l("水深应在 0 到 20000 厘米之间。"),
    "ph": _l("pH 应在 0 到 14 之间。"),
    "do_mg_l": _l("溶解氧应在 0 到 30 mg/L 之间。"),
    "nh3n_mg_l": _l("氨氮应在 0 到 500 mg/L 之间。"),
    "orp_mv": _l("氧化还原电位应在 −1000 到 1000 mV 之间。"),
    "temperature_c": _l("水温应在 −5 到 60 °C 之间。"),
}
ERROR_WORDS = {
    "idempotency_key_missing": _l("页面不完整。请重新打开上报页面再填一次。"),
    "idempotency_key_malformed": _l("页面不完整。请重新打开上报页面再填一次。"),
    "kind_missing": _l("请选择看到的是什么问题。"),
    "kind_unknown": _l("请从列表里选择问题的种类。"),
    "place_missing": _l("请在地图上标出位置，或填写经度和纬度。"),
    "place_swapped": _l("经度和纬度好像填反了，请对调后再提交。"),
    "place_confirmed_unknown": _l("请确认地图上的位置。"),
    "place_not_confirmed": _l("请确认地图上的位置就是你看到污染的地方。"),
    "datum_unknown": _l("请从列表里选择坐标系。"),
    "lon_missing": _l("请填写经度。"),
    "lon_not_a_number": _l("没有看懂经度。请这样写：114.3055 或 114°18′20″。"),
    "lon_out_of_range": _l("经度应在 −180 到 180 之间，分和秒都小于 60。"),
    "lon_wrong_axis": _l("经度只能是东经或西经。"),
    "lat_missing": _l("请填写纬度。"),
    "lat_not_a_number": _l("没有看懂纬度。请这样写：30.5928 或 30°35′34″。"),
    "lat_out_of_range": _l("纬度应在 −90 到 90 之间，分和秒都小于 60。"),
    "lat_wrong_axis": _l("纬度只能是北纬或南纬。"),
    "photo_missing": _l("请至少附一张照片。"),
    "photo_too_many": _l("照片太多，最多 %(photos)s 张。"),
    "photo_too_large": _l("有照片超过 %(megabytes)s MB。请选择小一些的照片，其他内容都已保留。"),
    "photo_empty": _l("有照片是空文件。请重新选择。"),
    "photo_choose_again": _l("请重新选择照片：浏览器不会替网页记住文件，其他内容都已保留。"),
    "place_words_too_long": _l("“怎么走到那里”太长，最多 200 个字。"),
    "note_too_long": _l("说明太长，最多 500 个字。"),
    "extent_unknown": _l("请从列表里选择范围。"),
    "smell_unknown": _l("请从列表里选择气味的轻重。"),
    "ongoing_unknown": _l("请回答“是”或“否”，或者留空。"),
    "dead_animals_unknown": _l("请回答“是”或“否”，或者留空。"),
    "people_affected_unknown": _l("请回答“是”或“否”，或者留空。"),
    "colour_unknown": _l("请从列表里选择颜色。"),
    "since_unknown": _l("请从列表里选择从什么时候开始。"),
    **dict.fromkeys((f"{name}_not_a_number" for name in MEASURED), _l("读数只写数字，例如 6.5。")),
    **{f"{name}_out_of_range": OUT_OF_RANGE_WORDS[name] for name in MEASURED},
    "same_as_malformed": _l("请重新选择是哪一个已公开的问题，或者取消选择。"),
    "photo_unknown": _l("照片还没有传到，或者放得太久已经删除。请重新发送。"),
    "photo_taken": _l("这张照片已经用在另一份上报里。请换一张照片。"),
    "water_feature_id_malformed": _l("请从列表里选择水体，或者留空。"),
    **CONTACT_ERROR_WORDS,
}


@bp.url_value_preprocessor
def _spool_photos(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Before anything reads the form, CSRF protection included: its files go straight to the spool."""
    if endpoint == "reports.submit":
        g.spool = spool_uploads(request, house().settings.spool_dir, upload_limits())


@bp.teardown_request
def _discard_spool(_error: BaseException | None) -> None:
    if (spool := g.pop("spool", None)) is not None:
        spool.discard()


@bp.errorhandler(RequestEntityTooLarge)
def _too_large(_error: RequestEntityTooLarge) -> Response:
    return render_error(413, code="upload_too_large", fields={"photo": ["photo_too_large"]})


@bp.get("/report")
@public
def new() -> str:
    """The empty form, with the key that makes sending it twice the same as once."""
    return _form({"idempotency_key": str(uuid.uuid4())} | _asked(), {})


def _asked() -> dict[str, str]:
    """What a link already says: somebody is asked to look at an incident again. Anything else in it is left out."""
    kind, same_as = request.args.get("kind", ""), request.args.get("same_as", "").strip().upper()
    known = {"kind": kind} if kind in REPORT_KIND_WORDS else {}
    return known | ({"same_as": same_as} if forms.is_code(same_as) else {})


@bp.post("/report")
@public
def submit() -> WerkzeugResponse | tuple[str, int]:
    """Take one report. 303 to its follow page, or 201 with JSON for the form's script; faults 400 or 413."""
    spool: Spool = g.spool
    fields = request.form.to_dict()
    settings = house().settings
    contact, faults = read_contact(fields)
    try:
        command = forms.parse_submission(
            fields,
            spool.files,
            left_out=spool.left_out,
            photos_per_report=settings.photos_per_report,
            language=viewer_language(),
            to_wgs84=to_wgs84,
            now=utc_now(),
        )
    except Invalid as fault:
        return _refuse(fields, fault.errors | faults, has_photos=bool(spool.files))
    if faults:
        return _refuse(fields, faults, has_photos=bool(spool.files))
    return _answer(store_report(replace(command, needs_screening=_is_suspect(fields)), spool.files, contact))


def _is_suspect(fields: Mapping[str, str]) -> bool:
    """Whether a program may have filled in the form. It is received as any other, and looked at before the others.

    The trap is hidden and its label asks people to leave it empty; above a network's free limit a form without script
    cannot do the work that is asked for there.
    """
    return bool(fields.get(TRAP, "").strip()) or work.is_over_free_limit()


def store_report(command: SubmitReport, parts: Sequence[SpooledFile] = (), contact: Contact | None = None) -> Receipt:
    """Durable bytes first, then one transaction. What did not become a report is removed again.

    ``contact`` is kept with a new report only: a repeat has brought it before, and its author may have erased it since.

    When the commit itself fails its outcome is unknown: the photos stay, for the reconciliation to keep or remove, and
    the same key sent again tells the person which it was. Raises ``TooMany`` for a device that sent all it may.
    """
    objects, settings = house().objects, house().settings
    work.check_device(command.device_id)
    is_committing = False
    try:
        for photo, part in zip(command.photos, parts, strict=True):
            objects.adopt_file(photo.object_key, part.make_durable())
            part.path = None
        with transaction(house().sessions) as session:
            receipt = intake.submit(session, command, settings=settings, now=utc_now())
            if contact is not None and not receipt.is_repeat:
                contacts.keep(session, receipt.report_id, contact, settings=settings, now=utc_now())
            is_committing = True
    except BaseException:
        if not is_committing:
            _remove_originals(command)
        raise
    if receipt.is_repeat:
        _remove_originals(command)
    else:
        work.count_device(command.device_id)
    log.info(
        "report.submitted",
        report_id=str(receipt.report_id),
        photos=len(command.photos) + len(command.claimed),
        is_repeat=receipt.is_repeat,
    )
    return receipt


def _remove_originals(command: SubmitReport) -> None:
    for photo in command.photos:
        house().objects.delete(photo.object_key)


def _answer(receipt: Receipt) -> WerkzeugResponse:
    follow_url = f"/f/{receipt.follow_token}"
    if not wants_json():
        return redirect(follow_url, code=303)
    response = jsonify(follow_url=follow_url, code=receipt.code)
    response.status_code = 201
    response.headers["Cache-Control"] = "no-store"
    return response


def _refuse(
    fields: Mapping[str, str], errors: dict[str, list[str]], *, has_photos: bool
) -> WerkzeugResponse | tuple[str, int]:
    status = 413 if "photo_too_large" in errors.get("photo", []) else 400
    if wants_json():
        return render_error(status, code="invalid", fields=errors)
    if has_photos and "photo" not in errors:
        errors = errors | {"photo": ["photo_choose_again"]}
    kept = dict(fields)
    if "idempotency_key" in errors:
        kept["idempotency_key"] = str(uuid.uuid4())
    return _form(kept, errors), status


def _form(values: Mapping[str, str], errors: Mapping[str, list[str]]) -> str:
    """Render the form. ``errors`` reach the template as sentences by field, in the order of the form."""
    settings = house().settings
    facts = {"photos": settings.photos_per_report, "megabytes": settings.photo_max_bytes // MEBIBYTE}
    sentences = {code: str(sentence) % facts for code, sentence in ERROR_WORDS.items()}
    return render_template(
        "reports/new.html",
        values=values,
        errors={field: [sentences[code] for code in errors[field]] for field in sorted(errors, key=FIELD_ORDER.index)},
        error_words=sentences,  # the page's script says them when the answer is JSON
        kinds=REPORT_KIND_WORDS,
        colours=COLOUR_WORDS,
        since=SINCE_WORDS,
        measured=MEASURED_WORDS,
        severities=SEVERITY_WORDS,
        extents=EXTENT_WORDS,
        smells=SMELL_WORDS,
        place_kinds=WATER_KIND_WORDS | AREA_LEVEL_WORDS,
        photos_per_report=settings.photos_per_report,
        photo_max_megabytes=facts["megabytes"],
        photo_max_bytes=settings.photo_max_bytes,
        note_max_characters=forms.NOTE_MAX_CHARACTERS,
        place_words_max_characters=forms.PLACE_WORDS_MAX_CHARACTERS,
    )


def upload_limits() -> UploadLimits:
    """What one request may bring."""
    settings = house().settings
    return UploadLimits(max_file_bytes=settings.photo_max_bytes, max_files=settings.photos_per_report)
