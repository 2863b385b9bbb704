"""``waterwatch agencies import departments`` and ``… river-chiefs``: what they are told and what they say."""

import csv
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import click
from sqlalchemy.orm import Session

from waterwatch.advisories.forecasts import order_standing
from waterwatch.kernel.clock import utc_now
from waterwatch.rosters import operators, service
from waterwatch.rosters.rules import SheetRefused
from waterwatch.rosters.service import ImportRoster, RosterReport

SHOWN = 20
# What each code means and what to do about it.
WORDS = {
    "encoding_unknown": "文字不是所述编码，用 --encoding 指明（UTF-8、GB18030）"
    " · the text is not in that encoding: say it with --encoding (UTF-8, GB18030)",
    "file_unreadable": "不是 CSV 表格 · not a CSV file",
    "column_missing": "缺少所需的列 · a needed column is missing",
    "code_unreadable": "部门代码只能用小写字母、数字和连字符，至少两个字符"
    " · a code has lower-case letters, digits and hyphens, two at least",
    "key_doubled": "与前面的行重复 · the same as an earlier row",
    "value_missing": "此列不能为空 · this column must not be empty",
    "value_too_long": "内容过长 · too long",
    "agency_kind_unknown": "没有这类部门 · no such kind of department",
    "level_unknown": "级别应为 province、prefecture、county 或 basin"
    " · the level must be province, prefecture, county or basin",
    "basin_and_authority": "流域区只归流域机构，流域机构只管流域区"
    " · basins have basin_authority agencies, and nobody else has basins",
    "jurisdiction_unknown": "没有这个行政区划代码，请先导入行政区 · no area has this code: import the areas first",
    "parent_unknown": "上级部门不存在 · the department above it is not there",
    "parent_not_above": "上级部门的级别不高于本级 · the department above it is of no higher level",
    "parent_elsewhere": "上级部门不管这个地方 · the department above it does not answer for that area",
    "answers_in_a_circle": "上下级成环 · departments answer to each other in a circle",
    "channel_unknown": "目前只能用 email · only email is known so far",
    "duty_unknown": "没有这种问题类型 · no such kind of observation",
    "duty_of_waterworks": "供水单位不负责处理问题，duties 留空"
    " · waterworks are competent for nothing: leave duties empty",
    "agency_unknown": "没有这个部门，或已停用：请先导入部门 · there is no such agency in office: import agencies first",
    "zone_unknown": "没有这个保护区或取水口 · there is no such zone or intake",
    "zone_ambiguous": "不止一个保护区叫这个名字，用 source 和 key 指明"
    " · several zones have this name: say which by source and key",
    "zone_unnamed": "写明 source 和 key，或 name · say which zone: source and key, or name",
    "severity_unknown": "等级应为 1 至 4 · a severity is 1 to 4",
    "address_unreadable": "不是邮箱地址 · no mail address",
    "water_unknown": "没有这个水体或河段 · no such water or reach",
}


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--refused", "refusals_to", type=click.Path(path_type=Path), help="Write all refusals to this CSV."
        ),
        click.option("--accept-refused", is_flag=True, help="Take what is good although some rows were refused."),
        click.option("--dry-run", is_flag=True, help="Do everything but change nothing."),
        click.option("--complete", is_flag=True, help="The file lists all there are: retire what it lacks."),
        click.option("--encoding", default="UTF-8", help="The text's encoding, e.g. GB18030."),
        click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path)),
    ):
        command = option(command)
    return command


@click.command("departments")
@_options
def import_departments_command(
    file: Path, encoding: str, complete: bool, dry_run: bool, accept_refused: bool, refusals_to: Path | None
) -> None:
    """Import departments from a CSV file.

    Columns: code, kind, jurisdiction, zh_hans; also level, parent, zh_hant, en, duties (kind|kind:severity), email
    (several parted by a semicolon, the first is written to first), channel. Without duties an agency is competent for
    everything; with the word rules for what the rules say.
    """
    _import(service.import_departments, file, encoding, complete, dry_run, accept_refused, refusals_to)


