"""voice: voice and stage channels of spaces."""

import asyncio

from protocol.frame import Nothing
from protocol.voice import (
    Seated,
    VoiceJoin,
    VoiceLeave,
    VoiceList,
    VoiceMove,
    VoiceMute,
    VoiceRoom,
    VoiceRooms,
    VoiceSignal,
    VoiceUpdate,
)
from server import voice
from server.access import in_channel
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN
from server.space_access import in_space, resident_of
from server.structure import Resident
from server.voice import seat_in, seated_in
from storage.room import Seat
from storage.standing import Standing


@op(access=LOGGED_IN & in_channel("connect"), limit="60/m")
async def join(ctx: Context, frame: VoiceJoin, channel: Standing) -> Seated:
    """With this socket; again is no error."""
    return await voice.join(ctx, channel, frame)


@op(access=LOGGED_IN & in_channel(), limit="60/m")
async def leave(ctx: Context, frame: VoiceLeave, channel: Standing) -> Nothing:
    """Wherever one is there."""
    await voice.leave(ctx, channel.id, None)
    return Nothing()


@op(access=LOGGED_IN & in_channel("connect"), limit="60/10s")
async def update(ctx: Context, frame: VoiceUpdate, channel: Standing) -> Nothing:
    """In voice channels and in calls."""
    await voice.update(ctx, channel, frame)
    return Nothing()


@op(access=LOGGED_IN & in_channel("connect") & seat_in(), limit="200/10s")
async def signal(ctx: Context, frame: VoiceSignal, channel: Standing, to: Seat) -> Nothing:
    """Only between those who are there."""
    await voice.signal(ctx, channel.id, None, to, frame.data)
    return Nothing()


@op(access=LOGGED_IN & in_space(), limit="60/m")
async def list_(ctx: Context, frame: VoiceList, space: Resident) -> VoiceRooms:
    """Only of channels that one sees."""
    seen = space.structure.seen_by(space.member).channels.values()
    ids = [one.channel.id for one in seen if one.channel.kind in ("voice", "stage")]
    found = await asyncio.gather(*map(ctx.app.rooms.store.seats, ids))
    for channel, seats in zip(ids, found, strict=True):
        ctx.app.rooms.noticed(channel, seats)
    rooms = [
        VoiceRoom(channel=channel, people=[one.shown() for one in seats])
        for channel, seats in zip(ids, found, strict=True)
        if seats
    ]
    return VoiceRooms(rooms=rooms)


@op(
    access=LOGGED_IN & in_channel("move_members") & seated_in() & in_channel("move_members", field="to"),
    limit="60/m",
)
async def move(ctx: Context, frame: VoiceMove, channel: Standing, user: Seat, to: Standing | None) -> Nothing:
    """Who stands lower."""
    await voice.move(ctx, channel, user, to, frame.reason)
    return Nothing()


@op(access=LOGGED_IN & in_channel("mute_members") & resident_of(), limit="60/m")
async def mute(ctx: Context, frame: VoiceMute, channel: Standing, user: Resident) -> Nothing:
    """Who stands lower, whether they are there or not."""
    await voice.silence(ctx, channel, user.account, frame)
    return Nothing()
