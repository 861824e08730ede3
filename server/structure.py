"""Structures: what decides in spaces, as this process knows it: roles, channels and overwrites.

Rule: a structure is as of a number; whoever uses it has read that number together with what it is applied to.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from protocol.channel import Channel
from protocol.emoji import Emoji
from protocol.error import Overloaded
from protocol.permission import ADMINISTRATOR, bits
from protocol.role import Role as RoleShown
from protocol.space import Space
from protocol.sticker import Sticker
from server import access
from server.access import Member, Overwrite, Role
from server.outline import Outline, outline
from storage import space as spaces
from storage.pool import Database
from storage.report import Eyes
from storage.space import Layout
from storage.standing import Footing, Standing, footings

_KEPT = 2000
_LOOKS = 5
_OUTLINES = 200
# Whose messages are not looked at by the rules of a space.
_UNJUDGED = bits(("administrator", "manage_automod"))


class Structure:
    """What decides in one space."""

    def __init__(self, layout: Layout) -> None:
        self.space: Space = layout.space
        self.number, self.rules = layout.structure, layout.rules
        self.shown: dict[UUID, RoleShown] = {role.id: role for role in layout.roles}
        self.roles = {role.id: Role(role.id, role.position, bits(role.permissions)) for role in layout.roles}
        self.emoji: dict[UUID, Emoji] = {one.id: one for one in layout.emoji}
        self.stickers: dict[UUID, Sticker] = {one.id: one for one in layout.stickers}
        self.channels: dict[UUID, Channel] = {channel.id: channel for channel in layout.channels}
        self.overwrites = {
            channel: [Overwrite(one.target, bits(one.allow), bits(one.deny)) for one in found]
            for channel, found in layout.overwrites.items()
        }
        self._named = {one.target for found in layout.overwrites.values() for one in found if one.member}
        self._overwritten = {one.target for found in layout.overwrites.values() for one in found}
        self._seen: dict[Hashable, Outline] = {}

    @property
    def id(self) -> UUID:
        """Of which space."""
        return self.space.id

    def member(self, account: UUID, roles: Iterable[UUID], timed_out: bool) -> Member:
        """A member with the roles that still exist, everyone's among them."""
        found = [self.roles[self.id], *(self.roles[role] for role in roles if role in self.roles)]
        return Member(account, found, account == self.space.owner, timed_out)

    def layers(self, channel: UUID) -> list[Sequence[Overwrite]]:
        """The overwrites that count in a channel: its category's, then its own."""
        parent = self.channels[channel].parent
        above = [self.overwrites.get(parent, ())] if parent is not None else []
        return [*above, self.overwrites.get(channel, ())]

    def allowed(self, member: Member, channel: UUID) -> int:
        """What a member may do in a channel."""
        return access.permissions(member, self.layers(channel)) if channel in self.channels else 0

    def hidden_from(self, member: Member) -> frozenset[UUID]:
        """Channels that a member does not see."""
        return frozenset(id for id in self.channels if not self.allowed(member, id) & access.VIEW)

    def matters(self, role: UUID, member: Member) -> bool:
        """Whether a member may do more or less anywhere with a role than without it."""
        others = 0
        for one in member.roles:
            others |= one.permissions if one.id != role else 0
        return bool(self.roles[role].permissions & ~others) or role in self._overwritten

    def public(self, channel: UUID) -> bool:
        """Whether everybody in the space sees a channel whom nothing but everyone's role says so."""
        return bool(self.allowed(self.member(UUID(int=0), (), False), channel) & access.VIEW)

    def seen_by(self, member: Member) -> Outline:
        """What a member sees, and everybody else with the same roles whom nothing names."""
        alone = member.account if member.owner or member.account in self._named else None
        key = frozenset(role.id for role in member.roles), member.timed_out, alone
        if key not in self._seen:
            if len(self._seen) >= _OUTLINES:
                self._seen.clear()
            self._seen[key] = outline(self, member)
        return self._seen[key]


