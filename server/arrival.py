"""How sockets come to hear streams: from where they stand, with everything behind their cursors first.

Rule 1: who was allowed under one access version is looked at again before hearing anything under another.
Rule 2: a socket catches up with a stream once at a time, and is sent no more than it reads.
Rule 3: who has entered a channel comes to hear it, also when the database has no time at that moment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.channel import ChannelJoined
from protocol.error import Refusal
from server.audience import Stream
from server.core import frame, payload
from storage import stream as storage
from storage.pool import Pool
from storage.stream import Place

if TYPE_CHECKING:
    from server.context import Context
    from server.reach import Reach
    from server.stream import Streams

log = logging.getLogger("onesocket.stream")

_FETCHED = 500
_FAR_BEHIND = 10_000
_FEW_BYTES, _AT_ONCE_BYTES = 262144, 65536
_IN_ONE_TURN = 500
_AGAIN, _AFTER_FAILURE = 0.2, 2.0
_LEFT_AGAIN, _ENTERS_ELSEWHERE = -2, -1  # instead of the seq from which a channel is heard
_READ_AT_ONCE = 4
_JOINED, _LEFT = b'{"ev":"channel.joined"', b'{"ev":"channel.left"'
_IN, _OUT = b'{"ev":"space.joined"', b'{"ev":"space.left"'


class _Named(Struct):
    """A fact about a channel, as far as it matters here."""

    channel: UUID


class _Space(Struct):
    """A space, as far as it matters here."""

    id: UUID


class _In(Struct):
    """A fact about having entered a space."""

    space: _Space


class _Out(Struct):
    """A fact about having left a space."""

    space: UUID


_decode_joined = msgspec.json.Decoder(ChannelJoined).decode
_decode_channel = msgspec.json.Decoder(_Named).decode
_decode_in, _decode_out = msgspec.json.Decoder(_In).decode, msgspec.json.Decoder(_Out).decode


def _ways(frames: Sequence[bytes]) -> Iterator[tuple[UUID, int]]:
    """Which streams were entered, and from which seq on, or left (`_LEFT_AGAIN`), in facts of an account."""
    for one in frames:
        body = payload(one)
        if body.startswith(_JOINED):
            membership = _decode_joined(body).membership
            yield membership.channel.id, membership.head
        elif body.startswith(_LEFT):
            yield _decode_channel(body).channel, _LEFT_AGAIN
        elif body.startswith(_IN):
            yield _decode_in(body).space.id, 0
        elif body.startswith(_OUT):
            yield _decode_out(body).space, _LEFT_AGAIN


class Arrivals:
    """Sockets on their way into the audiences of streams."""

    def __init__(self, pool: Pool, streams: Streams, reach: Reach) -> None:
        self._pool, self._streams, self._reach = pool, streams, reach
        self._entering: dict[tuple[UUID, UUID], int | None] = {}
        self._joining: dict[Context, dict[UUID, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = asyncio.Semaphore(_READ_AT_ONCE)
        self.fetched = 0

    async def join(self, ctx: Context, places: Sequence[Place], cursors: Mapping[UUID, int]) -> list[UUID]:
        """Have a socket hear streams, the first of which is its account's own, from its cursors on.

        What was missed is sent first; the streams of which that is not possible begin at their present heads.
        """
        entered = self._joining[ctx] = {}
        try:
            return await self._join(ctx, places, cursors, entered)
        finally:
            del self._joining[ctx]

    async def _join(
        self, ctx: Context, places: Sequence[Place], cursors: Mapping[UUID, int], entered: dict[UUID, int]
    ) -> list[UUID]:
        """`entered`: of which channels the socket was told meanwhile, and from where on it hears them."""
        reset: list[UUID] = []
        for number, place in enumerate(places, 1):
            stream = self._streams.follow(place, personal=number == 1)
            if stream in ctx.streams:  # it was entered while others caught up
                continue
            since = entered.get(place.id)
            if since is not None and since < 0:  # told so just now, after the places were read
                continue
            seq = cursors.get(place.id, place.head if since is None else since)
            seq = seq if since is None else max(seq, since)
            if seq > max(place.head, stream.head):
                reset.append(place.id)
                seq = place.head
            if not await self._arrive(ctx, stream, seq, place, entered):
                reset.append(place.id)
            if number % _IN_ONE_TURN == 0:
                await asyncio.sleep(0)
        known = {place.id for place in places}
        for channel, head in list(entered.items()):
            if head < 0 or channel in known:
                continue
            found = await self._reach.place(self._pool, places[0].id, channel)
            if found is not None:
                await self._enter(ctx, found, head)
        return reset + [stream for stream in cursors if stream not in known and stream not in entered]

    async def _arrive(self, ctx: Context, stream: Stream, seq: int, place: Place, entered: dict[UUID, int]) -> bool:
        """Let a socket hear a stream from a seq on; False when what is behind that cannot be had any more."""
        if seq >= max(stream.head, place.head):
            self._streams.place(stream, ctx, seq, place.access)
            return True
        if ctx in stream.coming:
            return True
        stream.coming[ctx] = None
        try:
            return await self._catch_up(ctx, stream, seq, place, entered)
        finally:
            del stream.coming[ctx]

    async def _catch_up(self, ctx: Context, stream: Stream, seq: int, place: Place, entered: dict[UUID, int]) -> bool:
        """Up to the head of the place at least, also when this process has not heard so far itself."""
        session, access, upto = ctx.session, place.access, place.head
        whole = True
        while seq < max(stream.head, upto) and whole:
            if session is None or ctx.session is not session or not ctx.connected:
                return True
            frames, now = stream.since(seq) if seq < stream.head else None, stream.access
            if frames is None:
                async with self._reading:
                    missed = await storage.missed(self._pool, stream.id, seq, _FETCHED)
                if missed is None or not missed.follows(seq) or missed.head - seq > _FAR_BEHIND:
                    whole, seq = False, max(stream.head, upto)
                    continue
                frames, now = [frame(1, body) for _, body in missed.facts], missed.access
                self.fetched += len(frames)
                self._streams.refresh(stream, frames, seq + len(frames))
            if now != access:
                reads, found = await self._look_again(session.account, stream.id)
                if found is None:
                    return True  # no longer a member: that is told by another stream
                access = found.access
                if not reads:
                    whole, seq = False, max(stream.head, upto)
                    continue
                if now > access:
                    continue
            if entered.get(stream.id) == _LEFT_AGAIN:
                return True
            seq += len(frames)
            if stream.personal:
                entered.update(_ways(frames))
            if session.unlimited or not stream.personal:
                await self._send(ctx, frames)
        if ctx.session is session and entered.get(stream.id) != _LEFT_AGAIN:
            self._streams.place(stream, ctx, seq, access)
        return whole

    async def _look_again(self, account: UUID, stream: UUID) -> tuple[bool, Place | None]:
        """Whether an account may (still) read what was said there, and where the stream is, if it may hear it."""
        found = await self._reach.place(self._pool, account, stream, "history")
        return found is not None, found or await self._reach.place(self._pool, account, stream)

    @staticmethod
    async def _send(ctx: Context, frames: Sequence[bytes]) -> None:
        """Not more than the other side reads, nor so much at once that it would seem not to read at all."""
        session, part, size = ctx.session, list[bytes](), 0
        for number, one in enumerate(frames, 1):
            part.append(one)
            size += len(one)
            if size < _AT_ONCE_BYTES and number < len(frames):
                continue
            if ctx.session is session:
                ctx.socket.push(b"".join(part))
            part, size = [], 0
            await asyncio.sleep(0)
            while ctx.connected and ctx.socket.transport.get_write_buffer_size() > _FEW_BYTES:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    # Entering and leaving channels, as accounts are told

    def told(self, account: Stream, frames: Sequence[bytes]) -> None:
        """Facts of an account were delivered: its sockets hear other channels from now on."""
        for stream, head in _ways(frames):
            if head == _LEFT_AGAIN:
                self._has_left(account, stream)
            else:
                self._has_entered(account, stream, head)

    def _has_entered(self, account: Stream, channel: UUID, head: int) -> None:
        for ctx in account.audience:
            if ctx in self._joining:
                self._joining[ctx].setdefault(channel, _ENTERS_ELSEWHERE)
        key = account.id, channel
        running = key in self._entering
        self._entering[key] = head
        if not running:
            task = asyncio.get_running_loop().create_task(self._enter_all(account, channel))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _has_left(self, account: Stream, channel: UUID) -> None:
        if (account.id, channel) in self._entering:
            self._entering[account.id, channel] = None
        left = self._streams.get(channel)
        for ctx in account.audience:
            if ctx in self._joining:
                self._joining[ctx][channel] = _LEFT_AGAIN
            if left is not None:
                self._streams.let_go(ctx, left)

    async def _enter_all(self, account: Stream, channel: UUID) -> None:
        """All sockets of an account hear a channel from where it was entered."""
        key = account.id, channel
        try:
            while (head := self._entering[key]) is not None and (audience := account.audience):
                try:
                    place = await self._reach.place(self._pool, account.id, channel)
                    for ctx in audience:
                        if place is not None and account in ctx.streams:
                            await self._enter(ctx, place, head)
                except Refusal:
                    await asyncio.sleep(_AGAIN)
                    continue
                except Exception:
                    log.exception("account %s cannot enter channel %s", account.id, channel)
                    await asyncio.sleep(_AFTER_FAILURE)
                    continue
                if self._entering[key] == head:
                    return
        finally:
            del self._entering[key]

    async def _enter(self, ctx: Context, place: Place, head: int) -> None:
        stream = self._streams.follow(place, personal=False)
        if stream not in ctx.streams:
            await self._arrive(ctx, stream, head, place, {})

    async def stop(self) -> None:
        """Let nobody in any more."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
