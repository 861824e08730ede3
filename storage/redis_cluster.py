"""Sharded publish and subscribe: on a Redis Cluster each channel lives on the node that has its slot.

Rule 1: which node that is may be wrong at any moment; whoever says so (a refusal, an ended subscription, a lost
connection) makes us ask for the layout anew.
Rule 2: a message that went to the wrong node is lost and counted; delivery never depends on it.
"""

from __future__ import annotations

import asyncio
import binascii
import logging
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from storage.redis_address import Address
from storage.redis_net import Events, Net, Node
from storage.redis_wire import Asking, Hearing, Wire, ask_once

log = logging.getLogger("onesocket.bus")

SLOTS = 16384
_PAUSE = 0.25
_PATIENCE = 0.7


def slot_of(channel: bytes) -> int:
    """The slot of a channel or key: of what stands in its first {braces}, else of all of it."""
    start = channel.find(b"{")
    if start >= 0:
        end = channel.find(b"}", start)
        if end > start + 1:
            channel = channel[start + 1 : end]
    return binascii.crc_hqx(channel, 0) % SLOTS


class Cluster(Net):
    """Several servers that share the slots."""

    publish_head = b"*3\r\n$8\r\nSPUBLISH\r\n"
    subscribe, unsubscribe = b"SSUBSCRIBE", b"SUNSUBSCRIBE"

    def __init__(self, address: Address, events: Events) -> None:
        super().__init__(address, replace(events, changed=self._connections_changed))
        self._changed, self._seed = events.changed, address
        self._nodes: dict[tuple[str, int], Node] = {}
        self._owners: list[Node | None] = [None] * SLOTS
        self._doubt, self._tried = asyncio.Event(), asyncio.Event()
        self._doubt.set()
        self._moved = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Learn the layout and connect; return when that has worked or failed."""
        self._task = asyncio.create_task(self._keep_learning(), name="redis cluster")
        await self._tried.wait()

    async def stop(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await super().stop()

    @property
    def nodes(self) -> Collection[Node]:
        """Those with slots."""
        return self._nodes.values()

    @property
    def whole(self) -> bool:
        """Whether every slot has its node, and every node its connections."""
        return super().whole and None not in self._owners

    def asking(self, channel: bytes) -> Asking | None:
        """Where to publish."""
        owner = self._owners[slot_of(channel)]
        return owner.asking.wire if owner else None

    def hearing(self, channel: bytes) -> Hearing | None:
        """Where to subscribe."""
        owner = self._owners[slot_of(channel)]
        return owner.hearing.wire if owner else None

    def commands(self, channels: list[bytes]) -> Iterator[list[bytes]]:
        """Channels that go into one command: those of one slot."""
        slots: dict[int, list[bytes]] = {}
        for channel in channels:
            slots.setdefault(slot_of(channel), []).append(channel)
        for some in slots.values():
            yield from super().commands(some)

    # The layout

    def _connections_changed(self) -> None:
        if not self.whole:
            self._doubt.set()  # a node that is away may be replaced by another one
        self._changed()

    async def _keep_learning(self) -> None:
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            try:
                await self._learn()
            except Exception:
                log.exception("the layout of the redis cluster cannot be read")
            self._tried.set()
            if not self.whole:
                self._doubt.set()
            await asyncio.sleep(_PAUSE)

    async def _learn(self) -> None:
        known = [node.address for node in self.nodes if node.whole]
        for address in (*known, self._seed):
            try:
                async with asyncio.timeout(_PATIENCE):
                    layout = await ask_once(address, b"CLUSTER", b"SLOTS")
            except (OSError, TimeoutError):
                continue
            await self._take(layout, address)
            return

    async def _take(self, layout: Any, asked: Address) -> None:
        """Layout: first slot, last slot, the node that has them, its replicas; and again for other slots."""
        owners: list[Node | None] = [None] * SLOTS
        nodes: dict[tuple[str, int], Node] = {}
        for first, last, (name, port, *_), *_replicas in layout:
            host = name.decode() if name else asked.host
            place = (host, port)
            node = nodes.get(place) or self._nodes.get(place) or self._node(replace(self._seed, host=host, port=port))
            nodes[place] = node
            owners[first : last + 1] = [node] * (last + 1 - first)
        if owners != self._owners or self._moved:
            await self._change(nodes, owners)

    async def _change(self, nodes: dict[tuple[str, int], Node], owners: list[Node | None]) -> None:
        before, self._nodes, self._owners, self._moved = self._nodes, nodes, owners, False
        await asyncio.gather(*(node.start() for place, node in nodes.items() if place not in before))
        await asyncio.gather(*(node.stop() for place, node in before.items() if place not in nodes))
        self._events.renew()
        self._events.changed()

    def _complaint(self, wire: Wire, error: str) -> None:
        self._doubt.set()
        if not error.startswith("MOVED "):
            super()._complaint(wire, error)
        elif isinstance(wire, Hearing):
            slot = int(error.split()[1])
            self._moved = True
            wire.subscribed = {channel for channel in wire.subscribed if slot_of(channel) != slot}
        else:
            self._events.unconfirmed(1)

    def _gone(self, wire: Hearing, channel: bytes) -> None:
        """Also the confirmation of our own wish; then there is nothing to find here."""
        if channel in wire.subscribed:
            wire.subscribed.discard(channel)
            self._moved = True
            self._doubt.set()
