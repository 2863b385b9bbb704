"""``waterwatch map build``: the geometry of the public map, made ahead of the publication that would make it."""

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions
from waterwatch.kernel.objects import ObjectStore
from waterwatch.mapping.archive import ArchiveInfo, build

STEPS = {
    "look": "查看水体 · looking at the waters",
    "labels": "安放名称 · placing names",
    "generalise": "概括 · generalising",
    "list": "列出瓦片 · listing tiles",
    "cut": "切片 · cutting tiles",
    "assemble": "合成文件 · assembling",
}
MEBIBYTE = 1024 * 1024


@click.command("build")
def build_map_command() -> None:
    """Build the archive of rivers and lakes that the public map draws. Interrupted, it goes on where it stopped.

    The publisher builds it too; after an import of a country it is done sooner by hand.
    """
    from waterwatch.cli import LONG_STATEMENT_S, _settings

    settings = _settings()
    engine = make_engine(settings.database_url, statement_timeout_s=LONG_STATEMENT_S, pool_size=2)
    context = JobContext(settings, make_sessions(engine), ObjectStore(settings.objects_url))
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    try:
        with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bars:
            tasks: dict[str, TaskID] = {}

            def tell(step: str, done: int, total: int) -> None:
                for other, task in tasks.items():
                    if other != step:
                        bars.stop_task(task)
                if step not in tasks:
                    tasks[step] = bars.add_task(STEPS[step], total=total)
                bars.update(tasks[step], completed=done, total=total)

            info = build(context, folder=settings.publish_dir, progress=tell)
    finally:
        engine.dispose()
    click.echo(describe(info))


def describe(info: ArchiveInfo) -> str:
    """The archive as the operator reads it: its size, and each zoom's middle and fullest tile."""
    lines = [
        f"{info.path.name}: {info.bytes / MEBIBYTE:.1f} MB，{info.tiles} 个瓦片 · {info.tiles} tiles",
        f"分块 {info.pieces}，{info.resumed} 块是上次做好的 · {info.pieces} pieces, {info.resumed} of an earlier run",
        "级别 · zoom    中间 · middle    最大 · fullest (KB)",
    ]
    lines += [
        f"{zoom:>4}{info.middle[zoom] / 1024:>22.1f}{info.fullest[zoom] / 1024:>18.1f}" for zoom in sorted(info.fullest)
    ]
    return "\n".join(lines)
