"""file: uploads and who may read them."""

from __future__ import annotations

from protocol.error import Conflict, Missing
from protocol.file import (
    Begun,
    File,
    FileBegin,
    FileCancel,
    FileDelete,
    FileFinish,
    FileGet,
    FileLink,
    FileList,
    Files,
    Link,
)
from protocol.frame import Nothing
from protocol.message import Message
from server.access import in_channel, message_in
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN, bound, optional
from storage import file as files
from storage.standing import Standing

_OWN = bound("file", files.own)


@op(access=LOGGED_IN, limit="120/m")
async def begin(ctx: Context, frame: FileBegin) -> Begun:
    """Counted against one's quota from here on."""
    return await ctx.app.files.begin(ctx, frame)


@op(access=LOGGED_IN & _OWN)
async def finish(ctx: Context, frame: FileFinish, file: File) -> File:
    """Over the socket that has sent it."""
    return await ctx.app.files.finish(ctx, file)


@op(access=LOGGED_IN & _OWN)
async def cancel(ctx: Context, frame: FileCancel, file: File) -> Nothing:
    """Over whichever socket."""
    if file.state != "uploading":
        raise Conflict("this file is finished: use file.delete")
    await ctx.app.files.drop(ctx, file)
    return Nothing()


@op(access=LOGGED_IN & _OWN)
async def get(ctx: Context, frame: FileGet, file: File) -> File:
    """As the rule found it."""
    return file


@op(access=LOGGED_IN)
async def list_(ctx: Context, frame: FileList) -> Files:
    """One's own only."""
    return await files.listing(ctx.db, ctx.user, frame.after, frame.limit, ctx.app.files.quota)


@op(
    access=LOGGED_IN & optional(bound("file", files.own)) & optional(in_channel("history")) & optional(message_in()),
    limit="600/m",
)
async def link(
    ctx: Context, frame: FileLink, file: File | None, channel: Standing | None, message: Message | None
) -> Link:
    """One's own, or what a message carries that one can read."""
    if frame.channel is not None or frame.seq is not None:
        file = await files.carried(ctx.db, message, frame.file) if message is not None else None
    if file is None:
        raise Missing
    return ctx.app.files.link(file, frame.variant)


@op(access=LOGGED_IN & _OWN)
async def delete(ctx: Context, frame: FileDelete, file: File) -> Nothing:
    """Whether it is finished or not."""
    await ctx.app.files.delete(ctx, file)
    return Nothing()