class Resident(Struct, frozen=True):
    """An account in a space, under one access version of it."""

    structure: Structure
    member: Member
    access: int

    @property
    def id(self) -> UUID:
        """Of which space."""
        return self.structure.id

    @property
    def account(self) -> UUID:
        """Who it is."""
        return self.member.account

    @property
    def allowed(self) -> int:
        """What they may do in the space as such."""
        return access.permissions(self.member)

    @property
    def eyes(self) -> Eyes:
        """What they see of what moderators see."""
        everything = bool(self.allowed & ADMINISTRATOR)
        return Eyes(self.id, self.account, self.structure.hidden_from(self.member), everything)


class Structures:
    """The structures that this process has read last, and how accounts stand under them."""

    def __init__(self) -> None:
        self._known: OrderedDict[UUID, Structure] = OrderedDict()

    async def look(self, db: Database, channels: Sequence[UUID], accounts: Sequence[UUID]) -> list[Standing | None]:
        """How accounts stand in channels now, pair by pair; None for who does not see it."""
        return [found[1] if found else None for found in await self.footings(db, channels, accounts)]

    async def footings(
        self, db: Database, channels: Sequence[UUID], accounts: Sequence[UUID]
    ) -> list[tuple[Footing, Standing] | None]:
        """The same, with what it follows from."""
        for _ in range(_LOOKS):
            found = await footings(db, channels, accounts)
            structures = await self.at(db, {one.space: one.structure for one in found if one and one.space})
            if structures is not None:
                return [_standing(one, structures) for one in found]
        raise _busy()

    def known(self, space: UUID | None) -> Structure | None:
        """What decides in a space, as of when somebody looked last: just now, or a newer one."""
        return self._known.get(space) if space is not None else None

    def places(self, footing: Footing) -> set[UUID]:
        """A channel, and what it is in."""
        found = {footing.id, footing.parent}
        known = self.known(footing.space)
        above = known.channels.get(footing.parent) if known is not None and footing.parent is not None else None
        if above is not None:
            found.add(above.parent)
        return {id for id in found if id is not None}

    async def resident(self, db: Database, space: UUID, account: UUID) -> Resident | None:
        """An account in a space, if it is there."""
        return (await self.residents(db, [space], [account]))[0]

    async def residents(self, db: Database, ids: Sequence[UUID], accounts: Sequence[UUID]) -> list[Resident | None]:
        """Accounts in spaces, pair by pair."""
        for _ in range(_LOOKS):
            found = await spaces.seats(db, ids, accounts)
            structures = await self.at(db, {one.space: one.structure for one in found if one})
            if structures is not None:
                return [
                    Resident(structures[one.space], one_in(structures[one.space], one), one.access) if one else None
                    for one in found
                ]
        raise _busy()

    async def at(self, db: Database, wanted: Mapping[UUID, int]) -> dict[UUID, Structure] | None:
        """Structures under these numbers; None if one of them has moved on meanwhile."""
        missing = [id for id, number in wanted.items() if id not in self._known or self._known[id].number != number]
        for layout in await spaces.layouts(db, missing) if missing else ():
            self._keep(Structure(layout))
        found = {id: self._known[id] for id in wanted if id in self._known}
        for id in found:
            self._known.move_to_end(id)
        return found if all(id in found and found[id].number == number for id, number in wanted.items()) else None

    def _keep(self, structure: Structure) -> None:
        known = self._known.get(structure.id)
        if known is None or known.number < structure.number:
            self._known[structure.id] = structure
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)


def one_in(structure: Structure, seat: spaces.Seat) -> Member:
    """Who sits there, with their roles."""
    return structure.member(seat.account, seat.roles, seat.timed_out)


def _standing(footing: Footing | None, structures: Mapping[UUID, Structure]) -> tuple[Footing, Standing] | None:
    if footing is None:
        return None
    allowed = rules = 0
    if footing.space is not None:
        structure = structures[footing.space]
        member = structure.member(footing.account, footing.roles, footing.timed_out)
        place = footing.parent if footing.kind == "thread" else footing.id
        if footing.kind == "thread" and place in structure.channels:
            footing = replace(footing, slow=structure.channels[place].slow)
        allowed = structure.allowed(member, place) if place is not None else 0
        if structure.rules and not access.permissions(member) & _UNJUDGED:
            rules = structure.rules
    found = access.standing(footing, allowed, rules)
    return (footing, found) if found is not None else None


def _busy() -> Overloaded:
    return Overloaded("too much changes in this space at once", retry_after=0.5)
