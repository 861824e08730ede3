"""hashtag: what messages are tagged with: #words in their texts, at most ten of a message."""

from typing import Annotated

from msgspec import Meta

from protocol.frame import Body, ChannelId, Request, SpaceId
from protocol.message import FoundMessages, ListCursor

Hashtag = Annotated[str, Meta(min_length=1, max_length=50, pattern=r"^\w+$(?!\n)", description="Without the #.")]


class HashtagCount(Body, frozen=True):
    """In how many messages a hashtag stands."""

    hashtag: str
    count: int


class Hashtags(Body, frozen=True):
    """Those used most, the most used first."""

    hashtags: list[HashtagCount]
    messages: Annotated[int, Meta(description="In how many messages, the newest with hashtags, they were counted.")]


class HashtagList(Request[FoundMessages], tag="hashtag.list", frozen=True):
    """Messages with a hashtag, the newest first, in all of your channels, those of a space, or one.

    Capitals and accents make no difference. A new message is found within two seconds.
    """

    hashtag: Hashtag
    space: SpaceId | None = None
    channel: Annotated[ChannelId | None, Meta(description="Either a space or a channel.")] = None
    after: ListCursor | None = None
    limit: Annotated[int, Meta(ge=1, le=50)] = 25


class HashtagTop(Request[Hashtags], tag="hashtag.top", frozen=True):
    """Which hashtags are used most in a space or a channel, in its newest messages that you may read."""

    space: SpaceId | None = None
    channel: Annotated[ChannelId | None, Meta(description="Either a space or a channel.")] = None
    limit: Annotated[int, Meta(ge=1, le=50)] = 10
