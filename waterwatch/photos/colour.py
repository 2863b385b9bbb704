"""From whatever a decoder gives to plain sRGB: three channels of eight bits, made of pixel values and nothing else."""

import contextlib
import io

import numpy as np
from PIL import Image, ImageCms

_SRGB = ImageCms.createProfile("sRGB")
# Every combination of 17 tones of red, green and blue, to see what a colour profile does.
_TONES = np.linspace(0, 255, 17).round().astype(np.uint8)
_ALL_COLOURS = Image.fromarray(np.stack(np.meshgrid(_TONES, _TONES, _TONES), axis=-1).reshape(17, 289, 3))


def to_srgb(picture: Image.Image) -> Image.Image:
    """A new RGB image made of pixel bytes only: colours brought to sRGB, transparency laid on white."""
    profile = picture.info.get("icc_profile")
    flat = _flatten(picture)
    if profile and flat.mode in ("RGB", "CMYK", "L"):
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            flat = _in_srgb(flat, ImageCms.buildTransform(source, _SRGB, flat.mode, "RGB"))
    if flat.mode != "RGB":
        flat = flat.convert("RGB")
    # Not a copy: that would take along what Pillow read beside the pixels. Not filled first: every pixel is written.
    clean = Image.new("RGB", flat.size, None)
    clean.paste(flat)
    return clean


def _in_srgb(picture: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    """The picture's colours through the transform, or as they are where it changes none by more than a rounding.

    Most profiles in photographs are sRGB's own: finding that out costs nothing, a transform as much as the encoding.
    """
    if picture.mode == "RGB":
        moved = np.asarray(ImageCms.applyTransform(_ALL_COLOURS, transform), dtype=np.int16)
        if np.abs(moved - np.asarray(_ALL_COLOURS)).max() <= 1:
            return picture
    return ImageCms.applyTransform(picture, transform) or picture


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
