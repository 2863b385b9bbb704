"""``waterwatch waters import``: what it is told, what it shows while it works, and what it says in the end."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from waterwatch.advisories.forecasts import order_standing
from waterwatch.imports import rules
from waterwatch.imports.reading import FileRefused, Reading
from waterwatch.imports.rules import WATERS, Layout, LayoutFault
from waterwatch.imports.service import ImportReport, ImportWaters, import_waters
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine
from waterwatch.kernel.errors import Conflict
from waterwatch.kernel.settings import Settings

STEPS = {
    "checksum": "校验文件 · checksums",
    "read": "读取 · reading",
    "check": "检查 · checking",
    "merge": "入库 · making live",
    "done": "完成 · done",
}
THINGS = {
    rules.REACH: ("河段", "reaches"),
    rules.LAKE: ("湖面", "lakes"),
    rules.AREA: ("行政区", "areas"),
    rules.ZONE: ("保护区", "zones"),
}
# What each code means and what to do about it.
WORDS = {
    "file_unreadable": "无法读取文件 · the file cannot be read",
    "file_broken": "文件在此行之后损坏，请重新下载 · the file is broken after this row: fetch it again",
    "column_missing": "缺少所需的列，用 --map 指明 · a needed column is missing: name it with --map",
    "nothing_to_import": "文件里没有可导入的内容：图层或筛选条件可能不对"
    " · there is nothing of this kind in the file: perhaps the layer or the condition is wrong",
    "most_would_retire": "文件缺少该来源一半以上的内容。若只是一部分，加 --partial；若确实如此，加 --retire-most"
    " · the file lacks more than half of its source: add --partial if it is a part, --retire-most if it is so",
    "crs_missing": "文件没有坐标系，用 --crs 指明（如 EPSG:4326）"
    " · the file has no CRS: say it with --crs (e.g. EPSG:4326)",
    "crs_unknown": "不认识的坐标系 · an unknown CRS",
    "encoding_unknown": "文字不是所述编码，用 --encoding 指明（UTF-8、GB18030、ISO-8859-1）"
    " · the text is not in that encoding: say it with --encoding (UTF-8, GB18030, ISO-8859-1)",
    "kind_unknown": "--kind 应为 reach 或 lake · --kind must be reach or lake",
    "source_code_unusable": "来源代码只能用小写字母、数字和连字符"
    " · a source's code has lower-case letters, digits, hyphens",
    "mapping_unreadable": "应写作 --map 角色=列名 · write --map role=column",
    "mapping_file_unreadable": "映射文件无法读取 · the mapping file cannot be read",
    "role_unknown": "没有这个角色 · there is no such role",
    "water_kind_unknown": "没有这种类型 · there is no such kind",
    "import_running": "另一个导入正在进行，请稍后再试 · another import is running: try again when it has ended",
    "geometry_empty": "图形缺失或无法解读 · the shape is missing or unreadable",
    "geometry_type": "图形类型不符 · the wrong type of shape",
    "geometry_degenerate": "图形没有长度或面积 · the shape has no length or no area",
    "outside_the_world": "坐标超出经纬度范围，坐标系可能不对（--crs）"
    " · outside the range of degrees: perhaps the CRS is wrong (--crs)",
    "key_missing": "没有编号 · no key",
    "key_doubled": "编号重复 · the key is there already",
    "number_out_of_range": "数值超出范围 · a number out of range",
    "slope_too_steep": "坡降过大（最大 10 m/m），单位可能不对：应为 m/m，1‰ 写作 0.001"
    " · too steep (10 m/m at most): perhaps the unit is wrong, it is m/m, 1‰ is 0.001",
    "not_a_number": "不是数字 · not a number",
    "next_down_unknown": "流入的河段不存在 · flows into a reach that is not there",
    "flows_in_a_circle": "水流成环 · flows in a circle",
    "code_unreadable": "行政区划代码应为六位数字 · a code of GB/T 2260 has six digits",
    "level_unknown": "级别应为 province、prefecture、county 或 basin"
    " · the level must be province, prefecture, county or basin",
    "parent_unknown": "上级行政区不存在 · the area above it is not there",
    "parent_not_above": "上级行政区的级别不高于本级 · the area above it is of no higher level",
    "zone_kind_unknown": "没有这种保护区，可用 --zone-kind 指明 · no such kind of zone: say it with --zone-kind",
    "grade_unknown": "该类保护区没有这一级 · that kind of zone has no such grade",
    "geometry_repaired": "自相交的面已修复 · areas that crossed themselves, repaired",
    "shape_doubled": "同一图形出现多次，只取一次 · the same shape given again, taken once",
    "lines_cut": "在汇合处断开的线 · lines cut where others meet them",
    "circles_cut": "水流成环，已断开 · circles in the flow, cut open",
}


_OPTIONS = (
    click.option("--map", "pairs", multiple=True, metavar="ROLE=COLUMN", help="Which column plays a role."),
    click.option(
        "--mapping", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A mapping file (TOML)."
    ),
    click.option("--crs", help="The coordinate system, where the file does not say or is wrong, e.g. EPSG:4490."),
    click.option(
        "--datum", type=click.Choice(["wgs84", "gcj02", "bd09"]), default="wgs84", help="Undo a Chinese map's shift."
    ),
    click.option("--encoding", help="The text's encoding, e.g. GB18030."),
    click.option("--dry-run", is_flag=True, help="Do everything but change nothing."),
    click.option("--accept-refused", is_flag=True, help="Take what is good although some rows were refused."),
    click.option("--retire-most", is_flag=True, help="Retire what the files lack, though it is more than half."),
    click.option(
        "--refused", "refusals_to", type=click.Path(path_type=Path), help="Write every refused row to this CSV file."
    ),
)
_PARTIAL = click.option(
    "--partial", is_flag=True, help="The files are a part of their source: retire nothing they lack."
)
_REPLACES = click.option(
    "--replaces", metavar="SOURCE", help="Retire what came from this other source in the same step."
)
_FILES = click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("import")
@click.argument("source")
@_FILES
@click.option("--kind", type=click.Choice(WATERS), help="What the file holds, for a source of your own.")
@_with_options
@_PARTIAL
@_REPLACES
def import_waters_command(
    source: str, files: tuple[Path, ...], kind: str | None, partial: bool, replaces: str | None, **told: Any
) -> None:
    """Import rivers or lakes from SOURCE.

    SOURCE: hydrorivers, hydrolakes, natural-earth-rivers, natural-earth-lakes, osm-rivers, osm-lakes, or a code of your
    own with --kind and --map, or --mapping. Interrupted, it goes on where it stopped.
    """

    def layout() -> Layout:
        if told["mapping"] is not None:
            found = rules.from_file(told["mapping"])
            if found.kind not in WATERS:
                raise LayoutFault("kind_unknown", given=found.kind, known=", ".join(WATERS))
            return found
        return rules.KNOWN.get(source) or rules.generic(source, kind or "")

    _import(files, layout, told, partial=partial, replaces=replaces)


@click.command("import")
@click.argument("source")
@_FILES
@click.option("--zone-kind", type=click.Choice(list(rules.ZONE_GRADES)), help="The kind of every zone in the file.")
@_with_options
@_PARTIAL
@_REPLACES
def import_zones_command(
    source: str, files: tuple[Path, ...], zone_kind: str | None, partial: bool, replaces: str | None, **told: Any
) -> None:
    """Import zones of protection under SOURCE, a code of your own.

    Roles for --map: key, zone_kind, grade (1 the strictest), name.zh-Hans, name.zh-Hant, name.en, name.
    """

    def layout() -> Layout:
        made = rules.from_file(told["mapping"], rules.ZONE) if told["mapping"] else rules.generic(source, rules.ZONE)
        return replace(made, code=source, default_kind=zone_kind or made.default_kind)

    _import(files, layout, told, partial=partial, replaces=replaces)


@click.command("areas")
@_FILES
@_with_options
@click.option("--complete", is_flag=True, help="The files are the whole country: retire the areas they lack.")
def import_areas_command(files: tuple[Path, ...], complete: bool, **told: Any) -> None:
    """Import areas of jurisdiction by their codes of GB/T 2260.

    Roles for --map: key (the code), next_down (the code above it), level, name.zh-Hans, name.zh-Hant, name.en, name.
    """

    def layout() -> Layout:
        return rules.from_file(told["mapping"], rules.AREA) if told["mapping"] else rules.generic("areas", rules.AREA)

    _import(files, layout, told, partial=not complete, replaces=None)


def _import(
    files: tuple[Path, ...],
    layout: Callable[[], Layout],
    told: Mapping[str, Any],
    *,
    partial: bool,
    replaces: str | None,
) -> None:
    """Import as told on the command line, say what came of it; exit status 1 when nothing was made live."""
    from waterwatch.cli import _refuse, _session, _settings

    settings = _settings()
    try:
        how = Reading(
            rules.with_mapping(layout(), told["pairs"]), crs=told["crs"], datum=told["datum"], encoding=told["encoding"]
        )
        command = ImportWaters(
            files,
            how,
            told["dry_run"],
            partial,
            told["accept_refused"],
            retire_most=told["retire_most"],
            replaces=replaces,
            refusals_to=told["refusals_to"],
        )
        report = _run(settings, command)
    except (LayoutFault, FileRefused) as fault:
        facts = ", ".join(f"{name}={value}" for name, value in fault.facts.items())
        _refuse(f"被拒绝 · refused: {WORDS[fault.code]}\n  {facts}\n未作任何改动 · nothing was changed")
    except Conflict as fault:
        _refuse(WORDS[fault.error_code])
    click.echo(describe(report, command))
    if report.is_live and command.reading.layout.kind in (*WATERS, rules.ZONE):
        with _session(settings) as session:  # what flows where, how fast, and what lies on the way may be another
            order_standing(session, now=utc_now())
    if not report.is_live and not command.dry_run:
        raise SystemExit(1)


def _run(settings: Settings, command: ImportWaters) -> ImportReport:
    engine = make_engine(settings.migration_database_url or settings.database_url, role=None, pool_size=2)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    try:
        with Progress(*columns, console=Console(stderr=True)) as bars:
            tasks: dict[str, TaskID] = {}

            def tell(step: str, done: int, total: int | None) -> None:
                for other, task in tasks.items():
                    if other != step:
                        bars.stop_task(task)
                if step not in tasks:
                    tasks[step] = bars.add_task(STEPS[step], total=total)
                bars.update(tasks[step], completed=done, total=total)

            return import_waters(engine, command, now=utc_now, progress=tell)
    finally:
        engine.dispose()


def describe(report: ImportReport, command: ImportWaters) -> str:
    """The report as the operator reads it."""
    lines = [f"读取 {report.read} 行 · read {report.read} rows, {report.staged} usable"]
    if report.resumed_at:
        lines.append(f"接续上次，从第 {report.resumed_at + 1} 行开始 · went on from row {report.resumed_at + 1}")
    lines += [f"  {WORDS[code]}: {count}" for code, count in report.noticed.items()]
    if report.refused:
        lines.append("拒绝 · refused:")
        lines += [f"  {WORDS[code]}: {count}" for code, count in report.refused.items()]
        lines += [f"    row {one.row}  {one.key or '–'}  {WORDS[one.code]}  {one.detail}" for one in report.first]
        if sum(report.refused.values()) > len(report.first):
            lines.append("    … 全部写入文件：--refused FILE.csv · all of them to a file: --refused FILE.csv")
    if report.merged is not None:
        done = report.merged
        words = THINGS[command.reading.layout.kind]
        if command.reading.layout.kind in WATERS:
            lines.append(f"水体 {done.waters} · {done.waters} waters")
        lines.append(
            f"{words[0]}：新增 {done.added}，更新 {done.changed}，未变 {done.unchanged}，停用 {done.retired}"
            f" · {words[1]}: {done.added} added, {done.changed} changed, {done.unchanged} unchanged,"
            f" {done.retired} retired"
        )
    if command.dry_run:
        lines.append("试运行，未作任何改动 · a dry run: nothing was changed")
    elif not report.is_live:
        lines.append(
            "有被拒绝的行，未作任何改动。修正文件，或加 --accept-refused 只导入可用的行"
            " · rows were refused, so nothing was changed: mend the file, or take what is good with --accept-refused"
        )
    return "\n".join(lines)
