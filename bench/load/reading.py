"""Pages of history: most of them the last of a channel, as people open it, some from anywhere in it."""

import random
import time

from bench.load.cast import Cast
from bench.load.member import Member
from bench.load.plan import Read
from bench.load.room import Room


async def play(cast: Cast, order: Read) -> None:
    """Let everybody read, page after page. A page that is not whole counts as a refusal."""
    end = time.monotonic_ns() + int(order.seconds * 1e9)
    heads = {room.id: _head(cast, room) for room in cast.rooms}

    def ask(member: Member) -> None:
        room = random.choice(cast.rooms_of(member.seat))
        now, head = time.monotonic_ns(), heads[room.id]
        fields = b'"channel":"%b","limit":%d' % (room.id, order.limit)
        if random.random() < order.deep and head > order.limit:
            fields += b',"before":%d' % random.randint(order.limit + 1, head)

        def read(body: bytes) -> None:
            cast.tally.said(now)
            found = body.count(b'"sent_at":')
            cast.tally.delivered += found
            if found != order.limit:
                cast.tally.refuse(f"a page of {order.limit} messages had {found}")
            if time.monotonic_ns() < end:
                ask(member)

        member.ask(b"message.history", fields, now, read)

    for member in cast.members:
        for _ in range(order.depth):
            ask(member)
    await cast.until_stopped(order.seconds)


def _head(cast: Cast, room: Room) -> int:
    return max((member.sequences[room.id].last for member in cast.members if room.id in member.sequences), default=0)
