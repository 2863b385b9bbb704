"""The files of a bulletin: what is read, how it is drawn, what is written. The same rows give the same bytes."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.accountability.rules import Period
from waterwatch.bulletins import charts, queries, rules
from waterwatch.bulletins.queries import Addressee, ShownPhoto
from waterwatch.bulletins.rules import Entry, Totals
from waterwatch.bulletins.words import LANGUAGE, NOTICE, NUMBER_WORDS, OVERDUE_WORDS, ROMAN, STAGE_WORDS, STATE_WORDS
from waterwatch.kernel import sheets
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.writing import environment
from waterwatch.mapping.snapshot import overview_png
from waterwatch.printing.pdf import print_counted
from waterwatch.web.words import KIND_WORDS, SEVERITY_WORDS
from waterwatch.workdays.rules import CHINA_TIME

_EDGES_DEG = 0.05
log = get_logger(__name__)
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Content:
    """Everything a bulletin says, read in one transaction."""

    agency: Addressee
    period: Period
    edition: int
    corrects: int | None
    as_of: datetime
    foreword: str
    entries: Sequence[Entry]
    totals: Totals
    before: Totals
    photos: Sequence[ShownPhoto]
    map_png: bytes


@dataclass(frozen=True)
class MadeFile:
    """One file as it was made."""

    form: str
    volume: int
    content: bytes
    sha256: bytes
    pages: int | None


@dataclass(frozen=True)
class Facts:
    """What an edition says about itself, beside the rows it lists."""

    edition: int
    corrects: int | None
    as_of: datetime
    foreword: str


def read(session: Session, agency: Addressee, period: Period, facts: Facts) -> Content:
    """Read everything, and draw the map."""
    entries = queries.entries_of(session, agency.agency_id, period, as_of=facts.as_of)
    # As long after its own end, so that both had as much time to be answered.
    before_as_of = period.previous.until + (facts.as_of - period.until)
    before = queries.entries_of(session, agency.agency_id, period.previous, as_of=before_as_of)
    photos = queries.photos_of(session, [one.code for one in entries if one.photos][: 4 * rules.PHOTOS_AT_MOST])
    dots = [(one.lon, one.lat, one.severity) for one in entries]
    return Content(
        agency,
        period,
        facts.edition,
        facts.corrects,
        facts.as_of,
        facts.foreword,
        entries,
        rules.total(entries, period, facts.as_of),
        rules.total(before, period.previous, before_as_of),
        photos,
        overview_png(session, _box_of(dots) or agency.bounds, dots),
    )


def _box_of(dots: Sequence[tuple[float, float, int]]) -> tuple[float, float, float, float] | None:
    if not dots:
        return None
    lons, lats = [dot[0] for dot in dots], [dot[1] for dot in dots]
    return min(lons) - _EDGES_DEG, min(lats) - _EDGES_DEG, max(lons) + _EDGES_DEG, max(lats) + _EDGES_DEG


def write(
    content: Content, objects: ObjectStore, *, settings: Settings, tell: Tell | None = None
) -> Iterator[MadeFile]:
    """The files, one by one, so that only one is in memory. No transaction is open.

    ``tell``: (step, done, total), for whoever waits.
    """
    pictures = fetch_photos(content.photos, objects)
    volumes = list(rules.volumes_of(content.entries, settings.bulletin_volume))
    for number, listed in enumerate(volumes, 1):
        if tell:
            tell("volumes", number - 1, len(volumes))
        page = _page(content, listed, number, len(volumes), pictures, settings)
        files = _files(content, pictures) if number == 1 else {}
        printed, pages = print_counted(page, files, styles=_styles())
        yield MadeFile("pdf", number, printed, hashlib.sha256(printed).digest(), pages)
    if tell:
        tell("volumes", len(volumes), len(volumes))
    table = table_of(content, settings.public_url.rstrip("/")).encode()
    yield MadeFile("csv", 1, table, hashlib.sha256(table).digest(), None)


def fetch_photos(photos: Sequence[ShownPhoto], objects: ObjectStore) -> dict[str, bytes]:
    """By code, the pictures that are what their rows say; one that is not is left out, not waited for."""
    found: dict[str, bytes] = {}
    for photo in photos:
        try:
            content = b"".join(objects.open(photo.key))
        except FileNotFoundError:
            log.warning("bulletin.photo_missing", photo_id=str(photo.photo_id))
            continue
        if hashlib.sha256(content).digest() == photo.sha256:
            found[photo.code] = content
    return found


def _files(content: Content, pictures: Mapping[str, bytes]) -> dict[str, bytes]:
    kinds = {kind: str(words) for kind, words in KIND_WORDS.items()}
    levels = {rank: f"{ROMAN[rank]} {words}" for rank, words in SEVERITY_WORDS.items()}
    months = list(content.totals.by_month)
    labels = [f"{int(month[5:])} 月" for month in months]
    by_label = dict(zip(labels, content.totals.by_month.values(), strict=True))
    this, last = content.period.words, content.period.previous.words
    drawn = {
        "map.png": content.map_png,
        "levels.svg": charts.levels_by_month(labels, by_label, levels),
        "kinds.svg": charts.kinds_compared(content.totals.by_kind, content.before.by_kind, kinds, this=this, last=last),
    }
    return drawn | {f"{code}.jpg": picture for code, picture in pictures.items()}


def _page(
    content: Content,
    listed: Sequence[Entry],
    volume: int,
    volumes: int,
    pictures: Mapping[str, bytes],
    settings: Settings,
) -> str:
    as_of = content.as_of
    overdue = [one for one in content.entries if one.overdue(as_of)]
    template = environment(LANGUAGE, "waterwatch.bulletins").get_template("bulletins/document.html")
    return template.render(
        content=content,
        listed=listed,
        volume=volume,
        volumes=volumes,
        waters=rules.waters_of(content.entries, as_of)[: rules.WATERS_AT_MOST],
        overdue=overdue[: rules.OVERDUE_AT_MOST],
        overdue_in_all=len(overdue),
        photos=[photo for photo in content.photos if photo.code in pictures],
        by_code={one.code: one for one in content.entries if one.code in pictures},
        public_url=settings.public_url.rstrip("/"),
        notice=NOTICE,
        kinds=KIND_WORDS,
        levels=SEVERITY_WORDS,
        roman=ROMAN,
        stages=STAGE_WORDS,
        states=STATE_WORDS,
        overdue_words=OVERDUE_WORDS,
        numbers=NUMBER_WORDS,
        day=day_of,
        place=place_of,
        now=as_of,
    )


def _styles() -> str:
    sheet = environment(LANGUAGE, "waterwatch.bulletins").get_template("bulletins/document.css")
    return sheet.render()


def day_of(moment: datetime | None) -> str:
    """China's day of an instant."""
    return f"{moment.astimezone(CHINA_TIME):%Y-%m-%d}" if moment else ""


