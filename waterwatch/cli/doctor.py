"""``waterwatch doctor``: everything the system needs, looked at one by one, each fault with what to do about it."""

import importlib.metadata
import json
import os
import re
import shutil
import smtplib
import ssl
import sys
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from waterwatch.kernel import migrate
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import APP_ROLE, make_engine
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings, SettingsError
from waterwatch.messaging.smtp import Server, parse_url
from waterwatch.workdays.rules import missing_years

CHECKOUT = Path(__file__).resolve().parents[2]
MIN_PYTHON = (3, 11)
MIN_POSTGIS = (3, 3)  # Debian 12's
MIN_FREE_BYTES = 1024**3  # forty uploads of the largest size, while somebody is told
MAX_CLOCK_DIFFERENCE_S = 2.0
TIMEOUT_S = 5.0
FONT_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".fonts")


class Fault(Exception):
    """Something is not as the system needs it. ``remedy`` says what a person can do."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy


@dataclass(frozen=True)
class Finding:
    """The outcome of one check. ``check`` is a stable name; ``remedy`` is empty when all is well."""

    check: str
    title: str
    is_ok: bool
    detail: str
    remedy: str = ""

    def as_dict(self) -> dict[str, object]:
        """For ``--json``."""
        return asdict(self)


def render(finding: Finding) -> str:
    """One line for a finding, and one more with what to do when something is wrong."""
    line = f"{'✓' if finding.is_ok else '✗'} {finding.title}: {finding.detail}"
    return line if finding.is_ok else f"{line}\n    → {finding.remedy}"


def examine() -> list[Finding]:
    """Run every check. A check that needs settings is reported as not run while the settings are unusable."""
    findings = [_look("python", "Python", _check_python), _look("packages", "软件包 · packages", _check_packages)]
    try:
        settings = Settings.from_environ()
    except SettingsError as error:
        remedy = "Set these environment variables (docs/operations.md); the demo's are used by bin/waterwatch."
        findings.append(Finding("settings", "设置 · settings", False, "; ".join(error.faults), remedy))
        return findings + [_look(name, title, check) for name, title, check in _PLAIN_CHECKS]
    findings.append(Finding("settings", "设置 · settings", True, f"mode {settings.mode}, secret set"))
    findings += [_look(name, title, lambda check=check: check(settings)) for name, title, check in _CHECKS]  # type: ignore[misc]
    return findings + [_look(name, title, check) for name, title, check in _PLAIN_CHECKS]


def _look(name: str, title: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, title, True, check())
    except Fault as fault:
        return Finding(name, title, False, fault.detail, fault.remedy)
    except Exception as error:  # a check that breaks is itself a finding, and the next ones still run
        return Finding(name, title, False, f"{type(error).__name__}: {error}", "This check itself failed; report it.")


def _check_python() -> str:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < MIN_PYTHON:
        raise Fault(f"{version} is too old", "Use Python 3.11 or newer.")
    return version


def _check_packages() -> str:
    """Every pin of requirements/base.lock is installed at exactly that version."""
    lock = CHECKOUT / "requirements" / "base.lock"
    if not lock.exists():
        raise Fault(f"{lock} is missing", "Run from a complete checkout.")
    pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ \\;]+)( *;)?", lock.read_text(), re.MULTILINE)
    wrong = []
    for name, wanted, marker in pins:
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if not marker:
                wrong.append(f"{name} is missing")
            continue
        if found != wanted:
            wrong.append(f"{name} is {found}, not {wanted}")
    if wrong:
        raise Fault("; ".join(wrong), "Install them: pip install --require-hashes -r requirements/base.lock")
    return f"{len(pins)} as locked"


def _check_database(settings: Settings) -> str:
    remedy = "Check DATABASE_URL and that PostgreSQL runs there."
    server = _ask(settings, "SHOW server_version", remedy)
    postgis = _ask(settings, "SELECT max(extversion) FROM pg_extension WHERE extname = 'postgis'", remedy)
    if postgis is None:
        raise Fault(f"PostgreSQL {server} without PostGIS in this database", "Run: waterwatch migrate")
    if tuple(int(part) for part in re.findall(r"\d+", str(postgis))[:2]) < MIN_POSTGIS:
        raise Fault(f"PostGIS {postgis} is too old", "Install PostGIS 3.3 or newer.")
    return f"PostgreSQL {server}, PostGIS {postgis}"


def _check_schema(settings: Settings) -> str:
    engine = migrate.owner_engine(settings.database_url)
    try:
        found = migrate.current_revision(engine)
    except SQLAlchemyError as error:
        raise Fault(_first_line(error), "Mend the database first.") from None
    finally:
        engine.dispose()
    expected = migrate.expected_head()
    if found != expected:
        raise Fault(f"the database is at {found}, this version expects {expected}", "Run: waterwatch migrate")
    return expected


def _check_role(settings: Settings) -> str:
    """The application's connections must be able to give up the login role's rights."""
    remedy = "Run: waterwatch migrate (it makes the role and lets this login use it)"
    return str(_ask(settings, "SELECT current_user", remedy, role=APP_ROLE))


def _check_clock(settings: Settings) -> str:
    database_now = _ask(settings, "SELECT clock_timestamp()", "Mend the database first.")
    difference_s = (database_now - utc_now()).total_seconds()
    if abs(difference_s) > MAX_CLOCK_DIFFERENCE_S:
        raise Fault(f"the database's clock differs by {difference_s:+.1f} s", "Run a time service (NTP) on both.")
    return f"{difference_s:+.2f} s"


def _check_calendar(settings: Settings) -> str:
    """The years deadlines are counted in: without them a week-long holiday counts as working days."""
    remedy = "Run: waterwatch calendar load (or: … load FILE.csv with day,is_working, from the State Council's notice)"
    years = _ask(settings, "SELECT array_agg(DISTINCT extract(year FROM day)::int) FROM workday", remedy) or []
    if missing := missing_years(years, utc_now().date()):
        raise Fault(f"missing: {', '.join(map(str, missing))}", remedy)
    return f"{min(years)}–{max(years)}"


_NETWORK = """
SELECT ARRAY[count(*), count(*) FILTER (WHERE dis_av_cms > 0 AND upland_skm > 0), count(*) FILTER (WHERE slope > 0)]
FROM water_feature WHERE kind = 'reach' AND retired_at IS NULL
"""
_INTAKES = """
SELECT ARRAY[count(*), count(*) FILTER (WHERE a.id IS NULL)]
FROM protected_zone z LEFT JOIN agency a ON a.id = z.operator_id AND a.retired_at IS NULL
WHERE z.kind = 'intake' AND z.retired_at IS NULL
"""


# What warnings rest on is no fault where it is not there: they say less then.
_UNKNOWN = "not known while the database is as told above"


def _check_network(settings: Settings) -> str:
    """Of how many reaches a warning can say when; without any it says how far."""
    found = _ask_or_none(settings, _NETWORK)
    if found is None:
        return _UNKNOWN
    reaches, timed, sloping = found
    if not timed:
        return f"{reaches} reaches, none with discharge and drainage area: warnings downstream say how far, not when"
    told = f"{reaches} reaches, {timed / reaches:.0%} with discharge and drainage area"
    return f"{told}, {sloping / reaches:.0%} with slope"


def _check_gauges(settings: Settings) -> str:
    """How old the newest reading is; without any, rivers carry what the settings say."""
    found = _ask_or_none(settings, "SELECT ARRAY[max(measured_at)] FROM gauge_reading")
    if found is None:
        return _UNKNOWN
    (newest,) = found
    if newest is None:
        return f"no readings: rivers are taken to carry {settings.flow_ratio:g} × their mean"
    age_s = (utc_now() - newest).total_seconds()
    told = f"the newest reading is {age_s / 3600:.1f} h old"
    return told if age_s < settings.gauge_fresh_s else f"{told}, too old to be reckoned with (waterwatch gauges import)"


def _check_intakes(settings: Settings) -> str:
    """How many intakes have nobody to be told of what comes down the river."""
    found = _ask_or_none(settings, _INTAKES)
    if found is None:
        return _UNKNOWN
    intakes, nobodys = found
    told = f"{intakes} intakes"
    return f"{told}, {nobodys} without an operator in office (waterwatch zones operators)" if nobodys else told


def _ask_or_none(settings: Settings, statement: str) -> list[Any] | None:
    """The list a statement answers with; None from a database that other checks have found at fault."""
    try:
        found: list[Any] = _ask(settings, statement, "")
    except Fault:
        return None
    return found


def _ask(settings: Settings, statement: str, remedy: str, *, role: str | None = None) -> Any:
    """The one value a statement answers with. Raises :class:`Fault` with ``remedy`` when the database does not."""
    engine = make_engine(settings.database_url, role=role, statement_timeout_s=TIMEOUT_S, pool_size=1)
    try:
        with engine.connect() as connection:
            return connection.execute(text(statement)).scalar_one()
    except SQLAlchemyError as error:
        raise Fault(_first_line(error), remedy) from None
    finally:
        engine.dispose()


def _check_redis(settings: Settings) -> str:
    client = redis.Redis.from_url(settings.redis_url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
    try:
        facts = cast("dict[str, Any]", client.info("server"))  # the library's type also covers its asynchronous client
        return f"Redis {facts['redis_version']}"
    except redis.RedisError as error:
        raise Fault(_first_line(error), "Check REDIS_URL and that Redis runs there.") from None
    finally:
        client.close()


def _check_smtp(settings: Settings) -> str:
    """Greets the mail server (EHLO), over TLS where the address asks for it, and leaves; sends nothing."""
    try:
        server = parse_url(settings.smtp_url)
    except ValueError as error:
        raise Fault(str(error), "Mend SMTP_URL.") from None
    place = f"{server.host}:{server.port}"
    try:
        with _greet(server) as client:
            code, _ = client.ehlo()
    except (OSError, smtplib.SMTPException) as error:
        raise Fault(f"{place}: {_first_line(error)}", "Check SMTP_URL and that the mail server runs there.") from None
    if code != 250:
        raise Fault(f"{place} answers {code} to EHLO", "Use a mail server that speaks ESMTP.")
    return f"{place} answers ({server.scheme})"


def _greet(server: Server) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if server.scheme == "smtps":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=context)
    client = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
    if server.scheme == "smtp+starttls":
        client.starttls(context=context)
    return client


def _check_objects(settings: Settings) -> str:
    """Writes, reads and removes one small object."""
    key, content = f"probe/doctor-{uuid.uuid4().hex}", os.urandom(32)
    try:
        store = ObjectStore(settings.objects_url)
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            store.put_file(key, Path(file.name))
        found = b"".join(store.open(key))
        store.delete(key)
    except Exception as error:  # the store's library raises many kinds; each means the same here
        raise Fault(
            _first_line(error), "Check WATERWATCH_OBJECTS_URL, the folder's owner or the bucket's keys."
        ) from None
    if found != content:
        raise Fault("what was read is not what was written", "Check the object store.")
    return f"{urlsplit(settings.objects_url).scheme} store keeps what it is given"


def _check_spool(settings: Settings) -> str:
    free_bytes = _check_folder(settings.spool_dir, "WATERWATCH_SPOOL_DIR")
    if free_bytes < MIN_FREE_BYTES:
        raise Fault(f"only {free_bytes // 1024**2} MiB free in {settings.spool_dir}", "Free at least 1 GiB there.")
    return f"{settings.spool_dir}, {free_bytes / 1024**3:.1f} GiB free"


def _check_proxy_bodies(settings: Settings) -> str:
    """The proxy's folder is taken over from by renames, so it lies on the spool's file system."""
    folder = settings.proxy_bodies_dir
    if folder is None:
        return "not set: photos come through the application"
    _check_folder(folder, "WATERWATCH_PROXY_BODIES_DIR")
    if folder.stat().st_dev != settings.spool_dir.stat().st_dev:
        raise Fault(
            f"{folder} is on another file system than {settings.spool_dir}",
            "Set WATERWATCH_PROXY_BODIES_DIR to a folder beside it.",
        )
    return str(folder)


def _check_publish(settings: Settings) -> str:
    _check_folder(settings.publish_dir, "WATERWATCH_PUBLISH_DIR")
    return str(settings.publish_dir)


def _check_folder(folder: Path, variable: str) -> int:
    """The free bytes of a folder that can be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"probe")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        remedy = f"Let this user write there, or set {variable} to another folder."
        raise Fault(f"{folder} cannot be written: {error.strerror}", remedy) from None
    return shutil.disk_usage(folder).free


