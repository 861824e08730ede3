"""What the server's process remembers of streams and standings, and its way back to where it was.

It is right at any moment but for one thing: how those stood who have just lost a right. A process that has not heard
of that yet is what they would use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import asyncpg

from server.app import Server
from server.context import Context
from storage.stream import Place
from tests.authorization.channels import Channel
from tests.authorization.people import Person


class Memory:
    """Sets the parts of a server that follow streams back, when the database was."""

    def __init__(self, server: Server, db: asyncpg.Connection[Any]) -> None:
        self._server, self._db = server, db
        self._places: dict[UUID, Place] = {}
        self._heard: dict[UUID, set[UUID]] = {}
        self._channels: list[Channel] = []
        self._people: dict[str, Person] = {}

    async def learn(self, channels: Iterable[Channel], people: dict[str, Person]) -> None:
        """Find out which streams there are, and who hears them."""
        self._channels, self._people = list(channels), people
        for row in await self._db.fetch("SELECT id, head, access FROM stream"):
            self._places[row["id"]] = Place(**row)
            self._heard[row["id"]] = {row["id"]}
        for row in await self._db.fetch("SELECT account, channel FROM member"):
            self._heard[row["account"]].add(row["channel"])

    async def settle(self) -> None:
        """Wait until everything that was told has been delivered."""
        while busy := self.busy:
            await asyncio.wait(busy)

    @property
    def busy(self) -> set[asyncio.Task[Any]]:
        """What is on its way."""
        streams, journal = self._server.streams, self._server.posting.journal
        return {*streams._tasks, *streams._arrivals._tasks, *filter(None, [journal._task])}

    async def flaws(self) -> list[str]:
        """Who hears what is not theirs, or does not hear what is."""
        heard: dict[UUID, set[UUID]] = {}
        for row in await self._db.fetch("SELECT account, channel FROM member"):
            heard.setdefault(row["account"], {row["account"]}).add(row["channel"])
        return [
            f"{ctx.session.account} hears {ctx.streams}"
            for ctx in self._contexts()
            if {one.id for one in ctx.streams} != heard.get(ctx.session.account, {ctx.session.account})
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

    def _listen(self, ctx: Any) -> None:
        for id in self._heard.get(ctx.session.account, ()):
            stream = self._server.streams.follow(self._places[id], id == ctx.session.account)
            ctx.streams.add(stream)
            stream.sockets.add(ctx.socket)
