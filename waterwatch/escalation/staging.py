"""Rehearsals: with ``WATERWATCH_STAGING_MAIL`` set, nothing leaves but mails to that address.

Each says whom it was for and by which channel, and carries what it would have carried.
"""

from waterwatch.escalation.channels import Letter, Outcome, Wire
from waterwatch.escalation.channels.email import send, write


def hand_over(letter: Letter, wire: Wire) -> Outcome:
    """Send the letter to ourselves instead, by mail whatever its channel is. The agency's server is not asked."""
    to = wire.settings.staging_mail
    staged_for = f"{letter.contact.channel}: {letter.contact.address}"
    return send(write(letter, settings=wire.settings, to=to, staged_for=staged_for), letter, wire, to=to)
