"""The forms of fairness: untrusted fields in, an answer or every error at once out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from waterwatch.fairness.rules import OUTCOMES, REFUSED
from waterwatch.fairness.service import Answer
from waterwatch.incidents.rules import EXTENT_POINTS, HAZARD_POINTS, RECEPTOR_POINTS, RubricInputs, score
from waterwatch.kernel.errors import Invalid
from waterwatch.reports.forms import clean_text

MAX_REASON = 500
MAX_EXPLANATION = 1000
MIN_WORDS = 3
FLAGS = (
    "is_ongoing",
    "is_persisting",
    "has_dead_animals",
    "has_ill_people",
    "has_independent_reports",
    "is_being_filled",
    "is_heavy_by_instrument",
)


@dataclass(frozen=True)
class NewCase:
    """A case to train by, as the lead types it: the report by its code."""

    code: str
    outcome: int
    explanation: str


@dataclass
class _Reading:
    """Collects faults while fields are read."""

    fields: Mapping[str, str]
    errors: dict[str, list[str]] = field(default_factory=dict)

    def choice(self, name: str, allowed: Mapping[str, int]) -> str:
        value = self.fields.get(name, "").strip()
        if value not in allowed:
            self.errors[name] = ["choice_unknown" if value else "missing"]
        return value

    def optional_choice(self, name: str, allowed: Mapping[str | None, int]) -> str | None:
        value = self.fields.get(name, "").strip() or None
        if value not in allowed:
            self.errors[name] = ["choice_unknown"]
            return None
        return value

    def outcome(self) -> int:
        allowed = {str(outcome): outcome for outcome in range(OUTCOMES)}
        return allowed.get(self.choice("outcome", allowed), REFUSED)

    def words(self, name: str, limit: int) -> str:
        value = " ".join(clean_text(self.fields.get(name, "")).split())
        if len(value) > limit:
            self.errors[name] = ["too_long"]
        return value


def parse_answer(fields: Mapping[str, str], *, is_reason_asked: bool = True) -> Answer:
    """Read the rubric's form. A refusal (outcome 0) needs none of the rest. Raises :class:`Invalid`.

    ``is_reason_asked``: a level other than the rubric's needs a reason, as at the desk.
    """
    reading = _Reading(fields)
    if fields.get("outcome", "").strip() == str(REFUSED):
        return Answer(REFUSED, None)
    outcome = reading.outcome()
    inputs = RubricInputs(
        kind=reading.choice("kind", HAZARD_POINTS),
        extent=reading.optional_choice("extent", EXTENT_POINTS),
        receptor=reading.optional_choice("receptor", RECEPTOR_POINTS),
        **{name: fields.get(name, "") in ("1", "on", "true") for name in FLAGS},
    )
    reason = reading.words("departure_reason", MAX_REASON)
    is_departure = not reading.errors and outcome != score(inputs).proposed
    if is_reason_asked and is_departure and len(reason) < MIN_WORDS:
        reading.errors["departure_reason"] = ["departure_needs_reason"]
    if reading.errors:
        raise Invalid(reading.errors)
    return Answer(outcome, inputs, reason or None)


def parse_case(fields: Mapping[str, str]) -> NewCase:
    """Read the lead's form for a case to train by. Raises :class:`Invalid`."""
    reading = _Reading(fields)
    code = clean_text(fields.get("code", "")).upper()
    if not code:
        reading.errors["code"] = ["missing"]
    elif len(code) > 20:
        reading.errors["code"] = ["report_unknown"]
    outcome = reading.outcome()
    explanation = reading.words("explanation", MAX_EXPLANATION)
    if len(explanation) < MIN_WORDS:
        reading.errors["explanation"] = ["explanation_missing"]
    if reading.errors:
        raise Invalid(reading.errors)
    return NewCase(code, outcome, explanation)
