"""Threads: opening, changing and ending them, and what goes by itself: following, putting away and getting out.

Rule 1: what has changed is told in the stream of the channel that the thread is in, and in its own.
Rule 2: who writes follows the thread and gets it out before the message is stored: no message is in one put away.
Rule 3: whoever locks a thread or puts it away moves its access version: what is known of writers is looked at anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec.structs import replace

from protocol.error import Conflict, Forbidden, Invalid, Missing, Refusal
from protocol.permission import Permission, bits
from protocol.thread import Thread, ThreadDeleted, ThreadOpen, ThreadOpened, ThreadUpdate, ThreadUpdated
from server.access import Undecided, channel_seen
from server.fact import Change, changing
from server.posting import extra
from server.rule import Bind, Rule, check
from storage import channel as channels
from storage import deed, grave, retention, stream
from storage import message as messages
from storage import thread as threads
from storage.ids import new_id
from storage.pool import UniqueViolation
from storage.standing import Standing

if TYPE_CHECKING:
    from protocol.message import Message
    from server.app import Server
    from server.context import Context
    from storage.pool import Database

log = logging.getLogger("onesocket.thread")

_IN = ("text", "broadcast", "forum")
_MOST_ACTIVE = 5000
_MANAGE = bits(["manage_threads"])
_EVERY, _AT_ONCE, _BREATH = 60.0, 100, 0.02


# Who may do what with threads


def in_thread(field: str = "thread") -> Rule:
    """A thread in a channel that the viewer sees."""
    return Rule(binds=(Bind(field, "thread", thread_seen, in_context=True),))


async def thread_seen(ctx: Context, thread: UUID) -> Standing | None:
    """How the viewer stands in a thread now."""
    found = await channel_seen(ctx, thread)
    return found if found is not None and found.kind == "thread" else None


async def readable(db: Database, viewer: UUID, channel: Standing, seq: int) -> Message | None:
    """A message that the viewer sees, in a channel where they read what was said."""
    return await messages.visible(db, viewer, channel, seq) if channel.reads else None


# Opening


async def open_(app: Server, user: UUID, channel: Standing, frame: ThreadOpen) -> Thread:
    """A thread, with its first message; a retry goes on where it was interrupted."""
    if channel.kind not in _IN:
        raise Invalid("threads are in text channels, broadcasts and forums", field="channel")
    if channel.kind == "forum" and frame.text is None:
        raise Invalid("in a forum a thread begins with a message", field="text")
    made = await threads.made_with(app.pool, user, frame.nonce) or await _create(app, user, channel, frame)
    if made.channel != channel.id:
        raise Conflict("this nonce stands for a thread in another channel", field="nonce")
    if frame.text is not None:
        more = extra(frame.text, None, (), False)
        await app.posting.send(Undecided(made.id), user, frame.nonce, frame.text, more).wait()
    return made


async def _create(app: Server, user: UUID, channel: Standing, frame: ThreadOpen) -> Thread:
    needs: tuple[Permission, ...] = ("start_threads", *(("send_in_threads",) if frame.text is not None else ()))
    try:
        async with changing(app, channel.id) as change:
            standing = await change.standing(user, channel.id, *needs)
            before = await _before(change, user, frame)
            return before or await _add(change, user, standing, frame)
    except UniqueViolation:
        raise Conflict("this nonce stands for another channel", field="nonce") from None


async def _before(change: Change, user: UUID, frame: ThreadOpen) -> Thread | None:
    made = await threads.made_with(change.tx, user, frame.nonce)
    if made is None and frame.seq is not None:
        if not await messages.held(change.tx, frame.channel, [frame.seq]):
            raise Missing
        made = await threads.started_from(change.tx, frame.channel, frame.seq)
    return made


async def _add(change: Change, user: UUID, channel: Standing, frame: ThreadOpen) -> Thread:
    if await threads.count(change.tx, channel.id) >= _MOST_ACTIVE:
        raise Conflict(f"a channel has room for {_MOST_ACTIVE} active threads: put some away first")
    id = new_id()
    change.add(await stream.create(change.tx, id, channel.space))
    await channels.create(
        change.tx, "thread", id, user, name=frame.name, nonce=frame.nonce, space=channel.space, parent=channel.id
    )
    await retention.begin(change.tx, id)
    await threads.create(change.tx, channel.id, id, frame.seq)
    await threads.follow(change.tx, user, id, True)
    made = await threads.get(change.tx, id)
    assert made is not None
    change.tell(ThreadOpened(stream=channel.id, seq=change.next(channel.id), thread=made))
    return made


# Changing


@asynccontextmanager
async def _held(app: Server, id: UUID) -> AsyncIterator[tuple[Change, Thread]]:
    """A thread that is held, with its channel."""
    found = await threads.get(app.pool, id)
    if found is None:
        raise Missing
    async with changing(app, found.channel, id) as change:
        held = await threads.get(change.tx, id) if change.holds(id) and change.holds(found.channel) else None
        if held is None:
            raise Missing
        yield change, held


async def update(app: Server, user: UUID, frame: ThreadUpdate) -> Thread:
    """One's own, or with `manage_threads`."""
    async with _held(app, frame.thread) as (change, before):
        standing = await change.standing(user, before.id)
        if frame.locked is not None:
            check(standing.allowed, _MANAGE)
        if before.owner != user or not standing.writes:
            check(standing.allowed, _MANAGE)
        fields = {name: getattr(frame, name) for name in ("name", "archived", "locked")}
        after = replace(before, **{name: one for name, one in fields.items() if one is not None})
        if after != before:
            await _save(change, before, after)
            if before.owner != user:
                await deed.note(change.tx, _space(standing), user, "thread.update", before.id, before, after, "")
    return after


