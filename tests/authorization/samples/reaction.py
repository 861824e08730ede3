"""reaction: in ann's group; 1 is hers, with emoji of tom's and her own, 2 is tom's, with one of kim's."""

from protocol.reaction import ReactionAdd, ReactionList, ReactionRemove
from tests.authorization.channels import GROUP
from tests.authorization.sample import Sample
from tests.authorization.samples.message import MINE, TOMS, blocked
from tests.authorization.world import World


def _add(world: World) -> ReactionAdd:
    return ReactionAdd(channel=world.channels["group"].id, seq=2, emoji="+1")


def _remove(world: World) -> ReactionRemove:
    return ReactionRemove(channel=world.channels["group"].id, seq=1, emoji=world.channels["group"].emojis[1, "ann"])


SAMPLES = {
    "add": Sample(_add, touches=TOMS, told={"reaction.added": GROUP}, wrong=blocked(_add)),
    "remove": Sample(_remove, touches=MINE, told={"reaction.removed": GROUP}, wrong=blocked(_remove, seq=2)),
    "list": Sample(
        lambda world: ReactionList(channel=world.channels["group"].id, seq=1),
        proves=lambda reply: len(reply["reactions"]) == 2,
    ),
}
