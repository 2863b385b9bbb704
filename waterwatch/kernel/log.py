"""Structured logs: one JSON object a line, with the request id that follows a photo through every job.

What may be logged: identifiers, codes, counts, durations. Never an address, a position, a note, a token or a contact;
the last processor drops keys that would carry such things, as a second net.
"""

import logging
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import structlog

FORBIDDEN_KEYS = frozenset(
    {"email", "address", "ip", "remote_addr", "token", "password", "note", "lon", "lat", "contact", "user_agent"}
)
_request_id: ContextVar[str | None] = ContextVar("waterwatch_request_id", default=None)


def current_request_id() -> str | None:
    """The id of the request or job that is running, or None outside of one."""
    return _request_id.get()


@contextmanager
def request_scope(request_id: str | None) -> Iterator[None]:
    """Within the block every log line, audit entry and outbox row carries ``request_id``."""
    marker = _request_id.set(request_id)
    try:
        yield
    finally:
        _request_id.reset(marker)


# Libraries whose warnings quote what they were given: the address of a webhook, words of a page.
QUOTERS = ("urllib3", "weasyprint", "weasyprint.progress", "fontTools")


def configure(level: str, form: str) -> None:
    """Set up structlog and the standard library's logging for this process: ``form`` is ``json`` or ``console``."""
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False) if form == "json" else structlog.dev.ConsoleRenderer()
    )
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request_id,
        _drop_forbidden,
        _withhold_rows,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.getLogger("gunicorn.access").addFilter(_withhold_request)
    logging.getLogger("gunicorn.error").addFilter(_withhold_request)
    for talker in QUOTERS:
        logging.getLogger(talker).setLevel(logging.ERROR)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _withhold_request(record: logging.LogRecord) -> bool:
    """The web server's own words about a request quote its address and its sender: keep them, but not what they quote.

    Our request log tells every request by its route; an access log would tell it by its secret link, so there is none.
    """
    if record.name == "gunicorn.access":
        return False
    said, about, _quoted = record.getMessage().partition("request")
    if about:
        record.msg, record.args = said + about, ()
    return True


def get_logger(name: str) -> Any:
    """A structured logger: ``log.info("photo.ready", photo_id=…)``; the event is a code, the rest are facts."""
    return structlog.stdlib.get_logger(name)


def _add_request_id(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    request_id = _request_id.get()
    if request_id is not None:
        event.setdefault("request_id", request_id)
    return event


def _drop_forbidden(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in FORBIDDEN_KEYS & event.keys():
        event[key] = "[withheld]"
    return event


def _withhold_rows(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A database error's own text quotes the row that failed: log where it happened and its SQLSTATE instead."""
    found = event.get("exc_info")
    error = sys.exc_info()[1] if found is True else found[1] if isinstance(found, tuple) else found
    if not isinstance(error, BaseException) or not _quotes_rows(error):
        return event
    del event["exc_info"]
    original = getattr(error, "orig", None) or error
    event["sqlstate"] = getattr(original, "sqlstate", None)
    event["exception"] = "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__
    return event


def _quotes_rows(error: BaseException | None) -> bool:
    while error is not None:
        if type(error).__module__.partition(".")[0] in ("sqlalchemy", "psycopg"):
            return True
        error = error.__cause__ or error.__context__
    return False
