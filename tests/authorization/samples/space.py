"""space: mostly max's club; who is in it, and what is there, is told in spaces.py."""

from typing import Any
from uuid import uuid4

from protocol import space as frames
from tests.authorization.sample import Sample, Wrong
from tests.authorization.samples.proofs import changed
from tests.authorization.spaces import CLUB
from tests.authorization.ways import THREADS
from tests.authorization.world import World

ANN = frozenset({"ann"})
# Residents who lack a right that ann has: tom has none of hers, and kim all, but is timed out.
LACKING = {"member": "forbidden", "timed out": "forbidden"}
# Who else may not do what only the owner may.
BELOW = LACKING | {"lower role": "forbidden", "same height": "forbidden", "chief": "forbidden"}
CHANGED = {"space.changed": CLUB}
IN_CLUB = ("hall", "notices", "blank", "shelf", "book", "cellar", "attic", "nook", "loft", *THREADS)
_ROLES = tuple(f"role {name}" for name in ("fans", "helpers", "mods", "chiefs"))
_ALL = frozenset(CLUB | {"club", *_ROLES, *IN_CLUB, *(f"{name} *" for name in IN_CLUB), "eve", "ivy", "sid"})
_NEW = "a new name"


def _create(world: World) -> frames.SpaceCreate:
    return frames.SpaceCreate(name=_NEW, nonce=uuid4())


def _get(world: World) -> frames.SpaceGet:
    return frames.SpaceGet(space=world.spaces["club"].id)


def _update(world: World) -> frames.SpaceUpdate:
    return frames.SpaceUpdate(space=world.spaces["club"].id, name=_NEW)


def _delete(world: World) -> frames.SpaceDelete:
    return frames.SpaceDelete(space=world.spaces["club"].id, name=world.spaces["club"].title)


def _transfer(world: World) -> frames.SpaceTransfer:
    return frames.SpaceTransfer(space=world.spaces["club"].id, user=world.cal.id)


def _sees(channels: int, marks: int, mentions: int = 0) -> Any:
    """How many channels there are, in how many are messages, and how often one is mentioned in them."""

    def proves(reply: Any) -> bool:
        found = len(reply["channels"]), len(reply["marks"]), sum(one["mentions"] for one in reply["marks"])
        return found == (channels, marks, mentions)

    return proves


SAMPLES = {
    "create": Sample(
        _create,
        told={"space.joined": ANN},
        proves=lambda reply: reply["name"] == _NEW and reply["members"] == 1,
        wrong={"a picture that there is not": Wrong("invalid", changed(_create, avatar="nothing"))},
    ),
    "create: again": Sample(
        changed(_create, nonce=lambda world: world.spaces["club"].nonce),
        by="max",
        proves=lambda reply: reply["members"] == len(CLUB),
    ),
    "create: with a nonce of somebody else's": Sample(
        changed(_create, nonce=lambda world: world.spaces["club"].nonce),
        told={"space.joined": ANN},
        proves=lambda reply: reply["name"] == _NEW,
    ),
    "create: one more": Sample(
        _create,
        by="tom",
        told={"space.joined": frozenset({"tom"})},
        proves=lambda reply: reply["name"] == _NEW,
    ),
    "get": Sample(_get, proves=_sees(6, 5, 2)),
    "get: by who sees less": Sample(_get, by="tom", proves=_sees(5, 4, 2)),
    "get: by who is timed out": Sample(
        _get,
        by="kim",
        first=("ann", _get),
        proves=lambda reply: reply["permissions"] == ["view", "history"] and len(reply["channels"]) == 6,
    ),
    "get: by who was let in": Sample(_get, by="lea", proves=_sees(8, 6)),
    "get: by a chief": Sample(_get, by="cal", proves=_sees(9, 7, 3)),
    "update": Sample(
        _update,
        touches=frozenset({"club"}),
        told=CHANGED,
        refused=LACKING,
        proves=lambda reply: reply["name"] == _NEW,
    ),
    "delete": Sample(
        _delete,
        by="max",
        touches=_ALL | {"gone"},
        told={"space.left": CLUB},
        refused=BELOW,
        wrong={"by another name": Wrong("invalid", changed(_delete, name="something else"))},
    ),
    "list": Sample(lambda world: frames.SpaceList(), proves=lambda reply: len(reply["spaces"]) == 1),
    "discover": Sample(lambda world: frames.SpaceDiscover(), proves=lambda reply: len(reply["spaces"]) == 1),
    "discover: by who is kept out": Sample(
        lambda world: frames.SpaceDiscover(), by="ivy", proves=lambda reply: reply["spaces"] == []
    ),
    "discover: by who is kept out of another": Sample(
        lambda world: frames.SpaceDiscover(), by="sid", proves=lambda reply: len(reply["spaces"]) == 1
    ),
    "join": Sample(
        lambda world: frames.SpaceJoin(space=world.spaces["fair"].id),
        touches=frozenset({"fair"}),
        outsiders=frozenset({"banned", "kicked"}),
        reaches=frozenset({"an open one"}),
        told={"space.joined": ANN},
        proves=lambda reply: reply["members"] == 3,
    ),
    "join: again": Sample(
        lambda world: frames.SpaceJoin(space=world.spaces["club"].id),
        reaches=frozenset({"an open one"}),
        proves=lambda reply: reply["members"] == len(CLUB),
    ),
    "join: not kept out of this one": Sample(
        lambda world: frames.SpaceJoin(space=world.spaces["fair"].id),
        by="sid",
        touches=frozenset({"fair"}),
        outsiders=frozenset({"banned", "kicked"}),
        told={"space.joined": frozenset({"sid"})},
    ),
    "leave": Sample(
        lambda world: frames.SpaceLeave(space=world.spaces["club"].id),
        touches=frozenset({"club", *IN_CLUB, *(f"{name} *" for name in IN_CLUB)}),
        told={"space.left": ANN},
        refused={"space owner": "conflict"},
    ),
    "transfer": Sample(
        _transfer,
        by="max",
        touches=frozenset({"club"}),
        told=CHANGED,
        refused=BELOW,
    ),
}
