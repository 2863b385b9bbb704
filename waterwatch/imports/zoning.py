"""Zones of protection: from staged rows to living ones, in one transaction. ``{rows}`` is the run's staged table."""

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.imports.merging import Merged, source_of
from waterwatch.imports.rules import Layout

_KEEP_IDS = """
UPDATE {rows} s SET id = z.id FROM protected_zone z WHERE z.source_id = :source_id AND z.source_key = s.key
"""
_WRITE = """
INSERT INTO protected_zone AS z (id, kind, grade, geom, source_id, source_key)
SELECT id, zone_kind, grade, ST_SetSRID(geom, 4326), :source_id, key FROM {rows}
ON CONFLICT (source_id, source_key) DO UPDATE
SET kind = excluded.kind, grade = excluded.grade, geom = excluded.geom, retired_at = NULL
WHERE (z.kind, z.grade, z.geom, z.retired_at) IS DISTINCT FROM (excluded.kind, excluded.grade, excluded.geom, NULL)
RETURNING z.id
"""
_NAMED = """
SELECT s.id AS zone_id, n.lang, n.name FROM {rows} s, LATERAL (
    VALUES ('zh-Hans', s.zh_hans), ('zh-Hant', s.zh_hant), ('en', s.en)) n (lang, name) WHERE n.name IS NOT NULL
"""
_NAMES_GONE = f"""
DELETE FROM protected_zone_name n USING {{rows}} s WHERE n.zone_id = s.id
AND NOT EXISTS (SELECT FROM ({_NAMED}) g WHERE (g.zone_id, g.lang) = (n.zone_id, n.lang)) RETURNING n.zone_id
"""  # noqa: S608  # the piece is a constant of this module
_NAMES = f"""
INSERT INTO protected_zone_name AS n (zone_id, lang, name) SELECT zone_id, lang, name FROM ({_NAMED}) g
ON CONFLICT (zone_id, lang) DO UPDATE SET name = excluded.name WHERE n.name <> excluded.name RETURNING n.zone_id
"""  # noqa: S608
_RETIRE = """
UPDATE protected_zone z SET retired_at = :now FROM source o
WHERE o.id = z.source_id AND z.retired_at IS NULL
  AND (o.code = :replaces OR o.id = :source_id AND NOT :partial
       AND NOT EXISTS (SELECT FROM {rows} s WHERE s.key = z.source_key))
"""


class Zoning:
    """One run's merge of zones inside the caller's transaction."""

    def __init__(self, session: Session, rows: str, layout: Layout, *, now: datetime) -> None:
        self._session, self._rows, self._layout, self._now = session, rows, layout, now

    def live(self, *, partial: bool, replaces: str | None) -> Merged:
        """Make the staged zones live; what the source no longer has is retired, unless the files are a part of it."""
        values = {"source_id": source_of(self._session, self._layout, now=self._now), "now": self._now}
        values |= {"partial": partial, "replaces": replaces}
        staged = self._session.execute(text(f"SELECT count(*) FROM {self._rows}")).scalar_one()  # noqa: S608
        kept = self._run(_KEEP_IDS, values)
        touched = set(self._ids(_WRITE, values))
        for statement in (_NAMES_GONE, _NAMES):
            touched.update(self._ids(statement, values))
        retired = self._run(_RETIRE, values)
        added = staged - kept
        return Merged(staged, added, len(touched) - added, staged - len(touched), retired)

    def _run(self, statement: str, values: dict[str, Any]) -> int:
        done = self._session.execute(text(statement.replace("{rows}", self._rows)), values)
        return int(done.rowcount)  # type: ignore[attr-defined]

    def _ids(self, statement: str, values: dict[str, Any]) -> list[Any]:
        return list(self._session.execute(text(statement.replace("{rows}", self._rows)), values).scalars())
