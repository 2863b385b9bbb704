"""Pure: what of an observer's answers makes a report urgent. The order is the desk's; the level stays a person's."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from waterwatch.incidents.rules import RubricInputs, Severity, score
from waterwatch.reports.tables import ALL_CLEAR

RED_FLAG, HIGH, ORDINARY = 2, 1, 0
ZONE_NEAR_M = 200.0  # a zone begins on the bank, and a pin errs by as much
# The zone that weighs most decides: what people drink, before reserves, before where they bathe.
RECEPTOR_OF_ZONE = {
    "intake": "drinking_water",
    "drinking_water": "drinking_water",
    "nature_reserve": "nature_reserve",
    "bathing": "bathing_fishing",
}
_STRICTEST = ("drinking_water", "nature_reserve", "bathing_fishing")
PERSISTING = frozenset({"this_month", "longer"})
# Heavy by instrument: 城市黑臭水体整治工作指南 (2015), table 1; where the water is less than 25 cm deep, the limit of
# transparency is 40 % of its depth.
HEAVY_TRANSPARENCY_CM, SHALLOW_CM, SHALLOW_SHARE = 10.0, 25.0, 0.4
HEAVY_DO_MG_L, HEAVY_ORP_MV, HEAVY_NH3N_MG_L = 0.2, -200.0, 15.0


@dataclass(frozen=True)
class Observed:
    """What an observer answered, and what is known of the place. ``measured`` by column name of the report."""

    kind: str
    extent: str | None = None
    since: str | None = None
    is_ongoing: bool | None = None
    has_dead_animals: bool | None = None
    affects_people: bool | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    zone_kinds: Collection[str] = ()
    has_independent_reports: bool = False


@dataclass(frozen=True)
class Urgency:
    """``rank`` 2 red flag, 1 high, 0 ordinary; ``hints`` the rubric's reason codes, heaviest first."""

    rank: int
    points: int
    hints: tuple[str, ...]


def is_heavy(measured: Mapping[str, float]) -> bool:
    """Whether any reading says heavily black and odorous. Units are in the names; what is missing says nothing."""
    transparency, depth = measured.get("transparency_cm"), measured.get("water_depth_cm")
    limit_cm = HEAVY_TRANSPARENCY_CM
    if depth is not None and depth < SHALLOW_CM:
        limit_cm = SHALLOW_SHARE * depth
    return (
        (transparency is not None and transparency < limit_cm)
        or measured.get("do_mg_l", HEAVY_DO_MG_L) < HEAVY_DO_MG_L
        or measured.get("orp_mv", HEAVY_ORP_MV) < HEAVY_ORP_MV
        or measured.get("nh3n_mg_l", HEAVY_NH3N_MG_L) > HEAVY_NH3N_MG_L
    )


def rubric_inputs(observed: Observed) -> RubricInputs:
    """The rubric's inputs as far as the observer and the place tell them: what the moderator begins with."""
    receptors = {RECEPTOR_OF_ZONE[kind] for kind in observed.zone_kinds}
    return RubricInputs(
        kind="other" if observed.kind == ALL_CLEAR else observed.kind,
        extent=observed.extent,
        is_ongoing=bool(observed.is_ongoing),
        is_persisting=observed.since in PERSISTING,
        receptor=next((receptor for receptor in _STRICTEST if receptor in receptors), None),
        has_dead_animals=bool(observed.has_dead_animals),
        has_ill_people=bool(observed.affects_people),
        has_independent_reports=observed.has_independent_reports,
        is_heavy_by_instrument=is_heavy(observed.measured),
    )


def urgency(observed: Observed) -> Urgency:
    """How urgent a report is to be looked at. Harm to people or animals is a red flag whatever the points."""
    answer = score(rubric_inputs(observed))
    hints = tuple(reason for reason, _points in sorted(answer.reasons, key=lambda pair: -pair[1]))
    if observed.has_dead_animals or observed.affects_people or answer.proposed is Severity.ESPECIALLY_MAJOR:
        return Urgency(RED_FLAG, answer.points, hints)
    return Urgency(HIGH if answer.proposed is Severity.MAJOR else ORDINARY, answer.points, hints)


def area_prefix(area_code: str) -> str:
    """What the codes of everything within an area begin with (GB/T 2260): 42, 4201 or 420106."""
    for zeros, digits in (("0000", 2), ("00", 4)):
        if area_code.endswith(zeros):
            return area_code[:digits]
    return area_code