def _check_front_end(settings: Settings) -> str:
    manifest = settings.front_end_dir / ".vite" / "manifest.json"
    if not manifest.exists():
        raise Fault(f"{manifest} is missing", "Build the front end: bin/build")
    entries = json.loads(manifest.read_text(encoding="utf-8"))
    missing = sorted(
        entry["file"] for entry in entries.values() if not (settings.front_end_dir / entry["file"]).exists()
    )
    if missing:
        raise Fault(f"built files are missing: {', '.join(missing)}", "Build the front end again: bin/build")
    return f"{len(entries)} modules built"


def _check_catalogs() -> str:
    catalogs = sorted((CHECKOUT / "waterwatch").rglob("*.po"))
    stale = [
        str(po.relative_to(CHECKOUT))
        for po in catalogs
        if not po.with_suffix(".mo").exists() or po.with_suffix(".mo").stat().st_mtime < po.stat().st_mtime
    ]
    if stale:
        raise Fault(f"not compiled: {', '.join(stale)}", "Compile them: bin/build")
    return f"{len(catalogs)} compiled"


def _check_fonts() -> str:
    for folder in FONT_FOLDERS:
        for pattern in ("*CJK*.tt[cf]", "*CJK*.otf", "wqy*.tt[cf]", "*SourceHan*.ot[cf]"):
            if font := next(folder.rglob(pattern), None):
                return font.name
    raise Fault("no font with Chinese characters was found", "Install one: apt-get install fonts-noto-cjk")


