"""Where nobody would be told: every county, kind of observation and severity, worked out as sets.

What counts is what routing does (``queries.ABLE``): of each kind of agency the most local competent one is told. Who
answers for a basin is told besides and covers no county; a river chief has no case without an office.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from waterwatch.agencies.tables import OBSERVATION_KINDS

SEVERITIES = (1, 2, 3, 4)
NOBODY, UNREACHABLE, TOLD = 0, 1, 2  # what would come of an observation
NONE = (NOBODY,) * len(SEVERITIES)


@dataclass(frozen=True)
class Cell:
    """What would come of one kind of observation in one county, by severity rank 1 to 4.

    :data:`NOBODY` is competent; somebody is, but :data:`UNREACHABLE`; or somebody is :data:`TOLD`.
    """

    outcomes: tuple[int, ...]

    @property
    def worst(self) -> int:
        """The worst of them."""
        return min(self.outcomes)

    @property
    def told_from(self) -> int | None:
        """The least severity from which on somebody is told whatever the severity; None: not even of a red one."""
        from_rank = None
        for rank in reversed(SEVERITIES):
            if self.outcomes[rank - 1] != TOLD:
                break
            from_rank = rank
        return from_rank


@dataclass(frozen=True)
class CountyCover:
    """One county: its names from itself upwards, and a cell for each kind of observation, in the order of kinds."""

    county_id: uuid.UUID
    code: str
    names: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def lacking(self) -> tuple[str, ...]:
        """The kinds of observation of which, at some severity, nobody would be told."""
        return tuple(kind for kind, cell in zip(OBSERVATION_KINDS, self.cells, strict=True) if cell.worst != TOLD)


# For each county, kind of agency and kind of observation: from which severity on somebody at each distance (0 the
# county's own, 1 and 2 above) is competent (m), and from which one somebody who can be reached (r). Then the nearest
# competent distance of each severity decides, as in routing.
def _outcome(rank: int) -> str:
    by_distance = " ".join(
        f"WHEN m{far} <= {rank} THEN CASE WHEN r{far} <= {rank} THEN {TOLD} ELSE {UNREACHABLE} END" for far in (0, 1, 2)
    )
    return f"max(CASE {by_distance} ELSE {NOBODY} END)"


_NAME = (
    "(SELECT n.name FROM jurisdiction_name n WHERE n.jurisdiction_id = {of}"
    " ORDER BY n.lang = :lang DESC, n.lang = 'zh-Hans' DESC LIMIT 1)"
)
_COVERAGE = text(f"""
WITH county AS MATERIALIZED (
    SELECT j.id, j.code, up.id AS area_1, top.id AS area_2, array_remove(ARRAY[
               {_NAME.format(of="j.id")}, {_NAME.format(of="up.id")}, {_NAME.format(of="top.id")}], NULL) AS names
    FROM jurisdiction j LEFT JOIN jurisdiction up ON up.id = j.parent_id
    LEFT JOIN jurisdiction top ON top.id = up.parent_id
    WHERE j.level = 'county' AND j.retired_at IS NULL AND (CAST(:code AS text) IS NULL OR j.code = :code)
      AND (CAST(:prefix AS text) IS NULL OR starts_with(j.code, :prefix))),
duty AS MATERIALIZED (
    SELECT a.jurisdiction_id AS area_id, a.kind, a.level, k.observation_kind,
           min(c.min_severity) AS m, min(c.min_severity) FILTER (WHERE is_reachable) AS r
    FROM agency a JOIN competence c ON c.agency_id = a.id
    JOIN unnest(:kinds) k (observation_kind) ON c.observation_kind IS NULL OR c.observation_kind = k.observation_kind
    CROSS JOIN LATERAL (
        SELECT EXISTS (SELECT FROM agency_contact w WHERE w.agency_id = a.id AND w.active) AS is_reachable) reach
    WHERE a.retired_at IS NULL AND a.level <> 'basin' GROUP BY 1, 2, 3, 4),
chain AS (
    SELECT id AS county_id, unnest(ARRAY[id, area_1, area_2]) AS area_id FROM county),
nearest AS MATERIALIZED (
    SELECT chain.county_id, duty.kind, duty.observation_kind,
           min(m) FILTER (WHERE level = 'county') AS m0, min(r) FILTER (WHERE level = 'county') AS r0,
           min(m) FILTER (WHERE level = 'prefecture') AS m1, min(r) FILTER (WHERE level = 'prefecture') AS r1,
           min(m) FILTER (WHERE level = 'province') AS m2, min(r) FILTER (WHERE level = 'province') AS r2
    FROM chain JOIN duty USING (area_id) GROUP BY 1, 2, 3),
told AS (
    SELECT county_id, observation_kind, jsonb_build_array({", ".join(map(_outcome, SEVERITIES))}) AS outcomes
    FROM nearest GROUP BY 1, 2),
