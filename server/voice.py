"""Voice and stage channels: who may come in, who may be heard, and what moderators do there.

Rule 1: what moderators have done to somebody is kept in the database; the room is told after that.
Rule 2: who has no seat in a room finds nobody there to signal to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import UNSET
from msgspec.structs import replace

from protocol.error import Conflict, Invalid, Missing
from protocol.permission import bits
from protocol.voice import Seated, VoiceJoin, VoiceMute, VoiceUpdate
from server.access import channel_seen
from server.rule import Bind, Rule, check
from server.space import ruling
from storage import hush
from storage.hush import Hush
from storage.room import Place, Seat
from storage.standing import Standing

if TYPE_CHECKING:
    from server.context import Context
    from server.structure import Resident

SPEAK, MUTE = bits(["speak"]), bits(["mute_members"])
_VIDEO = bits(["video"])
_ANY = 2**31


def seat_in(field: str = "to", within: str = "channel") -> Rule:
    """Another participant of the room in that channel in which one has a seat, too."""
    return Rule(binds=(Bind(field, "seat", _seat_of, within=within, in_context=True),))


async def _seat_of(ctx: Context, channel: Standing, seat: UUID) -> Seat | None:
    place = await ctx.app.rooms.store.place(ctx.user)
    if place is None or place.channel != channel.id:
        return None
    found = {one.seat: one for one in await ctx.app.rooms.store.seats(place.room)}
    return found.get(seat) if place.seat in found else None


def seated_in(field: str = "user", within: str = "channel") -> Rule:
    """Somebody who is in that voice or stage channel."""
    return Rule(binds=(Bind(field, "user", _seated, within=within, in_context=True),))


async def _seated(ctx: Context, channel: Standing, user: UUID) -> Seat | None:
    return next((one for one in await ctx.app.rooms.store.seats(channel.id) if one.user == user), None)


async def allowed(ctx: Context, channel: Standing, needed: int) -> int:
    """What one may do there; looked at anew where what is remembered does not do."""
    found = channel if channel.allowed & needed == needed else await channel_seen(ctx, channel.id)
    return found.allowed if found is not None else 0


async def here(ctx: Context, channel: UUID) -> tuple[Place, Seat]:
    """The seat that one has there, on whichever device."""
    store = ctx.app.rooms.store
    place = await store.place(ctx.user)
    seats = await store.seats(place.room) if place is not None and place.channel == channel else ()
    for seat in seats:
        if place is not None and seat.seat == place.seat:
            return place, seat
    raise Conflict("you are not there")


async def signal(ctx: Context, channel: UUID, call: UUID | None, to: Seat, data: str) -> None:
    """From one's own seat to another one in the same room."""
    place, seat = await here(ctx, channel)
    if place.call != call:
        raise Missing
    ctx.app.rooms.signal(place, seat, to, data)


async def join(ctx: Context, channel: Standing, frame: VoiceJoin) -> Seated:
    """Take a seat; what moderators have decided meanwhile counts, too."""
    if channel.kind not in ("voice", "stage") or channel.space is None:
        raise Invalid("this is neither a voice nor a stage channel", field="channel")
    space: Resident | None = await ctx.app.structures.resident(ctx.db, channel.space, ctx.user)
    if space is None or channel.id not in space.structure.channels:
        raise Missing
    before = await hush.of(ctx.db, channel.space, ctx.user)
    seated = await ctx.app.rooms.enter(
        ctx,
        channel,
        None,
        space.structure.channels[channel.id].seats or _ANY,
        speaker=bool(channel.allowed & SPEAK) and not before.muted,
        silenced=before.muted,
        deaf=before.deafened,
        muted=frame.muted,
        deafened=frame.deafened,
    )
    after = await hush.of(ctx.db, channel.space, ctx.user)
    if after != before:
        place = Place(channel.id, channel.id, seated.seat)
        await _apply(ctx, place, after, speaks=channel.kind == "voice" and bool(channel.allowed & SPEAK))
    return seated


async def update(ctx: Context, channel: Standing, frame: VoiceUpdate) -> None:
    """What is given; who is muted is not speaking."""
    place, seat = await here(ctx, channel.id)
    names = ("muted", "deafened", "camera", "screen", "speaking")
    fields = {name: value for name in names if (value := getattr(frame, name)) is not None}
    if fields.get("camera") or fields.get("screen"):
        check(await allowed(ctx, channel, _VIDEO), _VIDEO)
    if fields.get("speaking") and not seat.speaker:
        raise Conflict("you are no speaker here")
    if fields.get("muted"):
        fields["speaking"] = False
    if fields and not await ctx.app.rooms.change(place, **fields):
        raise Conflict("you are not there any more")


async def leave(ctx: Context, channel: UUID, call: UUID | None) -> None:
    """With whichever socket of the account."""
    room = call or channel
    for one in await ctx.app.rooms.store.seats(room):
        if one.user == ctx.user:
            held = ctx.app.rooms.mine(ctx, channel)
            if held is not None and held.place.seat == one.seat:
                ctx.app.rooms.let_go(ctx)
            await ctx.app.rooms.leave(Place(channel, room, one.seat, call), ctx.user, "ended")


async def silence(ctx: Context, channel: Standing, user: UUID, frame: VoiceMute) -> None:
    """Kept for the whole space; who is in one of its channels now is told of it."""
    assert channel.space is not None
    async with ruling(ctx, channel.space, also=(channel.id,)) as rule:
        await rule.change.standing(ctx.user, channel.id, "mute_members")
        if user != ctx.user:
            await rule.below(user)
        before = await hush.of(rule.tx, channel.space, user)
        given = {name: value for name in ("muted", "deafened") if (value := getattr(frame, name)) is not UNSET}
        after = replace(before, **given)
        if after != before:
            await hush.put(rule.tx, channel.space, user, after)
            await rule.note("voice.mute", user, before, after, frame.reason, channel.id)
    place = await ctx.app.rooms.store.place(user)
    if place is not None and place.call is None:
        standing = (await ctx.app.structures.look(ctx.db, [place.channel], [user]))[0]
        if standing is not None and standing.space == channel.space:
            speaks = standing.kind == "voice" and bool(standing.allowed & SPEAK)
            await _apply(ctx, place, after, speaks=speaks)


async def _apply(ctx: Context, place: Place, now: Hush, *, speaks: bool) -> None:
    fields = {"silenced": now.muted, "deaf": now.deafened}
    if now.muted:
        fields.update(speaker=False, speaking=False)
    elif speaks:
        fields["speaker"] = True
    await ctx.app.rooms.change(place, **fields)


async def move(ctx: Context, channel: Standing, seat: Seat, to: Standing | None, reason: str) -> None:
    """Somebody is asked out; whether they go on in another channel is theirs to say."""
    if channel.space is None or (to is not None and (to.space != channel.space or to.kind not in ("voice", "stage"))):
        raise Invalid("into a voice or stage channel of the same space", field="to")
    both = tuple(one.id for one in (channel, to) if one is not None)
    async with ruling(ctx, channel.space, also=both) as rule:
        for one in both:
            await rule.change.standing(ctx.user, one, "move_members")
        if seat.user != ctx.user:
            await rule.below(seat.user)
        await rule.note("voice.move", seat.user, None, None, reason, channel.id)
    why = f"moved:{to.id}" if to is not None else "put_out"
    await ctx.app.rooms.leave(Place(channel.id, channel.id, seat.seat), seat.user, why)
