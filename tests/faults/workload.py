"""What the people of a run do: write, change their minds, react, look, mark, and be put out.

Everything is drawn from one seed; only the times at which the machine gets to it are not.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Coroutine
from typing import Any
from uuid import UUID, uuid4

from protocol.channel import ChannelAddMember, ChannelRemoveMember
from protocol.message import MessageDelete, MessageEdit, MessageHistory, MessageMarkRead, MessageSend
from protocol.reaction import ReactionAdd, ReactionRemove
from tests.faults.caller import Caller
from tests.faults.cluster import NODES, Cluster
from tests.faults.history import Recorder
from tests.faults.listener import Listener
from tests.faults.people import Founding, Person, Place

CHANNELS, SENDERS, READERS, REACTORS = 3, 6, 6, 2
EMOJI = ("🌱", "🔥", "👀")
RECENT = 30
IN_FLIGHT, BURST = 4, 8
Own = tuple[UUID, int, str]  # channel, seq, words


class Workload:
    """One crowd at one cluster."""

    def __init__(self, cluster: Cluster, recorder: Recorder, *, messages: int, per_second: float, seed: int) -> None:
        self._cluster, self._recorder = cluster, recorder
        self._random = random.Random(seed)
        self._left, self._pause = messages, SENDERS / per_second
        self.wanted = messages
        self.listeners: list[Listener] = []
        self.places: list[Place] = []
        self._recent: list[Own] = []
        self._loud = False
        self._callers: list[Caller] = []
        self._background: list[asyncio.Task[None]] = []

    async def prepare(self) -> None:
        """Make everybody and every channel, and let the readers open their sessions."""
        founding = Founding(self._cluster)
        names = [
            f"{role}{number}" for role, count in (("writer", SENDERS), ("reader", READERS)) for number in range(count)
        ]
        names += [f"reactor{number}" for number in range(REACTORS)]
        self.people = await founding.people("owner", "rogue", *names)
        everybody = list(self.people.values())
        rest = [one for one in everybody if one.name != "rogue"]
        for number in range(CHANNELS):
            self.places.append(await founding.channel(f"channel {number}", self.people["owner"], rest))
        self.rough = await founding.channel("rough", self.people["owner"], everybody)
        self.places.append(self.rough)
        listening = [one for one in everybody if one.name.startswith(("reader", "rogue"))]
        for number, one in enumerate(listening):
            self.listeners.append(Listener(one.name, str(one.id), one.token, self._urls(number), *self._aids()))
        self._background += [asyncio.create_task(one.run()) for one in self.listeners]
        async with asyncio.timeout(20):
            await asyncio.gather(*(one.there.wait() for one in self.listeners))

    def _urls(self, home: int) -> list[str]:
        urls = [node.url for node in self._cluster.nodes]
        return urls[home % len(urls) :] + urls[: home % len(urls)]

    def _aids(self) -> tuple[Recorder, int]:
        return self._recorder, self._random.randrange(1 << 30)

    def _caller(self, person: Person, home: int, name: str = "") -> Caller:
        one = Caller(name or person.name, str(person.id), person.token, self._urls(home), *self._aids())
        self._callers.append(one)
        return one

    async def run(self) -> None:
        """Everybody at once, until all messages are written."""
        aside: list[Coroutine[Any, Any, None]] = [self._react(number) for number in range(REACTORS)]
        aside += [self._mark(one) for one in self.listeners if not one.log.name.startswith("rogue")]
        aside.append(self._put_out())
        tasks = [asyncio.create_task(job) for job in aside]
        try:
            await self.write()
        finally:
            self._left = 0
            await asyncio.gather(*tasks)

    async def write(self) -> None:
        """The writers alone."""
        await asyncio.gather(*(self._write(number) for number in range(SENDERS)))

    @property
    def done(self) -> float:
        """Which share of the work has been begun."""
        return 1 - max(self._left, 0) / self.wanted

    async def stop(self) -> None:
        """Everybody leaves."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await asyncio.gather(*(one.close() for one in self._callers))

    # Writers

    async def _write(self, number: int) -> None:
        person = self.people[f"writer{number}"]
        here = self._caller(person, number)
        elsewhere = self._caller(person, number + 1, f"{person.name} elsewhere")
        draw = random.Random(self._random.randrange(1 << 30))
        while self._left > 0:
            size = BURST if draw.random() < 0.05 else 1
            self._left -= size
            if size > 1:  # all written before the first is answered
                await asyncio.gather(*(self._say(here, draw.choice(self.places).id) for _ in range(size)))
            elif own := await self._say(here, draw.choice(self.places).id):
                await self._follow_up(here, elsewhere, own, draw)
            await asyncio.sleep(draw.expovariate(1 / self._pause))

    async def _say(self, caller: Caller, channel: UUID) -> Own | None:
        nonce = uuid4()
        text = f"{caller.name} says {nonce.hex[:12]}"
        reply = await caller.do("send", MessageSend(channel=channel, text=text, nonce=nonce), channel, text=text)
        if reply is None:
            return None
        own = channel, int(reply["seq"]), text
        self._recent = [*self._recent[-RECENT:], own]
        return own

    async def _follow_up(self, here: Caller, elsewhere: Caller, own: Own, draw: random.Random) -> None:
        channel, seq, text = own
        chance, changed = draw.random(), None
        if chance < 0.15:
            await self._look(elsewhere, own, seq, draw)
        elif chance < 0.30:
            text = f"{text} or {uuid4().hex[:12]}"
            edit = MessageEdit(channel=channel, seq=seq, text=text)
            changed = await draw.choice([here, elsewhere]).do("edit", edit, channel, target=seq, text=text)
        elif chance < 0.34:
            text = ""
            changed = await elsewhere.do("delete", MessageDelete(channel=channel, seq=seq), channel, target=seq)
        if changed and changed["seq"]:
            await self._look(draw.choice([here, elsewhere]), (channel, seq, text), changed["seq"], draw)

    async def _look(self, caller: Caller, own: Own, known: int, draw: random.Random) -> None:
        """See one's own message as it was at a seq, by itself or among the newest, which may come from memory."""
        channel, seq, text = own
        if draw.random() < 0.5:
            frame = MessageHistory(channel=channel, after=seq - 1, limit=1, known=known)
        else:
            frame = MessageHistory(channel=channel, known=known, limit=draw.choice((20, 50)))
        await caller.do("look", frame, channel, seq=known, target=seq, text=text)

    async def rush(self, rounds: int, size: int) -> None:
        """On each node somebody writes many messages into all channels without waiting, again and again."""

        async def push(number: int) -> None:
            caller = self._caller(self.people[f"writer{number}"], number, f"writer{number} in a rush")
            for _ in range(rounds):
                await asyncio.gather(*(self._say(caller, self.places[at % CHANNELS].id) for at in range(size)))

        await asyncio.gather(*(push(number) for number in range(3)))

    async def churn(self) -> None:
        """Everybody who listens is put out of a channel and let in again, all the time, over all nodes."""

        async def turn(number: int, who: UUID) -> None:
            owner = self._caller(self.people["owner"], number, f"owner {number}")
            draw, channel = random.Random(self._random.randrange(1 << 30)), self.places[0].id
            while self._left > 0:
                kick = ChannelRemoveMember(channel=channel, user=who)
                await owner.do("kick", kick, channel, user=str(who))
                await asyncio.sleep(draw.uniform(0, 0.1))
                await owner.do("add", ChannelAddMember(channel=channel, user=who), channel, user=str(who))
                await asyncio.sleep(draw.uniform(0, 0.3))

        readers = [one for one in self.people.values() if one.name.startswith("reader")]
        await asyncio.gather(*(turn(number, one.id) for number, one in enumerate(readers)))

    # Those aside

    async def _react(self, number: int) -> None:
        caller = self._caller(self.people[f"reactor{number}"], number + 2)
        draw = random.Random(self._random.randrange(1 << 30))
        while self._left > 0:
            await asyncio.sleep(draw.uniform(0.02, 0.2))
            if self._recent:
                channel, seq, _ = draw.choice(self._recent)
                emoji = draw.choice(EMOJI)
                frame: Any = ReactionAdd if draw.random() < 0.7 else ReactionRemove
                what: Any = "react" if frame is ReactionAdd else "unreact"
                await caller.do(what, frame(channel=channel, seq=seq, emoji=emoji), channel, target=seq, text=emoji)

    async def _mark(self, listener: Listener) -> None:
        """Tell how far a reader has read, over a socket of its own."""
        person = self.people[listener.log.name]
        caller = self._caller(person, self._random.randrange(3), f"{person.name} marking")
        draw = random.Random(self._random.randrange(1 << 30))
        while self._left > 0:
            await asyncio.sleep(draw.uniform(0.2, 0.6))
            channel = draw.choice(self.places).id
            seq = listener.cursors.get(str(channel), 0)
            if seq:
                await caller.do("mark", MessageMarkRead(channel=channel, seq=seq), channel, target=seq)

    # The one who is put out

    async def _put_out(self) -> None:
        """Kick somebody who writes at full speed and reads on all nodes, let them in again, and so on."""
        owner, rogue = self._caller(self.people["owner"], 1), self._caller(self.people["rogue"], 0)
        eyes = [self._caller(self.people["rogue"], number, f"rogue reading {number}") for number in range(NODES)]
        who, draw = self.people["rogue"].id, random.Random(self._random.randrange(1 << 30))
        channel = self.rough.id
        while self._left > 0:
            self._loud = True
            voices = [asyncio.create_task(self._shout(rogue, channel)) for _ in range(IN_FLIGHT)]
            voices += [asyncio.create_task(self._peek(one, channel)) for one in eyes]
            await asyncio.sleep(draw.uniform(0.1, 0.4))
            kick = ChannelRemoveMember(channel=channel, user=who)
            await owner.do("kick", kick, channel, user=str(who))
            await asyncio.sleep(draw.uniform(0.1, 0.3))
            self._loud = False
            await asyncio.gather(*voices)
            await owner.do("add", ChannelAddMember(channel=channel, user=who), channel, user=str(who))
            await asyncio.sleep(draw.uniform(0.3, 1.0))

    async def _shout(self, rogue: Caller, channel: UUID) -> None:
        while self._loud:
            await self._say(rogue, channel)
            await asyncio.sleep(0.01)

    async def _peek(self, rogue: Caller, channel: UUID) -> None:
        """Read what is newest, all that is newer than what one knows, and what is newer than anybody knows."""
        head = 0
        for turn in itertools.count():
            if not self._loud:
                break
            after, known = ((None, 0), (head, head), (None, head + 1))[turn % 3]
            frame = MessageHistory(channel=channel, after=after, known=known, limit=20)
            page = await rogue.do("read", frame, channel)
            head = page["head"] if page else head
            await asyncio.sleep(0.05)
