"""A GeoReport v2 server (https://wiki.open311.org/GeoReport_v2/): services, requests, and what became of them.

Nobody signs in here and no cookie is read: whoever writes shows an application's token as ``api_key``. Reading gives
what the public map shows and no more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, abort, current_app, g, request
from flask_babel import lazy_gettext as _l
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from waterwatch.accounts import queries as accounts
from waterwatch.accounts.queries import ClientView
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import DomainError, Forbidden, Invalid, NotFound, Unavailable
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import MEBIBYTE
from waterwatch.messaging.fetching import Fetcher
from waterwatch.messaging.http import FetchError
from waterwatch.open311 import forms, queries, rules
from waterwatch.open311.queries import PublicRequest, ReportState
from waterwatch.open311.rules import Item
from waterwatch.reports import forms as report_forms
from waterwatch.reports.forms import Sender
from waterwatch.reports.intake import SubmitReport
from waterwatch.reports.views import ERROR_WORDS, store_report, upload_limits
from waterwatch.waters.rules import to_wgs84
from waterwatch.web.errors import PAGES, STATUS, WORDS, ask_nobody_who_is_signed_in, wants_json
from waterwatch.web.guards import public
from waterwatch.web.house import house
from waterwatch.web.language import state_language, viewer_language
from waterwatch.web.limits import KnownSender
from waterwatch.web.uploads import SpooledFile, spool_uploads
from waterwatch.web.words import EXTENT_WORDS, INCIDENT_STATE_WORDS, REPORT_KIND_WORDS, SEVERITY_WORDS, SMELL_WORDS

bp = Blueprint("open311", __name__, url_prefix="/open311")

FETCHER = "waterwatch.open311.fetcher"  # extension of the application: the client for media_url
CHANGED = "2026-11-24T00:00:00+00:00"  # changeset of the discovery document: when this interface last changed
SPECIFICATION = "http://wiki.open311.org/GeoReport_v2"
PICTURE_PX = 1024
FORMATS = {"xml": "text/xml", "json": "application/json"}
EVERY_METHOD = ("GET", "POST", "PUT", "PATCH", "DELETE")
FORM = "<any(xml, json):form>"
FIELD_WORDS = ERROR_WORDS | {
    "place_missing": _l("请给出经纬度 lat 和 long（WGS-84）：只有地址无法定位。"),
    "given_twice": _l("写了不止一次，只能写一次；多张照片请作为文件（media）发送。"),
    "photo_too_large": _l("有照片超过 %(megabytes)s MB，或者整个请求太大。"),
    "photo_empty": _l("有照片是空文件。"),
    "attribute_unknown": _l("没有这个问题：请先查询这项服务的定义。"),
    "service_request_id_malformed": _l("编号不对，或者一次查询的编号太多。"),
    "status_unknown": _l("状态只能是 open 或 closed。"),
    "time_malformed": _l("没有看懂时间。请这样写：2026-05-20T10:30:00+08:00。"),
    "span_too_long": _l("一次最多查询 90 天。"),
    "media_url_refused": _l("这里不从这个地址取照片。请把照片作为文件（media）随表单发送。"),
    "media_url_failed": _l("没有取到 media_url 的照片。请把照片作为文件（media）随表单发送。"),
}
QUESTION_WORDS = {
    "extent": _l("范围有多大"),
    "smell": _l("气味"),
    "ongoing": _l("现在还在发生吗"),
    "dead_animals": _l("有动物死亡吗"),
    "people_affected": _l("有人因此不舒服吗"),
}
ANSWER_WORDS: dict[str, Mapping[Any, Any]] = {
    "extent": EXTENT_WORDS,
    "smell": {str(degree): words for degree, words in SMELL_WORDS.items()},
    **{name: {"yes": _l("是"), "no": _l("否")} for name, keys in forms.ATTRIBUTES.items() if keys == forms.YES_NO},
}


def known_sender() -> KnownSender | None:
    """The application whose token this request shows, for the rate limits, as far as that is known without its files.

    A token that stands in a multipart form comes too late: whoever wants to be counted by it shows it in the header
    or the query as well.
    """
    client = _client(_early_key()) if request.blueprint == bp.name else None
    return KnownSender(str(client.client_id), client.rate_limit) if client else None


@bp.url_value_preprocessor
def _prepare(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Before anything reads the form, also in search of who is signed in: its files go straight to the spool."""
    ask_nobody_who_is_signed_in()
    state_language(request.args.get("locale", ""))
    if endpoint == "open311.create_request":
        g.spool = spool_uploads(request, house().settings.spool_dir, upload_limits())


