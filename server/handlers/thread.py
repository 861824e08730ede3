"""thread: conversations within a channel of a space."""

from uuid import UUID

from protocol.error import Missing
from protocol.frame import Nothing
from protocol.message import Message
from protocol.thread import (
    Thread,
    ThreadDelete,
    ThreadFollow,
    ThreadFollowed,
    ThreadGet,
    ThreadList,
    ThreadOpen,
    Threads,
    ThreadUnfollow,
    ThreadUpdate,
    ThreadView,
)
from server import thread as threading
from server.access import in_channel, message_in
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN
from server.space_access import in_space
from server.structure import Resident
from server.thread import in_thread, readable
from storage import thread as threads
from storage.standing import Standing

_SEEN = LOGGED_IN & in_thread()


@op(access=LOGGED_IN & in_channel("start_threads") & message_in(load=readable), limit="20/m")
async def open_(ctx: Context, frame: ThreadOpen, channel: Standing, message: Message | None) -> Thread:
    """Told to who watches the channel."""
    return await threading.open_(ctx.app, ctx.user, channel, frame)


@op(access=_SEEN)
async def get(ctx: Context, frame: ThreadGet, thread: Standing) -> ThreadView:
    """For everybody who sees its channel."""
    found = await threads.view(ctx.db, ctx.user, thread.id)
    if found is None:
        raise Missing
    return found


@op(access=LOGGED_IN & in_channel())
async def list_(ctx: Context, frame: ThreadList, channel: Standing) -> Threads:
    """For everybody who sees the channel."""
    return await threads.listing(ctx.db, ctx.user, channel, frame.archived, frame.after, frame.limit)


@op(access=LOGGED_IN & in_space(), limit="120/m")
async def followed(ctx: Context, frame: ThreadFollowed, space: Resident) -> Threads:
    """Only those that one sees now."""
    page = await threads.followed(ctx.db, ctx.user, space.id, _cursor(frame.after), frame.limit)
    ids = [one.thread.id for one in page]
    standings = await ctx.app.structures.look(ctx.db, ids, [ctx.user] * len(ids))
    seen = [one for one, standing in zip(page, standings, strict=True) if standing is not None]
    return Threads(threads=seen, next=str(ids[-1]) if len(page) == frame.limit else None)


def _cursor(after: str | None) -> UUID | None:
    """A cursor that is none begins at the beginning."""
    try:
        return UUID(after) if after else None
    except ValueError:
        return None


@op(access=_SEEN, limit="60/m")
async def follow(ctx: Context, frame: ThreadFollow, thread: Standing) -> Nothing:
    """For everybody who sees it."""
    await threads.follow(ctx.db, ctx.user, thread.id, True)
    return Nothing()


@op(access=_SEEN, limit="60/m")
async def unfollow(ctx: Context, frame: ThreadUnfollow, thread: Standing) -> Nothing:
    """One's own affair."""
    await threads.follow(ctx.db, ctx.user, thread.id, False)
    return Nothing()


@op(access=_SEEN, limit="60/m")
async def update(ctx: Context, frame: ThreadUpdate, thread: Standing) -> Thread:
    """Told to who watches the channel, or the thread."""
    return await threading.update(ctx.app, ctx.user, frame)


@op(access=_SEEN, limit="60/m")
async def delete(ctx: Context, frame: ThreadDelete, thread: Standing) -> Nothing:
    """When this is answered nothing can come there any more."""
    await threading.delete(ctx.app, ctx.user, thread.id)
    return Nothing()
