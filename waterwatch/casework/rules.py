"""Decisions about what agencies say: who looks first, how words are kept, what an incident makes of it. Pure."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from waterwatch.casework.tables import MAX_OFFICE, MAX_WORDS
from waterwatch.kernel.states import Machine

ANSWER = Machine(
    "case_answer",
    "held",
    frozenset({("held", "published"), ("held", "withheld"), ("published", "withheld"), ("withheld", "published")}),
    {"held": timedelta(hours=24)},  # ours: the reporter waits for it, as a report waits for its review
)
MAX_PHOTOS = 6
PLANNED_AT_MOST = timedelta(days=5 * 366)  # later than that is no plan
CUT = "……"
WITHOUT_WORDS = "（邮件里没有文字）"  # a mail of nothing but files; kept as what was said
CLOSED_ELSEWHERE = "（该部门的系统显示：已办结）"  # where a machine says so without a word; kept as what was said

# What may stand in a text besides what is printed: a line's end. The rest moves words about, or hides them.
_LINE_ENDS = re.compile(r"\r\n?|[\u2028\u2029\x85\x0b\x0c]")
_BLANK_LINES = re.compile(r"\n{3,}")


def is_checked_first(via: str, *, answers_are_checked: bool) -> bool:
    """Whether a lead looks at an answer before the public does.

    Always where no officer has put it into our form: a mail's sender proves little, and what a city's own system says
    of a request may have been written by anybody there, for anybody.
    """
    return answers_are_checked or via in ("email", "open311")


def moves_at_once(via: str) -> bool:
    """Whether what comes this way moves its case by itself. A mail may be a machine's: a lead has to read it first."""
    return via != "email"


def is_the_agencys_word(withheld_reason: str) -> bool:
    """Whether what is kept from the public for this reason was said by the agency all the same."""
    return withheld_reason in ("personal_data", "abuse")


def clean_words(words: str, *, limit: int = MAX_WORDS) -> str:
    """Hostile text as plain text: no control or format characters, no more than one blank line in a row, trimmed.

    Too long a text is cut, and says so.
    """
    text = _LINE_ENDS.sub("\n", unicodedata.normalize("NFC", words)).replace("\t", " ")
    text = "".join(letter for letter in text if letter == "\n" or unicodedata.category(letter)[0] != "C")
    text = _BLANK_LINES.sub("\n\n", "\n".join(line.rstrip() for line in text.split("\n"))).strip()
    return text if len(text) <= limit else text[: limit - len(CUT)].rstrip() + CUT


def clean_office(office: str) -> str:
    """An office's name on one line."""
    return " ".join(clean_words(office).split())[:MAX_OFFICE]


def is_plan(planned_on: date, *, today: date) -> bool:
    """Whether a day can be one somebody plans for."""
    return today <= planned_on <= today + PLANNED_AT_MOST


@dataclass(frozen=True)
class Standing:
    """One case of an incident, as far as it decides about the incident."""

    role: str
    state: str
    has_public_done: bool = False


def is_claimed_done(cases: Iterable[Standing]) -> bool:
    """Whether everybody who is competent says, in public, that it is done.

    Whoever refused, was taken back or could never be told decides nothing, and neither does who only supervises; one
    at least must have said so. It is a claim: a citizen's photo alone shows that the water is clean.
    """
    counting = [
        case
        for case in cases
        if case.role == "competent" and case.state not in ("refused_not_ours", "no_contact", "withdrawn", "dead")
    ]
    return bool(counting) and all(case.state == "closed" and case.has_public_done for case in counting)
