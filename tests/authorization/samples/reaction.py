"""reaction: in ann's group; what stands there is told in channels.py."""

from protocol.reaction import ReactionAdd, ReactionList, ReactionRemove
from tests.authorization.channels import GROUP
from tests.authorization.sample import Sample
from tests.authorization.samples import hall
from tests.authorization.samples.message import MINE, TOMS, blocked
from tests.authorization.world import World


def _add(world: World) -> ReactionAdd:
    return ReactionAdd(channel=world.channels["group"].id, seq=2, emoji="+1")


def _remove(world: World) -> ReactionRemove:
    return ReactionRemove(channel=world.channels["group"].id, seq=1, emoji=world.emojis["x"])


SAMPLES = hall.REACTIONS | {
    "add": Sample(_add, touches=TOMS, told={"reaction.added": GROUP}, wrong=blocked(_add)),
    "remove": Sample(_remove, touches=MINE, told={"reaction.removed": GROUP}, wrong=blocked(_remove, seq=2)),
    "list": Sample(
        lambda world: ReactionList(channel=world.channels["group"].id, seq=1),
        proves=lambda reply: len(reply["reactions"]) == 4,
    ),
}
