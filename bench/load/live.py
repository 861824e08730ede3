"""A day in a community, in seconds: people open channels, read, type, say something, react, mend what they said.

Most of it is reading. Rooms are as popular as rooms are: the second half as much as the first, the third a third
(Zipf's law), and each person prefers the popular ones among their own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import accumulate

from bench.load.cast import Cast, until
from bench.load.member import Member, sent_seq
from bench.load.plan import Live
from bench.load.room import Room

# What people do, and how often out of a hundred times.
ACTIONS = (
    ("open a channel", 34),
    ("mark it read", 24),
    ("type", 14),
    ("say something", 14),
    ("react", 6),
    ("change status", 3),
    ("edit", 3),
    ("look at the list of channels", 2),
)
_EMOJI = ("👍", "🎉", "❤️", "😄")
_STATUS = ("online", "away", "dnd")
_WATCHED_AT_ONCE = 20


async def watch(cast: Cast, accounts: Sequence[str]) -> None:
    """Let everybody be told who is there."""
    for member in cast.members:
        chosen = random.sample(accounts, min(_WATCHED_AT_ONCE, len(accounts)))
        users = b",".join(b'"%b"' % account.encode() for account in chosen)
        member.ask(b"presence.watch", b'"users":[%b]' % users, 0, lambda _: None)
    await until(lambda: not any(member.pending for member in cast.members), 60)
    if cast.tally.refused:
        raise ConnectionError(cast.tally.first_problem)


async def play(cast: Cast, order: Live) -> None:
    """Act at a rate: whose turn it is, is chance."""
    people = [Person(cast, member) for member in cast.members]
    kinds, weights = [name for name, _ in ACTIONS], list(accumulate(weight for _, weight in ACTIONS))

    def act(due: int) -> None:
        person = random.choice(people)
        person.act(random.choices(kinds, cum_weights=weights)[0], due)

    await cast.pace(order.rate * cast.plan.share, order.seconds, act)


class Person:
    """One member and what they may do next."""

    def __init__(self, cast: Cast, member: Member) -> None:
        self._cast, self._member = cast, member
        self._rooms = cast.rooms_of(member.seat)
        self._popular = list(accumulate(1 / (number + 1) for number in member.seat.rooms))
        self._mine: dict[bytes, int] = {}
        self._acts: dict[str, Callable[[Room, int], None]] = {
            "open a channel": self._open,
            "mark it read": self._read,
            "type": self._type,
            "say something": self._say,
            "react": self._react,
            "change status": self._status,
            "edit": self._edit,
            "look at the list of channels": self._list,
        }

    def act(self, what: str, due: int) -> None:
        """Do one thing in one of the rooms."""
        self._acts[what](random.choices(self._rooms, cum_weights=self._popular)[0], due)

    def _ask(self, op: bytes, fields: bytes, due: int) -> None:
        self._member.ask(op, fields, due, lambda _: self._cast.tally.asked(due))

    def _change(self, op: bytes, fields: bytes, room: Room, due: int) -> None:
        def changed(body: bytes) -> None:
            self._cast.tally.asked(due)
            room.acked = max(room.acked, sent_seq(body))

        self._member.ask(op, fields, due, changed)

    def _open(self, room: Room, due: int) -> None:
        self._ask(b"message.history", b'"channel":"%b"' % room.id, due)

    def _read(self, room: Room, due: int) -> None:
        upto = self._member.sequences[room.id].last
        self._ask(b"message.mark_read", b'"channel":"%b","seq":%d' % (room.id, upto), due)

    def _type(self, room: Room, due: int) -> None:
        self._ask(b"typing.start", b'"channel":"%b"' % room.id, due)

    def _say(self, room: Room, due: int) -> None:
        def said(seq: int) -> None:
            self._mine[room.id] = seq

        self._member.say(room, due, said)

    def _react(self, room: Room, due: int) -> None:
        newest = self._member.newest.get(room.id)
        if newest is None:
            self._open(room, due)
            return
        fields = b'"channel":"%b","seq":%d,"emoji":"%b"' % (room.id, newest, random.choice(_EMOJI).encode())
        self._change(b"reaction.add", fields, room, due)

    def _status(self, room: Room, due: int) -> None:
        self._ask(b"presence.set", b'"status":"%b"' % random.choice(_STATUS).encode(), due)

    def _edit(self, room: Room, due: int) -> None:
        mine = self._mine.get(room.id)
        if mine is None:
            self._open(room, due)
            return
        fields = b'"channel":"%b","seq":%d,"text":"said better %d"' % (room.id, mine, due)
        self._change(b"message.edit", fields, room, due)

    def _list(self, room: Room, due: int) -> None:
        self._ask(b"channel.list", b'"limit":20', due)
