"""Alerts in CAP 1.2: of all open incidents for everybody, of its own cases for an agency that subscribes."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from flask import Blueprint, Response, request
from flask_babel import gettext
from flask_babel import lazy_gettext as _l

from waterwatch.advisories import telling
from waterwatch.advisories.segments import Segment, merge, outlined, warned_reaches
from waterwatch.alerts.rules import MEDIA_TYPE, Alert, Area, Circle, Info, Reference, cap_xml
from waterwatch.atlas import alerts as atlas_alerts
from waterwatch.atlas import forecasts
from waterwatch.atlas import incidents as atlas
from waterwatch.atlas.alerts import Step
from waterwatch.atlas.forecasts import PublicForecast
from waterwatch.atlas.incidents import PublicIncident
from waterwatch.escalation import deliveries, reading
from waterwatch.escalation.channels import Pictures
from waterwatch.escalation.channels.cap_feed import KIND_CODE, alert_of
from waterwatch.escalation.feeding import subscriber
from waterwatch.escalation.queries import CaseFacts
from waterwatch.escalation.reading import Kept
from waterwatch.escalation.rules import TAKES_BACK
from waterwatch.incidents.rules import Severity, step_down_at
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import NotFound
from waterwatch.opendata.answers import name_in
from waterwatch.opendata.data_views import public_answer, where_it_went
from waterwatch.opendata.feeds import MEDIA_TYPE as ATOM
from waterwatch.opendata.feeds import Entry, Feed, write_feed
from waterwatch.web.errors import ask_nobody_who_is_signed_in
from waterwatch.web.guards import by_link, public
from waterwatch.web.house import house
from waterwatch.web.language import DEFAULT_LANGUAGE, state_language
from waterwatch.web.words import KIND_WORDS, SEVERITY_WORDS

bp = Blueprint("cap", __name__)

FED_FOR, FED_MOST = timedelta(days=90), 200
WATCH_WORDS = _l("请留意水面；看到异常请拍照上报。")
NOTICE = _l("公众观察等级，非政府预警。")


@bp.url_value_preprocessor
def _prepare(_endpoint: str | None, _values: dict[str, object] | None) -> None:
    """Alerts are in Chinese, whoever asks: CAP says the language within."""
    ask_nobody_who_is_signed_in()
    state_language(DEFAULT_LANGUAGE)


@bp.get("/feeds/cap.xml")
@public
def national() -> Response:
    """What changed last anywhere, each entry leading to its latest alert."""
    with transaction(house().sessions) as session:
        found = atlas.latest_of_country(session)
        coming = forecasts.public_forecasts(session, now=utc_now())
    feed = Feed(
        title=f"{gettext('全国的水污染事件')} · CAP",
        page_url=f"{_public_url()}/",
        feed_url=f"{_public_url()}/feeds/cap.xml",
        subtitle=str(NOTICE),
        language=DEFAULT_LANGUAGE,
    )
    entries = [*map(_entry_of_forecast, coming), *map(_entry, found)]
    return public_answer(write_feed(feed, entries), ATOM)


@bp.get("/feeds/cap/<code>.xml")
@public
def incident(code: str) -> Response:
    """The latest alert of one incident; those before it are named in it."""
    with transaction(house().sessions) as session:
        found = atlas.by_code(session, code)
        if found is None:
            code = where_it_went(session, code)
            return _moved(f"{_public_url()}/feeds/cap/{code}.xml")
        steps = atlas_alerts.steps_of(session, found.code)
    return public_answer(cap_xml(public_alert(found, steps)).decode(), MEDIA_TYPE)


@bp.get("/feeds/cap/<code>/downstream.xml")
@public
def downstream(code: str) -> Response:
    """The latest alert of what may come down the river from an incident, once everybody may know."""
    with transaction(house().sessions) as session:
        found = forecasts.public_forecast(session, code, now=utc_now())
        if found is None:
            raise NotFound("incident_not_found")
        # As of the step it names, which is kept to the second: one identifier, one content. What has passed since then
        # says so itself; what is public since then has a step of its own in a moment.
        step = found.steps[-1].at
        reaches = warned_reaches(session, [found.incident_id], now=step, public_at=step + timedelta(seconds=1))
        segments = outlined(session, merge(reaches.get(found.incident_id, [])))
    return public_answer(cap_xml(forecast_alert(found, segments)).decode(), MEDIA_TYPE)


@bp.get("/feeds/agency/<token>.xml")
@by_link
def of_agency(token: str) -> Response:
    """What an agency was told through this feed, newest first. The address is the key."""
    settings, now = house().settings, utc_now()
    with transaction(house().sessions) as session:
        contact = subscriber(session, settings, token)
        kept = reading.fed(session, contact.contact_id, since=now - FED_FOR, limit=FED_MOST)
        facts = reading.facts_of(session, kept)
    here = f"{_public_url()}/feeds/agency/{token}"
    entries = [_entry_of_letter(one, facts[one.case_id], here) for one in kept]
    feed = Feed(f"{contact.agency_name} · CAP", f"{_public_url()}/", f"{here}.xml", str(NOTICE), DEFAULT_LANGUAGE)
    return _private(Response(write_feed(feed, entries), content_type=ATOM))


@bp.get("/feeds/agency/<token>/<uuid:delivery_id>.xml")
@by_link
def of_delivery(token: str, delivery_id: uuid.UUID) -> Response:
    """One alert. That it was fetched is its receipt: a look at its headers is none."""
    settings = house().settings
    with transaction(house().sessions) as session:
        contact = subscriber(session, settings, token)
        kept = reading.kept_delivery(session, delivery_id, "cap_feed")
        if kept.contact_id != contact.contact_id or kept.state not in ("awaiting", "sent"):
            raise NotFound("delivery_not_found")
        before = reading.chain_of(session, kept)
        facts = reading.facts_of(session, [kept])[kept.case_id]
        letter = reading.letter_of(session, kept, facts, Pictures(None, None), settings=settings)
        told = cap_xml(alert_of(letter, settings, earlier=before))  # one that says nothing is no receipt
        if request.method == "GET":
            deliveries.settle_awaiting(session, delivery_id, now=utc_now())
    return _private(Response(told, content_type=MEDIA_TYPE))


def public_alert(one: PublicIncident, steps: Sequence[Step]) -> Alert:
    """The alert an incident stands at: its steps so far, the last one in full, or that it has ended."""
    sender = house().settings.public_host
    chain = [Reference(sender, _identifier(one.code, step.at), step.at) for step in steps]
    latest, severity = chain[-1], Severity(steps[-1].severity)
    alert = Alert(
        identifier=latest.identifier,
        sender=sender,
        sent=latest.sent,
        infos=(_info(one, severity, steps[-1]),),
        kind="Update" if chain[:-1] else "Alert",
        references=tuple(chain[:-1]),
        incidents=(one.code,),
    )
    if one.closed_at is None:
        return alert
    sent = max(one.closed_at, latest.sent)
    return replace(
        alert,
        identifier=f"{_identifier(one.code, sent)}-end",
        sent=sent,
        infos=(),
        kind="Cancel",
        references=tuple(chain),
    )


def forecast_alert(one: PublicForecast, segments: Sequence[Segment]) -> Alert:
    """The alert a forecast stands at: each stretch with its onset and outline, or that it has ended."""
    sender = house().settings.public_host
    chain = [
        Reference(sender, f"{_identifier(one.code, told.at)}-downstream{'-end' if told.is_end else ''}", told.at)
        for told in one.steps
    ]
    latest, before, page = chain[-1], tuple(chain[:-1]), f"{_public_url()}/i/{one.code}"
    infos = telling.infos_of(
        segments, one.kind, one.level, one.code, now=latest.sent, web=page, instruction=str(WATCH_WORDS)
    )
    if not one.is_standing:
        first = Reference(sender, latest.identifier.removesuffix("-end"), latest.sent)
        return Alert(latest.identifier, sender, latest.sent, (), "Cancel", references=before or (first,))
    if one.is_withdrawn or not infos:  # the job that says so is on its way
        return Alert(f"{latest.identifier}-end", sender, latest.sent, (), "Cancel", references=tuple(chain))
    return Alert(
        latest.identifier,
        sender,
        latest.sent,
        infos,
        "Update" if before else "Alert",
        references=before,
        incidents=(one.code,),
    )


def _entry_of_forecast(one: PublicForecast) -> Entry:
    """``is_withdrawn``: only that it has ended. Whoever was told may be told that, and nobody what it had been."""
    ended, url = gettext("已结束"), f"{_public_url()}/feeds/cap/{one.code}/downstream.xml"
    if one.is_withdrawn:
        title = gettext("下游预警 · %(code)s（%(level)s）", code=one.code, level=ended)
        return Entry(url, title, str(NOTICE), one.steps[0].at, one.steps[-1].at, None, "ended")
    level, kind = str(SEVERITY_WORDS[one.level]) if one.is_standing else ended, str(KIND_WORDS[one.kind])
    return Entry(
        url=url,
        title=gettext("下游预警 · %(water)s：%(kind)s（%(level)s）", water=one.water, kind=kind, level=level),
        summary=str(NOTICE),
        published_at=one.steps[0].at,
        updated_at=one.steps[-1].at,
        place=(one.lon, one.lat),
        kind=one.kind,
    )


def _identifier(code: str, at: datetime) -> str:
    return f"{code}-{int(at.timestamp())}"


def _info(one: PublicIncident, severity: Severity, step: Step) -> Info:
    water, kind = name_in(one.names, DEFAULT_LANGUAGE, one.water), str(KIND_WORDS[one.kind])
    level = str(SEVERITY_WORDS[int(severity)])
    return Info(
        event=kind,
        level=int(severity),
        headline=f"{water}：{kind}（{level}）",
        description=f"{water}：{kind}。{NOTICE}",
        areas=(Area(water, circles=(Circle(one.lon, one.lat),)),),
        urgency="Immediate" if severity is Severity.ESPECIALLY_MAJOR else "Expected",
        responses=("Avoid",),
        effective=step.at,
        onset=one.opened_at,
        expires=step_down_at(severity, confirmed_at=step.at),
        sender_name=gettext("江湖網·预警图"),
        web=f"{_public_url()}/i/{one.code}",
        event_codes=((KIND_CODE, one.kind),),
    )


def _entry(one: PublicIncident) -> Entry:
    level = str(SEVERITY_WORDS[one.severity]) if one.is_open else gettext("已结束")
    water, kind = name_in(one.names, DEFAULT_LANGUAGE, one.water), str(KIND_WORDS[one.kind])
    return Entry(
        url=f"{_public_url()}/feeds/cap/{one.code}.xml",
        title=gettext("%(water)s：%(kind)s（%(level)s）", water=water, kind=kind, level=level),
        summary=str(NOTICE),
        published_at=one.opened_at,
        updated_at=one.changed_at,
        place=(one.lon, one.lat),
        kind=one.kind,
    )


def _entry_of_letter(one: Kept, facts: CaseFacts, here: str) -> Entry:
    return Entry(
        url=f"{here}/{one.delivery_id}.xml",
        title=f"{facts.code}（{SEVERITY_WORDS[one.severity]}）",
        summary=str(NOTICE),
        published_at=one.created_at,
        updated_at=one.created_at,
        place=None if one.says in TAKES_BACK else (facts.lon, facts.lat),
        kind=one.says,
    )


def _public_url() -> str:
    return house().settings.public_url.rstrip("/")


def _moved(address: str) -> Response:
    response = Response(status=301)
    response.headers["Location"] = address
    return response


def _private(response: Response) -> Response:
    """The address is a key: nothing on the way keeps what it opened."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response
