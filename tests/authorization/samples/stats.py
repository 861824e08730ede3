"""stats: of the club, and of the server."""

from protocol.stats import StatsChannel, StatsServer, StatsSpace
from tests.authorization.sample import Sample, Wrong
from tests.authorization.samples.proofs import into
from tests.authorization.samples.space import LACKING
from tests.authorization.world import World


def _channel(world: World) -> StatsChannel:
    return StatsChannel(channel=world.channels["hall"].id)


SAMPLES = {
    "space": Sample(
        lambda world: StatsSpace(space=world.spaces["club"].id),
        refused=LACKING,
        proves=lambda reply: len(reply["days"]) == 30,
    ),
    "channel": Sample(
        _channel,
        in_space=True,
        refused=LACKING,
        wrong={"a group": Wrong("forbidden", into(_channel, "group"))},
        proves=lambda reply: len(reply["days"]) == 30,
    ),
    "server": Sample(
        lambda world: StatsServer(),
        by="own",
        wrong={"a member": Wrong("forbidden", lambda world: StatsServer(), by="ann")},
        proves=lambda reply: reply["accounts"] > 5,
    ),
}
