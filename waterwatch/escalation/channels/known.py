"""The channels there are, by name."""

from types import MappingProxyType

from waterwatch.escalation.channels import Channel, Channels
from waterwatch.escalation.channels.cap_feed import CapFeedChannel
from waterwatch.escalation.channels.email import EmailChannel
from waterwatch.escalation.channels.open311 import Open311Channel
from waterwatch.escalation.channels.post import PostChannel
from waterwatch.escalation.channels.webhook import WebhookChannel

_ALL: tuple[Channel, ...] = (EmailChannel(), WebhookChannel(), Open311Channel(), CapFeedChannel(), PostChannel())
CHANNELS: Channels = MappingProxyType({channel.name: channel for channel in _ALL})
