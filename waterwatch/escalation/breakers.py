"""What endpoints answered, in the database, so that every worker knows where nobody has answered for long."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from waterwatch.escalation import delivery_queries as queries
from waterwatch.escalation import rules
from waterwatch.escalation.channels import Failed, Outcome, Rehearsed
from waterwatch.escalation.claims import Claim
from waterwatch.escalation.tables import Endpoint
from waterwatch.kernel.log import get_logger

_ANSWERED = text("""
UPDATE endpoint SET failures = 0, opened = 0, open_until = NULL, probing_until = NULL, changed_at = :now
WHERE name = ANY(:names) AND (failures > 0 OR open_until IS NOT NULL OR probing_until IS NOT NULL)
""")
_NOT_ASKED = text("UPDATE endpoint SET probing_until = NULL WHERE name = ANY(:names) AND probing_until IS NOT NULL")

log = get_logger(__name__)


def note(session: Session, results: Sequence[tuple[Claim, Outcome]], *, now: datetime) -> None:
    """Note, in their order, what endpoints answered.

    A refusal is an answer. A fault on our side says nothing, and lets somebody else ask in its place.
    """
    known = [
        (claim.endpoint, outcome)
        for claim, outcome in results
        if claim.endpoint is not None and (claim.is_failing or _is_silent(outcome))
    ]
    put_off = {name for name, outcome in known if isinstance(outcome, Failed) and outcome.failure.is_deferred}
    answered = {name for name, outcome in known if not _is_silent(outcome)} - put_off
    not_asked = {name for name, _outcome in known} - put_off - answered
    rows = _locked(session, {name for name, _outcome in known}, put_off, now=now)
    if answered:
        session.execute(_ANSWERED, {"names": sorted(answered), "now": now})
    if not_asked:
        session.execute(_NOT_ASKED, {"names": sorted(not_asked)})
    if put_off:
        _put_off(rows, [(name, outcome) for name, outcome in known if name in put_off], now=now)


def _is_silent(outcome: Outcome) -> bool:
    return isinstance(outcome, Rehearsed) or (isinstance(outcome, Failed) and not outcome.failure.is_permanent)


def _locked(session: Session, names: set[str], put_off: set[str], *, now: datetime) -> dict[str, Endpoint]:
    """What is known of these endpoints, those that are put off made known: locked all at once, by name, as whoever
    claims letters does. Of two who lock them in different orders each waits for the other."""
    if put_off:
        rows = [{"name": name, "changed_at": now} for name in sorted(put_off)]
        session.execute(insert(Endpoint).values(rows).on_conflict_do_nothing())
    return queries.endpoints(session, sorted(names)) if names else {}


def _put_off(rows: dict[str, Endpoint], outcomes: Sequence[tuple[str, Outcome]], *, now: datetime) -> None:
    for name, outcome in outcomes:
        row = rows[name]
        if not isinstance(outcome, Failed):
            row.failures, row.opened, row.open_until, row.probing_until = 0, 0, None, None
        elif outcome.failure.is_deferred:
            before = rules.Breaker(row.failures, row.opened, row.open_until)
            after = rules.after_failure(before, now=now)
            row.failures, row.opened, row.open_until = after.failures, after.opened, after.open_until
            row.probing_until, row.last_error = None, outcome.failure.code[:120]
            if after.opened > before.opened:
                log.error("endpoint.opened", endpoint=name, error=outcome.failure.code, opened=after.opened)
        row.changed_at = now