@click.command("river-chiefs")
@_options
def import_chiefs_command(
    file: Path, encoding: str, complete: bool, dry_run: bool, accept_refused: bool, refusals_to: Path | None
) -> None:
    """Import river chiefs from a CSV file.

    Columns: water (a page address such as w-yangtze, or source:key of a reach), jurisdiction, title; also name, email,
    phone.
    """
    _import(service.import_chiefs, file, encoding, complete, dry_run, accept_refused, refusals_to)


@click.command("operators")
@_options
def import_operators_command(
    file: Path, encoding: str, complete: bool, dry_run: bool, accept_refused: bool, refusals_to: Path | None
) -> None:
    """Say who runs which intake (or other zone), from a CSV file.

    Columns: agency (its code, or - for nobody); and source and key as the zone was imported with, or its name. Who runs
    an intake is told before the public what is expected to come down the river.
    """
    _import(_import_operators, file, encoding, complete, dry_run, accept_refused, refusals_to)


def _import_operators(session: Session, command: ImportRoster, *, now: datetime) -> RosterReport:
    """Bring them in; who is new is told of the warnings that stand."""
    report = operators.import_operators(session, command, now=now)
    if report.added or report.changed:
        order_standing(session, now=now)
    return report


def _import(
    act: Callable[..., RosterReport],
    file: Path,
    encoding: str,
    complete: bool,
    dry_run: bool,
    accept_refused: bool,
    refusals_to: Path | None,
) -> None:
    from waterwatch.cli import _refuse, _session, _settings

    command = ImportRoster(file.read_bytes(), encoding, complete, accept_refused)
    report: RosterReport | None = None
    try:
        with _session(_settings()) as session:
            report = act(session, command, now=utc_now())
            _undo_unless(session, report.is_written and not dry_run)
    except SheetRefused as fault:
        facts = ", ".join(f"{name}={value}" for name, value in fault.facts.items())
        _refuse(f"被拒绝 · refused: {WORDS[fault.code]}\n  {facts}\n未作任何改动 · nothing was changed")
    assert report is not None
    if refusals_to is not None:
        with refusals_to.open("w", encoding="utf-8-sig", newline="") as sheet:
            writer = csv.writer(sheet)
            writer.writerow(["row", "key", "code", "detail"])
            writer.writerows((fault.row, fault.key, fault.code, fault.detail) for fault in report.faults)
    click.echo(describe(report, is_dry=dry_run))
    if not report.is_written:
        raise SystemExit(1)


def _undo_unless(session: Session, is_meant: bool) -> None:
    if not is_meant:
        session.rollback()


def describe(report: RosterReport, *, is_dry: bool) -> str:
    """The report as the operator reads it."""
    lines = [f"读取 {report.rows} 行 · read {report.rows} rows"]
    if report.faults:
        lines.append(f"拒绝 · refused: {len(report.faults)}")
        lines += [f"    row {one.row}  {one.key}  {WORDS[one.code]}  {one.detail}" for one in report.faults[:SHOWN]]
        if len(report.faults) > SHOWN:
            lines.append("    … 全部写入文件：--refused FILE.csv · all of them to a file: --refused FILE.csv")
    if report.is_written:
        lines.append(
            f"新增 {report.added}，更新 {report.changed}，未变 {report.unchanged}，停用 {report.retired}"
            f" · {report.added} added, {report.changed} changed, {report.unchanged} unchanged, {report.retired} retired"
        )
    if is_dry:
        lines.append("试运行，未作任何改动 · a dry run: nothing was changed")
    elif not report.is_written:
        lines.append(
            "有被拒绝的行，未作任何改动。修正文件，或加 --accept-refused 只导入可用的行"
            " · rows were refused, so nothing was changed: mend the file, or take what is good with --accept-refused"
        )
    return "\n".join(lines)
