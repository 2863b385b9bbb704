"""``waterwatch gauges import`` and ``… list``: how much water the rivers carry, as gauges tell."""

import csv
from datetime import datetime
from pathlib import Path

import click
from sqlalchemy.orm import Session

from waterwatch.advisories import gauge_queries, gauges
from waterwatch.advisories.gauges import GaugeReport, ImportReadings, Taken
from waterwatch.cli.rosters import WORDS as SHEET_WORDS
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.messaging.http import Client, FetchError
from waterwatch.rosters.rules import SheetRefused

SHOWN = 20
MOST_BYTES = 16 * 1024**2  # some hundred thousand readings
TIMEOUT_S = 60.0
OPERATOR = Actor.system("operator")
# What each code means and what to do about it; those of spreadsheets are those of other imports.
WORDS = {
    **{code: SHEET_WORDS[code] for code in ("file_unreadable", "column_missing", "value_missing")},
    "encoding_unknown": "文件应为 UTF-8 · the file must be UTF-8",
    "line_unreadable": "这一行不是 JSON 对象，或其中的值不是数字和文字"
    " · the line is no JSON object of numbers and texts",
    "not_a_number": "不是数字 · not a number",
    "place_unusable": "不是经纬度（WGS-84 度）· no longitude and latitude (WGS-84 degrees)",
    "discharge_unusable": "流量应大于 0、小于 100 万立方米每秒"
    " · a discharge lies above 0 and below a million cubic metres per second",
    "time_unreadable": "时间写作 2026-06-01T08:00:00+08:00 · write times as 2026-06-01T08:00:00+08:00",
    "time_without_zone": "时间没有写明时区，例如 +08:00 · the time does not say its zone, such as +08:00",
    "time_unlikely": "时间在将来，或在 2000 年以前 · a time to come, or before 2000",
    "source_unusable": "来源最多 200 个字符，不含控制字符 · a source has at most 200 characters, none of control",
    "reach_unknown": "没有这个河段 · there is no such reach",
    "no_reach_near": "2 千米以内没有已知多年平均流量的河段"
    " · within 2 km there is no reach whose mean discharge is known",
    "no_mean_discharge": "这个河段没有多年平均流量，读数无从比较"
    " · the reach has no mean discharge to compare a reading with",
    "far_from_reach": "离所写的河段超过 2 千米 · more than 2 km from the reach that is named",
    "out_of_proportion": "与该河段的多年平均流量相差一百倍以上，水文站可能在另一条河上：用 feature_id 指明河段"
    " · more than a hundred times off the reach's mean: perhaps the gauge stands on another river,"
    " name the reach with feature_id",
}
FETCH_WORDS = {
    "not_https": "网址应以 https:// 开头（WATERWATCH_WEBHOOK_ALLOW 列出的主机也可用 http）"
    " · the address must be https (or http, of a host listed in WATERWATCH_WEBHOOK_ALLOW)",
    "address_not_public": "该主机不在公网上；内网主机要列入 WATERWATCH_WEBHOOK_ALLOW"
    " · the host is not on the public internet: list an inner one in WATERWATCH_WEBHOOK_ALLOW",
    "too_large": "超过 16 MB · larger than 16 MB",
}
OUTCOMES = {
    gauges.ADDED: "新增 · new",
    gauges.CHANGED: "更新 · newer",
    gauges.UNCHANGED: "未变 · unchanged",
    gauges.OLDER: "已有更新的 · a newer one is there",
}


@click.group("gauges")
def gauges_group() -> None:
    """How much water the rivers carry, as gauges tell."""


@gauges_group.command("import")
@click.argument("source", metavar="FILE|https://…")
@click.option("--dry-run", is_flag=True, help="Do everything but change nothing.")
@click.option("--accept-refused", is_flag=True, help="Take what is good although some rows were refused.")
@click.option("--refused", "refusals_to", type=click.Path(path_type=Path), help="Write all refusals to this CSV.")
def import_readings_command(source: str, dry_run: bool, accept_refused: bool, refusals_to: Path | None) -> None:
    """Bring in discharges, from a CSV file or JSON lines (UTF-8), here or at an https address.

    Columns: lon, lat (WGS-84), discharge_cms (m³/s), measured_at (with time zone), source (who measures); also
    feature_id, the number of the reach, where the nearest one would be wrong. The newest reading of a reach is kept;
    warnings that stand are reckoned anew.
    """
    from waterwatch.cli import _refuse, _session, _settings

    settings = _settings()
    client = Client(frozenset(settings.webhook_allow.split()), timeout_s=TIMEOUT_S)
    try:
        raw = read(source, client)
        command = ImportReadings(raw, accept_refused)
        with _session(settings) as session:
            report = gauges.import_readings(session, command, actor=OPERATOR, now=utc_now())
            _undo_unless(session, report.is_written and not dry_run)
    except OSError as fault:
        _refuse(f"无法读取文件 · the file cannot be read: {fault.strerror or type(fault).__name__}")
    except FetchError as fault:
        _refuse(f"没有取到 · not fetched ({fault.code}): {FETCH_WORDS.get(fault.code, '稍后再试 · try again later')}")
    except SheetRefused as fault:
        facts = ", ".join(f"{name}={value}" for name, value in fault.facts.items())
        _refuse(f"被拒绝 · refused: {WORDS[fault.code]}\n  {facts}\n未作任何改动 · nothing was changed")
    if refusals_to is not None:
        with refusals_to.open("w", encoding="utf-8-sig", newline="") as sheet:
            writer = csv.writer(sheet)
            writer.writerow(["row", "source", "code", "detail"])
            writer.writerows((fault.row, fault.key, fault.code, fault.detail) for fault in report.faults)
    click.echo(describe(report, is_dry=dry_run))
    if not report.is_written:
        raise SystemExit(1)


