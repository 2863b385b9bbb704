"""Waters by name, and where they lie: what was typed becomes a key, a range of words, or the words it may have meant.

Statements stay the same whatever is typed, so PostgreSQL keeps their plans.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.orm import Session

from waterwatch.kernel.spelling import PART, fold, is_han, sound_of

LAST_CHARACTER = "\U0010ffff"  # sorts behind every other
FIRST_LETTERS = 4  # so many letters typed have an index of their own, in the order of weight
NAMESAKES_READ = 500  # there are hundreds of 南河, and the nearest may be a small one
NAMESAKES_BY_WORD = 10  # of words that merely begin so, where nearness counts
# Weights run from 0 to 26. A name that is exact comes before all that merely begins so, what sounds so after both.
EXACT, LATER = 30, 100
# An exact name, then the words that begin so, each with its largest waters. Ranges and not LIKE: a plan for any words
# is then as good as one for these, and PostgreSQL plans no more.
_MATCHES = """
(SELECT water_body_id, weight - CASE WHEN grade < {part} THEN {exact} ELSE 0 END + {later} AS place FROM water_key
 WHERE key = {words} ORDER BY weight LIMIT {exactly})
UNION ALL
SELECT k.water_body_id, k.weight + {later} FROM (
    SELECT word FROM water_word WHERE {begins} AND word <> {words} ORDER BY weight, word LIMIT {words_read}) begun,
LATERAL (SELECT water_body_id, weight FROM water_key
         WHERE key = begun.word ORDER BY weight LIMIT {by_word}) k
"""
_SHOWN = """
SELECT best.id, best.public_id, best.kind, parent.public_id AS parent_public_id,
       (SELECT jsonb_object_agg(n.lang, n.name) FROM water_name n
        WHERE n.water_body_id = best.id AND n.is_primary) AS names,
       (SELECT jsonb_object_agg(n.lang, n.name) FROM water_name n
        WHERE n.water_body_id = parent.id AND n.is_primary) AS parent_names
FROM best LEFT JOIN water_body parent ON parent.id = best.parent_id
ORDER BY best.nth
"""
_RANGE = (("words", ""), ("beyond", LAST_CHARACTER))
LIKENESS = 0.4  # of word_similarity, which picks what is compared letter by letter
MEANT = 5  # words a misspelt one may have meant
# People mistype the beginning of a name as often as all of it: what counts is the way from what was typed to the
# nearest beginning of a word, at most a third of the letters.
_MEANT = f"""
WITH meant AS MATERIALIZED (
    SELECT word, row_number() OVER (ORDER BY slips, weight, word) AS nth FROM (
        SELECT word, weight, least(
            levenshtein_less_equal(:words, left(word, :letters - 1), :slips),
            levenshtein_less_equal(:words, left(word, :letters), :slips),
            levenshtein_less_equal(:words, left(word, :letters + 1), :slips)) AS slips
        FROM water_word WHERE is_name AND :words <% word) alike
    WHERE slips <= :slips ORDER BY slips, weight, word LIMIT {MEANT}),
hit AS MATERIALIZED (
    SELECT k.water_body_id, min(meant.nth * {LATER} + k.weight) AS place FROM meant,
    LATERAL (SELECT water_body_id, weight FROM water_key WHERE key = meant.word ORDER BY weight LIMIT :limit) k
    GROUP BY k.water_body_id ORDER BY place, water_body_id LIMIT :read),
"""  # noqa: S608  # the pieces are constants of this module

Box = tuple[float, float, float, float]  # west, south, east, north, degrees WGS-84
WORLD: Box = (-180.0, -90.0, 180.0, 90.0)
SAMPLES = 9  # places looked at along one water
# Every so-many-th reach, so that a long river is looked at along all its way; what lies in the box of each of them. A
# box around a slanting reach may meet the asked one where the reach itself does not: then nothing is left of it.
_PLACES = text(f"""
SELECT id, ST_X(at) AS lon, ST_Y(at) AS lat,
       greatest(ST_XMin(extent), :west) AS west, greatest(ST_YMin(extent), :south) AS south,
       least(ST_XMax(extent), :east) AS east, least(ST_YMax(extent), :north) AS north
FROM (
    SELECT chosen.id, chosen.feature_id, chosen.extent, ST_PointOnSurface(ST_ClipByBox2D(chosen.geom, box)) AS at
    FROM (
        SELECT b.id, b.extent, f.feature_id, f.geom, box, count(*) OVER one AS total,
               row_number() OVER (PARTITION BY b.id ORDER BY f.feature_id) AS nth
        FROM water_body b JOIN water_feature f ON f.water_body_id = b.id AND f.retired_at IS NULL,
             (SELECT ST_MakeEnvelope(:west, :south, :east, :north, 4326) AS box) asked
        WHERE b.id = ANY(:ids) AND f.geom && box WINDOW one AS (PARTITION BY b.id)) chosen
    WHERE nth * {SAMPLES} / total > (nth - 1) * {SAMPLES} / total) sampled
