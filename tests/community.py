"""Communities: short words for tests of spaces."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from protocol.channel import ChannelCreate, ChannelWatch
from protocol.client import Client
from protocol.member import MemberGet
from protocol.permission import Permission, PermissionSet
from protocol.role import RoleCreate, RoleGrant
from protocol.space import SpaceCreate, SpaceGet, SpaceJoin, SpaceView
from tests.chat import me


class Community:
    """A space, its owner and members."""

    def __init__(self, owner: Client, id: UUID) -> None:
        self.owner, self.id = owner, id

    async def room(self, name: str = "room", *, by: Client | None = None, **fields: Any) -> UUID:
        """A new channel."""
        frame = ChannelCreate(name=name, nonce=uuid4(), space=self.id, **fields)
        return (await (by or self.owner).call(frame)).channel.id

    async def role(self, name: str, *allowed: Permission, to: Client | None = None, by: Client | None = None) -> UUID:
        """A new role, perhaps given to somebody."""
        frame = RoleCreate(space=self.id, name=name, nonce=uuid4(), permissions=list(allowed))
        role = (await (by or self.owner).call(frame)).id
        if to is not None:
            await self.grant(role, to)
        return role

    async def grant(self, role: UUID, to: Client, by: Client | None = None) -> None:
        """Give somebody a role."""
        await (by or self.owner).call(RoleGrant(space=self.id, role=role, user=me(to)))

    async def overwrite(
        self,
        channel: UUID,
        *,
        role: UUID | None = None,
        user: Client | None = None,
        allow: list[Permission] | None = None,
        deny: list[Permission] | None = None,
    ) -> None:
        """What a channel allows and denies; to everyone, if nobody is named."""
        target = {"user": me(user)} if user is not None else {"role": role or self.id}
        await self.owner.call(PermissionSet(channel=channel, allow=allow or [], deny=deny or [], **target))

    async def seen(self, by: Client) -> SpaceView:
        """What somebody sees, asked afresh."""
        return await by.call(SpaceGet(space=self.id))

    async def names(self, by: Client) -> list[str]:
        """The names of the channels that somebody sees."""
        return [one.channel.name for one in (await self.seen(by)).channels]

    async def roles(self, of: Client) -> list[UUID]:
        """The roles that somebody has."""
        return (await self.owner.call(MemberGet(space=self.id, user=me(of)))).roles


async def community(owner: Client, *members: Client, name: str = "Club") -> Community:
    """A new open space with members."""
    space = await owner.call(SpaceCreate(name=name, nonce=uuid4(), open=True))
    for one in members:
        await one.call(SpaceJoin(space=space.id))
    return Community(owner, space.id)


async def watch(person: Client, *channels: UUID) -> None:
    """Hear channels."""
    await person.call(ChannelWatch(channels=list(channels)))
