"""Spaces with people in them: short words for tests of what is done there."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from protocol.channel import ChannelCreate
from protocol.permission import Permission
from protocol.role import RoleCreate, RoleGrant
from protocol.space import SpaceCreate, SpaceGet, SpaceJoin, SpaceView
from tests.chat import me
from tests.conftest import Person


class Club:
    """A space, its first channel, and its owner."""

    def __init__(self, owner: Person, id: UUID, general: UUID) -> None:
        self.owner, self.id, self.general = owner, id, general

    async def channel(self, name: str = "another", **fields: Any) -> UUID:
        """A new channel."""
        made = await self.owner.call(ChannelCreate(space=self.id, name=name, nonce=uuid4(), **fields))
        return made.channel.id

    async def role(self, *permissions: Permission, to: Person | None = None, name: str = "role") -> UUID:
        """A new role, perhaps for somebody."""
        frame = RoleCreate(space=self.id, name=name, nonce=uuid4(), permissions=list(permissions))
        made = await self.owner.call(frame)
        if to is not None:
            await self.owner.call(RoleGrant(space=self.id, role=made.id, user=me(to)))
        return made.id

    async def seen(self, by: Person) -> SpaceView:
        """What somebody sees, asked afresh."""
        return await by.call(SpaceGet(space=self.id))


async def club(owner: Person, *members: Person, name: str = "Club") -> Club:
    """A new space that everybody may enter, and has."""
    made = await owner.call(SpaceCreate(name=name, nonce=uuid4(), open=True))
    for one in members:
        await one.call(SpaceJoin(space=made.id))
    view = await owner.call(SpaceGet(space=made.id))
    return Club(owner, made.id, view.channels[0].channel.id)
