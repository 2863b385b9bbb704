"""What the demo shows when it is new: waters, agencies, people to log in as, and the words that say where to go."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from sqlalchemy import Engine, text

from workers.progress import Progress

ROOMS = Path(__file__).resolve().parents[1] / "waterwatch"
ROLE_NAMES = {
    "citizen": "市民 · citizen",
    "moderator": "审核员 · moderator",
    "lead_moderator": "审核组长 · lead moderator",
    "agency_officer": "部门经办人 · agency officer",
    "admin": "管理员 · administrator",
}
# The built-in waters carry no discharge, so that nothing below them would have a time. The demonstration gives the two
# rivers of Wuhan what they carry there: drainage area in km², mean discharge in m³/s, and between which longitudes that
# is about right. Rounded, from common knowledge; whoever imports a river data set has real ones.
DEMO_FLOWS = (("w-yangtze", 1_488_000, 22_500, 113.2, 116.2), ("w-hanjiang", 142_000, 1_500, 112.0, 114.4))
_GIVE_FLOW = text("""
UPDATE water_feature SET upland_skm = :area_skm, dis_av_cms = :discharge_cms
WHERE kind = 'reach' AND retired_at IS NULL AND dis_av_cms IS NULL
  AND ST_XMin(geom) > :west AND ST_XMax(geom) < :east
  AND water_body_id = (SELECT id FROM water_body WHERE public_id = :river)
""")


@dataclass(frozen=True)
class DemoLogin:
    """A person of the demo one can log in as. ``totp_secret`` is the second factor's, or None without one."""

    email: str
    password: str
    role: str
    totp_secret: str | None


def load_contents(progress: Progress, stamp: Path) -> list[DemoLogin]:
    """Load the built-in waters, agencies and demo people into the database that ``DATABASE_URL`` names.

    What is there already stays as it is. ``stamp`` is a file that remembers what was loaded where, so that a start that
    finds nothing new does not spend seconds on comparing.
    """
    with progress.step("准备载入示例", "preparing to load the contents"):
        from waterwatch.accounts.service import load_demo_people
        from waterwatch.agencies.service import load_builtin as load_agencies
        from waterwatch.kernel.audit import Actor
        from waterwatch.kernel.clock import utc_now
        from waterwatch.kernel.db import make_engine, make_sessions, transaction
        from waterwatch.kernel.settings import Settings
        from waterwatch.waters.service import load_builtin as load_waters
        from waterwatch.waters.service import network_changed
        from waterwatch.workdays.known import packaged
        from waterwatch.workdays.queries import loaded_years
        from waterwatch.workdays.service import load as load_calendar

        settings = Settings.from_environ()
        engine = make_engine(settings.database_url, statement_timeout_s=300)
        sessions = make_sessions(engine)
        content = _digest_contents(settings.database_url)
    if not _is_loaded(engine) or not stamp.exists() or stamp.read_text() != content:
        with progress.step("载入内置水体", "loading the built-in waters"), transaction(sessions) as session:
            load_waters(session, now=utc_now())
            for river, area, discharge, west, east in DEMO_FLOWS:
                given = {"river": river, "area_skm": area, "discharge_cms": discharge, "west": west, "east": east}
                session.execute(_GIVE_FLOW, given)
            network_changed(session)
        with progress.step("载入内置部门", "loading the built-in agencies"), transaction(sessions) as session:
            load_agencies(session, now=utc_now())
        stamp.write_text(content)
    with transaction(sessions) as session:
        has_calendar = bool(loaded_years(session))
    if not has_calendar:
        with progress.step("载入工作日历", "loading the calendar of working days"), transaction(sessions) as session:
            load_calendar(session, packaged(), actor=Actor.system("demo"), now=utc_now())
    with progress.step("准备演示人员", "making the demo people"), transaction(sessions) as session:
        people = load_demo_people(session, settings=settings, now=utc_now())
    engine.dispose()
    return [DemoLogin(person.email, person.password, person.role, person.totp_secret) for person in people]


def _digest_contents(database_url: str) -> str:
    """One digest of every built-in file, of the code that reads them, and of where they go."""
    digest = hashlib.sha256(database_url.encode() + repr(DEMO_FLOWS).encode())
    for room in ("waters", "agencies"):
        files = [ROOMS / room / "service.py", *sorted((ROOMS / room / "builtin").iterdir())]
        for path in files:
            if path.is_file():
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _is_loaded(engine: Engine) -> bool:
    """Whether this very database has ever been given both."""
    statement = "SELECT count(DISTINCT action) FROM audit_entry WHERE action IN ('waters.loaded', 'agencies.loaded')"
    with engine.connect() as connection:
        return bool(connection.execute(text(statement)).scalar_one() == 2)


def print_welcome(progress: Progress, url: str, mailbox_url: str | None, logins: Sequence[DemoLogin]) -> None:
    """Say that everything runs, where, and whom to log in as."""
    addresses = [
        ("公众地图 · public map", f"{url}/"),
        ("拍照上报 · report with a photo", f"{url}/report"),
        ("工作人员登录 · staff log in", f"{url}/login"),
        ("审核台 · moderators' desk", f"{url}/desk"),
    ]
    if mailbox_url is not None:
        addresses.append(("演示邮箱 · the mail that was sent", mailbox_url))
    people = [
        ("角色 · role", "邮箱 · e-mail", "密码 · password", "两步验证密钥 · second factor"),
        *((ROLE_NAMES.get(who.role, who.role), who.email, who.password, who.totp_secret or "") for who in logins),
    ]
    progress.say(f"\n江湖網·預警圖 · WaterWatch: {progress.elapsed_s:.0f} s\n")
    for rows in (addresses, people):
        for line in _align(rows):
            progress.say(line)
        progress.say("")
    progress.say("两步验证的当前口令 · the second factor's current code: bin/waterwatch demo-data")
    progress.say("按 Ctrl-C 停止全部 · Ctrl-C stops everything")


def _align(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines of even columns; a Chinese character is two columns wide. A narrow window cuts nothing off."""
    widths = [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
