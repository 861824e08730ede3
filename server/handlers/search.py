"""search: messages by their words, channels by their names."""

from uuid import UUID

import msgspec

from protocol.channel import Memberships
from protocol.search import Hits, SearchChannels, SearchMessages
from server import find
from server.access import channels_read
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN


@op(access=LOGGED_IN & channels_read(), limit="120/m")
async def messages(ctx: Context, frame: SearchMessages, channels: list[UUID]) -> Hits:
    """Only what the asker may read now."""
    return await find.messages(ctx.db, ctx.app.reach, ctx.user, frame, channels)


@op(access=LOGGED_IN, limit="120/m")
async def channels(ctx: Context, frame: SearchChannels) -> Memberships:
    """One's own only."""
    page = await find.channels(ctx.db, ctx.user, frame.text, frame.limit)
    return msgspec.structs.replace(page, channels=[ctx.shown(one) for one in page.channels])
