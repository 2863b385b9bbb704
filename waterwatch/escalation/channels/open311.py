"""A case as a request of a city's Open311 server.

GeoReport v2 knows no idempotency key. Before a repetition the server's own list is searched for our id, which stands in
the description and as ``account_id``; only where a server lists neither, or is slow to, may a request whose answer was
lost stand there twice, under one id. What a server is told it publishes: so it gets the public point and nothing that
opens the case, unless the contact says that it keeps its requests to itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from waterwatch.agencies.rules import Open311Settings
from waterwatch.escalation.channels import Awaiting, Contact, Failed, Handed, Letter, Outcome, Wire, http, wording
from waterwatch.escalation.links import photo_url
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.settings import Settings
from waterwatch.messaging import open311
from waterwatch.messaging.attempts import Failure
from waterwatch.messaging.http import Client
from waterwatch.messaging.open311 import Attribute, NewRequest, Refused, Server

AWAITS_ID = "remote_id"
TOKEN_PATIENCE_S = 72 * 3600.0  # a city's desk may number its requests by hand, over a weekend
DEFINITION_LASTS = timedelta(hours=1)
OTHER = "other"
TEXTS = frozenset({"string", "text"})


@dataclass(frozen=True)
class _Known:
    attributes: tuple[Attribute, ...]
    until: datetime


class Open311Channel:
    """Handed over when the server gives an id; awaiting it where it gives a token."""

    name = "open311"

    def endpoint(self, contact: Contact, settings: Settings) -> str:  # noqa: ARG002  # the Protocol's
        """Scheme, host and port of the address."""
        return http.endpoint_of(contact.address)

    def hand_over(self, letter: Letter, wire: Wire) -> Outcome:
        """Search for what an earlier attempt may have left there, else post the request."""
        settings, now = letter.contact.settings, utc_now()
        assert isinstance(settings, Open311Settings)
        code = settings.services.get(letter.facts.kind) or settings.services.get(OTHER)
        if code is None:
            return Failed(Failure("service_unmapped", is_permanent=True))
        client, server = http.client_of(wire).limited(), server_of(letter.contact)
        try:
            if letter.attempt > 1 and (found := _find(client, server, code, letter, now)) is not None:
                return Handed(found)
            attributes = _attributes(client, server, code, wire, now)
            answers = _answer(attributes, settings.attributes, letter)
            created = open311.create(client, server, _request(letter, code, answers, wire.settings), now=now)
        except Refused as refusal:
            return Failed(refusal.failure)
        if created.request_id is None:
            return Awaiting(AWAITS_ID, created.token, TOKEN_PATIENCE_S)
        return Handed(created.request_id)


def server_of(contact: Contact) -> Server:
    """The server of a contact, its key opened."""
    settings = contact.settings
    assert isinstance(settings, Open311Settings)
    key = contact.secret.decode() if contact.secret else None
    return Server(contact.address.rstrip("/"), key, settings.jurisdiction_id, settings.form)


def _find(client: Client, server: Server, code: str, letter: Letter, now: datetime) -> str | None:
    try:
        found = open311.find(client, server, code, str(letter.delivery_id), since=letter.queued_at, now=now)
    except Refused as refusal:
        if refusal.failure.is_permanent:  # it has no list
            return None
        raise
    return found.request_id if found is not None else None


def _attributes(client: Client, server: Server, code: str, wire: Wire, now: datetime) -> tuple[Attribute, ...]:
    """The questions of a service, asked once an hour. A server that does not tell has none."""
    name = f"open311:{server.url}:{code}"
    known: _Known | None = wire.kept.get(name)
    if known is not None and known.until > now:
        return known.attributes
    try:
        found = tuple(open311.definition(client, server, code, now=now))
    except Refused as refusal:
        if not refusal.failure.is_permanent and refusal.failure.code != "answer_garbled":
            raise
        found = ()
    wire.kept[name] = _Known(found, now + DEFINITION_LASTS)
    return found


def _answer(attributes: tuple[Attribute, ...], configured: Mapping[str, str], letter: Letter) -> dict[str, str]:
    """Answers to what a service asks: the contact's own, then what we know under the same name, then words.

    Raises :class:`Refused` ``attribute_missing`` for a question that has to be answered and that nobody here can.
    """
    known, answers = _known(letter), {}
    for one in attributes:
        answer = configured.get(one.code) or known.get(one.code)
        if answer is not None and one.keys and answer not in one.keys:
            answer = None
        if answer is None and one.is_required:
            answer = wording.kind_words(letter) if one.datatype in TEXTS and not one.keys else None
            if answer is None:
                raise Refused(Failure("attribute_missing", is_permanent=True))
        if answer is not None:
            answers[one.code] = answer
    return answers


def _known(letter: Letter) -> dict[str, str]:
    """What our own server asks, by its codes: other servers of WaterWatch understand it."""
    facts = letter.facts
    said = {
        "ongoing": facts.is_ongoing,
        "dead_animals": facts.has_dead_animals,
        "people_affected": facts.affects_people,
    }
    known = {code: "yes" if is_so else "no" for code, is_so in said.items() if is_so is not None}
    return known | ({"extent": facts.extent} if facts.extent else {})


def _request(letter: Letter, code: str, answers: Mapping[str, str], settings: Settings) -> NewRequest:
    facts, is_private = letter.facts, letter.contact.settings.is_private
    has_photo = not letter.takes_back and letter.warned is None
    return NewRequest(
        service_code=code,
        lon=facts.lon if is_private else facts.public_lon,
        lat=facts.lat if is_private else facts.public_lat,
        description=wording.render(letter, "open311.txt").strip(),
        account_id=str(letter.delivery_id),
        address=facts.water_name,
        media_url=photo_url(settings, letter) if letter.photo_url and has_photo else None,
        attributes=answers,
    )
