"""Attempts, counted together in Redis, and by each process alone while Redis is away."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from protocol.error import RateLimited
from server import attempt
from server.attempt import Attempts
from storage.bus import Bus
from storage.throttle import Attempt

NOBODY = "redis://127.0.0.1:1"
FEW, MANY = Attempt("few", 3, 900.0), Attempt("many", 10, 900.0)


@pytest.fixture(params=["here", "away"])
async def bus(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Bus]:
    bus = Bus(redis_url if request.param == "here" else NOBODY)
    await bus.start()
    assert bus.alive == (request.param == "here")
    yield bus
    await bus.stop()


async def taken(attempts: Attempts, what: Sequence[Attempt], most: int = 50) -> int:
    """How many are possible."""
    for count in range(most):
        try:
            await attempts.take(what)
        except RateLimited:
            return count
    return most


async def test_so_many_and_then_the_time_until_the_next(bus: Bus) -> None:
    attempts = Attempts(bus, 1.0)
    assert await taken(attempts, [FEW]) == 3
    with pytest.raises(RateLimited) as refused:
        await attempts.take([FEW])
    assert refused.value.retry_after == pytest.approx(300, abs=5)


async def test_several_rates_are_taken_together_or_not_at_all(bus: Bus) -> None:
    attempts = Attempts(bus, 1.0)
    assert await taken(attempts, [FEW, MANY]) == 3
    for _ in range(20):
        with pytest.raises(RateLimited):
            await attempts.take([FEW, MANY])
    assert await taken(attempts, [MANY]) == 7, "the refused ones cost nothing"


async def test_what_was_rightful_is_given_back(bus: Bus) -> None:
    attempts = Attempts(bus, 1.0)
    for _ in range(10):
        await attempts.take([FEW, MANY])
        await attempts.give_back([FEW, MANY])
    assert await taken(attempts, [FEW, MANY]) == 3


async def test_giving_back_what_was_never_taken_makes_no_credit(bus: Bus) -> None:
    attempts = Attempts(bus, 1.0)
    for _ in range(10):
        await attempts.give_back([FEW])
    assert await taken(attempts, [FEW]) == 3


async def test_a_scale_allows_more(bus: Bus) -> None:
    assert await taken(Attempts(bus, 4.0), [FEW]) == 12


async def test_many_at_once_are_counted_one_by_one(bus: Bus) -> None:
    attempts = Attempts(bus, 1.0)
    answers = await asyncio.gather(*(attempts.take([FEW]) for _ in range(100)), return_exceptions=True)
    assert answers.count(None) == 3


async def test_processes_count_together(redis_url: str) -> None:
    buses = [Bus(redis_url) for _ in range(3)]
    for bus in buses:
        await bus.start()
    counts = [await taken(Attempts(bus, 1.0), [MANY], 4) for bus in buses]
    assert counts == [4, 4, 2]
    for bus in buses:
        await bus.stop()


async def test_when_redis_goes_away_the_door_does_not_open(redis_url: str) -> None:
    """The counts start anew, in this process, and no attempt waits for what does not answer."""
    bus = Bus(redis_url)
    await bus.start()
    attempts = Attempts(bus, 1.0)
    assert await taken(attempts, [FEW]) == 3
    bus.alive = False
    assert await taken(attempts, [FEW]) == 3
    with pytest.raises(RateLimited):
        await attempts.take([FEW])
    await bus.stop()


async def test_keys_hold_neither_names_nor_addresses(redis_url: str) -> None:
    bus = Bus(redis_url)
    await bus.start()
    every = [
        *attempt.logins("203.0.113.77", "annabelle"),
        *attempt.logins_anywhere("annabelle"),
        *attempt.mails("203.0.113.77", "annabelle@example.org"),
        *attempt.registrations("203.0.113.77"),
        *attempt.tickets("203.0.113.77"),
    ]
    await Attempts(bus, 1.0).take(every)
    kept = await bus.kept("")
    assert len(kept) == len(every) == 7
    assert not [key for key in kept if "annabelle" in key or "203.0.113" in key]
    await bus.stop()


def test_neighbours_in_one_ipv6_network_count_as_one() -> None:
    assert attempt.logins("2001:db8::1", "ann") == attempt.logins("2001:db8::ffff:2", "ann")
    assert attempt.logins("2001:db8::1", "ann") != attempt.logins("2001:db8:0:1::1", "ann")
    assert attempt.mails("192.0.2.1", "Ann@Example.org") == attempt.mails("192.0.2.1", "ann@example.org")
