"""Rooms: calls and voice channels as this process knows them: the seats that sockets here hold, and what was told.

A room is in Redis (storage/room.py). Whoever changes one says only that it has changed: then every process that has a
seat or a watcher there looks at it, and tells what is different from what it told last, all of it. So a lost message
costs a moment: each looks again every few seconds, when it renews the seats that it holds.

Rule 1: a socket that is lost lets go of its seat, and takes it away by nothing: it is free for the same login to take
        up again, here or elsewhere, and ends when it is renewed no more.
Rule 2: who loses the right to be there is put out with the access version that takes it, and if Redis is away by not
        being renewed any more.
Rule 3: an account is in one room at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec.structs import replace

from protocol.codec import encode
from protocol.error import Conflict, Refusal
from protocol.permission import bits
from protocol.voice import Participant, Seated, VoiceChanged, VoiceEnded, VoiceSignalled
from server.core import frame
from server.seat import Held, Room, Seats
from storage import stream
from storage.ids import new_id
from storage.room import Place, RoomStore, Seat
from storage.standing import Standing

if TYPE_CHECKING:
    from server.app import Server
    from server.context import Context
    from server.media_plane import MediaPlane

log = logging.getLogger("onesocket.room")

_RENEWALS = 5  # while a seat lasts
_MOMENT = 0.02
_AT_ONCE = 16
_CONNECT, _SPEAK, _VIDEO = bits(["connect"]), bits(["speak"]), bits(["video"])


class Rooms:
    """All that this process knows of calls and voice channels."""

    def __init__(self, app: Server, plane: MediaPlane, grace: float) -> None:
        """`grace`: seconds for which a seat is kept after it was renewed last."""
        self._app, self.plane, self._every = app, plane, grace / _RENEWALS
        self.store = RoomStore(app.bus.script, grace)
        self.thinned: Callable[[UUID, UUID, Sequence[Seat]], Awaitable[None]]  # somebody has left a call
        self._rooms: dict[UUID, Room] = {}
        self._seats = Seats()
        self._dirty: set[UUID] = set()
        self._doubtful: set[UUID] = set()  # channels where somebody may have lost a right
        self._wake = asyncio.Event()
        self._looking = False
        app.carrier.hear_rooms(self._heard, self._seats.push)
        app.streams.checked, app.streams.kept = self._doubt, self._seats.somewhere_in

    def mine(self, ctx: Context, channel: UUID) -> Held | None:
        """The seat that a socket holds in a channel."""
        held = self._seats.of(ctx)
        return held if held is not None and held.place.channel == channel else None

    @property
    def held(self) -> int:
        """How many seats are held here."""
        return len(self._seats)

    # Coming

    async def enter(
        self, ctx: Context, channel: Standing, call: UUID | None, most: int, *, speaker: bool, **fields: bool
    ) -> Seated:
        """Take a seat with a socket; where else its account was it is no more."""
        assert ctx.session is not None
        room, login = call or channel.id, ctx.session.device or ctx.session.key
        assert login is not None
        wanted = Seat(
            user=ctx.user,
            seat=new_id(),
            login=login,
            holder=new_id(),
            joined_at=datetime.now(UTC),
            speaker=speaker,
            **fields,
        )
        seat = await self.store.enter(room, wanted, min(most, self.plane.most))
        if seat is None:
            raise Conflict("there is no room for another one")
        place = Place(channel.id, room, seat.seat, call)
        await self._sit(ctx, place, seat, channel.kind)
        media = await self.plane.admit(room, seat)
        people = [one.shown() for one in await self.store.seats(room)]
        back = seat.seat != wanted.seat
        return Seated(channel=channel.id, call=call, seat=seat.seat, back=back, people=people, media=media)

    async def _sit(self, ctx: Context, place: Place, seat: Seat, kind: str) -> None:
        before = await self.store.sit(seat.user, place)
        if before is not None and before.seat != place.seat:
            await self._take(before, "elsewhere")
        self.let_go(ctx)
        room = self._known(place.channel, place.room, place.call is not None)
        older = self._seats.get(place.seat)
        if older is not None:
            await self._drop(older, "elsewhere")
        room.held[place.seat] = held = Held(ctx, place, seat, kind)
        self._seats.hold(held)
        await self._keep(place.channel)
        await self._check(place.channel)  # it may have been lost since it was looked at
        if not ctx.connected:
            self.went(ctx)
        self.changed(place)

    async def _keep(self, channel: UUID) -> None:
        """Follow a channel, so that what happens there is heard of, whoever hears it here."""
        if self._app.streams.get(channel) is None:
            found = await stream.place(self._app.pool, channel)
            if found is not None:
                self._app.streams.follow(found, personal=False)

    def _known(self, channel: UUID, room: UUID, call: bool) -> Room:
        return self._rooms.setdefault(room, Room(room, channel, call))

    # Going

    def went(self, ctx: Context) -> None:
        """A socket is gone; its account may come back with another one."""
        if ctx.connected:
            self.quit(ctx)  # it has only logged out
        self.let_go(ctx)

    def quit(self, ctx: Context) -> None:
        """A socket speaks for its account no more, and must not come back."""
        held = self._seats.of(ctx)
        if held is not None:
            self.let_go(ctx)
            self._app.later(self._leave_later(held))

    async def _leave_later(self, held: Held) -> None:
        await self.leave(held.place, held.seat.user, "lost")

    def let_go(self, ctx: Context) -> None:
        """A socket holds no seat any more."""
        held = self._seats.let_go(ctx)
        if held is not None:
            del self._rooms[held.place.room].held[held.place.seat]

    async def leave(self, place: Place, user: UUID, why: str) -> bool:
        """Take a seat away; whether it was there."""
        await self.store.rise(user, place)
        return await self._take(place, why)

    async def _take(self, place: Place, why: str) -> bool:
        was, left = await self.store.leave(place.room, place.seat, why)
        self.changed(place)
        if place.call is not None:
            await self.thinned(place.channel, place.call, await self.store.seats(place.room) if left else ())
        return was

    async def close(self, channel: UUID, call: UUID) -> None:
        """A call is over."""
        for one in await self.store.seats(call):
            await self.store.rise(one.user, Place(channel, call, one.seat, call))
        await self.store.close(call, "ended")
        self.changed(Place(channel, call, call, call))

    # Saying

    async def change(self, place: Place, **fields: bool) -> bool:
        """Say how somebody is; False when they are not there."""
        if not await self.store.change(place.room, place.seat, **fields):
            return False
        self.changed(place)
        return True

    def signal(self, place: Place, seat: Seat, to: Seat, data: str) -> None:
        """From one seat to another in the same room."""
        said = VoiceSignalled(channel=place.channel, call=place.call, user=seat.user, seat=seat.seat, data=data)
        one = frame(1, encode(said))
        if not self._seats.push(to.seat, one):
            self._app.carrier.signal(place.channel, to.seat, one)

    # Looking

    def changed(self, place: Place) -> None:
        """A room is not what it was: tell everybody."""
        self._heard(place.channel, place.room, place.call is not None)
        self._app.carrier.tell_room(place.channel, place.room, place.call is not None)

    def _heard(self, channel: UUID, room: UUID, call: bool) -> None:
        if room in self._rooms or (not call and self._watched(channel)):
            self._known(channel, room, call)
            self._dirty.add(room)
            self._wake.set()

    def _watched(self, channel: UUID) -> bool:
        found = self._app.streams.get(channel)
        return found is not None and found.guard is not None and bool(found.sockets)

    def noticed(self, channel: UUID, seats: Sequence[Seat]) -> None:
        """Somebody has looked at a voice channel: its watchers are told when those who are there are gone."""
        if seats and channel not in self._rooms and self._watched(channel):
            room = self._known(channel, channel, False)
            room.people, room.users = [one.shown() for one in seats], len(seats)

    async def run(self) -> None:
        """Look at what has changed, and at everything every few seconds."""
        clock = asyncio.get_running_loop().time
        renewed = clock()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, renewed + self._every - clock())):
                    await self._wake.wait()
                await asyncio.sleep(_MOMENT)
            self._looking = True
            self._wake.clear()
            if clock() - renewed >= self._every:
                renewed = clock()
                self._dirty.update(self._rooms)
                await self._sit_on()
            await self._check_doubtful()
            dirty, self._dirty = list(self._dirty), set()
            for at in range(0, len(dirty), _AT_ONCE):
                await asyncio.gather(*(self._look(room) for room in dirty[at : at + _AT_ONCE]))
            self._looking = False

    @property
    def settled(self) -> bool:
        """Whether everything that is known of here was told."""
        return not (self._dirty or self._doubtful or self._looking)

    async def _sit_on(self) -> None:
        """Those who are here are here still."""
        for held in self._seats.all():
            await self._keep(held.place.channel)
            await self.store.sit(held.seat.user, held.place)

    async def _look(self, id: UUID) -> None:
        room = self._rooms.get(id)
        if room is None:
            return
        renewed = [(one, one.seat) for one in room.held.values()]
        try:
            seats = await self.store.renew(id, [seat for _, seat in renewed])
            if seats is None:
                return
            await self._compare(room, seats, [one for one, _ in renewed])
            await self._tell(room, seats)
        except Refusal as refusal:
            log.debug("a room waits: %s", refusal)
            self._dirty.add(id)

    async def _compare(self, room: Room, seats: Sequence[Seat], held: Iterable[Held]) -> None:
        """What has become of the seats that are held here."""
        now = {one.seat: one for one in seats}
        for one in held:
            if room.held.get(one.place.seat) is not one:
                continue
            found = now.get(one.place.seat)
            if found is None or found.holder != one.seat.holder:
                why = "elsewhere" if found is not None else await self.store.why(room.id, one.place.seat)
                await self._drop(one, why)
            elif found != one.seat:
                changed = (found.speaker, found.deaf) != (one.seat.speaker, one.seat.deaf)
                one.seat = found
                if changed:
                    await self.plane.changed(room.id, found)

    async def _drop(self, held: Held, why: str) -> None:
        """A socket is told that it holds its seat no more."""
        if self._seats.of(held.ctx) is not held:
            return
        self.let_go(held.ctx)
        word, _, to = why.partition(":")
        ended = VoiceEnded(
            channel=held.place.channel,
            call=held.place.call,
            why=word,  # type: ignore[arg-type]
            to=UUID(to) if to else None,
        )
        held.ctx.socket.push(frame(1, encode(ended)))

    async def _tell(self, room: Room, seats: Sequence[Seat]) -> None:
        people, before = [one.shown() for one in seats], room.people
        fewer, room.people, room.users = len(seats) < room.users, people, len(seats)
        for seat in {one.seat for one in before} - {one.seat for one in people}:
            await self.plane.left(room.id, seat)
        said = VoiceChanged(channel=room.channel, call=room.id if room.call else None, people=people)
        one = b""
        for held in room.held.values():
            if held.told != people:
                held.told, one = people, one or frame(1, encode(said))
                held.ctx.socket.push(one)
        if not room.call and _quiet(people) != _quiet(before):
            self._tell_watchers(room, one or frame(1, encode(said)))
        if room.call and fewer:
            await self.thinned(room.channel, room.id, seats)
        wanted = room.held or (people and not room.call and self._watched(room.channel))
        if not wanted and self._rooms.get(room.id) is room:
            del self._rooms[room.id]

    def _tell_watchers(self, room: Room, one: bytes) -> None:
        found = self._app.streams.get(room.channel)
        for socket in found.sockets if found is not None else ():
            ctx = socket.conversation
            if ctx is not None and "voice" in ctx.wants and self.mine(ctx, room.channel) is None:  # type: ignore[attr-defined, arg-type]
                socket.push(one)

    # Rights

    def _doubt(self, channel: UUID) -> None:
        if self._seats.somewhere_in(channel):
            self._doubtful.add(channel)
            self._wake.set()

    async def _check_doubtful(self) -> None:
        for channel in list(self._doubtful):
            try:
                await self._check(channel)
            except Refusal as refusal:
                log.debug("who may be in %s waits: %s", channel, refusal)
                self._wake.set()
                await asyncio.sleep(_MOMENT)
                continue
            self._doubtful.discard(channel)

    async def _check(self, channel: UUID) -> None:
        """Put those out of a channel who may not be there any more."""
        some = self._seats.all(channel)
        found = await self._app.structures.look(self._app.vital, [channel] * len(some), [one.seat.user for one in some])
        for held, standing in zip(some, found, strict=True):
            allowed = standing.allowed if standing is not None else 0
            if not allowed & _CONNECT:
                await self._forbid(held)
            else:
                await self._adapt(held, allowed)

    async def _forbid(self, held: Held) -> None:
        await self._drop(held, "forbidden")
        with contextlib.suppress(Refusal):  # then it ends by itself
            await self.leave(held.place, held.seat.user, "forbidden")

    async def _adapt(self, held: Held, allowed: int) -> None:
        """What somebody who stays may do there now."""
        seat, fields = held.seat, dict[str, bool]()
        speaker = bool(allowed & _SPEAK) and not seat.silenced
        if held.kind == "voice" and seat.speaker != speaker:
            fields["speaker"] = speaker
        if not allowed & _VIDEO and (seat.camera or seat.screen):
            fields.update(camera=False, screen=False)
        if fields:
            held.seat = replace(seat, **fields)
            await self.change(held.place, **fields)


def _quiet(people: Sequence[Participant]) -> list[Participant]:
    """What watchers are told of: not who is speaking at this moment."""
    return [replace(one, speaking=False) for one in people]
