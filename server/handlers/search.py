"""search: messages by their words, channels by their names."""

from uuid import UUID

import msgspec

from protocol.channel import Memberships
from protocol.search import Hits, SearchChannels, SearchMessages
from server import find
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN, bound
from storage import finding


@op(access=LOGGED_IN & bound("channels", finding.readable_all, "channel"), limit="120/m")
async def messages(ctx: Context, frame: SearchMessages, channels: list[UUID]) -> Hits:
    """Only what the asker may read now."""
    return await find.messages(ctx.db, ctx.user, frame, channels)


@op(access=LOGGED_IN, limit="120/m")
async def channels(ctx: Context, frame: SearchChannels) -> Memberships:
    """One's own only."""
    page = await find.channels(ctx.db, ctx.user, frame.text, frame.limit)
    return msgspec.structs.replace(page, channels=[ctx.shown(one) for one in page.channels])
