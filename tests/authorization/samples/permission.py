"""permission: what the club's notices and cellar overwrite."""

from protocol import permission as frames
from tests.authorization.kinds import NO_RESIDENTS, OUTSIDERS
from tests.authorization.sample import Sample, Wrong
from tests.authorization.samples.proofs import changed, into
from tests.authorization.samples.role import person, role
from tests.authorization.samples.space import LACKING
from tests.authorization.world import World

_TOUCHES = frozenset({"club", "notices"})
_BELOW_CHIEFS = LACKING | {"lower role": "forbidden", "same height": "forbidden"}


def _list(world: World) -> frames.PermissionList:
    return frames.PermissionList(channel=world.channels["notices"].id)


def _set(world: World) -> frames.PermissionSet:
    return frames.PermissionSet(channel=world.channels["notices"].id, role=role("fans")(world), deny=["react"])


def _clear(world: World) -> frames.PermissionClear:
    return frames.PermissionClear(channel=world.channels["notices"].id, role=role("everyone")(world))


def _explain(world: World) -> frames.PermissionExplain:
    return frames.PermissionExplain(channel=world.channels["hall"].id, permission="send", user=world.tom.id)


SAMPLES = {
    "list": Sample(_list, in_space=True, refused=LACKING, proves=lambda reply: len(reply["overwrites"]) == 2),
    "list: of what few see": Sample(
        into(_list, "cellar"),
        in_space=True,
        outsiders=OUTSIDERS | NO_RESIDENTS | {"member", "lower role"},
        refused={"timed out": "forbidden"},
        proves=lambda reply: len(reply["overwrites"]) == 2,
    ),
    "set": Sample(
        _set,
        in_space=True,
        touches=_TOUCHES,
        told={"space.changed": frozenset({"tom"})},
        refused=LACKING,
        wrong={
            "what I lack there": Wrong("forbidden", changed(_set, allow=["send"])),
            "for a role as high as mine": Wrong("forbidden", changed(_set, role=role("mods"))),
            "for a higher role": Wrong("forbidden", changed(_set, role=role("chiefs"))),
            "for a role as high as low ones": Wrong("forbidden", changed(_set, role=role("helpers")), by="lea"),
            "for who stands as high": Wrong("forbidden", changed(_set, role=None, user=person("bea"))),
            "for the owner, as a chief": Wrong("forbidden", changed(_set, role=None, user=person("max")), by="cal"),
            "for nobody": Wrong("invalid", changed(_set, role=None)),
            "what is of the space": Wrong("invalid", changed(_set, deny=["kick"])),
        },
    ),
    "set: for a member": Sample(
        changed(_set, role=None, user=person("lea")),
        in_space=True,
        touches=_TOUCHES,
        told={"space.changed": frozenset({"lea"})},
        refused=LACKING | {"lower role": "forbidden"},
    ),
    "set: so that somebody does not see it": Sample(
        changed(into(_set, "hall"), deny=["view"]),
        in_space=True,
        touches=frozenset({"club", "hall"}),
        told={"space.changed": frozenset({"tom"})},
        refused=LACKING,
    ),
    "clear": Sample(
        _clear,
        by="max",
        in_space=True,
        reaches=frozenset({"one that I do not see, in my space", "one in a category that I do not see"}),
        touches=_TOUCHES,
        told={"space.changed": frozenset({"ann", "tom", "bea", "lea"})},
        refused=_BELOW_CHIEFS,
    ),
    "explain": Sample(
        _explain, in_space=True, refused={"timed out": "forbidden"}, proves=lambda reply: reply["allowed"] is True
    ),
    "explain: oneself": Sample(
        changed(_explain, user=None), by="tom", in_space=True, proves=lambda reply: reply["rule"] == "role"
    ),
    "explain: who does not see it": Sample(
        changed(into(_explain, "cellar"), permission="view"),
        in_space=True,
        outsiders=OUTSIDERS | NO_RESIDENTS | {"member", "lower role"},
        refused={"timed out": "forbidden"},
        proves=lambda reply: reply["rule"] == "denied_by_everyone",
    ),
}
