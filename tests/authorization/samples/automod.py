"""automod: the rules of the club, of which there are two; none is in force, or nobody would say anything here."""

from uuid import uuid4

from protocol import automod as frames
from tests.authorization.sample import Sample, Wrong
from tests.authorization.samples.proofs import changed
from tests.authorization.samples.space import LACKING
from tests.authorization.world import World

_CLUB = frozenset({"club"})


def _create(world: World) -> frames.AutomodCreate:
    return frames.AutomodCreate(
        space=world.spaces["club"].id,
        name="a new rule",
        nonce=uuid4(),
        kind="words",
        terms=["heck"],
        roles=[world.spaces["club"].roles["mods"]],
        channels=[world.channels["hall"].id],
        enabled=False,
    )


def _update(world: World) -> frames.AutomodUpdate:
    return frames.AutomodUpdate(
        space=world.spaces["club"].id,
        rule=world.automods["club"],
        name="another name",
        roles=[world.spaces["club"].roles["mods"]],
        channels=[world.channels["hall"].id],
    )


SAMPLES = {
    "create": Sample(
        _create,
        touches=_CLUB,
        refused=LACKING,
        wrong={"a pattern that is none": Wrong("invalid", changed(_create, kind="patterns", terms=["("]))},
        proves=lambda reply: len(reply["channels"]) == 1,
    ),
    "update": Sample(_update, touches=_CLUB, refused=LACKING, proves=lambda reply: len(reply["channels"]) == 1),
    "delete": Sample(
        lambda world: frames.AutomodDelete(space=world.spaces["club"].id, rule=world.automods["club"]),
        touches=_CLUB,
        refused=LACKING,
    ),
    "list": Sample(
        lambda world: frames.AutomodList(space=world.spaces["club"].id),
        refused=LACKING,
        proves=lambda reply: [one["channels"] for one in reply["rules"]] == [[], []],
    ),
    "list: by who sees more": Sample(
        lambda world: frames.AutomodList(space=world.spaces["club"].id),
        by="cal",
        proves=lambda reply: sorted(len(one["channels"]) for one in reply["rules"]) == [0, 1],
    ),
}
