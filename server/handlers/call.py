"""call: calls in direct channels and groups."""

from protocol.call import (
    CallAnswer,
    CallDecline,
    CallEnd,
    CallGet,
    CallNow,
    CallRelay,
    CallSignal,
    CallStart,
    CallStarted,
    Relay,
)
from protocol.frame import Nothing
from protocol.voice import Seated
from server import voice
from server.access import in_channel
from server.call import call_in
from server.context import Context
from server.relay import relay as relay_for
from server.router import op
from server.rule import LOGGED_IN
from server.voice import seat_in
from storage import call as calls
from storage.call import Live
from storage.room import Seat
from storage.standing import Standing


@op(access=LOGGED_IN & in_channel("send", "connect"), limit="20/m")
async def start(ctx: Context, frame: CallStart, channel: Standing) -> CallStarted:
    """Whoever may write there may call there."""
    return await ctx.app.calls.start(ctx, channel, frame)


@op(access=LOGGED_IN & in_channel("connect") & call_in(), limit="60/m")
async def answer(ctx: Context, frame: CallAnswer, channel: Standing, call: Live) -> Seated:
    """By whoever is in the channel; again is no error."""
    return await ctx.app.calls.answer(ctx, channel, call)


@op(access=LOGGED_IN & in_channel() & call_in(), limit="60/m")
async def decline(ctx: Context, frame: CallDecline, channel: Standing, call: Live) -> Nothing:
    """Where nothing rings there is nothing to do."""
    await ctx.app.calls.decline(ctx.user, channel, call)
    return Nothing()


@op(access=LOGGED_IN & in_channel() & call_in(), limit="60/m")
async def end(ctx: Context, frame: CallEnd, channel: Standing, call: Live) -> Nothing:
    """One's own part in it, on whichever device."""
    await voice.leave(ctx, channel.id, call.id)
    return Nothing()


@op(access=LOGGED_IN & in_channel("connect") & call_in() & seat_in(), limit="200/10s")
async def signal(ctx: Context, frame: CallSignal, channel: Standing, call: Live, to: Seat) -> Nothing:
    """Only between those who are in it."""
    await voice.signal(ctx, channel.id, call.id, to, frame.data)
    return Nothing()


@op(access=LOGGED_IN & in_channel())
async def get(ctx: Context, frame: CallGet, channel: Standing) -> CallNow:
    """For everybody in the channel."""
    live = await calls.live(ctx.db, channel.id)
    if live is None:
        return CallNow(call=None, message=None, people=[])
    seats = await ctx.app.rooms.store.seats(live.id)
    return CallNow(call=live.id, message=live.seq, people=[one.shown() for one in seats])


@op(access=LOGGED_IN, limit="20/m")
async def relay(ctx: Context, frame: CallRelay) -> Relay:
    """For whoever is logged in: they may be about to call."""
    return relay_for(ctx.app.config, ctx.user)
