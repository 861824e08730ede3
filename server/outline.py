"""Outlines: what members see of their spaces, and telling them when that changes.

Members with the same roles see the same: one outline, computed once for all of them under each structure. Every socket
knows which outline it was told last; when something has changed in a space, what it sees now is compared with that.

Rule 1: nothing here depends on being told: that something has changed is noticed by the access version of the space.
Rule 2: what one does not see is in no outline, and changes none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from protocol.channel import Channel
from protocol.codec import encode
from protocol.emoji import Emoji
from protocol.error import Refusal
from protocol.parts import parts
from protocol.permission import OF_CHANNELS, names
from protocol.role import Role
from protocol.space import Last, Space, SpaceBrief, SpaceChanged, SpaceChannel, SpaceMoved
from protocol.sticker import Sticker
from server import access
from server.audience import Stream
from server.core import frame
from server.follower import Followers
from server.queue import Queues
from storage import member as members
from storage import space as spaces
from storage.pool import Pool
from storage.space import State

if TYPE_CHECKING:
    from server.access import Member
    from server.context import Context
    from server.stream import Streams
    from server.structure import Structure, Structures

T = TypeVar("T")
log = logging.getLogger("onesocket.outline")

_AT_ONCE = 500
_EVERY, _OVERLAP = 1.0, 15.0
_AGAIN = 0.5
LISTED = 100
_NONE = State(members=0, reported=0, access=0)


class Outline(Struct, frozen=True):
    """What some members see of a space; its number of members is no part of it."""

    version: str
    space: Space
    allowed: int
    roles: Mapping[UUID, Role]
    channels: Mapping[UUID, SpaceChannel]
    emoji: Mapping[UUID, Emoji]
    stickers: Mapping[UUID, Sticker]


class Seen(Struct, frozen=True):
    """What an account sees of its spaces; `next` asks for more of them."""

    outlines: Sequence[Outline]
    briefs: list[SpaceBrief]
    next: str | None


def outline(structure: Structure, member: Member) -> Outline:
    """What a member sees."""
    space = replace(structure.space, members=0)
    allowed = access.permissions(member)
    channels = {one.channel.id: one for one in _visible(structure, member, allowed)}
    emblems = list(structure.emoji.values()), list(structure.stickers.values())
    body = encode((space, allowed, list(structure.shown.values()), list(channels.values()), *emblems))
    version = blake2b(body, digest_size=12).hexdigest()
    return Outline(version, space, allowed, structure.shown, channels, structure.emoji, structure.stickers)


def _visible(structure: Structure, member: Member, in_all: int) -> Iterable[SpaceChannel]:
    """Channels that a member sees; a category also for what is in it."""
    seen: dict[UUID, int] = {}
    for channel in structure.channels.values():
        allowed = structure.allowed(member, channel.id)
        if allowed & access.VIEW:
            seen[channel.id] = allowed
    needed = {structure.channels[id].parent for id in seen} - seen.keys() - {None}
    for channel in structure.channels.values():
        if channel.id in seen or channel.id in needed:
            yield _shown(channel, seen.get(channel.id, 0), in_all, channel.id in needed)


def _shown(channel: Channel, allowed: int, in_all: int, bare: bool) -> SpaceChannel:
    if bare:  # only as the place of what is in it
        channel = replace(channel, topic="", description="")
    gained, lost = allowed & ~in_all & OF_CHANNELS, in_all & ~allowed & OF_CHANNELS
    return SpaceChannel(channel=channel, gained=names(gained), lost=names(lost))


def difference(was: Outline, now: Outline, count: int) -> SpaceChanged:
    """What has changed from one outline to another."""
    about = replace(now.space, members=count)
    return SpaceChanged(
        space=now.space.id,
        was=was.version,
        outline=now.version,
        about=about if now.space != was.space else None,
        permissions=names(now.allowed) if now.allowed != was.allowed else None,
        roles=_new(was.roles, now.roles),
        channels=_new(was.channels, now.channels),
        emoji=_new(was.emoji, now.emoji),
        stickers=_new(was.stickers, now.stickers),
        gone=sorted(_ids(was) - _ids(now)),
    )


def _new(was: Mapping[UUID, T], now: Mapping[UUID, T]) -> list[T]:
    return [one for id, one in now.items() if was.get(id) != one]


def _ids(outline: Outline) -> set[UUID]:
    return {*outline.roles, *outline.channels, *outline.emoji, *outline.stickers}


class Outlines:
    """What the sockets of this process were told of their spaces."""

    def __init__(self, pool: Pool, structures: Structures, streams: Streams) -> None:
        self._pool, self._structures, self._streams = pool, structures, streams
        self._changed: dict[UUID, Stream] = {}
        self._wake = asyncio.Event()
        self.telling = False
        self._lasts: dict[UUID, int] = {}
        self._looked = asyncio.get_running_loop().time()
        self._sizes: dict[UUID, int] = {}
        self._queues, self._followers = Queues(pool, structures), Followers(pool)
        streams.changed = self._has_changed

    async def seen(self, account: UUID, after: UUID | None = None, limit: int = LISTED) -> Seen:
        """What an account sees of its spaces."""
        found = await members.spaces(self._pool, account, after, limit + 1)
        ids = found[:limit]
        residents = await self._structures.residents(self._pool, ids, [account] * len(ids))
        outlines = [one.structure.seen_by(one.member) for one in residents if one is not None]
        counts = await spaces.sizes(self._pool, ids) if ids else {}
        return Seen(
            outlines=outlines,
            briefs=[
                SpaceBrief(space=replace(one.space, members=counts.get(one.space.id, 0)), outline=one.version)
                for one in outlines
            ],
            next=str(ids[-1]) if len(found) > limit else None,
        )

    @staticmethod
    def note(ctx: Context, seen: Sequence[Outline]) -> None:
        """This socket is told what it sees of these spaces: from now on it is told of changes."""
        if ctx.outlines is None:
            ctx.outlines = {}
        ctx.outlines |= {one.space.id: one for one in seen}

    def _has_changed(self, space: Stream) -> None:
        self._changed[space.id] = space
        self._wake.set()

    async def run(self) -> None:
        """Tell what has changed as soon as it has, and where there is something new once a second."""
        loop = asyncio.get_running_loop()
        due = loop.time() + _EVERY
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0.01, due - loop.time()))
            self._wake.clear()
            try:
                await self._tell_changes()
                if loop.time() >= due:
                    due = loop.time() + _EVERY
                    await self._tell_news(self._streams.spaces)
            except Refusal as refusal:
                log.debug("spaces wait for the database: %s", refusal)
                self._wake.set()
                await asyncio.sleep(_AGAIN)

    # What has changed

    async def _tell_changes(self) -> None:
        while self._changed:
            id, space = self._changed.popitem()
            self.telling = True
            audience = _told_of(space)
            try:
                await self._compare_all(id, audience)
            except Refusal:
                self._changed.setdefault(id, space)
                raise
            finally:
                self.telling = False

    async def _compare_all(self, space: UUID, audience: Sequence[Context]) -> list[Context]:
        """Those of an audience who are in the space still, and know now what they see."""
        count = (await spaces.sizes(self._pool, [space])).get(space, 0) if audience else 0
        return [ctx for some in parts(audience, _AT_ONCE) for ctx in await self._compare(space, count, some)]

    async def _compare(self, space: UUID, count: int, some: Sequence[Context]) -> list[Context]:
        accounts = [ctx.session.account if ctx.session is not None else UUID(int=0) for ctx in some]
        found = await self._structures.residents(self._pool, [space] * len(some), accounts)
        told: dict[tuple[str, str], bytes] = {}
        still = []
        for ctx, account, resident in zip(some, accounts, found, strict=True):
            if resident is None or ctx.session is None or ctx.session.account != account or ctx.outlines is None:
                continue
            was, now = ctx.outlines[space], resident.structure.seen_by(resident.member)
            ctx.outlines[space] = now
            still.append(ctx)
            if was.version == now.version or not ctx.session.allows("space.get"):
                continue
            key = was.version, now.version
            if key not in told:
                told[key] = frame(1, encode(difference(was, now, count)))
            ctx.socket.push(told[key])
            await asyncio.sleep(0)
        return still

    # Where there is something new

    async def _tell_news(self, followed: Sequence[Stream]) -> None:
        """Asked of the database: so it does not matter on which process something was said."""
        ids = [one.id for one in followed]
        if not ids:
            return
        now = asyncio.get_running_loop().time()
        seconds = now - self._looked + _OVERLAP
        news: dict[UUID, list[Last]] = {}
        found = await spaces.lasts(self._pool, ids, seconds)
        for space, last in found:
            if self._lasts.get(last.channel, 0) < last.seq:
                news.setdefault(space, []).append(last)
        threads = await self._followers.look(ids, seconds)
        self._lasts, self._looked = {last.channel: last.seq for _, last in found}, now
        states = await spaces.states(self._pool, ids)
        for stream in followed:
            before, state = self._sizes.get(stream.id), states.get(stream.id, _NONE)
            moved = stream.id in news or (before is not None and before != state.members)
            audience = await self._audience(stream, state.access) if moved or stream.id in threads else []
            if moved:
                await self._tell(stream.id, news.get(stream.id, []), state.members, audience)
            if stream.id in threads:
                await self._followers.tell(stream.id, threads[stream.id], audience)
        self._sizes = {id: state.members for id, state in states.items()}
        await self._queues.look(followed, {id: state.reported for id, state in states.items()})

    async def _audience(self, space: Stream, access: int) -> list[Context]:
        """Who was told of a space, and knows what they see there as of an access version that was read just now.

        It is looked at again, if that is newer than what this process has heard of, or not yet worked off.
        """
        found = _told_of(space)
        if space.access >= access and space.repairing is None and space.id not in self._changed:
            return found
        return await self._compare_all(space.id, found)

    async def _tell(self, space: UUID, lasts: Sequence[Last], count: int, audience: Sequence[Context]) -> None:
        told: dict[str, bytes] = {}
        for some in parts(audience, _AT_ONCE):
            for ctx in some:
                seen = ctx.outlines.get(space) if ctx.outlines is not None else None
                if seen is None or ctx.session is None or not ctx.session.allows("space.get"):
                    continue
                if seen.version not in told:
                    visible = [last for last in lasts if last.channel in seen.channels]
                    told[seen.version] = frame(1, encode(SpaceMoved(space=space, members=count, lasts=visible)))
                ctx.socket.push(told[seen.version])
            await asyncio.sleep(0)


def _told_of(space: Stream) -> list[Context]:
    return [ctx for ctx in space.audience if ctx.outlines is not None and space.id in ctx.outlines]
