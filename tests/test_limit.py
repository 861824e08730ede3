"""Rates: how often one may, and how long to wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.account import AccountSetLocation
from protocol.error import RateLimited
from protocol.session import SessionDescribe
from server import limit
from server.limit import Limiter, Rate
from tests.conftest import Connector, Person, Starter


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(limit.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize(
    ("text", "count", "period"), [("20/10s", 20, 10), ("5/15m", 5, 900), ("100/h", 100, 3600), ("1/d", 1, 86400)]
)
def test_rates_are_written_as_people_say_them(text: str, count: float, period: float) -> None:
    assert Rate.parse(text) == Rate(count, period)


@pytest.mark.parametrize("text", ["", "20", "20/", "20/10", "20/10w", "-1/s", "1.5/s", " 1/s", "1/s\n"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no rate"):
        Rate.parse(text)


def test_all_uses_may_come_at_once_and_then_one_each_interval(clock: Clock) -> None:
    limiter, rate = Limiter(), Rate(5, 10)
    assert [limiter.wait(rate, "op", "ann") for _ in range(5)] == [0] * 5
    assert limiter.wait(rate, "op", "ann") == pytest.approx(2)
    clock.now += 2
    assert limiter.wait(rate, "op", "ann") == 0
    assert limiter.wait(rate, "op", "ann") == pytest.approx(2)
    clock.now += 100
    assert [limiter.wait(rate, "op", "ann") for _ in range(6)] == [0] * 5 + [pytest.approx(2)]


def test_a_refused_use_costs_nothing(clock: Clock) -> None:
    limiter, rate = Limiter(), Rate(1, 10)
    limiter.wait(rate, "op", "ann")
    assert [limiter.wait(rate, "op", "ann") for _ in range(50)] == [pytest.approx(10)] * 50


def test_everybody_and_every_op_has_a_rate_of_its_own(clock: Clock) -> None:
    limiter, rate = Limiter(), Rate(1, 10)
    uses = [("op", "ann"), ("op", "bob"), ("other", "ann")]
    assert [limiter.wait(rate, *use) for use in uses] == [0, 0, 0]
    assert all(limiter.wait(rate, *use) > 0 for use in uses)


def test_a_use_that_is_given_back_can_be_taken_again(clock: Clock) -> None:
    limiter, rate = Limiter(), Rate(2, 10)
    for _ in range(10):
        assert limiter.wait(rate, "op", "ann") == 0
        limiter.give_back(rate, "op", "ann")
    limiter.give_back(rate, "op", "nobody")
    assert [limiter.wait(rate, "op", "ann") > 0 for _ in range(3)] == [False, False, True]


def test_what_has_become_even_is_forgotten(clock: Clock) -> None:
    limiter, rate = Limiter(), Rate(1, 10)
    for number in range(limit._SWEEP_ABOVE):
        limiter.wait(rate, "op", number)
    clock.now += 11
    limiter.wait(rate, "op", "one more")
    assert len(limiter._even) == 1


@given(st.integers(1, 20), st.lists(st.floats(0, 5), max_size=60))
def test_no_period_sees_more_than_twice_the_count(count: int, pauses: list[float]) -> None:
    """The burst, and what comes back during the period."""
    with pytest.MonkeyPatch.context() as patch:
        clock, limiter, rate, taken = Clock(patch), Limiter(), Rate(count, 10), []
        for pause in pauses:
            clock.now += pause
            if limiter.wait(rate, "op", "ann") == 0:
                taken.append(clock.now)
        for start in taken:
            assert sum(start <= at < start + 10 for at in taken) <= 2 * count


async def test_an_op_with_a_rate_is_refused_with_the_time_to_wait(start: Starter) -> None:
    server = await start(throttle=1.0)
    async with Person(server.url, reconnect=False) as person:
        for _ in range(30):
            await person.call(SessionDescribe(domain="session"))
        with pytest.raises(RateLimited) as refused:
            await person.call(SessionDescribe(domain="session"))
    assert refused.value.retry_after == pytest.approx(2, abs=0.5)


async def test_a_rate_counts_the_account_on_all_its_sockets(connect: Connector, start: Starter) -> None:
    server = await start(throttle=1.0, frames_per_second=1000)
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    same = await connect(to=server)
    await same.open(ann.tokens_given)
    for number in range(60):
        await (ann, same)[number % 2].call(AccountSetLocation(location=None))
    for person in (ann, same):
        with pytest.raises(RateLimited):
            await person.call(AccountSetLocation(location=None))
    await bob.call(AccountSetLocation(location=None))
