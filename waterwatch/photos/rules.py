"""Pure decisions about photos: what a file is by its first bytes, the life of a photo, the limits it is read under."""

from dataclasses import dataclass
from datetime import timedelta

from waterwatch.kernel.settings import Settings
from waterwatch.kernel.states import Machine

# Longest edges of what is published. 2000 and not 2048: a 4000-px photo then halves in the JPEG decoder itself.
SIZES_PX = (2000, 1024, 320)
JPEG_QUALITY = {2000: 85, 1024: 82, 320: 80}

PHOTO = Machine(
    name="photo",
    initial="received",
    moves=frozenset({("received", "sanitising"), ("sanitising", "ready"), ("sanitising", "refused")}),
)
REFUSALS = (
    "empty_file",
    "not_an_image",
    "type_not_accepted",
    "truncated",
    "undecodable",
    "too_many_pixels",
    "too_narrow",
    "too_heavy",
    "timed_out",
)


@dataclass(frozen=True)
class Limits:
    """What decoding one photo may cost: pixels, bytes of address space, seconds of CPU and of wall clock."""

    max_pixels: int
    memory_bytes: int
    cpu_s: int
    wall_s: float
    max_edge_ratio: float = 40.0
    file_bytes: int = 64 * 1024 * 1024

    @classmethod
    def from_settings(cls, settings: Settings) -> "Limits":
        """This installation's limits; the wall clock allows a busy machine half as much again as the CPU limit."""
        return cls(
            max_pixels=settings.photo_max_pixels,
            memory_bytes=settings.photo_memory_bytes,
            cpu_s=settings.photo_cpu_s,
            wall_s=settings.photo_cpu_s * 1.5,
        )


def timed(settings: Settings) -> Machine:
    """The machine with this installation's deadlines."""
    limit = timedelta(seconds=settings.sanitise_deadline_s)
    return Machine(PHOTO.name, PHOTO.initial, PHOTO.moves, {"received": limit, "sanitising": limit})


ACCEPTED = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "HEIF": "image/heif", "AVIF": "image/avif"}
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_OTHER_IMAGES = (b"GIF87a", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*", b"8BPS", b"\x00\x00\x01\x00", b"<svg", b"<?xml")


def sniff(head: bytes) -> str | None:
    """The format of a file by its first 64 bytes, never by its name: a key of :data:`ACCEPTED`, or None."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        brands = {head[8:12], *(head[start : start + 4] for start in range(16, min(len(head), 64), 4))}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIF"
    return None


def refuse_type(head: bytes) -> str:
    """Which refusal fits a file whose format is not accepted."""
    if not head:
        return "empty_file"
    return "type_not_accepted" if head.lstrip().startswith(_OTHER_IMAGES) else "not_an_image"
