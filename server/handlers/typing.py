"""typing: who is about to say something."""

from protocol.codec import encode
from protocol.frame import Nothing
from protocol.typing import TypingStart, TypingStarted, TypingStop, TypingStopped
from server.access import in_channel
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN
from storage.standing import Standing

_SECONDS = 6


@op(access=LOGGED_IN & in_channel("send"), limit="60/m")
def start(ctx: Context, frame: TypingStart, channel: Standing) -> Nothing:
    """Told to who is connected and wants to know; kept nowhere."""
    event = TypingStarted(channel=channel.id, user=ctx.user, seconds=_SECONDS)
    ctx.app.streams.tell(channel.id, "typing", ctx.user, encode(event))
    return Nothing()


@op(access=LOGGED_IN & in_channel("send"), limit="60/m")
def stop(ctx: Context, frame: TypingStop, channel: Standing) -> Nothing:
    """The same."""
    event = TypingStopped(channel=channel.id, user=ctx.user)
    ctx.app.streams.tell(channel.id, "typing", ctx.user, encode(event))
    return Nothing()
