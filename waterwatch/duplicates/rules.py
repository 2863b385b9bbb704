"""Pure: how alike two reports are, and whether the likeness means one problem told twice or an old picture used again.

The issue names the three reasons and their limits: the same device and minute, the same picture, at most 200 m and
48 h apart on the same water with the same kind. The weights are ours: they order a list for a person's eyes, and no
decision is taken on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from waterwatch.reports.rules import DISAGREEMENT_M, PHOTO_OLD

SAME_MINUTE = timedelta(seconds=60)
NEAR_M = 200.0
NEAR_TIME = timedelta(hours=48)
# The same picture further off than a pin may err, or after more than a week, was not taken for this.
RECYCLED_BEYOND_M = DISAGREEMENT_M
RECYCLED_AFTER = PHOTO_OLD

SAME_FILE_SCORE = 1.0
PICTURE_SCORE, PICTURE_SCORE_PER_BIT = 0.95, 0.05
DEVICE_SCORE = 0.6
NEAR_SCORE_MIN, NEAR_SCORE_MAX = 0.3, 0.7


@dataclass(frozen=True)
class Likeness:
    """What two reports have in common. ``picture_bits`` None: no picture. Distances in metres and seconds."""

    distance_m: float
    apart_s: float
    picture_bits: int | None = None
    is_same_file: bool = False
    is_same_device: bool = False
    is_near: bool = False

    @property
    def has_reason(self) -> bool:
        """Whether there is anything at all to tell a moderator."""
        return self.picture_bits is not None or self.is_same_device or self.is_near


def is_recycled(likeness: Likeness) -> bool:
    """Whether the same picture serves another place or time. Never where one device sent both within a minute."""
    if likeness.picture_bits is None or likeness.is_same_device:
        return False
    return likeness.distance_m > RECYCLED_BEYOND_M or likeness.apart_s > RECYCLED_AFTER.total_seconds()


def score(likeness: Likeness) -> float:
    """How alike, 0 to 1: reasons add up as independent doubts do, 1 − Π(1 − reason)."""
    doubt = 1.0
    for reason in _reasons(likeness):
        doubt *= 1.0 - reason
    return round(1.0 - doubt, 4)


def _reasons(likeness: Likeness) -> Sequence[float]:
    found = []
    if likeness.picture_bits is not None:
        by_bits = PICTURE_SCORE - PICTURE_SCORE_PER_BIT * likeness.picture_bits
        found.append(SAME_FILE_SCORE if likeness.is_same_file else by_bits)
    if likeness.is_same_device:
        found.append(DEVICE_SCORE)
    if likeness.is_near:
        closeness = (1 - likeness.distance_m / NEAR_M) * (1 - likeness.apart_s / NEAR_TIME.total_seconds())
        found.append(NEAR_SCORE_MIN + (NEAR_SCORE_MAX - NEAR_SCORE_MIN) * max(0.0, closeness))
    return found
