"""automod: the rules by which messages of a space are looked at before they are stored."""

from uuid import UUID

import msgspec

from protocol.automod import Automod, AutomodCreate, AutomodDelete, AutomodList, Automods, AutomodUpdate
from protocol.channel import Channel
from protocol.error import Conflict, Missing
from protocol.frame import Nothing
from protocol.parts import fitting
from server import access
from server.automod import MOST_PATTERNS, MOST_RULES, check
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN
from server.space import Ruling, ruling
from server.space_access import automod_in, channels_in, in_space, roles_in
from server.structure import Resident
from storage import automod as rows
from storage.ids import new_id

_FIELDS = tuple(name for name in Automod.__struct_fields__ if name not in ("id", "kind"))


@op(access=LOGGED_IN & in_space("manage_automod") & roles_in() & channels_in(), limit="30/m")
async def create(
    ctx: Context, frame: AutomodCreate, space: Resident, roles_: list[access.Role], channels: list[Channel]
) -> Automod:
    """The same nonce again is the same rule."""
    fields = {name: getattr(frame, name) for name in _FIELDS}
    rule = Automod(id=new_id(), kind=frame.kind, **fields)
    check(rule)
    async with ruling(ctx, space.id, "manage_automod") as ruled:
        made = await rows.made_with(ruled.tx, space.id, frame.nonce)
        if made is not None:
            return _shown(made, ruled.me)
        await _check_room(ruled, rule)
        await rows.create(ruled.tx, space.id, frame.nonce, rule)
        await _moved(ruled)
        await ruled.note("automod.create", rule.id, None, rule, "")
    return rule


async def _check_room(ruled: Ruling, rule: Automod) -> None:
    others = [one for one in await rows.of(ruled.tx, ruled.id) if one.id != rule.id]
    if len(others) >= MOST_RULES:
        raise Conflict(f"a space has room for {MOST_RULES} rules")
    if sum(len(one.terms) for one in (*others, rule) if one.kind == "patterns") > MOST_PATTERNS:
        raise Conflict(f"a space has room for {MOST_PATTERNS} patterns", field="terms")


async def _moved(ruled: Ruling) -> None:
    await rows.moved(ruled.tx, ruled.id)
    await ruled.restructure()


def _shown(rule: Automod, me: Resident) -> Automod:
    """Without channels that one does not see."""
    hidden = me.structure.hidden_from(me.member)
    return msgspec.structs.replace(rule, channels=[one for one in rule.channels if one not in hidden])


@op(access=LOGGED_IN & in_space("manage_automod") & automod_in() & roles_in() & channels_in(), limit="60/m")
async def update(
    ctx: Context,
    frame: AutomodUpdate,
    space: Resident,
    rule: Automod,
    roles_: list[access.Role] | None,
    channels: list[Channel] | None,
) -> Automod:
    """What is not given stays; and so do channels that one does not see."""
    async with ruling(ctx, space.id, "manage_automod") as ruled:
        before = await _held(ruled, rule.id)
        fields = {name: getattr(frame, name) for name in _FIELDS if getattr(frame, name) is not None}
        if frame.channels is not None:
            hidden = ruled.me.structure.hidden_from(ruled.me.member)
            fields["channels"] = [*frame.channels, *(one for one in before.channels if one in hidden)]
        after = msgspec.structs.replace(before, **fields)
        check(after)
        if after != before:
            await _check_room(ruled, after)
            await rows.update(ruled.tx, space.id, after)
            await _moved(ruled)
            await ruled.note("automod.update", rule.id, before, after, "")
    return _shown(after, ruled.me)


async def _held(ruled: Ruling, id: UUID) -> Automod:
    found = await rows.get(ruled.tx, ruled.id, id)
    if found is None:
        raise Missing
    return found


@op(access=LOGGED_IN & in_space("manage_automod") & automod_in(), limit="60/m")
async def delete(ctx: Context, frame: AutomodDelete, space: Resident, rule: Automod) -> Nothing:
    """It is not looked for any more."""
    async with ruling(ctx, space.id, "manage_automod") as ruled:
        before = await _held(ruled, rule.id)
        await rows.delete(ruled.tx, space.id, rule.id)
        await _moved(ruled)
        await ruled.note("automod.delete", rule.id, before, None, "")
    return Nothing()


@op(access=LOGGED_IN & in_space("manage_automod"), limit="60/m")
async def list_(ctx: Context, frame: AutomodList, space: Resident) -> Automods:
    """In the order in which they were made, as many as a frame holds."""
    found = [_shown(one, space) for one in await rows.of(ctx.db, space.id, _cursor(frame.after))]
    size = fitting(found, len(found))
    return Automods(rules=found[:size], next=str(found[size - 1].id) if size < len(found) else None)


def _cursor(after: str | None) -> UUID | None:
    """A cursor that is none begins at the beginning."""
    try:
        return UUID(after) if after else None
    except ValueError:
        return None
