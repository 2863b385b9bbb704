"""The addresses of the public pages that exist, for search engines: in parts, because there may be a million."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

PART = 50_000  # addresses in one file, the most the protocol allows (sitemaps.org)


@dataclass(frozen=True)
class Counts:
    """How many pages there are of each kind."""

    waters: int
    areas: int
    incidents: int


@dataclass(frozen=True)
class Address:
    """What a page is called in its address, and when it last changed, where that is known."""

    key: str
    changed_at: datetime | None = None


# A water without a name has a page, but nobody looks for it. What was merged or withdrawn has none.
_WATERS = """
FROM water_body b WHERE b.retired_at IS NULL AND EXISTS (
    SELECT FROM water_name n WHERE n.water_body_id = b.id AND n.is_primary)
"""
_AREAS = "FROM jurisdiction j WHERE j.retired_at IS NULL AND j.level <> 'basin'"
_INCIDENTS = "FROM incident i WHERE i.state NOT IN ('merged', 'retracted')"
_COUNTS = text(f"""
SELECT (SELECT count(*) {_WATERS})::int AS waters, (SELECT count(*) {_AREAS})::int AS areas,
       (SELECT count(*) {_INCIDENTS})::int AS incidents
""")  # the pieces are constants of this module
_PAGE = f"LIMIT {PART} OFFSET :offset"
_PARTS = {
    "waters": text(
        f"SELECT b.public_id AS key, NULL::timestamptz AS changed_at {_WATERS} ORDER BY b.public_id {_PAGE}"
    ),
    "areas": text(f"SELECT j.code AS key, NULL::timestamptz AS changed_at {_AREAS} ORDER BY j.code {_PAGE}"),
    "incidents": text(
        "SELECT i.code AS key, greatest(i.state_since, i.last_confirmed_at) AS changed_at"
        f" {_INCIDENTS} ORDER BY i.opened_at, i.id {_PAGE}"
    ),
}
KINDS = tuple(_PARTS)


def counts(session: Session) -> Counts:
    """How many pages there are. One query."""
    return Counts(**session.execute(_COUNTS).one()._mapping)


def part_of(session: Session, kind: str, number: int) -> Sequence[Address]:
    """The addresses of part ``number`` (from 1) of a kind of :data:`KINDS`; empty beyond the last. One query."""
    rows = session.execute(_PARTS[kind], {"offset": (number - 1) * PART})
    return [Address(row.key, row.changed_at) for row in rows]


_PUBLISHED = text("""
SELECT key FROM published_file WHERE key = ANY(:keys) ORDER BY array_position(CAST(:keys AS text[]), key) LIMIT 1
""")
MAPS = "maps/"


def snapshot_of(session: Session, places: Sequence[str]) -> str | None:
    """The path, without ending, of the first of these places that has a published page and picture. One query.

    ``places`` as docs/published-map.md names them: ``national``, ``area-420000``, ``water-w-yangtze``.
    """
    keys = [MAPS + place for place in places]
    found: str | None = session.execute(_PUBLISHED, {"keys": keys}).scalar_one_or_none()
    return found
