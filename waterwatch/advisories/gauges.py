"""What gauges tell of the rivers' discharge: bringing readings in. Never commits.

A reading belongs to a reach: the one it names, or the nearest whose mean discharge is known, for only against that
does a discharge say anything of velocities. The newest reading of a reach is kept, and no other.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from waterwatch.advisories import forecasts
from waterwatch.advisories import gauge_queries as queries
from waterwatch.advisories.gauge_queries import Reach
from waterwatch.flow.travel import MAX_FLOW_RATIO
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.ids import new_id
from waterwatch.rosters.rules import Fault, Row, SheetRefused, rows_of

COLUMNS = ("lon", "lat", "discharge_cms", "measured_at", "source")
SNAP_M = 2000.0  # a gauge stands at its river; what is farther off is a wrong place or a river we do not have
MOST_CMS = 1_000_000.0  # more than any river ever carried (Amazon in flood: some 370,000)
MAX_SOURCE_CHARACTERS = 200
MAX_FEATURE_ID = 2**53
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # who tells of earlier times has no clock
AHEAD = timedelta(minutes=15)  # by so much a gauge's clock may be fast
ADDED, CHANGED, UNCHANGED, OLDER = "added", "changed", "unchanged", "older"


@dataclass(frozen=True)
class ImportReadings:
    """A file of readings: CSV with a header, or JSON lines, UTF-8."""

    raw: bytes
    accept_refusals: bool = False


@dataclass(frozen=True)
class Reading:
    """One row. ``place``: (lon, lat) in WGS-84 degrees; one of it and ``feature_id`` is there."""

    row: int
    place: tuple[float, float] | None
    feature_id: int | None
    discharge_cms: float
    measured_at: datetime
    source: str


@dataclass(frozen=True)
class Taken:
    """What became of a good row: :data:`ADDED`, :data:`CHANGED`, :data:`UNCHANGED`, or :data:`OLDER` than another."""

    reading: Reading
    reach: Reach
    outcome: str


@dataclass(frozen=True)
class GaugeReport:
    """What came of a file. ``ordered``: how many standing forecasts are reckoned anew by it."""

    rows: int
    faults: list[Fault]
    taken: list[Taken]
    ordered: int = 0
    is_written: bool = False

    def count(self, outcome: str) -> int:
        """How many good rows had this outcome."""
        return sum(one.outcome == outcome for one in self.taken)


def import_readings(session: Session, command: ImportReadings, *, actor: Actor, now: datetime) -> GaugeReport:
    """Keep the newest reading of each reach, all of a file or nothing; standing forecasts then follow.

    Raises :class:`~waterwatch.rosters.rules.SheetRefused` for a file that is none of readings.
    """
    rows, faults = _rows(command.raw)
    made, more = readings_of(rows, now=now)
    faults = faults + more
    placed, lost = _place(session, made)
    faults = sorted(faults + lost, key=lambda fault: (fault.row, fault.code))
    count = len(rows)
    if faults and not command.accept_refusals:
        return GaugeReport(count, faults, [])
    taken = _keep(session, placed)
    ordered = 0
    if any(one.outcome in (ADDED, CHANGED) for one in taken):
        ordered = forecasts.order_standing(session, now=now)
    report = GaugeReport(count, faults, taken, ordered, is_written=True)
    audit.record(
        session,
        action="gauges.imported",
        subject_kind="gauge_reading",
        subject_id=new_id(),
        actor=actor,
        now=now,
        after={
            "sha256": hashlib.sha256(command.raw).hexdigest(),
            **{outcome: report.count(outcome) for outcome in (ADDED, CHANGED, UNCHANGED, OLDER)},
            "refused": len({fault.row for fault in faults}),
            "forecasts": ordered,
        },
    )
    return report


def readings_of(rows: Iterable[Row | None], *, now: datetime) -> tuple[list[Reading], list[Fault]]:
    """Every row as a reading, and all faults of all rows; None stands for a row that is told of already."""
    made: list[Reading] = []
    faults: list[Fault] = []
    for number, row in enumerate(rows, 1):
        if row is None:
            continue
        reading, found = _reading(number, row, now)
        if reading is not None:
            made.append(reading)
        faults += [Fault(number, row.get("source", "")[:MAX_SOURCE_CHARACTERS], code, said) for code, said in found]
    return made, faults


def _reading(number: int, row: Row, now: datetime) -> tuple[Reading | None, list[tuple[str, str]]]:
    found: list[tuple[str, str]] = []
    discharge = _number(row, "discharge_cms", found)
    if discharge is not None and not 0 < discharge < MOST_CMS:
        found.append(("discharge_unusable", row["discharge_cms"][:40]))
    measured_at = _moment(row.get("measured_at", ""), now, found)
    source = row.get("source", "")
    if not source:
        found.append(("value_missing", "source"))
    elif len(source) > MAX_SOURCE_CHARACTERS or not source.isprintable():
        found.append(("source_unusable", ""))
    feature_id = _feature(row.get("feature_id", ""), found)
    place = None
    if feature_id is None or row.get("lon") or row.get("lat"):
        lon, lat = _number(row, "lon", found), _number(row, "lat", found)
        if lon is not None and lat is not None:
            place = lon, lat
            if not (-180 <= lon <= 180 and -90 <= lat <= 90):
                found.append(("place_unusable", f"{lon:g}, {lat:g}"))
    if found or discharge is None or measured_at is None:
        return None, found
    return Reading(number, place, feature_id, discharge, measured_at, source), found


def _number(row: Row, name: str, found: list[tuple[str, str]]) -> float | None:
    given = row.get(name, "")
    if not given:
        found.append(("value_missing", name))
        return None
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        found.append(("not_a_number", f"{name} = {given[:40]}"))
        return None
    return value


def _moment(given: str, now: datetime, found: list[tuple[str, str]]) -> datetime | None:
    if not given:
        found.append(("value_missing", "measured_at"))
        return None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        found.append(("time_unreadable", given[:40]))
        return None
    if moment.tzinfo is None:
        found.append(("time_without_zone", given[:40]))
        return None
    if not EARLIEST <= moment <= now + AHEAD:
        found.append(("time_unlikely", given[:40]))
        return None
    return min(moment.astimezone(UTC), now)


def _feature(given: str, found: list[tuple[str, str]]) -> int | None:
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 16 and int(given) < MAX_FEATURE_ID):
        found.append(("reach_unknown", given[:40]))
        return None
    return int(given)


def _rows(raw: bytes) -> tuple[list[Row | None], list[Fault]]:
    """The rows of a file as texts by column; what begins with a brace is JSON lines, everything else CSV."""
    if not raw.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return list(rows_of(raw, COLUMNS)), []
    try:
        lines = raw.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise SheetRefused("encoding_unknown", tried="UTF-8") from None
    rows = [_object(line) for line in lines if line.strip()]
    return rows, [Fault(number, "", "line_unreadable") for number, row in enumerate(rows, 1) if row is None]


def _object(line: str) -> Row | None:
    """A JSON object of plain values as texts; None where the line is anything else."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, Mapping) or any(isinstance(value, (list, dict, bool)) for value in found.values()):
        return None
    return {str(name): "" if value is None else str(value).strip() for name, value in found.items()}


