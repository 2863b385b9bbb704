"""``waterwatch bulletins make`` and ``waterwatch accountability count``: what they are told and what they say."""

import uuid
from collections.abc import Callable

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from sqlalchemy.orm import Session, sessionmaker

from waterwatch.accountability.rules import Period
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.errors import DomainError, Invalid
from waterwatch.kernel.objects import ObjectStore

OPERATOR = Actor.system("operator")


def _period(_context: object, _parameter: object, given: str) -> Period:
    try:
        return Period.parse(given.upper())
    except Invalid:
        raise click.BadParameter("写季度或月份 · a quarter or a month: 2026Q3, 2026-07") from None


@click.command("make")
@click.argument("period", callback=_period)
@click.option("--agency", "codes", multiple=True, help="A department's code; several times for several. Else all.")
def make_bulletins_command(period: Period, codes: tuple[str, ...]) -> None:
    """Make the drafts of bulletins of PERIOD (2026Q3 or 2026-07); what is there already stays."""
    from waterwatch.bulletins import jobs, queries, service
    from waterwatch.cli import LONG_STATEMENT_S, _refuse, _settings

    settings = _settings()
    engine = make_engine(settings.database_url, statement_timeout_s=LONG_STATEMENT_S, pool_size=2)
    sessions = make_sessions(engine)
    context = JobContext(settings, sessions, ObjectStore(settings.objects_url))
    settings.spool_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = kept = 0
    try:
        with _bars() as bars:
            task = bars.add_task("公报 · bulletins", total=None)
            wanted = _wanted(sessions, period, codes)
            bars.update(task, total=len(wanted))
            for agency_id in wanted:
                with transaction(sessions) as session:
                    row = service.propose(session, agency_id, period, actor=OPERATOR, now=utc_now())
                    bulletin_id, revision = row.id, row.revision
                    name = queries.addressee(session, agency_id=agency_id).name
                is_made = jobs.make_files(context, bulletin_id, revision, tell=_teller(bars, name))
                made, kept = made + is_made, kept + (not is_made)
                bars.advance(task)
    except DomainError as error:
        _refuse(f"被拒绝 · refused: {error.error_code} {getattr(error, 'errors', '') or ''}".rstrip())
    finally:
        engine.dispose()
    click.echo(
        f"生成 {made} 份，已有 {kept} 份；请组长在审核台审阅 · {made} made, {kept} were there; the lead reviews them"
    )


def _wanted(sessions: sessionmaker[Session], period: Period, codes: tuple[str, ...]) -> list[uuid.UUID]:
    from waterwatch.bulletins import queries

    with transaction(sessions) as session:
        if codes:
            return [queries.addressee(session, code=code).agency_id for code in codes]
        return list(queries.agencies_without(session, period, limit=100_000))


def _bars() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True))


def _teller(bars: Progress, name: str) -> Callable[[str, int, int], None]:
    task = bars.add_task(name, total=None)

    def tell(_step: str, done: int, total: int) -> None:
        bars.update(task, completed=done, total=total, visible=done < total)

    return tell


@click.command("count")
@click.argument("period", callback=_period)
def count_command(period: Period) -> None:
    """Count how departments answered in PERIOD, and show each its figures before they are published."""
    from waterwatch.accountability import service
    from waterwatch.cli import _session, _settings

    settings = _settings()
    with _session(settings) as session:
        counted = service.show_period(session, period, settings=settings, actor=OPERATOR, now=utc_now())
    click.echo(
        f"统计 {counted.rows} 行，发给 {counted.letters} 个部门；{counted.shown_until:%Y-%m-%d} 以后公布"
        f" · {counted.rows} rows, {counted.letters} departments written to, published after that day"
    )
