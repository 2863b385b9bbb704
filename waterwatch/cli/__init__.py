"""The operators' command line: ``waterwatch …``. Each command reads the same settings as the running system.

Exit codes: 0 done; 1 the answer is "no" (a check failed, a chain is broken, a thing is refused); 2 wrong usage or
settings.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click
from sqlalchemy.orm import Session

from waterwatch.accounts.tables import ROLES
from waterwatch.cli.case import case_group
from waterwatch.cli.coverage import coverage_command
from waterwatch.cli.doctor import examine, render
from waterwatch.cli.gauges import gauges_group
from waterwatch.cli.imports import import_areas_command, import_waters_command, import_zones_command
from waterwatch.cli.mail import mail_group
from waterwatch.cli.map import build_map_command
from waterwatch.cli.papers import count_command, make_bulletins_command
from waterwatch.cli.privacy import list_command, replay_command
from waterwatch.cli.reports import import_reports_command
from waterwatch.cli.rosters import import_chiefs_command, import_departments_command, import_operators_command
from waterwatch.cli.walk import walk_command
from waterwatch.cli.workdays import calendar_group, deadlines_group
from waterwatch.kernel import audit, migrate
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.errors import DomainError
from waterwatch.kernel.settings import Settings, SettingsError

LONG_STATEMENT_S = 600.0


def _refuse(sentence: str, *, exit_code: int = 1) -> NoReturn:
    click.echo(sentence, err=True)
    raise SystemExit(exit_code)


def _settings() -> Settings:
    try:
        return Settings.from_environ()
    except SettingsError as error:
        _refuse("设置不可用 · the settings are not usable:\n  " + "\n  ".join(error.faults), exit_code=2)


@contextmanager
def _session(settings: Settings) -> Iterator[Session]:
    """One transaction of a command; what the domain refuses becomes a sentence and exit code 1."""
    engine = make_engine(settings.database_url, statement_timeout_s=LONG_STATEMENT_S, pool_size=1)
    try:
        with transaction(make_sessions(engine)) as session:
            yield session
    except DomainError as error:
        found = getattr(error, "errors", None) or error.facts
        facts = ", ".join(f"{key}={value}" for key, value in found.items())
        _refuse(f"被拒绝 · refused: {error.error_code} {facts}".rstrip())
    finally:
        engine.dispose()


@click.group(help="江湖網·預警圖 · WaterWatch: the operators' commands")
def main() -> None:
    """The group every command belongs to."""


@main.command("migrate")
def migrate_command() -> None:
    """Bring the database to the schema this version expects."""
    settings = _settings()
    migrate.upgrade(settings.migration_database_url or settings.database_url)
    click.echo(f"数据库结构已是 · the schema is at: {migrate.expected_head()}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    """Check one by one what the system needs; say for each fault what to do."""
    findings = examine()
    if as_json:
        click.echo(json.dumps([finding.as_dict() for finding in findings], ensure_ascii=False, indent=2))
    else:
        for finding in findings:
            click.echo(render(finding))
    if not all(finding.is_ok for finding in findings):
        raise SystemExit(1)


@main.group("audit")
def audit_group() -> None:
    """The sealed record of who did what."""


@audit_group.command("verify")
def verify_audit() -> None:
    """Recompute the whole chain; exit code 1 when an entry was changed or removed."""
    with _session(_settings()) as session:
        verdict = audit.verify(session)
    if not verdict.is_whole:
        _refuse(f"审计链在第 {verdict.broken_at} 条断裂 · the chain breaks at {verdict.broken_at}: {verdict.reason}")
    click.echo(f"审计链完整 · the chain is whole: {verdict.sealed} sealed, {verdict.unsealed} waiting for their seal")


@main.group("privacy")
def privacy_group() -> None:
    """What was erased, and must be erased again after a restore."""


for _command in (list_command, replay_command):
    privacy_group.add_command(_command)


for _group in (mail_group, case_group, calendar_group, deadlines_group, gauges_group):
    main.add_command(_group)


@main.group("waters")
def waters_group() -> None:
    """Rivers and lakes."""


@waters_group.command("load-builtin")
def load_waters() -> None:
    """Load the rivers and lakes that come with the program; what is there already stays."""
    from waterwatch.waters.service import load_builtin

    with _session(_settings()) as session:
        report = load_builtin(session, now=utc_now())
    click.echo(f"内置水体已载入 · the built-in waters are loaded: {report.waters} waters, {report.features} features")


for _command in (import_waters_command, walk_command):
    waters_group.add_command(_command)


@main.group("map")
def map_group() -> None:
    """The public map."""


map_group.add_command(build_map_command)


@main.group("zones")
def zones_group() -> None:
    """Zones of protection: drinking water, reserves, bathing waters, intakes."""


for _command in (import_zones_command, import_operators_command):
    zones_group.add_command(_command)


@main.group("bulletins")
def bulletins_group() -> None:
    """What departments are told of their waters, quarter by quarter."""


bulletins_group.add_command(make_bulletins_command)


@main.group("accountability")
def accountability_group() -> None:
    """How departments answered."""


accountability_group.add_command(count_command)


@main.group("reports")
def reports_group() -> None:
    """What citizens saw."""


reports_group.add_command(import_reports_command)


@main.group("agencies")
def agencies_group() -> None:
    """Departments and what they are competent for."""


@agencies_group.command("load-builtin")
def load_agencies() -> None:
    """Load the departments that come with the program; what is there already stays."""
    from waterwatch.agencies.service import load_builtin

    with _session(_settings()) as session:
        load_builtin(session, now=utc_now())
    click.echo("内置部门已载入 · the built-in agencies are loaded")


agencies_group.add_command(coverage_command)


@agencies_group.group("import")
def agencies_import_group() -> None:
    """Bring in areas, departments and river chiefs of your own."""


for _command in (import_areas_command, import_departments_command, import_chiefs_command):
    agencies_import_group.add_command(_command)


@main.command("demo-data")
def demo_data() -> None:
    """Make the demo's people, and print each one's log-in with the second factor's current code. Demo mode only."""
    settings = _settings()
    if settings.mode != "demo":
        _refuse(
            "只能在演示模式下使用 · only in demo mode (WATERWATCH_MODE=demo): these passwords are public", exit_code=2
        )
    from waterwatch.accounts.service import load_demo_people, totp_factory

    with _session(settings) as session:
        people = load_demo_people(session, settings=settings, now=utc_now())
    for person in people:
        code = totp_factory(settings)(key=person.totp_secret, format="base32").generate().token
        click.echo(f"{person.role:16} {person.email:28} {person.password:20} {code}")


