"""draft: what one has begun to write."""

from protocol.draft import Draft, DraftClear, DraftCleared, DraftList, Drafts, DraftSave, DraftSaved
from protocol.error import Conflict
from protocol.frame import Nothing
from server.access import in_channel
from server.context import Context
from server.fact import changing
from server.router import op
from server.rule import LOGGED_IN
from storage import draft as drafts
from storage.standing import Standing


@op(access=LOGGED_IN & in_channel(), limit="120/m")
async def save(ctx: Context, frame: DraftSave, channel: Standing) -> Nothing:
    """Told to one's other devices."""
    async with changing(ctx.app, ctx.user) as change:
        await change.standing(ctx.user, channel.id)
        saved_at = await drafts.save(change.tx, ctx.user, channel.id, frame.text, frame.reply_to)
        if saved_at is None:
            raise Conflict("you have a hundred drafts: send or clear one first")
        draft = Draft(channel=channel.id, text=frame.text, reply_to=frame.reply_to, saved_at=saved_at)
        change.tell(DraftSaved(stream=ctx.user, seq=change.next(ctx.user), draft=draft))
    return Nothing()


@op(access=LOGGED_IN & in_channel(), limit="120/m")
async def clear(ctx: Context, frame: DraftClear, channel: Standing) -> Nothing:
    """Told to one's other devices."""
    async with changing(ctx.app, ctx.user) as change:
        if await drafts.clear(change.tx, ctx.user, channel.id):
            change.tell(DraftCleared(stream=ctx.user, seq=change.next(ctx.user), channel=channel.id))
    return Nothing()


@op(access=LOGGED_IN)
async def list_(ctx: Context, frame: DraftList) -> Drafts:
    """One's own only."""
    return await drafts.listing(ctx.db, ctx.user)
