"""Every view says who may call it; one that says nothing answers nobody."""

from collections.abc import Callable
from typing import cast

import pytest
from flask import Flask

from tests.web.site import Visitor, running
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel.settings import Settings
from waterwatch.web.guards import (
    BY_LINK,
    FOREIGN_ENDPOINTS,
    PUBLIC,
    SIGNED_IN,
    by_link,
    declared_permission,
    public,
    requires,
)

PERMISSIONS = {PUBLIC, BY_LINK, SIGNED_IN, "review", "reverse", "unseal", "agency_desk", "administer"}
CLOSED = {"security.static", "security.two_factor_rescue", "security.tf_select"}  # the library's, answered by nobody
SECRET_PARTS = ("<token>",)


def test_every_view_declares_a_permission_that_exists(app: Flask) -> None:
    undeclared = {
        endpoint
        for endpoint, view in app.view_functions.items()
        if endpoint not in FOREIGN_ENDPOINTS | CLOSED and declared_permission(view) not in PERMISSIONS
    }
    assert undeclared == set()


def test_every_foreign_view_that_is_let_through_exists(app: Flask) -> None:
    assert set(app.view_functions) >= FOREIGN_ENDPOINTS


def test_what_is_reached_by_a_secret_link_declares_so(app: Flask) -> None:
    wrong = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if any(part in rule.rule for part in SECRET_PARTS)
        and rule.endpoint not in FOREIGN_ENDPOINTS
        and declared_permission(app.view_functions[rule.endpoint]) != BY_LINK
    }
    assert wrong == set()


def test_no_address_that_changes_something_answers_to_get(app: Flask) -> None:
    writing = (
        "grade",
        "refuse",
        "release",
        "withdraw",
        "next",
        "logout",
        "language",
        "second",
        "redactions",
        "original",
    )
    for rule in app.url_map.iter_rules():
        if rule.rule.rstrip("/").rpartition("/")[2] in writing:
            assert "GET" not in cast(set[str], rule.methods), rule.rule


def test_a_view_cannot_declare_two_permissions() -> None:
    with pytest.raises(ValueError, match="declares two permissions"):
        public(by_link(lambda: "x"))


def test_a_view_that_declares_nothing_fails_loudly_in_tests(app: Flask) -> None:
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    response = app.test_client().get("/forgotten")
    assert response.status_code == 500
    assert "secret" not in response.text


def test_a_view_that_declares_nothing_is_not_there_in_production(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str
) -> None:
    settings = make_settings(
        mode="production",
        public_url="https://waters.example.org",
        mail_from="waters@example.org",
        database_url=database_url,
        redis_url=redis_url,
    )
    with running(settings) as app:
        app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
        assert app.test_client().get("/forgotten").status_code == 404


@pytest.mark.parametrize(
    ("who", "opens"),
    [
        ("moderator", {"review"}),
        ("lead", {"review", "reverse", "unseal"}),
        ("officer", {"agency_desk"}),
        ("admin", {"administer"}),
    ],
)
def test_each_role_opens_its_own_pages_and_no_others(
    app: Flask, people: dict[str, DemoPerson], who: str, opens: set[str]
) -> None:
    for permission in PERMISSIONS - {PUBLIC, BY_LINK}:
        app.add_url_rule(f"/needs/{permission}", f"needs_{permission}", requires(permission)(lambda: "open"))
    visitor = Visitor(app.test_client())
    visitor.sign_in(people[who])
    opened = {name for name in PERMISSIONS - {PUBLIC, BY_LINK} if visitor.get(f"/needs/{name}").status_code == 200}
    assert opened == opens | {SIGNED_IN}
    assert {visitor.get(f"/needs/{name}").status_code for name in PERMISSIONS - {PUBLIC, BY_LINK} - opened} == {403}


def test_a_program_without_an_account_is_told_so_in_json(visitor: Visitor) -> None:
    response = visitor.get("/desk/", headers={"Accept": "application/json"})
    assert (response.status_code, response.mimetype) == (401, "application/problem+json")


def test_the_second_factor_can_be_made_optional_outside_production(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str, people: dict[str, DemoPerson]
) -> None:
    settings = make_settings(database_url=database_url, redis_url=redis_url, two_factor_required=False)
    with running(settings) as app, app.test_request_context():
        from waterwatch.accounts.views import Account

        session = app.extensions["waterwatch"].sessions()
        account = session.query(Account).filter_by(email=people["moderator"].email).one()
        session.close()
        assert account.check_tf_required([], False) == (False, [])
