"""Streams as this process follows them: every socket gets every fact of its streams once, in order, without a gap.

Facts come from commits of this process, from others by Redis, and from the database: every second it is asked for the
heads, and whatever is missing is read.

Rule 1: a fact at or below the head is dropped, the next one is delivered, one further on waits until the gap is closed.
Rule 2: a batch decided under a newer access version waits until it is known who may still hear the stream.
Rule 3: a socket joins where it stands: with everything behind its cursor first, or not before the head reaches it.
Rule 4: encoded once, framed once; a large audience is served in parts, so that nobody else waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from protocol.error import Refusal
from protocol.parts import parts
from server.arrival import Arrivals
from server.audience import Batch, Stream
from server.core import frame
from server.head import Heads
from server.look import Looks
from storage import stream as storage
from storage.pool import Pool
from storage.stream import Place

if TYPE_CHECKING:
    from server.carrier import Carrier
    from server.context import Context
    from server.reach import Reach

log = logging.getLogger("onesocket.stream")

_AT_ONCE = 500  # which take half of the longest time that others may wait
_CROWD = 1000
_PATIENCE, _AGAIN = 0.05, 0.2
_KEPT_BYTES_IN_ALL = 64 * 1024 * 1024
_FETCHED = 500
_KEPT_WITHOUT_AUDIENCE = 30.0
_DELETED = b'{"ev":"message.deleted"'


class Streams:
    """All streams that sockets of this process hear."""

    def __init__(self, pool: Pool, vital: Pool, carrier: Carrier, reach: Reach) -> None:
        """`vital`: for what holds up everybody who hears a stream; `pool`: for those who come."""
        self._pool, self._carrier = vital, carrier
        self._looks = Looks(vital, reach)
        self._streams: dict[UUID, Stream] = {}
        self._guarded: defaultdict[UUID, set[Stream]] = defaultdict(set)
        self.changed: Callable[[Stream], None] = lambda stream: None  # what is allowed in a space
        self.checked: Callable[[UUID], None] = lambda stream: None  # somebody may have lost a right there
        self.kept: Callable[[UUID], bool] = lambda stream: False  # whether it is followed though nobody hears it
        self._tasks: set[asyncio.Task[None]] = set()
        self._heads = Heads(vital, self._streams, self.take, self._behind)
        self._recent_bytes = 0
        self._arrivals = Arrivals(pool, self, reach)
        self.touched: set[UUID] = set()  # where this process has stored facts that nobody has taken up behind it yet
        self.delivered = self.closed_gaps = 0
        carrier.hear(self.take, self.pass_on)

    def get(self, stream: UUID) -> Stream | None:
        """A stream that is followed here."""
        return self._streams.get(stream)

    @property
    def spaces(self) -> list[Stream]:
        """The spaces that are followed here."""
        return [one for id in self._guarded if (one := self._streams.get(id)) is not None]

    @property
    def fetched(self) -> int:
        """How many facts were read from the database."""
        return self.closed_gaps + self._arrivals.fetched

    def __len__(self) -> int:
        return len(self._streams)

    # Facts in

    def committed(self, batches: Iterable[Batch]) -> None:
        """Facts that this process has stored: deliver them here, and tell the others."""
        for batch in batches:
            self.touched.add(batch.stream)
            self._carrier.publish(batch)
            self.take(batch)

    def take(self, batch: Batch) -> None:
        """Facts from anywhere."""
        stream = self._streams.get(batch.stream)
        if stream is None or (batch.last <= stream.head and batch.access <= stream.access):
            return
        if (
            stream.repairing is not None
            or batch.first > stream.head + 1
            or batch.access > stream.access
            or len(stream.sockets) > _AT_ONCE
        ):
            self._repair(stream, batch)
        else:
            self._deliver(stream, batch.frames[stream.head + 1 - batch.first :])

    def _deliver(self, stream: Stream, frames: Sequence[bytes]) -> None:
        data = self._moved(stream, frames)
        for socket in stream.sockets:
            socket.push(data)
        if stream.late:
            stream.serve_late(frames)

    def _moved(self, stream: Stream, frames: Sequence[bytes]) -> bytes:
        """Count facts as delivered; what to send to the sockets that stood at the head before."""
        stream.head += len(frames)
        if any(_DELETED in one[:40] for one in frames):  # nobody gets to read any more what was taken back
            self._recent_bytes -= stream.forget()
        self._recent_bytes += stream.remember(frames)
        self.delivered += len(frames)
        if stream.page is not None and not stream.page.add(frames, stream.head):
            stream.page = None
        if stream.personal:
            self._arrivals.told(stream, frames)
        return frames[0] if len(frames) == 1 else b"".join(frames)

    async def _comes(self, stream: Stream) -> bool:
        """Whether what comes next is here within a moment, from another process or from another commit of this one."""
        head, stream.news = stream.head, asyncio.Event()
        try:
            async with asyncio.timeout(_PATIENCE):
                while stream.head == head and not any(one.first <= head + 1 <= one.last for one in stream.waiting):
                    stream.news.clear()
                    await stream.news.wait()
            return True
        except TimeoutError:
            return False
        finally:
            stream.news = None

    def refresh(self, stream: Stream, frames: Sequence[bytes], last: int) -> None:
        """Facts that were read for somebody: the next one who comes back need not ask for them again."""
        if last == stream.head and len(frames) > len(stream.recent):
            self._recent_bytes -= stream.forget()
            self._recent_bytes += stream.remember(frames)

    # Repair

    def _repair(self, stream: Stream, batch: Batch) -> None:
        if batch.access > stream.access:
            stream.page = None
            if stream.is_space:
                self._look_again(stream)
        stream.waiting.append(batch)
        if stream.news is not None:
            stream.news.set()
        if stream.repairing is None:
            stream.repairing = asyncio.get_running_loop().create_task(self._mend(stream))
            self._tasks.add(stream.repairing)
            stream.repairing.add_done_callback(self._tasks.discard)

    async def _mend(self, stream: Stream) -> None:
        """Deliver what waits, in order, after doing what it waits for."""
        try:
            while stream.waiting:
                try:
                    await self._mend_one(stream)
                except Refusal as refusal:
                    log.debug("stream %s waits for the database: %s", stream.id, refusal)
                    stream.wait_for_all()
                    await asyncio.sleep(_AGAIN)
        except Exception:
            log.exception("stream %s cannot be mended", stream.id)
            stream.waiting.clear()
        finally:
            stream.repairing = None

    async def _mend_one(self, stream: Stream) -> None:
        batch = min(stream.waiting, key=lambda one: one.first)
        newest = max(one.access for one in stream.waiting)
        if newest > stream.access:
            await self._check_audience(stream)
        elif batch.last <= stream.head:
            stream.waiting.remove(batch)
        elif batch.first > stream.head + 1:
            await self._close_gap(stream, batch.first)
        else:
            stream.waiting.remove(batch)
            await self._deliver_in_parts(stream, batch.frames[stream.head + 1 - batch.first :])

    async def _check_audience(self, stream: Stream) -> None:
        """Let go of sockets whose accounts are no longer in the channel; also of those that come meanwhile."""
        asked = list(stream.waiting)
        checked: set[Context] = set()
        versions: list[int] = []
        fresh = stream.audience
        while fresh or not versions:
            checked.update(fresh)
            for some in parts(fresh, _AT_ONCE) if fresh else [fresh]:  # of nobody, too, there is a version
                versions.append(await self._check_some(stream, some))
            fresh = [ctx for ctx in stream.audience if ctx not in checked]
        stream.access = max(stream.access, min(versions))
        stream.page = None
        self.checked(stream.id)
        if stream.is_space:
            self.changed(stream)
        for one in asked:  # what was asked for by a version that no fact has is done; what came meanwhile may have one
            one.access = min(one.access, stream.access)

    def _look_again(self, space: Stream) -> None:
        """Somebody has lost a right in a space: in its channels, too; all of them are looked at together."""
        for stream in self._guarded.get(space.id, set()) - {space}:
            self._repair(stream, Batch(stream.id, stream.access + 1, 0, ()))

    async def _check_some(self, stream: Stream, some: Sequence[Context]) -> int:
        """Let go of those of these that are not in the channel; under which access version that was read."""
        sessions = {ctx: ctx.session for ctx in some if ctx.session is not None}
        accounts = list({session.account for session in sessions.values()})
        access, members = await self._looks.audience(stream, accounts)
        for ctx, session in sessions.items():
            if session.account not in members and ctx.session is session:
                stream.let_go(ctx)
        return access

    async def _close_gap(self, stream: Stream, upto: int) -> None:
        """What is missing may be on its way, unless it is very much; if it does not come soon, read it."""
        if upto - stream.head <= _FETCHED and await self._comes(stream):
            return
        missed = await storage.missed(self._pool, stream.id, stream.head, _FETCHED)
        if missed is None or not missed.follows(stream.head):
            self._lose(stream, gone=missed is None)
            return
        self.closed_gaps += len(missed.facts)
        frames = [frame(1, body) for _, body in missed.facts]
        stream.waiting.append(Batch(stream.id, missed.access, missed.facts[0][0], frames))

    def _behind(self, stream: Stream) -> None:
        """The database knows less than was told: it has lost something, or somebody told what is not true."""
        log.error("stream %s is ahead of the database: its sockets come back", stream.id)
        self._lose(stream, gone=False)

    def _lose(self, stream: Stream, *, gone: bool) -> None:
        """The stream is no more, or what is missing is: then its sockets come back and read anew."""
        stream.waiting.clear()
        if self._streams.get(stream.id) is stream:
            self._drop(stream)
        self.checked(stream.id)
        for ctx in stream.audience:
            stream.let_go(ctx)
            if not gone:
                ctx.socket.close(4503, "facts were lost here: reconnect and resume")

    async def _deliver_in_parts(self, stream: Stream, frames: Sequence[bytes]) -> None:
        if len(stream.sockets) <= _AT_ONCE:
            self._deliver(stream, frames)
            return
        data = self._moved(stream, frames)
        stream.serving = set(stream.sockets)
        if stream.late:
            stream.serve_late(frames)
        while stream.serving:
            for _ in range(min(_AT_ONCE, len(stream.serving))):
                stream.serving.pop().push(data)
            await asyncio.sleep(0)

    # Joining

    async def join(self, ctx: Context, places: Sequence[Place], cursors: Mapping[UUID, int]) -> list[UUID]:
        """Have a socket hear streams, the first of which is its account's own, from its cursors on.

        What was missed is sent first; the streams of which that is not possible begin at their present heads.
        """
        return await self._arrivals.join(ctx, places, cursors)

    def follow(self, place: Place, personal: bool) -> Stream:
        """A stream that somebody here is going to hear."""
        stream = self._streams.get(place.id)
        if stream is None:
            stream = self._streams[place.id] = Stream(place, personal)
            if place.guard is not None:
                self._guarded[place.guard].add(stream)
            self._carrier.follow(place.id)
            self._heads.ask_soon(stream)
        return stream

    def place(self, stream: Stream, ctx: Context, seq: int, access: int) -> None:
        """Let a socket hear a stream from its place on, as it was allowed under an access version."""
        if not ctx.connected or ctx.session is None:
            return
        ctx.streams.add(stream)
        if stream.personal and not ctx.session.unlimited:
            stream.silent.add(ctx)  # it enters and leaves channels with the account, and hears only those
        elif seq == stream.head:
            stream.sockets.add(ctx.socket)
        else:
            stream.late[ctx] = seq
            self._heads.ask_soon(stream)
        if stream.access != access:  # one of the two has not heard yet who lost what: look again before going on
            self._repair(stream, Batch(stream.id, max(stream.access, access) + 1, 0, ()))

    async def watch(self, ctx: Context, places: Sequence[Place]) -> dict[UUID, int]:
        """Have a socket hear channels from their heads on; which it hears from where."""
        found: dict[UUID, int] = {}
        for place in places:
            stream = self.follow(place, personal=False)
            if stream not in ctx.streams:
                self.place(stream, ctx, max(stream.head, place.head), place.access)
            found[place.id] = stream.late.get(ctx, stream.head)
        return found

    # Leaving

    def let_go(self, ctx: Context, stream: Stream) -> None:
        """A socket hears a stream no more; with a space all that is in it."""
        for one in self._guarded.get(stream.id, set()) | {stream}:
            one.let_go(ctx)

    @staticmethod
    def leave_all(ctx: Context) -> None:
        """A socket hears nothing any more."""
        for stream in list(ctx.streams):
            stream.let_go(ctx)

    # Passing events

    def tell(self, stream: UUID, want: str, by: UUID, body: bytes) -> None:
        """An event that is not kept, for everybody who hears the stream and wants such, but one account."""
        one = frame(1, body)
        self._carrier.pass_on(stream, want, by, one)
        self.pass_on(stream, want, by, one)

    def pass_on(self, stream_id: UUID, want: str, by: UUID, one: bytes) -> None:
        """The same, from another process. A crowd is not told: nobody there could follow it."""
        stream = self._streams.get(stream_id)
        if stream is None or len(stream.sockets) > _CROWD:
            return
        for socket in stream.sockets:
            ctx = socket.conversation
            if ctx is not None and want in ctx.wants and ctx.session.account != by:  # type: ignore[attr-defined]
                socket.push(one)

    # Keeping up

    async def run(self) -> None:
        """Ask for the heads again and again, and forget streams that nobody hears."""
        await self._heads.run(self._forget)

    def _forget(self) -> None:
        now = time.monotonic()
        for stream in list(self._streams.values()):
            if stream.sockets or stream.silent or stream.late or stream.coming or stream.repairing is not None:
                continue
            if now - stream.alone_since > _KEPT_WITHOUT_AUDIENCE and not self.kept(stream.id):
                self._drop(stream)
        pages = sum(stream.page.bytes for stream in self._streams.values() if stream.page is not None)
        if self._recent_bytes + pages > _KEPT_BYTES_IN_ALL:
            for stream in self._streams.values():
                stream.forget()
                stream.page = None
            self._recent_bytes = 0

    def _drop(self, stream: Stream) -> None:
        del self._streams[stream.id]
        if stream.guard is not None:
            self._guarded[stream.guard].discard(stream)
            if not self._guarded[stream.guard]:
                del self._guarded[stream.guard]
        self._carrier.unfollow(stream.id)
        self._recent_bytes -= stream.forget()

    async def stop(self) -> None:
        """Deliver nothing more."""
        await self._arrivals.stop()
        await self._looks.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
