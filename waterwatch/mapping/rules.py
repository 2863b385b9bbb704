"""Pure decisions of drawing: colours, a local projection, names of published files."""

import hashlib
import math
from dataclasses import dataclass

# The four legal colours, each readable on the map's pale ground; the legend doubles each by word and line width.
LEVEL_COLOURS = {1: "#1f6fd6", 2: "#e8b500", 3: "#f07800", 4: "#d1242f"}
LEVEL_WIDTHS_PX = {1: 3.0, 2: 4.0, 3: 5.0, 4: 6.0}
WATER_COLOUR = "#8fb2c9"
LAKE_COLOUR = "#cfe0ea"
GROUND_COLOUR = "#f4f3ee"
INK_COLOUR = "#22343f"

# How far an incident has come with the departments, the least first: all that is public says it in these words.
ANSWERS = ("none", "forwarded", "acknowledged", "answered", "resolved_claimed")
# In SQL, as places in that list. Of a case ``c``: forwarded is what has arrived; what waits to be sent is with nobody.
# Whoever only supervises, or is only warned, answers for nothing.
CASE_ANSWER = """
CASE WHEN c.role <> 'competent' THEN 0 WHEN c.state IN ('answered', 'closed') THEN 3
     WHEN c.state = 'acknowledged' THEN 2 WHEN c.state = 'delivered' THEN 1 ELSE 0 END
"""

METRES_PER_DEGREE = 111_320.0  # of latitude, on the mean sphere; drawing only, never a distance anybody reads


@dataclass(frozen=True)
class Frame:
    """A small map: centre (lon, lat) in WGS-84, half its width in metres, size in pixels."""

    lon: float
    lat: float
    half_width_m: float
    width_px: int
    height_px: int

    @property
    def metres_per_px(self) -> float:
        """Scale at the centre."""
        return 2 * self.half_width_m / self.width_px

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(west, south, east, north) in degrees."""
        half_lat = self.height_px / 2 * self.metres_per_px / METRES_PER_DEGREE
        half_lon = self.half_width_m / (METRES_PER_DEGREE * math.cos(math.radians(self.lat)))
        return self.lon - half_lon, self.lat - half_lat, self.lon + half_lon, self.lat + half_lat

    def project(self, lon: float, lat: float) -> tuple[float, float]:
        """Pixels of a place: a local equirectangular projection, true to scale at the centre."""
        east_m = (lon - self.lon) * METRES_PER_DEGREE * math.cos(math.radians(self.lat))
        north_m = (lat - self.lat) * METRES_PER_DEGREE
        return self.width_px / 2 + east_m / self.metres_per_px, self.height_px / 2 - north_m / self.metres_per_px


def incident_answer(of_its_cases: str) -> str:
    """SQL: how far an incident ``i`` has come. ``of_its_cases``: SQL of its furthest case's, NULL where it has none."""
    return f"CASE i.state WHEN 'resolved_claimed' THEN 4 WHEN 'answered' THEN 3 ELSE coalesce({of_its_cases}, 0) END"


def scale_bar_m(frame: Frame, *, longest_px: float = 140.0) -> int:
    """The longest round distance (1, 2 or 5 times a power of ten metres) that fits into ``longest_px``."""
    limit_m = longest_px * frame.metres_per_px
    power = 10 ** math.floor(math.log10(limit_m))
    return int(max(step * power for step in (1, 2, 5) if step * power <= limit_m))


def digest_of(content: bytes) -> str:
    """Sixteen hexadecimal digits that differ when the content does."""
    return hashlib.sha256(content).hexdigest()[:16]


def hashed_name(stem: str, content: bytes, *, ending: str = "json") -> str:
    """``stem.<hash>.json``: the name changes exactly when the content does, so the file may be cached for ever."""
    return f"{stem}.{digest_of(content)}.{ending}"


def stem_of(key: str) -> str:
    """The file of a key but for its hash: ``incidents/6/51/26`` lies in ``incidents/6-51-26``."""
    folder, slash, rest = key.partition("/")
    return f"{folder}{slash}{rest.replace('/', '-')}"