def _place(session: Session, made: Sequence[Reading]) -> tuple[list[tuple[Reading, Reach]], list[Fault]]:
    """Each reading with its reach, and what stands nowhere or tells of another river."""
    free = [(one, one.place) for one in made if one.feature_id is None and one.place is not None]
    named = [(one, one.feature_id) for one in made if one.feature_id is not None]
    near = queries.nearest_reaches(session, [place for _one, place in free], SNAP_M)
    there = queries.named_reaches(session, [(feature_id, one.place) for one, feature_id in named])
    found = [(one, near.get(nth), "no_reach_near") for nth, (one, _place) in enumerate(free)]
    found += [(one, there.get(nth), "reach_unknown") for nth, (one, _id) in enumerate(named)]
    placed: list[tuple[Reading, Reach]] = []
    faults: list[Fault] = []
    for one, reach, missing in found:
        fault = (missing, _where(one)) if reach is None else _fault_of(one, reach)
        if fault is not None:
            faults.append(Fault(one.row, one.source, *fault))
        elif reach is not None:
            placed.append((one, reach))
    return placed, faults


def _fault_of(one: Reading, reach: Reach) -> tuple[str, str] | None:
    if not reach.mean_cms:
        return "no_mean_discharge", str(reach.feature_id)
    if reach.distance_m is not None and reach.distance_m > SNAP_M:
        return "far_from_reach", f"{reach.feature_id}: {reach.distance_m / 1000:.1f} km"
    if not 1 / MAX_FLOW_RATIO <= one.discharge_cms / reach.mean_cms <= MAX_FLOW_RATIO:
        said = f"{one.discharge_cms:g} m³/s, {reach.water or reach.feature_id} {reach.mean_cms:g} m³/s"
        return "out_of_proportion", said
    return None


def _where(one: Reading) -> str:
    return str(one.feature_id) if one.feature_id is not None or one.place is None else "{:g}, {:g}".format(*one.place)


def _keep(session: Session, placed: Sequence[tuple[Reading, Reach]]) -> list[Taken]:
    newest: dict[int, Reading] = {}
    for one, reach in placed:
        known = newest.get(reach.feature_id)
        if known is None or one.measured_at > known.measured_at:
            newest[reach.feature_id] = one
    before = queries.told_at(session, newest)
    values = {
        "ids": list(newest),
        "discharges": [one.discharge_cms for one in newest.values()],
        "moments": [one.measured_at for one in newest.values()],
        "sources": [one.source for one in newest.values()],
    }
    written = queries.keep_readings(session, values)

    def outcome(one: Reading, feature_id: int) -> str:
        if newest[feature_id] is not one or before.get(feature_id, one.measured_at) > one.measured_at:
            return OLDER
        if feature_id not in written:
            return UNCHANGED
        return ADDED if written[feature_id] else CHANGED

    taken = [Taken(one, reach, outcome(one, reach.feature_id)) for one, reach in placed]
    return sorted(taken, key=lambda one: one.reading.row)
