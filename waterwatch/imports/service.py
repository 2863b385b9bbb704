"""Importing a source of waters: stage what can be read, check it as a whole, then make it live in one transaction.

Staging commits batch by batch with its place, so a killed run goes on; checking and merging are one transaction, so a
run killed there begins that again. The same files read the same way are one run (``fingerprint``); run again after
they are done, they change nothing.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import psycopg
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from waterwatch.imports import staging
from waterwatch.imports.areas import Areas
from waterwatch.imports.merging import Merge, Merged
from waterwatch.imports.noding import join_lines
from waterwatch.imports.reading import Batch, FileRefused, Reading, Refusal, SourceFile, digest_of
from waterwatch.imports.rules import AREA, REACH, STAGED, ZONE
from waterwatch.imports.tables import ImportRun
from waterwatch.imports.zoning import Zoning
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.spelling import NAMES_KEPT, keys_of_name

LOCK = 0x57415445_494D5054  # "WATE IMPT": one import at a time
SHOWN = 20
CIRCLE_SHOWN = 6
MOST = (
    0.5  # a file that lacks more than this of its source is more likely a part of it, or cut short, than its new state
)
_TEMP_BUFFERS = "SELECT set_config('temp_buffers', '256MB', false) WHERE current_setting('temp_buffers') <> '256MB'"
NAMES = ("zh_hans", "zh_hant", "en")


@dataclass(frozen=True)
class ImportWaters:
    """What an operator asks for. ``partial``: the files are a part of their source, what they lack is not retired.

    ``retire_most``: they may lack more than half of what there is.
    """

    files: tuple[Path, ...]
    reading: Reading
    dry_run: bool = False
    partial: bool = False
    accept_refusals: bool = False
    retire_most: bool = False
    replaces: str | None = None
    refusals_to: Path | None = None


@dataclass(frozen=True)
class ImportReport:
    """What came of it. ``is_live`` tells whether anything was changed.

    ``refused`` counts by reason, ``first`` shows some of them; ``noticed`` counts what was mended or cut and said.
    """

    run_id: uuid.UUID
    read: int
    staged: int
    noticed: dict[str, int]
    refused: dict[str, int]
    first: list[Refusal]
    merged: Merged | None
    is_live: bool
    resumed_at: int = 0


@dataclass
class _Run:
    """A run in the hand: where it stands."""

    id: uuid.UUID
    next_row: int
    staged: int
    repaired: int = 0
    read: int = 0
    resumed_at: int = field(default=0)


Progress = Callable[[str, int, int | None], None]


def import_waters(
    engine: Engine, command: ImportWaters, *, now: Callable[[], datetime], progress: Progress
) -> ImportReport:
    """Import a source's files as its owner. ``progress(step, done, total)`` is told of every batch.

    With refusals nothing is made live unless the command accepts them; a dry run never makes anything live and leaves
    nothing behind. Raises :class:`~waterwatch.imports.reading.FileRefused` for files that cannot be read, that hold
    nothing, or that would retire most of their source unasked; ``Conflict`` while another import runs.
    """
    with ExitStack() as opened:
        files = [opened.enter_context(closing(SourceFile(path, command.reading))) for path in command.files]
        progress("checksum", 0, None)
        digest = digest_of(command.files)
        fingerprint = hashlib.sha256(f"{digest} {command.reading!r}".encode()).hexdigest()
        opened.enter_context(_alone(engine))
        run = _begin(engine, command, fingerprint, now=now())
        # While the database merges, this process would only wait: it works out how the names it saw are sought.
        foresight = opened.enter_context(ThreadPoolExecutor(max_workers=1))
        foresight.submit(_foresee, _stage(engine, run, files, progress))
        return _finish(engine, run, command, digest, now=now(), progress=progress)


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    with engine.connect() as connection:
        taken = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK}).scalar_one()
        connection.commit()
        if not taken:
            raise Conflict("import_running")
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK})
            connection.commit()


@contextmanager
def _step(engine: Engine) -> Iterator[tuple[Session, psycopg.Connection[Any]]]:
    """One transaction, with the driver's connection for COPY. Long statements are the work here."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        session.execute(text("SET LOCAL statement_timeout = 0"))
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        # Not local: it can be set only before a session's first temporary table, and must be the same ever after.
        session.execute(text(_TEMP_BUFFERS))
        driver: Any = session.connection().connection.driver_connection
        yield session, driver


def _begin(engine: Engine, command: ImportWaters, fingerprint: str, *, now: datetime) -> _Run:
    """The unfinished run of the same files, or a new one. Runs whose rows a crash emptied begin again."""
    with _step(engine) as (session, driver):
        given_up = session.execute(
            select(ImportRun).where(ImportRun.state == "staging", ImportRun.fingerprint != fingerprint)
        ).scalars()
        for other in given_up:
            staging.drop(driver, other.id)
            other.state, other.finished_at = "refused", now
        found = session.execute(
            select(ImportRun).where(ImportRun.state == "staging", ImportRun.fingerprint == fingerprint)
        ).scalar_one_or_none()
        if found is not None:
            if staging.count(driver, found.id) == found.staged:
                told = found.report or {}
                return _Run(
                    found.id, found.next_row, found.staged, told.get("repaired", 0), found.next_row, found.next_row
                )
            staging.drop(driver, found.id)
            session.delete(found)
            session.flush()
        run = ImportRun(
            id=new_id(),
            source_code=command.reading.layout.code,
            fingerprint=fingerprint,
            state="staging",
            next_row=0,
            staged=0,
            started_at=now,
        )
        session.add(run)
        staging.create(driver, run.id, command.reading.layout.kind)
        return _Run(run.id, 0, 0)


