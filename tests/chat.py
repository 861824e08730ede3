"""People in channels: short words for tests of channels, messages and streams."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self
from uuid import UUID, uuid4

import asyncpg
import msgspec

from protocol.account import AccountLogin, AccountRegister, Tokens
from protocol.channel import ChannelCreate, ChannelGet, ChannelOpenDirect, Membership
from protocol.client import Client
from protocol.codec import encode
from protocol.error import Refusal, refusal
from protocol.frame import Failure, Request
from protocol.message import Message, MessageHistory, MessageSend
from protocol.session import Cursor, SessionOpen, SessionResume
from server import Server
from tests.conftest import Person, Starter
from tests.raw import until
from tests.raw_socket import RawSocket

# For tests that send as fast as they can.
UNBOUND: dict[str, Any] = {"frames_per_second": 1_000_000, "frames_in_burst": 1_000_000, "requests_in_flight": 10_000}


def me(person: Client) -> UUID:
    """Somebody's account."""
    assert person.session is not None
    return person.session.account


async def group(owner: Client, *members: Client, name: str = "group", **fields: Any) -> UUID:
    """A new group."""
    frame = ChannelCreate(name=name, nonce=uuid4(), members=[me(one) for one in members], **fields)
    return (await owner.call(frame)).channel.id


async def direct(one: Client, other: Client) -> UUID:
    """The channel of two."""
    return (await one.call(ChannelOpenDirect(user=me(other)))).channel.id


async def say(person: Client, channel: UUID, text: str = "hello", **fields: Any) -> int:
    """A message; its seq."""
    return (await person.call(MessageSend(channel=channel, text=text, nonce=uuid4(), **fields))).seq


async def standing(person: Client, channel: UUID) -> Membership:
    """How somebody stands in a channel, asked afresh."""
    return await person.call(ChannelGet(channel=channel))


async def history(person: Client, channel: UUID, **fields: Any) -> list[Message]:
    """Messages, as the server tells them now."""
    return (await person.call(MessageHistory(channel=channel, **fields))).messages


async def device(connect: Callable[..., Awaitable[Person]], person: Person, to: Server | None = None) -> Person:
    """Another device of somebody."""
    one = await connect(to=to)
    tokens = await one.call(AccountLogin(login=person.name, password=Person.password))
    assert isinstance(tokens, Tokens)
    one.name, one.tokens_given = person.name, tokens
    await one.open(tokens)
    return one


async def registered(server: Server, name: str | None = None) -> Tokens:
    """An account without a socket."""
    async with Client(server.url, reconnect=False) as client:
        username = name or f"u{uuid4().hex[:20]}"
        return await client.call(AccountRegister(username=username, password=Person.password))


async def nodes(start: Starter, count: int = 2, **settings: Any) -> list[Server]:
    """Servers on one database and one Redis that know of each other."""
    found = [await start(**settings) for _ in range(count)]
    await until(lambda: all(one.bus.others >= count - 1 and one.bus.alive for one in found))
    for one in found:
        assert await one.bus.settled()
    return found


async def refused(person: Client, frame: Request[Any]) -> str:
    """The code of the refusal; `ok` when there is none."""
    try:
        await person.call(frame)
    except Refusal as refusal_:
        return refusal_.code
    return "ok"


async def settled(server: Server) -> None:
    """Wait until nothing is left to do behind the messages of any channel."""
    left = """
        SELECT count(*) FROM channel c JOIN stream s USING (id) LEFT JOIN tail t ON t.channel = c.id
         WHERE s.head > coalesce(t.seq, 0) AND NOT EXISTS (SELECT FROM grave g WHERE g.channel = c.id)
    """
    async with asyncio.timeout(20):
        while await server.pool.fetchval(left):
            await asyncio.sleep(0.01)


@asynccontextmanager
async def sql(server: Server) -> Any:
    """A connection to the database of a server."""
    connection = await asyncpg.connect(server.config.database_url)
    try:
        yield connection
    finally:
        await connection.close()


