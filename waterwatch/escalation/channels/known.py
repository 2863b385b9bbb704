"""The channels there are, by name."""

from types import MappingProxyType

from waterwatch.escalation.channels import Channels
from waterwatch.escalation.channels.email import EmailChannel

CHANNELS: Channels = MappingProxyType({channel.name: channel for channel in (EmailChannel(),)})
