"""A case as an alert in an agency's private feed: handed over when somebody fetched it."""

from datetime import datetime

from waterwatch.advisories import telling
from waterwatch.alerts.rules import Alert, Area, Circle, Info, MessageType, Reference, Resource
from waterwatch.escalation.channels import Awaiting, Contact, Letter, Outcome, Wire, wording
from waterwatch.incidents.rules import Severity, step_down_at
from waterwatch.kernel.errors import Gone
from waterwatch.kernel.settings import Settings

CAP_FEED, AWAITS_FETCH = "cap_feed", "fetch"
KIND_CODE, CASE_CODE = "waterwatch:kind", "waterwatch:case"


class CapFeedChannel:
    """Nothing is sent: whoever subscribes fetches. What was not fetched by its deadline goes another way."""

    name = CAP_FEED

    def endpoint(self, contact: Contact, settings: Settings) -> str:  # noqa: ARG002  # the Protocol's
        """Nobody's server."""
        return CAP_FEED

    def hand_over(self, letter: Letter, wire: Wire) -> Outcome:  # noqa: ARG002  # the Protocol's
        """It stands in the feed from now on."""
        return Awaiting(AWAITS_FETCH)


def alert_of(
    letter: Letter,
    settings: Settings,
    *,
    earlier: tuple[tuple[str, datetime], ...] = (),
    is_exercise: bool = False,
) -> Alert:
    """The letter as a CAP message for its agency alone, the exact place included.

    ``earlier``: identifiers and times of the case's alerts before it. Its own identifier is made of the delivery's id.

    Raises :class:`Gone`: it takes back what no alert has said, or warns of what is expected no more.
    """
    infos = () if letter.takes_back else _infos(letter)
    if not infos and (not letter.takes_back or not earlier):
        raise Gone("case_withdrawn")
    facts, sender = letter.facts, settings.public_host
    kind: MessageType = "Alert"
    if earlier:
        kind = "Cancel" if letter.takes_back else "Update"
    return Alert(
        identifier=str(letter.delivery_id),
        sender=sender,
        sent=letter.queued_at,
        infos=infos,
        kind=kind,
        status="Exercise" if is_exercise else "Actual",
        scope="Private",
        addresses=(str(facts.agency_id),),
        note=wording.render(letter, "_says.txt").strip(),
        references=tuple(Reference(sender, identifier, sent) for identifier, sent in earlier),
        incidents=(facts.code,),
    )


def _infos(letter: Letter) -> tuple[Info, ...]:
    """What is to be said: of a warning, each stretch of the agency's waters by itself."""
    if letter.says != "warning":
        return (_info(letter),)
    facts, warned = letter.facts, letter.warned
    segments = warned.segments if warned is not None else ()
    return telling.infos_of(
        segments,
        facts.kind,
        facts.severity,
        facts.code,
        now=letter.queued_at,
        web=letter.incident_url,
        instruction=wording.render(letter, "alert_instruction.txt").strip(),
    )


def _info(letter: Letter) -> Info:
    facts = letter.facts
    water = facts.water_name or facts.code
    return Info(
        event=wording.kind_words(letter),
        level=facts.severity,
        headline=f"{water}：{wording.kind_words(letter)}（{wording.severity_words(letter)}）",
        description=wording.render(letter, "alert.txt").strip(),
        areas=(Area(water, circles=(Circle(facts.lon, facts.lat),)),),
        urgency="Immediate" if facts.severity == Severity.ESPECIALLY_MAJOR else "Expected",
        responses=("Assess",),
        instruction=wording.render(letter, "alert_instruction.txt").strip(),
        onset=facts.seen_at,
        expires=step_down_at(Severity(facts.severity), confirmed_at=letter.queued_at),
        web=letter.incident_url,
        event_codes=((KIND_CODE, facts.kind),),
        parameters=((CASE_CODE, str(facts.case_id)),),
        resources=(Resource("photo", "image/jpeg", letter.photo_url),) if letter.photo_url else (),
    )
