"""Seven ways to break a cluster while it works: each breaks one thing, and after a while makes it whole again."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tests.faults.cluster import Cluster, Node
from tests.faults.history import Fault, Recorder
from tests.faults.proxy import Link
from tests.faults.store import Part


class Nemesis:
    """Breaks things at moments and for times drawn from a seed; `scale` stretches the times.

    The moments are shares of the work, so that a slow machine sees as many faults as a quick one; the last of them
    comes when nearly everything is written, so that nothing later can make up for what is lost then.
    """

    def __init__(
        self, name: str, cluster: Cluster, recorder: Recorder, *, strikes: int, seed: int, scale: float = 1.0
    ) -> None:
        self.name, self._cluster, self._recorder = name, cluster, recorder
        self._random, self._scale = random.Random(seed), scale
        self.moments = [*sorted(self._random.uniform(0.05, 0.9) for _ in range(strikes - 1)), 0.96]

    async def strike(self) -> None:
        """One fault, from its start until everything is whole again; of all mixed, sometimes two at once."""
        names = [self.name]
        if self.name == "all mixed":
            names = self._random.sample(SINGLE, self._random.choice([1, 2]))
        start, told = self._recorder.now(), list[str]()
        try:
            async with AsyncExitStack() as stack:
                for name in names:
                    told.append(await stack.enter_async_context(_FAULTS[name](self)))
                longest = 2.0 if "kill" in self.name else 4.0  # what was killed takes its time anyway
                await asyncio.sleep(self._random.uniform(0.8, longest) * self._scale)
        finally:
            excuses = not all(one.startswith("redis") for one in told)
            self._recorder.log.faults.append(Fault(" + ".join(told), start, self._recorder.now(), excuses))

    @property
    def _node(self) -> Node:
        return self._random.choice(self._cluster.nodes)

    @asynccontextmanager
    async def _node_killed(self) -> AsyncIterator[str]:
        node = self._node
        await node.kill()
        try:
            yield "node kill"
        finally:
            await asyncio.shield(node.come_back())

    @asynccontextmanager
    async def _node_paused(self) -> AsyncIterator[str]:
        node = self._node
        node.signal(signal.SIGSTOP)
        try:
            yield "node pause"
        finally:
            node.signal(signal.SIGCONT)

    @asynccontextmanager
    async def _part_killed(self, part: Part) -> AsyncIterator[str]:
        """Whoever supervises it brings it back."""
        self._cluster.store.kill(part)
        try:
            yield f"{part} kill"
        finally:
            await asyncio.shield(self._cluster.store.answers(part))

    @asynccontextmanager
    async def _redis_killed(self) -> AsyncIterator[str]:
        async with self._part_killed("redis") as told:
            yield told

    @asynccontextmanager
    async def _postgres_killed(self) -> AsyncIterator[str]:
        async with self._part_killed("postgres") as told:
            yield told

    @asynccontextmanager
    async def _redis_paused(self) -> AsyncIterator[str]:
        self._cluster.store.pause("redis")
        try:
            yield "redis pause"
        finally:
            self._cluster.store.go_on("redis")

    @asynccontextmanager
    async def _partitioned(self) -> AsyncIterator[str]:
        """A node is cut off from Redis, PostgreSQL, both, or its clients, in one of the ways networks have."""
        node = self._node
        ways = {
            "redis": [node.redis],
            "postgres": [node.postgres],
            "both": [node.redis, node.postgres],
            "clients": [node.clients],
        }
        name = self._random.choice([*ways])
        how = self._random.choice(["hold", "blackhole", "refuse", "half open", "cut"])
        for link in ways[name]:
            self._break(link, how)
        try:
            yield f"{name} cut off: {how}"
        finally:
            for link in ways[name]:
                link.heal()

    def _break(self, link: Link, how: str) -> None:
        if how == "hold":
            link.hold()
        elif how == "blackhole":
            link.blackhole()
        elif how == "refuse":
            link.refuse()
        elif how == "half open":
            link.half_open()
        else:
            link.cut_after(self._random.randrange(20_000))


_FAULTS = {
    "node kill": Nemesis._node_killed,
    "node pause": Nemesis._node_paused,
    "redis kill": Nemesis._redis_killed,
    "redis pause": Nemesis._redis_paused,
    "postgres kill": Nemesis._postgres_killed,
    "partition": Nemesis._partitioned,
}
SINGLE = tuple(_FAULTS)
NEMESES = (*SINGLE, "all mixed")
