"""sticker: the club's, of which there is one."""

from typing import Any
from uuid import uuid4

from protocol import sticker as frames
from tests.authorization.sample import Making, Sample
from tests.authorization.samples.proofs import changed
from tests.authorization.samples.space import CHANGED, LACKING
from tests.authorization.world import World

_CLUB = frozenset({"club"})


def _create(world: World) -> frames.StickerCreate:
    return frames.StickerCreate(space=world.spaces["club"].id, name="cat", file=uuid4(), nonce=uuid4())


def _about(frame: Any, **fields: Any) -> Making:
    return lambda world: frame(space=world.spaces["club"].id, sticker=world.spaces["club"].emblems["sticker"], **fields)


def _nonce(space: str) -> Any:
    return lambda world: world.spaces[space].nonces["sticker"]


SAMPLES = {
    "create": Sample(
        _create, touches=_CLUB, told=CHANGED, refused=LACKING, proves=lambda reply: reply["name"] == "cat"
    ),
    "create: again": Sample(
        changed(_create, nonce=_nonce("club")), refused=LACKING, proves=lambda reply: reply["name"] != "cat"
    ),
    "create: with a nonce of another space": Sample(
        changed(_create, nonce=_nonce("den")), touches=_CLUB, told=CHANGED, refused=LACKING
    ),
    "update": Sample(_about(frames.StickerUpdate, about="a cat"), touches=_CLUB, told=CHANGED, refused=LACKING),
    "delete": Sample(_about(frames.StickerDelete), touches=_CLUB, told=CHANGED, refused=LACKING),
    "list": Sample(
        lambda world: frames.StickerList(space=world.spaces["club"].id),
        proves=lambda reply: len(reply["stickers"]) == 1,
    ),
}
