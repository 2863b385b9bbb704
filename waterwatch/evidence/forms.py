"""What is asked for with a bundle, from untrusted input."""

from collections.abc import Mapping
from dataclasses import dataclass

from waterwatch.evidence.rules import REASONS, REFERENCE
from waterwatch.kernel.errors import Invalid


@dataclass(frozen=True)
class OpenBundle:
    """A bundle of one incident. ``reference`` is the number of the letter that asks for it: letters and figures.

    ``with_named``: also originals whose files may tell whose they are.
    """

    code: str
    reason: str
    reference: str | None = None
    with_named: bool = False


def read_open_bundle(values: Mapping[str, str]) -> OpenBundle:
    """The command. Raises :class:`Invalid` with every error."""
    code, reason = values.get("code", "").strip().upper(), values.get("reason", "")
    reference = values.get("reference", "").strip()
    errors: dict[str, list[str]] = {}
    if not code:
        errors["code"] = ["missing"]
    if reason not in REASONS:
        errors["reason"] = ["choice_unknown" if reason else "missing"]
    if not REFERENCE.fullmatch(reference):
        errors["reference"] = ["reference_unreadable"]
    if errors:
        raise Invalid(errors)
    return OpenBundle(code, reason, reference or None, with_named=values.get("with_named", "") == "yes")
