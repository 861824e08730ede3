"""stats: how much happens, for who is responsible for it."""

from protocol.error import Forbidden, Invalid
from protocol.stats import ChannelStats, ServerStats, SpaceStats, StatsChannel, StatsServer, StatsSpace
from server.access import in_channel
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN
from server.space_access import in_space
from server.structure import Resident
from storage import account, stats
from storage.standing import Standing

_RESPONSIBLE = ("owner", "admin")


@op(access=LOGGED_IN & in_space("manage_space"), limit="20/m")
async def space(ctx: Context, frame: StatsSpace, space: Resident) -> SpaceStats:
    """Of channels that the asker sees."""
    seen = space.structure.channels.keys() - space.structure.hidden_from(space.member)
    return await stats.of_space(ctx.db, space.id, seen, frame.days)


@op(access=LOGGED_IN & in_channel("manage_space"), limit="60/m")
async def channel(ctx: Context, frame: StatsChannel, channel: Standing) -> ChannelStats:
    """With its threads."""
    if channel.space is None or channel.kind == "thread":
        raise Invalid("a thread counts for its channel", field="channel")
    return await stats.of_channel(ctx.db, channel.id, frame.days)


@op(access=LOGGED_IN, limit="10/m")
async def server(ctx: Context, frame: StatsServer) -> ServerStats:
    """For who runs it."""
    me = await account.get(ctx.db, ctx.user)
    if me is None or me.role not in _RESPONSIBLE:
        raise Forbidden("only the owner and the administrators of the server may see this")
    return await stats.of_server(ctx.db, frame.days)
