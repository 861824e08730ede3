"""Which channels this process hears, and what each connection has been told of that.

Rule 1: wishes of one turn of the event loop become few commands.
Rule 2: what is no longer wanted is not heard, even while Redis still sends it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import islice

from storage.redis_net import Net
from storage.redis_wire import Hearing, pack

Listener = Callable[[bytes], None]
_AT_ONCE = 5000  # so that many thousands do not hold up the loop


class Following:
    """Channels, each with its topic (dynamic ones) or its listener (those known from the start)."""

    def __init__(self, net: Callable[[], Net]) -> None:
        self._net = net
        self._changed: dict[bytes, None] = {}
        self._scheduled = False
        self.wanted: dict[bytes, bytes | Listener] = {}

    def change(self, channels: Iterable[bytes]) -> None:
        """What is wanted of these has changed: tell Redis soon."""
        self._changed.update(dict.fromkeys(channels))
        if self._changed and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def renew(self) -> None:
        """A connection is new, or channels have moved: look at all of them."""
        self.change(self.wanted)

    async def settled(self) -> bool:
        """Wait until Redis has done what was asked so far; whether it has."""
        while self._changed:
            self._flush()
            await asyncio.sleep(0)
        wires = [node.hearing.wire for node in self._net().nodes]
        answers = await asyncio.gather(*(wire.ask(pack(b"PING")) for wire in wires if wire is not None))
        return bool(answers) and len(answers) == len(wires) and None not in answers

    def _flush(self) -> None:
        some = list(islice(self._changed, _AT_ONCE))
        for channel in some:
            del self._changed[channel]
        self._scheduled = False
        self.change(())  # the rest, in another turn
        self._tell(some)

    def _tell(self, channels: list[bytes]) -> None:
        begin: defaultdict[Hearing, list[bytes]] = defaultdict(list)
        end: defaultdict[Hearing, list[bytes]] = defaultdict(list)
        net = self._net()
        for channel in channels:
            wire = net.hearing(channel)
            if wire is None:
                continue  # when it is back, all of it is told anew
            if channel in self.wanted:
                if channel not in wire.subscribed:
                    begin[wire].append(channel)
            elif channel in wire.subscribed:
                end[wire].append(channel)
        for wire, some in end.items():
            wire.subscribed.difference_update(some)
            self._send(wire, net.unsubscribe, net.commands(some))
        for wire, some in begin.items():
            wire.subscribed.update(some)
            self._send(wire, net.subscribe, net.commands(some))

    def _send(self, wire: Hearing, word: bytes, commands: Iterable[list[bytes]]) -> None:
        for channels in commands:
            wire.send(pack(word, *channels))
