"""Jurisdictions: from staged rows to living ones, in one transaction. ``{rows}`` is the run's staged table.

An area is who its code of GB/T 2260 says it is, whatever file it came from. So a file retires nothing by lacking it
unless it is said to be the whole country.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.agencies.competence import compile_everything
from waterwatch.agencies.search import make_area_keys
from waterwatch.imports.merging import Merged
from waterwatch.imports.reading import Refusal

# Without a parent of its own in the file an area belongs to the one that its code names: the prefecture xxyy00 if there
# is one (municipalities and county-level cities under their province have none), else the province xx0000.
_PARENT = """
CREATE TEMP TABLE parent ON COMMIT DROP AS
WITH there AS (
    SELECT key AS code, level FROM {rows}
    UNION SELECT code, level FROM jurisdiction WHERE retired_at IS NULL
      AND NOT EXISTS (SELECT FROM {rows} s WHERE s.key = jurisdiction.code))
SELECT s.ordinal, s.key, s.level, s.next_key AS said, found.code, found.level AS above
FROM {rows} s LEFT JOIN LATERAL (
    SELECT code, level FROM there
    WHERE code <> s.key AND 'basin' NOT IN (there.level, s.level)
      AND code = ANY(CASE WHEN s.next_key IS NOT NULL THEN ARRAY[s.next_key]
        ELSE ARRAY[left(s.key, 4) || '00', left(s.key, 2) || '0000'] END)
    ORDER BY code DESC LIMIT 1) found ON true
"""
_FAULTS = """
SELECT ordinal, key, 'parent_unknown' AS fault, coalesce(said, '') AS detail FROM parent
WHERE code IS NULL AND (said IS NOT NULL OR level NOT IN ('province', 'basin'))
UNION ALL
SELECT ordinal, key, 'parent_not_above', code || ' (' || above || ')' FROM parent
WHERE array_position(ARRAY['province', 'prefecture', 'county'], above)
   >= array_position(ARRAY['province', 'prefecture', 'county'], level)
ORDER BY ordinal
"""
_DROP = "DELETE FROM {rows} s USING parent p WHERE p.ordinal = s.ordinal AND s.ordinal = ANY(:ordinals)"
_WRITE = """
INSERT INTO jurisdiction AS j (id, code, level, geom)
SELECT id, key, level, ST_Multi(ST_SetSRID(geom, 4326)) FROM {rows} ORDER BY ordinal
ON CONFLICT (code) DO UPDATE SET level = excluded.level, geom = excluded.geom, retired_at = NULL
WHERE (j.level, j.geom, j.retired_at) IS DISTINCT FROM (excluded.level, excluded.geom, NULL)
RETURNING j.code
"""
_PARENTS = """
UPDATE jurisdiction j SET parent_id = above.id
FROM {rows} s JOIN parent p USING (ordinal) LEFT JOIN jurisdiction above ON above.code = p.code
WHERE j.code = s.key AND j.parent_id IS DISTINCT FROM above.id RETURNING j.code
"""
_NAMES = """
INSERT INTO jurisdiction_name AS n (jurisdiction_id, lang, name)
SELECT j.id, given.lang, given.name FROM {rows} s JOIN jurisdiction j ON j.code = s.key, LATERAL (
    VALUES ('zh-Hans', s.zh_hans), ('zh-Hant', s.zh_hant), ('en', s.en)) given (lang, name)
WHERE given.name IS NOT NULL
ON CONFLICT (jurisdiction_id, lang) DO UPDATE SET name = excluded.name WHERE n.name <> excluded.name
RETURNING (SELECT code FROM jurisdiction WHERE id = n.jurisdiction_id)
"""
_NAMED = "SELECT j.id FROM jurisdiction j JOIN {rows} s ON s.key = j.code"
_RETIRE = """
UPDATE jurisdiction j SET retired_at = :now
WHERE j.retired_at IS NULL AND NOT EXISTS (SELECT FROM {rows} s WHERE s.key = j.code)
"""


class Areas:
    """One run's merge of areas inside the caller's transaction."""

    def __init__(self, session: Session, rows: str, *, now: datetime) -> None:
        self._session, self._rows, self._now = session, rows, now

    def faults(self) -> list[Refusal]:
        """Areas whose parent is not there or not above them; they are left out."""
        self._session.execute(text(_PARENT.replace("{rows}", self._rows)))
        found = self._session.execute(text(_FAULTS)).all()
        drop = text(_DROP.replace("{rows}", self._rows))
        self._session.execute(drop, {"ordinals": [row.ordinal for row in found]})
        return [Refusal(row.ordinal + 1, row.key, row.fault, row.detail) for row in found]

    def live(self, *, partial: bool, replaces: str | None) -> Merged:  # noqa: ARG002  # as every merge is asked
        """Make the staged areas live. With ``partial`` those that the files lack stay."""
        known = "SELECT count(*) FROM {rows} s WHERE EXISTS (SELECT FROM jurisdiction j WHERE j.code = s.key)"
        staged = self._codes("SELECT key FROM {rows}")
        kept = int(self._session.execute(text(known.replace("{rows}", self._rows))).scalar_one())
        touched: set[str] = set()
        for statement in (_WRITE, _PARENTS, _NAMES):
            touched.update(self._codes(statement))
        make_area_keys(self._session, self._codes(_NAMED))
        compile_everything(self._session)  # a rule for an area decides for what lies in it
        retired = 0
        if not partial:
            done = self._session.execute(text(_RETIRE.replace("{rows}", self._rows)), {"now": self._now})
            retired = int(done.rowcount)  # type: ignore[attr-defined]
        added = len(staged) - kept
        return Merged(len(staged), added, len(touched) - added, len(staged) - len(touched), retired)

    def _codes(self, statement: str) -> list[Any]:
        return list(self._session.execute(text(statement.replace("{rows}", self._rows))).scalars())
