"""sticker: pictures of a space that are sent as messages."""

from protocol.frame import Nothing
from protocol.sticker import Sticker, StickerCreate, StickerDelete, StickerList, Stickers, StickerUpdate
from server import emblem
from server.context import Context
from server.emblem import STICKER, sticker_in
from server.router import op
from server.rule import LOGGED_IN
from server.space_access import in_space
from server.structure import Resident
from storage.ids import new_id


@op(access=LOGGED_IN & in_space("manage_emoji"), limit="60/m")
async def create(ctx: Context, frame: StickerCreate, space: Resident) -> Sticker:
    """The same nonce again is the same sticker."""
    one = Sticker(id=new_id(), name=frame.name, about=frame.about, file=frame.file)
    return await emblem.create(ctx, STICKER, space.id, frame.nonce, one)


@op(access=LOGGED_IN & in_space("manage_emoji") & sticker_in(), limit="60/m")
async def update(ctx: Context, frame: StickerUpdate, space: Resident, sticker: Sticker) -> Sticker:
    """What is not given stays."""
    return await emblem.update(ctx, STICKER, space.id, sticker.id, name=frame.name, about=frame.about)


@op(access=LOGGED_IN & in_space("manage_emoji") & sticker_in(), limit="60/m")
async def delete(ctx: Context, frame: StickerDelete, space: Resident, sticker: Sticker) -> Nothing:
    """Nobody sends it any more."""
    await emblem.delete(ctx, STICKER, space.id, sticker.id)
    return Nothing()


@op(access=LOGGED_IN & in_space(), limit="120/m")
async def list_(ctx: Context, frame: StickerList, space: Resident) -> Stickers:
    """For all members."""
    return Stickers(stickers=list(space.structure.stickers.values()))
