"""One run of the publisher: reads one state of the truth, writes what is not on the shelf yet, points at it.

The order keeps every reader whole: what the pointer names is on the shelf before the pointer is, and goes only long
after it has been replaced. The exception is what was withdrawn: nothing that held it stays.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.ids import new_id
from waterwatch.mapping import expected, history, publishing
from waterwatch.mapping import publishing_queries as queries
from waterwatch.mapping.rules import digest_of, hashed_name, stem_of
from waterwatch.mapping.shelf import HASHED, Lying, Shelf
from waterwatch.mapping.tables import Publication

POINTER = "map.json"
KEEP_SUPERSEDED_S = 3600.0  # a phone that has just read the old pointer still finds what it names
TIDY_EVERY = timedelta(hours=1)
SHELF, TILES, ARCHIVE = "shelf", "tiles", ".pmtiles"


@dataclass(frozen=True)
class State:
    """What one run publishes, read at one instant. ``contents`` by key; ``months`` those that were read anew."""

    contents: Mapping[str, bytes]
    groups: list[queries.IncidentGroup]
    changes: history.Changes
    months: list[date]


@dataclass
class Run:
    """A run and what it knows of the shelf: by key, the file's name and the digest of what it was made of."""

    context: JobContext
    shelf: Shelf
    at: datetime
    known: dict[str, tuple[str, str]] = field(default_factory=dict)
    last_at: datetime | None = None

    def __post_init__(self) -> None:
        """Read what is published. A shelf that was changed or emptied is filled from the beginning."""
        with transaction(self.context.sessions) as session:
            self.known = queries.published_files(session)
            self.last_at = queries.last_published_at(session)
        if self.known and (self.known.get(SHELF, ("", ""))[1] != self._address or not self.shelf.has(POINTER)):
            tiles = self.known.get(TILES)
            with transaction(self.context.sessions) as session:
                queries.forget_published(session)
            self.known = {}
            self.last_at = None
            if tiles is not None and self.shelf.has(tiles[0]):
                self.keep({TILES: tiles})

    @property
    def _address(self) -> str:
        settings = self.context.settings
        return digest_of((settings.publish_url or str(settings.publish_dir)).encode())

    @property
    def tiles_ground(self) -> str | None:
        """The state of the ground the published archive was built from."""
        return self.known[TILES][1] if TILES in self.known else None

    def read(self) -> State:
        """Everything that is published but pages, as it stands at one instant."""
        with self.context.sessions() as session, session.begin():
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            changes = history.waiting_changes(session)
            months = self._months_to_read(changes)
            groups = queries.incident_groups(session)
            contents = {
                "levels": publishing.levels(queries.coloured(session)),
                "expected": expected.encoded(expected.expected_groups(session, now=self.at)),
            }
            for month in months:
                found = history.month_spans(session, month, now=self.at)
                contents[f"history/{month:%Y-%m}"] = publishing.month(month, found)
        return State(contents, groups, changes, months)

    def _months_to_read(self, changes: history.Changes) -> list[date]:
        """Those that a change touched, those that were never written, and the present one once a day."""
        months = history.months_until(self.at)
        since = [changes.since.astimezone(history.CHINA).date()] if changes.since is not None else []
        if self.last_at is not None:
            last_on = self.last_at.astimezone(history.CHINA).date()
            since += [last_on] if last_on < self.at.astimezone(history.CHINA).date() else []
        touched = min(since, default=date.max)
        return [
            month
            for month in months
            if (month + timedelta(days=31)).replace(day=1) > touched or f"history/{month:%Y-%m}" not in self.known
        ]

    def write_details(self, state: State) -> None:
        """The files the pointer will name, those of them that are not there yet."""
        written = {key: self.put_hashed(key, content) for key, content in state.contents.items()}
        names = {}
        for tile, content in publishing.tiles(state.groups).items():
            key = f"incidents/{publishing.DETAIL_ZOOM}/{tile}"
            written[key] = self.put_hashed(key, content)
            names[tile] = written[key][0]
        written["incidents"] = self.put_hashed("incidents", publishing.incidents(state.groups, names))
        months = {f"history/{month:%Y-%m}" for month in history.months_until(self.at)}
        self.keep(written, gone=[key for key in self.known if _is_over(key, written, months)])

    def put_hashed(self, key: str, content: bytes) -> tuple[str, str]:
        """Put a file named by its content, unless the last run did; gives its name and digest."""
        digest = digest_of(content)
        if key in self.known and self.known[key][1] == digest:
            return self.known[key]
        name = hashed_name(stem_of(key), content)
        self.shelf.put(name, content)
        return name, digest

    def keep(self, files: Mapping[str, tuple[str, str]], *, gone: Iterable[str] = ()) -> None:
        """Remember what is published under which key; files that no key names any more are superseded from now on."""
        changed = {key: value for key, value in files.items() if self.known.get(key) != value}
        leaving = list(gone)
        if not changed and not leaving:
            return
        before = {self.known[key][0] for key in (*changed, *leaving) if key in self.known}
        self.known |= changed
        for key in leaving:
            del self.known[key]
        with transaction(self.context.sessions) as session:
            queries.remember_published(session, changed, gone=leaving, superseded=before - self._named, now=self.at)

    @property
    def _named(self) -> set[str]:
        return {name for name, _digest in self.known.values()}

    def shelve_archive(self, path: Path, *, ground: str) -> None:
        """Put the archive of the geometry on the shelf; the next pointer names it."""
        if not self.shelf.has(path.name):
            self.shelf.put_file(path.name, path)
        self.keep({TILES: (path.name, ground)})

    def point(self) -> None:
        """Write the pointer: from here on readers see the new map."""
        names = {key: self.known[key][0] for key in ("levels", "expected", "incidents", TILES) if key in self.known}
        months = {
            key.removeprefix("history/"): name
            for key, (name, _digest) in self.known.items()
            if key.startswith("history/")
        }
        stale_after_s = self.context.settings.published_stale_after_s
        self.shelf.put(POINTER, publishing.pointer(names, months, published_at=self.at, stale_after_s=stale_after_s))
        self.keep({SHELF: (POINTER, self._address)})
        with transaction(self.context.sessions) as session:
            session.add(
                Publication(
                    id=new_id(),
                    published_at=self.at,
                    geometry_file=names.get(TILES, ""),
                    levels_file=names["levels"],
                    incidents_file=names["incidents"],
                )
            )

    def clear(self, state: State) -> None:
        """Remove what has been superseded for long enough, or at once where something was withdrawn.

        The archive stays in any case: it holds waters, and no incident. Once an hour, and after every withdrawal, the
        whole shelf is looked through, for what publishers that were killed have left.
        """
        kept = self._named | {POINTER}
        horizon = self.at - timedelta(seconds=KEEP_SUPERSEDED_S)
        with transaction(self.context.sessions) as session:
            superseded = queries.superseded_files(session)
        is_withdrawal = bool(state.changes.withdrawn_from)
        leaving = {
            name
            for name, since in superseded.items()
            if name not in kept and (since < horizon or (is_withdrawal and not name.endswith(ARCHIVE)))
        }
        if is_withdrawal or self.last_at is None or self.last_at < self.at.replace(minute=0, second=0, microsecond=0):
            leaving |= {
                found.name
                for found in self.shelf.lying()
                if found.name not in kept and found.name not in superseded and _is_stray(found, horizon, is_withdrawal)
            }
        self.shelf.remove(leaving)
        with transaction(self.context.sessions) as session:
            queries.forget_superseded(session, leaving)

    def forget(self, state: State) -> None:
        """The changes this run read are written, and what was withdrawn is gone from everything."""
        with transaction(self.context.sessions) as session:
            history.forget_changes(session, state.changes)


def _is_over(key: str, written: Mapping[str, object], months: set[str]) -> bool:
    """Whether a file of incidents or history stands for something that is not there any more."""
    return (key.startswith("incidents/") and key not in written) or (key.startswith("history/") and key not in months)


def _is_stray(found: Lying, horizon: datetime, is_withdrawal: bool) -> bool:
    """Whether a file nobody knows is a publisher's that was killed; another may be at work on a draft or an archive."""
    if HASHED.fullmatch(found.name) and not found.name.endswith(ARCHIVE):
        return is_withdrawal or found.modified_at < horizon
    return found.modified_at < horizon and (found.name.endswith((".part", ARCHIVE)))