def _read_ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; while one is copied in, the next is read. Two of them are in memory at a time."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


def _foresee(names: set[str]) -> None:
    for name in names:
        keys_of_name(name)


def _stage(engine: Engine, run: _Run, files: Sequence[SourceFile], progress: Progress) -> set[str]:
    """Read what is not staged yet; some of the names there were, at most :data:`NAMES_KEPT`."""
    names: set[str] = set()
    staged = STAGED[files[0].reading.layout.kind]
    columns = [place for place, (name, _type) in enumerate(staged) if name in NAMES]
    total = sum(file.rows for file in files if file.rows) if all(file.rows is not None for file in files) else None
    before = 0  # rows of the files before this one
    for file in files:
        start = max(0, run.next_row - before)
        seen = start
        for batch in _read_ahead(file.batches(start, ordinal=before)):
            with _step(engine) as (session, driver):
                run.staged += staging.add(driver, run.id, file.reading.layout.kind, batch)
                run.repaired += batch.repaired
                for column in columns if len(names) < NAMES_KEPT else ():
                    names.update(filter(None, batch.columns[column]))
                seen += batch.read
                run.next_row = before + seen
                row = session.get_one(ImportRun, run.id)
                row.next_row, row.staged, row.report = run.next_row, run.staged, {"repaired": run.repaired}
            progress("read", run.next_row, total)
        before += seen if file.rows is None else max(seen, file.rows if start >= file.rows else seen)
    run.read = run.next_row
    return names


def _finish(
    engine: Engine, run: _Run, command: ImportWaters, digest: str, *, now: datetime, progress: Progress
) -> ImportReport:
    if not run.read:
        raise FileRefused("nothing_to_import", file=", ".join(path.name for path in command.files))
    with _step(engine) as (session, driver):
        progress("check", 0, None)
        merge, noticed = _check(session, driver, run, command, now=now)
        refused, first = _refusals(session, driver, run, command.refusals_to)
        merged = None
        if not refused or command.accept_refusals or command.dry_run:
            progress("merge", 0, None)
            merged = merge.live(partial=command.partial, replaces=command.replaces)
            _refuse_to_retire_most(merged, command)
        is_live = merged is not None and not command.dry_run
        report = ImportReport(run.id, run.read, run.staged, noticed, refused, first, merged, is_live, run.resumed_at)
        if is_live:
            _record(session, command, digest, report, now=now)
        else:
            session.rollback()
    with _step(engine) as (session, driver):
        row = session.get_one(ImportRun, run.id)
        row.state = "done" if is_live else "tried" if command.dry_run else "refused"
        row.finished_at = now
        row.report = {"refused": refused, "noticed": noticed, "merged": asdict(merged) if merged else None}
        staging.drop(driver, run.id)
    progress("done", run.read, run.read)
    return report


def _refuse_to_retire_most(merged: Merged, command: ImportWaters) -> None:
    """Undo all of it, keeping what was read: the same command with one word more goes on from there."""
    known = merged.changed + merged.unchanged + merged.retired
    is_asked_for = command.dry_run or command.retire_most or command.replaces
    if not is_asked_for and merged.retired > MOST * known:
        raise FileRefused("most_would_retire", retired=str(merged.retired), of=str(known))


class Mergeable(Protocol):
    """What makes staged rows live, in the caller's transaction."""

    def live(self, *, partial: bool, replaces: str | None) -> Merged:
        """Do it; what it did."""


def _check(
    session: Session, driver: psycopg.Connection[Any], run: _Run, command: ImportWaters, *, now: datetime
) -> tuple[Mergeable, dict[str, int]]:
    """What can only be seen with all rows in sight; what is wrong is refused, the rest is ready to be merged."""
    layout = command.reading.layout
    rows = staging.table_of(run.id).as_string(driver)
    noticed = {"geometry_repaired": run.repaired}
    session.execute(text(f"ANALYZE {rows}"))
    doubled = session.execute(text(_DOUBLED.replace("{rows}", rows)))
    refused = [Refusal(row.ordinal + 1, row.key, "key_doubled", f"row {row.first + 1}") for row in doubled]
    if "key" not in layout.columns:
        noticed["shape_doubled"], refused = len(refused), []
    merge: Mergeable
    if layout.kind == ZONE:
        merge = Zoning(session, rows, layout, now=now)
    elif layout.kind == AREA:
        merge = areas = Areas(session, rows, now=now)
        refused += areas.faults()
    else:
        merge, more = _check_flow(session, rows, command, noticed, now=now)
        refused += more
    staging.refuse(driver, run.id, refused)
    return merge, {code: count for code, count in noticed.items() if count}


