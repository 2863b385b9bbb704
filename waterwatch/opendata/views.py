"""The JSON API for programs: photos, reports, what became of them, waters and incidents near a place.

It reads no cookie and knows no session: whoever calls is nobody, or an application that shows its token.
"""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, g, jsonify, render_template, request
from pydantic import BaseModel
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, Unauthorized, UnsupportedMediaType

from waterwatch.accounts import queries as accounts
from waterwatch.accounts.queries import ClientView
from waterwatch.contacts.forms import read_contact
from waterwatch.contacts.rules import Contact
from waterwatch.incidents import queries as incidents
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Invalid
from waterwatch.kernel.ids import new_id
from waterwatch.notices import queries as notices
from waterwatch.notices import rules as progress
from waterwatch.notices.queries import Following
from waterwatch.opendata import answers, document, forms, queries
from waterwatch.reports import forms as report_forms
from waterwatch.reports import queries as reports
from waterwatch.reports import service as report_service
from waterwatch.reports.forms import Sender
from waterwatch.reports.intake import Receipt
from waterwatch.reports.rules import CORRECTABLE, WITHDRAWABLE
from waterwatch.reports.views import store_report, upload_limits
from waterwatch.uploads import rules as upload_rules
from waterwatch.uploads import service as uploads
from waterwatch.waters import queries as waters
from waterwatch.waters.rules import to_wgs84
from waterwatch.web.bodies import replayed, take_over
from waterwatch.web.errors import ask_nobody_who_is_signed_in, render_error
from waterwatch.web.guards import by_link, public
from waterwatch.web.headers import override_csp
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language
from waterwatch.web.limits import KnownSender
from waterwatch.web.uploads import SpooledFile, spool_uploads

bp = Blueprint("opendata", __name__, url_prefix="/api/v1", template_folder="templates")

NEAREST_SHOWN = 3
NEARBY_M = 500.0
PIECE_BYTES = 1024 * 1024  # what gunicorn reads at once: smaller pieces make it copy the rest each time
WITH_FILES = ("opendata.create_photo", "opendata.create_report")
OURS = "web"  # what our own page says it is; it shows no token
DOCS_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def known_sender() -> KnownSender | None:
    """The application whose token this request shows, for the rate limits."""
    client = _client()
    return KnownSender(str(client.client_id), client.rate_limit) if client else None


