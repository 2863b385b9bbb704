"""All that a photo's file says of itself, for evidence: its EXIF as values, without what names a person or a device.

What may name somebody (an owner, an author, a comment, a serial number, a maker's own notes) is left out, and said to
be left out. Read in a confined child, as everything in a hostile file is.
"""

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from PIL import ExifTags, Image

from waterwatch.photos import pixels
from waterwatch.photos.confinement import ChildDiedError, run_confined
from waterwatch.photos.rules import Limits, sniff

# In words of their own somebody may have written who they are; a serial number tells whose camera it was.
PERSONAL: Final = frozenset(
    {
        *("Artist", "Copyright", "CameraOwnerName", "XPAuthor", "XPComment", "XPTitle", "XPKeywords", "XPSubject"),
        *("UserComment", "ImageDescription", "BodySerialNumber", "LensSerialNumber", "CameraSerialNumber"),
        *("MakerNote", "HostComputer", "DocumentName", "PageName", "OriginalRawFileName", "ImageUniqueID"),
        *("SecurityClassification", "ImageHistory", "ReelName", "CameraLabel", "Photographer", "ImageEditor"),
    }
)
# Of these, what says who or whose camera it was (such numbers are searched for, and found under pictures elsewhere): an
# original that has one is not handed out unless that is asked for.
NAMES_SOMEBODY: Final = frozenset(
    {
        *("Artist", "Copyright", "CameraOwnerName", "XPAuthor", "XPComment", "UserComment", "ImageDescription"),
        *("Photographer", "BodySerialNumber", "LensSerialNumber", "CameraSerialNumber"),
    }
)
_NAMING_WORDS: Final = (
    b"dc:creator",
    b"dc:rights",
    b"OwnerName",
    b"photoshop:Credit",
    b"Iptc4xmpCore:CreatorContactInfo",
)
MAX_TAGS, MAX_WORDS, MAX_VALUES = 200, 120, 12


def read_tags(path: Path, limits: Limits) -> dict[str, Any]:
    """``tags`` by directory and name, ``withheld`` names, ``may_name_somebody``; ``fault`` where nothing can be read.

    Assumes a photo that was decoded once. Fails closed: what cannot be read may name somebody.
    """
    try:
        found: dict[str, Any] = json.loads(run_confined(lambda: _read(path), limits))
    except ChildDiedError as died:
        return {"tags": {}, "withheld": [], "may_name_somebody": True, "fault": died.code}
    return found


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        form = sniff(file.read(pixels.SNIFF_BYTES))
    assert form is not None
    with Image.open(path, formats=[form]) as picture:
        exif = picture.getexif()
        directories = {"Image": (dict(exif), ExifTags.TAGS)}
        for name, ifd, tags in (
            ("Photo", ExifTags.IFD.Exif, ExifTags.TAGS),
            ("GPS", ExifTags.IFD.GPSInfo, ExifTags.GPSTAGS),
        ):
            directories[name] = (dict(exif.get_ifd(ifd)), tags)
        packet = picture.info.get("xmp") or b""
        packet = packet.encode("utf-8", "replace") if isinstance(packet, str) else bytes(packet)
        has_captions = bool(picture.info.get("photoshop") or picture.info.get("comment") or picture.info.get("Author"))
    told, withheld, is_named = _sorted_out(directories)
    may_name = is_named or has_captions or any(word in packet for word in _NAMING_WORDS)
    return json.dumps({"tags": told, "withheld": withheld, "may_name_somebody": may_name, "fault": None}).encode()


def _sorted_out(
    directories: Mapping[str, tuple[dict[int, Any], Mapping[int, str]]],
) -> tuple[dict[str, dict[str, Any]], list[str], bool]:
    """(what may be told, the names of what is withheld, whether something of that says who it was)."""
    told: dict[str, dict[str, Any]] = {}
    withheld: set[str] = set()
    is_named = False
    for directory, (values, names) in directories.items():
        for number, value in sorted(values.items(), key=lambda pair: pair[0])[:MAX_TAGS]:
            name = str(names.get(number, f"0x{number:04x}"))
            if name in ("ExifOffset", "GPSInfo"):  # where the other directories lie
                continue
            if name in PERSONAL or name.startswith("0x"):
                withheld.add(name)
                is_named = is_named or (name in NAMES_SOMEBODY and _says_something(value))
            else:
                told.setdefault(directory, {})[name] = _value(value)
    return told, sorted(withheld), is_named


def _says_something(value: Any) -> bool:
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
    return bool(raw.removeprefix(b"ASCII\0\0\0").removeprefix(b"UNICODE\0").strip(b"\0 "))


def _value(value: Any) -> Any:
    if isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return "".join(c for c in value if c.isprintable())[:MAX_WORDS].strip()
    if isinstance(value, bytes):
        return value[:64].hex()
    if isinstance(value, tuple | list):
        return [_value(one) for one in value[:MAX_VALUES]]
    try:  # a rational, whose denominator may be nothing
        exact = Fraction(int(value.numerator), int(value.denominator))
    except (AttributeError, ZeroDivisionError, ValueError, TypeError, OverflowError):
        return None
    return f"{exact.numerator}/{exact.denominator}"
