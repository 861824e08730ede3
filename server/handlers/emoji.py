"""emoji: those that a space has made."""

from protocol.emoji import Emoji, EmojiCreate, EmojiDelete, EmojiList, Emojis, EmojiUpdate
from protocol.frame import Nothing
from server import emblem
from server.context import Context
from server.emblem import EMOJIS, emoji_in
from server.router import op
from server.rule import LOGGED_IN
from server.space_access import in_space
from server.structure import Resident
from storage.ids import new_id


@op(access=LOGGED_IN & in_space("manage_emoji"), limit="60/m")
async def create(ctx: Context, frame: EmojiCreate, space: Resident) -> Emoji:
    """The same nonce again is the same emoji."""
    one = Emoji(id=new_id(), name=frame.name, file=frame.file)
    return await emblem.create(ctx, EMOJIS, space.id, frame.nonce, one)


@op(access=LOGGED_IN & in_space("manage_emoji") & emoji_in(), limit="60/m")
async def update(ctx: Context, frame: EmojiUpdate, space: Resident, emoji: Emoji) -> Emoji:
    """Only its name changes."""
    return await emblem.update(ctx, EMOJIS, space.id, emoji.id, name=frame.name)


@op(access=LOGGED_IN & in_space("manage_emoji") & emoji_in(), limit="60/m")
async def delete(ctx: Context, frame: EmojiDelete, space: Resident, emoji: Emoji) -> Nothing:
    """Nobody puts it under a message any more."""
    await emblem.delete(ctx, EMOJIS, space.id, emoji.id)
    return Nothing()


@op(access=LOGGED_IN & in_space(), limit="120/m")
async def list_(ctx: Context, frame: EmojiList, space: Resident) -> Emojis:
    """For all members."""
    return Emojis(emoji=list(space.structure.emoji.values()))