@bp.before_request
def _refuse_other_jurisdiction() -> None:
    """One installation is one jurisdiction; naming it is optional, naming another one is a mistake."""
    _expect_jurisdiction(request.args.get("jurisdiction_id"))


@bp.teardown_request
def _discard_spool(_error: BaseException | None) -> None:
    if (spool := g.pop("spool", None)) is not None:
        spool.discard()


@bp.after_request
def _finish(response: Response) -> Response:
    """Nothing is kept by anybody on the way; faults nobody foresaw are told as the standard tells faults."""
    if response.status_code >= 400 and response.mimetype not in FORMATS.values():
        told = _refuse(response.status_code, [str(PAGES.get(response.status_code, PAGES[500])[0])])
        response.data, response.content_type = told.data, told.content_type
    response.headers.setdefault("Cache-Control", "no-store")
    return response


@bp.errorhandler(DomainError)
def _refuse_domain(error: DomainError) -> Response:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    if isinstance(error, Invalid):
        if "photo_too_large" in error.errors.get("photo", ()):
            status = 413
        return _refuse(status, [_sentence(field, code) for field, codes in error.errors.items() for code in codes])
    response = _refuse(status, [str(WORDS.get(error.error_code, PAGES.get(status, PAGES[400])[0]))])
    if isinstance(error, Unavailable) and "retry_after_s" in error.facts:
        response.headers["Retry-After"] = str(int(error.facts["retry_after_s"]) + 1)
    return response


