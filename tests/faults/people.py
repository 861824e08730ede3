"""Who takes part in a run, and the channels in which they meet."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from protocol.account import AccountRegister
from protocol.channel import ChannelCreate
from protocol.session import SessionOpen
from tests.faults.cluster import Cluster
from tests.faults.wire import Wire


@dataclass(frozen=True)
class Person:
    """An account and how it logs in."""

    name: str
    id: UUID
    token: str


@dataclass(frozen=True)
class Place:
    """A channel and who is in it at the beginning."""

    id: UUID
    members: frozenset[str]


class Founding:
    """Makes accounts and channels, before anything is broken."""

    def __init__(self, cluster: Cluster) -> None:
        self._url, self._tag = cluster.nodes[0].url, secrets.token_hex(3)

    async def people(self, *names: str) -> dict[str, Person]:
        """New accounts; their names are unique in the database, so that one cluster serves many runs."""
        wire = await Wire.open(self._url, patience=10.0)
        frames = [AccountRegister(username=f"{name}-{self._tag}", password="correct horse battery") for name in names]
        given = await asyncio.gather(*(wire.ask(frame, 10.0) for frame in frames))
        await wire.close()
        pairs = zip(names, given, strict=True)
        return {name: Person(name, UUID(tokens["account"]), tokens["access"]) for name, tokens in pairs}

    async def channel(self, name: str, owner: Person, members: list[Person]) -> Place:
        """A new group."""
        wire = await Wire.open(self._url, patience=10.0)
        await wire.ask(SessionOpen(token=owner.token, wants=[]))
        ids = [one.id for one in members if one is not owner]
        reply: dict[str, Any] = await wire.ask(ChannelCreate(name=name, nonce=uuid4(), members=ids), 10.0)
        await wire.close()
        return Place(UUID(reply["channel"]["id"]), frozenset(str(one) for one in (owner.id, *ids)))