@bp.url_value_preprocessor
def _prepare(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Before anything reads the body, also in search of who is signed in: its files go straight to the spool."""
    ask_nobody_who_is_signed_in()
    if endpoint in WITH_FILES:
        g.spool = spool_uploads(request, house().settings.spool_dir, upload_limits())
    if endpoint == "opendata.create_photo":
        g.body = take_over(request, house().settings)


@bp.teardown_request
def _discard_spool(_error: BaseException | None) -> None:
    for spooled in (g.pop("spool", None), g.pop("body", None)):
        if spooled is not None:
            spooled.discard()


@bp.before_request
def refuse_bad_token() -> None:
    """A token that does not hold is said to be so, instead of being treated as nobody."""
    if request.authorization is not None and _client() is None:
        raise Unauthorized


@bp.after_request
def keep_nothing(response: Response) -> Response:
    """Nothing of this interface is kept by anybody on the way."""
    response.headers.setdefault("Cache-Control", "no-store")
    return response


@bp.errorhandler(RequestEntityTooLarge)
def _too_large(_error: RequestEntityTooLarge) -> Response:
    if request.is_json:
        return render_error(413, code="request_entity_too_large")
    return render_error(413, code="upload_too_large", fields={"photo": ["photo_too_large"]})


@bp.get("/openapi.json")
@public
def openapi() -> Response:
    """The OpenAPI 3.1 document of this interface."""
    response = jsonify(document.describe(house().settings))
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


@bp.get("/docs")
@public
def docs() -> Response:
    """The document, rendered by our own copy of Swagger UI."""
    response = Response(render_template("opendata/docs.html"), mimetype="text/html")
    override_csp(response, DOCS_CSP)
    return response


@bp.post("/photos")
@public
def create_photo() -> Response:
    """Take one photo: one file of a multipart form, or the file itself as the body."""
    part = _one_file() if request.mimetype == "multipart/form-data" else _body_as_file()
    if part.is_too_large:
        raise RequestEntityTooLarge
    if part.size_bytes == 0:
        raise Invalid({"photo": ["photo_empty"]})
    found, length, digest = house(), part.size_bytes, part.sha256
    upload = uploads.take(
        part.make_durable(),
        length,
        digest,
        sessions=found.sessions,
        objects=found.objects,
        settings=found.settings,
        now=utc_now(),
    )
    part.path = None
    token = upload_rules.token_of(upload, found.settings)
    return _say(answers.PhotoOut(id=token, bytes=length, expires_at=upload.expires_at), 201)


@bp.post("/reports")
@public
def create_report() -> Response:
    """Take one report: JSON that names photos sent before, or a multipart form with the photos themselves."""
    client = _client()
    sender = Sender("web" if _is_our_page() else "api", client.client_id if client else None)
    if request.mimetype == "multipart/form-data":
        return _receipt(_from_form(sender))
    report = forms.read(forms.ReportIn, request.get_json())
    settings = house().settings
    claimed = forms.claimed_photos(report.photos, settings)
    contact = _contact(forms.contact_fields(report.contact))
    command = report_forms.parse_submission(
        forms.as_fields(report),
        (),
        claimed=claimed,
        sender=sender,
        photos_per_report=settings.photos_per_report,
        language=report.language,
        to_wgs84=to_wgs84,
        now=utc_now(),
    )
    return _receipt(store_report(command, contact=contact))


@bp.get("/reports/<token>")
@by_link
def follow(token: str) -> Response:
    """Where a report stands."""
    with transaction(house().sessions) as session:
        found = notices.following(session, token, language=viewer_language(), now=utc_now())
    return _say(followed(found))


@bp.post("/reports/<token>/withdraw")
@by_link
def withdraw(token: str) -> Response:
    """Take a report back, while nobody has accepted it. Twice is once."""
    with transaction(house().sessions) as session:
        report = reports.report_by_follow_token(session, token)
        report_service.withdraw(session, report.report_id, now=utc_now())
        found = notices.following(session, token, language=viewer_language(), now=utc_now())
    return _say(followed(found))


@bp.get("/waters/nearest")
@public
def nearest_waters() -> Response:
    """The best three waters at a place."""
    lon, lat, accuracy_m = _place()
    with transaction(house().sessions) as session:
        found = waters.nearest_waters(
            session, lon, lat, accuracy_m, NEAREST_SHOWN, search_limit_m=house().settings.snap_limit_m
        )
        names = waters.names_of(session, {one.water_body_id for one in found})
    return _say_all(
        answers.WaterOut(
            water_feature_id=one.water_feature_id,
            water=one.public_id,
            name=_name(names.get(one.water_body_id, {}), one.public_id),
            kind=one.kind,
            distance_m=round(one.distance_m),
            lon=one.snapped_lon,
            lat=one.snapped_lat,
        )
        for one in found
    )


@bp.get("/waters/search")
@public
def search_waters() -> Response:
    """Waters by name, each with a place on it and the areas it lies in."""
    asked = forms.read(forms.SearchIn, _query())
    with transaction(house().sessions) as session:
        found = queries.find_waters(session, asked.q, lang=viewer_language(), near=_near(asked))
    return _say_all(answers.water_out(one, viewer_language()) for one in found)


@bp.get("/places/search")
@public
def search_places() -> Response:
    """Waters, areas, and waters in an area ("洪山区 南湖"), by name."""
    asked = forms.read(forms.SearchIn, _query())
    with transaction(house().sessions) as session:
        found = queries.find_places(session, asked.q, lang=viewer_language(), near=_near(asked))
    return _say_all(answers.place_out(one, viewer_language()) for one in found)


@bp.get("/incidents/nearby")
@public
def nearby_incidents() -> Response:
    """Open incidents whose public point lies within 500 m, nearest first: the same problem need not be told anew."""
    lon, lat, _accuracy_m = _place()
    with transaction(house().sessions) as session:
        found = incidents.public_incidents_near(session, lon, lat, radius_m=NEARBY_M)
        names = waters.names_of(session, {one.incident.water_body_id for one in found})
    return _say_all(
        answers.IncidentOut(
            code=one.incident.code,
            kind=one.incident.kind,
            severity=one.incident.severity,
            water=_name(names.get(one.incident.water_body_id, {}), ""),
            water_feature_id=one.incident.water_feature_id,
            opened_at=one.incident.opened_at,
            distance_m=round(one.distance_m),
            lon=one.incident.lon,
            lat=one.incident.lat,
        )
        for one in found
    )


def _near(asked: forms.SearchIn) -> tuple[float, float] | None:
    return None if asked.lon is None or asked.lat is None else (asked.lon, asked.lat)


def _client() -> ClientView | None:
    """The application that shows its token; looked up once a request."""
    if "api_client" not in g:
        shown = request.authorization
        g.api_client = None
        if shown is not None and shown.type == "bearer" and shown.token:
            with transaction(house().sessions) as session:
                g.api_client = accounts.client_by_token(session, shown.token)
    client: ClientView | None = g.api_client
    return client


def _is_our_page() -> bool:
    return request.headers.get("X-WaterWatch") == OURS and _client() is None


def _one_file() -> SpooledFile:
    with replayed(request, g.body):
        _ = request.form  # reading it is what fills the spool
    files: list[SpooledFile] = g.spool.files
    if len(files) + g.spool.left_out != 1:
        raise Invalid({"photo": ["photo_missing" if not files else "photo_too_many"]})
    return files[0]


def _body_as_file() -> SpooledFile:
    if not (request.mimetype == "application/octet-stream" or request.mimetype.startswith("image/")):
        raise UnsupportedMediaType
    limit = house().settings.photo_max_bytes
    body: SpooledFile | None = g.body
    if body is not None:
        body.is_too_large = body.size_bytes > limit
        return body
    request.max_content_length = limit + 1
    part = SpooledFile(house().settings.spool_dir / f"{new_id()}.part", limit)
    g.spool.files.append(part)
    while piece := request.stream.read(PIECE_BYTES):
        part.write(piece)
    return part


def _from_form(sender: Sender) -> Receipt:
    fields, settings = request.form.to_dict(), house().settings
    command = report_forms.parse_submission(
        fields,
        g.spool.files,
        left_out=g.spool.left_out,
        sender=sender,
        photos_per_report=settings.photos_per_report,
        language=_language_of(fields),
        to_wgs84=to_wgs84,
        now=utc_now(),
    )
    return store_report(command, g.spool.files, _contact(fields))


def _contact(fields: Mapping[str, str]) -> Contact | None:
    """The contact among the fields, if there is one. Raises :class:`Invalid`."""
    contact, faults = read_contact(fields)
    if faults:
        raise Invalid(faults)
    return contact


def _language_of(fields: Mapping[str, str]) -> str:
    stated = fields.get("language", "")
    return stated if stated in ("zh-Hans", "zh-Hant", "en") else viewer_language()


def _place() -> tuple[float, float, float]:
    """(lon, lat, accuracy in metres) of a question about a place, in WGS-84."""
    asked = forms.read(forms.PlaceIn, _query())
    lon, lat = to_wgs84(asked.lon, asked.lat, asked.datum)
    return lon, lat, asked.accuracy_m or 0.0


def _query() -> dict[str, str]:
    """The query's fields. Raises ``BadRequest`` where one is given twice: which of them was meant?"""
    if any(len(values) > 1 for values in request.args.listvalues()):
        raise BadRequest
    return request.args.to_dict()


def _receipt(receipt: Receipt) -> Response:
    follow_url = f"{house().settings.public_url}/f/{receipt.follow_token}"
    return _say(answers.ReceiptOut(code=receipt.code, follow_url=follow_url, token=receipt.follow_token), 201)


def followed(found: Following) -> answers.FollowedOut:
    """Where a report stands, as programs are told."""
    report, incident = found.report, found.incident
    return answers.FollowedOut(
        code=report.code,
        state=report.state,
        kind=report.kind,
        received_at=report.received_at,
        can_withdraw=report.state in WITHDRAWABLE,
        can_correct=report.state in CORRECTABLE,
        version=report.version,
        refusal_code=report.refusal_code,
        refusal_words=report.refusal_words,
        incident_code=incident.code if incident else None,
        severity=incident.severity if incident else None,
        steps=[
            answers.StepOut.model_validate(
                {"step": step.code, "standing": step.standing, "at": step.at, "agency": step.agency}
            )
            for step in progress.steps(found.progress)
        ],
    )


def _name(names: Mapping[str, str], fallback: str) -> str:
    return answers.name_in(names, viewer_language(), fallback)


def _say(body: BaseModel, status: int = 200) -> Response:
    return Response(body.model_dump_json(), status, mimetype="application/json")


def _say_all(bodies: Any) -> Response:
    return jsonify([body.model_dump(mode="json") for body in bodies])
