"""Summons: messages of spaces that mention roles, or everyone.

Rule 1: who may not mention everyone mentions only roles that everybody may mention; of an edit, what it adds counts.
Rule 2: what follows costs nothing per member: such a message is numbered in its space, and each member looks, when they
come by, at what was numbered since they looked last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from protocol.error import Forbidden, Invalid, Missing, Refusal
from protocol.message import Message
from protocol.permission import bits
from storage.extra import Extra

if TYPE_CHECKING:
    from server.structure import Structure
    from storage.standing import Standing

_EVERYONE = bits(["mention_everyone"])


def refusal(structure: Structure | None, standing: Standing, roles: Sequence[UUID], everyone: bool) -> Refusal | None:
    """Why somebody may not mention these in a channel."""
    if not roles and not everyone:
        return None
    if structure is None:
        return Invalid("there are no roles here", field="mention_roles" if roles else "mention_everyone")
    known = structure.shown.keys() - {structure.id}
    if not known >= set(roles):
        return Missing(field="mention_roles")
    free = not everyone and all(structure.shown[role].mentionable for role in roles)
    return None if free or standing.allowed & _EVERYONE else Forbidden("you need the permission mention_everyone here")


def check_edit(structure: Structure | None, standing: Standing, before: Message, after: Message) -> None:
    """That what an edit adds may be mentioned there."""
    added = [role for role in after.mention_roles if role not in before.mention_roles]
    refused = refusal(structure, standing, added, after.mention_everyone and not before.mention_everyone)
    if refused is not None:
        raise refused


def weight(message: Message | Extra) -> int:
    """How many are mentioned, as rules of a space count: a role is one, and so is everyone."""
    return len(message.mentions) + len(message.mention_roles) + message.mention_everyone
