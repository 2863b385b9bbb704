"""Who may use the administrator's pages: every route of them, for every role. A new one must be named."""

import uuid

import pytest
from flask import Flask
from sqlalchemy.orm import Session, sessionmaker

from tests.moderation.test_matrix import sign_in, status_of
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson

# What an administrator is answered who sends nothing with it, about something unknown.
MATRIX: dict[tuple[str, str], int] = {
    ("GET", "/admin/"): 302,
    ("GET", "/admin/rules"): 200,
    ("POST", "/admin/rules"): 400,
    ("POST", "/admin/rules/preview"): 400,
    ("POST", "/admin/rules/<uuid:rule_id>/preview"): 404,
    ("POST", "/admin/rules/<uuid:rule_id>/remove"): 404,
    ("POST", "/admin/rules/<uuid:rule_id>/restore"): 404,
    ("GET", "/admin/who"): 200,
    ("GET", "/admin/coverage"): 200,
    ("GET", "/admin/coverage.csv"): 200,
    ("GET", "/admin/agencies"): 200,
    ("GET", "/admin/agencies/new"): 200,
    ("POST", "/admin/agencies"): 400,
    ("GET", "/admin/agencies/<uuid:agency_id>"): 404,
    ("POST", "/admin/agencies/<uuid:agency_id>"): 404,
    ("POST", "/admin/agencies/<uuid:agency_id>/retire"): 404,
    ("POST", "/admin/agencies/<uuid:agency_id>/reinstate"): 404,
    ("POST", "/admin/agencies/<uuid:agency_id>/own"): 404,
    ("POST", "/admin/agencies/<uuid:agency_id>/contacts"): 404,
    ("POST", "/admin/contacts/<uuid:contact_id>"): 404,
    ("POST", "/admin/contacts/<uuid:contact_id>/use"): 404,
    ("POST", "/admin/contacts/<uuid:contact_id>/prefer"): 404,
    ("POST", "/admin/contacts/<uuid:contact_id>/rotate"): 404,
    ("POST", "/admin/contacts/<uuid:contact_id>/test"): 404,
}
OTHERS = {"nobody": 302, "citizen": 403, "officer": 403, "moderator": 403, "lead": 403}


def test_every_route_of_the_administrator_is_in_the_matrix(app: Flask) -> None:
    found = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/admin")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert found == set(MATRIX)


@pytest.mark.parametrize("role", [*OTHERS, "admin"])
def test_each_role_is_answered_as_the_matrix_says(
    visitor: Visitor, people: dict[str, DemoPerson], sessions: sessionmaker[Session], role: str
) -> None:
    sign_in(visitor, people, sessions, role)
    token = visitor.token("/login" if role in ("nobody", "citizen") else "/report")
    expected = {key: OTHERS.get(role, answer) for key, answer in MATRIX.items()}
    assert {key: status_of(visitor, token, *key) for key in MATRIX} == expected


def test_an_unknown_id_is_nothing(admin: Visitor) -> None:
    assert admin.get(f"/admin/agencies/{uuid.uuid4()}").status_code == 404
