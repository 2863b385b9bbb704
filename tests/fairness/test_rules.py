"""The numbers of agreement are those of scikit-learn, and their errors those of the delta method."""

import math
import uuid
import warnings

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import cohen_kappa_score

from waterwatch.fairness.rules import (
    MIN_JUDGEMENTS,
    MIN_PAIRS,
    NORMAL_95,
    OUTCOMES,
    Pair,
    Weighting,
    against_others,
    agreement_by,
    is_asked_again,
    mean_difference,
    weighted_kappa,
)

outcome = st.integers(0, OUTCOMES - 1)
pairs = st.lists(st.tuples(outcome, outcome), min_size=1, max_size=60)
ids = st.uuids(version=4)


def scikit(found: list[tuple[int, int]], weighting: Weighting) -> float | None:
    """Scikit-learn's answer; None where it says that there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", (UndefinedMetricWarning, RuntimeWarning))
        first, second = zip(*found, strict=True)
        answer = float(cohen_kappa_score(first, second, labels=list(range(OUTCOMES)), weights=weighting.value))
    return None if math.isnan(answer) else answer


@given(pairs, st.sampled_from(Weighting))
def test_kappa_is_scikits(found: list[tuple[int, int]], weighting: Weighting) -> None:
    ours, theirs = weighted_kappa(found, weighting, min_pairs=1), scikit(found, weighting)
    if len({value for pair in found for value in pair}) == 1:
        assert ours is None
    else:
        assert ours is not None
        assert theirs is not None
        assert ours.value == pytest.approx(theirs, abs=1e-12)
        assert -1 <= ours.low <= ours.high <= 1
        assert ours.pairs == len(found)


@pytest.mark.parametrize("weighting", Weighting)
@pytest.mark.parametrize(
    "found",
    [
        [(0, 4)] * 12,  # one outcome each, and not the same
        [(0, 4), (4, 0)] * 6,  # the utmost disagreement
        [(value, value) for value in range(OUTCOMES)] * 3,  # the utmost agreement
        [(2, value) for value in range(OUTCOMES)] * 3,  # one of them always says the same
    ],
)
def test_at_the_ends_of_the_scale_as_well(found: list[tuple[int, int]], weighting: Weighting) -> None:
    ours = weighted_kappa(found, weighting)
    assert ours is not None
    assert ours.value == pytest.approx(scikit(found, weighting), abs=1e-12)


def test_it_is_undefined_of_too_few_and_of_one_outcome_only() -> None:
    assert weighted_kappa([(1, 2)] * (MIN_PAIRS - 1)) is None
    assert weighted_kappa([(1, 2)] * MIN_PAIRS) is not None
    assert weighted_kappa([(3, 3)] * 100) is None
    assert weighted_kappa([], min_pairs=0) is None


@given(pairs, st.sampled_from(Weighting))
def test_the_two_may_change_places(found: list[tuple[int, int]], weighting: Weighting) -> None:
    there = weighted_kappa(found, weighting, min_pairs=1)
    back = weighted_kappa([(second, first) for first, second in found], weighting, min_pairs=1)
    assert (there is None) == (back is None)
    if there and back:
        assert (there.value, there.low, there.high) == pytest.approx((back.value, back.low, back.high), abs=1e-9)


@given(st.lists(st.tuples(outcome, outcome), min_size=12, max_size=60), st.sampled_from(Weighting))
def test_the_standard_error_is_that_of_the_delta_method(found: list[tuple[int, int]], weighting: Weighting) -> None:
    """An independent way to the formula: how kappa moves when one pair counts a little more, squared and summed."""
    ours = weighted_kappa(found, weighting)
    assume(ours is not None and ours.low > -0.9 and ours.high < 0.9)
    assert ours is not None
    count, step = len(found), 1e-6

    def moved(index: int, by: float) -> float:
        shares = [1 / count] * count
        shares = [share * (1 - by) for share in shares]
        shares[index] += by
        return _plain_kappa(found, shares, weighting)

    influence = [(moved(index, step) - moved(index, -step)) / (2 * step) for index in range(count)]
    error = math.sqrt(sum(value**2 for value in influence)) / count
    assert (ours.high - ours.low) / (2 * NORMAL_95) == pytest.approx(error, abs=1e-6)


def _plain_kappa(found: list[tuple[int, int]], shares: list[float], weighting: Weighting) -> float:
    power = 2 if weighting is Weighting.QUADRATIC else 1
    observed = sum(share * abs(i - j) ** power for share, (i, j) in zip(shares, found, strict=True))
    first, second = [0.0] * OUTCOMES, [0.0] * OUTCOMES
    for share, (i, j) in zip(shares, found, strict=True):
        first[i] += share
        second[j] += share
    expected = sum(first[i] * second[j] * abs(i - j) ** power for i in range(OUTCOMES) for j in range(OUTCOMES))
    return 1 - observed / expected


def test_a_published_example() -> None:
    """The two psychologists of Fleiss, Levin & Paik, Statistical Methods for Rates and Proportions, table 18.1:
    kappa without weights 0.676, here of three outcomes that both weightings know (0, 2, 4 of five)."""
    cells = {(0, 0): 75, (0, 2): 1, (0, 4): 4, (2, 0): 5, (2, 2): 4, (2, 4): 1, (4, 2): 0, (4, 4): 10}
    found = [pair for pair, count in cells.items() for _ in range(count)]
    linear = weighted_kappa(found, Weighting.LINEAR)
    assert linear is not None
    assert linear.value == pytest.approx(scikit(found, Weighting.LINEAR), abs=1e-12)


@given(st.lists(ids, min_size=1, max_size=20), st.binary(min_size=32, max_size=32))
def test_who_is_asked_about_again_is_always_the_same_and_grows_with_the_share(
    found: list[uuid.UUID], key: bytes
) -> None:
    for report_id in found:
        answers = [is_asked_again(report_id, key=key, share=share) for share in (0, 0.05, 0.3, 1)]
        assert answers == sorted(answers)
        assert (answers[0], answers[-1]) == (False, True)
        assert is_asked_again(report_id, key=key, share=0.3) == answers[2]


def test_a_twentieth_is_a_twentieth_and_another_key_chooses_others() -> None:
    found = [uuid.UUID(int=number) for number in range(20_000)]
    chosen = [{one for one in found if is_asked_again(one, key=bytes([n]) * 32, share=0.05)} for n in (1, 2)]
    assert [len(of_key) for of_key in chosen] == pytest.approx([1000, 1000], abs=4 * math.sqrt(950))
    assert len(chosen[0] & chosen[1]) < 100


def test_of_few_judgements_no_mean_is_said() -> None:
    assert mean_difference([1] * (MIN_JUDGEMENTS - 1)) is None
    found = mean_difference([0, 1] * 10)
    assert found is not None
    assert (found.value, found.count) == (0.5, 20)
    assert found.low > 0
    assert found.high - found.value == pytest.approx(NORMAL_95 * math.sqrt((20 * 0.25 / 19) / 20))
    even = mean_difference([-1, 1] * 10)
    assert even is not None
    assert even.low < 0 < even.high


ANNA, BOB, CHEN = (uuid.UUID(int=number) for number in (1, 2, 3))


def pair(first: uuid.UUID, second: uuid.UUID, outcomes: tuple[int, int], kind: str = "foam") -> Pair:
    return Pair(uuid.uuid4(), kind, "2026-05", first, second, *outcomes)


def test_whoever_was_first_two_people_are_one_pair() -> None:
    found = [pair(ANNA, BOB, (1, 3))] * 6 + [pair(BOB, ANNA, (3, 1))] * 6 + [pair(ANNA, CHEN, (0, 0))]
    groups = agreement_by(found, lambda one: one.people)
    assert {people: group.pairs for people, group in groups.items()} == {(ANNA, BOB): 12, (ANNA, CHEN): 1}
    assert groups[(ANNA, BOB)].quadratic is not None
    assert groups[(ANNA, BOB)].quadratic.value == 0  # each always says the same
    assert groups[(ANNA, CHEN)].quadratic is None
    assert against_others(found, ANNA) == [-2] * 12 + [0]
    assert against_others(found, BOB) == [2] * 12
    assert found[0].distance == 2
