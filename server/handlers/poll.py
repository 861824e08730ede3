"""poll: choosing, closing, and who has chosen what."""

from protocol.error import Forbidden, Missing
from protocol.message import Message, MessageChanged
from protocol.poll import PollClose, PollGet, PollState, PollVote, PollVoters, Votes
from server import poll
from server.access import in_channel, message_in
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN
from storage import poll as polls
from storage.standing import Standing


@op(access=LOGGED_IN & in_channel("history") & message_in(), limit="120/m")
async def vote(ctx: Context, frame: PollVote, channel: Standing, message: Message) -> MessageChanged:
    """By whoever may react there; told to everybody there, and what one has chosen to one's other devices."""
    return MessageChanged(seq=await poll.vote(ctx.app, ctx.user, channel.id, message.seq, frame.options))


@op(access=LOGGED_IN & in_channel("history") & message_in(), limit="60/m")
async def close(ctx: Context, frame: PollClose, channel: Standing, message: Message) -> MessageChanged:
    """One's own, or any with `manage_messages`."""
    return MessageChanged(seq=await poll.close(ctx.app, ctx.user, channel.id, message.seq))


@op(access=LOGGED_IN & in_channel("history") & message_in())
async def get(ctx: Context, frame: PollGet, channel: Standing, message: Message) -> PollState:
    """One's own choice is for oneself."""
    if message.poll is None:
        raise Missing
    return PollState(poll=message.poll, chosen=await polls.own(ctx.db, ctx.user, channel, message.seq))


@op(access=LOGGED_IN & in_channel("history") & message_in())
async def voters(ctx: Context, frame: PollVoters, channel: Standing, message: Message) -> Votes:
    """Of an anonymous poll for nobody, its author neither."""
    if message.poll is None:
        raise Missing
    if message.poll.anonymous:
        raise Forbidden("who has chosen what is told to nobody: this poll is anonymous")
    return await polls.page(ctx.db, channel, message.seq, frame.after, frame.limit)
