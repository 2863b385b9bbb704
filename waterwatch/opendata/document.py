"""The OpenAPI 3.1 document: paths by hand, schemas from the models that check the requests."""

from collections.abc import Mapping
from typing import Any

from apispec import APISpec
from pydantic import BaseModel

from waterwatch import __version__
from waterwatch.kernel.settings import MEBIBYTE, Settings
from waterwatch.opendata import answers, forms
from waterwatch.web.work import SOLUTION_HEADER, SOLUTION_MAX_CHARACTERS

PROBLEM = "application/problem+json"
_REFUSALS = {
    400: "What was sent cannot be understood; `errors` names every field at fault.",
    401: "The token shown does not belong to any application, or was revoked.",
    404: "There is no such thing.",
    410: "It was withdrawn, or the link's time is over.",
    409: "It was right once; meanwhile things have moved on.",
    413: "A photo is larger than this installation takes.",
    415: "Not one of the media types below.",
    428: "This network has sent very many: solve `challenge` and send again with `Work-Solution`.",
    429: "Too many requests; `Retry-After` says when to come again.",
    503: "A part of the system does not answer; `Retry-After` says when to come again.",
}
_ABOUT = """
Reports of water pollution, sent by programs for people. Nobody needs a token to report; an application that reports
for many people gets one from the operator, with a limit of its own (`Authorization: Bearer …`).

**In two steps**, as phones do: send each photo (`POST /photos`, or by the tus 1.0 protocol under `/uploads` where lines
break), then the report that names them. **In one step**: `POST /reports` as a multipart form with files.

The same report sent twice with the same `idempotency_key` is received once. Times are ISO 8601 with an offset, degrees
are WGS-84 unless `datum` says otherwise. Open311 GeoReport v2 is described in the documentation of this installation.
"""