def _check_flow(
    session: Session, rows: str, command: ImportWaters, noticed: dict[str, int], *, now: datetime
) -> tuple[Merge, list[Refusal]]:
    """Ways down that lead nowhere, circles. Where the source tells none, the network is made of its lines."""
    layout = command.reading.layout
    is_told = "next_down" in layout.columns
    if not is_told and layout.kind == REACH:
        noticed["lines_cut"] = join_lines(session, rows)
    merge = Merge(session, rows, layout, now=now, is_trial=command.dry_run)
    unreached = merge.walk()
    facts = {"code": layout.code, "partial": command.partial}
    dangling = session.execute(text(_DANGLING.replace("{rows}", rows)), facts)
    refused = [Refusal(row.ordinal + 1, row.key, "next_down_unknown", row.next_key) for row in dangling]
    if unreached:
        circles = _open_circles(session, rows, unreached)
        if is_told:
            refused += circles
        else:
            noticed["circles_cut"] = len(circles)
        merge.forget()
        merge.walk()
    if layout.kind == REACH and "ord_stra" not in layout.columns:
        merge.order()
    return merge, refused


_DOUBLED = """
DELETE FROM {rows} s USING (
    SELECT key, min(ordinal) AS first FROM {rows} GROUP BY key HAVING count(*) > 1) d
WHERE s.key = d.key AND s.ordinal > d.first RETURNING s.ordinal, s.key, d.first
"""
_DANGLING = """
SELECT s.ordinal, s.key, s.next_key FROM stem JOIN {rows} s USING (ordinal)
WHERE stem.is_loose AND NOT (:partial AND EXISTS (
    SELECT FROM water_feature f JOIN source o ON o.id = f.source_id
    WHERE o.code = :code AND f.source_key = s.next_key AND f.retired_at IS NULL))
ORDER BY s.ordinal
"""
_CUT = "UPDATE {rows} SET next_key = NULL WHERE ordinal = ANY(:ordinals) RETURNING ordinal, key"


def _open_circles(session: Session, rows: str, unreached: list[tuple[int, int]]) -> list[Refusal]:
    """Each circle, named; it is cut open at its first row, so that what flows into it can be walked."""
    circles = list(find_circles(dict(unreached)))
    cut = session.execute(text(_CUT.replace("{rows}", rows)), {"ordinals": [circle[0] for circle in circles]})
    keys = {row.ordinal: row.key for row in cut}
    told = []
    for circle in circles:
        shown = " → ".join(str(ordinal + 1) for ordinal in circle[:CIRCLE_SHOWN])
        detail = f"rows {shown}{' → …' if len(circle) > CIRCLE_SHOWN else ''} ({len(circle)})"
        told.append(Refusal(circle[0] + 1, keys.get(circle[0]), "flows_in_a_circle", detail))
    return told


def find_circles(below: dict[int, int]) -> Iterator[list[int]]:
    """Every circle of a "flows into" relation once, beginning at its smallest member."""
    seen: set[int] = set()
    for start in sorted(below):
        path: dict[int, int] = {}
        at = start
        while at in below and at not in seen:
            seen.add(at)
            path[at] = len(path)
            at = below[at]
        if at in path:
            members = list(path)[path[at] :]
            turn = members.index(min(members))
            yield members[turn:] + members[:turn]


def _refusals(
    session: Session, driver: psycopg.Connection[Any], run: _Run, write_to: Path | None
) -> tuple[dict[str, int], list[Refusal]]:
    """Counts by reason and the first few; all of them go to a CSV file where one is asked for."""
    table = staging.refusals_of(run.id).as_string(driver)
    counted = session.execute(text(f"SELECT code, count(*) AS n FROM {table} GROUP BY code ORDER BY code"))  # noqa: S608
    first = session.execute(
        text(f"SELECT row_number, key, code, detail FROM {table} ORDER BY row_number LIMIT {SHOWN}")  # noqa: S608
    )
    found = {row.code: int(row.n) for row in counted}, [Refusal(*row) for row in first]
    if write_to is not None:
        listed = f"SELECT row_number AS row, key, code, detail FROM {table} ORDER BY row_number"  # noqa: S608
        copy = f"COPY ({listed}) TO STDOUT (FORMAT CSV, HEADER)"
        with driver.cursor() as cursor, write_to.open("wb") as file, cursor.copy(copy) as rows:
            for piece in rows:
                file.write(piece)
    return found


def _record(session: Session, command: ImportWaters, digest: str, report: ImportReport, *, now: datetime) -> None:
    assert report.merged is not None
    audit.record(
        session,
        action="waters.imported",
        subject_kind="import_run",
        subject_id=report.run_id,
        actor=Actor.system("importer"),
        now=now,
        after={
            "source": command.reading.layout.code,
            "sha256": digest,
            "refused": sum(report.refused.values()),
            **asdict(report.merged),
        },
    )
