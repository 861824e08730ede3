"""What processes tell each other about streams and presence: envelopes of finished frames, over the bus.

Rule 1: an envelope is opened and forwarded, never decoded: the bytes that one process encoded are what all sockets get.
Rule 2: who is alone publishes nothing; whoever starts meanwhile learns what it lacks from the database.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from server.audience import Batch
from server.core import split

if TYPE_CHECKING:
    from storage.bus import Bus

log = logging.getLogger("onesocket.carrier")

_FACTS = struct.Struct(">16sBQQ")  # who publishes, 1, access version, seq of the first
_PASSING = struct.Struct(">16sB16s8s")  # who publishes, 2, whose doing, what kind
_PRESENCE = struct.Struct(">16sB")  # who publishes, 3
_ROOM = struct.Struct(">16sB16s?")  # who publishes, 4, which room, whether it is a call
_SIGNAL = struct.Struct(">16sB16s")  # who publishes, 5, to which seat
_EVERYBODY, _ONE = b"presence", b"presence:"


class Carrier:
    """Publishes what happens here, and hears what happens elsewhere."""

    def __init__(self, bus: Bus, node: bytes) -> None:
        self._bus, self._node = bus, node
        self._take: Callable[[Batch], None]
        self._pass_on: Callable[[UUID, str, UUID, bytes], None]
        self._presence: Callable[[UUID], None]
        self._everybody: Callable[[], None]
        self._room: Callable[[UUID, UUID, bool], None]
        self._signal: Callable[[UUID, bytes], object]
        bus.on_topic = self._heard

    def hear(self, take: Callable[[Batch], None], pass_on: Callable[[UUID, str, UUID, bytes], None]) -> None:
        """Who gets what others publish."""
        self._take, self._pass_on = take, pass_on

    def follow(self, stream: UUID) -> None:
        """Hear of a stream."""
        self._bus.follow([stream.bytes])

    def unfollow(self, stream: UUID) -> None:
        """Hear of it no more."""
        self._bus.unfollow([stream.bytes])

    def publish(self, batch: Batch) -> None:
        """Facts that were stored here."""
        if self._bus.others:
            head = _FACTS.pack(self._node, 1, batch.access, batch.first)
            self._bus.publish_soon(batch.stream.bytes, head + b"".join(batch.frames))

    def pass_on(self, stream: UUID, want: str, by: UUID, one: bytes) -> None:
        """An event that is not kept."""
        if self._bus.others:
            head = _PASSING.pack(self._node, 2, by.bytes, want.encode())
            self._bus.publish_soon(stream.bytes, head + one)

    # Presence

    def hear_presence(self, changed: Callable[[UUID], None], everybody: Callable[[], None]) -> None:
        """Who is told that an account that is followed, or any, may have come, gone or changed."""
        self._presence, self._everybody = changed, everybody
        self._bus.follow([_EVERYBODY])

    def follow_presence(self, account: UUID) -> None:
        """Hear of an account."""
        self._bus.follow([_ONE + account.bytes])

    def unfollow_presence(self, account: UUID) -> None:
        """Hear of it no more."""
        self._bus.unfollow([_ONE + account.bytes])

    def tell_presence(self, account: UUID | None) -> None:
        """An account has come, gone or changed here; None: any may have."""
        if self._bus.others:
            topic = _EVERYBODY if account is None else _ONE + account.bytes
            self._bus.publish_soon(topic, _PRESENCE.pack(self._node, 3))

    # Calls and voice channels

    def hear_rooms(self, changed: Callable[[UUID, UUID, bool], None], signal: Callable[[UUID, bytes], object]) -> None:
        """Who is told that a room of a channel that is followed has changed, and what is for a seat there."""
        self._room, self._signal = changed, signal

    def tell_room(self, channel: UUID, room: UUID, call: bool) -> None:
        """Somebody came into a room, went or changed."""
        if self._bus.others:
            self._bus.publish_soon(channel.bytes, _ROOM.pack(self._node, 4, room.bytes, call))

    def signal(self, channel: UUID, seat: UUID, one: bytes) -> None:
        """An event for one seat."""
        if self._bus.others:
            self._bus.publish_soon(channel.bytes, _SIGNAL.pack(self._node, 5, seat.bytes) + one)

    # Hearing

    def _heard(self, topic: bytes, message: bytes) -> None:
        if message[:16] == self._node:
            return
        try:
            if message[16] == 1:
                self._facts(UUID(bytes=topic), message)
            elif message[16] == 2:
                self._passing(UUID(bytes=topic), message)
            elif message[16] == 4:
                _, _, room, call = _ROOM.unpack(message)
                self._room(UUID(bytes=topic), UUID(bytes=room), call)
            elif message[16] == 5:
                _, _, seat = _SIGNAL.unpack_from(message)
                self._signal(UUID(bytes=seat), message[_SIGNAL.size :])
            elif topic == _EVERYBODY:
                self._everybody()
            elif topic.startswith(_ONE):
                self._presence(UUID(bytes=topic[len(_ONE) :]))
        except (ValueError, struct.error, IndexError):
            log.warning("an envelope came that cannot be read")

    def _facts(self, stream: UUID, message: bytes) -> None:
        _, _, access, first = _FACTS.unpack_from(message)
        self._take(Batch(stream, access, first, split(message[_FACTS.size :])))

    def _passing(self, stream: UUID, message: bytes) -> None:
        _, _, by, want = _PASSING.unpack_from(message)
        self._pass_on(stream, want.rstrip(b"\0").decode(), UUID(bytes=by), message[_PASSING.size :])
