"""Places whose water and city anybody can check, with where their coordinates were published.

``cnemc``: stations of the China National Environmental Monitoring Centre's weekly report on automatic stations at key
sections (全国主要流域重点断面水质自动监测周报), which says on which water each lies; their coordinates as they
circulate in public charts of that report. Stations whose published place is plainly a slip (Jiujiang at 25° E) are
left out, as are those on waters that the built-in map does not draw there. ``dfo-N``: the Dartmouth Flood Observatory's
satellite gaging reach N (dartmouth.edu/~floods/AMSR-E Gaging Reaches/N.htm), which names river and place.
``prefecture`` is empty for a place on a border, where the built-in areas, simplified to 800 m, cannot tell the bank.
"""

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KnownPlace:
    """One of them; ``lon``, ``lat`` in WGS-84 degrees."""

    place: str
    lon: float
    lat: float
    water: str
    prefecture: str
    source: str


def known_places() -> list[KnownPlace]:
    """All of them."""
    with Path(__file__).with_name("known_places.csv").open(encoding="utf-8", newline="") as file:
        return [
            KnownPlace(**row | {"lon": float(row["lon"]), "lat": float(row["lat"])})  # type: ignore[arg-type]
            for row in csv.DictReader(file)
        ]