@bp.errorhandler(HTTPException)
def _refuse_http(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < 400:
        return error
    return _refuse(error.code, [str(PAGES.get(error.code, PAGES[400])[0])])


@bp.errorhandler(RequestEntityTooLarge)
def _too_large(_error: RequestEntityTooLarge) -> Response:
    return _refuse(413, [_sentence("photo", "photo_too_large")])


@bp.get(f"/discovery.{FORM}")
@public
def discovery(form: str) -> Response:
    """Where the endpoints are."""
    settings = house().settings
    endpoint = {
        "specification": SPECIFICATION,
        "url": f"{settings.public_url}/open311/v2",
        "changeset": CHANGED,
        "type": "production" if settings.mode == "production" else "test",
        "formats": list(FORMATS.values()),
    }
    body = {
        "changeset": CHANGED,
        "contact": settings.public_url,
        "key_service": str(_l("请向本站的运营者申请 api_key。")),
        "endpoints": [endpoint],
    }
    return _say(form, "discovery", body)


@bp.get(f"/v2/services.{FORM}")
@public
def services(form: str) -> Response:
    """What can be reported, by the words of the viewer's language."""
    body = [
        {
            "service_code": kind,
            "service_name": str(words),
            "description": str(words),
            "metadata": True,
            "type": "realtime",
            "keywords": kind.replace("_", ","),
            "group": str(_l("水污染")),
        }
        for kind, words in REPORT_KIND_WORDS.items()
    ]
    return _say(form, "services", body, "service")


@bp.get(f"/v2/services/<code>.{FORM}")
@public
def service_definition(code: str, form: str) -> Response:
    """The optional questions about one kind of problem: the same for all."""
    if code not in REPORT_KIND_WORDS:
        raise NotFound("service_unknown")
    attributes = [
        {
            "variable": True,
            "code": name,
            "datatype": "singlevaluelist",
            "required": False,
            "datatype_description": None,
            "order": order,
            "description": str(QUESTION_WORDS[name]),
            "values": [{"key": key, "name": str(ANSWER_WORDS[name][key])} for key in keys],
        }
        for order, (name, keys) in enumerate(forms.ATTRIBUTES.items(), start=1)
    ]
    return _say(form, "service_definition", {"service_code": code, "attributes": attributes})


@bp.post(f"/v2/requests.{FORM}")
@public
def create_request(form: str) -> Response:
    """Take one report; it is answered with its code at once. 403 without a token that holds."""
    client = _client(_early_key() or request.form.get("api_key", ""))
    if client is None:
        raise Forbidden("api_key_refused")
    _expect_jurisdiction(request.form.get("jurisdiction_id"))
    forms.refuse_doubled(dict(request.form.lists()))
    fields = forms.as_citizens_fields(request.form.to_dict(), str(new_id()))
    if media_url := request.form.get("media_url", "").strip():
        _fetch(media_url)
    receipt = store_report(_command(fields, client), g.spool.files)
    link = f"{house().settings.public_url}/f/{receipt.follow_token}"
    notice = str(_l("已收到。凭这个链接查看进展或撤回，请转交上报人：")) + link
    body = {"service_request_id": receipt.code, "service_notice": notice, "account_id": None}
    return _say(form, "service_requests", [body], "request")


@bp.get(f"/v2/tokens/<code>.{FORM}")
@public
def token(code: str, form: str) -> Response:
    """Requests have their id from the first moment: an id is its own token, and opens nothing."""
    (known,) = _named([code])
    return _say(form, "service_requests", [{"service_request_id": known, "token": known}], "request")


@bp.get(f"/v2/requests.{FORM}")
@public
def requests(form: str) -> Response:
    """The public incidents, newest first; or those named, reports by their codes included."""
    asked = forms.parse_asked({name: ",".join(values) for name, values in request.args.lists()}, now=utc_now())
    with transaction(house().sessions) as session:
        if asked.codes:
            named = queries.requests_named(session, asked.codes, language=viewer_language())
            found = [_told(code, one) for code, one in named.items()]
        else:
            listed = queries.requests_listed(session, asked, language=viewer_language())
            found = [_told(one.code, one) for one in listed]
    return _say(form, "service_requests", found, "request")


@bp.get(f"/v2/requests/<code>.{FORM}")
@public
def service_request(code: str, form: str) -> Response:
    """The public state of one request."""
    found = _named([code])
    return _say(form, "service_requests", [_told(*item) for item in found.items()], "request")


@bp.route("/", defaults={"_rest": ""}, methods=EVERY_METHOD, strict_slashes=False)
@bp.route("/<path:_rest>", methods=EVERY_METHOD)
@public
def nowhere(_rest: str) -> Response:
    """Whatever else is asked for below our address is told so in our way."""
    abort(404)


def _expect_jurisdiction(named: str | None) -> None:
    if named and named.lower() != house().settings.public_host:
        raise NotFound("jurisdiction_unknown")


def _command(fields: Mapping[str, str], client: ClientView) -> SubmitReport:
    """The report, read as the citizen's own form is, with the photos that lie in the spool."""
    command = report_forms.parse_submission(
        fields,
        g.spool.files,
        left_out=g.spool.left_out,
        sender=Sender("open311", client.client_id),
        photos_per_report=house().settings.photos_per_report,
        language=viewer_language(),
        to_wgs84=to_wgs84,
        now=utc_now(),
    )
    return replace(command, idempotency_key=rules.idempotency_key(client.client_id))


def _named(codes: Sequence[str]) -> dict[str, PublicRequest | ReportState]:
    with transaction(house().sessions) as session:
        found = queries.requests_named(session, [code.upper() for code in codes], language=viewer_language())
    if not found:
        raise NotFound("service_request_unknown")
    return found


def _client(key: str) -> ClientView | None:
    """The application a token belongs to; looked up once a request."""
    known: dict[str, ClientView | None] = g.setdefault("open311_clients", {})
    if key and key not in known:
        with transaction(house().sessions) as session:
            known[key] = accounts.client_by_token(session, key)
    return known.get(key)


def _early_key() -> str:
    """The token a request shows before its files are read: in the header, the query, or a form without files."""
    shown = request.authorization
    if shown is not None and shown.type == "bearer" and shown.token:
        return shown.token
    is_short = request.method == "POST" and request.mimetype == "application/x-www-form-urlencoded"
    return request.args.get("api_key") or (request.form.get("api_key", "") if is_short else "")


def _fetch(media_url: str) -> None:
    """Put the photo an address names into the spool, beside those that came with the form. No transaction is open."""
    limits = upload_limits()
    if len(g.spool.files) >= limits.max_files:
        g.spool.left_out += 1
        return
    part = SpooledFile(house().settings.spool_dir / f"{new_id()}.part", limits.max_file_bytes)
    g.spool.files.append(part)
    fetcher: Fetcher = current_app.extensions[FETCHER]
    try:
        fetcher.fetch(media_url, part.write, max_bytes=limits.max_file_bytes)
    except FetchError as fault:
        if fault.code == "too_large":
            raise Invalid({"photo": ["photo_too_large"]}) from None
        is_ours = fault.code in ("not_https", "host_not_listed", "address_not_public")
        raise Invalid({"media_url": ["media_url_refused" if is_ours else "media_url_failed"]}) from None


def _told(code: str, found: PublicRequest | ReportState) -> Item:
    """One request as the standard writes it, under the code it was asked by."""
    if isinstance(found, ReportState):
        return {
            "service_request_id": code,
            "status": found.status,
            "requested_datetime": found.received_at,
            "updated_datetime": found.changed_at,
        }
    page = f"{house().settings.public_url}/i/{found.code}"
    agencies = [one.agency_name for one in found.cases if one.agency_name and one.state in rules.CASE_CONCERNED]
    names = found.names
    return {
        "service_request_id": code,
        "status": rules.CLOSED if found.closed_at else rules.OPEN,
        "status_notes": str(INCIDENT_STATE_WORDS[found.state]),
        "service_name": str(REPORT_KIND_WORDS[found.kind]),
        "service_code": found.kind,
        "description": None,
        "agency_responsible": ", ".join(dict.fromkeys(agencies)) or None,
        "service_notice": f"{SEVERITY_WORDS[found.severity]} {page}",
        "requested_datetime": found.opened_at,
        "updated_datetime": found.updated_at,
        "expected_datetime": None,
        "address": names.get(viewer_language()) or names.get("zh-Hans") or names.get("en"),
        "address_id": None,
        "zipcode": None,
        "lat": found.lat,
        "long": found.lon,
        "media_url": f"{page}/photo/1/{PICTURE_PX}" if found.has_photo else None,
    }


def _sentence(field: str, code: str) -> str:
    settings = house().settings
    facts = {"photos": settings.photos_per_report, "megabytes": settings.photo_max_bytes // MEBIBYTE}
    return f"{forms.parameter_of(field)}: {str(FIELD_WORDS[code]) % facts}"


def _refuse(status: int, sentences: Sequence[str]) -> Response:
    """Faults as the standard writes them, in the format the address names; where it names none, XML or as preferred."""
    is_named = request.path.endswith((".json", ".xml"))
    form = "json" if request.path.endswith(".json") or (not is_named and wants_json()) else "xml"
    faults = [{"code": status, "description": sentence} for sentence in sentences]
    response = _say(form, "errors", faults, "error")
    response.status_code = status
    return response


def _say(form: str, root: str, body: Item | Sequence[Item], child: str = "") -> Response:
    if form == "json":
        return Response(rules.to_json(body), content_type=rules.JSON)
    return Response(rules.to_xml(root, body, child), content_type=rules.XML)