def _first_line(error: BaseException) -> str:
    """The first line of what an exception says, without the addresses and passwords that further lines may carry."""
    origin = getattr(error, "orig", None) or error
    line = next(iter(str(origin).strip().splitlines()), "")
    return re.sub(r"://[^@\s/]*@", "://…@", line) or type(origin).__name__


_CHECKS: tuple[tuple[str, str, Callable[[Settings], str]], ...] = (
    ("database", "数据库 · database", _check_database),
    ("schema", "数据库结构 · schema", _check_schema),
    ("role", "受限角色 · restricted role", _check_role),
    ("clock", "时钟差 · clock against the database", _check_clock),
    ("calendar", "工作日历 · working days", _check_calendar),
    ("network", "河网 · flow network", _check_network),
    ("gauges", "水文站 · gauges", _check_gauges),
    ("intakes", "取水口 · intakes", _check_intakes),
    ("redis", "Redis", _check_redis),
    ("smtp", "邮件服务器 · mail server", _check_smtp),
    ("objects", "照片存储 · object store", _check_objects),
    ("spool", "上传暂存 · spool", _check_spool),
    ("proxy_bodies", "反向代理的文件 · files of the proxy", _check_proxy_bodies),
    ("publish", "发布目录 · published maps", _check_publish),
    ("front_end", "前端 · front end", _check_front_end),
)
_PLAIN_CHECKS: tuple[tuple[str, str, Callable[[], str]], ...] = (
    ("catalogs", "界面翻译 · translations", _check_catalogs),
    ("fonts", "中文字体 · Chinese font", _check_fonts),
)
