"""The screening form: chosen reports and a decision in, a frozen command or every error at once out."""

import uuid
from collections.abc import Mapping, Sequence

from waterwatch.kernel.errors import Invalid
from waterwatch.reports.rules import REFUSAL_CODES
from waterwatch.screening.service import DECISIONS, REFUSE, Screening

SHOWN = 24  # a page of the grid, and so the most that one decision is about


def parse_screening(fields: Mapping[str, str], report_ids: Sequence[str]) -> Screening:
    """Read the form. Raises :class:`Invalid` with every faulty field at once."""
    errors: dict[str, list[str]] = {}
    chosen = _ids(report_ids, errors)
    decision, code = fields.get("decision", ""), fields.get("code", "")
    if decision not in DECISIONS:
        errors["decision"] = ["choice_unknown" if decision else "missing"]
    if decision == REFUSE and code not in REFUSAL_CODES:
        errors["code"] = ["choice_unknown" if code else "reason_missing"]
    if errors:
        raise Invalid(errors)
    return Screening(chosen, decision, code if decision == REFUSE else None)


def _ids(report_ids: Sequence[str], errors: dict[str, list[str]]) -> tuple[uuid.UUID, ...]:
    try:
        chosen = tuple(dict.fromkeys(uuid.UUID(text) for text in report_ids))
    except ValueError:
        errors["report"] = ["choice_unknown"]
        return ()
    if not chosen:
        errors["report"] = ["nothing_chosen"]
    elif len(chosen) > SHOWN:
        errors["report"] = ["too_many_chosen"]
    return chosen
