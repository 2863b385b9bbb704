"""``waterwatch calendar`` and ``waterwatch deadlines``: China's working days, and how long departments have."""

import csv
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import NoReturn

import click
from sqlalchemy.orm import Session

from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.errors import Invalid, NotFound
from waterwatch.kernel.settings import Settings, SettingsError
from waterwatch.workdays import queries, service
from waterwatch.workdays.known import packaged
from waterwatch.workdays.rules import DEFAULTS, STAGES, UNITS, Limit, missing_years
from waterwatch.workdays.service import SetDeadline

OPERATOR = Actor.system("cli")
UNIT_WORDS = {"hours": "小时 hours", "working_days": "个工作日 working days", "days": "天 days"}
STAGE_WORDS = {"acknowledge": "确认收到 acknowledge", "answer": "答复 answer", "finish": "办结 finish"}
COLOURS = {4: "红 red", 3: "橙 orange", 2: "黄 yellow", 1: "蓝 blue"}
YES, NO = {"1", "true", "yes", "是"}, {"0", "false", "no", "否"}


def read_table(path: Path) -> dict[date, bool]:
    """Days from a CSV with the columns ``day`` (2027-01-01) and ``is_working`` (1 or 0). Raises :class:`Invalid`."""
    days: dict[date, bool] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            said = (row.get("is_working") or "").strip().lower()
            try:
                day = date.fromisoformat((row.get("day") or "").strip())
            except ValueError:
                raise Invalid({"day": ["malformed"]}, line=number) from None
            if said not in YES | NO:
                raise Invalid({"is_working": ["choice_unknown"]}, line=number)
            days[day] = said in YES
    return days


@click.group("calendar")
def calendar_group() -> None:
    """China's working days: holidays and make-up days."""


@calendar_group.command("load")
@click.argument("table", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def load_command(table: Path | None) -> None:
    """Load whole years: those the package knows, or those of a CSV with the columns day,is_working.

    A year that is loaded again is replaced. Deadlines that run already stay as they were promised.
    """
    try:
        days = packaged() if table is None else read_table(table)
        with _session() as session:
            service.load(session, days, actor=OPERATOR, now=utc_now())
    except Invalid as refused:
        found = ", ".join(f"{name}: {codes[0]}" for name, codes in refused.errors.items())
        _refuse(f"没有载入 · nothing is loaded: {found} {refused.facts or ''}".rstrip())
    years = sorted({day.year for day in days})
    click.echo(f"已载入 · loaded: {years[0]}–{years[-1]}, {len(days)} days, {sum(days.values())} worked")


@calendar_group.command("show")
def show_command() -> None:
    """Which years are loaded; exit code 1 when this one, or in December the next one, is missing."""
    with _session() as session:
        loaded = queries.loaded_years(session)
    for year in loaded:
        click.echo(f"{year.year}: {year.days} days, {year.working} worked")
    if missing := missing_years([year.year for year in loaded], utc_now().date()):
        _refuse(f"缺少 · missing: {', '.join(map(str, missing))}")


@click.group("deadlines")
def deadlines_group() -> None:
    """How long departments have to acknowledge, answer and finish, by area and severity."""


@deadlines_group.command("list")
def list_command() -> None:
    """What holds everywhere by default, then every rule."""
    for severity, stages in DEFAULTS.items():
        for stage, limit in stages.items():
            _say("—", None, severity, stage, limit)
    with _session() as session:
        for rule in queries.listed_rules(session):
            limit = Limit(rule.amount, rule.unit)
            _say(str(rule.rule_id), f"{rule.code or '*'} {rule.name or ''}", rule.severity, rule.stage, limit)


def _say(key: str, area: str | None, severity: int, stage: str, limit: Limit) -> None:
    where = "默认 default" if area is None else area.strip()
    click.echo(f"{key}\t{where}\t{COLOURS[severity]}\t{STAGE_WORDS[stage]}\t{limit.amount} {UNIT_WORDS[limit.unit]}")


@deadlines_group.command("set")
@click.argument("area")
@click.argument("severity", type=click.IntRange(1, 4))
@click.argument("stage", type=click.Choice(STAGES))
@click.argument("amount", type=int)
@click.argument("unit", type=click.Choice(UNITS))
def set_command(area: str, severity: int, stage: str, amount: int, unit: str) -> None:
    """Set a rule. AREA is a code of GB/T 2260 or * for everywhere; SEVERITY 1 (blue) to 4 (red).

    Cases handed over from now on follow it.
    """
    command = SetDeadline(None if area == "*" else area, severity, stage, Limit(amount, unit))
    try:
        with _session() as session:
            rule_id = service.set_deadline(session, command, actor=OPERATOR, now=utc_now())
    except Invalid as refused:
        _refuse("没有改 · not set: " + ", ".join(f"{name}: {codes[0]}" for name, codes in refused.errors.items()))
    click.echo(f"已设定 · set: {rule_id}")


@deadlines_group.command("drop")
@click.argument("rule_id", type=click.UUID)
def drop_command(rule_id: uuid.UUID) -> None:
    """Take a rule away; ``deadlines list`` names them."""
    try:
        with _session() as session:
            service.drop_deadline(session, rule_id, actor=OPERATOR, now=utc_now())
    except NotFound:
        _refuse("没有这条规则 · there is no such rule")
    click.echo("已去掉 · dropped")


@contextmanager
def _session() -> Iterator[Session]:
    """One transaction of a command."""
    try:
        settings = Settings.from_environ()
    except SettingsError as error:
        _refuse("设置不可用 · the settings are not usable:\n  " + "\n  ".join(error.faults), exit_code=2)
    engine = make_engine(settings.database_url, pool_size=1)
    try:
        with transaction(make_sessions(engine)) as session:
            yield session
    finally:
        engine.dispose()


def _refuse(sentence: str, *, exit_code: int = 1) -> NoReturn:
    click.echo(sentence, err=True)
    raise SystemExit(exit_code)
