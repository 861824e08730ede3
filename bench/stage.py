"""Accounts and channels for a run, made through the protocol like anybody's."""

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from uuid import UUID, uuid4

from bench.accounts import Registered, register_all
from bench.load.plan import Plan, Role, Seat
from protocol.channel import ChannelAddMember, ChannelCreate, ChannelOpenDirect
from protocol.client import Client
from protocol.session import SessionOpen

_AT_ONCE = 16
_AT_CREATION = 50


class Progress:
    """How far something is, on standard error, twice a second at most."""

    def __init__(self, what: str, count: int) -> None:
        self._what, self._count, self._next = what, count, 0.0

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now >= self._next or done == self._count:
            self._next = now + (0.5 if sys.stderr.isatty() else 10)
            end = "\n" if done == self._count or not sys.stderr.isatty() else ""
            sys.stderr.write(f"\r{self._what}: {done:,} of {self._count:,}{end}")
            sys.stderr.flush()


async def accounts(url: str, count: int) -> list[Registered]:
    """New accounts, with progress."""
    return await register_all(url, count, Progress("accounts", count))


async def group(url: str, members: Sequence[Registered]) -> str:
    """A group of the first and all the others; its channel."""
    async with Client(url) as client:
        # Who builds a channel of thousands does not want to hear of each of them.
        await client.call(SessionOpen(token=members[0].token, wants=[]))
        others = iter([UUID(member.id) for member in members[1:]])
        first = list(islice(others, _AT_CREATION))
        created = await client.call(ChannelCreate(name="bench", nonce=uuid4(), members=first))
        channel, turns = created.channel.id, asyncio.Semaphore(_AT_ONCE)
        added, progress = len(first) + 1, Progress("members", len(members))

        async def add(user: UUID) -> None:
            nonlocal added
            async with turns:
                await client.call(ChannelAddMember(channel=channel, user=user), timeout=60)
                added += 1
                progress(added)

        await asyncio.gather(*[add(user) for user in others])
    return str(channel)


async def direct(url: str, members: Sequence[Registered]) -> str:
    """The channel that two people have to themselves."""
    async with Client(url) as client:
        await client.call(SessionOpen(token=members[0].token, wants=[]))
        return str((await client.call(ChannelOpenDirect(user=UUID(members[1].id)))).channel.id)


async def rooms(url: str, count: int, size: int, senders: int, *, storm: int = 0) -> Plan:
    """Groups without common members: of each, `senders` write, and the last `storm` leave and come back."""
    people = await accounts(url, count * size)
    parts = [people[at : at + size] for at in range(0, count * size, size)]
    channels = await _made(group, url, parts)
    writes = writers(size - storm, senders)
    seats = [
        seat(member, [number], [number] if place in writes else [], "steady" if place < size - storm else "storm")
        for number, members in enumerate(parts)
        for place, member in enumerate(members)
    ]
    return Plan(url, 0, channels, seats)


async def pairs(url: str, count: int, senders: int) -> Plan:
    """Pairs of people of whom one writes to the other, or both to each other."""
    people = await accounts(url, 2 * count)
    parts = [people[at : at + 2] for at in range(0, 2 * count, 2)]
    channels = await _made(direct, url, parts)
    seats = [
        seat(member, [number], [number] if place < senders else [])
        for number, members in enumerate(parts)
        for place, member in enumerate(members)
    ]
    return Plan(url, 0, channels, seats)


async def community(url: str, people: int, count: int, each: int) -> Plan:
    """People who are in `each` of the rooms, most of them in the popular ones, and write wherever they are."""
    everybody = await accounts(url, people)
    chosen = [_popular(count, min(each, count)) for _ in everybody]
    parts = [[one for one, mine in zip(everybody, chosen, strict=True) if room in mine] for room in range(count)]
    inhabited = [number for number, part in enumerate(parts) if len(part) > 1]
    channels = await _made(group, url, [parts[number] for number in inhabited])
    places = {number: place for place, number in enumerate(inhabited)}
    seats = []
    for one, mine in zip(everybody, chosen, strict=True):
        at = sorted(places[number] for number in mine if number in places)
        if at:
            seats.append(seat(one, at, at))
    return Plan(url, 0, channels, seats, [one.account for one in seats])


def writers(size: int, senders: int) -> set[int]:
    """Which places write: spread over all, so that every generator has some."""
    return {number * size // senders for number in range(min(senders, size))}


def seat(one: Registered, hears: list[int], writes: list[int], role: Role = "steady") -> Seat:
    """The seat of an account."""
    return Seat(one.id, one.token, hears, writes, role, one.username, one.password)


def _popular(count: int, each: int) -> set[int]:
    chosen: set[int] = set()
    weights = [1 / (number + 1) for number in range(count)]
    while len(chosen) < each:
        chosen.update(random.choices(range(count), weights, k=each - len(chosen)))
    return chosen


async def _made(
    make: Callable[[str, Sequence[Registered]], Awaitable[str]], url: str, parts: Sequence[Sequence[Registered]]
) -> list[str]:
    turns, progress, done = asyncio.Semaphore(_AT_ONCE), Progress("channels", len(parts)), 0

    async def one(members: Sequence[Registered]) -> str:
        nonlocal done
        async with turns:
            channel = await make(url, members)
            done += 1
            progress(done)
            return channel

    return await asyncio.gather(*[one(members) for members in parts])
