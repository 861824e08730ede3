"""stats: how much happens in a space, in a channel and on the server, day by day.

Days are those of UTC. Messages are counted once, within seconds; that one is taken back later changes nothing.
"""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.frame import Body, ChannelId, Request, SpaceId

Day = Annotated[str, Meta(description="Like 2026-03-14.")]
Days = Annotated[int, Meta(ge=1, le=90, description="The last so many days, today among them.")]


class SpaceDay(Body, frozen=True):
    """What happened in a space on a day, in the channels that you see."""

    day: Day
    messages: int
    active: Annotated[int, Meta(description="Members who have said something.")]
    joined: int
    departed: int


class ChannelDay(Body, frozen=True):
    """What happened in a channel on a day."""

    day: Day
    messages: int


class ChannelTotal(Body, frozen=True):
    """How much was said in a channel."""

    channel: UUID
    messages: int


class SpaceStats(Body, frozen=True):
    """What happened in a space, the oldest day first."""

    days: list[SpaceDay]
    members: int
    active: Annotated[int, Meta(description="Members who have said something on one of these days.")]
    channels: Annotated[list[ChannelTotal], Meta(description="The ten in which most was said, of those that you see.")]


class ChannelStats(Body, frozen=True):
    """What happened in a channel and its threads, the oldest day first."""

    days: list[ChannelDay]
    active: int


class ServerDay(Body, frozen=True):
    """What happened on the server on a day."""

    day: Day
    messages: int
    registered: int


class ServerStats(Body, frozen=True):
    """What happened on the server, the oldest day first."""

    days: list[ServerDay]
    accounts: int
    spaces: int


class StatsSpace(Request[SpaceStats], tag="stats.space", frozen=True):
    """How much happens in a space; with `manage_space`. Channels that you do not see count nowhere."""

    space: SpaceId
    days: Days = 30


class StatsChannel(Request[ChannelStats], tag="stats.channel", frozen=True):
    """How much happens in a channel of a space; with `manage_space`."""

    channel: ChannelId
    days: Days = 30


class StatsServer(Request[ServerStats], tag="stats.server", frozen=True):
    """How much happens on the server; for its owner and administrators."""

    days: Days = 30
