"""Streams: which events the program gets to see, and in which order.

Rule 1: a fact is handed out once, after the one before it, or not at all.
Rule 2: what could not be handed out leaves its cursor where it was, and is asked for again.
Rule 3: what can't be asked for any more is told as `StreamReset`.
Rule 4: who has heard of leaving a channel does not believe a reply that may be older than that.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar
from uuid import UUID

from protocol.channel import ChannelJoined, ChannelLeft, ChannelUnwatch, Membership, Memberships, Watched
from protocol.client.cursor import Cursors
from protocol.client.inbox import Inbox
from protocol.frame import Event, Fact, Request
from protocol.session import Cursor, Head, SessionOpened, SessionResumed
from protocol.space import SpaceChanged

R = TypeVar("R")
_LEFT = 1000  # no request takes longer than leaving so many


class StreamReset(Event, frozen=True):
    """Facts of this stream were missed for good: read again what you know of it. Said by the client itself."""

    stream: UUID


class Streams:
    """What is known of every stream, between a connection and the inbox."""

    def __init__(self, inbox: Inbox, *, follow: bool) -> None:
        """`follow=False`: facts are no concern of this program; those that come are events like others."""
        self._inbox, self._follow = inbox, follow
        self._joined: list[UUID] | None = None  # while facts are being made up for: channels entered since
        self._left = deque[UUID](maxlen=_LEFT)  # the last ones of all those that were left so far
        self._leavings = 0
        self.cursors = Cursors()

    def hear(self, event: Event) -> bool:
        """Hand an event out; False when it can't be yet, so that it has to be asked for again."""
        if isinstance(event, SpaceChanged):
            for channel in event.gone:
                self.cursors.forget(channel)
        if not isinstance(event, Fact):
            return self._inbox.put(event)
        place = self.cursors.place(event) if self._follow else "next"
        if place == "old":
            return True
        if place == "gap" or (place == "leap" and not self._missed(event.stream, event.seq - 1)):
            return False
        if type(event) is not Fact and not self._inbox.put(event):  # a bare fact is one that only newer programs know
            return False
        if self._follow:
            self._moved(event)
        return True

    def _moved(self, fact: Fact) -> None:
        self.cursors.move(fact.stream, fact.seq)
        if isinstance(fact, ChannelLeft):
            self.cursors.forget(fact.channel)
            self._left.append(fact.channel)
            self._leavings += 1
        elif isinstance(fact, ChannelJoined):
            self.learn(fact.membership)
            if self._joined is not None:
                self._joined.append(fact.membership.channel.id)

    def _missed(self, stream: UUID, head: int | None) -> bool:
        """Say that facts up to `head` will not come; False when there was no room to say it."""
        if not self._inbox.put(StreamReset(stream=stream)):
            return False
        if head is None:
            self.cursors.forget(stream)
        else:
            self.cursors.move(stream, head)
        return True

    # What replies tell

    def learner(self, frame: Request[R]) -> Callable[[object], None]:
        """What learns from the reply to a request that is sent now."""
        if isinstance(frame, ChannelUnwatch):
            return lambda reply: self._unwatched(frame.channels)
        return partial(self.learn, leavings=self._leavings)

    def _unwatched(self, channels: list[UUID]) -> None:
        for channel in channels:
            self.cursors.forget(channel)

    def learn(self, reply: object, leavings: int | None = None) -> None:
        """Follow what a reply tells of, from the head that it tells; `leavings`: as many as when it was asked for."""
        if not self._follow:
            return
        since = 0 if leavings is None else self._leavings - leavings
        left = set(islice(reversed(self._left), since)) if since else ()
        for stream, head in _heads(reply):
            if stream not in left:
                self.cursors.learn(stream, head)

    def opened(self, reply: SessionOpened) -> None:
        """A new start."""
        self._joined = None
        self.cursors.clear()
        self.cursors.first = reply.account
        self.learn(reply)

    def resume(self, room: int) -> list[Cursor]:
        """Where to go on from, in `room` bytes of a frame."""
        self._joined = []
        return self.cursors.name(room)

    def resumed(self, reply: SessionResumed) -> bool:
        """What was missed has come, except for what the reply says; False when there is more to ask for."""
        heads, joined = dict(_heads(reply)), self._joined or ()
        self._joined = None
        for stream in reply.reset:
            if self.cursors.get(stream) is not None:  # else it was left in the meantime, as was told
                self._missed(stream, heads.get(stream))
        for stream, head in heads.items():
            cursor = self.cursors.get(stream)
            if cursor is None:
                self._missed(stream, head)
            elif self.cursors.doubtful(stream):
                self._compared(stream, head)
        return all(stream not in heads or self._at(stream) >= heads[stream] for stream in joined)

    def compared(self, asked: list[Cursor], behind: list[Head]) -> list[Head]:
        """The server compared the heads in `asked`; the cursors to which facts should follow soon."""
        heads = {cursor.stream: cursor.seq for cursor in behind}
        for cursor in asked:
            if self.cursors.doubtful(cursor.stream):
                self._compared(cursor.stream, heads.get(cursor.stream, cursor.seq))
        return [cursor for cursor in behind if self.lacks(cursor)]

    def _compared(self, stream: UUID, head: int) -> None:
        if head > self._at(stream):
            self._missed(stream, head)
        else:
            self.cursors.trust(stream)

    def lacks(self, cursor: Head) -> bool:
        """Whether facts up to there have still to come."""
        return self.cursors.get(cursor.stream) is not None and self._at(cursor.stream) < cursor.seq

    def _at(self, stream: UUID) -> int:
        return self.cursors.get(stream) or 0


def _heads(reply: object) -> Iterator[tuple[UUID, int]]:
    """The streams that a session hears, and their heads, as far as a reply tells them."""
    if isinstance(reply, SessionOpened):
        yield reply.account, reply.head
    if isinstance(reply, Membership):
        if reply.joined and reply.channel.space is None:  # channels of spaces are heard by who watches them
            yield reply.channel.id, reply.head
    elif isinstance(reply, Watched):
        yield from ((one.channel, one.head) for one in reply.channels)
    elif isinstance(reply, SessionOpened | Memberships):
        for membership in reply.channels:
            yield from _heads(membership)
