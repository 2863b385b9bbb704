"""What making a photo safe costs: CPU as a multiple of one bare decoding of the same file, photos a second, memory.

Measured is the whole of ``waterwatch.photos.pixels.rebuild`` with nothing to cover: decode, colours to sRGB, turn,
three pictures encoded and written, their structure checked, SHA-256 of each, perceptual hash, place and time read. The
floor is Pillow's full decoding of the same file, in turn, round by round: first all in one process, whose memory is
there already, then each in a child of its own, as a worker does it. Looking for faces and number plates is a
neural network's work on a picture of fixed size, whatever the file was: it stands on a line of its own.

    python -m bench.photos [--rounds 9] [--heic-rounds 5]
"""

import argparse
import io
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from waterwatch.photos import redaction
from waterwatch.photos.confinement import run_confined
from waterwatch.photos.pixels import Rebuilt, rebuild, rebuild_in_child
from waterwatch.photos.rules import Limits

MEBIBYTE = 1 << 20
LIMITS = Limits(max_pixels=60_000_000, memory_bytes=1536 * MEBIBYTE, cpu_s=60, wall_s=120.0)
OCTAVES = 10  # of detail, from the whole picture down to four pixels
DETAIL_FALL = 1.75  # each finer octave's contrast is that much weaker: the 1/f spectrum of photographs
SENSOR_NOISE = 7.0  # standard deviation in 8-bit steps: with it a JPEG of quality 90 has the 3.6 MB cameras write
GOALS = {"JPEG": 1.3, "HEIC": 1.4}


@dataclass(frozen=True)
class Sample:
    """One file as a camera would write it."""

    name: str
    form: str
    path: Path


def photograph(seed: int, width: int, height: int) -> Image.Image:
    """A made-up picture with the statistics of a photograph: contrast falls with frequency, colour varies slowly."""
    chance = np.random.default_rng(seed)

    def octave(number: int) -> NDArray[np.float32]:
        grid = chance.standard_normal((3 * 2**number, 4 * 2**number), dtype=np.float32)
        return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))

    noise = chance.standard_normal((height, width), dtype=np.float32)
    light = 120 + SENSOR_NOISE * noise
    colours = [np.full((height, width), 128, np.float32) for _ in range(2)]
    for number in range(1, OCTAVES):
        contrast = 90 / DETAIL_FALL**number
        light += contrast * octave(number)
        if number <= 5:
            colours = [colour + contrast / 2 * octave(number) for colour in colours]
    bands = [Image.fromarray(np.clip(band, 0, 255).astype(np.uint8)) for band in (light, *colours)]
    return Image.merge("YCbCr", bands).convert("RGB")


def make_samples(folder: Path) -> list[Sample]:
    """The files: what most telephones write, an older size, one held upright, one with a wide-gamut profile, a HEIC."""
    pillow_heif.register_heif_opener()
    picture, older = photograph(1, 4032, 3024), photograph(2, 4000, 3000)
    upright = Image.Exif()
    upright[ExifTags.Base.Orientation] = 6
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return [
        _saved(folder, "JPEG 4032 × 3024", "JPEG", picture),
        _saved(folder, "JPEG 4000 × 3000", "JPEG", older),
        _saved(folder, "JPEG 4032 × 3024, upright, sRGB profile", "JPEG", picture, exif=upright, icc_profile=srgb),
        _saved(folder, "JPEG 4032 × 3024, Display P3", "JPEG", picture, icc_profile=display_p3()),
        _saved(folder, "HEIC 4032 × 3024", "HEIC", picture),
    ]


def _saved(folder: Path, name: str, form: str, picture: Image.Image, **options: object) -> Sample:
    path = folder / f"{len(list(folder.iterdir()))}.{form.lower()}"
    sink = io.BytesIO()
    if form == "HEIC":
        picture.save(sink, "HEIF", quality=60)
    else:
        picture.save(sink, form, quality=90, subsampling="4:2:0", **options)
    path.write_bytes(sink.getvalue())
    return Sample(name, form, path)


def display_p3() -> bytes:
    """The profile most telephones give a picture that has one: sRGB's curves, wider primaries (SMPTE EG 432-1, D50)."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    for entry in range(132, 132 + 12 * int.from_bytes(content[128:132], "big"), 12):  # ICC.1:2010, 7.3 and 10.31
        if (values := primaries.get(bytes(content[entry : entry + 4]))) is not None:
            start = int.from_bytes(content[entry + 4 : entry + 8], "big") + 8
            content[start : start + 12] = b"".join(round(v * 65536).to_bytes(4, "big", signed=True) for v in values)
    return bytes(content)


def cpu_s(work: Callable[[], object]) -> float:
    """Seconds of this process's CPU, all threads counted."""
    started = time.process_time()
    work()
    return time.process_time() - started


