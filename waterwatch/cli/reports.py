"""``waterwatch reports import``: what it is told, what it shows while it works, and what it says in the end."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from waterwatch.cli import archives
from waterwatch.cli.archives import Plan, Ready, Refusal, SheetFault
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.errors import DomainError, Invalid
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.reports.rules import DATUMS
from waterwatch.reports.tables import REPORT_KINDS

T = TypeVar("T")
SHOWN = 20
CHECKING, STORING = "检查 · checking", "入库 · storing"
# What each code means and what to do about it.
WORDS = {
    "column_missing": "缺少所需的列，用 --map 指明 · a needed column is missing: name it with --map",
    "encoding_unknown": "文字不是所述编码，用 --encoding 指明（UTF-8、GB18030）"
    " · the text is not in that encoding: say it with --encoding (UTF-8, GB18030)",
    "file_unreadable": "不是 CSV 表格 · not a CSV file",
    "mapping_unreadable": "应写作 --map 角色=列名、--map-kind 原名=种类"
    " · write --map role=column, --map-kind theirs=ours",
    "role_unknown": "没有这个角色 · there is no such role",
    "zone_unknown": "没有这个时区 · there is no such time zone",
    "refusals_unwritable": "--refused 的文件无法写入 · the file of --refused cannot be written",
    "refusals_over_archive": "--refused 会覆盖正在导入的表格，换一个文件名"
    " · --refused would overwrite the table that is imported: name another file",
    "nothing_to_import": "这里没有照片 · there is no photo here",
    "id_missing": "没有编号 · no id",
    "id_doubled": "编号与前面的行重复 · the id of an earlier row",
    "place_missing": "没有位置，照片里也没有：在此表的 lon、lat 两列填上经纬度，再导入此表（--photos-in 照片文件夹）"
    " · no place, and none in the photo: fill in lon and lat in this table, then import it (--photos-in FOLDER)",
    "place_swapped": "经度和纬度好像填反了 · longitude and latitude seem to be swapped",
    "datum_unknown": "坐标系应为 wgs84、gcj02 或 bd09 · the datum must be wgs84, gcj02 or bd09",
    **{
        f"{axis}_{fault}": f"{name} {words}"
        for axis, name in (("lon", "经度 lon"), ("lat", "纬度 lat"))
        for fault, words in (
            ("missing", "为空 · is missing"),
            ("not_a_number", "无法解读 · cannot be read"),
            ("out_of_range", "超出范围 · out of range"),
            ("wrong_axis", "方向不对 · points the wrong way"),
        )
    },
    "kind_missing": "没有种类，用 --kind 指明 · no kind: say it with --kind",
    "kind_unknown": "没有这个种类，用 --map-kind 指明 · no such kind: translate it with --map-kind",
    "place_words_too_long": "怎么走到那里超过 200 字 · the words on how to get there are over 200 characters",
    "note_too_long": "说明超过 500 字 · the note is over 500 characters",
    "observed_at_unreadable": "时间应写作 2026-05-20T10:30:00+08:00 · write times like that",
    "observed_at_in_future": "时间在未来 · a time in the future",
    "photo_missing": "至少需要一张照片 · at least one photo is needed",
    "photo_too_many": "照片太多 · too many photos",
    "photo_too_large": "照片太大 · a photo is too large",
    "photo_empty": "照片是空文件 · a photo is an empty file",
    "photo_unreadable": "照片文件不存在或无法读取 · a photo is not there or cannot be read",
    "photo_changed": "检查之后照片被改动或移走了，再导入一次 · the photo was changed or moved since it was checked:"
    " import it again",
    "folder_unreadable": "文件夹无法读取，里面的照片没有导入：检查权限"
    " · the folder cannot be read, so its photos are left out: look at its permissions",
    "photo_elsewhere": "照片不在所给文件夹之内，用 --photos-in 指明"
    " · a photo lies outside the folder: name it with --photos-in",
    "empty_file": "照片是空文件 · a photo is an empty file",
    "not_an_image": "不是照片 · not a photo",
    "type_not_accepted": "不接受这种图片格式 · a kind of picture that is not accepted",
    "truncated": "照片不完整 · a photo is cut short",
    "undecodable": "照片已损坏 · a photo is broken",
    "too_many_pixels": "照片像素太多 · a photo has too many pixels",
    "too_narrow": "照片太窄 · a photo is too narrow",
    "too_heavy": "照片解码所需内存太多 · a photo needs too much memory",
    "timed_out": "照片解码太久 · a photo takes too long to decode",
}


@dataclass
class Outcome:
    """What came of an import. ``known``: stored by an earlier one."""

    added: int = 0
    known: int = 0
    refused: list[Refusal] = field(default_factory=list)


@click.command("import")
@click.argument("source")
@click.argument("archive", type=click.Path(exists=True, path_type=Path))
@click.option("--kind", type=click.Choice(REPORT_KINDS), help="The kind of every row that does not say its own.")
@click.option("--map", "pairs", multiple=True, metavar="ROLE=COLUMN", help="Which column plays a role.")
@click.option("--map-kind", "kind_pairs", multiple=True, metavar="THEIRS=OURS", help="What a kind is called there.")
@click.option("--photos-in", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Where a table's photos lie; by default beside the table.")  # fmt: skip
@click.option("--datum", type=click.Choice(DATUMS), default="wgs84", help="Of places that do not say their own.")
@click.option("--zone", default="Asia/Shanghai", show_default=True, help="Of times that do not say their own.")
@click.option("--encoding", default="UTF-8", help="The text's encoding, e.g. GB18030.")
@click.option("--dry-run", is_flag=True, help="Do everything but change nothing.")
@click.option("--accept-refused", is_flag=True, help="Take what is good although some rows were refused.")
@click.option("--refused", "refusals_to", type=click.Path(path_type=Path), help="Write every refused row to this CSV.")
def import_reports_command(source: str, archive: Path, **told: Any) -> None:
    """Import reports from ARCHIVE, a folder of photos or a CSV file, under SOURCE, a name of your own for it.

    A folder: one report a photo, place and time from its EXIF. A table: roles for --map are id, lon, lat, datum, kind,
    place_words (how one gets there), note, observed_at, photos (paths, separated by semicolons). What was imported
    before is not imported again.
    """
    from waterwatch.cli import _refuse, _settings

    settings = _settings()
    try:
        plan = _plan(source, archive, told)
        _expect_writable(told["refusals_to"], archive)
        if archive.is_dir():
            rows = archives.rows_of_folder(archive)
        else:
            rows = archives.rows_of_table(archive, _pairs(told["pairs"], archives.ROLES), told["encoding"])
        if not rows:
            raise SheetFault("nothing_to_import", archive=str(archive))
    except SheetFault as fault:
        facts = ", ".join(f"{name}={value}" for name, value in fault.facts.items())
        _refuse(f"被拒绝 · refused: {WORDS[fault.code]}\n  {facts}\n未作任何改动 · nothing was changed")
    is_strict, is_dry = not told["accept_refused"], told["dry_run"]
    try:
        outcome = _run(settings, rows, plan, is_strict=is_strict, is_dry=is_dry)
    except (DomainError, OSError, OperationalError, InterfaceError) as error:
        # The disk is full, the store or the database is away, a file is gone: what was stored until now is whole.
        _refuse(
            f"中断 · interrupted: {_reason(error)}。再运行一次就会接着做 · the same command again goes on from here"
        )
    if told["refusals_to"] is not None:
        archives.write_refusals(told["refusals_to"], outcome.refused, WORDS)
    click.echo(describe(outcome, len(rows), is_strict=is_strict, is_dry=is_dry))
    if outcome.refused and is_strict and not is_dry:
        raise SystemExit(1)


def _expect_writable(refusals_to: Path | None, archive: Path) -> None:
    """Said before anything is imported, not after. Raises :class:`SheetFault`."""
    if refusals_to is None:
        return
    if refusals_to.exists() and refusals_to.samefile(archive):
        raise SheetFault("refusals_over_archive", file=str(refusals_to))
    if refusals_to.is_dir() or not os.access(refusals_to.parent, os.W_OK | os.X_OK):
        raise SheetFault("refusals_unwritable", file=str(refusals_to))


def _reason(error: Exception) -> str:
    if isinstance(error, DomainError):
        return error.error_code
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__} {shown(str(error.filename or ''))}".rstrip()
    return "database_unavailable"


def shown(text: str) -> str:
    """Text of a stranger's table or disk, as a terminal may show it: what is not printable is escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def _plan(source: str, archive: Path, told: dict[str, Any]) -> Plan:
    try:
        zone = ZoneInfo(told["zone"])
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SheetFault("zone_unknown", zone=told["zone"]) from None
    folder = told["photos_in"] or (archive if archive.is_dir() else archive.parent)
    kinds = _pairs(told["kind_pairs"])
    for kind in kinds.values():
        if kind not in REPORT_KINDS:
            raise SheetFault("kind_unknown", kind=kind)
    return Plan(source, folder, told["kind"] or "", told["datum"], zone, kinds)


