"""How far apart the perceptual hashes of the same picture are once it was sent on, and those of different pictures.

Takes folders of photographs; large ones count five times, whole and in quarters. What comes out is what
``photos.rules.PHASH_NEAR_BITS`` stands on (docs/decisions/0020).

    python -m bench.likeness FOLDER [FOLDER ...]
"""

import argparse
import io
import itertools
import statistics
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageEnhance

from waterwatch.photos.pixels import perceptual_hash
from waterwatch.photos.rules import PHASH_NEAR_BITS, SIZES_PX, does_hash_tell, hash_distance

QUARTERED_FROM_PX = 1200
Change = Callable[[Image.Image], Image.Image]


def encoded(picture: Image.Image, quality: int, form: str = "JPEG") -> Image.Image:
    """Compressed and opened again."""
    sink = io.BytesIO()
    picture.save(sink, form, quality=quality)
    return Image.open(sink).convert("RGB")


def scaled(picture: Image.Image, longest_px: int) -> Image.Image:
    """No longer than so many pixels."""
    smaller = picture.copy()
    smaller.thumbnail((longest_px, longest_px), Image.Resampling.BICUBIC)
    return smaller


def cut(picture: Image.Image, share: float) -> Image.Image:
    """Without so much of each side."""
    width, height = picture.size
    x, y = int(width * share), int(height * share)
    return picture.crop((x, y, width - x, height - y))


CHANGES: dict[str, Change] = {
    "JPEG, quality 40": lambda picture: encoded(picture, 40),
    "a messenger: 1280 px, quality 70": lambda picture: encoded(scaled(picture, 1280), 70),
    "two messengers: then 1080 px, quality 50": lambda picture: encoded(
        scaled(encoded(scaled(picture, 1280), 70), 1080), 50
    ),
    "320 px, quality 30": lambda picture: encoded(scaled(picture, 320), 30),
    "WebP, quality 50": lambda picture: encoded(picture, 50, "WEBP"),
    "brighter by a fifth": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "1 % cut off each side": lambda picture: cut(picture, 0.01),
    "2 % cut off each side": lambda picture: cut(picture, 0.02),
    "5 % cut off each side": lambda picture: cut(picture, 0.05),
}


def load(folders: list[Path]) -> list[Image.Image]:
    """The photographs and their quarters."""
    found = []
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in (".jpg", ".png")):
        picture = scaled(Image.open(path).convert("RGB"), SIZES_PX[0])
        found.append(picture)
        width, height = picture.size[0] // 2, picture.size[1] // 2
        if picture.size[0] >= QUARTERED_FROM_PX:
            corners = itertools.product((0, width), (0, height))
            found += [picture.crop((x, y, x + width, y + height)) for x, y in corners]
    return found


def hash_of(picture: Image.Image) -> int:
    """The hash by the same cascade of sizes as the application's."""
    picture = picture.copy()
    for size_px in SIZES_PX:
        picture.thumbnail((size_px, size_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return perceptual_hash(picture)


def main() -> None:
    """Print the distances of each change, then those between different pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    pictures = load(parser.parse_args().folders)
    hashes = [hash_of(picture) for picture in pictures]
    telling = sum(map(does_hash_tell, hashes))
    print(f"{len(pictures)} pictures, {telling} of them with a hash that tells something")
    for name, change in CHANGES.items():
        found = sorted(
            hash_distance(one, hash_of(change(picture))) for picture, one in zip(pictures, hashes, strict=True)
        )
        within = sum(distance <= PHASH_NEAR_BITS for distance in found) / len(found)
        middle, high = int(statistics.median(found)), found[int(0.95 * len(found))]
        print(f"{name:42} median {middle:2}  p95 {high:2}  most {found[-1]:2}  found {within:.0%}")
    pairs = sorted(hash_distance(one, other) for one, other in itertools.combinations(hashes, 2))
    print(
        f"{'different pictures':42} least {pairs[0]:2}  median {int(statistics.median(pairs)):2}  ({len(pairs)} pairs)"
    )


if __name__ == "__main__":
    main()
