"""sticker: pictures of a space that are sent as messages in its channels."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.frame import Body, Line, Nonce, Nothing, Request, Shortcode, SpaceId, StickerId, Uploaded

About = Annotated[Line, Meta(description="What is to be seen, for who does not see it.")]


class Sticker(Body, frozen=True):
    """A sticker of a space."""

    id: UUID
    name: Annotated[str, Meta(description="No other sticker of the space has it.")]
    about: str
    file: UUID


class SentSticker(Body, frozen=True):
    """A sticker as it was when it was sent."""

    id: UUID
    name: str
    about: str
    file: UUID


class Stickers(Body, frozen=True):
    """All of a space, by name."""

    stickers: list[Sticker]


class StickerCreate(Request[Sticker], tag="sticker.create", frozen=True):
    """Make a sticker; with `manage_emoji`. A space has room for 100. The same nonce again is the same sticker."""

    space: SpaceId
    name: Shortcode
    file: Uploaded
    nonce: Nonce
    about: About = ""


class StickerUpdate(Request[Sticker], tag="sticker.update", frozen=True):
    """Change how a sticker is called; what is not given stays. With `manage_emoji`. What was sent stays as it was."""

    space: SpaceId
    sticker: StickerId
    name: Shortcode | None = None
    about: About | None = None


class StickerDelete(Request[Nothing], tag="sticker.delete", frozen=True):
    """Do away with a sticker; with `manage_emoji`. In messages it stays."""

    space: SpaceId
    sticker: StickerId


class StickerList(Request[Stickers], tag="sticker.list", frozen=True):
    """The stickers of a space; `space.get` has them, too, and `space.changed` tells of changes."""

    space: SpaceId