async def _save(change: Change, before: Thread, after: Thread) -> None:
    await threads.update(change.tx, after)
    if (after.locked, after.archived) != (before.locked, before.archived):
        change.withdraw(after.id)
    for stream_ in (after.channel, after.id):
        change.tell(ThreadUpdated(stream=stream_, seq=change.next(stream_), thread=after))


def _space(standing: Standing) -> UUID:
    assert standing.space is not None
    return standing.space


async def delete(app: Server, user: UUID, id: UUID) -> None:
    """With `manage_threads`, or one's own in which nobody else has written."""
    async with _held(app, id) as (change, gone):
        standing = await change.standing(user, id)
        if not standing.allowed & _MANAGE:
            if gone.owner != user or not standing.writes:
                check(standing.allowed, _MANAGE)
            if await threads.others_wrote(change.tx, id, user):
                raise Forbidden("others have written there: that takes the permission manage_threads")
        await threads.forget_origin(change.tx, gone)
        await grave.dig(change.tx, id, user)
        change.withdraw(id)
        change.tell(ThreadDeleted(stream=gone.channel, seq=change.next(gone.channel), thread=id))
        await deed.note(change.tx, _space(standing), user, "thread.delete", id, gone, None, "")
    app.graves.wake()


# What goes by itself


class Threads:
    """Has writers follow, gets out what they write in, and puts away what nobody writes in any more."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def settle(self, pairs: Collection[tuple[UUID, UUID]]) -> None:
        """Somebody is about to write into threads: which, and who."""
        for id in await threads.follow_first(self._server.pool, sorted(pairs)):
            with contextlib.suppress(Missing):  # it was deleted meanwhile: the message will not be stored
                async with _held(self._server, id) as (change, before):
                    if before.archived and not before.locked:
                        await threads.update(change.tx, after := replace(before, archived=False))
                        for stream_ in (after.channel, id):
                            change.tell(ThreadUpdated(stream=stream_, seq=change.next(stream_), thread=after))

    async def run(self) -> None:
        """Look every minute."""
        while True:
            try:
                found = await self.put_away()
            except Refusal as refusal:  # what is due stays due
                log.debug("threads wait for the database: %s", refusal)
                found = 0
            await asyncio.sleep(_BREATH if found == _AT_ONCE else _EVERY)

    async def put_away(self) -> int:
        """Some in which nobody has written for long; how many were looked at."""
        found = await threads.due(self._server.pool, _AT_ONCE)
        for id in found:
            with contextlib.suppress(Missing):
                async with _held(self._server, id) as (change, before):
                    if not before.archived and await threads.idle(change.tx, id):
                        await _save(change, before, replace(before, archived=True))
            await asyncio.sleep(_BREATH)
        return len(found)
