"""The generators as their coordinator sees them: started, told what to do, listened to, ended."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec

from bench.load import plan
from bench.load.histogram import merge

_LONGEST_LINE = 2**28
_END_WITHIN = 10.0
_report = msgspec.json.Decoder(plan.Report).decode


class GeneratorFailed(Exception):
    """A generator could not do its work; the message says why."""


class Hand:
    """One generator process."""

    def __init__(self, process: asyncio.subprocess.Process, totals: list[plan.Progress]) -> None:
        self.pid, self._process, self._totals = process.pid, process, totals
        self._done: dict[str, asyncio.Queue[plan.Done | plan.Failed]] = defaultdict(asyncio.Queue)
        self._waiting: list[str] = []
        self._end: plan.Failed | None = None
        self._listening = asyncio.create_task(self._listen())

    async def order(self, order: plan.Order) -> plan.Done:
        """Have something done."""
        if self._end is not None:
            raise GeneratorFailed(self._end.reason)
        name = type(order).__name__
        self._waiting.append(name)
        self.tell(order)
        done = await self._done[name].get()
        self._waiting.remove(name)
        if isinstance(done, plan.Failed):
            raise GeneratorFailed(done.reason)
        return done

    def tell(self, order: plan.Order) -> None:
        """Say something without waiting."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            match _report(line):
                case plan.Progress() as progress:
                    for totals in self._totals:
                        add(totals, progress)
                case plan.Done() as done:
                    self._done[done.order].put_nowait(done)
                case plan.Failed() as failed:
                    self._fail(failed)
        self._end = plan.Failed("a generator ended by itself")
        self._fail(self._end)

    def _fail(self, failed: plan.Failed) -> None:
        for name in self._waiting:
            self._done[name].put_nowait(failed)

    async def end(self) -> None:
        """Let it go."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _END_WITHIN)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._listening.cancel()


class Crew:
    """All generators of a run. `totals`: what they counted together, into as many sums as are wanted."""

    def __init__(self, rooms: int) -> None:
        self.hands: list[Hand] = []
        self.totals: list[plan.Progress] = []
        self._heads = [0] * rooms

    async def order(self, order: plan.Order) -> list[plan.Done]:
        """Have all of them do something; what they said then."""
        done = await asyncio.gather(*[hand.order(order) for hand in self.hands])
        for one in done:
            self._heads = [max(mine, theirs) for mine, theirs in zip(self._heads, one.heads, strict=True)]
        return done

    async def settle(self) -> plan.Findings:
        """Wait until everything acknowledged has arrived everywhere; what is wrong."""
        found = plan.Findings()
        settled = await self.order(plan.Settle(self._heads))
        for done in settled:
            if done.findings is not None:
                _add_findings(found, done.findings)
        found.mismatched += contradictions([done.accounts for done in settled])
        return found

    @asynccontextmanager
    async def counting(self) -> AsyncIterator[plan.Progress]:
        """Count from here to there."""
        await self.order(plan.Flush())
        totals = plan.Progress()
        self.totals.append(totals)
        try:
            yield totals
            await self.order(plan.Flush())
        finally:
            self.totals.remove(totals)


@asynccontextmanager
async def crew(whole: plan.Plan, generators: int) -> AsyncIterator[Crew]:
    """So many generators that share the seats of a plan: neighbours stay together, a storm has its own generators."""
    team = Crew(len(whole.rooms))
    try:
        for part in _parts(whole, generators):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "bench.load.generator",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                limit=_LONGEST_LINE,
            )
            team.hands.append(Hand(process, team.totals))
            team.hands[-1].tell(part)
        yield team
    finally:
        await asyncio.gather(*[hand.end() for hand in team.hands])


def _parts(whole: plan.Plan, generators: int) -> Iterator[plan.Plan]:
    """One plan for each generator. Who writes more keeps more of a rate."""
    first, weight = 0, sum(map(_weight, whole.seats))
    for role in ("steady", "storm"):
        seats = [seat for seat in whole.seats if seat.role == role]
        count = min(generators, len(seats))
        for number in range(count):
            mine = seats[len(seats) * number // count : len(seats) * (number + 1) // count]
            share = sum(map(_weight, mine)) / weight if weight else 1 / count
            yield msgspec.structs.replace(whole, first=first, seats=mine, share=share)
            first += len(mine)


def _weight(seat: plan.Seat) -> int:
    return len(seat.writes)


def add(totals: plan.Progress, more: plan.Progress) -> None:
    """Sum up."""
    totals.acked += more.acked
    totals.delivered += more.delivered
    totals.passing += more.passing
    totals.answered += more.answered
    totals.opened += more.opened
    merge(totals.ack, more.ack)
    merge(totals.delivery, more.delivery)
    merge(totals.request, more.request)
    merge(totals.resume, more.resume)


def contradictions(accounts: Sequence[Sequence[plan.Account | None]]) -> int:
    """In how many rooms generators were told different things, given the accounts of each."""
    count = 0
    for room in zip(*accounts, strict=True):
        told = {one for one in room if one is not None}
        count += len(told) > len({(first, last) for first, last, _ in told})
    return count


def _add_findings(found: plan.Findings, more: plan.Findings) -> None:
    for name in plan.Findings.__struct_fields__:
        if name != "first_problem":
            setattr(found, name, getattr(found, name) + getattr(more, name))
    found.first_problem = found.first_problem or more.first_problem
