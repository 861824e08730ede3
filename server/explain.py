"""Why somebody may do something in a channel, or may not, in words."""

from __future__ import annotations

from uuid import UUID

from protocol.permission import Explanation, Permission, bits
from server.access import Step, deciding
from server.structure import Resident

_WORDS = {
    "nobody": "No role of theirs allows {permission}.",
    "role": "The role {cause} allows {permission}.",
    "owner": "They own the space: everything is allowed.",
    "administrator": "A role of theirs has administrator: everything is allowed.",
    "denied_by_everyone": "{place} denies {permission} to everyone.",
    "allowed_by_everyone": "{place} allows {permission} to everyone.",
    "denied_by_roles": "{place} denies {permission} to the role {cause}.",
    "allowed_by_roles": "{place} allows {permission} to the role {cause}.",
    "denied_by_member": "{place} denies {permission} to them.",
    "allowed_by_member": "{place} allows {permission} to them.",
    "implied": "{permission} is worth nothing without another permission that they lack there.",
    "timed_out": "They are timed out: they may only read.",
}


def explain(who: Resident, channel: UUID, permission: Permission) -> Explanation:
    """Which step decided about one permission in a channel."""
    structure, bit = who.structure, bits([permission])
    step = deciding(who.member, structure.layers(channel), bit)
    place = _place(who, channel, step)
    shown = structure.shown.get(step.cause) if step.cause is not None else None
    words = _WORDS[step.rule].format(
        permission=permission,
        cause=shown.name if shown is not None else "",
        place=f"The {structure.channels[place].kind} {structure.channels[place].name}" if place is not None else "",
    )
    return Explanation(
        allowed=bool(structure.allowed(who.member, channel) & bit),
        rule=step.rule,  # type: ignore[arg-type]
        cause=step.cause,
        place=place,
        words=words,
    )


def _place(who: Resident, channel: UUID, step: Step) -> UUID | None:
    """Whose overwrite it was: the channel's own comes last, so what both decide was decided by it."""
    if not step.rule.startswith(("denied_by", "allowed_by")):
        return None
    denies = step.rule.startswith("denied")
    for place in (channel, who.structure.channels[channel].parent):
        found = [one for one in who.structure.overwrites.get(place, ()) if one.target == step.cause] if place else []
        if any((one.deny if denies else one.allow) for one in found):
            return place
    return None
