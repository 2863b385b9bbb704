"""What the server's rubric answers, written down for the browser's tests. `python -m tests.incidents.rubric_cases`."""

import json
import random
from pathlib import Path
from typing import Any

from waterwatch.incidents.rules import (
    EXTENT_POINTS,
    FLAG_POINTS,
    FLOORS,
    HAZARD_POINTS,
    RECEPTOR_POINTS,
    RubricInputs,
    rubric,
    score,
)

FILE = Path(__file__).resolve().parents[2] / "map_static" / "tests" / "rubric-cases.json"
TICKED = (*(name for name, _reason, _points in FLAG_POINTS), *(name for name, _kind, _level in FLOORS))


def cases(count: int = 120) -> dict[str, Any]:
    """The rubric, and inputs drawn at random with the points and the level they give: the same every time."""
    drawn = random.Random(11)
    found = []
    for _ in range(count):
        kind = drawn.choice(list(HAZARD_POINTS))
        extent = drawn.choice(list(EXTENT_POINTS))
        receptor = drawn.choice(list(RECEPTOR_POINTS))
        ticked = [name for name in TICKED if drawn.random() < 0.4]
        answer = score(RubricInputs(kind, extent, receptor=receptor, **dict.fromkeys(ticked, True)))
        reasons = [[reason.split(".")[0], points] for reason, points in answer.reasons]
        found.append(
            {
                "given": {"kind": kind, "extent": extent or "", "receptor": receptor or "", "ticked": ticked},
                "points": answer.points,
                "reasons": reasons,
                "proposed": int(answer.proposed),
            }
        )
    return {"rubric": rubric(), "cases": found}


def written() -> str:
    """As the file holds it."""
    found = cases()
    lines = ",\n".join(json.dumps(case) for case in found["cases"])
    return f'{{"rubric": {json.dumps(found["rubric"])},\n"cases": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    FILE.write_text(written())
