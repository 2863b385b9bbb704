"""The OpenAPI document is true: whatever a program makes of it, the interface answers as the document says."""

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.schemas import BaseSchema

EXAMPLES = 60
OPERATIONS = (
    ("/photos", "POST"),
    ("/reports", "POST"),
    ("/reports/{token}", "GET"),
    ("/reports/{token}", "PATCH"),
    ("/reports/{token}/contact", "PUT"),
    ("/reports/{token}/contact", "DELETE"),
    ("/reports/{token}/withdraw", "POST"),
    ("/cases/{token}/answers", "POST"),
    ("/waters/nearest", "GET"),
    ("/waters/search", "GET"),
    ("/places/search", "GET"),
    ("/incidents/nearby", "GET"),
    *(
        (f"{path}.{form}", "GET")
        for path in (
            "/incidents",
            "/incidents/{code}",
            "/incidents/{code}/expected",
            "/waters/{water}/incidents",
            "/waters/{water}/expected",
            "/areas/{code}/incidents",
        )
        for form in ("geojson", "csv")
    ),
)


@pytest.fixture
def api(app: Flask) -> BaseSchema:
    """The document as the application serves it."""
    return schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)


def test_the_document_is_valid_openapi_3_1(client: FlaskClient) -> None:
    document = client.get("/api/v1/openapi.json").json
    assert document["openapi"] == "3.1.0"
    validate(document)
    found = {(path, method.upper()) for path, item in document["paths"].items() for method in item if method in METHODS}
    assert found == set(OPERATIONS)


METHODS = {"get", "put", "post", "delete", "patch", "head"}


TAKING_NOTHING = ("/incidents.geojson", "/incidents.csv")  # of them nothing wrong can be asked


@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [
        (path, method, mode)
        for path, method in OPERATIONS
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        if mode is GenerationMode.POSITIVE or path not in TAKING_NOTHING
    ],
)
def test_whatever_is_sent_is_answered_as_documented(
    api: BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    operation = api[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate()

    ask()
