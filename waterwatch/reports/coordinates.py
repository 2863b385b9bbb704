"""A coordinate as people and devices write it → degrees. Pure: what its datum is, and which place counts, is said
elsewhere.
"""

import re
import unicodedata

NUMBER_MAX_CHARACTERS = 60
LIMITS_DEG = {"lon": 180.0, "lat": 90.0}
_DECIMAL = re.compile(r"[+-]?(?:\d{1,4}(?:\.\d{0,20})?|\.\d{1,20})", re.ASCII)
_HEMISPHERES = {"E": ("lon", 1), "W": ("lon", -1), "N": ("lat", 1), "S": ("lat", -1)}
_CHINESE_HEMISPHERES = {"东": "E", "東": "E", "西": "W", "北": "N", "南": "S"}
_DMS = re.compile(
    r"(?P<before>[EWNS])?\s*"
    r"(?P<degrees>\d{1,3}(?:\.\d{1,15})?)\s*(?:°|º|度|D|:|\s)?\s*"
    r"(?:(?P<minutes>\d{1,2}(?:\.\d{1,15})?)\s*(?:'|′|分|M|:|\s)?\s*"
    r"(?:(?P<seconds>\d{1,2}(?:\.\d{1,15})?)\s*(?:\"|″|''|′′|秒)?\s*)?)?"
    r"(?P<after>[EWNS])?",
    re.ASCII,
)


class CoordinateError(ValueError):
    """Text that is no coordinate; its argument is the code's ending."""


def parse_coordinate(text: str, axis: str) -> tuple[float, bool]:
    """Degrees from decimal or degree-minute-second text, and whether it was written in degrees, minutes, seconds.

    ``axis`` is ``lon`` or ``lat``. Understands full-width digits, ``°′″``, 度分秒, E/W/N/S and 东/西/北/南(经/纬).
    Raises :class:`CoordinateError` ``not_a_number``, ``wrong_axis`` or ``out_of_range``.
    """
    if len(text) > NUMBER_MAX_CHARACTERS:
        raise CoordinateError("not_a_number")
    folded = _fold(text)
    is_dms = _DECIMAL.fullmatch(folded) is None
    degrees = _from_dms(folded, axis) if is_dms else float(folded)
    if abs(degrees) > LIMITS_DEG[axis]:
        raise CoordinateError("out_of_range")
    return degrees, is_dms


def _fold(text: str) -> str:
    """Full-width digits and signs to plain ones, Chinese hemispheres to letters, upper case."""
    # The marks of minutes and seconds must survive: NFKC turns ″ into ′′, which the pattern knows.
    folded = unicodedata.normalize("NFKC", text.replace("º", "°")).strip().upper().replace("−", "-")
    for word, letter in _CHINESE_HEMISPHERES.items():
        folded = folded.replace(word, letter)
    for mark in "经經纬緯":
        folded = folded.replace(mark, "")
    return folded.replace("’", "'").replace("‘", "'").replace("”", '"').replace("“", '"')


def _from_dms(folded: str, axis: str) -> float:
    match = _DMS.fullmatch(folded)
    if match is None:
        raise CoordinateError("not_a_number")
    minutes, seconds = match["minutes"], match["seconds"]
    has_fraction_above = ("." in match["degrees"] and minutes) or (minutes and "." in minutes and seconds)
    if has_fraction_above or (match["before"] and match["after"]):
        raise CoordinateError("not_a_number")
    if float(minutes or 0) >= 60 or float(seconds or 0) >= 60:
        raise CoordinateError("out_of_range")
    letter = match["before"] or match["after"]
    of_axis, sign = _HEMISPHERES[letter] if letter else (axis, 1)
    if of_axis != axis:
        raise CoordinateError("wrong_axis")
    return sign * (float(match["degrees"]) + float(minutes or 0) / 60 + float(seconds or 0) / 3600)