def describe(settings: Settings) -> dict[str, Any]:
    """The document for this installation: its address and its limits are in it."""
    spec = APISpec(
        title="江湖網·預警圖 · WaterWatch",
        version=__version__,
        openapi_version="3.1.0",
        info={"description": _ABOUT.strip(), "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        servers=[{"url": f"{settings.public_url}/api/v1"}],
        security=[{}, {"client": []}],
    )
    spec.components.security_scheme("client", {"type": "http", "scheme": "bearer"})
    for model in _models():
        _add_schema(spec, model)
    for path, operations in _paths(settings).items():
        spec.path(path=path, parameters=operations.pop("parameters", []), operations=operations)
    document: dict[str, Any] = spec.to_dict()
    return document


def _models() -> tuple[type[BaseModel], ...]:
    return (
        forms.ReportIn,
        forms.CorrectionIn,
        forms.CaseAnswerIn,
        answers.PhotoOut,
        answers.ReceiptOut,
        answers.FollowedOut,
        answers.CaseAnswerOut,
        answers.WaterOut,
        answers.FoundWaterOut,
        answers.FoundPlaceOut,
        answers.IncidentOut,
        answers.IncidentsOut,
        answers.ExpectedOut,
        answers.ProblemOut,
    )


def _add_schema(spec: APISpec, model: type[BaseModel]) -> None:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    for name, part in schema.pop("$defs", {}).items():
        if name not in spec.components.schemas:
            spec.components.schema(name, part)
    spec.components.schema(model.__name__, schema)


def _paths(settings: Settings) -> dict[str, dict[str, Any]]:
    token = {
        "name": "token",
        "in": "path",
        "required": True,
        "description": "The secret of the report's follow link.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
    }
    photo = {"type": "string", "format": "binary", "minLength": 1}
    limit = f"At most {settings.photo_max_bytes // MEBIBYTE} MB; JPEG, PNG, WebP, HEIC or AVIF by its content."
    files = {"type": "object", "properties": {"photo": photo}, "required": ["photo"], "description": limit}
    return {
        "/photos": {
            "post": _operation(
                "createPhoto",
                "Send one photo",
                _answer(201, "It lies safe.", "PhotoOut"),
                refusals=(400, 413, 415),
                body={
                    "multipart/form-data": {"schema": files},
                    "image/*": {"schema": photo},
                    "application/octet-stream": {"schema": photo},
                },
            )
        },
        "/reports": {
            "post": _operation(
                "createReport",
                "Send one report",
                _answer(201, "It was received, now or before.", "ReceiptOut"),
                refusals=(400, 404, 409, 413, 415, 428),
                body={"application/json": {"schema": _ref("ReportIn")}},
            )
            | {"parameters": [_work_solution()]}
        },
        "/reports/{token}": {
            "parameters": [token],
            "get": _operation(
                "followReport", "Where a report stands", _answer(200, "Its way so far.", "FollowedOut"), refusals=(404,)
            ),
            "patch": _operation(
                "correctReport",
                "Say parts of a report differently, until it is accepted",
                _answer(200, "It says so now.", "FollowedOut"),
                refusals=(400, 404, 409, 415),
                body={"application/json": {"schema": _ref("CorrectionIn")}},
            ),
        },
        "/reports/{token}/contact": {
            "parameters": [token],
            "put": _operation(
                "keepContact",
                "Say how the author may be reached",
                {"204": {"description": "It is kept, sealed, in place of any earlier one."}},
                refusals=(400, 404, 409, 415),
                body={"application/json": {"schema": _ref("ContactIn")}},
            ),
            "delete": _operation(
                "eraseContact", "Erase it", {"204": {"description": "There is none any more."}}, refusals=(404,)
            ),
        },
        "/reports/{token}/withdraw": {
            "parameters": [token],
            "post": _operation(
                "withdrawReport",
                "Take a report back",
                _answer(200, "It is withdrawn, and its photos, place, words and answers are erased.", "FollowedOut"),
                refusals=(404, 409),
            ),
        },
        "/cases/{token}/answers": _case_answers(),
        "/waters/nearest": _question("nearestWaters", "The best three waters at a place", forms.PlaceIn, "WaterOut"),
        "/waters/search": _question("searchWaters", "Waters by name", forms.SearchIn, "FoundWaterOut"),
        "/places/search": _question(
            "searchPlaces", "Waters and administrative areas by name, also together", forms.SearchIn, "FoundPlaceOut"
        ),
        "/incidents/nearby": _question(
            "nearbyIncidents", "Open incidents within 500 m of a place", forms.PlaceIn, "IncidentOut"
        ),
        **_data_paths(),
    }


def _case_answers() -> dict[str, Any]:
    about = "The last part of the letter's link, `/a/<token>` (`answer_url` of a webhook's event): a key."
    token = {"name": "token", "in": "path", "required": True, "description": about}
    said = _operation(
        "answerCase",
        "Say something of a case, for the agency that was told of it",
        _answer(200, "It is received, now or before.", "CaseAnswerOut"),
        refusals=(400, 404, 409, 410, 415),
        body={"application/json": {"schema": _ref("CaseAnswerIn")}},
    )
    return {"parameters": [token | {"schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}}], "post": said}


def _data_paths() -> dict[str, dict[str, Any]]:
    """What the public pages tell, as GeoJSON and as CSV."""
    code = _named("code", forms.CODE, "The incident's code.")
    water = _named("water", "^[a-z0-9][a-z0-9-]{1,60}$", "The water's page is `/w/<water>`.")
    area = _named("code", "^[0-9]{6}$", "GB/T 2260 code of a province, prefecture or county.")
    moved = {"301": {"description": "It was merged into another incident, whose address follows."}}
    found: dict[str, dict[str, Any]] = {}
    told = "IncidentsOut"
    for path, name, summary, parameters, refusals, more, schema in (
        ("/incidents", "openIncidents", "Every open incident", [], (), {}, told),
        ("/incidents/{code}", "oneIncident", "One incident", [code], (404, 410), moved, told),
        ("/waters/{water}/incidents", "incidentsOfWater", "A water's incidents, ended ones too", [water], (404,), {},
         told),
        ("/areas/{code}/incidents", "incidentsOfArea", "The open incidents of an area", [area], (404,), {}, told),
        ("/incidents/{code}/expected", "expectedBelowIncident", "What may come down the river from an incident",
         [code], (404, 410), moved, "ExpectedOut"),
        ("/waters/{water}/expected", "expectedOfWater", "What may come to a water", [water], (404,), {}, "ExpectedOut"),
    ):  # fmt: skip
        for form, content in _data_forms(schema).items():
            answer = {"200": {"description": "Kept by caches for a minute at most.", "content": content}}
            operation = _operation(f"{name}As{form.title()}", summary, answer | more, refusals=refusals)
            found[f"{path}.{form}"] = {"parameters": parameters, "get": operation}
    return found


def _named(name: str, pattern: str, about: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "path", "required": True, "description": about, "schema": schema}


def _work_solution() -> dict[str, Any]:
    about = "After 428: base64 of the JSON object `{challenge, solution}`, solved by an ALTCHA v2 client. Good once."
    schema = {"type": "string", "pattern": "^[A-Za-z0-9+/]*={0,2}$", "maxLength": SOLUTION_MAX_CHARACTERS}
    return {"name": SOLUTION_HEADER, "in": "header", "required": False, "description": about, "schema": schema}


def _question(name: str, summary: str, asked: type[BaseModel], answered: str) -> dict[str, Any]:
    schema = asked.model_json_schema()
    required = schema.get("required", ())
    parameters = [
        {"name": field, "in": "query", "required": field in required, "schema": _plain(part)}
        for field, part in schema["properties"].items()
    ]
    answer = {"description": "Best first.", "content": {"application/json": {"schema": _list(answered)}}}
    return {"get": _operation(name, summary, {"200": answer}, refusals=(400,)) | {"parameters": parameters}}


def _plain(part: Mapping[str, Any]) -> dict[str, Any]:
    """A field of a query is there or not; it cannot be null."""
    options = [one for one in part.get("anyOf", ()) if one != {"type": "null"}]
    merged = dict(part) | (options[0] if options else {})
    return {key: value for key, value in merged.items() if key not in ("anyOf", "title", "default") or value}


def _operation(
    name: str,
    summary: str,
    answers: dict[str, Any],
    *,
    refusals: tuple[int, ...],
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    problem = {PROBLEM: {"schema": _ref("ProblemOut")}}
    refused = {
        str(status): {"description": _REFUSALS[status], "content": problem}
        for status in sorted({*refusals, 401, 429, 503})
    }
    operation: dict[str, Any] = {"operationId": name, "summary": summary, "responses": answers | refused}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _answer(status: int, description: str, model: str) -> dict[str, Any]:
    return {str(status): {"description": description, "content": {"application/json": {"schema": _ref(model)}}}}


def _ref(model: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model}"}


def _list(model: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(model)}


def _data_forms(schema: str) -> dict[str, dict[str, Any]]:
    return {
        "geojson": {"application/geo+json": {"schema": _ref(schema)}},
        "csv": {"text/csv": {"schema": {"type": "string"}}},
    }
