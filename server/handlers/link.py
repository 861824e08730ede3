"""link: what a page says of itself."""

from protocol.link import LinkPreview, Preview
from server.context import Context
from server.router import op
from server.rule import LOGGED_IN


@op(access=LOGGED_IN, limit="30/m")
async def preview(ctx: Context, frame: LinkPreview) -> Preview:
    """The server asks, never the client; what it found is remembered for everybody for an hour.

    An account waits for four at once.
    """
    return await ctx.app.previews.of(frame.url, ctx.user)
