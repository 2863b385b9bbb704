"""Domain exceptions. They carry data, not prose and not HTTP: ``web/errors.py`` maps them to statuses and words."""

from typing import Any, ClassVar


class DomainError(Exception):
    """Something the domain forbids or cannot do. ``code`` is stable; ``facts`` are values a sentence may need."""

    code: ClassVar[str] = "domain_error"

    def __init__(self, code: str | None = None, **facts: Any) -> None:
        self.error_code = code or self.code
        self.facts = facts
        super().__init__(self.error_code)


class NotFound(DomainError):
    """The thing asked for does not exist, or the asker may not know that it does."""

    code = "not_found"


class Conflict(DomainError):
    """The request was right once; meanwhile the thing has moved on."""

    code = "conflict"


class Forbidden(DomainError):
    """The actor may not do this."""

    code = "forbidden"


class Gone(DomainError):
    """A link that was valid has expired or was withdrawn."""

    code = "gone"


class Invalid(DomainError):
    """Input that cannot be accepted. ``errors`` maps field name to stable codes, all of them at once."""

    code = "invalid"

    def __init__(self, errors: dict[str, list[str]], **facts: Any) -> None:
        super().__init__(None, **facts)
        self.errors = errors


class Unavailable(DomainError):
    """A part we need does not answer just now; trying again later is right. ``retry_after_s`` says when."""

    code = "unavailable"


class TooMany(DomainError):
    """More than the asker may do within a time. ``retry_after_s`` says when to come again."""

    code = "too_many"
