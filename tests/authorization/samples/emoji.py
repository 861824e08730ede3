"""emoji: the club's, of which there is one."""

from typing import Any
from uuid import uuid4

from protocol import emoji as frames
from tests.authorization.sample import Making, Sample
from tests.authorization.samples.proofs import changed
from tests.authorization.samples.space import CHANGED, LACKING
from tests.authorization.world import World

_CLUB = frozenset({"club"})


def _create(world: World) -> frames.EmojiCreate:
    return frames.EmojiCreate(space=world.spaces["club"].id, name="wave", file=uuid4(), nonce=uuid4())


def _about(frame: Any, **fields: Any) -> Making:
    return lambda world: frame(space=world.spaces["club"].id, emoji=world.spaces["club"].emblems["emoji"], **fields)


def _nonce(space: str) -> Any:
    return lambda world: world.spaces[space].nonces["emoji"]


SAMPLES = {
    "create": Sample(
        _create, touches=_CLUB, told=CHANGED, refused=LACKING, proves=lambda reply: reply["name"] == "wave"
    ),
    "create: again": Sample(
        changed(_create, nonce=_nonce("club")), refused=LACKING, proves=lambda reply: reply["name"] != "wave"
    ),
    "create: with a nonce of another space": Sample(
        changed(_create, nonce=_nonce("den")), touches=_CLUB, told=CHANGED, refused=LACKING
    ),
    "update": Sample(_about(frames.EmojiUpdate, name="wave"), touches=_CLUB, told=CHANGED, refused=LACKING),
    "delete": Sample(_about(frames.EmojiDelete), touches=_CLUB, told=CHANGED, refused=LACKING),
    "list": Sample(
        lambda world: frames.EmojiList(space=world.spaces["club"].id),
        proves=lambda reply: len(reply["emoji"]) == 1,
    ),
}