cell AS (SELECT county_id, jsonb_object_agg(observation_kind, outcomes) AS outcomes FROM told GROUP BY county_id)
SELECT county.id, county.code, county.names, coalesce(cell.outcomes, '{{}}') AS outcomes
FROM county LEFT JOIN cell ON cell.county_id = county.id ORDER BY county.code
""").bindparams(bindparam("kinds", type_=ARRAY(Text)))  # noqa: S608  # the pieces are constants of this module
_PROVINCES = text("""
SELECT DISTINCT left(code, 2) AS prefix FROM jurisdiction WHERE level = 'county' AND retired_at IS NULL ORDER BY 1
""")


def coverage(
    session: Session, *, code: str | None = None, prefix: str | None = None, lang: str = "zh-Hans"
) -> list[CountyCover]:
    """All counties by code, or one, or those whose codes begin so (a province's: its first two digits). One query."""
    values = {"code": code, "prefix": prefix, "lang": lang, "kinds": list(OBSERVATION_KINDS)}
    return [
        CountyCover(
            row.id,
            row.code,
            tuple(row.names),
            tuple(Cell(tuple(row.outcomes.get(kind, NONE))) for kind in OBSERVATION_KINDS),
        )
        for row in session.execute(_COVERAGE, values)
    ]


def coverage_by_province(
    session: Session, *, lang: str = "zh-Hans", progress: Callable[[int, int], None] | None = None
) -> Iterator[list[CountyCover]]:
    """The same, province by province; ``progress`` is told how many of how many are done."""
    prefixes = list(session.execute(_PROVINCES).scalars())
    for done, prefix in enumerate(prefixes, start=1):
        yield coverage(session, prefix=prefix, lang=lang)
        if progress is not None:
            progress(done, len(prefixes))


# A county's waters, by what lies in its pieces; the largest first.
_WATERS = text("""
SELECT place.code, b.public_id, (
           SELECT n.name FROM water_name n WHERE n.water_body_id = b.id AND n.is_primary
           ORDER BY n.lang = :lang DESC, n.lang = 'zh-Hans' DESC LIMIT 1) AS name
FROM (SELECT j.code, f.water_body_id FROM unnest(:codes) wanted (code) JOIN jurisdiction j ON j.code = wanted.code
      JOIN jurisdiction_part part ON part.jurisdiction_id = j.id
      JOIN water_feature f ON f.geom_3857 && ST_Transform(ST_Envelope(part.geom), 3857) AND f.retired_at IS NULL
          AND ST_Intersects(f.geom, part.geom)
      GROUP BY 1, 2) place
JOIN water_body b ON b.id = place.water_body_id AND b.retired_at IS NULL
WHERE EXISTS (SELECT FROM water_name n WHERE n.water_body_id = b.id AND n.is_primary)
ORDER BY place.code, b.rank, b.public_id
""").bindparams(bindparam("codes", type_=ARRAY(Text)))


def waters_in(session: Session, codes: Sequence[str], *, lang: str = "zh-Hans") -> dict[str, list[tuple[str, str]]]:
    """The named waters of each of these counties, the largest first, as (page address, name). One query."""
    found: dict[str, list[tuple[str, str]]] = {code: [] for code in codes}
    for row in session.execute(_WATERS, {"codes": list(codes), "lang": lang}):
        found[row.code].append((row.public_id, row.name))
    return found


@dataclass(frozen=True)
class ProvinceCover:
    """A province at a glance: its counties, how many lack anything, and how many lack each kind of observation."""

    prefix: str
    name: str
    counties: int
    lacking: int
    by_kind: tuple[int, ...]


def by_province(counties: Sequence[CountyCover]) -> list[ProvinceCover]:
    """Counties gathered by the first two digits of their codes, which name the province."""
    gathered: dict[str, list[CountyCover]] = {}
    for county in counties:
        gathered.setdefault(county.code[:2], []).append(county)
    return [
        ProvinceCover(
            prefix,
            next((county.names[-1] for county in those if county.names), prefix),
            len(those),
            sum(bool(county.lacking) for county in those),
            tuple(sum(county.cells[nth].worst != TOLD for county in those) for nth in range(len(OBSERVATION_KINDS))),
        )
        for prefix, those in gathered.items()
    ]


def sheet_rows(
    counties: Sequence[CountyCover], waters: Mapping[str, Sequence[tuple[str, str]]]
) -> Iterator[tuple[str, ...]]:
    """The report as a sheet: a row a county; by kind of observation from which severity on somebody is told.

    ``-``: nobody ever; ``1`` to ``4``: from that rank on. ``waters``: those of counties that lack something.
    """
    yield ("code", "county", "above", *OBSERVATION_KINDS, "waters")
    for county in counties:
        yield (
            county.code,
            _safe(county.names[0]) if county.names else "",
            _safe(" ".join(county.names[1:])),
            *(str(cell.told_from or "-") for cell in county.cells),
            " ".join(_safe(name) for _address, name in waters.get(county.code, ())[:20]),
        )


def _safe(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{name}" if name[:1] in "=+-@\t\r" else name