async def old_group(server: Server, owner: UUID, member: UUID, count: int, text: str = "x") -> UUID:
    """A group with many messages, of which no node has heard."""
    channel = uuid4()
    async with sql(server) as db:
        await db.execute("INSERT INTO stream (id, head) VALUES ($1, $2)", channel, count)
        await db.execute(
            "INSERT INTO channel (id, kind, name, owner, creator, members) VALUES ($1, 'group', 'old', $2, $2, 2)",
            channel,
            owner,
        )
        await db.execute("INSERT INTO member (channel, account) VALUES ($1, $2), ($1, $3)", channel, owner, member)
        await db.execute(
            """
            INSERT INTO message (channel, seq, author, nonce, sent_at, text)
            SELECT $1, n, $2, gen_random_uuid(), now(), $4 FROM generate_series(1, $3::int) n
            """,
            channel,
            owner,
            count,
            text,
        )
    return channel


class Phone(RawSocket):
    """A socket that remembers every frame exactly as it came: nothing is dropped, sorted or asked for again."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._read = 0
        self._number = 0
        self.replies_: dict[int, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.at_reply: dict[int, int] = {}  # how many events had come before a reply

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        for message in self.messages[self._read :]:
            said = msgspec.json.decode(message)
            if "re" in said:
                self.replies_[said["re"]] = said
                self.at_reply[said["re"]] = len(self.events)
            else:
                self.events.append(said)
        self._read = len(self.messages)

    @classmethod
    async def open(cls, server: Server, token: str, **fields: Any) -> Self:
        """Logged in."""
        one = await cls.connect(server.url)
        await one.call(SessionOpen(token=token, **fields))
        return one

    @classmethod
    async def resume(cls, server: Server, token: str, cursors: dict[UUID, int]) -> tuple[Self, dict[str, Any]]:
        """Logged in again; and what the reply says. All that was heard before the reply is in `missed`."""
        one = await cls.connect(server.url)
        asked = [Cursor(stream=stream, seq=seq) for stream, seq in cursors.items()]
        reply = await one.call(SessionResume(token=token, cursors=asked))
        return one, reply

    def ask(self, *frames: Request[Any]) -> list[int]:  # type: ignore[override]
        """Send requests in one write; their numbers."""
        numbered = []
        for frame in frames:
            self._number += 1
            numbered.append(msgspec.structs.replace(frame, id=self._number))
        self.send(*map(encode, numbered))
        return [frame.id for frame in numbered]

    async def answer(self, number: int, timeout: float = 20) -> dict[str, Any]:
        """The reply to a request."""
        await self.until(lambda: number in self.replies_, timeout)
        return self.replies_[number]

    async def answers(self, numbers: Sequence[int], timeout: float = 60) -> list[dict[str, Any]]:
        """The replies to requests."""
        await self.until(lambda: all(number in self.replies_ for number in numbers), timeout)
        return [self.replies_[number] for number in numbers]

    async def call(self, frame: Request[Any]) -> dict[str, Any]:
        """One request and what it is answered; refusals are raised."""
        said = await self.answer(self.ask(frame)[0])
        if "error" in said:
            raise refusal(msgspec.convert(said["error"], Failure))
        return dict(said["ok"])

    def facts(self, stream: UUID) -> list[dict[str, Any]]:
        """What was heard of a stream, in the order it came."""
        return [one for one in self.events if one.get("stream") == str(stream)]

    def seqs(self, stream: UUID) -> list[int]:
        """The numbers of that."""
        return [one["seq"] for one in self.facts(stream)]

    async def heard(self, stream: UUID, seq: int, timeout: float = 20) -> list[int]:
        """Wait for a fact of a stream; the numbers of all that came of it."""
        await self.until(lambda: bool((found := self.seqs(stream)) and found[-1] >= seq), timeout)
        return self.seqs(stream)

    async def until(self, condition: Callable[[], bool], timeout: float = 20) -> None:
        """Wait for something to have come."""
        async with asyncio.timeout(timeout):
            while not condition():
                if self.over:
                    raise ConnectionError(f"closed: {self.closed}")
                self._arrived.clear()
                await self._arrived.wait()
