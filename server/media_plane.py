"""Media planes: how sound and pictures get from one participant to the others; the server itself carries none.

A mesh has each send to each, which is good for a few. A forwarding unit (SFU) takes what one sends and hands it on: a
program of its own, which a plane admits seats to. docs/calls.md has the contract.
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from protocol.voice import Media
from storage.room import Seat


class MediaPlane(Protocol):
    """What calls and voice channels ask of a plane; a room is known by its id. Each may raise a `Refusal`.

    Several processes may ask about one room: of a seat that comes or changes the one that holds its socket.
    """

    most: int  # how many it takes in one room

    async def admit(self, room: UUID, seat: Seat) -> Media:
        """Somebody comes in, or comes back."""

    async def changed(self, room: UUID, seat: Seat) -> None:
        """Somebody may be heard from now on or no longer, may hear or not: enforce it."""

    async def left(self, room: UUID, seat: UUID) -> None:
        """Somebody is there no more: cut them off. Told by every process that knew of them, so perhaps often; not of
        the last in a room who was lost."""


class Mesh:
    """From each to each: nothing to do here."""

    def __init__(self, most: int) -> None:
        self.most = most

    async def admit(self, room: UUID, seat: Seat) -> Media:
        """By signals between the participants."""
        return Media(plane="mesh")

    async def changed(self, room: UUID, seat: Seat) -> None:
        """The participants play nothing of who is no speaker."""

    async def left(self, room: UUID, seat: UUID) -> None:
        """The others close their connections."""
