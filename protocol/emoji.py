"""emoji: those that a space has made, for reactions to messages in its channels."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.frame import Body, EmojiId, Nonce, Nothing, Request, Shortcode, SpaceId, Uploaded


class Emoji(Body, frozen=True):
    """An emoji of a space."""

    id: UUID
    name: Annotated[str, Meta(description="Without colons; no other emoji of the space has it.")]
    file: UUID


class Emojis(Body, frozen=True):
    """All of a space, by name."""

    emoji: list[Emoji]


class EmojiCreate(Request[Emoji], tag="emoji.create", frozen=True):
    """Make an emoji; with `manage_emoji`. A space has room for 200. The same nonce again is the same emoji."""

    space: SpaceId
    name: Shortcode
    file: Uploaded
    nonce: Nonce


class EmojiUpdate(Request[Emoji], tag="emoji.update", frozen=True):
    """Give an emoji another name; with `manage_emoji`. Under messages to which it was put before the old name stays."""

    space: SpaceId
    emoji: EmojiId
    name: Shortcode


class EmojiDelete(Request[Nothing], tag="emoji.delete", frozen=True):
    """Do away with an emoji; with `manage_emoji`. Where it stands under messages it stays, by its name."""

    space: SpaceId
    emoji: EmojiId


class EmojiList(Request[Emojis], tag="emoji.list", frozen=True):
    """The emoji of a space; `space.get` has them, too, and `space.changed` tells of changes."""

    space: SpaceId
