"""``waterwatch doctor`` finds exactly the fault there is, and says what to do about it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from tests.advisories.rows import add_chain
from tests.escalation.rows import insert
from waterwatch.cli import main
from waterwatch.cli.doctor import Finding, examine
from waterwatch.kernel.db import make_engine
from waterwatch.kernel.settings import Settings, environment_name
from workers.processes import pick_free_port

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def mail_server() -> Iterator[str]:
    controller = Controller(Sink(), hostname="127.0.0.1", port=pick_free_port())
    controller.start()
    yield f"smtp://127.0.0.1:{controller.port}"
    controller.stop()


@pytest.fixture
def environment(
    tmp_path: Path, database_url: str, redis_url: str, mail_server: str, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """The environment of a healthy system."""
    front_end = tmp_path / "dist"
    (front_end / ".vite").mkdir(parents=True)
    (front_end / ".vite" / "manifest.json").write_text('{"map.ts": {"file": "map-1.js"}}')
    (front_end / "map-1.js").write_text("")
    for field in Settings.model_fields:
        monkeypatch.delenv(environment_name(field), raising=False)
    values = {
        "WATERWATCH_MODE": "test",
        "WATERWATCH_SECRET_KEY": SECRET,
        "WATERWATCH_PUBLIC_URL": "http://localhost",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SMTP_URL": mail_server,
        "WATERWATCH_OBJECTS_URL": (tmp_path / "objects").as_uri(),
        "WATERWATCH_SPOOL_DIR": str(tmp_path / "spool"),
        "WATERWATCH_PUBLISH_DIR": str(tmp_path / "published"),
        "WATERWATCH_FRONT_END_DIR": str(front_end),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def faults() -> dict[str, Finding]:
    """What the doctor finds wrong, leaving out what depends on how this checkout was built, or on the year."""
    left_out = {"packages", "catalogs", "fonts", "calendar"}
    return {f.check: f for f in examine() if not f.is_ok and f.check not in left_out}


def test_a_healthy_system_has_no_fault(environment: pytest.MonkeyPatch) -> None:
    assert faults() == {}


def test_a_year_without_its_working_days_is_named_with_the_command_that_loads_it(
    environment: pytest.MonkeyPatch, engine: Engine
) -> None:
    def found() -> Finding:
        return next(finding for finding in examine() if finding.check == "calendar")

    missing = found()
    assert (missing.is_ok, "waterwatch calendar load" in missing.remedy) == (False, True)
    with engine.begin() as connection:
        connection.execute(
            text("""INSERT INTO workday (day, is_working)
                    SELECT day, true FROM generate_series(current_date, current_date + 366, interval '1 day') day""")
        )
    assert found().is_ok


def test_it_says_what_warnings_downstream_rest_on(environment: pytest.MonkeyPatch, engine: Engine) -> None:
    def said() -> dict[str, str]:
        found = {finding.check: finding for finding in examine() if finding.check in ("network", "gauges", "intakes")}
        assert all(finding.is_ok for finding in found.values())
        return {check: finding.detail for check, finding in found.items()}

    assert said() == {
        "network": "0 reaches, none with discharge and drainage area: warnings downstream say how far, not when",
        "gauges": "no readings: rivers are taken to carry 1 × their mean",
        "intakes": "0 intakes",
    }
    with Session(engine) as session, session.begin():
        river = add_chain(session, 3)
        add_chain(session, 1, dis_av_cms=None, lat=31)
        session.execute(text("UPDATE water_feature SET slope = 0.001 WHERE id = :id"), {"id": river.ids[0]})
        gauges = "INSERT INTO gauge_reading VALUES (:id, 30, now() - interval '3 hours', '试站')"
        session.execute(text(gauges), {"id": river.feature_ids[0]})
        insert(
            session, "protected_zone", kind="intake", geom="POINT(114.3 30.5)", source_key="a",
            source_id=session.execute(text("SELECT id FROM source LIMIT 1")).scalar_one(),
        )  # fmt: skip
    assert said() == {
        "network": "4 reaches, 75% with discharge and drainage area, 25% with slope",
        "gauges": "the newest reading is 3.0 h old",
        "intakes": "1 intakes, 1 without an operator in office (waterwatch zones operators)",
    }
    environment.setenv("WATERWATCH_GAUGE_FRESH_S", "3600")
    assert "too old to be reckoned with" in said()["gauges"]


def test_every_unusable_setting_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("WATERWATCH_SECRET_KEY")
    environment.setenv("WATERWATCH_PUBLIC_URL", "nowhere")
    fault = faults()["settings"]
    assert "WATERWATCH_SECRET_KEY: is not set" in fault.detail
    assert "WATERWATCH_PUBLIC_URL" in fault.detail


def test_a_database_that_does_not_answer_is_named_without_its_password(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", "postgresql://somebody:hidden-word@127.0.0.1:9/none")
    found = faults()
    assert set(found) == {"database", "schema", "role", "clock"}
    assert "onnection" in found["database"].detail
    assert "hidden-word" not in json.dumps([finding.as_dict() for finding in found.values()])


def test_an_older_schema_is_named_with_the_command_that_mends_it(
    environment: pytest.MonkeyPatch, database_url: str
) -> None:
    engine = make_engine(database_url, role=None)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    engine.dispose()
    found = faults()
    assert set(found) == {"schema"}
    assert found["schema"].detail.startswith("the database is at 0000, this version expects ")
    assert found["schema"].remedy == "Run: waterwatch migrate"


def test_a_database_never_migrated_is_a_fault_of_postgis_schema_and_nothing_else(
    environment: pytest.MonkeyPatch, database_url: str
) -> None:
    engine = make_engine(database_url, role=None)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
    engine.dispose()
    found = faults()
    assert set(found) == {"database", "schema"}
    assert "without PostGIS" in found["database"].detail


def test_a_redis_that_does_not_answer_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    assert set(faults()) == {"redis"}


def test_a_mail_server_that_does_not_answer_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SMTP_URL", "smtp://127.0.0.1:9")
    found = faults()
    assert set(found) == {"smtp"}
    assert found["smtp"].detail.startswith("127.0.0.1:9: ")


def test_a_folder_that_cannot_be_made_is_named_with_its_setting(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    environment.setenv("WATERWATCH_SPOOL_DIR", str(tmp_path / "file" / "spool"))
    found = faults()
    assert set(found) == {"spool"}
    assert "WATERWATCH_SPOOL_DIR" in found["spool"].remedy


def test_an_object_store_that_cannot_be_written_is_named(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environment.setenv("WATERWATCH_OBJECTS_URL", (tmp_path / "file" / "objects").as_uri())
    assert set(faults()) == {"objects"}


def test_a_front_end_that_is_not_built_is_named(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dist" / "map-1.js").unlink()
    found = faults()
    assert set(found) == {"front_end"}
    assert "map-1.js" in found["front_end"].detail
    assert "bin/build" in found["front_end"].remedy


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_the_command_ends_with_1_when_something_is_wrong_and_prints_json(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    result = run("doctor", "--json")
    findings = {finding["check"]: finding for finding in json.loads(result.output)}
    assert result.exit_code == 1
    assert not findings["redis"]["is_ok"]
    assert findings["database"]["is_ok"]


def test_unusable_settings_end_a_command_with_2(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("DATABASE_URL")
    result = run("migrate")
    assert result.exit_code == 2
    assert "DATABASE_URL: is not set" in result.output


def test_migrating_twice_is_harmless(environment: pytest.MonkeyPatch) -> None:
    assert run("migrate").exit_code == 0
    assert run("migrate").exit_code == 0


def test_an_untouched_audit_is_whole(environment: pytest.MonkeyPatch) -> None:
    result = run("audit", "verify")
    assert result.exit_code == 0
    assert "0 sealed" in result.output


def test_demo_people_are_refused_outside_the_demo(environment: pytest.MonkeyPatch) -> None:
    result = run("demo-data")
    assert result.exit_code == 2
    assert "WATERWATCH_MODE=demo" in result.output


def test_an_account_is_made_once_and_a_second_time_refused(environment: pytest.MonkeyPatch) -> None:
    arguments = ("users", "create", "ann@example.org", "--role", "moderator", "--password", "a long enough password")
    first = run(*arguments)
    assert first.exit_code == 0, first.output
    second = run(*arguments)
    assert second.exit_code == 1
    assert "email_taken" in second.output


def test_every_fault_of_an_account_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    result = run("users", "create", "nobody", "--role", "moderator", "--password", "short")
    assert result.exit_code == 1
    assert "email_invalid" in result.output
    assert "password_too_short" in result.output


def test_demo_people_get_the_current_code_of_their_second_factor(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WATERWATCH_MODE", "demo")
    result = run("demo-data")
    assert result.exit_code == 0, result.output
    assert {line.split()[0] for line in result.output.splitlines()} >= {"moderator", "agency_officer", "admin"}
    assert all(len(line.split()[-1]) == 6 and line.split()[-1].isdigit() for line in result.output.splitlines())
