"""What the administrator's pages show, put together: who would be told of something, by what, and who would not."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.agencies import competence, registry
from waterwatch.agencies.queries import CompetentAgency, JurisdictionAt, jurisdictions_at, opposite_banks
from waterwatch.agencies.registry import AgencyRow, Duty, RuleView
from waterwatch.agencies.search import search_areas
from waterwatch.agencies.tables import AgencyContact
from waterwatch.directory.forms import AREA_CODE, Question
from waterwatch.escalation.channels import Contact
from waterwatch.escalation.channels.known import CHANNELS
from waterwatch.escalation.delivery_queries import LastLetter, endpoints_known, last_letters
from waterwatch.escalation.routing import ChiefTold, Route, Spot, route
from waterwatch.escalation.tables import Endpoint
from waterwatch.kernel.errors import Invalid
from waterwatch.kernel.settings import Settings
from waterwatch.waters.queries import Candidate, banks_along, names_of, nearest_waters
from waterwatch.waters.rules import from_wgs84, is_mainland
from waterwatch.waters.search import places_of, search_names

NEAR_WATER_M = 2000.0  # as far as a report looks for its water
ACCURACY_M = 30.0
FOUND = 8


@dataclass(frozen=True)
class Told:
    """An agency that would be told: the rules it is so by (none: by its own), whom it answers to, chiefs with it."""

    agency: CompetentAgency
    row: AgencyRow
    rules: tuple[RuleView, ...]
    above: tuple[AgencyRow, ...]
    chiefs: tuple[ChiefTold, ...]
    channels_in: str


@dataclass(frozen=True)
class NotTold:
    """An agency that answers for the place and would not be told. ``why`` is a stable code.

    ``nearer``: one of its kind that is more local is told. ``severity``: only from ``from_severity`` on.
    ``rule_says_no``: ``rule`` does. ``no_rule``: nothing says that it is.
    """

    row: AgencyRow
    why: str
    from_severity: int | None = None
    rule: RuleView | None = None


@dataclass(frozen=True)
class Answer:
    """Who would get it. ``chiefs_alone``: river chiefs with an address of whose area no office is told."""

    lon: float
    lat: float
    gcj02: tuple[float, float] | None
    areas: tuple[JurisdictionAt, ...]
    other_bank: tuple[JurisdictionAt, ...]
    water: Candidate | None
    water_names: Mapping[str, str]
    route: Route
    told: tuple[Told, ...]
    not_told: tuple[NotTold, ...]
    chiefs_alone: tuple[ChiefTold, ...]

    @property
    def why_nobody(self) -> str | None:
        """A stable code, where nobody is told."""
        if self.told:
            return None if any(one.agency.ways for one in self.told) else "nobody_reachable"
        if not self.areas:
            return "nobodys_area"
        return "nobody_competent" if self.not_told else "no_agency"


@dataclass(frozen=True)
class FoundPlace:
    """A place that words may have meant: a water or an area, its names, somewhere on or in it."""

    names: Mapping[str, str]
    kind: str
    above: tuple[Mapping[str, str], ...]
    lon: float
    lat: float


def spot_at(session: Session, lon: float, lat: float, kind: str, severity: int) -> tuple[Spot, Candidate | None]:
    """What routing is asked of a place (WGS-84): the observation on the nearest water, as a report's would be."""
    near = nearest_waters(session, lon, lat, ACCURACY_M, limit=1, search_limit_m=NEAR_WATER_M)
    if not near:
        return Spot(lon, lat, kind, severity, None, lon, lat), None
    water = near[0]
    feature, snapped = water.water_feature_id, (water.snapped_lon, water.snapped_lat)
    return Spot(lon, lat, kind, severity, feature, *snapped), water


def answer(session: Session, asked: Question, *, lang: str) -> Answer:
    """Who would get it, by the very statement that incidents are routed by, and everything beside it that explains it.

    ``asked.place`` must be given.
    """
    assert asked.place is not None
    lon, lat = asked.place
    spot, water = spot_at(session, lon, lat, asked.kind, asked.severity)
    found = route(session, spot)
    also: list[tuple[float, float]] = []
    if found.is_border and water is not None:
        banks = banks_along(session, water.water_feature_id, lon, lat)
        also = opposite_banks(session, [(pair.left, pair.right) for pair in banks])
    areas = jurisdictions_at(session, lon, lat, lang=lang)
    either = jurisdictions_at(session, lon, lat, also=also, lang=lang) if also else areas
    known = {agency_id for place in [(lon, lat), *also] for agency_id in registry.agencies_at(session, *place)[1]}
    told_ids = [agency.agency_id for agency in found.agencies]
    rows = registry.agencies_with_those_above(session, [*told_ids, *known], lang=lang)
    deciding = competence.deciding_rules(session, list(known), asked.kind)
    wanted = {*deciding.values(), *(rule_id for agency in found.agencies for rule_id in agency.rule_ids)}
    rules = registry.rules_by_id(session, wanted, lang=lang)
    names = names_of(session, [water.water_body_id]).get(water.water_body_id, {}) if water else {}
    return Answer(
        lon,
        lat,
        from_wgs84(lon, lat, "gcj02") if is_mainland(lon, lat) else None,
        tuple(areas),
        tuple(one for one in either if one not in areas),
        water,
        names,
        found,
        tuple(_told(session, agency, found, rows, rules) for agency in found.agencies),
        tuple(_not_told(session, known - set(told_ids), asked, found, rows, rules, deciding)),
        tuple(chief for chief, office in found.chiefs if office is None),
    )