def read(source: str, client: Client) -> bytes:
    """The bytes of a file, or of what an address answers. Raises :class:`OSError`, :class:`FetchError`."""
    if "://" not in source:
        return Path(source).read_bytes()
    answer = client.send("GET", source, headers={"Accept": "text/csv, application/x-ndjson"}, max_bytes=MOST_BYTES)
    if answer.status != 200 or answer.headers.get("content-encoding", "identity") != "identity":
        raise FetchError("answer_refused")
    return answer.body


def _undo_unless(session: Session, is_meant: bool) -> None:
    if not is_meant:
        session.rollback()


def describe(report: GaugeReport, *, is_dry: bool) -> str:
    """The report as the operator reads it."""
    lines = [f"读取 {report.rows} 行 · read {report.rows} rows"]
    if report.faults:
        lines.append(f"拒绝 · refused: {len(report.faults)}")
        lines += [
            f"    row {one.row}  {_plain(one.key)}  {WORDS[one.code]}  {_plain(one.detail)}"
            for one in report.faults[:SHOWN]
        ]
        if len(report.faults) > SHOWN:
            lines.append("    … 全部写入文件：--refused FILE.csv · all of them to a file: --refused FILE.csv")
    lines += [f"    row {one.reading.row}  {_told(one)}" for one in report.taken[:SHOWN]]
    if len(report.taken) > SHOWN:
        lines.append(f"    … {len(report.taken) - SHOWN}")
    if report.is_written:
        counts = [report.count(outcome) for outcome in OUTCOMES]
        lines.append("新增 {}，更新 {}，未变 {}，较旧 {} · ".format(*counts))
        lines[-1] += "{} added, {} changed, {} unchanged, {} older".format(*counts)
        lines.append(
            f"重新推算 {report.ordered} 起事件下游的预计到达"
            f" · what {report.ordered} incidents mean for the waters below is reckoned anew"
        )
    if is_dry:
        lines.append("试运行，未作任何改动 · a dry run: nothing was changed")
    elif not report.is_written:
        lines.append(
            "有被拒绝的行，未作任何改动。修正文件，或加 --accept-refused 只导入可用的行"
            " · rows were refused, so nothing was changed: mend the file, or take what is good with --accept-refused"
        )
    return "\n".join(lines)


def _plain(words: str) -> str:
    """What a stranger's feed says, without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in words)


def _told(one: Taken) -> str:
    far = "" if one.reach.distance_m is None else f", {one.reach.distance_m:.0f} m"
    water = one.reach.water or "（无名 · unnamed）"
    ratio = one.reading.discharge_cms / (one.reach.mean_cms or 1)
    return (
        f"{one.reading.source} → {water} {one.reach.feature_id}{far}:"
        f" {one.reading.discharge_cms:g} m³/s = {ratio:.2f} × 多年平均 · mean  {OUTCOMES[one.outcome]}"
    )


@gauges_group.command("list")
def list_gauges_command() -> None:
    """What every gauge told last, and whether it is still reckoned with."""
    from waterwatch.cli import _session, _settings

    settings, now = _settings(), utc_now()
    with _session(settings) as session:
        found = gauge_queries.gauges(session)
    fresh_h = settings.gauge_fresh_s / 3600
    click.echo(
        f"{len(found)} 个水文站；{fresh_h:g} 小时以内的读数用于推算，别处按流量比 {settings.flow_ratio:g}"
        f" · {len(found)} gauges; readings of the last {fresh_h:g} h are used, elsewhere WATERWATCH_FLOW_RATIO"
    )
    for one in found:
        ratio = "–" if one.ratio is None else f"{one.ratio:.2f}"
        water = one.water or "（无名 · unnamed）"
        click.echo(
            f"{one.feature_id:>10}  {water}  {one.discharge_cms:g} m³/s = {ratio} × 多年平均 · mean"
            f"  {one.measured_at:%Y-%m-%d %H:%M}Z  {_state(one, now, settings.gauge_fresh_s)}  {one.source}"
        )


def _state(one: gauge_queries.Gauge, now: datetime, fresh_s: int) -> str:
    """In a word: used, too old, or of no use."""
    if one.ratio is None:
        return "无法比较 · no mean"
    age_h = (now - one.measured_at).total_seconds() / 3600
    if age_h * 3600 >= fresh_s:
        return f"过旧 · too old ({age_h:.0f} h)"
    return "在用 · used"
