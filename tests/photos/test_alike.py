"""Pictures that show the same are found in all of history: every one within seven bits, and without reading it all."""

import hashlib
import io
import uuid
from datetime import datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from tests.analysing import analyse
from waterwatch.kernel.ids import new_id
from waterwatch.photos.pixels import perceptual_hash
from waterwatch.photos.queries import photos_alike
from waterwatch.photos.rules import (
    PHASH_BANDS,
    PHASH_NEAR_BITS,
    does_hash_tell,
    hash_distance,
    near_bands,
)

HASHES = st.integers(-(1 << 63), (1 << 63) - 1)
MANY = 20_000
_ADD = text("""
INSERT INTO photo (id, state, state_since, sha256, original_bytes, received_at, original_delete_after, phash)
SELECT id, 'ready', :now, sha256, 1, :now, :now, phash
FROM unnest(CAST(:ids AS uuid[]), CAST(:sums AS bytea[]), CAST(:hashes AS bigint[])) AS given (id, sha256, phash)
""")


def add_photos(session: Session, hashes: list[int], now: datetime) -> list[uuid.UUID]:
    """Photos with these hashes."""
    ids = [new_id() for _ in hashes]
    sums = [hashlib.sha256(one.bytes).digest() for one in ids]
    session.execute(_ADD, {"ids": ids, "sums": sums, "hashes": hashes, "now": now})
    return ids


def near(base: int, bits: int, rng: np.random.Generator) -> int:
    """A hash that differs in so many bits, anywhere."""
    for bit in rng.choice(64, bits, replace=False):
        base ^= 1 << int(bit)
    base &= (1 << 64) - 1
    return base - (1 << 64) if base >= 1 << 63 else base


def telling(rng: np.random.Generator) -> int:
    """A hash as photographs have them: half of its bits set."""
    bits = sum(1 << int(bit) for bit in rng.choice(64, 32, replace=False))
    return bits - (1 << 64) if bits >= 1 << 63 else bits


def test_the_bands_share_all_bits_among_them_and_none_twice() -> None:
    masks = [mask & ((1 << 64) - 1) for mask in PHASH_BANDS]
    assert [mask.bit_count() for mask in masks] == [16, 16, 16, 16]
    assert masks[0] | masks[1] | masks[2] | masks[3] == (1 << 64) - 1


