"""State machines: which moves are legal, and by when each state must be left. The sweep watches the deadlines."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from waterwatch.kernel.errors import Conflict


class Stateful(Protocol):
    """A row with a state: what every stateful table has."""

    state: str
    state_since: datetime
    state_deadline_at: datetime | None


class IllegalMove(Conflict):
    """A move the machine does not know. ``facts``: machine, from_state, to_state."""

    code = "illegal_move"


@dataclass(frozen=True)
class Machine:
    """A life: ``moves`` are the legal (from, to) pairs, ``deadlines`` how long a state may last at most."""

    name: str
    initial: str
    moves: frozenset[tuple[str, str]]
    deadlines: Mapping[str, timedelta] = field(default_factory=dict)

    @property
    def states(self) -> frozenset[str]:
        """Every state that occurs."""
        return frozenset({self.initial} | {state for move in self.moves for state in move})

    def is_legal(self, from_state: str, to_state: str) -> bool:
        """Whether the machine knows this move."""
        return (from_state, to_state) in self.moves

    def deadline(self, state: str, *, now: datetime) -> datetime | None:
        """When a row that enters ``state`` now is overdue, or None if the state may last."""
        limit = self.deadlines.get(state)
        return now + limit if limit is not None else None

    def enter(self, row: Stateful, *, now: datetime) -> None:
        """Put a new row into the initial state."""
        row.state, row.state_since = self.initial, now
        row.state_deadline_at = self.deadline(self.initial, now=now)

    def move(self, row: Stateful, to_state: str, *, now: datetime) -> str:
        """Move a row, setting since and deadline; returns the state it left. Raises :class:`IllegalMove`."""
        from_state = row.state
        if not self.is_legal(from_state, to_state):
            raise IllegalMove(machine=self.name, from_state=from_state, to_state=to_state)
        row.state, row.state_since = to_state, now
        row.state_deadline_at = self.deadline(to_state, now=now)
        return from_state
