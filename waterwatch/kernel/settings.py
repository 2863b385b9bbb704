"""Settings: frozen, from the environment, production by default, no default secret, all faults reported at once.

Every field is described in ``docs/operations.md``; a test compares the two.
"""

import hashlib
import hmac
from email.headerregistry import Address
from pathlib import Path
from typing import Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

import limits
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from waterwatch.kernel.base_tiles import BaseTiles, read_base_tiles

MIN_SECRET_LENGTH = 32
MEBIBYTE = 1024 * 1024
DEFAULT_SENDER = "waterwatch@localhost"
# The push services of Chrome and Edge on Android, Firefox, Safari, and Edge on Windows.
PUSH_HOSTS = "fcm.googleapis.com updates.push.services.mozilla.com *.push.apple.com *.notify.windows.com"


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
    mail_from: str = Field(default=DEFAULT_SENDER, validate_default=True)

    inbox_domain: str = ""
    inbox_listen: str = ""
    inbox_max_bytes: int = Field(default=20 * MEBIBYTE, ge=MEBIBYTE, le=64 * MEBIBYTE)
    inbox_retention_days: int = Field(default=90, ge=1)
    evidence_key: Path | None = None
    evidence_keys_retired: Path | None = None
    staging_mail: str = ""
    channel_timeout_s: float = Field(default=10.0, gt=0, le=60)
    webhook_allow: str = ""

    objects_url: str
    spool_dir: Path
    publish_dir: Path
    publish_url: str | None = None
    published_url: str | None = None
    proxy_bodies_dir: Path | None = None
    proxy_bodies_secret: SecretStr | None = None
    front_end_dir: Path = Path(__file__).resolve().parents[2] / "map_static" / "dist"

    photo_max_bytes: int = Field(default=25 * MEBIBYTE, ge=MEBIBYTE)
    photos_per_report: int = Field(default=6, ge=1, le=20)
    upload_keep_s: int = Field(default=24 * 3600, ge=60)
    photo_max_pixels: int = Field(default=60_000_000, ge=1_000_000)
    original_retention_days: int = Field(default=90, ge=1)
    photo_memory_bytes: int = Field(default=1536 * MEBIBYTE, ge=512 * MEBIBYTE)  # the detectors take 700–900
    photo_cpu_s: int = Field(default=15, ge=1, le=120)

    snap_limit_m: float = Field(default=2000.0, gt=0)
    report_rate_limit: str = "600/hour;3000/day"
    report_free_limit: str = "60/hour;600/day"
    device_rate_limit: str = "20/hour;100/day"
    device_memory_s: int = Field(default=48 * 3600, ge=60)
    work_cost: int = Field(default=20_000, ge=1, le=1_000_000)
    flood_reports: int = Field(default=30, ge=1)
    flood_window_s: int = Field(default=600, ge=10)
    photo_rate_limit: str = "1200/hour;6000/day"
    login_rate_limit: str = "10/minute;100/hour"
    page_rate_limit: str = "600/minute"
    search_rate_limit: str = "300/minute;6000/hour"  # the page asks 200 times a minute at most while somebody types
    two_factor_required: bool = True
    cors_origins: str = ""
    base_tiles: str = ""
    media_url_hosts: str = ""
    quick_exit_url: str = "https://www.baidu.com/"

    contact_retention_days: int = Field(default=90, ge=1)
    push_hosts: str = PUSH_HOSTS
    push_timeout_s: float = Field(default=10.0, gt=0, le=60)

    acknowledge_link_days: int = Field(default=30, ge=1)
    in_review_deadline_s: int = Field(default=24 * 3600, ge=60)
    sanitise_deadline_s: int = Field(default=120, ge=5)
    delivery_deadline_s: int = Field(default=15 * 60, ge=5)
    review_lease_s: int = Field(default=600, ge=30)
    undo_s: int = Field(default=10, ge=0, le=60)
    answers_are_checked: bool = True
    withheld_retention_days: int = Field(default=90, ge=1)
    figures_after_days: int = Field(default=21, ge=0, le=80)
    comment_working_days: int = Field(default=10, ge=1, le=30)
    bulletin_volume: int = Field(default=1000, ge=10, le=5000)
    bulletin_mail_bytes: int = Field(default=8 * MEBIBYTE, ge=0)
    flow_ratio: float = Field(default=1.0, gt=0, le=100)
    gauge_fresh_s: int = Field(default=24 * 3600, ge=600)
    downstream_head_start_s: int = Field(default=600, ge=0, le=24 * 3600)
    question_wait_s: int = Field(default=48 * 3600, ge=60)
    blind_share: float = Field(default=0.05, ge=0, le=1)

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

    @field_validator("secret_key", "secret_key_previous", "proxy_bodies_secret")
    @classmethod
    def _secret_is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < MIN_SECRET_LENGTH:
            raise ValueError(f"needs at least {MIN_SECRET_LENGTH} characters; make one: openssl rand -hex 32")
        return value

    @field_validator("public_url")
    @classmethod
    def _public_url_is_absolute(cls, value: str, info: ValidationInfo) -> str:
        parts = _split(value, ("http", "https"), "https://waters.example.org")
        host = parts.hostname or ""
        if not host.isascii():
            raise ValueError(f"write the host as browsers send it: {host.encode('idna').decode()}")
        if info.data.get("mode") == "production" and parts.scheme != "https":
            raise ValueError("must begin with https:// in production")
        return value.rstrip("/")

    @field_validator("database_url", "migration_database_url")
    @classmethod
    def _database_url_names_postgresql(cls, value: str | None) -> str | None:
        if value is not None:
            # A server may be named by the driver's own variables or by ?host=, so no host is asked for.
            parts = _split(value, ("postgresql", "postgres", "postgresql+psycopg"), _DATABASE_EXAMPLE, needs_host=False)
            if not parts.path.strip("/"):
                raise ValueError(f"names no database; write it like {_DATABASE_EXAMPLE}")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_url_names_redis(cls, value: str) -> str:
        parts = _split(value, ("redis", "rediss", "unix"), "redis://localhost:6379/0", needs_host=False)
        if parts.scheme != "unix" and not parts.hostname:
            raise ValueError("names no host; write it like redis://localhost:6379/0")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _smtp_url_names_a_server(cls, value: str) -> str:
        _split(value, ("smtp", "smtps", "smtp+starttls"), "smtp+starttls://user:password@mail.example.org:587")
        return value

    @field_validator("objects_url")
    @classmethod
    def _objects_url_names_a_store(cls, value: str) -> str:
        example = "file:///srv/waterwatch/objects or s3://bucket/prefix"
        parts = _split(value, ("file", "s3"), example, needs_host=False)
        if bool(parts.hostname) == (parts.scheme == "file") or (parts.scheme == "file" and not parts.path.strip("/")):
            raise ValueError(f"must be written like {example}")
        return value

    @field_validator("publish_url")
    @classmethod
    def _publish_url_names_a_bucket(cls, value: str | None) -> str | None:
        if not value:
            return None
        _split(value, ("s3",), "s3://bucket/prefix?endpoint=https://s3.example.org&region=cn-north-1")
        return value

    @field_validator("published_url")
    @classmethod
    def _published_url_is_absolute(cls, value: str | None) -> str | None:
        if not value:
            return None
        _split(value, ("http", "https"), "https://map.example.org")
        return value.rstrip("/")

    @field_validator("mail_from")
    @classmethod
    def _mail_from_is_an_address(cls, value: str, info: ValidationInfo) -> str:
        try:
            host = Address(addr_spec=value).domain
        except (ValueError, IndexError):
            raise ValueError("is no mail address; write it like waterwatch@example.org") from None
        if not host or not value.isascii():
            raise ValueError("is no mail address; write it like waterwatch@example.org")
        if info.data.get("mode") == "production" and value == DEFAULT_SENDER:
            raise ValueError("is not set")
        return value

    @field_validator("inbox_domain")
    @classmethod
    def _inbox_domain_is_a_domain(cls, value: str) -> str:
        try:
            is_domain = not value or Address(addr_spec=f"case@{value}").domain == value
        except (ValueError, IndexError):
            is_domain = False
        if not is_domain or not value.isascii() or value != value.lower():
            raise ValueError("is no mail domain, lower case; write it like answers.example.org")
        return value

    @field_validator("inbox_listen")
    @classmethod
    def _inbox_listens_somewhere(cls, value: str, info: ValidationInfo) -> str:
        parts = _split(f"smtp://{value}" if value else "smtp://localhost:25", ("smtp",), "127.0.0.1:2525")
        if parts.port is None or f"smtp://{parts.netloc}" != f"smtp://{value or 'localhost:25'}" or parts.username:
            raise ValueError("must be written like 127.0.0.1:2525")
        if value and not info.data.get("inbox_domain"):
            raise ValueError("needs WATERWATCH_INBOX_DOMAIN")
        return value

    @field_validator("staging_mail")
    @classmethod
    def _staging_mail_is_an_address(cls, value: str) -> str:
        if value and not (value.isascii() and value.count("@") == 1 and value.strip("@") == value):
            raise ValueError("is no mail address; write it like tests@example.org")
        return value

    @field_validator(
        *("report_rate_limit", "report_free_limit", "device_rate_limit"),
        *("photo_rate_limit", "login_rate_limit", "page_rate_limit", "search_rate_limit"),
    )
    @classmethod
    def _limit_can_be_read(cls, value: str) -> str:
        try:
            limits.parse_many(value)
        except ValueError:
            raise ValueError("must be written like 60/hour;600/day") from None
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, value: str) -> str:
        for origin in value.split():
            parts = _split(origin, ("http", "https"), "https://reports.example.org")
            if origin != f"{parts.scheme}://{parts.netloc}":
                raise ValueError("lists origins, separated by spaces, such as https://reports.example.org")
        return value

    @field_validator("base_tiles")
    @classmethod
    def _base_tiles_can_be_read(cls, value: str) -> str:
        read_base_tiles(value)
        return value

    @field_validator("media_url_hosts", "webhook_allow")
    @classmethod
    def _hosts_are_hosts(cls, value: str) -> str:
        for host in value.split():
            parts = _split(f"https://{host}", ("https",), "https://media.example.org")
            if f"https://{host}" != f"https://{parts.netloc}" or parts.username is not None or host != host.lower():
                raise ValueError("lists hosts, lower case, separated by spaces, such as media.example.org")
        return value

    @field_validator("push_hosts")
    @classmethod
    def _push_hosts_are_hosts(cls, value: str) -> str:
        for host in value.split():
            parts = _split(f"https://{host.removeprefix('*.')}", ("https",), "https://push.example.org")
            if parts.netloc != host.removeprefix("*.") or parts.username is not None or host != host.lower():
                raise ValueError("lists hosts, lower case, separated by spaces, such as push.example.org *.example.org")
        return value

    @field_validator("quick_exit_url")
    @classmethod
    def _exit_is_an_address(cls, value: str) -> str:
        _split(value, ("http", "https"), "https://www.example.org/")
        return value

    @field_validator("spool_dir", "publish_dir", "proxy_bodies_dir", "front_end_dir")
    @classmethod
    def _folder_is_absolute(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None:
            return value
        if not value.is_absolute():
            raise ValueError("must be an absolute path, beginning with /")
        others = {name: info.data.get(name) for name in ("spool_dir", "publish_dir") if name != info.field_name}
        others["objects_url"] = _local_folder(info.data.get("objects_url"))
        for name, other in others.items():
            if other is not None and info.field_name != "front_end_dir" and _overlap(value, other):
                raise ValueError(f"lies in {environment_name(name)} or around it; each needs a folder of its own")
        return value

    @model_validator(mode="after")
    def _bodies_need_their_secret(self) -> Self:
        if (self.proxy_bodies_dir is None) != (self.proxy_bodies_secret is None):
            raise ValueError("WATERWATCH_PROXY_BODIES_DIR and WATERWATCH_PROXY_BODIES_SECRET are set together")
        return self

    @model_validator(mode="after")
    def _a_bucket_is_read_somewhere(self) -> Self:
        if (self.publish_url is None) != (self.published_url is None):
            raise ValueError("WATERWATCH_PUBLISH_URL and WATERWATCH_PUBLISHED_URL are set together")
        return self

    @property
    def base_maps(self) -> tuple[BaseTiles, ...]:
        """The maps of others that may be laid beneath ours."""
        return read_base_tiles(self.base_tiles)

    @property
    def network_dir(self) -> Path:
        """Where this machine's processes share the flow network: private, and made again when it is gone."""
        return self.spool_dir / "network"

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


_DATABASE_EXAMPLE = "postgresql://user:password@localhost/waterwatch"


def _split(value: str, schemes: tuple[str, ...], example: str, *, needs_host: bool = True) -> SplitResult:
    """The parts of an address. A fault never repeats the address: it may hold a password."""
    try:
        parts = urlsplit(value)
        _port = parts.port
    except ValueError:
        raise ValueError(f"cannot be read; write it like {example}") from None
    if parts.scheme not in schemes or (needs_host and not parts.hostname):
        raise ValueError(f"must be an address such as {example}")
    return parts


def _local_folder(objects_url: str | None) -> Path | None:
    parts = urlsplit(objects_url or "")
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _overlap(one: Path, other: Path) -> bool:
    one, other = one.resolve(), other.resolve()
    return one == other or one in other.parents or other in one.parents


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
