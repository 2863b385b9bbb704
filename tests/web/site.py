"""The whole application as a visitor meets it: real database, real Redis, forms with their tokens, codes of the day."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyotp
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.test import TestResponse

from waterwatch.accounts.service import DemoPerson, load_demo_people
from waterwatch.app import create_app
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


@contextmanager
def running(settings: Settings) -> Iterator[Flask]:
    """The application, and the test's own logging put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    app = create_app(settings)
    try:
        yield app
    finally:
        for engine in _engines(app):
            engine.dispose()
        root.handlers[:] = handlers
        root.setLevel(level)


def _engines(app: Flask) -> tuple[Engine, Engine]:
    return app.extensions["waterwatch"].engine, app.extensions["waterwatch"].reader


@contextmanager
def counting(app: Flask) -> Iterator[list[str]]:
    """The statements the application sends meanwhile."""
    sent: list[str] = []

    def note(_c: object, _cur: object, statement: str, *_: object) -> None:
        sent.append(statement)

    for engine in _engines(app):
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        for engine in _engines(app):
            event.remove(engine, "before_cursor_execute", note)


def load_people(sessions: sessionmaker[Session], settings: Settings) -> dict[str, DemoPerson]:
    """The demonstration's people by the part of their address before the @."""
    with transaction(sessions) as session:
        found = load_demo_people(session, settings=settings, now=utc_now())
    return {person.email.partition("@")[0]: person for person in found}


def acts(sessions: sessionmaker[Session]) -> list[str]:
    """What the audit says was done to people, in order, their making left out."""
    with transaction(sessions) as session:
        rows = session.execute(text("SELECT action FROM audit_entry WHERE subject_kind = 'person' ORDER BY id"))
        return [row.action for row in rows if row.action != "person.created"]


@dataclass
class Visitor:
    """One browser."""

    client: FlaskClient

    def get(self, path: str, **options: Any) -> TestResponse:
        """Open a page."""
        return self.client.get(path, **options)

    def token(self, page: str = "/login") -> str:
        """The CSRF token of a page's form."""
        found = TOKEN.search(self.client.get(page, follow_redirects=True).text)
        assert found is not None, f"{page} has no form"
        return found[1]

    def post(self, path: str, fields: dict[str, str] | None = None, *, page: str | None = None) -> TestResponse:
        """Send a form, with the token of the page it stands on."""
        data = {"csrf_token": self.token(page or path)} | (fields or {})
        return self.client.post(path, data=data)

    def give_password(self, person: DemoPerson, *, password: str | None = None, next_page: str = "") -> TestResponse:
        """The first step of signing in."""
        path = f"/login?next={next_page}" if next_page else "/login"
        return self.post(path, {"email": person.email, "password": password or person.password})

    def give_code(self, code: str) -> TestResponse:
        """The second step."""
        return self.post("/tf-validate", {"code": code})

    def sign_in(self, person: DemoPerson) -> TestResponse:
        """Both steps, as they should go."""
        assert self.give_password(person).status_code == 302
        response = self.give_code(pyotp.TOTP(person.totp_secret).now())
        assert response.status_code == 302, response.text
        return response
