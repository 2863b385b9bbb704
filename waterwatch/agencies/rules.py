"""Which waters are borders, and by which keys an area's name is found."""

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from waterwatch.kernel.spelling import PART, keys_of_name

# What kind of area a name ends in, after the two characters at least that are the name proper.
_KIND = re.compile(r"(?<=..)(特别行政区|特別行政區|自治[区區州县縣旗]|地[区區]|林[区區]|新[区區]|[省市区區县縣盟旗])$")
SHORT = 1  # added to the grade of a key of the name without its kind
BEGINS = 10  # added where a name merely begins so


def is_border(sides: Sequence[tuple[AbstractSet[str], AbstractSet[str]]]) -> bool:
    """Whether a water parts areas for most of a stretch: (codes on the left, codes on the right) along it.

    Where one side is in nobody's area (the sea, abroad), nothing is parted.
    """
    parted = [left for left, right in sides if left and right and not left & right]
    return 2 * len(parted) > len(sides)


def area_keys(names: Iterable[str]) -> dict[str, int]:
    """Every key that finds an area of these names, with its grade, lower being better: whole, sounds, initials.

    With and without the kind it ends in (武汉市, 武汉). Unlike a water's, no parts: 山区 is no way to say 洪山区.
    """
    keys: dict[str, int] = {}
    for name in names:
        for variant, worse in ((name, 0), (_KIND.sub("", name), SHORT)):
            for key, grade in keys_of_name(variant):
                if key and grade < PART:
                    keys[key] = min(grade + worse, keys.get(key, grade + worse))
    return keys
