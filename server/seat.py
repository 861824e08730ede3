"""Seats in calls and voice channels whose sockets are here.

Rule: a socket holds one seat at most.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct, field

from protocol.voice import Participant
from storage.room import Place, Seat

if TYPE_CHECKING:
    from server.context import Context


class Held(Struct):
    """A seat whose socket is here."""

    ctx: Context
    place: Place
    seat: Seat
    kind: str
    told: list[Participant] | None = None


class Room(Struct):
    """A room as it was told last."""

    id: UUID
    channel: UUID
    call: bool
    held: dict[UUID, Held] = field(default_factory=dict)
    people: list[Participant] = field(default_factory=list)
    users: int = 0


class Seats:
    """Which socket holds which seat, and in which channels there are some."""

    def __init__(self) -> None:
        self._by_context: dict[Context, Held] = {}
        self._by_id: dict[UUID, Held] = {}
        self._channels: Counter[UUID] = Counter()

    def __len__(self) -> int:
        return len(self._by_context)

    def of(self, ctx: Context) -> Held | None:
        """The seat that a socket holds."""
        return self._by_context.get(ctx)

    def get(self, seat: UUID) -> Held | None:
        """A seat, if it is held here."""
        return self._by_id.get(seat)

    def all(self, channel: UUID | None = None) -> list[Held]:
        """All of them, or those in one channel."""
        return [one for one in self._by_context.values() if channel in (None, one.place.channel)]

    def somewhere_in(self, channel: UUID) -> bool:
        """Whether there is one in a channel."""
        return channel in self._channels

    def hold(self, one: Held) -> None:
        """A socket holds a seat."""
        self._by_context[one.ctx] = self._by_id[one.place.seat] = one
        self._channels[one.place.channel] += 1

    def let_go(self, ctx: Context) -> Held | None:
        """A socket holds none any more; which one it had."""
        held = self._by_context.pop(ctx, None)
        if held is not None:
            del self._by_id[held.place.seat]
            self._channels[held.place.channel] -= 1
            if not self._channels[held.place.channel]:
                del self._channels[held.place.channel]
        return held

    def push(self, seat: UUID, one: bytes) -> bool:
        """Tell a seat something; whether it is held here."""
        held = self._by_id.get(seat)
        if held is not None:
            held.ctx.socket.push(one)
        return held is not None
