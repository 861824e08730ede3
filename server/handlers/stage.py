"""stage: who speaks in a stage channel."""

from protocol.error import Conflict, Invalid
from protocol.frame import Nothing
from protocol.stage import StageInvite, StageMute, StageRequest
from server.access import in_channel
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN, check
from server.voice import MUTE, allowed, here, seated_in
from storage.room import Place, Seat
from storage.standing import Standing


@op(access=LOGGED_IN & in_channel("connect"), limit="30/m")
async def request(ctx: Context, frame: StageRequest, channel: Standing) -> Nothing:
    """By who is there."""
    _check_stage(channel)
    place, seat = await here(ctx, channel.id)
    if frame.asking and seat.silenced:
        raise Conflict("a moderator has silenced you")
    if frame.asking and (seat.invited or await allowed(ctx, channel, MUTE) & MUTE):
        await ctx.app.rooms.change(place, speaker=True, asking=False, invited=False)
    else:
        await ctx.app.rooms.change(place, asking=frame.asking and not seat.speaker, invited=False)
    return Nothing()


def _check_stage(channel: Standing) -> None:
    if channel.kind != "stage":
        raise Invalid("this is no stage channel", field="channel")


@op(access=LOGGED_IN & in_channel("mute_members") & seated_in(), limit="60/m")
async def invite(ctx: Context, frame: StageInvite, channel: Standing, user: Seat) -> Nothing:
    """Nobody speaks without having said that they would."""
    _check_stage(channel)
    if user.silenced:
        raise Conflict("they are silenced: take that back first, by voice.mute")
    place = Place(channel.id, channel.id, user.seat)
    if user.asking:
        await ctx.app.rooms.change(place, speaker=True, asking=False, invited=False)
    elif not user.speaker:
        await ctx.app.rooms.change(place, invited=True)
    return Nothing()


@op(access=LOGGED_IN & in_channel() & seated_in(), limit="60/m")
async def mute(ctx: Context, frame: StageMute, channel: Standing, user: Seat) -> Nothing:
    """Oneself, or others as a moderator."""
    _check_stage(channel)
    if user.user != ctx.user:
        check(await allowed(ctx, channel, MUTE), MUTE)
    place = Place(channel.id, channel.id, user.seat)
    await ctx.app.rooms.change(place, speaker=False, speaking=False, asking=False, invited=False)
    return Nothing()
