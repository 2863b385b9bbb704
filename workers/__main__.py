"""``python -m workers …``: the processes beside the web server. Each stops gracefully on SIGTERM."""

import sys
from pathlib import Path

import click

from waterwatch.kernel import log
from waterwatch.kernel.settings import Settings, SettingsError
from workers.stopping import Stop


@click.group()
def main() -> None:
    """The processes of WaterWatch beside the web server."""


@main.command()
def relay() -> None:
    """Ring a worker for every outbox row that is due."""
    settings = _prepare()
    from workers import relay as process

    process.run(settings, Stop.on_signals())


@main.command()
@click.option("--queues", default=None, help="Serve these, in this order, in this one process: photos,mail,map")
@click.option("--burst", is_flag=True, help="Stop when the queues are empty.")
def work(queues: str | None, burst: bool) -> None:
    """Do the jobs. Without --queues: one process for each team of queues, restarted when one dies."""
    settings = _prepare()
    if queues is None:
        from workers import teams

        teams.supervise(Stop.on_signals())
    else:
        from workers import queues as process

        process.work(settings, queues.split(","), burst=burst)


@main.command()
def sweep() -> None:
    """Watch deadlines, seal the audit, forget what must be forgotten."""
    settings = _prepare()
    from workers import sweep as process

    process.run(settings, Stop.on_signals())


@main.command()
def inbox() -> None:
    """Take in what comes back by mail: bounces, automatic replies, answers."""
    settings = _prepare()
    if not settings.inbox_listen:
        click.echo(
            "未设置 WATERWATCH_INBOX_LISTEN · WATERWATCH_INBOX_LISTEN is not set: there is nowhere to listen", err=True
        )
        sys.exit(2)
    from workers import inbox as process

    process.run(settings)


@main.command()
@click.option("--dry-run", is_flag=True, help="Only list.")
def reconcile(dry_run: bool) -> None:
    """Compare rows with files: remove orphaned objects, report missing ones (exit status 1)."""
    settings = _prepare()
    from waterwatch.kernel.context import JobContext
    from waterwatch.kernel.db import make_engine, make_sessions
    from waterwatch.kernel.objects import ObjectStore
    from workers import reconcile as process

    engine = make_engine(settings.database_url, pool_size=1)
    context = JobContext(settings, make_sessions(engine), ObjectStore(settings.objects_url))
    findings = process.compare(context)
    for key in findings.missing:
        click.echo(f"缺失 · missing: {key}")
    for key in findings.orphans if dry_run else process.remove(context, findings):
        click.echo(f"{'多余 · orphan' if dry_run else '已删除 · removed'}: {key}")
    click.echo(f"缺失 · missing {len(findings.missing)}，多余 · orphans {len(findings.orphans)}")
    sys.exit(1 if findings.missing else 0)


@main.command()
@click.option("--smtp-port", type=int, required=True)
@click.option("--http-port", type=int, required=True)
@click.option("--folder", type=click.Path(path_type=Path), required=True)
def mailbox(smtp_port: int, http_port: int, folder: Path) -> None:
    """The demonstration's mailbox: an SMTP server on loopback, and a page that shows what arrived."""
    from workers import mailbox as process

    arguments = ["--smtp-port", str(smtp_port), "--http-port", str(http_port), "--folder", str(folder)]
    sys.exit(process.main(arguments))


def _prepare() -> Settings:
    try:
        settings = Settings.from_environ()
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    log.configure(settings.log_level, settings.log_format)
    return settings


if __name__ == "__main__":
    main()
