"""What people and programs are shown when something goes wrong: words, a number, and nothing of the inside."""

import ast
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask, Response, after_this_request
from sqlalchemy.engine import make_url

from tests.conftest import _administer
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel import errors
from waterwatch.web.errors import PAGES, STATUS, WORDS
from waterwatch.web.guards import public

PACKAGE = Path(__file__).resolve().parents[2] / "waterwatch"
KINDS = {"NotFound", "Forbidden", "Gone", "Conflict", "Unavailable", "DomainError", "IllegalMove"}
# Met only on the command line, by a job, or by nobody: no page ever shows them.
NEVER_SHOWN = {
    "address_unknown",
    "delivery_under_way",
    "letter_claimed",
    "letter_not_found",
    "mail_forgotten",
    "mail_not_found",
    "another_publishes",
    "code_space_exhausted",
    "delivery_claimed",
    "email_taken",
    "import_running",
    "lock_was_lost",
    "no_organisation",
    "not_in_production",
    "published_not_written",
}


def raising(error: Exception) -> Callable[[], str]:
    @public
    def view() -> str:
        raise error

    return view


@pytest.fixture
def broken(app: Flask) -> Flask:
    """The application with addresses that fail, each in its own way."""
    for name, error in {
        "not-found": errors.NotFound("report_not_found"),
        "forbidden": errors.Forbidden(),
        "gone": errors.Gone("link_expired"),
        "conflict": errors.Conflict("lease_lost"),
        "invalid": errors.Invalid({"kind": ["kind_required"]}),
        "unavailable": errors.Unavailable("storage_full", retry_after_s=7),
        "bug": RuntimeError("password=hunter2 at /srv/secret/path"),
    }.items():
        app.add_url_rule(f"/fails/{name}", f"fails_{name}", raising(error))
        app.add_url_rule(f"/api/fails/{name}", f"api_fails_{name}", raising(error))
    return app


CASES = {
    "not-found": 404,
    "forbidden": 403,
    "gone": 410,
    "conflict": 409,
    "invalid": 400,
    "unavailable": 503,
    "bug": 500,
}


@pytest.mark.parametrize(("name", "status"), CASES.items())
def test_people_get_a_page_with_words_and_the_requests_number(broken: Flask, name: str, status: int) -> None:
    response = broken.test_client().get(f"/fails/{name}")
    assert response.status_code == status
    assert str(PAGES[status][0]) in response.text
    assert response.headers["X-Request-ID"] in response.text
    assert response.headers["Cache-Control"] == "no-store"
    for inside in ("hunter2", "Traceback", "RuntimeError", "/srv/"):
        assert inside not in response.text


@pytest.mark.parametrize(("name", "status"), CASES.items())
def test_programs_get_a_problem_document(broken: Flask, name: str, status: int) -> None:
    response = broken.test_client().get(f"/api/fails/{name}")
    assert (response.status_code, response.mimetype) == (status, "application/problem+json")
    body = response.get_json()
    assert body["status"] == status
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert "hunter2" not in response.text


def test_a_problem_names_every_field_at_once_and_when_to_come_again(broken: Flask) -> None:
    client = broken.test_client()
    assert client.get("/api/fails/invalid").get_json()["errors"] == {"kind": ["kind_required"]}
    assert client.get("/api/fails/unavailable").headers["Retry-After"] == "8"


def test_accepting_json_first_is_enough(broken: Flask) -> None:
    response = broken.test_client().get("/fails/gone", headers={"Accept": "application/json, text/html;q=0.5"})
    assert response.get_json()["code"] == "link_expired"


def test_an_address_that_does_not_exist_and_a_method_that_does_not(visitor: Visitor) -> None:
    assert str(PAGES[404][0]) in visitor.get("/nowhere").text
    refused = visitor.client.post("/search", data={"csrf_token": visitor.token()})
    assert refused.status_code == 405
    assert "GET" in refused.headers["Allow"]


def test_a_form_too_large_for_any_page_is_refused_with_words(visitor: Visitor) -> None:
    fields = {"csrf_token": visitor.token(), "language": "x" * (300 * 1024)}
    response = visitor.client.post("/language", data=fields)
    assert response.status_code == 413
    assert str(PAGES[413][0]) in response.text


def test_every_status_of_the_table_has_a_page() -> None:
    assert set(STATUS.values()) <= set(PAGES)


def raised_codes() -> Iterator[str]:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args:
                code = node.args[0]
                if isinstance(code, ast.Constant) and isinstance(code.value, str):
                    yield code.value


def test_every_code_the_domain_raises_has_words() -> None:
    assert set(raised_codes()) - set(WORDS) - NEVER_SHOWN == set()


def test_a_database_that_is_gone_is_a_page_too_even_for_somebody_signed_in(
    visitor: Visitor, people: dict[str, DemoPerson], database_url: str, admin_url: str
) -> None:
    visitor.sign_in(people["moderator"])
    name = str(make_url(database_url).database)
    _administer(admin_url, "DROP DATABASE {name} WITH (FORCE)", name)
    response = visitor.get("/desk/")
    assert response.status_code == 503
    assert str(PAGES[503][0]) in response.text
    assert name not in response.text
    assert response.headers["Retry-After"] == "5"


def test_a_fault_outside_of_every_view_is_logged_by_its_rule_and_never_by_its_path(
    broken: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    @public
    def failing(token: str) -> str:
        @after_this_request
        def fail(_response: Response) -> Response:
            raise RuntimeError

        return token

    broken.add_url_rule("/fails/late/<token>", "fails_late", failing)
    broken.config["PROPAGATE_EXCEPTIONS"] = False
    with caplog.at_level(logging.INFO):
        assert broken.test_client().get("/fails/late/s3cr3t").status_code == 500
    written = " ".join(record.getMessage() for record in caplog.records)
    assert "/fails/late/<token>" in written
    assert "s3cr3t" not in written


def test_the_log_of_a_fault_quotes_no_row(broken: Flask, caplog: pytest.LogCaptureFixture) -> None:
    from sqlalchemy import text

    found = broken.extensions["waterwatch"]
    written_by = " ".join(("a", "citizen"))  # not as one: the traceback quotes this file

    @public
    def failing() -> str:
        with found.sessions() as session:
            session.execute(text("SELECT CAST(:words AS integer)"), {"words": written_by})
        return ""

    broken.add_url_rule("/fails/database", "fails_database", failing)
    with caplog.at_level(logging.INFO):
        assert broken.test_client().get("/fails/database").status_code == 500
    written = " ".join(str(record.msg) for record in caplog.records)
    assert "request.failed" in written
    assert "a citizen" not in written
