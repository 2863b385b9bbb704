"""Which waters are borders."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet


def is_border(sides: Sequence[tuple[AbstractSet[str], AbstractSet[str]]]) -> bool:
    """Whether a water parts areas for most of a stretch: (codes on the left, codes on the right) along it.

    Where one side is in nobody's area (the sea, abroad), nothing is parted.
    """
    parted = [left for left, right in sides if left and right and not left & right]
    return 2 * len(parted) > len(sides)