WHERE at IS NOT NULL AND NOT ST_IsEmpty(at) ORDER BY id, feature_id
""").bindparams(bindparam("ids", type_=ARRAY(UUID(as_uuid=True))))  # noqa: S608  # a constant of this module


@dataclass(frozen=True)
class FoundWater:
    """A water found by name, and what it flows into: many waters share a name."""

    water_body_id: uuid.UUID
    public_id: str
    kind: str
    names: dict[str, str]
    parent_public_id: str | None = None
    parent_names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WaterPlaces:
    """Places (lon, lat in WGS-84) on a water, as its reaches were numbered, and the box around what was looked at."""

    samples: tuple[tuple[float, float], ...]
    bbox: Box


def search_names(
    session: Session, words: str, *, limit: int = 20, near: tuple[float, float] | None = None
) -> list[FoundWater]:
    """Waters by a name in any language, by its sound (pinyin, with or without tones), its initials, or a part of it.

    Exact before prefix before part, large before small; with ``near`` (lon, lat in WGS-84) those that fit alike stand
    in the order of the distance to the box around them. Chinese characters also find names that sound the same, as an
    input method mixes them up. When nothing is found so, the words are read as a slip of the keyboard. One query, three
    where they are misspelt.
    """
    sought = fold(words)
    if not sought:
        return []
    sound = fold("".join(sound_of(words))) if is_han(words) else ""
    values: dict[str, Any] = {"limit": limit, "read": 2 * limit}
    if near:
        values |= {"lon": near[0], "lat": near[1]}
    words_of = [word for word in (sought, sound) if word]
    typed = {f"{name}_{nth}": word + more for nth, word in enumerate(words_of) for name, more in _RANGE}
    # The statement for words of so many letters each; of more than a few it is one and the same, and its plan is kept.
    letters = tuple(min(len(word), FIRST_LETTERS + 1) for word in words_of)
    rows = session.execute(_search(letters, is_near=bool(near)), values | typed).all()
    if not rows and len(sound or sought) >= FIRST_LETTERS:
        session.execute(text(f"SET LOCAL pg_trgm.word_similarity_threshold = {LIKENESS}"))
        meant = {"words": sound or sought, "letters": len(sound or sought)}
        slips = max(1, len(sound or sought) // 3)
        rows = session.execute(_misspelt(is_near=bool(near)), values | meant | {"slips": slips}).all()
    return [
        FoundWater(row.id, row.public_id, row.kind, row.names or {}, row.parent_public_id, row.parent_names or {})
        for row in rows
    ]


def places_of(
    session: Session, water_body_ids: Collection[uuid.UUID], *, within: Box = WORLD
) -> dict[uuid.UUID, WaterPlaces]:
    """Up to nine places on each water inside a box. One query.

    Waters with nothing there, or retired ones, are left out. The places are on the drawn geometry: on a lake's surface,
    on a river's line.
    """
    west, south, east, north = within
    values = {"ids": list(water_body_ids), "west": west, "south": south, "east": east, "north": north}
    found: dict[uuid.UUID, tuple[list[tuple[float, float]], Box]] = {}
    for row in session.execute(_PLACES, values):
        samples, _box = found.setdefault(row.id, ([], (row.west, row.south, row.east, row.north)))
        samples.append((row.lon, row.lat))
    return {body_id: WaterPlaces(tuple(samples), box) for body_id, (samples, box) in found.items()}


@lru_cache(maxsize=2)
def _misspelt(*, is_near: bool) -> TextClause:
    return text(_MEANT + _best(is_near=is_near))


@lru_cache(maxsize=64)
def _search(letters: tuple[int, ...], *, is_near: bool) -> TextClause:
    """The statement for words of so many letters each. Few letters are read off an index of their own."""

    def matches(nth: int, length: int) -> str:
        words = f":words_{nth}"
        begins = f"word ~>=~ {words} AND word ~<~ :beyond_{nth}"
        if length <= FIRST_LETTERS:
            begins = f"left(word, {length}) = {words}"
        exactly, by_word = (NAMESAKES_READ, NAMESAKES_BY_WORD) if is_near else (":read", ":limit")
        return _MATCHES.format(
            words=words, begins=begins, part=PART, exact=EXACT, later=nth * LATER,
            exactly=exactly, words_read=":read", by_word=by_word,
        )  # fmt: skip

    found = " UNION ALL ".join(matches(nth, length) for nth, length in enumerate(letters))
    narrowed = "" if is_near else "ORDER BY place, water_body_id LIMIT :read"
    return text(
        f"WITH hit AS MATERIALIZED (SELECT water_body_id, min(place) AS place FROM ({found}) found"  # noqa: S608
        f" GROUP BY water_body_id {narrowed})," + _best(is_near=is_near)
    )


def _best(*, is_near: bool) -> str:
    """The rest of a search: the waters of ``hit`` in their order, with what is shown of them."""
    order, away = "hit.place, b.rank, b.public_id", ""
    if is_near:
        # Distance outweighs size among waters that fit alike: "which 南河?" is asked by somebody who stands at one.
        away = ", ST_Transform(ST_SetSRID(ST_MakePoint(:lon, :lat), 4326), 3857) AS here"
        fit = f"(hit.place + {EXACT}) / {LATER}, (hit.place + {EXACT}) % {LATER} >= {EXACT}"
        order = f"{fit}, ST_Distance(ST_Transform(b.extent, 3857), here), {order}"
    return (
        f" best AS MATERIALIZED (SELECT b.id, b.public_id, b.kind, b.parent_id, row_number() OVER (ORDER BY {order})"  # noqa: S608
        f" AS nth FROM hit JOIN water_body b ON b.id = hit.water_body_id{away} ORDER BY nth LIMIT :limit) {_SHOWN}"
    )
