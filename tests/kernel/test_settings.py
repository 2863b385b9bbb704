"""Settings: from the environment, all faults at once, nothing dangerous by default."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from waterwatch.kernel.settings import Settings, SettingsError, environment_name

GOOD = {
    "WATERWATCH_SECRET_KEY": "x" * 40,
    "WATERWATCH_PUBLIC_URL": "https://waters.example.org/",
    "WATERWATCH_OBJECTS_URL": "file:///var/lib/waterwatch/objects",
    "WATERWATCH_SPOOL_DIR": "/var/lib/waterwatch/spool",
    "WATERWATCH_PUBLISH_DIR": "/var/lib/waterwatch/published",
    "DATABASE_URL": "postgresql://localhost/waterwatch",
    "REDIS_URL": "redis://localhost/0",
    "SMTP_URL": "smtp://localhost",
    "WATERWATCH_MAIL_FROM": "waterwatch@example.org",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Exactly what a small production needs, and nothing of the machine's own."""
    for name in Settings.model_fields:
        monkeypatch.delenv(environment_name(name), raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def faults() -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ()
    return caught.value.faults


@pytest.mark.usefixtures("environment")
def test_production_is_the_default() -> None:
    settings = Settings.from_environ()
    assert (settings.mode, settings.is_https, settings.two_factor_required) == ("production", True, True)
    assert settings.public_url == "https://waters.example.org"


def test_every_missing_setting_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    for name in GOOD:
        environment.delenv(name)
    assert faults() == sorted(f"{name}: is not set" for name in GOOD)


def test_there_is_no_default_secret_and_no_short_one(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WATERWATCH_SECRET_KEY", "short")
    (fault,) = faults()
    assert fault.startswith("WATERWATCH_SECRET_KEY: needs at least 32 characters")
    assert "short" not in fault.removeprefix("WATERWATCH_SECRET_KEY: needs")


def test_production_refuses_to_be_served_in_the_clear(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WATERWATCH_PUBLIC_URL", "http://waters.example.org")
    assert ["https://" in fault for fault in faults()] == [True]
    environment.setenv("WATERWATCH_MODE", "demo")
    assert not Settings.from_environ().is_https


@pytest.mark.parametrize("address", ["waters.example.org", "ftp://example.org", "https://"])
def test_the_public_address_is_absolute(environment: pytest.MonkeyPatch, address: str) -> None:
    environment.setenv("WATERWATCH_PUBLIC_URL", address)
    assert any("WATERWATCH_PUBLIC_URL" in fault for fault in faults())


def test_every_fault_is_told_at_once_and_none_repeats_a_password(environment: pytest.MonkeyPatch) -> None:
    wrong = {
        "DATABASE_URL": "mysql://root:hush@localhost/x",
        "REDIS_URL": "nonsense",
        "SMTP_URL": "mail.example.org",
        "WATERWATCH_OBJECTS_URL": "nonsense",
        "WATERWATCH_MAIL_FROM": "not an address",
        "WATERWATCH_REPORT_RATE_LIMIT": "sixty an hour",
        "WATERWATCH_PUBLISH_DIR": "published",
        "WATERWATCH_PUBLIC_URL": "http://waters.example.org",
        "WATERWATCH_SECRET_KEY": "short",
    }
    for name, value in wrong.items():
        environment.setenv(name, value)
    environment.delenv("WATERWATCH_SPOOL_DIR")
    found = faults()
    assert [fault.partition(":")[0] for fault in found] == sorted([*wrong, "WATERWATCH_SPOOL_DIR"])
    assert "hush" not in str(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://localhost"),
        ("DATABASE_URL", "postgresql://localhost:port/x"),
        ("WATERWATCH_MIGRATION_DATABASE_URL", "sqlite:///x"),
        ("REDIS_URL", "redis:///0"),
        ("SMTP_URL", "smtp://"),
        ("WATERWATCH_OBJECTS_URL", "s3:///prefix"),
        ("WATERWATCH_OBJECTS_URL", "file://host/folder"),
        ("WATERWATCH_OBJECTS_URL", "file:///"),
        ("WATERWATCH_MAIL_FROM", "waterwatch@localhost"),
        ("WATERWATCH_MAIL_FROM", "江湖@example.org"),
        ("WATERWATCH_LOGIN_RATE_LIMIT", "10/fortnight"),
        ("WATERWATCH_SPOOL_DIR", "spool"),
    ],
)
def test_what_could_not_work_later_is_refused_now(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(name, value)
    (fault,) = faults()
    assert fault.startswith(f"{name}: ")


def test_a_host_in_another_script_is_answered_with_what_to_write(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WATERWATCH_PUBLIC_URL", "https://河流.example")
    assert faults() == ["WATERWATCH_PUBLIC_URL: write the host as browsers send it: xn--ovwul.example"]


@pytest.mark.parametrize("spool", ["/srv/ww", "/srv/ww/objects", "/srv/ww/objects/spool"])
def test_what_is_cleared_away_never_lies_around_what_is_kept(environment: pytest.MonkeyPatch, spool: str) -> None:
    environment.setenv("WATERWATCH_OBJECTS_URL", "file:///srv/ww/objects")
    environment.setenv("WATERWATCH_SPOOL_DIR", spool)
    (fault,) = faults()
    assert fault.startswith("WATERWATCH_SPOOL_DIR: lies in WATERWATCH_OBJECTS_URL or around it")


def test_settings_cannot_be_changed_and_hide_their_secrets(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WATERWATCH_SECRET_KEY", "hush" * 10)
    settings = Settings.from_environ()
    with pytest.raises(ValidationError):
        settings.mode = "demo"
    assert "hush" not in repr(settings)


@pytest.mark.usefixtures("environment")
def test_keys_of_two_purposes_differ() -> None:
    settings = Settings.from_environ()
    keys = {settings.derive_key(purpose) for purpose in ("session", "link/case", "link/follow")}
    assert len(keys) == 3
    assert all(key is not None and len(key) == 32 for key in keys)
    assert settings.derive_key("session", previous=True) is None


@pytest.mark.parametrize(
    "hosts", ["https://media.example.org", "media.example.org/a", "Media.example.org", "me@host", "a:b"]
)
def test_trusted_hosts_are_bare_hosts(make_settings: Callable[..., Settings], hosts: str) -> None:
    assert make_settings(media_url_hosts="media.example.org b:8443").media_url_hosts.split()[1] == "b:8443"
    with pytest.raises(ValidationError, match="media_url_hosts"):
        make_settings(media_url_hosts=hosts)