def _pairs(pairs: Sequence[str], known: Sequence[str] | None = None) -> dict[str, str]:
    """What was told by ``name=value``. Raises :class:`SheetFault`."""
    found = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name or not value:
            raise SheetFault("mapping_unreadable", given=pair)
        if known is not None and name not in known:
            raise SheetFault("role_unknown", given=name, known=", ".join(known))
        found[name] = value
    return found


def _run(settings: Settings, rows: Sequence[archives.Row], plan: Plan, *, is_strict: bool, is_dry: bool) -> Outcome:
    """Check all rows; then, unless one was refused, store them one by one."""
    engine = make_engine(settings.database_url, pool_size=1)
    sessions, objects, outcome = make_sessions(engine), ObjectStore(settings.objects_url), Outcome()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as bars:
            checked = list(_shown(bars, CHECKING, archives.check(rows, plan, settings, now=utc_now()), len(rows)))
            outcome.refused = [one for one in checked if isinstance(one, Refusal)]
            ready = [one for one in checked if isinstance(one, Ready)]
            if outcome.refused and is_strict and not is_dry:
                return outcome
            for one in _shown(bars, STORING, ready, len(ready)):
                try:
                    is_new = _take(one, sessions, objects, settings, is_dry=is_dry)
                except Invalid as fault:
                    outcome.refused.append(Refusal(one.row, fault.errors))
                    continue
                outcome.added, outcome.known = outcome.added + is_new, outcome.known + (not is_new)
    finally:
        engine.dispose()
    return outcome


