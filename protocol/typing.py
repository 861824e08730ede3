"""typing: who is about to say something. Passing: nothing of it is kept."""

from uuid import UUID

from protocol.frame import ChannelId, Event, Nothing, Request


class TypingStarted(Event, tag="typing.started", frozen=True):
    """Somebody types; forget it after `seconds` unless it is said again."""

    channel: UUID
    user: UUID
    seconds: int


class TypingStopped(Event, tag="typing.stopped", frozen=True):
    """Somebody types no more."""

    channel: UUID
    user: UUID


class TypingStart(Request[Nothing], tag="typing.start", frozen=True):
    """Tell the channel that you type; say it again every few seconds while you do. A crowd of thousands is not told."""

    channel: ChannelId


class TypingStop(Request[Nothing], tag="typing.stop", frozen=True):
    """Tell the channel that you stopped without sending anything."""

    channel: ChannelId