def cpu_in_child_s(work: Callable[[], object]) -> float:
    """The same in a confined child of its own, as a worker does it: all memory is new there, and fetching it costs."""
    return float(run_confined(lambda: str(cpu_s(work)).encode(), LIMITS))


def decode(sample: Sample) -> None:
    """The floor: Pillow decodes every pixel, in one thread as ours does."""
    with Image.open(sample.path) as picture:
        picture.load()


def rebuild_all(sample: Sample, folder: Path) -> None:
    """Ours, with nothing to cover."""
    outcome = rebuild(sample.path, folder, LIMITS, redactions=())
    if not isinstance(outcome, Rebuilt):
        raise SystemExit(f"{sample.name} was refused: {outcome.code}")


def contest(sample: Sample, folder: Path, rounds: int) -> float:
    """Print every round of both and their ratio; returns our median CPU in seconds."""
    print(f"\n{sample.name}, {sample.path.stat().st_size / 1e6:.1f} MB; CPU in ms, round by round")
    ours = _race(sample, folder, rounds, cpu_s)
    print("  each in a child of its own")
    _race(sample, folder, rounds, cpu_in_child_s)
    return ours


def _race(sample: Sample, folder: Path, rounds: int, clock: Callable[[Callable[[], object]], float]) -> float:
    def round_of_both() -> tuple[float, float]:
        return clock(lambda: decode(sample)), clock(lambda: rebuild_all(sample, folder))

    found = [round_of_both() for _ in range(rounds + 1)][1:]
    bare, ours = ([pair[side] for pair in found] for side in (0, 1))
    ratios = [b / a for a, b in found]
    print(f"  {'bare decoding':16}" + " ".join(f"{one * 1000:6.0f}" for one in bare) + _median(bare))
    print(f"  {'the whole':16}" + " ".join(f"{one * 1000:6.0f}" for one in ours) + _median(ours))
    low, high, goal = min(ratios), max(ratios), GOALS[sample.form]
    verdict = "reached" if high <= goal else "missed" if low > goal else "no verdict: the range holds it"
    ratio = statistics.median(ratios)
    print(f"  ratio {ratio:.2f}×, from {low:.2f} to {high:.2f}; goal ≤ {goal}×: {verdict}")
    return statistics.median(ours)


def _median(times: list[float]) -> str:
    return f"   median {statistics.median(times) * 1000:.0f}"


def print_pace(sample: Sample, folder: Path, cpu: float, rounds: int) -> None:
    """Photos a second on one core: by CPU, and as a worker does it, in a forked child and by the clock."""
    started = time.perf_counter()
    for _ in range(rounds):
        rebuild_in_child(sample.path, folder, LIMITS, redactions=())
    elapsed_s = (time.perf_counter() - started) / rounds
    rate, forked = 1 / cpu, 1 / elapsed_s
    print(f"  {sample.name}: {rate:.1f} photos/s a core by CPU, {forked:.1f}/s one after another in forked children")


def print_memory(sample: Sample, folder: Path) -> None:
    """The largest resident size of a confined child of a new process: one that has decoded before holds memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
        before, peak = fresh.submit(child_memory, sample, folder).result()
    print(f"  {sample.name}: {peak - before:.0f} MB more than the {before:.0f} MB it shares with its worker")


def child_memory(sample: Sample, folder: Path) -> tuple[float, float]:
    """(MB resident when the child began, MB resident at most)."""

    def work() -> bytes:
        before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024
        rebuild_all(sample, folder)
        return f"{before} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}".encode()

    before, peak = (int(kib) / 1024 for kib in run_confined(work, LIMITS).split())
    return before, peak


def print_detection(folder: Path, rounds: int) -> None:
    """What looking for faces and plates adds to each photo."""
    redaction.load()
    with Image.open(folder / "2000.jpg") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    print(f"\nlooking for faces and plates in {pixels.shape[1]} × {pixels.shape[0]}, CPU in ms, round by round")
    for where, clock in (("in one process", cpu_s), ("each in a child", cpu_in_child_s)):
        times = [clock(lambda: redaction.find(pixels)) for _ in range(rounds + 1)][1:]
        print(f"  {where:16}" + " ".join(f"{one * 1000:6.0f}" for one in times) + _median(times))


def main() -> None:
    """Make the files, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--heic-rounds", type=int, default=5)
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the start")
    with tempfile.TemporaryDirectory(prefix="waterwatch-bench-") as name:
        files, made = Path(name) / "files", Path(name) / "made"
        files.mkdir()
        made.mkdir()
        samples = make_samples(files)
        costs = {
            one.name: contest(one, made, asked.heic_rounds if one.form == "HEIC" else asked.rounds) for one in samples
        }
        chosen = [samples[0], samples[-1]]
        print("\npace")
        for one in chosen:
            print_pace(one, made, costs[one.name], asked.heic_rounds)
        print("\npeak memory of the child")
        for one in chosen:
            print_memory(one, made)
        print_detection(made, asked.heic_rounds)


if __name__ == "__main__":
    main()