@given(HASHES, st.sets(st.integers(0, 63), max_size=PHASH_NEAR_BITS))
def test_whatever_differs_in_seven_bits_shares_a_value_in_one_band(phash: int, flipped: set[int]) -> None:
    other = phash
    for bit in flipped:
        other ^= (1 << bit) - (1 << 64 if bit == 63 else 0)
    assert hash_distance(phash, other) == len(flipped)
    assert any((other & mask) in values for mask, values in zip(PHASH_BANDS, near_bands(phash), strict=True))


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_the_search_finds_exactly_what_comparing_with_everything_finds(
    session: Session, now: datetime, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    base = telling(rng)
    hashes = [base, *(near(base, int(rng.integers(0, 12)), rng) for _ in range(30)), *(telling(rng) for _ in range(30))]
    with session.begin_nested() as savepoint:
        ids = add_photos(session, hashes, now)
        expected = {
            (photo_id, hash_distance(base, phash))
            for photo_id, phash in zip(ids[1:], hashes[1:], strict=True)
            if hash_distance(base, phash) <= PHASH_NEAR_BITS and does_hash_tell(phash)
        }
        found = {(one.photo_id, one.bits) for one in photos_alike(session, ids[0], limit=1000)}
        savepoint.rollback()
    assert found == expected


def test_nothing_is_read_from_end_to_end(session: Session, now: datetime) -> None:
    rng = np.random.default_rng(1)
    ids = add_photos(session, [telling(rng) for _ in range(MANY)], now)
    analyse(session, "photo")
    sent: list[tuple[str, object]] = []
    connection = session.connection()

    def note(_c: object, _cur: object, statement: str, parameters: object, *_: object) -> None:
        sent.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    photos_alike(session, ids[0], limit=100)
    event.remove(connection, "before_cursor_execute", note)
    statement, parameters = sent[-1]
    lines = connection.exec_driver_sql("EXPLAIN " + statement, parameters).scalars().all()
    plan = "\n".join(lines)
    assert "Seq Scan" not in plan
    assert [plan.count(f"ix_photo_phash_band_{number}") for number in range(4)] == [1, 1, 1, 1]


def test_a_limit_holds_even_where_a_picture_is_everywhere(session: Session, now: datetime) -> None:
    base = telling(np.random.default_rng(2))
    ids = add_photos(session, [base] * 50, now)
    assert len(photos_alike(session, ids[0], limit=10)) == 10


def test_a_photo_that_is_not_ready_yet_is_like_nothing(session: Session) -> None:
    assert photos_alike(session, uuid.uuid4(), limit=10) == []


def water(seed: int) -> Image.Image:
    """A drawn view over water: sky, far bank, waves, something floating. The same every time."""
    rng = np.random.default_rng(seed)
    height, width = 600, 800
    depth = np.clip((np.linspace(0, 1, height) - 0.3) / 0.7, 0, 1)[:, None, None]
    pixels = np.where(depth > 0, np.array([92, 118, 112]) * (1 - depth) + np.array([44, 66, 58]) * depth, 190.0)
    pixels = pixels * np.ones((height, width, 1)) + 10 * np.sin(np.linspace(0, 60, height) ** 1.1)[:, None, None]
    for _ in range(6):
        x, y = rng.integers(0, 600), rng.integers(0, 500)
        pixels[y : y + rng.integers(30, 100), x : x + rng.integers(60, 200)] = rng.uniform(0, 230, 3)
    return Image.fromarray(np.clip(pixels + rng.normal(0, 5, pixels.shape), 0, 255).astype(np.uint8))


def resent(picture: Image.Image, longest_px: int, form: str, quality: int) -> Image.Image:
    """As a messenger passes it on."""
    smaller = picture.copy()
    smaller.thumbnail((longest_px, longest_px), Image.Resampling.BICUBIC)
    sink = io.BytesIO()
    smaller.save(sink, form, quality=quality)
    return Image.open(sink).convert("RGB")


@pytest.mark.parametrize(
    ("longest_px", "form", "quality"), [(800, "JPEG", 40), (640, "JPEG", 60), (320, "JPEG", 30), (800, "WEBP", 50)]
)
def test_a_picture_sent_on_by_a_messenger_is_still_the_same(longest_px: int, form: str, quality: int) -> None:
    distances = [
        hash_distance(perceptual_hash(water(seed)), perceptual_hash(resent(water(seed), longest_px, form, quality)))
        for seed in range(12)
    ]
    assert max(distances) <= PHASH_NEAR_BITS
    assert sorted(distances)[len(distances) // 2] <= 2


def test_different_views_are_far_apart() -> None:
    hashes = [perceptual_hash(water(seed)) for seed in range(12)]
    assert min(hash_distance(one, other) for one in hashes for other in hashes if one != other) > 9
    assert all(does_hash_tell(one) for one in hashes)


@pytest.mark.parametrize(("level", "noise"), [(0, 0.0), (255, 0.0), (100, 0.0), (12, 3.0), (12, 20.0), (130, 8.0)])
def test_plain_pictures_are_known_to_say_nothing(level: int, noise: float) -> None:
    grain = np.random.default_rng(3).normal(0, noise, (600, 800, 3)) if noise else np.zeros((600, 800, 3))
    picture = Image.fromarray(np.clip(level + grain, 0, 255).astype(np.uint8))
    assert not does_hash_tell(perceptual_hash(resent(picture, 640, "JPEG", 60)))
