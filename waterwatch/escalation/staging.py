"""Rehearsals: with ``WATERWATCH_STAGING_MAIL`` set, nothing leaves but mails to that address.

Each says whom it was for and by which channel, and carries what it would have carried. The agency was told nothing, and
nothing says that it was: its delivery is cancelled, its case waits.
"""

from dataclasses import replace

from waterwatch.escalation.channels import Failed, Letter, Outcome, Rehearsed, Wire
from waterwatch.escalation.channels.email import send, write


def hand_over(letter: Letter, wire: Wire) -> Outcome:
    """Send the letter to ourselves instead, by mail whatever its channel is. The agency's server is not asked.

    What our own mailbox refuses or puts off says nothing of the agency's address.
    """
    to = wire.settings.staging_mail
    staged_for = f"{letter.contact.channel}: {letter.contact.address}"
    outcome = send(write(letter, settings=wire.settings, to=to, staged_for=staged_for), letter, wire, to=to)
    if isinstance(outcome, Failed):
        return Failed(replace(outcome.failure, is_deferred=False, is_permanent=False))
    return Rehearsed()
