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

Chain = tuple[tuple[str, datetime], ...]  # identifiers of alerts and when each was written, the oldest first


def as_kept(facts: CaseFacts, says: str, earlier: Chain) -> dict[str, Any] | None:
    """What an alert of a case that warns says, for a column: the alerts it follows (identifiers and times), and of a
    warning what is expected in its agency's area, and of what kind. None of other cases."""
    if facts.warned is None:
        return None
    kept: dict[str, Any] = {"earlier": earlier, "is_warned_besides": facts.is_warned_besides}
    if says == "warning":
        segments = tuple(replace(one, rings=()) for one in facts.warned.segments)
        kept |= asdict(replace(facts.warned, segments=segments)) | {"kind": facts.kind}
    read: dict[str, Any] = json.loads(json.dumps(kept, default=datetime.isoformat))
    return read


def chain_from_kept(kept: dict[str, Any]) -> Chain:
    """The alerts that an alert followed as it was put into the feed."""
    return tuple((identifier, datetime.fromisoformat(at)) for identifier, at in kept["earlier"])


def from_kept(session: Session, facts: CaseFacts, kept: dict[str, Any]) -> CaseFacts:
    """The facts as the alert told them, with outlines. One query; none of an end."""
    facts = replace(facts, is_warned_besides=kept["is_warned_besides"])
    if "segments" not in kept:
        return facts
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
