"""What is told of threads adds up to what is there: whoever has followed a channel knows what a fresh look tells."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from protocol.channel import ChannelGet, ChannelWatch
from protocol.codec import encode
from protocol.message import MessageDelete, MessageHistory, MessageSend
from protocol.thread import Thread, ThreadDelete, ThreadList, ThreadOpen, ThreadUpdate
from server import Server
from tests.chat import UNBOUND, Phone, nodes, refused, say
from tests.community import community
from tests.conftest import Connector, Person, Starter

ROUNDS = 25


class Follower:
    """A phone that knows nothing of a channel but its facts."""

    def __init__(self, phone: Phone, channel: UUID) -> None:
        self._phone, self._channel = phone, channel

    async def state(self, head: int) -> tuple[dict[str, Any], dict[int, str | None]]:
        """Threads, and which messages tell of one, once all facts have come."""
        await self._phone.heard(self._channel, head)
        threads: dict[str, Any] = {}
        told: dict[int, str | None] = {}
        for fact in self._phone.facts(self._channel):
            match fact["ev"]:
                case "message.created":
                    told[fact["message"]["seq"]] = fact["message"].get("thread")
                case "message.deleted":
                    told |= dict.fromkeys(fact["messages"])
                case "thread.opened" | "thread.updated":
                    threads[fact["thread"]["id"]] = fact["thread"]
                    if fact["ev"] == "thread.opened" and fact["thread"]["origin"] is not None:
                        told[fact["thread"]["origin"]] = fact["thread"]["id"]
                case "thread.deleted":
                    del threads[fact["thread"]]
                    told = {seq: None if one == fact["thread"] else one for seq, one in told.items()}
        return threads, told


async def fresh(phone: Phone, channel: UUID) -> tuple[dict[str, Any], dict[int, str | None]]:
    """The same, as the server tells it now."""
    pages = [await phone.call(ThreadList(channel=channel, archived=one, limit=100)) for one in (False, True)]
    said = await phone.call(MessageHistory(channel=channel, limit=100))
    threads = {one["thread"]["id"]: one["thread"] for page in pages for one in page["threads"]}
    return threads, {one["seq"]: one.get("thread") for one in said["messages"]}


class Chance:
    """Something that somebody does."""

    def __init__(self, luck: random.Random, hall: UUID, people: list[Person]) -> None:
        self._luck, self._hall, self._people = luck, hall, people
        self._seqs: list[int] = []
        self._threads: list[Thread] = []

    @property
    def opened(self) -> int:
        """How many threads there have been."""
        return len(self._threads)

    async def act(self) -> None:
        """One of the things that can be done; it is no matter whether it is refused."""
        acts: list[Callable[[Person], Awaitable[Any]]] = [self._say, self._open, self._change, self._change]
        acts += [self._write, self._write, self._delete, self._take_back]
        await self._luck.choice(acts)(self._luck.choice(self._people))

    async def _say(self, who: Person) -> None:
        self._seqs.append(await say(who, self._hall))

    async def _open(self, who: Person) -> None:
        seq = self._luck.choice([None, *self._seqs])
        text = self._luck.choice([None, "first words"])
        frame = ThreadOpen(channel=self._hall, name=f"t{len(self._threads)}", nonce=uuid4(), seq=seq, text=text)
        if await refused(who, frame) == "ok":
            self._threads.append(await who.call(frame))

    async def _change(self, who: Person) -> None:
        if self._threads:
            fields = self._luck.choice([{"name": "other"}, {"archived": True}, {"archived": False}, {"locked": True}])
            await refused(who, ThreadUpdate(thread=self._luck.choice(self._threads).id, **fields))

    async def _write(self, who: Person) -> None:
        if self._threads:
            await refused(who, MessageSend(channel=self._luck.choice(self._threads).id, text="x", nonce=uuid4()))

    async def _delete(self, who: Person) -> None:
        if self._threads and self._luck.random() < 0.3:
            await refused(who, ThreadDelete(thread=self._luck.choice(self._threads).id))

    async def _take_back(self, who: Person) -> None:
        if self._seqs and self._luck.random() < 0.5:
            await refused(who, MessageDelete(channel=self._hall, seq=self._luck.choice(self._seqs)))


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_is_done_to_threads_is_told_on_all_nodes(start: Starter, connect: Connector, seed: int) -> None:
    servers: list[Server] = await nodes(start, **UNBOUND)
    people = [await connect(name, servers[number % 2]) for number, name in enumerate(("ann", "bob", "cid"))]
    club = await community(*people)
    hall = await club.room("hall")
    phones = [await Phone.open(one, people[1].tokens_given.access) for one in servers]
    for phone in phones:
        await phone.call(ChannelWatch(channels=[hall]))
    chance = Chance(random.Random(seed), hall, people)
    for _ in range(ROUNDS):
        await asyncio.gather(*(chance.act() for _ in range(3)))
    assert chance.opened > 3, "there was something to tell"
    head = (await people[0].call(ChannelGet(channel=hall))).head
    for phone in phones:
        followed, asked = await Follower(phone, hall).state(head), await fresh(phone, hall)
        assert encode(followed[0]) == encode({id: asked[0][id] for id in followed[0]}), "threads"
        assert followed[0].keys() == asked[0].keys()
        assert followed[1] == asked[1], "messages that tell of threads"
        phone.abort()
