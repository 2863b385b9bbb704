"""The guarded client channels speak HTTP with, kept in a worker's wire."""

from waterwatch.escalation.channels import Wire
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.http import Client, FetchError, read_url

KEPT = "http"


def client_of(wire: Wire) -> Client:
    """The client of this process; a test may have put its own into the wire."""
    if KEPT not in wire.kept:
        wire.kept[KEPT] = make_client(wire.settings)
    kept: Client = wire.kept[KEPT]
    return kept


def make_client(settings: Settings) -> Client:
    """A client that goes where an agency's address leads, and inside only where the operator allows it."""
    return Client(frozenset(settings.webhook_allow.split()), timeout_s=settings.channel_timeout_s)


def endpoint_of(url: str) -> str:
    """What a breaker watches of an address: scheme, host and port. What cannot be read is all one."""
    try:
        target = read_url(url, ("https", "http"))
    except FetchError:
        return "https://?"
    return f"{target.scheme}://{target.host}:{target.port}"
