"""What 311 applications send: fields of a form or a query → the citizen's own form, or what is asked of the list.

A person and an application are told the same, because the citizen's own parser reads both (``reports.forms``). What
GeoReport has for the reporter's name, mail, telephone and device is accepted and read by nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from waterwatch.kernel.errors import Invalid
from waterwatch.open311.rules import STATUSES
from waterwatch.reports.tables import EXTENTS, REPORT_KINDS

DEFAULT_SPAN = timedelta(days=90)  # GeoReport v2, GET Service Requests: the default, and the longest that may be asked
LISTED_MAX = 1000  # likewise
NAMED_MAX = 100  # codes in one question
CODE_MAX_CHARACTERS = 20
# The citizen's optional questions, with their answers' codes.
YES_NO = ("yes", "no")
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "extent": EXTENTS,
    "smell": ("0", "1", "2", "3"),
    "ongoing": YES_NO,
    "dead_animals": YES_NO,
    "people_affected": YES_NO,
}
# GeoReport's name of a field → the citizen's form's.
_FIELDS = {
    "service_code": "kind",
    "long": "lon",
    "lat": "lat",
    "address_string": "place_words",
    "description": "note",
}
_NAMES = {ours: theirs for theirs, ours in _FIELDS.items()} | {
    "photo": "media",
    "place": "lat",
    **{name: f"attribute[{name}]" for name in ATTRIBUTES},
}


@dataclass(frozen=True)
class Asked:
    """A question for the list: all within ``start`` and ``end``, or exactly the ``codes``. Empty means every one."""

    start: datetime
    end: datetime
    codes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    limit: int = LISTED_MAX


def as_citizens_fields(posted: Mapping[str, str], idempotency_key: str) -> dict[str, str]:
    """The posted request as the citizen's own form would send it.

    Whoever sends a place by this interface has chosen it in an application of theirs: it counts as a confirmed pin.
    Raises :class:`Invalid` ``attribute_unknown`` for an answer to a question nobody asked.
    """
    fields = {ours: posted[theirs] for theirs, ours in _FIELDS.items() if theirs in posted}
    faults: dict[str, list[str]] = {}
    for name, value in posted.items():
        if name.startswith("attribute["):
            code = name.removeprefix("attribute[").removesuffix("]")
            if code not in ATTRIBUTES or name != f"attribute[{code}]":
                faults["attribute"] = ["attribute_unknown"]
            else:
                fields[code] = value
    if faults:
        raise Invalid(faults)
    return fields | {"idempotency_key": idempotency_key, "place_confirmed": "yes", "place_source": "pin"}


def refuse_doubled(posted: Mapping[str, Sequence[str]]) -> None:
    """Raises :class:`Invalid` where something that is read was said more than once: nobody knows which was meant, and
    a second photo would be lost without a word."""
    read = {*_FIELDS, "media_url", "jurisdiction_id"}
    doubled = (name for name, values in posted.items() if len(set(values)) > 1)
    if faults := {name: ["given_twice"] for name in doubled if name in read or name in _NAMES.values()}:
        raise Invalid(faults)


def parameter_of(field: str) -> str:
    """GeoReport's name of a field of the citizen's form."""
    return _NAMES.get(field, field)


def parse_asked(query: Mapping[str, str], *, now: datetime) -> Asked:
    """A question for the list. Raises :class:`Invalid` with every field's codes.

    ``service_request_id`` overrides all else. Without times: the last 90 days; with one of them, the 90 days from or
    until it; never more.
    """
    codes = _listed(query, "service_request_id", upper=True)
    kinds, statuses = _listed(query, "service_code"), _listed(query, "status")
    faults: dict[str, list[str]] = {}
    if len(codes) > NAMED_MAX or any(len(code) > CODE_MAX_CHARACTERS for code in codes):
        faults["service_request_id"] = ["service_request_id_malformed"]
    if any(kind not in REPORT_KINDS for kind in kinds):
        faults["service_code"] = ["kind_unknown"]
    if any(status not in STATUSES for status in statuses):
        faults["status"] = ["status_unknown"]
    start, end = (_moment(query, name, faults) for name in ("start_date", "end_date"))
    if faults:
        raise Invalid(faults)
    first, last = _span(start, end, now)
    if last - first > DEFAULT_SPAN:
        raise Invalid({"end_date": ["span_too_long"]})
    return Asked(first, last, codes, kinds, tuple(sorted(set(statuses))))


def _span(start: datetime | None, end: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """Times at the edge of what a clock can show come from no application in earnest: they are cut off there."""
    try:
        last = end or (min(now, start + DEFAULT_SPAN) if start else now)
        return start or last - DEFAULT_SPAN, last
    except OverflowError:
        return now - DEFAULT_SPAN, now


def _listed(query: Mapping[str, str], name: str, *, upper: bool = False) -> tuple[str, ...]:
    found = (part.strip() for part in query.get(name, "").split(","))
    return tuple(dict.fromkeys(part.upper() if upper else part for part in found if part))


def _moment(query: Mapping[str, str], name: str, faults: dict[str, list[str]]) -> datetime | None:
    text = query.get(name, "").strip()
    if not text:
        return None
    try:  # a plus sign that nobody escaped arrives as a blank
        found = datetime.fromisoformat(text.replace(" ", "+"))
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    faults[name] = ["time_malformed"]
    return None
