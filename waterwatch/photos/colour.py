"""From whatever a decoder gives to plain sRGB: three channels of eight bits, made of pixel values and nothing else."""

import contextlib
import io

import numpy as np
from PIL import Image, ImageCms

_SRGB = ImageCms.createProfile("sRGB")
# Every combination of nine tones of red, green and blue, and all greys, to see what a colour profile does.
_TONES = np.linspace(0, 255, 9).round().astype(np.uint8)
_MIXED = np.stack(np.meshgrid(_TONES, _TONES, _TONES), axis=-1).reshape(-1, 3)
_PROBE = np.concatenate([_MIXED, np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)])[None]


def to_srgb(picture: Image.Image, turn: Image.Transpose | None = None) -> Image.Image:
    """A new RGB image made of pixel bytes only: turned, colours brought to sRGB, transparency laid on white."""
    profile = picture.info.get("icc_profile")
    flat = _flatten(picture)
    transform = _transform(profile, flat.mode) if profile else None
    if flat.mode != "RGB":
        flat = (transform and ImageCms.applyTransform(flat, transform)) or flat.convert("RGB")
        transform = None
    clean = flat.copy() if turn is None else flat.transpose(turn)
    if transform:
        ImageCms.applyTransform(clean, transform, inPlace=True)
    clean.info = {}  # all that Pillow read beside the pixels, and the profile that a transform notes down
    return clean


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From the profile's colours to sRGB's; None for a broken profile, one of another mode, and sRGB's own.

    Most profiles in photographs are sRGB's: a transform not yet made fast finds that out for a quarter of what making
    it fast costs, and that is little beside applying it.
    """
    with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "RGB" and _changes_nothing(source):
            return None
        return ImageCms.buildTransform(source, _SRGB, mode, "RGB")
    return None


def _changes_nothing(source: ImageCms.ImageCmsProfile) -> bool:
    """Whether none of the probed colours moves by more than a rounding."""
    slow = ImageCms.buildTransform(source, _SRGB, "RGB", "RGB", flags=ImageCms.Flags.NOOPTIMIZE)
    moved = np.asarray(ImageCms.applyTransform(Image.fromarray(_PROBE), slow), dtype=np.int16)
    return bool(np.abs(moved - _PROBE).max() <= 1)


def _flatten(picture: Image.Image) -> Image.Image:
    mode = picture.mode
    if mode.startswith("I") or mode == "F":
        return _eight_bit(picture)
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        ground = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        ground.alpha_composite(layered)
        return ground.convert("RGB")
    if mode in ("RGB", "CMYK", "L"):
        return picture
    return picture.convert("RGB")


def _eight_bit(picture: Image.Image) -> Image.Image:
    """16-bit greys scaled to 8 bits; Pillow's own conversion would clip everything above 255 to white."""
    values = np.asarray(picture)
    if values.dtype == np.float32 or values.max(initial=0) > 0xFFFF or values.min(initial=0) < 0:
        return picture.convert("L")
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))
