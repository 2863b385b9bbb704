"""``waterwatch agencies coverage``: which kinds of observation nobody would be told of, county by county."""

import csv
from pathlib import Path

import click

from waterwatch.agencies.coverage import CountyCover, coverage_by_province, sheet_rows, waters_in

SHOWN = 20


@click.command("coverage")
@click.option("--to", type=click.Path(path_type=Path), help="Write a row for every county to this CSV.")
@click.option("--lacking", is_flag=True, help="Only counties that lack something.")
def coverage_command(to: Path | None, *, lacking: bool) -> None:
    """Where nobody would be told: exit code 1 if there is such a county."""
    from waterwatch.cli import _session, _settings

    counties: list[CountyCover] = []
    waters: dict[str, list[tuple[str, str]]] = {}
    with _session(_settings()) as session, click.progressbar(length=1, label="区县 · counties") as bar:

        def tell(_done: int, total: int) -> None:
            bar.length = total
            bar.update(1)

        for piece in coverage_by_province(session, progress=tell):
            counties += [county for county in piece if county.lacking or not lacking]
            waters |= waters_in(session, [county.code for county in piece if county.lacking])
    bare = [county for county in counties if county.lacking]
    if to is not None:
        with to.open("w", encoding="utf-8-sig", newline="") as sheet:
            csv.writer(sheet).writerows(sheet_rows(counties, waters))
    for county in bare[:SHOWN]:
        kinds = len(county.lacking)
        click.echo(
            f"    {county.code} {' '.join(county.names)}: {kinds} 类 · {kinds} kinds, {len(waters[county.code])} 水体"
        )
    if len(bare) > SHOWN:
        click.echo("    … 全部写入文件：--to FILE.csv · all of them to a file: --to FILE.csv")
    click.echo(f"{len(bare)} 个区县有空缺 · {len(bare)} counties lack somebody for some kind")
    if bare:
        raise SystemExit(1)