def _take(
    one: Ready, sessions: sessionmaker[Session], objects: ObjectStore, settings: Settings, *, is_dry: bool
) -> bool:
    """Whether it was not there yet; stored, unless this is a dry run. Raises as :func:`archives.store`."""
    if is_dry:
        with transaction(sessions) as session:
            return not archives.is_known(session, one, settings)
    return archives.store(one, sessions=sessions, objects=objects, settings=settings, now=utc_now)


def _shown(bars: Progress, words: str, things: Iterable[T], total: int) -> Iterator[T]:
    task = bars.add_task(words, total=total)
    for done, thing in enumerate(things, start=1):
        yield thing
        bars.update(task, completed=done)


def describe(outcome: Outcome, rows: int, *, is_strict: bool, is_dry: bool) -> str:
    """The outcome as the operator reads it."""
    lines = [f"读取 {rows} 行 · read {rows} rows"]
    if outcome.refused:
        codes = Counter(code for one in outcome.refused for found in one.faults.values() for code in found)
        lines.append("拒绝 · refused:")
        lines += [f"  {WORDS[code]}: {count}" for code, count in codes.items()]
        for one in outcome.refused[:SHOWN]:
            told = "; ".join(WORDS[code] for found in one.faults.values() for code in found)
            lines.append(f"    row {one.row.number}  {shown(one.row.key) or '–'}  {told}")
        if len(outcome.refused) > SHOWN:
            lines.append("    … 全部写入文件：--refused FILE.csv · all of them to a file: --refused FILE.csv")
    refused = len(outcome.refused)
    lines.append(
        f"新增 {outcome.added}，已有 {outcome.known}，拒绝 {refused}"
        f" · {outcome.added} added, {outcome.known} there already, {refused} refused"
    )
    if is_dry:
        lines.append("试运行，未作任何改动 · a dry run: nothing was changed")
    elif refused and outcome.added + outcome.known:
        lines.append(
            "其余的行已经入库；被拒绝的修正之后再导入"
            " · the other rows are stored: mend those that were refused and import them again"
        )
    elif refused and is_strict:
        lines.append(
            "有被拒绝的行，未作任何改动。修正之后重来，或加 --accept-refused 只导入可用的行"
            " · rows were refused, so nothing was changed: mend them, or take what is good with --accept-refused"
        )
    return "\n".join(lines)
