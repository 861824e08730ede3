"""What the server's process remembers of streams and standings, and its way back to where it was.

It is right at any moment but for one thing: how those stood who have just lost a right. A process that has not heard
of that yet is what they would use.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from server.app import Server
from server.audience import Stream
from server.context import Context
from server.outline import Outline
from server.structure import Structure
from storage.standing import ACCESS
from storage.stream import Place
from tests.authorization.channels import Channel
from tests.authorization.people import Person

_PLACES = f"""
    SELECT s.id, s.head, {ACCESS} AS access, coalesce(s.guard, p.id) AS guard FROM stream s LEFT JOIN space p USING (id)
"""
_BY_THEMSELVES = """
    SELECT account, channel AS stream FROM member
    UNION ALL SELECT account, space FROM space_member JOIN space p ON p.id = space AND p.deleted_at IS NULL
    UNION ALL SELECT id, id FROM account
"""


def _watched(stream: Stream) -> bool:
    """Whether it is heard because it was asked for."""
    return stream.guard is not None and not stream.is_space


class Memory:
    """Sets the parts of a server that follow streams back, when the database was."""

    def __init__(self, server: Server, db: asyncpg.Connection[Any]) -> None:
        self._server, self._db = server, db
        self._places: dict[UUID, Place] = {}
        self._heard: dict[UUID, set[UUID]] = {}
        self._channels: list[Channel] = []
        self._people: dict[str, Person] = {}
        self._outlines: dict[UUID, Sequence[Outline]] = {}
        self._structures: OrderedDict[UUID, Structure] = OrderedDict()

    async def learn(self, channels: Iterable[Channel], people: dict[str, Person]) -> None:
        """Find out which streams there are, and who hears them."""
        self._channels, self._people = list(channels), people
        for row in await self._db.fetch(_PLACES):
            self._places[row["id"]] = Place(**row)
            self._heard[row["id"]] = {row["id"]}
        for row in await self._db.fetch(_BY_THEMSELVES):
            self._heard[row["account"]].add(row["stream"])
        for person in people.values():
            seen = [channel.id for channel in self._channels if person.name in channel.glimpsed]
            self._heard[person.id].update(seen)
            self._outlines[person.id] = (await self._server.outlines.seen(person.id)).outlines
        self._structures = OrderedDict(self._server.structures._known)

    async def settle(self) -> None:
        """Wait until everything that was told has been delivered."""
        while not self.settled:
            await asyncio.wait(self.busy) if self.busy else await asyncio.sleep(0.001)

    @property
    def settled(self) -> bool:
        """Whether nothing is on its way."""
        outlines = self._server.outlines
        return not self.busy and self._server.rooms.settled and not outlines._changed and not outlines.telling

    @property
    def busy(self) -> set[asyncio.Task[Any]]:
        """What is on its way."""
        streams, journal = self._server.streams, self._server.posting.journal
        return {*streams._tasks, *streams._arrivals._tasks, *filter(None, [journal._task])}

    async def flaws(self) -> list[str]:
        """Who hears what is not theirs, or does not hear what is; who is told of what they do not see."""
        heard: dict[UUID, set[UUID]] = {}
        for row in await self._db.fetch(_BY_THEMSELVES):
            heard.setdefault(row["account"], {row["account"]}).add(row["stream"])
        watched = [(one.id, ctx.session.account) for ctx in self._contexts() for one in ctx.streams if _watched(one)]
        seen = await self._server.structures.look(
            self._server.pool, [one[0] for one in watched], [one[1] for one in watched]
        )
        return [f"{pair[1]} watches {pair[0]}" for pair, one in zip(watched, seen, strict=True) if one is None] + [
            f"{ctx.session.account} hears {ctx.streams}"
            for ctx in self._contexts()
            if {one.id for one in ctx.streams if not _watched(one)} != heard.get(ctx.session.account)
        ]

    def _contexts(self) -> Iterator[Any]:
        """Of sockets that hear what their account hears."""
        for socket in self._server.gateway.sockets:
            ctx = socket.conversation
            if not isinstance(ctx, Context) or not ctx.connected or ctx.session is None:
                continue
            if "messages" in ctx.wants and ctx.session.allows("message.history"):
                yield ctx

    def restore(self) -> None:
        """Heads, access versions, standings and audiences as they were learnt."""
        grants = self._server.grants
        grants._standings.clear()
        grants._count = 0
        self._server.structures._known = self._structures.copy()
        for structure in self._structures.values():
            structure._seen.clear()
        for channel in self._channels:
            for name, standing in channel.before.items():
                grants.keep(self._people[name].id, standing)
        self._put_back()
        for ctx in self._contexts():
            self._listen(ctx)

    def _put_back(self) -> None:
        """Streams without anybody who hears them."""
        streams = self._server.streams
        streams._recent_bytes = 0
        streams._heads._new.clear()
        for id, stream in list(streams._streams.items()):
            for ctx in stream.audience:
                stream.let_go(ctx)
            if id not in self._places:
                streams._streams.pop(id)
                continue
            stream.head, stream.access = self._places[id].head, self._places[id].access
            stream.page = None
            stream.forget()
        streams._guarded.clear()
        for stream in streams._streams.values():
            if stream.guard is not None:
                streams._guarded[stream.guard].add(stream)

    def _listen(self, ctx: Any) -> None:
        ctx.outlines = {one.space.id: one for one in self._outlines[ctx.session.account]}
        for id in self._heard.get(ctx.session.account, ()):
            stream = self._server.streams.follow(self._places[id], id == ctx.session.account)
            ctx.streams.add(stream)
            stream.sockets.add(ctx.socket)