@main.group("users")
def users_group() -> None:
    """People who log in."""


@users_group.command("create")
@click.argument("email")
@click.option("--role", type=click.Choice(sorted(ROLES)), required=True)
@click.option("--agency", "agency_code", help="The department's code, for an agency officer.")
@click.password_option(help="Asked for when not given.")
def create_user(email: str, role: str, agency_code: str | None, password: str) -> None:
    """Make an account; staff set up their second factor at the first log-in."""
    from waterwatch.accounts.service import CreatePerson, create_person

    with _session(_settings()) as session:
        command = CreatePerson(email, password, role, agency_code)
        create_person(session, command, actor=audit.Actor.system("operator"), now=utc_now())
    click.echo(f"已建立账号 · the account is made: {email} ({role})")


@main.group("clients")
def clients_group() -> None:
    """Applications that report for people over the API."""


@clients_group.command("add")
@click.argument("name")
@click.option("--rate-limit", default="600/hour", show_default=True, help="Reports and photos it may send.")
def add_client_command(name: str, rate_limit: str) -> None:
    """Make a token for an application; it is shown this once."""
    from waterwatch.accounts.service import add_client

    with _session(_settings()) as session:
        token = add_client(session, name, rate_limit, actor=audit.Actor.system("operator"), now=utc_now())
    click.echo(f"令牌只显示这一次，请交给应用 · the token, shown this once: {token}")


@clients_group.command("list")
def list_clients_command() -> None:
    """Which applications there are."""
    from waterwatch.accounts.queries import clients

    with _session(_settings()) as session:
        for client in clients(session):
            state = "已停用 · revoked" if client.revoked_at else "可用 · active"
            click.echo(f"{client.name:32} {client.rate_limit:20} {state}")


@clients_group.command("revoke")
@click.argument("name")
def revoke_client_command(name: str) -> None:
    """Stop a token for good; what the application reported stays."""
    from waterwatch.accounts.service import revoke_client

    with _session(_settings()) as session:
        revoke_client(session, name, actor=audit.Actor.system("operator"), now=utc_now())
    click.echo(f"已停用 · revoked: {name}")
