"""Calls: how they begin, ring, are answered and end.

Rule 1: that a call goes on is a row of the database, one for a channel; who is in it is a room (server/room.py).
Rule 2: what happens to it is told by facts: of the channel, as its message, and of the accounts whose devices ring. So
        they ring, and stop, on every device and process, once, also those that come back.
Rule 3: whoever sees that a call is over ends it, twice does no harm; and every few seconds somebody looks
        (server/due.py), so a call whose participants are all gone ends, whichever processes were killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from msgspec.structs import replace

from protocol.call import CallChanged, CallRinging, CallStart, CallStarted, CallStopped
from protocol.content import Call
from protocol.error import Conflict, Invalid, Missing, Refusal
from protocol.message import Message, MessageCreated
from protocol.voice import Media, Seated
from server.fact import Change, changing
from server.rule import Bind, Rule
from storage import call as calls
from storage import due
from storage import message as messages
from storage.call import Live
from storage.due import Due
from storage.ids import new_id
from storage.pool import UniqueViolation
from storage.room import Seat
from storage.standing import Standing

if TYPE_CHECKING:
    from server.app import Server
    from server.context import Context

_CALLED = 50
_PEOPLE = 100
_LOOK_EVERY = 10.0
_MEDIA = Media(plane="mesh")


def call_in(field: str = "call", within: str = "channel") -> Rule:
    """The call that goes on in that channel."""
    return Rule(binds=(Bind(field, "call", _call_of, within=within, in_context=True),))


async def _call_of(ctx: Context, channel: Standing, call: UUID) -> Live | None:
    return await calls.get(ctx.db, channel.id, call)


class Calls:
    """The calls of direct channels and groups."""

    def __init__(self, app: Server, ring: float) -> None:
        self._app, self._ring = app, timedelta(seconds=ring)
        app.rooms.thinned = self.settle

    # Beginning

    async def start(self, ctx: Context, channel: Standing, frame: CallStart) -> CallStarted:
        """Call everybody there who is in no other call."""
        if channel.kind not in ("direct", "group"):
            raise Invalid("calls are made in direct channels and groups: see voice.join", field="channel")
        live = await calls.live(ctx.db, channel.id)
        if live is not None:
            return await self._again(ctx, channel, live, frame.nonce)
        called = await calls.callable_by(ctx.db, ctx.user, channel.id, _CALLED)
        free = await self._free(called)
        try:
            live = await self._begin(ctx.user, channel, frame, free, busy=bool(called) and not free)
        except UniqueViolation:
            raise Conflict("this nonce stands for a message, or for a call that is over", field="nonce") from None
        if called and not free:
            over = Seated(channel=channel.id, call=live.id, seat=live.id, back=False, people=[], media=_MEDIA)
            return _started(over, live, busy=True)
        try:
            return _started(await self._enter(ctx, channel, live), live)
        except Refusal:
            await self.finish(channel.id, live.id, "cancelled")
            raise

    async def _again(self, ctx: Context, channel: Standing, live: Live, nonce: UUID) -> CallStarted:
        if (live.caller, live.nonce) != (ctx.user, nonce):
            raise Conflict("there is a call here already: answer it")
        return _started(await self._enter(ctx, channel, live), live)

    async def _free(self, accounts: Sequence[UUID]) -> list[UUID]:
        """Those who are in no call; and that there is somewhere to call from."""
        store = self._app.rooms.store
        await store.seats(new_id())
        places = await asyncio.gather(*map(store.place, accounts))
        return [account for account, place in zip(accounts, places, strict=True) if place is None or not place.call]

    async def _begin(
        self, caller: UUID, channel: Standing, frame: CallStart, free: Sequence[UUID], *, busy: bool
    ) -> Live:
        now, id = datetime.now(UTC), new_id()
        until = now + self._ring
        async with changing(self._app, channel.id, *free) as change:
            await change.standing(caller, channel.id, "send", "connect")
            live = Live(channel.id, id, change.next(channel.id), caller, frame.nonce, answered=False)
            if not busy and not await calls.begin(change.tx, live, until):
                raise Conflict("there is a call here already: answer it")
            state: Literal["busy", "ringing"] = "busy" if busy else "ringing"
            call = Call(id=id, state=state, video=frame.video, people=[caller], ended_at=now if busy else None)
            message = Message(seq=live.seq, author=caller, sent_at=now, call=call)
            expires = await calls.tell(change.tx, channel.id, frame.nonce, message)
            message = replace(message, expires_at=expires)
            change.tell(MessageCreated(stream=channel.id, seq=live.seq, message=message))
            if not busy:
                await self._let_ring(change, live, [one for one in free if change.holds(one)], frame.video, until)
        return live

    async def _let_ring(self, change: Change, live: Live, free: Sequence[UUID], video: bool, until: datetime) -> None:
        for account in free:
            ringing = CallRinging(
                stream=account,
                seq=change.next(account),
                channel=live.channel,
                call=live.id,
                message=live.seq,
                by=live.caller,
                video=video,
                until=until,
            )
            change.tell(ringing)
        await calls.ring(change.tx, live.id, free)
        await due.set_next(change.tx, "call", live.channel, until)

    async def _enter(self, ctx: Context, channel: Standing, live: Live) -> Seated:
        return await self._app.rooms.enter(ctx, channel, live.id, self._app.rooms.plane.most, speaker=True)

    # Answering

    async def answer(self, ctx: Context, channel: Standing, live: Live) -> Seated:
        """Be in it, and ring no more."""
        seated = await self._enter(ctx, channel, live)
        if seated.back:
            return seated
        try:
            async with changing(self._app, channel.id, ctx.user) as change:
                await self._note_answer(change, live, ctx.user)
        except Refusal:
            ctx.app.rooms.quit(ctx)
            raise
        return seated

    async def _note_answer(self, change: Change, live: Live, user: UUID) -> None:
        await change.standing(user, live.channel, "connect")
        now = await calls.get(change.tx, live.channel, live.id)
        if now is None:
            raise Missing
        await self._stop(change, live, [user], "answered")
        first = user != live.caller and not now.answered
        if first:
            await calls.answer(change.tx, live.id)
            await due.set_next(change.tx, "call", live.channel, datetime.now(UTC) + timedelta(seconds=_LOOK_EVERY))
        message = await _message(change, live)
        if message is None or message.call is None:
            return
        call = message.call
        if user not in call.people and len(call.people) < _PEOPLE:
            call = replace(call, people=[*call.people, user])
        if first:
            call = replace(call, state="live", answered_at=datetime.now(UTC))
        if call != message.call:
            await _changed(change, live.channel, replace(message, call=call))

    async def decline(self, user: UUID, channel: Standing, live: Live) -> None:
        """Ring no more; when nobody is left who could answer it is over."""
        async with changing(self._app, channel.id, user) as change:
            stopped = await self._stop(change, live, [user], "declined")
            over = stopped and not await calls.ringing(change.tx, live.id)
            now = await calls.get(change.tx, channel.id, live.id)
        if over and now is not None and not now.answered:
            await self.finish(channel.id, live.id, "declined")

    async def _stop(
        self,
        change: Change,
        live: Live,
        accounts: Sequence[UUID],
        why: Literal["answered", "declined", "ended", "missed"],
    ) -> bool:
        """Whether one of them was ringing."""
        stopped = await calls.stop(change.tx, live.id, [one for one in accounts if change.holds(one)])
        for one in stopped:
            change.tell(CallStopped(stream=one, seq=change.next(one), channel=live.channel, call=live.id, why=why))
        return bool(stopped)

    # Ending

    async def settle(self, channel: UUID, call: UUID, seats: Sequence[Seat]) -> None:
        """Somebody has left: see whether it is over."""
        live = await calls.get(self._app.pool, channel, call)
        if live is not None and await self._over(live, {one.user for one in seats}):
            await self.finish(channel, call, "cancelled")

    async def _over(self, live: Live, users: set[UUID]) -> bool:
        if not users or not live.answered:
            return live.caller not in users
        return len(users) < 2 and await calls.is_direct(self._app.pool, live.channel)

    async def finish(self, channel: UUID, call: UUID, state: Literal["missed", "declined", "cancelled"]) -> None:
        """It is over; `state` if nobody has answered it."""
        ringing = await calls.ringing(self._app.pool, call)
        async with changing(self._app, channel, *ringing) as change:
            live = await calls.get(change.tx, channel, call)
            if live is not None:
                await self._stop(change, live, ringing, "declined" if state == "declined" else _WHY[state])
                await calls.end(change.tx, call)
                await due.finish(change.tx, "call", channel)
                message = await _message(change, live)
                if message is not None and message.call is not None:
                    ended = replace(message.call, state="ended" if live.answered else state, ended_at=datetime.now(UTC))
                    await _changed(change, channel, replace(message, call=ended))
        await self._app.rooms.close(channel, call)

    async def fall_due(self, one: Due) -> None:
        """Nobody has answered in time; or see whether anybody is there still."""
        live = await calls.live(self._app.pool, one.stream)
        if live is None:
            async with changing(self._app, one.stream) as change:
                if await calls.live(change.tx, one.stream) is None:
                    await due.finish(change.tx, "call", one.stream)
            return
        if await self._is_over(live):
            await self.finish(live.channel, live.id, "missed")
            return
        if live.late:
            await self._silence(live)
        await due.put_off(self._app.pool, one, _LOOK_EVERY)

    async def _is_over(self, live: Live) -> bool:
        """What is due may be of the call before: while one rings nobody is expected to be there yet."""
        if not live.answered:
            return live.late
        return await self._over(live, {one.user for one in await self._app.rooms.store.seats(live.id)})

    async def _silence(self, live: Live) -> None:
        """In a group: those who have not answered though others have ring no longer than they would have."""
        ringing = await calls.ringing(self._app.pool, live.id)
        if ringing:
            async with changing(self._app, live.channel, *ringing) as change:
                await self._stop(change, live, ringing, "missed")


_WHY: dict[str, Literal["ended", "missed"]] = {"missed": "missed", "cancelled": "ended"}


def _started(seated: Seated, live: Live, *, busy: bool = False) -> CallStarted:
    fields = {name: getattr(seated, name) for name in seated.__struct_fields__}
    return CallStarted(**fields, message=live.seq, busy=busy)


async def _message(change: Change, live: Live) -> Message | None:
    """The call's message, unless it was taken back."""
    found = await messages.held(change.tx, live.channel, [live.seq])
    return found[0] if found else None


async def _changed(change: Change, channel: UUID, message: Message) -> None:
    await calls.change(change.tx, channel, message)
    change.tell(CallChanged(stream=channel, seq=change.next(channel), message=message))


async def fall_due(app: Server, one: Due) -> None:
    """For the table of what falls due."""
    await app.calls.fall_due(one)
