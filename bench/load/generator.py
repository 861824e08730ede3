"""One process that makes load: `python -m bench.load.generator`, told what to do by bench/crew.py.

Rule: orders are carried out side by side, so that traffic can go on while others come back; `Stop` ends what lasts.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence

import msgspec

from bench import process, runner
from bench.load import live, logins, plan, reading, talk
from bench.load.cast import Cast, until
from bench.load.member import Member, opening, resuming
from bench.wire import connected

_AT_ONCE = 32
_PROBES = 128
_REPLIES_WITHIN = 30.0
_FACTS_WITHIN = 15.0
_LONGEST_LINE = 2**28


class Generator:
    """Carries out orders with one cast."""

    def __init__(self, cast: Cast, report: Callable[[plan.Report], None]) -> None:
        self._cast, self._report = cast, report

    async def carry_out(self, order: plan.Order) -> None:
        """Do it, and say so."""
        findings, accounts = None, []
        match order:
            case plan.Open():
                await self._open()
            case plan.Leave():
                await self._leave()
            case plan.Return():
                await self._return(order.url)
            case plan.Settle():
                findings = await self._settle(order.heads)
                accounts = [room.account() for room in self._cast.rooms]
            case plan.Stop():
                self._cast.stopping.set()
            case plan.Flush():
                pass
            case _:
                await self._play(order)
        self._report(self._cast.tally.progress())
        heads = [room.acked for room in self._cast.rooms]
        self._report(plan.Done(type(order).__name__, heads, findings, accounts))

    # Coming and going

    async def _open(self) -> None:
        cast, turns = self._cast, asyncio.Semaphore(_AT_ONCE)

        async def one(number: int, seat: plan.Seat) -> Member:
            async with turns:
                return await self._enter(cast.plan.url, number, seat, None)

        cast.members = await asyncio.gather(*[one(number, seat) for number, seat in enumerate(cast.plan.seats)])
        steady = [member for member in cast.members if member.seat.role == "steady"]
        for member in random.sample(steady, min(_PROBES, len(steady))):
            member.probe = True
        if cast.plan.watches:
            await live.watch(cast, cast.plan.watches)

    async def _enter(self, url: str, number: int, seat: plan.Seat, before: Member | None) -> Member:
        def make(first: bytes, logged_in: asyncio.Future[bytes]) -> Member:
            member = Member(first, logged_in, seat, self._cast.plan.first + number, self._cast.tally)
            if before is not None:
                member.resumes(before)
            return member

        since = time.monotonic_ns()
        first = resuming(before) if before is not None else opening(seat)
        member, _ = await connected(url, first, make)
        if before is not None:
            self._cast.tally.resumed(since)
        member.settle_in(self._cast.rooms_of(seat))
        return member

    async def _leave(self) -> None:
        away = [member for member in self._cast.members if member.seat.role == "storm"]
        for member in away:
            member.leave()
        await until(lambda: all(member.transport.is_closing() for member in away), 10)

    async def _return(self, url: str) -> None:
        members = self._cast.members
        away = [number for number, member in enumerate(members) if member.seat.role == "storm"]
        entering = [self._enter(url, number, members[number].seat, members[number]) for number in away]
        back = await asyncio.gather(*entering)
        for number, member in zip(away, back, strict=True):
            members[number] = member

    # What lasts

    async def _play(self, order: plan.Order) -> None:
        cast = self._cast
        cast.stopping.clear()
        match order:
            case plan.Talk():
                await talk.play(cast, order)
            case plan.Read():
                await reading.play(cast, order)
            case plan.LogIn():
                await logins.play(cast, order)
            case plan.Live():
                await live.play(cast, order)
        await until(lambda: not any(member.pending for member in cast.members), _REPLIES_WITHIN)

    async def _settle(self, heads: Sequence[int]) -> plan.Findings:
        cast = self._cast
        places = [
            (member, cast.rooms_of(member.seat), [heads[number] for number in member.seat.rooms])
            for member in cast.members
        ]
        await until(lambda: all(member.complete(rooms, upto) for member, rooms, upto in places), _FACTS_WITHIN)
        findings = cast.tally.findings()
        for member, rooms, upto in places:
            lost, duplicated, reordered, mismatched = member.wrong(rooms, upto)
            findings.lost += lost
            findings.duplicated += duplicated
            findings.reordered += reordered
            findings.mismatched += mismatched
            findings.unanswered += len(member.pending)
        return findings


async def main() -> None:
    """Read orders until there are no more."""
    loop, encode = asyncio.get_running_loop(), msgspec.json.encode
    orders = asyncio.StreamReader(_LONGEST_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin.buffer)
    decode = msgspec.json.Decoder(plan.Order).decode
    first = decode(await orders.readline())
    assert isinstance(first, plan.Plan), "a plan comes first"
    out = os.fdopen(os.dup(1), "wb", buffering=0)

    def report(what: plan.Report) -> None:
        data = memoryview(encode(what) + b"\n")
        while data:
            data = data[out.write(data) :]

    generator = Generator(Cast(first), report)
    tasks: set[asyncio.Task[None]] = set()

    async def carry_out(order: plan.Order) -> None:
        try:
            await generator.carry_out(order)
        except Exception as error:
            report(plan.Failed(f"{type(order).__name__}: {error or type(error).__name__}"))

    while line := await orders.readline():
        task = asyncio.create_task(carry_out(decode(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the end of standard input ends us
    process.allow_many_files()
    runner.run(main())
