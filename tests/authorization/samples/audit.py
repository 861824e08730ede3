"""audit: one's own events, and the log of the club."""

from protocol.audit import AuditList, AuditSpace
from tests.authorization.sample import Sample
from tests.authorization.samples.space import LACKING
from tests.authorization.world import World


def _space(world: World) -> AuditSpace:
    return AuditSpace(space=world.spaces["club"].id)


SAMPLES = {
    "list": Sample(lambda world: AuditList(), proves=lambda reply: len(reply["entries"]) >= 2),
    "space": Sample(_space, refused=LACKING, proves=lambda reply: len(reply["deeds"]) == 1),
    "space: by who sees a channel": Sample(_space, by="lea", proves=lambda reply: len(reply["deeds"]) == 2),
    "space: by a chief": Sample(_space, by="cal", proves=lambda reply: len(reply["deeds"]) == 3),
}
