"""Puts the house together. The only module that knows every slice and all of Flask's wiring."""

from datetime import timedelta
from urllib.parse import urlsplit

from flask import Flask
from flask_cors import CORS
from flask_wtf.csrf import CSRFProtect
from prometheus_client import CollectorRegistry
from werkzeug.middleware.proxy_fix import ProxyFix

from waterwatch.accountability import desk_views as accountability_desk
from waterwatch.accountability import views as accountability
from waterwatch.accounts import views as accounts
from waterwatch.bulletins import desk_views as bulletins_desk
from waterwatch.bulletins import views as bulletins
from waterwatch.directory import agency_views
from waterwatch.directory import views as directory
from waterwatch.escalation import photo_views as case_photo
from waterwatch.evidence import views as evidence
from waterwatch.fairness import views as fairness
from waterwatch.following import views as following
from waterwatch.kernel import log
from waterwatch.kernel.db import make_engine, make_reader, make_sessions
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import tiles_views as tiles
from waterwatch.mapping import views as mapping
from waterwatch.mapping.tiles_serving import TileServer
from waterwatch.messaging.fetching import Fetcher
from waterwatch.mine import views as mine
from waterwatch.moderation import (
    action_views,
    answer_views,
    batch_views,
    desk_views,
    downstream_views,
    incident_views,
    photo_views,
    post_views,
    record_views,
)
from waterwatch.moderation import views as moderation
from waterwatch.notices import views as notices
from waterwatch.officers import case_views as office_case
from waterwatch.officers import figures_views as office_figures
from waterwatch.officers import link_views as case_link
from waterwatch.officers import people_views as office_people
from waterwatch.officers import views as officers
from waterwatch.open311 import views as open311
from waterwatch.opendata import cap_views, data_views, site_views
from waterwatch.opendata import case_answers as api_cases
from waterwatch.opendata import following as api_following
from waterwatch.opendata import views as opendata
from waterwatch.portal import place_views as portal  # with the views it adds to
from waterwatch.portal import warning_views as early_warning
from waterwatch.reports import views as reports
from waterwatch.screening import views as screening
from waterwatch.uploads import views as uploads
from waterwatch.watches import views as watches
from waterwatch.web import health, installed, words
from waterwatch.web.assets import install_assets
from waterwatch.web.errors import Application, install_errors
from waterwatch.web.guards import install_guards
from waterwatch.web.headers import install_headers, origin_of
from waterwatch.web.house import EXTENSION, House
from waterwatch.web.json_bodies import install_json
from waterwatch.web.language import install_language
from waterwatch.web.limits import KnownSender, install_limits
from waterwatch.web.requests import RequestScope, install_request_log
from waterwatch.web.work import install_work

SESSION_HOURS = 12
FORM_MEMORY_BYTES = 256 * 1024  # every field that is not a file


def create_app(settings: Settings) -> Flask:
    """A WSGI application for these settings. Connects to nothing yet: each worker opens its own connections."""
    log.configure(settings.log_level, settings.log_format)
    app = Application("waterwatch", static_folder=None)
    _configure(app, settings)
    engine = make_engine(settings.database_url)
    settings.spool_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    reader = make_reader(settings.database_url)
    found = House(settings, engine, make_sessions(engine), ObjectStore(settings.objects_url), reader)
    app.extensions[EXTENSION] = found
    app.extensions[open311.FETCHER] = Fetcher(frozenset(settings.media_url_hosts.split()))
    registry = CollectorRegistry()

    install_json(app)
    install_request_log(app, registry)
    install_errors(app)
    # Before whatever reads a body.
    install_limits(app, settings, _known_sender)
    install_work(app, settings, _known_sender)
    csrf = CSRFProtect(app)
    accounts.register_accounts(app, found, registry)
    install_language(app)
    install_assets(app, settings.front_end_dir)
    install_guards(app)
    for blueprint in (
        portal.bp,
        early_warning.bp,
        reports.bp,
        notices.bp,
        following.bp,
        mine.bp,
        watches.bp,
        watches.one_click,
        moderation.bp,
        answer_views.bp,
        desk_views.bp,
        action_views.bp,
        incident_views.bp,
        downstream_views.bp,
        batch_views.bp,
        record_views.bp,
        post_views.bp,
        photo_views.bp,
        screening.bp,
        directory.bp,
        agency_views.bp,
        fairness.bp,
        evidence.bp,
        accountability.bp,
        accountability_desk.bp,
        bulletins.bp,
        bulletins_desk.bp,
        officers.bp,
        office_figures.bp,
        office_case.bp,
        office_people.bp,
        case_link.bp,
        case_photo.bp,
        mapping.bp,
        tiles.bp,
        installed.bp,
        uploads.bp,
        opendata.bp,
        api_following.bp,
        api_cases.bp,
        data_views.bp,
        site_views.bp,
        cap_views.bp,
        open311.bp,
        health.make_blueprint(registry),
    ):
        app.register_blueprint(blueprint)
    for blueprint in (
        uploads.bp,
        opendata.bp,
        api_following.bp,
        api_cases.bp,
        open311.bp,
        watches.one_click,
    ):  # no cookie gives any right there: nothing to borrow
        csrf.exempt(blueprint)
    if settings.cors_origins:
        resources = r"/(api|open311)/.*"
        CORS(app, resources=resources, origins=settings.cors_origins.split(), expose_headers=uploads.PROTOCOL_HEADERS)
    tile_hosts = [source.origin for source in settings.base_maps]
    install_headers(app, is_https=settings.is_https, tile_hosts=tile_hosts, published=origin_of(settings.published_url))
    app.jinja_env.globals.update(
        words=words,
        public_url=settings.public_url.rstrip("/"),
        is_demo=settings.mode == "demo",
        staging_mail=settings.staging_mail,
        base_tiles=[source.described() for source in settings.base_maps],
    )

    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    app.wsgi_app = TileServer(app.wsgi_app, settings, reader, registry)  # type: ignore[method-assign]
    app.wsgi_app = RequestScope(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _known_sender() -> KnownSender | None:
    return opendata.known_sender() or open311.known_sender()


def _configure(app: Flask, settings: Settings) -> None:
    session_key = settings.derive_key("session")
    previous_key = settings.derive_key("session", previous=True)
    assert session_key is not None
    app.config.update(
        SECRET_KEY=session_key,
        SECRET_KEY_FALLBACKS=[previous_key] if previous_key else [],
        SESSION_COOKIE_NAME="waterwatch",
        SESSION_COOKIE_SECURE=settings.is_https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(hours=SESSION_HOURS),
        # Else each answer sets the cookie as its request knew it, and one that comes late undoes what a later one set.
        SESSION_REFRESH_EACH_REQUEST=False,
        PREFERRED_URL_SCHEME=urlsplit(settings.public_url).scheme,
        # Where photos are taken the room itself allows more: what is not multipart is read into memory at once.
        MAX_CONTENT_LENGTH=FORM_MEMORY_BYTES,
        MAX_FORM_MEMORY_SIZE=FORM_MEMORY_BYTES,
        MAX_FORM_PARTS=100,
        TESTING=settings.mode == "test",
        WTF_CSRF_SSL_STRICT=False,  # Referer is suppressed by our own policy; the token and SameSite carry the defence
        WTF_CSRF_TIME_LIMIT=SESSION_HOURS * 3600,
    )
