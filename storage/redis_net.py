"""Which server carries a channel: the only one, unless Redis is a cluster (see redis_cluster)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice

from storage.redis_address import Address
from storage.redis_line import Line
from storage.redis_wire import Asking, Hearing, Wire

log = logging.getLogger("onesocket.bus")

_IN_ONE_COMMAND = 1000


@dataclass(frozen=True, slots=True)
class Events:
    """What a net tells its owner."""

    hear: Callable[[bytes, bytes], None]  # a message: channel and data
    changed: Callable[[], None]  # a connection came or went
    renew: Callable[[], None]  # some subscriptions have to be made anew
    unconfirmed: Callable[[int], None]  # so many messages were under way when a connection broke


class Node:
    """One server, with a connection to publish and one to hear."""

    def __init__(
        self,
        address: Address,
        events: Events,
        complain: Callable[[Wire, str], None],
        gone: Callable[[Hearing, bytes], None],
    ) -> None:
        self.address, self._events = address, events
        self.asking = Line(address, lambda: Asking(complain), events.changed, self._lost_asking)
        self.hearing = Line(address, lambda: Hearing(complain, events.hear, gone), self._heard_again, self._lost)

    @property
    def whole(self) -> bool:
        """Whether both connections are up."""
        return self.asking.wire is not None and self.hearing.wire is not None

    async def start(self) -> None:
        """Connect; return when that has worked or failed."""
        for line in (self.asking, self.hearing):
            line.start()
        await asyncio.gather(self.asking.tried.wait(), self.hearing.tried.wait())

    async def stop(self) -> None:
        """Hang up."""
        await asyncio.gather(self.asking.stop(), self.hearing.stop())

    def _heard_again(self) -> None:
        self._events.renew()
        self._events.changed()

    def _lost(self, _wire: Wire) -> None:
        self._events.changed()

    def _lost_asking(self, wire: Asking) -> None:
        self._events.unconfirmed(wire.unconfirmed)
        self._events.changed()


class Net:
    """One server that carries every channel."""

    publish_head = b"*3\r\n$7\r\nPUBLISH\r\n"
    subscribe, unsubscribe = b"SUBSCRIBE", b"UNSUBSCRIBE"

    def __init__(self, address: Address, events: Events) -> None:
        self._events = events
        self._only = self._node(address)

    async def start(self) -> None:
        """Connect; return when that has worked or failed."""
        await self._only.start()

    async def stop(self) -> None:
        """Hang up."""
        await asyncio.gather(*(node.stop() for node in self.nodes))

    @property
    def nodes(self) -> Collection[Node]:
        """Every server that we talk to."""
        return (self._only,)

    @property
    def whole(self) -> bool:
        """Whether every channel can be published to and heard."""
        return all(node.whole for node in self.nodes)

    def asking(self, channel: bytes) -> Asking | None:
        """Where to publish."""
        return self._only.asking.wire

    def hearing(self, channel: bytes) -> Hearing | None:
        """Where to subscribe."""
        return self._only.hearing.wire

    def commands(self, channels: list[bytes]) -> Iterator[list[bytes]]:
        """Channels that go into one command."""
        rest = iter(channels)
        while some := list(islice(rest, _IN_ONE_COMMAND)):
            yield some

    def _node(self, address: Address) -> Node:
        return Node(address, self._events, self._complaint, self._gone)

    def _complaint(self, wire: Wire, error: str) -> None:
        log.warning("redis refused: %s", error)
        wire.abort()  # what it has done of what we asked is unknown: begin anew

    def _gone(self, wire: Hearing, channel: bytes) -> None:
        """A server ended a sharded subscription: that is a cluster's doing."""
