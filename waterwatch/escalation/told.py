"""What an alert warned of, as it is kept: whoever fetches it, and whenever, finds under its identifier what it said.

Outlines are not kept: they are those of the waters.
"""

import json
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from waterwatch.advisories.rules import Window
from waterwatch.advisories.segments import Segment, outlined
from waterwatch.escalation.queries import CaseFacts
from waterwatch.escalation.warning_queries import Intake, Warned


def as_kept(facts: CaseFacts) -> dict[str, Any] | None:
    """What is expected in an agency's area, and of what kind, for a column; None of a case that warns of nothing."""
    if facts.warned is None:
        return None
    warned = replace(facts.warned, segments=tuple(replace(one, rings=()) for one in facts.warned.segments))
    kept: dict[str, Any] = json.loads(json.dumps(asdict(warned) | {"kind": facts.kind}, default=datetime.isoformat))
    return kept


def from_kept(session: Session, facts: CaseFacts, kept: dict[str, Any]) -> CaseFacts:
    """The facts as the alert told them, with outlines. One query."""
    segments = outlined(session, [_segment(one) for one in kept["segments"]])
    intakes = tuple(Intake(**one | {"window": _window(one["window"])}) for one in kept["intakes"])
    return replace(facts, kind=kept["kind"], warned=Warned(tuple(segments), intakes))


def _segment(kept: dict[str, Any]) -> Segment:
    read = {
        "feature_ids": tuple(kept["feature_ids"]),
        "window": _window(kept["window"]),
        "lapses_at": datetime.fromisoformat(kept["lapses_at"]),
        "rings": (),
    }
    return Segment(**kept | read)


def _window(kept: dict[str, str | None]) -> Window:
    earliest, probable = (_at(kept[name]) for name in ("earliest", "probable"))
    return Window(earliest, probable)


def _at(kept: str | None) -> datetime | None:
    return None if kept is None else datetime.fromisoformat(kept)
