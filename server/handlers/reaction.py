"""reaction: emoji under messages."""

from uuid import UUID

from protocol.emoji import Emoji
from protocol.error import Conflict, Invalid, Missing
from protocol.message import Message, MessageChanged
from protocol.reaction import (
    ReactionAdd,
    ReactionAdded,
    ReactionList,
    ReactionRemove,
    ReactionRemoved,
    Reactions,
)
from server.access import in_channel, message_in
from server.context import Context
from server.emblem import emoji_of
from server.fact import Change, changing
from server.router import op
from server.rule import LOGGED_IN
from storage import message as messages
from storage import reaction as reactions
from storage.emoji import EMOJI
from storage.reaction import Mark
from storage.standing import Standing

_DIFFERENT = 20


@op(access=LOGGED_IN & in_channel("history") & message_in() & emoji_of(), limit="120/m")
async def add(
    ctx: Context, frame: ReactionAdd, channel: Standing, message: Message, emoji: Emoji | None
) -> MessageChanged:
    """By whoever may react there."""
    _check(frame)
    async with changing(ctx.app, channel.id) as change:
        standing = await change.standing(ctx.user, channel.id, "react")
        held = await messages.held(change.tx, channel.id, [message.seq])
        if not held:
            raise Missing
        mark = await _new(change, standing, held[0], frame)
        if not any(map(mark.of, held[0].reactions)) and len(held[0].reactions) >= _DIFFERENT:
            raise Conflict("this message has as many different reactions as it takes", field="emoji")
        count = await reactions.add(change.tx, channel.id, message.seq, ctx.user, mark)
        if count is None:
            return MessageChanged(seq=0)
        return _told(change, ReactionAdded, channel.id, message.seq, ctx.user, mark, count)


def _check(frame: ReactionAdd | ReactionRemove) -> None:
    if (frame.emoji is None) == (frame.custom is None):
        raise Invalid("either an emoji or one of the space's", field="emoji")


def _plain(frame: ReactionAdd | ReactionRemove) -> Mark:
    return Mark(frame.emoji or "", frame.custom)


async def _new(change: Change, channel: Standing, message: Message, frame: ReactionAdd) -> Mark:
    """What is put there; one of the space's goes by the name under which it stands there already."""
    if frame.custom is None:
        return _plain(frame)
    now = await EMOJI.get(change.tx, channel.space, frame.custom) if channel.space is not None else None
    if now is None:
        raise Missing
    return _there(message, now.id) or Mark(f":{now.name}:", now.id)


def _there(message: Message, custom: UUID) -> Mark | None:
    return next((Mark(one.emoji, custom) for one in message.reactions if one.custom == custom), None)


def _told(
    change: Change,
    fact: type[ReactionAdded | ReactionRemoved],
    channel: UUID,
    message: int,
    user: UUID,
    mark: Mark,
    count: int,
) -> MessageChanged:
    seq = change.next(channel)
    told = fact(stream=channel, seq=seq, message=message, user=user, emoji=mark.emoji, custom=mark.custom, count=count)
    return MessageChanged(seq=change.tell(told))


@op(access=LOGGED_IN & in_channel("history") & message_in(), limit="120/m")
async def remove(ctx: Context, frame: ReactionRemove, channel: Standing, message: Message) -> MessageChanged:
    """One's own only; also of an emoji that is no more."""
    _check(frame)
    async with changing(ctx.app, channel.id) as change:
        await change.standing(ctx.user, channel.id, "react")
        held = await messages.held(change.tx, channel.id, [message.seq]) if frame.custom is not None else []
        mark = _there(held[0], frame.custom) if held and frame.custom is not None else _plain(frame)
        if mark is None:
            return MessageChanged(seq=0)
        count = await reactions.remove(change.tx, channel.id, message.seq, ctx.user, mark)
        if count is None:
            return MessageChanged(seq=0)
        return _told(change, ReactionRemoved, channel.id, message.seq, ctx.user, mark, count)


@op(access=LOGGED_IN & in_channel("history") & message_in())
async def list_(ctx: Context, frame: ReactionList, channel: Standing, message: Message) -> Reactions:
    """Everybody's."""
    return await reactions.page(ctx.db, channel.id, message.seq, frame.after, frame.limit)
