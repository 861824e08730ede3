"""Emblems: the emoji and stickers of spaces: who may make them, and where they may be used.

Rule: they change as roles do: whoever changes one moves the space's structure, so what is sent was decided with those
there are when it is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from protocol.emoji import Emoji
from protocol.error import Conflict, Missing
from protocol.sticker import SentSticker, Sticker
from server.rule import Bind, Rule
from server.space import ruling
from storage.emblem import E, Emblems
from storage.emoji import EMOJI
from storage.sticker import STICKERS

if TYPE_CHECKING:
    from server.context import Context
    from server.structure import Resident, Structure
    from storage.standing import Standing


class Kind(Struct, Generic[E], frozen=True):
    """What is made: how it is called in the log, its rows, and how many a space has room for."""

    name: str
    rows: Emblems[E]
    most: int


EMOJIS, STICKER = Kind[Emoji]("emoji", EMOJI, 200), Kind[Sticker]("sticker", STICKERS, 100)


# What binds ids


def emoji_in(field: str = "emoji", within: str = "space") -> Rule:
    """An emoji of that space."""
    return Rule(binds=(Bind(field, "emoji", _emoji_of, within=within, in_context=True),))


async def _emoji_of(ctx: Context, space: Resident, emoji: UUID) -> Emoji | None:
    return space.structure.emoji.get(emoji)


def emoji_of(field: str = "custom", within: str = "channel") -> Rule:
    """An emoji of the space that a channel is in."""
    return Rule(binds=(Bind(field, "emoji", _emoji_beside, within=within, name="emoji", in_context=True),))


async def _emoji_beside(ctx: Context, channel: Standing, emoji: UUID) -> Emoji | None:
    return await EMOJI.get(ctx.db, channel.space, emoji) if channel.space is not None else None


def sticker_in(field: str = "sticker", within: str = "space") -> Rule:
    """A sticker of that space."""
    return Rule(binds=(Bind(field, "sticker", _sticker_of, within=within, in_context=True),))


async def _sticker_of(ctx: Context, space: Resident, sticker: UUID) -> Sticker | None:
    return space.structure.stickers.get(sticker)


def sent(structure: Structure | None, sticker: UUID) -> SentSticker | None:
    """A sticker as a message keeps it."""
    found = structure.stickers.get(sticker) if structure is not None else None
    return SentSticker(id=found.id, name=found.name, about=found.about, file=found.file) if found is not None else None


# Changing


async def create(ctx: Context, kind: Kind[E], space: UUID, nonce: UUID, one: E) -> E:
    """The same nonce again is the same one."""
    async with ruling(ctx, space, "manage_emoji") as rule:
        made = await kind.rows.made_with(rule.tx, space, nonce)
        if made is not None:
            return made
        others = await kind.rows.of(rule.tx, space)
        if len(others) >= kind.most:
            raise Conflict(f"a space has room for {kind.most} of these")
        _check_name(one, others)
        await kind.rows.create(rule.tx, space, nonce, one)
        await rule.restructure()
        await rule.note(f"{kind.name}.create", one.id, None, one, "")
    return one


def _check_name(one: E, others: list[E]) -> None:
    if any(other.name == one.name and other.id != one.id for other in others):
        raise Conflict("this name is taken in this space", field="name")


async def update(ctx: Context, kind: Kind[E], space: UUID, id: UUID, **fields: str | None) -> E:
    """What is given of what can change; its file stays."""
    async with ruling(ctx, space, "manage_emoji") as rule:
        others = await kind.rows.of(rule.tx, space)
        before = next((other for other in others if other.id == id), None)
        if before is None:
            raise Missing
        after = replace(before, **{name: value for name, value in fields.items() if value is not None})
        _check_name(after, others)
        if after != before:
            await kind.rows.update(rule.tx, space, after)
            await rule.restructure()
            await rule.note(f"{kind.name}.update", id, before, after, "")
    return after


async def delete(ctx: Context, kind: Kind[E], space: UUID, id: UUID) -> None:
    """Where it was used it stays."""
    async with ruling(ctx, space, "manage_emoji") as rule:
        before = await kind.rows.get(rule.tx, space, id)
        if before is None:
            raise Missing
        await kind.rows.delete(rule.tx, space, id)
        await rule.restructure()
        await rule.note(f"{kind.name}.delete", id, before, None, "")
