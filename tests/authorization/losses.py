"""Rights that are lost in a space: whoever lost one gets no further, although the process has seen them use it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from msgspec import Struct

from protocol.channel import ChannelDelete, ChannelReorder
from protocol.codec import encode
from protocol.frame import Request
from protocol.member import MemberBan, MemberKick, MemberTimeout
from protocol.message import MessageHistory, MessageSend
from protocol.permission import PermissionClear, PermissionSet
from protocol.role import RoleDelete, RoleRevoke, RoleUpdate
from protocol.space import SpaceDelete, SpaceLeave, SpaceTransfer
from protocol.typing import TypingStart
from server import space
from server.handlers import member
from server.handlers import space as spaces
from server.space import Ruling
from server.structure import Structure
from tests.authorization.checks import Text
from tests.authorization.world import World

_ASKS: tuple[Callable[..., Request[Any]], ...] = (
    lambda channel: MessageHistory(channel=channel),
    lambda channel: TypingStart(channel=channel),
    lambda channel: MessageSend(channel=channel, text="words", nonce=uuid4()),
)
_GONE = ("missing",) * 3


class Loss(Struct, frozen=True):
    """What somebody (max, if nobody is named) does, after which `who` may do nothing more, or less, in a channel."""

    frame: Callable[[World], Request[Any]]
    who: str = "tom"
    channel: str = "hall"
    told: tuple[str, ...] = _GONE
    by: str = "max"


def _club(frame: Callable[..., Any], **fields: Any) -> Callable[[World], Request[Any]]:
    return lambda world: frame(
        space=world.spaces["club"].id,
        **{name: value(world) if callable(value) else value for name, value in fields.items()},
    )


def _person(name: str) -> Any:
    return lambda world: world.people[name].id


def _role(name: str) -> Any:
    return lambda world: world.spaces["club"].roles[name]


_SILENT = ("ok", "forbidden", "forbidden")
LOSSES = {
    "member.kick": Loss(_club(MemberKick, user=_person("tom"))),
    "member.ban": Loss(_club(MemberBan, user=_person("tom"))),
    "member.timeout": Loss(
        _club(MemberTimeout, user=_person("tom"), until=datetime.now(UTC) + timedelta(days=1)), told=_SILENT
    ),
    "role.update": Loss(_club(RoleUpdate, role=_role("everyone"), permissions=["view", "history"]), told=_SILENT),
    "role.revoke": Loss(_club(RoleRevoke, role=_role("mods"), user=_person("bea")), "bea", "cellar"),
    "role.delete": Loss(_club(RoleDelete, role=_role("mods")), "bea", "cellar"),
    "permission.set": Loss(
        lambda world: PermissionSet(channel=world.channels["hall"].id, role=_role("fans")(world), deny=["view"])
    ),
    "permission.clear": Loss(
        lambda world: PermissionClear(channel=world.channels["cellar"].id, role=_role("mods")(world)), "bea", "cellar"
    ),
    "channel.reorder": Loss(
        lambda world: ChannelReorder(
            space=world.spaces["club"].id,
            channels=[world.channels["hall"].id],
            parent=world.channels["nook"].id,
        )
    ),
    "channel.delete": Loss(lambda world: ChannelDelete(channel=world.channels["hall"].id)),
    "space.leave": Loss(_club(SpaceLeave), by="tom"),
    "space.transfer": Loss(_club(SpaceTransfer, user=_person("cal")), "max", "attic"),
    "space.delete": Loss(_club(SpaceDelete, name=lambda world: world.spaces["club"].title)),
}
# Where somebody says that a right is lost, and which losses would not be one without that.
WITHDRAWALS = (
    (Text(member, "put_out", "change.withdraw(space)", "pass", ()), ("member.kick", "member.ban")),
    (Text(space, "put_out", "change.withdraw(space)", "pass", ()), ("space.leave",)),
    (
        Text(Ruling, "withdraw", "self.change.withdraw(self.id)", "pass", ()),
        ("member.timeout", "role.revoke", "role.update", "permission.set", "space.delete"),
    ),
    (
        Text(Ruling, "restructure", "self.withdraw()", "pass", ()),
        ("role.update", "role.delete", "permission.set", "permission.clear", "channel.reorder", "space.transfer"),
    ),
    (Text(Structure, "matters", "or role in self._overwritten", "and False", ()), ("role.revoke",)),
    (Text(spaces, "delete", "rule.withdraw()", "pass", ()), ("space.delete",)),
)


async def run(world: World, loss: Loss) -> None:
    """Have somebody use their right, lose it, and try again."""
    channel = world.channels[loss.channel].id
    for ask in _ASKS:
        await world.ask(loss.who, ask(channel))
    assert world.server.grants.known(channel, world.people[loss.who].id)
    world.touched = True
    await world.ask(loss.by, loss.frame(world))
    socket = await world.open(world.people[loss.who].access(world.server), hears=False)
    told = [(await socket.ask(encode(ask(channel)))).code for ask in _ASKS]
    socket.abort()
    assert told == list(loss.told), told
