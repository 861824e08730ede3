"""A small server of streams for tests of the client: it keeps every fact, and forgets to send those it is told to."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from protocol.channel import Channel, Membership
from protocol.client import Client
from protocol.frame import Body, Event, Fact
from protocol.session import Head, Pong, SessionHello, SessionPing
from tests.peer import ACCOUNT, OPENED, RESUMED, Peer, ok

START = datetime(2026, 1, 1, tzinfo=UTC)


def membership(channel: UUID, head: int, joined: bool = True) -> Membership:
    """How one stands in a channel whose last fact was `head`."""
    looks: dict[str, Any] = {"topic": "", "description": "", "avatar": "", "owner": None}
    return Membership(
        channel=Channel(id=channel, kind="group", name="a", open=True, members=2, created_at=START, **looks),
        joined=joined,
        peer=None,
        head=head,
        read=0,
        delivered=0,
        unread=0,
        mentions=0,
        muted_until=None,
        last=None,
    )


class Library(Peer):
    """Its streams begin at any head; the account's is one of them, and its facts are all durable."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
        self.heads: dict[UUID, int] = defaultdict(int)
        self.shown: list[UUID] = []  # in `channels`
        self.reset: set[UUID] = set()  # whose old facts are gone
        self.cut_replay_after: int | None = None
        self.hearing: ServerConnection | None = None
        self.answers |= {"session.open": self.open, "session.resume": self.resume, "session.ping": self.ping}

    def add(self, stream: UUID, ev: str = "message.deleted", **fields: Any) -> dict[str, Any]:
        """Store a fact, and send it to nobody."""
        self.heads[stream] += 1
        fields = fields or {"messages": [self.heads[stream]]}
        fact = {"ev": ev, "stream": str(stream), "seq": self.heads[stream], **fields}
        self.facts[stream].append(fact)
        return fact

    async def tell(self, stream: UUID, ev: str = "message.deleted", **fields: Any) -> None:
        """Store a fact and send it to who has a session."""
        await self.repeat(self.add(stream, ev, **fields))

    async def repeat(self, fact: dict[str, Any]) -> None:
        if self.hearing is self.socket:
            await self.send(fact)

    async def send(self, frame: dict[str, Any], to: ServerConnection | None = None) -> None:
        with suppress(ConnectionClosed):
            await (to or self.socket).send(json.dumps(frame))

    def _state(self) -> dict[str, Any]:
        channels = [membership(stream, self.heads[stream]) for stream in self.shown]
        return {"head": self.heads[ACCOUNT], "channels": channels}

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        self.hearing = self.socket if request.get("wants") != [] else None
        return ok(msgspec.structs.replace(OPENED, **self._state()))

    async def resume(self, request: dict[str, Any]) -> None:
        socket, cursors = self.socket, {UUID(one["stream"]): one["seq"] for one in request["cursors"]}
        reset = [stream for stream, seq in cursors.items() if stream in self.reset and seq != self.heads[stream]]
        while missed := [
            fact
            for stream, seq in cursors.items()
            if stream not in self.reset
            for fact in self.facts[stream]
            if fact["seq"] > seq
        ]:
            for number, fact in enumerate(missed):
                if number == self.cut_replay_after:
                    self.cut_replay_after = None
                    self.cut()
                    return
                cursors[UUID(fact["stream"])] = fact["seq"]
                await self.send(fact, socket)
        self.hearing = socket
        body = msgspec.structs.replace(RESUMED, reset=reset, **self._state())
        await self.send({"re": request["id"], **ok(body)}, socket)

    def ping(self, request: dict[str, Any]) -> dict[str, Any]:
        asked = {UUID(one["stream"]): one["seq"] for one in request.get("heads", [])}
        behind = [Head(stream=one, seq=self.heads[one]) for one, seq in asked.items() if self.heads[one] > seq]
        return ok(Pong(time=START, behind=behind))

    def cursors(self) -> dict[UUID, int]:
        """Those of the last resume."""
        return {UUID(one["stream"]): one["seq"] for one in self.asked("session.resume")[-1]["cursors"]}

    def cut(self) -> None:
        self.socket.transport.abort()

    async def talk(self, socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):  # some tests cut it while it speaks
            await super().talk(socket)


def builtins(body: Body) -> Any:
    return msgspec.to_builtins(body)


@asynccontextmanager
async def a_library() -> AsyncIterator[Library]:
    library = Library()
    async with serve(library.talk, "127.0.0.1", 0, process_request=library.gate, compression=None) as library.server:
        yield library


# What a program got from it


async def come(client: Client, count: int) -> list[Event]:
    """The next events, apart from greetings."""
    found: list[Event] = []
    async with asyncio.timeout(20):
        async for event in client.events():
            found += [] if isinstance(event, SessionHello) else [event]
            if len(found) >= count:
                return found
    raise AssertionError("the client ended")


def places(events: Iterable[Event]) -> list[tuple[UUID, int]]:
    assert all(isinstance(event, Fact) for event in events), events
    return [(event.stream, event.seq) for event in events if isinstance(event, Fact)]


async def nothing_more(client: Client) -> None:
    """Nothing but greetings came, up to the reply of a ping."""
    await client.call(SessionPing(), retry=True)
    while True:
        try:
            event = await client.wait_for(Event, timeout=0.01)
        except TimeoutError:
            return
        assert isinstance(event, SessionHello)
