"""Which reports are judged twice, and what the pairs of judgements say: pure.

Agreement is Cohen's weighted kappa (Cohen 1968), over five ordered outcomes: refused, then the four levels. Its
interval is from the large-sample standard error of Fleiss, Cohen & Everitt, "Large sample standard errors of kappa and
weighted kappa", Psychological Bulletin 72 (1969) 323-327.
"""

import hashlib
import hmac
import math
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

OUTCOMES = 5  # 0 refused, 1 blue, 2 yellow, 3 orange, 4 red
REFUSED = 0
# Fewer say nothing: with ten pairs an interval spans most of the scale. Ours.
MIN_PAIRS = 10
MIN_JUDGEMENTS = 10
NORMAL_95 = 1.959963984540054

K = TypeVar("K")


class Weighting(StrEnum):
    """How much worse a greater distance is: in proportion to it, or to its square."""

    LINEAR = "linear"
    QUADRATIC = "quadratic"


@dataclass(frozen=True)
class Kappa:
    """Agreement beyond chance, 1 at most; its 95 % interval, within -1 to 1; of how many pairs."""

    value: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True)
class Mean:
    """A mean difference in levels, its 95 % interval, and of how many."""

    value: float
    low: float
    high: float
    count: int


def is_asked_again(report_id: uuid.UUID, *, key: bytes, share: float) -> bool:
    """Whether a report is judged twice: always the same answer, ``share`` of all, and to be foretold with the key only.

    So that nobody knows which of their judgements are looked at, nor can try until one is not.
    """
    drawn = int.from_bytes(hmac.new(key, report_id.bytes, hashlib.sha256).digest()[:8])
    return drawn < share * 2**64


def weighted_kappa(
    pairs: Sequence[tuple[int, int]], weighting: Weighting = Weighting.QUADRATIC, *, min_pairs: int = MIN_PAIRS
) -> Kappa | None:
    """Cohen's weighted kappa of pairs of outcomes; None where it is undefined.

    That is: with fewer than ``min_pairs`` of them, and where both used one and the same outcome only, so that nothing
    but agreement was possible.
    """
    count = len(pairs)
    if count < max(1, min_pairs):
        return None
    cells = [[0.0] * OUTCOMES for _ in range(OUTCOMES)]
    for first, second in pairs:
        cells[first][second] += 1 / count
    rows = [sum(row) for row in cells]
    columns = [sum(row[index] for row in cells) for index in range(OUTCOMES)]
    weights = _weights(weighting)
    every = [(i, j) for i in range(OUTCOMES) for j in range(OUTCOMES)]
    disagreed = sum((1 - weights[i][j]) * cells[i][j] for i, j in every)
    by_chance = sum((1 - weights[i][j]) * rows[i] * columns[j] for i, j in every)
    if by_chance <= 0:
        return None
    value = 1 - disagreed / by_chance
    error = _standard_error(cells, rows, columns, weights, count)
    return Kappa(value, max(-1.0, value - NORMAL_95 * error), min(1.0, value + NORMAL_95 * error), count)


def mean_difference(differences: Sequence[float], *, min_count: int = MIN_JUDGEMENTS) -> Mean | None:
    """The mean of some differences with its 95 % interval (normal); None of fewer than ``min_count``."""
    count = len(differences)
    if count < max(2, min_count):
        return None
    mean = math.fsum(differences) / count
    variance = math.fsum((value - mean) ** 2 for value in differences) / (count - 1)
    margin = NORMAL_95 * math.sqrt(variance / count)
    return Mean(mean, mean - margin, mean + margin, count)


@dataclass(frozen=True)
class Pair:
    """Two judgements of one report, for comparison."""

    report_id: uuid.UUID
    kind: str
    month: str
    first_person: uuid.UUID
    second_person: uuid.UUID
    first_outcome: int
    second_outcome: int

    @property
    def distance(self) -> int:
        """How many outcomes lie between the two."""
        return abs(self.first_outcome - self.second_outcome)

    @property
    def people(self) -> tuple[uuid.UUID, uuid.UUID]:
        """The two, in an order that says nothing of who was first."""
        low, high = sorted((self.first_person, self.second_person))
        return low, high

    def outcomes_by(self, first: uuid.UUID) -> tuple[int, int]:
        """The outcomes, that of ``first`` before the other's."""
        mine = self.first_outcome, self.second_outcome
        return mine if first == self.first_person else (mine[1], mine[0])


@dataclass(frozen=True)
class Agreement:
    """Kappa in both weightings of one group of pairs; None where it is undefined."""

    pairs: int
    quadratic: Kappa | None
    linear: Kappa | None


def agreement(pairs: Iterable[tuple[int, int]]) -> Agreement:
    """Both kappas of some pairs of outcomes."""
    known = list(pairs)
    return Agreement(len(known), weighted_kappa(known, Weighting.QUADRATIC), weighted_kappa(known, Weighting.LINEAR))


def agreement_by(pairs: Iterable[Pair], key: Callable[[Pair], K]) -> dict[K, Agreement]:
    """Agreement within each group, the groups in the order of their first pair."""
    groups: dict[K, list[tuple[int, int]]] = {}
    for pair in pairs:
        groups.setdefault(key(pair), []).append(pair.outcomes_by(pair.people[0]))
    return {name: agreement(outcomes) for name, outcomes in groups.items()}


def against_others(pairs: Iterable[Pair], person_id: uuid.UUID) -> list[int]:
    """By how many levels a person judged higher than the other, of every pair they are part of."""
    return [
        mine - other for pair in pairs if person_id in pair.people for mine, other in (pair.outcomes_by(person_id),)
    ]


def _weights(weighting: Weighting) -> list[list[float]]:
    """What an agreement counts: 1 for the same outcome, 0 for those farthest apart."""
    power = 2 if weighting is Weighting.QUADRATIC else 1
    return [[1 - (abs(i - j) / (OUTCOMES - 1)) ** power for j in range(OUTCOMES)] for i in range(OUTCOMES)]


def _standard_error(
    cells: list[list[float]], rows: list[float], columns: list[float], weights: list[list[float]], count: int
) -> float:
    """Fleiss, Cohen & Everitt (1969), for a kappa that need not be zero."""
    every = [(i, j) for i in range(OUTCOMES) for j in range(OUTCOMES)]
    observed = sum(weights[i][j] * cells[i][j] for i, j in every)
    expected = sum(weights[i][j] * rows[i] * columns[j] for i, j in every)
    of_row = [sum(columns[j] * weights[i][j] for j in range(OUTCOMES)) for i in range(OUTCOMES)]
    of_column = [sum(rows[i] * weights[i][j] for i in range(OUTCOMES)) for j in range(OUTCOMES)]
    # About its mean, not as the mean of squares less the square of the mean: that loses half of the digits.
    mean = observed * expected - 2 * expected + observed
    spread = math.fsum(
        cells[i][j] * (weights[i][j] * (1 - expected) - (of_row[i] + of_column[j]) * (1 - observed) - mean) ** 2
        for i, j in every
    )
    return math.sqrt(spread / count) / (1 - expected) ** 2
