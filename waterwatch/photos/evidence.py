"""What a photo says of the place and the time it was taken, from its EXIF: a claim, never trusted by itself.

Cameras and whoever edits their files write these tags with every fault there is; a tag that is broken or contradicts
itself counts as absent, and never keeps a photo from being used.
"""

import contextlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from PIL import ExifTags, Image

_YEARS = range(1990, 2100)  # of digital photographs


@dataclass(frozen=True)
class Evidence:
    """What the file says of place (WGS-84) and time. A claim, never trusted by itself; for moderators only."""

    lon: float | None = None
    lat: float | None = None
    taken_at: str | None = None
    taken_at_local: str | None = None


def read_evidence(picture: Image.Image) -> Evidence:
    """Place and time from EXIF; anything broken or contradictory counts as absent."""
    with contextlib.suppress(Exception):
        exif = picture.getexif()
        evidence = _place(dict(exif.get_ifd(ExifTags.IFD.GPSInfo)))
        details = dict(exif.get_ifd(ExifTags.IFD.Exif))
        local = _clean_time(details.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime))
        offset = details.get(ExifTags.Base.OffsetTimeOriginal)
        return replace(evidence, taken_at_local=local, taken_at=_with_offset(local, offset))
    return Evidence()


def _place(gps: dict[int, Any]) -> Evidence:
    with contextlib.suppress(Exception):
        lat = _degrees(gps[ExifTags.GPS.GPSLatitude], gps[ExifTags.GPS.GPSLatitudeRef], "N", "S", 90.0)
        lon = _degrees(gps[ExifTags.GPS.GPSLongitude], gps[ExifTags.GPS.GPSLongitudeRef], "E", "W", 180.0)
        if (lon, lat) != (0.0, 0.0):  # what cameras write when they do not know
            return Evidence(lon=lon, lat=lat)
    return Evidence()


def _degrees(parts: Any, reference: Any, positive: str, negative: str, limit: float) -> float:
    degrees, minutes, seconds = (float(part) for part in parts)
    value = degrees + minutes / 60 + seconds / 3600
    sign = {positive: 1.0, negative: -1.0}[str(reference).strip("\x00 ").upper()]
    if not 0 <= value <= limit or not (0 <= minutes < 60 and 0 <= seconds < 60):
        raise ValueError("out of range")
    return sign * value


def _clean_time(value: Any) -> str | None:
    with contextlib.suppress(ValueError, TypeError):
        parsed = datetime.strptime(str(value).strip("\x00 "), "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007  # it has no zone
        return parsed.isoformat() if parsed.year in _YEARS else None
    return None


def _with_offset(local: str | None, offset: Any) -> str | None:
    """The instant, where a zone is given that exists."""
    text = str(offset or "").strip("\x00 ")
    if local is None or text[:1] not in ("+", "-", "Z"):
        return None
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(local + text).isoformat()
    return None
