"""Who sends very many reports pays for each with some work of their machine; who sends more still is refused.

A classroom behind one address stays below the free limit or pays without noticing; a flood from one network costs its
sender some tenths of a second of a core a report. No third party is asked, no picture has to be read. The work is
ALTCHA's (https://altcha.org/docs/v2/proof-of-work/): to find the counter whose key, derived by PBKDF2, begins as the
challenge says. A challenge is signed and expires, so none is stored; a solved one is good once.
"""

import base64
import binascii
import json
import secrets
from collections.abc import Callable
from datetime import timedelta

from altcha import Challenge, Payload, create_challenge, verify_solution
from flask import Flask, Response, current_app, g, request

from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.errors import TooMany
from waterwatch.kernel.settings import Settings
from waterwatch.web.counters import Counters
from waterwatch.web.errors import render_error
from waterwatch.web.house import house
from waterwatch.web.limits import KnownSender, network_of

EXTENSION = "waterwatch.counters"
SOLUTION_HEADER = "Work-Solution"  # base64 of {"challenge": …, "solution": …}: read before the body is
SOLUTION_MAX_CHARACTERS = 4096
ALGORITHM = "PBKDF2/SHA-256"
# The counter lies between these, evenly: nobody waits more than one and a half times the average of 40 keys.
TRIES = range(20, 61)
SOLVABLE_FOR = timedelta(minutes=5)
PAYING, SCREENED = "opendata.create_report", "reports.submit"


def install_work(app: Flask, settings: Settings, known_sender: Callable[[], KnownSender | None]) -> None:
    """Above the free limit of a network ask API clients for work; mark the page's own form to be screened.

    Applications that show a token have a limit of their own and pay nothing. Call after ``install_limits``.
    """
    key = settings.derive_key("counters")
    assert key is not None
    counters = Counters(settings.redis_url, key)
    app.extensions[EXTENSION] = counters

    @app.before_request
    def _ask_for_work() -> Response | None:
        if request.method != "POST" or request.endpoint not in (PAYING, SCREENED) or known_sender() is not None:
            return None
        if counters.take(settings.report_free_limit, "network", utc_now().date().isoformat(), network_of(request)):
            return None
        if request.endpoint == SCREENED:
            g.is_over_free_limit = True
            return None
        if _is_paid(request.headers.get(SOLUTION_HEADER, ""), settings, counters):
            return None
        return render_error(428, code="work_needed", more={"challenge": make_challenge(settings).to_dict()})


def is_over_free_limit() -> bool:
    """Whether this network had used up its free limit when this request came, by a form that cannot do work."""
    return bool(g.get("is_over_free_limit", False))


def check_device(device_id: bytes | None) -> None:
    """Raise :class:`TooMany` when a device has sent as many reports as it may. None is no device: nothing to check."""
    if device_id is None:
        return
    after_s = _counters().retry_after_s(house().settings.device_rate_limit, "device", device_id.hex())
    if after_s is not None:
        raise TooMany("device_too_many", retry_after_s=after_s)


def count_device(device_id: bytes | None) -> None:
    """A report of a device was stored: one more of those it may send."""
    if device_id is not None:
        _counters().take(house().settings.device_rate_limit, "device", device_id.hex())


def make_challenge(settings: Settings) -> Challenge:
    """A fresh challenge: signed, solvable for five minutes, about forty keys of ``work_cost`` rounds each."""
    signing, proving = _keys(settings)
    return create_challenge(
        ALGORITHM,
        settings.work_cost,
        counter=secrets.choice(TRIES),
        expires_at=utc_now() + SOLVABLE_FOR,
        hmac_secret=signing,
        hmac_key_secret=proving,
    )


def _is_paid(solution: str, settings: Settings, counters: Counters) -> bool:
    """Whether the header solves a challenge of ours that is not over and was not used before."""
    payload = _read(solution)
    if payload is None:
        return False
    signing, proving = _keys(settings)
    outcome = verify_solution(payload, signing, hmac_key_secret=proving)
    once = f"1 per {int(SOLVABLE_FOR.total_seconds()) + 60} seconds"
    return outcome.verified and counters.take(once, "work", payload.challenge.parameters.nonce)


def _read(solution: str) -> Payload | None:
    """The header's content, if it has the form of a solution; whether it is one is for the signature to say."""
    if not solution or len(solution) > SOLUTION_MAX_CHARACTERS:
        return None
    try:
        given = json.loads(base64.b64decode(solution, validate=True))
        payload = Payload.from_dict(given)
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    parameters = payload.challenge.parameters
    is_ours = parameters.algorithm == ALGORITHM and isinstance(parameters.nonce, str)
    return payload if is_ours and isinstance(parameters.key_signature, str) else None


def _keys(settings: Settings) -> tuple[bytes, bytes]:
    signing, proving = settings.derive_key("work/challenge"), settings.derive_key("work/key")
    assert signing is not None
    assert proving is not None
    return signing, proving


def _counters() -> Counters:
    found = current_app.extensions[EXTENSION]
    assert isinstance(found, Counters)
    return found
