"""Who plays in one generator: its members, the rooms they know, and what they count together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from bench.load.member import Member
from bench.load.plan import Plan, Seat
from bench.load.room import Room
from bench.load.tally import Tally


class Cast:
    """The seats of one plan and their sockets."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.tally, self.stopping = plan, Tally(), asyncio.Event()
        self.rooms = [Room(channel) for channel in plan.rooms]
        self.members: list[Member] = []

    def rooms_of(self, seat: Seat) -> list[Room]:
        """What a seat hears."""
        return [self.rooms[number] for number in seat.rooms]

    def writers(self) -> list[tuple[Member, Room]]:
        """Who writes where."""
        return [(member, self.rooms[number]) for member in self.members for number in member.seat.writes]

    async def until_stopped(self, seconds: float) -> None:
        """Let things go on for so long, or until told to stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)

    async def pace(self, rate: float, seconds: float, act: Callable[[int], None]) -> None:
        """Act at a rate, however long things take: what is late is still counted from when it was due."""
        start, interval, done = time.monotonic_ns(), 1e9 / rate, 0
        end = start + int(seconds * 1e9)
        while not self.stopping.is_set() and (now := time.monotonic_ns()) < end:
            while (due := start + int(done * interval)) <= now:
                act(due)
                done += 1
            await asyncio.sleep((due - now) / 1e9)


async def until(done: Callable[[], bool], within: float) -> None:
    """Wait for something, at most so long: whoever looks afterwards finds out what is missing."""
    end = time.monotonic() + within
    while not done() and time.monotonic() < end:  # noqa: ASYNC110 - an event for each message would cost too much
        await asyncio.sleep(0.02)
