"""The officers' forms: untrusted fields in, a frozen command or every error at once out."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from typing import Protocol

from waterwatch.kernel.errors import Invalid
from waterwatch.officers.rules import BUCKETS, REACHES, Wanted, read_cursor
from waterwatch.reports.forms import clean_text

WORDS_MAX_CHARACTERS = 2000
OFFICE_MAX_CHARACTERS = 60
NOTE_MAX_CHARACTERS = 1000
PHOTOS_PER_ANSWER = 6
SEVERITIES = ("1", "2", "3", "4")
PLANNED_WITHIN_YEARS = 3
MOST_AT_ONCE = 100


class Upload(Protocol):
    """One file as it arrived."""

    size_bytes: int
    is_too_large: bool


@dataclass(frozen=True)
class SaidForm:
    """What an agency says: its words, until when it means to be done. ``key`` tells one filled form from another."""

    words: str
    planned_on: date | None = None
    key: uuid.UUID | None = None

    def source_key(self, case_id: uuid.UUID) -> str | None:
        """What keeps the same form, sent twice, from being two answers. Nobody can name another case's."""
        return None if self.key is None else f"form:{case_id}:{self.key}"


@dataclass(frozen=True)
class NotOursForm:
    """Why a case is not the agency's, and whose it is."""

    reason: str
    agency_id: uuid.UUID | None


@dataclass(frozen=True)
class AssignForm:
    """Who shall work on a case: a colleague, an office, or both."""

    person_id: uuid.UUID | None
    office: str | None


@dataclass(frozen=True)
class DigestForm:
    """Letters of at most this severity (0: none) wait for this time of day in China."""

    upto: int
    at: time


@dataclass
class _Reading:
    """Collects faults while fields are read."""

    fields: Mapping[str, str]
    errors: dict[str, list[str]] = field(default_factory=dict)

    def words(self, name: str, most: int, *, is_required: bool = True) -> str:
        value = clean_text(self.fields.get(name, ""))
        if is_required and not value:
            self.fault(name, "words_missing")
        if len(value) > most:
            self.fault(name, "words_too_long")
        return value

    def day(self, name: str, *, today: date) -> date | None:
        value = self.fields.get(name, "").strip()
        if not value:
            return None
        try:
            found = date.fromisoformat(value)
        except ValueError:
            self.fault(name, "date_malformed")
            return None
        if found < today:
            self.fault(name, "date_past")
        elif found > today.replace(day=1, year=today.year + PLANNED_WITHIN_YEARS):
            self.fault(name, "date_far")
        return found

    def key(self, name: str) -> uuid.UUID | None:
        value = self.fields.get(name, "").strip()
        if not value:
            return None
        try:
            return uuid.UUID(value)
        except ValueError:
            self.fault(name, "choice_unknown")
            return None

    def fault(self, name: str, code: str) -> None:
        self.errors.setdefault(name, []).append(code)

    def finish(self) -> None:
        if self.errors:
            raise Invalid(self.errors)


def read_wanted(fields: Mapping[str, str]) -> Wanted:
    """What of the inbox is asked for; whatever is none of ours counts as not asked for. A bad page: the first."""
    severity = fields.get("severity", "")
    bucket, reach = fields.get("show", ""), fields.get("reach", "")
    try:
        after = read_cursor(fields["after"]) if fields.get("after") else None
    except Invalid:
        after = None
    return Wanted(
        bucket=bucket if bucket in BUCKETS else "open",
        severity=int(severity) if severity in SEVERITIES else None,
        whose=fields.get("whose", "").strip()[:254] or None,
        reach=reach if reach in REACHES else "own",
        after=after,
    )


def parse_said(fields: Mapping[str, str], photos: Sequence[Upload], *, left_out: int, today: date) -> SaidForm:
    """An answer, or that it is done. Raises :class:`Invalid`."""
    reading = _Reading(fields)
    words = reading.words("words", WORDS_MAX_CHARACTERS)
    planned_on = reading.day("planned_on", today=today)
    if left_out or len(photos) > PHOTOS_PER_ANSWER:
        reading.fault("photo", "photo_too_many")
    if any(photo.is_too_large for photo in photos):
        reading.fault("photo", "photo_too_large")
    if any(photo.size_bytes == 0 for photo in photos):
        reading.fault("photo", "photo_empty")
    key = reading.key("key")
    reading.finish()
    return SaidForm(words, planned_on, key)


def parse_not_ours(fields: Mapping[str, str]) -> NotOursForm:
    """Raises :class:`Invalid`."""
    reading = _Reading(fields)
    reason, agency_id = reading.words("reason", WORDS_MAX_CHARACTERS), reading.key("agency_id")
    reading.finish()
    return NotOursForm(reason, agency_id)


def parse_assignment(fields: Mapping[str, str]) -> AssignForm:
    """Raises :class:`Invalid`."""
    reading = _Reading(fields)
    person_id = reading.key("person_id")
    office = reading.words("office", OFFICE_MAX_CHARACTERS, is_required=False) or None
    if person_id is None and office is None:
        reading.fault("person_id", "assignee_missing")
    reading.finish()
    return AssignForm(person_id, office)


def parse_note(fields: Mapping[str, str]) -> str:
    """Raises :class:`Invalid`."""
    reading = _Reading(fields)
    words = reading.words("note", NOTE_MAX_CHARACTERS)
    reading.finish()
    return words


def parse_chosen(values: Sequence[str]) -> list[uuid.UUID]:
    """The cases ticked. Raises :class:`Invalid` ``nothing_chosen``, ``too_many_chosen``, ``choice_unknown``."""
    try:
        chosen = list(dict.fromkeys(uuid.UUID(value) for value in values))
    except ValueError:
        raise Invalid({"case": ["choice_unknown"]}) from None
    if not chosen:
        raise Invalid({"case": ["nothing_chosen"]})
    if len(chosen) > MOST_AT_ONCE:
        raise Invalid({"case": ["too_many_chosen"]})
    return chosen


def parse_digest(fields: Mapping[str, str]) -> DigestForm:
    """Raises :class:`Invalid`."""
    reading = _Reading(fields)
    upto = fields.get("digest_upto", "")
    if upto not in ("0", "1", "2", "3"):
        reading.fault("digest_upto", "choice_unknown")
    try:
        at = time.fromisoformat(fields.get("digest_at", "").strip())
    except ValueError:
        reading.fault("digest_at", "time_malformed")
        at = time(9)
    reading.finish()
    return DigestForm(int(upto), at.replace(second=0, microsecond=0, tzinfo=None))
