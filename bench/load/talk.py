"""Messages, as fast as they are acknowledged, or at a rate."""

import itertools
import time

from bench.load.cast import Cast
from bench.load.member import Member
from bench.load.plan import Talk
from bench.load.room import Room


async def play(cast: Cast, order: Talk) -> None:
    """Let every writer write."""
    writers = cast.writers()
    if not writers:
        return
    if order.rate:
        turns = itertools.cycle(writers)

        def one(due: int) -> None:
            member, room = next(turns)
            member.say(room, due, _enough)

        await cast.pace(order.rate * cast.plan.share, order.seconds, one)
    else:
        await _closed(cast, writers, order)


async def _closed(cast: Cast, writers: list[tuple[Member, Room]], order: Talk) -> None:
    """Each acknowledgement is answered by the next message, until the time or the number is over."""
    end = time.monotonic_ns() + int(order.seconds * 1e9)
    left = dict.fromkeys(range(len(writers)), order.each)
    unfinished = len(writers)

    def say(number: int) -> None:
        nonlocal unfinished
        if order.each:
            if left[number] == 0:
                return
            left[number] -= 1
            if left[number] == 0:
                unfinished -= 1
                if not unfinished:
                    cast.stopping.set()
        now = time.monotonic_ns()
        if now < end:
            member, room = writers[number]
            member.say(room, now, lambda _: say(number))

    for number in range(len(writers)):
        for _ in range(order.depth):
            say(number)
    await cast.until_stopped(order.seconds)


def _enough(_: int) -> None:
    """At a rate nothing follows an acknowledgement."""
