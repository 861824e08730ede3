"""permission: what somebody may do in a space, by name and as one bit each.

Rule: a permission keeps its place; new ones are added at the end. Frames carry names, the database carries bits.
"""

from collections.abc import Iterable
from typing import Annotated, Literal, cast, get_args

from msgspec import Meta

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
    "manage_messages",  # take back and pin what others wrote
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
OF_CHANNELS = bits(NAMES[:17])
# What is worth nothing without something else.
_NEEDS: tuple[tuple[Permission, tuple[Permission, ...]], ...] = (
    ("view", tuple(name for name in NAMES[:17] if name != "view")),
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
