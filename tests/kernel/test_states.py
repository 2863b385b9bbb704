"""State machines: legal moves, deadlines."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from waterwatch.escalation.rules import CASE, DELIVERY
from waterwatch.incidents.rules import INCIDENT
from waterwatch.kernel.states import IllegalMove, Machine
from waterwatch.photos.rules import PHOTO
from waterwatch.reports.rules import REPORT

NOW = datetime(2026, 5, 20, 2, 30, tzinfo=UTC)
LIFE = Machine("life", "young", frozenset({("young", "old"), ("old", "gone")}), {"young": timedelta(minutes=2)})


@dataclass
class Row:
    state: str = ""
    state_since: datetime = NOW
    state_deadline_at: datetime | None = None


def test_a_new_row_enters_the_first_state_with_its_deadline() -> None:
    row = Row()
    LIFE.enter(row, now=NOW)
    assert row == Row("young", NOW, NOW + timedelta(minutes=2))


def test_a_move_sets_since_and_clears_the_deadline_of_a_state_that_may_last() -> None:
    row, later = Row("young", NOW, NOW), NOW + timedelta(hours=1)
    assert LIFE.move(row, "old", now=later) == "young"
    assert row == Row("old", later, None)


@pytest.mark.parametrize(("from_state", "to_state"), [("young", "gone"), ("old", "young"), ("old", "old")])
def test_a_move_the_machine_does_not_know_changes_nothing(from_state: str, to_state: str) -> None:
    row = Row(from_state)
    with pytest.raises(IllegalMove) as caught:
        LIFE.move(row, to_state, now=NOW)
    assert caught.value.facts == {"machine": "life", "from_state": from_state, "to_state": to_state}
    assert row.state == from_state


@pytest.mark.parametrize("machine", [PHOTO, REPORT, INCIDENT, CASE, DELIVERY], ids=lambda machine: machine.name)
def test_every_state_can_be_reached(machine: Machine) -> None:
    reached = {machine.initial}
    while more := {target for source, target in machine.moves if source in reached} - reached:
        reached |= more
    assert reached == machine.states
