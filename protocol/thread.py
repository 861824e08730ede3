"""thread: conversations within a channel of a space: in a forum all of them.

A thread is a channel, whose id serves wherever a channel's does: who sees its channel sees it, and what they may do
there they may do in it, but for writing, which takes `send_in_threads`. It is heard by `channel.watch`.
"""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.frame import (
    Body,
    ChannelFact,
    ChannelId,
    Event,
    Label,
    Limit,
    Line,
    MessageSeq,
    Nonce,
    Nothing,
    Request,
    SpaceId,
    Text,
    ThreadId,
    Time,
)


class Thread(Body, frozen=True):
    """A thread as everybody sees it."""

    id: UUID
    channel: Annotated[UUID, Meta(description="The channel that it is in.")]
    name: str
    owner: Annotated[UUID | None, Meta(description="Who has opened it.")]
    origin: Annotated[int | None, Meta(description="The seq of the message in `channel` that it has started from.")]
    locked: Annotated[bool, Meta(description="Whether only those with `manage_threads` write there.")]
    archived: Annotated[bool, Meta(description="Put away; unless it is locked, whoever writes there gets it out.")]
    created_at: Time


class ThreadView(Body, frozen=True):
    """A thread, and how far you are in it; it has something new when `last` is greater than `read`."""

    thread: Thread
    moved_at: Annotated[Time, Meta(description="When something was said there last.")]
    last: Annotated[int, Meta(description="The seq of its last message.")]
    read: int
    mentions: Annotated[int, Meta(description="Of you, behind what you have read; 1,000 mean that or more.")]
    followed: bool


class Threads(Body, frozen=True):
    """Threads; `next` asks for the page after it, None when this is the last."""

    threads: list[ThreadView]
    next: str | None


class ExportedThread(Body, frozen=True):
    """A thread that you follow, or do not want to follow."""

    id: UUID
    opened: Annotated[bool, Meta(description="Whether by you.")]
    followed: bool


class ThreadLast(Body, frozen=True):
    """A thread, and its last message."""

    thread: UUID
    seq: int


# Passing


class ThreadMoved(Event, tag="thread.moved", frozen=True):
    """Where there is something new in threads that you follow and see, heard or not, once a second; not kept."""

    space: UUID
    lasts: list[ThreadLast]


# Facts, in the stream of the channel that the thread is in


class ThreadOpened(ChannelFact, tag="thread.opened", frozen=True):
    """There is a thread; if it has an `origin`, that message tells of it from now on."""

    thread: Thread


class ThreadUpdated(ChannelFact, tag="thread.updated", frozen=True):
    """A thread looks different now; told in the stream of the thread, too."""

    thread: Thread


class ThreadDeleted(ChannelFact, tag="thread.deleted", frozen=True):
    """A thread is no more, nor does a message tell of it."""

    thread: UUID


# Requests


class ThreadOpen(Request[Thread], tag="thread.open", frozen=True):
    """Open a thread in a text channel, a broadcast or a forum, and follow it; with `start_threads`.

    From a message that has one already: that one. The same nonce again is the same thread, and the same first message.
    """

    channel: ChannelId
    name: Label
    nonce: Nonce
    seq: Annotated[MessageSeq | None, Meta(description="The message that it starts from.")] = None
    text: Annotated[Text | None, Meta(description="The first message in it; needed in a forum.")] = None


class ThreadGet(Request[ThreadView], tag="thread.get", frozen=True):
    """Look at one thread."""

    thread: ThreadId


class ThreadList(Request[Threads], tag="thread.list", frozen=True):
    """The threads of a channel: the active ones, the one that moved last first; or those put away, the last first."""

    channel: ChannelId
    archived: bool = False
    after: Annotated[Line, Meta(description="`next` of the page before.")] | None = None
    limit: Limit = 50


class ThreadFollowed(Request[Threads], tag="thread.followed", frozen=True):
    """The threads of a space that you follow, the newest first; a page may have few, though there are more behind."""

    space: SpaceId
    after: Annotated[Line, Meta(description="`next` of the page before.")] | None = None
    limit: Limit = 50


class ThreadFollow(Request[Nothing], tag="thread.follow", frozen=True):
    """Have a thread among those that you follow, as by writing there; again is no error."""

    thread: ThreadId


class ThreadUnfollow(Request[Nothing], tag="thread.unfollow", frozen=True):
    """Follow a thread no more, also not by writing there; again is no error."""

    thread: ThreadId


class ThreadUpdate(Request[Thread], tag="thread.update", frozen=True):
    """Rename a thread, or put it away: your own, or any with `manage_threads`; that alone locks. The rest stays.

    A thread in which nobody has written for a week is put away by itself.
    """

    thread: ThreadId
    name: Label | None = None
    archived: bool | None = None
    locked: bool | None = None


class ThreadDelete(Request[Nothing], tag="thread.delete", frozen=True):
    """Do away with a thread: with `manage_threads`, or your own in which nobody else has written."""

    thread: ThreadId
