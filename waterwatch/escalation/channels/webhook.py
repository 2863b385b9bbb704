"""A case as one signed JSON body, posted to the address an agency gave (docs/api.md, docs/case-event.json)."""

from typing import Any

from waterwatch.advisories import telling
from waterwatch.advisories.rules import Window, unit_peak_mg_per_l
from waterwatch.agencies.rules import WebhookSettings
from waterwatch.escalation.channels import Contact, Failed, Handed, Letter, Outcome, Wire, http
from waterwatch.escalation.channels.wording import kind_words, severity_words
from waterwatch.incidents.rules import Severity
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.settings import Settings
from waterwatch.messaging import webhook
from waterwatch.messaging.attempts import Failure

PREFIX = "case."
EVENTS = {"case": "forwarded"}  # every other word of ``Letter.says`` is its own


class WebhookChannel:
    """Handed over when the other side answers 2xx; the same id at every attempt lets it know a repetition."""

    name = "webhook"

    def endpoint(self, contact: Contact, settings: Settings) -> str:  # noqa: ARG002  # the Protocol's
        """Scheme, host and port of the address."""
        return http.endpoint_of(contact.address)

    def hand_over(self, letter: Letter, wire: Wire) -> Outcome:
        """Post the letter."""
        contact = letter.contact
        secrets = [secret.decode() for secret in (contact.secret, contact.previous_secret) if secret]
        if not secrets:
            return Failed(Failure("secret_missing", is_permanent=True))
        body = webhook.write_body(content_of(letter))
        client = http.client_of(wire)
        failure = webhook.post(client, contact.address, body, letter.delivery_id, secrets, now=utc_now())
        return Handed() if failure is None else Failed(failure)


def content_of(letter: Letter) -> dict[str, Any]:
    """What is told: of a case that was withdrawn, which one; of any other what was seen, where, and until when.

    Of what comes down the river: from where, and what is expected in the agency's area; nothing is asked until a time.
    """
    facts, is_raise = letter.facts, letter.raised_from is not None and letter.raised_from < letter.facts.severity
    case: dict[str, Any] = {"id": str(facts.case_id), "incident": facts.code, "page": letter.incident_url}
    event = "raised" if is_raise and letter.says == "case" else EVENTS.get(letter.says, letter.says)
    told: dict[str, Any] = {
        "type": PREFIX + event,
        "timestamp": letter.queued_at.isoformat(timespec="seconds"),
        "data": {"delivery": str(letter.delivery_id), "case": case},
    }
    if letter.warned is not None:
        case["answer_url"] = letter.answer_url
        told["data"] |= {"observation": _observation(letter), "place": _place(letter), "expected": _expected(letter)}
    elif not letter.takes_back:
        case["reply_by"] = letter.reply_by.isoformat(timespec="seconds")
        case["answer_url"] = letter.answer_url
        told["data"] |= {"observation": _observation(letter), "place": _place(letter), "pictures": _pictures(letter)}
    return told


def _observation(letter: Letter) -> dict[str, Any]:
    facts = letter.facts
    return {
        "kind": facts.kind,
        "kind_words": kind_words(letter),
        "severity": facts.severity,
        "colour": Severity(facts.severity).colour,
        "severity_words": severity_words(letter),
        "severity_is": "public_observation",
        "severity_before": letter.raised_from,
        "first_reported_at": facts.seen_at.isoformat(timespec="seconds") if facts.seen_at else None,
        "reports": facts.reports,
        "extent": facts.extent,
        "is_ongoing": facts.is_ongoing,
        "has_dead_animals": facts.has_dead_animals,
        "affects_people": facts.affects_people,
    }


def _expected(letter: Letter) -> dict[str, Any]:
    """What may come, the nearest first. Times are null where they are not known; ``probable`` alone is null below a
    lake, which holds it back."""
    warned = letter.warned
    assert warned is not None
    return {
        "basis": telling.how_sure(
            letter.facts.kind, is_timed=warned.is_timed, has_magnitudes=telling.has_magnitudes(warned.segments)
        ),
        "segments": [
            {
                "water": one.water,
                "from_km": round(one.from_km, 1),
                "until_km": round(one.until_km, 1),
                **_window(one.window),
                "lapses": one.lapses_at.isoformat(timespec="seconds"),
                "passage": telling.passage_words(one.passage_s),
                "unit_peak_mg_per_l": unit_peak_mg_per_l(one.unit_peak),
                "is_lake": one.is_lake,
                "is_dammed": one.is_dammed,
                "features": list(one.feature_ids),
            }
            for one in warned.segments
        ],
        "intakes": [
            {"name": one.name, "kind": one.kind, "at_km": round(one.distance_km, 1), **_window(one.window)}
            for one in warned.intakes
        ],
    }


def _window(window: Window) -> dict[str, str | None]:
    ends = {"earliest": window.earliest, "probable": window.probable}
    return {name: at.isoformat(timespec="seconds") if at is not None else None for name, at in ends.items()}


def _place(letter: Letter) -> dict[str, Any]:
    facts, gcj02 = letter.facts, letter.facts.gcj02
    return {
        "water": facts.water_name,
        "wgs84": {"lon": round(facts.lon, 6), "lat": round(facts.lat, 6)},
        "gcj02": {"lon": round(gcj02[0], 6), "lat": round(gcj02[1], 6)} if gcj02 else None,
    }


def _pictures(letter: Letter) -> dict[str, Any]:
    settings = letter.contact.settings
    if isinstance(settings, WebhookSettings) and not settings.takes_pictures:
        return {}
    return {"photo": letter.photo_url, "map": letter.map_url}
