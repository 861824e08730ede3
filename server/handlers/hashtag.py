"""hashtag: messages by what they are tagged with."""

from protocol.error import Invalid
from protocol.hashtag import HashtagList, Hashtags, HashtagTop
from protocol.message import FoundMessages
from server import listing
from server.access import in_channel
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN
from server.space_access import in_space
from server.structure import Resident
from storage.standing import Standing


@op(access=LOGGED_IN & in_space() & in_channel("history"), limit="120/m")
async def list_(ctx: Context, frame: HashtagList, space: Resident | None, channel: Standing | None) -> FoundMessages:
    """Only what the asker may read now."""
    where = await listing.where(ctx, space, channel)
    return await listing.tagged(ctx, where, frame)


@op(access=LOGGED_IN & in_space() & in_channel("history"), limit="60/m")
async def top(ctx: Context, frame: HashtagTop, space: Resident | None, channel: Standing | None) -> Hashtags:
    """Only in what the asker may read now."""
    if space is None and channel is None:
        raise Invalid("of which space or channel?", field="space")
    return await listing.most_used(ctx, await listing.where(ctx, space, channel), frame.limit)
