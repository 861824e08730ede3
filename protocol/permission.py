"""permission: what somebody may do in a space or channel, by name and as one bit each.

Rule: a permission keeps its place; new ones are added at the end. Frames carry names, the database carries bits.
"""

from collections.abc import Iterable
from typing import Annotated, Literal, cast, get_args
from uuid import UUID

from msgspec import Meta

from protocol.frame import Body, ChannelId, Nothing, Request, RoleId, UserId

Permission = Literal[
    "view",  # see that the channel exists, and hear it
    "history",  # read what was said before
    "send",
    "send_in_threads",
    "start_threads",
    "manage_threads",
    "react",
    "attach",
    "mention_everyone",  # everybody, or a role
    "start_polls",
    "manage_messages",  # take back what others wrote
    "pin",
    "bypass_slow_mode",
    "connect",
    "speak",
    "video",
    "mute_members",
    "move_members",
    "invite",
    "change_nick",
    "manage_nicks",
    "manage_channels",
    "manage_roles",
    "manage_emoji",
    "kick",
    "ban",
    "timeout",
    "see_audit",
    "manage_reports",
    "manage_automod",
    "manage_space",
    "administrator",
]
Permissions = Annotated[list[Permission], Meta(max_length=64)]

NAMES = cast("tuple[Permission, ...]", get_args(Permission))
ALL = (1 << len(NAMES)) - 1


def bits(names: Iterable[Permission]) -> int:
    """Names as bits."""
    found = 0
    for name in names:
        found |= 1 << NAMES.index(name)
    return found


def names(bits: int) -> list[Permission]:
    """Bits as names, in the order of the bits."""
    return [name for place, name in enumerate(NAMES) if bits >> place & 1]


ADMINISTRATOR, MANAGE_ROLES = bits(["administrator"]), bits(["manage_roles"])
IN_TIMEOUT = bits(["view", "history"])
# What overwrites of channels can allow or deny.
OF_CHANNELS = bits(NAMES[:18])
# What is worth nothing without something else.
_NEEDS: tuple[tuple[Permission, tuple[Permission, ...]], ...] = (
    ("view", tuple(name for name in NAMES[:18] if name != "view")),
    ("send", ("attach", "mention_everyone", "start_polls", "bypass_slow_mode")),
    ("connect", ("speak", "video", "mute_members", "move_members")),
)
_IMPLIED = tuple((bits([needed]), bits(without)) for needed, without in _NEEDS)


def implied(allowed: int) -> int:
    """Without what is worth nothing alone: who does not see a channel does nothing there."""
    for needed, without in _IMPLIED:
        if not allowed & needed:
            allowed &= ~without
    return allowed


# How a channel differs from its space


class Overwrite(Body, frozen=True):
    """What a channel or category allows and denies to a role, or to a member."""

    target: Annotated[UUID, Meta(description="A role (everyone's has the id of the space) or an account.")]
    member: Annotated[bool, Meta(description="Whether the target is an account.")]
    allow: Permissions
    deny: Permissions


class Overwrites(Body, frozen=True):
    """All that a channel itself overwrites; what its category does comes before."""

    overwrites: list[Overwrite]


class PermissionList(Request[Overwrites], tag="permission.list", frozen=True):
    """What a channel of a space overwrites; for who has `manage_roles` or `manage_channels`."""

    channel: ChannelId


class PermissionSet(Request[Nothing], tag="permission.set", frozen=True):
    """Overwrite in a channel or category what a role or a member may do there; what is in neither list is as without.

    With `manage_roles`: for roles and members that stand lower than you, and only permissions that you have there.
    """

    channel: ChannelId
    role: RoleId | None = None
    user: Annotated[UserId | None, Meta(description="Either a role or a member.")] = None
    allow: Permissions = []
    deny: Permissions = []


class PermissionClear(Request[Nothing], tag="permission.clear", frozen=True):
    """Take an overwrite out of a channel or category."""

    channel: ChannelId
    role: RoleId | None = None
    user: Annotated[UserId | None, Meta(description="Either a role or a member.")] = None


class Explanation(Body, frozen=True):
    """Why somebody may do something in a channel, or may not."""

    allowed: bool
    rule: Annotated[
        Literal[
            "nobody",
            "role",
            "owner",
            "administrator",
            "denied_by_everyone",
            "allowed_by_everyone",
            "denied_by_roles",
            "allowed_by_roles",
            "denied_by_member",
            "allowed_by_member",
            "implied",
            "timed_out",
        ],
        Meta(description="The step that decided; docs/permissions.md lists them in their order."),
    ]
    cause: Annotated[UUID | None, Meta(description="The role or account whose rule it was.")]
    place: Annotated[UUID | None, Meta(description="The channel or category whose overwrite it was.")]
    words: Annotated[str, Meta(description="The same for people, in English.")]


class PermissionExplain(Request[Explanation], tag="permission.explain", frozen=True):
    """Why a member may do something in a channel, or may not: yourself, or others with `manage_roles`."""

    channel: ChannelId
    permission: Permission
    user: UserId | None = None