def _told(
    session: Session,
    agency: CompetentAgency,
    found: Route,
    rows: Mapping[uuid.UUID, AgencyRow],
    rules: Mapping[uuid.UUID, RuleView],
) -> Told:
    return Told(
        agency,
        rows[agency.agency_id],
        tuple(rules[rule_id] for rule_id in agency.rule_ids),
        chain_above(rows, agency.agency_id),
        tuple(chief for chief, office in found.chiefs if office == agency.agency_id),
        registry.agency_and_names(session, agency.agency_id)[0].channels_in,
    )


def chain_above(rows: Mapping[uuid.UUID, AgencyRow], agency_id: uuid.UUID) -> tuple[AgencyRow, ...]:
    """Whom an agency answers to, the nearest first."""
    above: list[AgencyRow] = []
    at = rows[agency_id].parent_id
    while at is not None and at in rows and rows[at] not in above:
        above.append(rows[at])
        at = rows[at].parent_id
    return tuple(above)


def _not_told(
    session: Session,
    agency_ids: set[uuid.UUID],
    asked: Question,
    found: Route,
    rows: Mapping[uuid.UUID, AgencyRow],
    rules: Mapping[uuid.UUID, RuleView],
    deciding: Mapping[uuid.UUID, uuid.UUID],
) -> list[NotTold]:
    told_kinds = {agency.kind for agency in found.agencies}
    made = []
    for agency_id in sorted(agency_ids, key=lambda one: (rows[one].kind, rows[one].code)):
        row, rule = rows[agency_id], rules.get(deciding.get(agency_id, uuid.UUID(int=0)))
        least = least_severity(registry.duties_of(session, agency_id), asked.kind)
        if least is not None and least <= asked.severity and row.kind in told_kinds:
            made.append(NotTold(row, "nearer"))
        elif least is not None:
            made.append(NotTold(row, "severity", least, rule))
        elif rule is not None and not rule.is_competent:
            made.append(NotTold(row, "rule_says_no", None, rule))
        else:
            made.append(NotTold(row, "no_rule"))
    return made


def least_severity(duties: Sequence[Duty], kind: str) -> int | None:
    """From which severity on somebody with these duties is told of a kind of observation; None: never."""
    return min((one.min_severity for one in duties if one.observation_kind in (None, kind)), default=None)


def find_places(session: Session, words: str) -> list[FoundPlace]:
    """Waters and areas that may be meant, each with somewhere to ask about."""
    waters = search_names(session, words, limit=FOUND)
    places = places_of(session, [water.water_body_id for water in waters])
    found = []
    for water in waters:
        if (there := places.get(water.water_body_id)) is not None:
            lon, lat = there.samples[len(there.samples) // 2]
            found.append(FoundPlace(water.names, water.kind, (), lon, lat))
    for area in search_areas(session, words, limit=FOUND):
        at = registry.place_in(session, area.code)
        if at is not None:
            found.append(FoundPlace(area.names, area.level, area.above, *at))
    return found


def read_area(session: Session, words: str, *, field: str = "area") -> str | None:
    """The code of the area that was typed, by code or name; None for nothing typed: everywhere.

    Raises :class:`Invalid`: no such area, or several of that name, whose codes then have to be typed.
    """
    typed = " ".join(words.split())[:60]
    if not typed or AREA_CODE.fullmatch(typed):
        return typed or None
    exact = [area for area in search_areas(session, typed) if area.is_exact]
    # 武汉市 is found by 武汉, too; who types the whole name means that one.
    named = [area for area in exact if typed in area.names.values()] or exact
    if not named:
        raise Invalid({field: ["area_unknown"]})
    if len(named) > 1:
        raise Invalid({field: ["area_ambiguous"]}, areas=[(area.code, area.names, area.above) for area in named])
    return named[0].code


@dataclass(frozen=True)
class ContactShown:
    """A contact as its form shows it; the secret is never among it.

    ``endpoint``: what is known of its mailbox or server, if it ever put something off. ``failed``: its last letter did
    not arrive.
    """

    contact: AgencyContact
    services: str
    has_secret: bool
    rotated_at: datetime | None
    endpoint: Endpoint | None
    failed: LastLetter | None


def contacts_shown(session: Session, agency_id: uuid.UUID, *, settings: Settings) -> list[ContactShown]:
    """An agency's contacts for its page."""
    contacts = registry.contacts_of(session, agency_id)
    names = {
        one.id: CHANNELS[one.channel].endpoint(Contact(one.id, one.channel, one.address), settings) for one in contacts
    }
    endpoints, last = endpoints_known(session, names.values()), last_letters(session, agency_id)
    return [
        ContactShown(
            one,
            "\n".join(f"{kind}={code}" for kind, code in sorted(one.settings.get("services", {}).items())),
            one.sealed_secret is not None,
            one.secret_rotated_at,
            endpoints.get(names[one.id]),
            letter if (letter := last.get(one.id)) is not None and letter.state != "sent" else None,
        )
        for one in contacts
    ]