def place_of(entry: Entry) -> str:
    """Where, in public words: the water, and the county."""
    return f"{entry.water_name}（{entry.county}）" if entry.county else entry.water_name


COLUMNS = (
    *("code", "kind", "kind_zh", "severity", "level_zh", "opened_on", "closed_on", "state", "state_zh", "water"),
    *("water_name", "county", "reached_on", "acknowledged_on", "answered_on", "done_on", "acknowledge_by"),
    *("answer_by", "finish_by", "stage_zh", "overdue", "planned_on", "answer", "photos", "url"),
)


def table_of(content: Content, public_url: str) -> str:
    """Every incident of a bulletin as CSV."""
    return sheets.as_csv(COLUMNS, (_line(one, content.as_of, public_url) for one in content.entries))


def _line(one: Entry, as_of: datetime, public_url: str) -> list[object]:
    def until(moment: datetime | None) -> str:
        return day_of(moment) if moment and moment <= as_of else ""

    return [
        *(one.code, one.kind, str(KIND_WORDS[one.kind]), one.severity, str(SEVERITY_WORDS[one.severity])),
        *(day_of(one.opened_at), until(one.closed_at), one.state, STATE_WORDS[one.state], one.water, one.water_name),
        *(one.county or "", until(one.reached_at), until(one.acknowledged_at), until(one.answered_at)),
        *(until(one.done_at), day_of(one.acknowledge_by), day_of(one.answer_by), day_of(one.finish_by)),
        *(STAGE_WORDS[one.stage(as_of)], one.overdue(as_of) or "", one.planned_on or "", one.answer or ""),
        *(one.photos, f"{public_url}/i/{one.code}"),
    ]
