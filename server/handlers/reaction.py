"""reaction: emoji under messages."""

from protocol.error import Conflict, Missing
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
from server.fact import changing
from server.router import op
from server.rule import LOGGED_IN
from storage import message as messages
from storage import reaction as reactions
from storage.standing import Standing

_DIFFERENT = 20


@op(access=LOGGED_IN & in_channel("history") & message_in(), limit="120/m")
async def add(ctx: Context, frame: ReactionAdd, channel: Standing, message: Message) -> MessageChanged:
    """By whoever may react there."""
    async with changing(ctx.app, channel.id) as change:
        await change.standing(ctx.user, channel.id, "react")
        held = await messages.held(change.tx, channel.id, [message.seq])
        if not held:
            raise Missing
        emojis = {one.emoji for one in held[0].reactions}
        if frame.emoji not in emojis and len(emojis) >= _DIFFERENT:
            raise Conflict("this message has as many different reactions as it takes", field="emoji")
        count = await reactions.add(change.tx, channel.id, message.seq, ctx.user, frame.emoji)
        if count is None:
            return MessageChanged(seq=0)
        fact = ReactionAdded(
            stream=channel.id,
            seq=change.next(channel.id),
            message=message.seq,
            user=ctx.user,
            emoji=frame.emoji,
            count=count,
        )
        seq = change.tell(fact)
    return MessageChanged(seq=seq)


@op(access=LOGGED_IN & in_channel("history") & message_in(), limit="120/m")
async def remove(ctx: Context, frame: ReactionRemove, channel: Standing, message: Message) -> MessageChanged:
    """One's own only."""
    async with changing(ctx.app, channel.id) as change:
        await change.standing(ctx.user, channel.id, "react")
        count = await reactions.remove(change.tx, channel.id, message.seq, ctx.user, frame.emoji)
        if count is None:
            return MessageChanged(seq=0)
        fact = ReactionRemoved(
            stream=channel.id,
            seq=change.next(channel.id),
            message=message.seq,
            user=ctx.user,
            emoji=frame.emoji,
            count=count,
        )
        seq = change.tell(fact)
    return MessageChanged(seq=seq)


@op(access=LOGGED_IN & in_channel("history") & message_in())
async def list_(ctx: Context, frame: ReactionList, channel: Standing, message: Message) -> Reactions:
    """Everybody's."""
    return await reactions.page(ctx.db, channel.id, message.seq, frame.after, frame.limit)
