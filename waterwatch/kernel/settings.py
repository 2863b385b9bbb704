"""Settings: frozen, from the environment, production by default, no default secret, all faults reported at once.

Every field is described in ``docs/operations.md``; a test compares the two.
"""

import hashlib
import hmac
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIN_SECRET_LENGTH = 32
MEBIBYTE = 1024 * 1024


class SettingsError(Exception):
    """The environment does not describe a system that can run. ``faults`` lists every reason, one line each."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("the settings are not usable:\n" + "\n".join(f"  - {fault}" for fault in faults))


class Settings(BaseSettings):
    """One process's settings. Read once at start, passed downward, never global."""

    model_config = SettingsConfigDict(env_prefix="WATERWATCH_", frozen=True, extra="ignore", populate_by_name=True)

    mode: Literal["production", "demo", "test"] = "production"
    secret_key: SecretStr
    secret_key_previous: SecretStr | None = None
    public_url: str
    trusted_proxies: int = Field(default=0, ge=0, le=5)

    database_url: str = Field(validation_alias="DATABASE_URL")
    migration_database_url: str | None = None
    redis_url: str = Field(validation_alias="REDIS_URL")
    smtp_url: str = Field(validation_alias="SMTP_URL")
    smtp_timeout_s: float = Field(default=10.0, gt=0, le=60)
    mail_from: str = "waterwatch@localhost"

    objects_url: str
    spool_dir: Path
    publish_dir: Path
    front_end_dir: Path = Path(__file__).resolve().parents[2] / "map_static" / "dist"

    photo_max_bytes: int = Field(default=25 * MEBIBYTE, ge=MEBIBYTE)
    photos_per_report: int = Field(default=6, ge=1, le=20)
    photo_max_pixels: int = Field(default=60_000_000, ge=1_000_000)
    original_retention_days: int = Field(default=90, ge=1)
    photo_memory_bytes: int = Field(default=1536 * MEBIBYTE, ge=256 * MEBIBYTE)
    photo_cpu_s: int = Field(default=15, ge=1, le=120)

    snap_limit_m: float = Field(default=2000.0, gt=0)
    report_rate_limit: str = "60/hour;600/day"
    login_rate_limit: str = "10/minute;100/hour"
    page_rate_limit: str = "600/minute"
    two_factor_required: bool = True

    acknowledge_link_days: int = Field(default=30, ge=1)
    in_review_deadline_s: int = Field(default=24 * 3600, ge=60)
    sanitise_deadline_s: int = Field(default=120, ge=5)
    delivery_deadline_s: int = Field(default=15 * 60, ge=5)
    review_lease_s: int = Field(default=600, ge=30)

    relay_window: int = Field(default=64, ge=1)
    outbox_lease_s: float = Field(default=15.0, ge=1)
    relay_poll_s: float = Field(default=1.0, gt=0)
    sweep_every_s: float = Field(default=5.0, gt=0)
    delivery_retry_cap_s: float = Field(default=30.0, gt=0)
    delivery_give_up_s: float = Field(default=72 * 3600.0, gt=0)
    published_stale_after_s: int = Field(default=3600, ge=60)

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"

    @classmethod
    def from_environ(cls) -> Self:
        """Read the process's environment. Raises :class:`SettingsError` naming every fault at once."""
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError(sorted(_describe_fault(fault) for fault in error.errors())) from None

    @field_validator("secret_key", "secret_key_previous")
    @classmethod
    def _secret_is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < MIN_SECRET_LENGTH:
            raise ValueError(f"needs at least {MIN_SECRET_LENGTH} characters; make one: openssl rand -hex 32")
        return value

    @field_validator("public_url")
    @classmethod
    def _public_url_is_absolute(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an absolute address such as https://waters.example.org")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _production_is_https(self) -> Self:
        if self.mode == "production" and not self.public_url.startswith("https://"):
            raise ValueError("public_url must be https:// in production (WATERWATCH_PUBLIC_URL)")
        return self

    @property
    def is_https(self) -> bool:
        """Whether the public address is served over TLS; cookies are ``Secure`` exactly then."""
        return self.public_url.startswith("https://")

    @property
    def public_host(self) -> str:
        """Host part of the public address, used for Message-IDs."""
        return urlsplit(self.public_url).hostname or "localhost"

    def derive_key(self, purpose: str, *, previous: bool = False) -> bytes | None:
        """A 32-byte key for one purpose, derived from the secret (HMAC-SHA256 as a PRF), so keys never meet.

        ``previous=True`` derives from the secret that is being rotated out, or gives None when there is none.
        """
        secret = self.secret_key_previous if previous else self.secret_key
        if secret is None:
            return None
        return hmac.new(secret.get_secret_value().encode(), b"waterwatch/" + purpose.encode(), hashlib.sha256).digest()


def environment_name(field_name: str) -> str:
    """The environment variable that sets a field: ``WATERWATCH_…``, or the shared names such as ``DATABASE_URL``."""
    alias = Settings.model_fields[field_name].validation_alias
    return alias if isinstance(alias, str) else f"WATERWATCH_{field_name.upper()}"


def _describe_fault(fault: object) -> str:
    assert isinstance(fault, dict)
    location = fault["loc"]
    name = str(location[0]) if location else ""
    if name in Settings.model_fields:
        name = environment_name(name)
    elif name.islower():
        name = f"WATERWATCH_{name.upper()}"
    message = "is not set" if fault["type"] == "missing" else str(fault["msg"]).removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
