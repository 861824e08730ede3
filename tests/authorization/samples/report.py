"""report: what ann tells moderators of, and, as one of them, what others have; which there are is told in spaces.py."""

from protocol import report as frames
from tests.authorization.kinds import OUTSIDERS
from tests.authorization.sample import Making, Sample, Wrong
from tests.authorization.samples.proofs import changed, into
from tests.authorization.samples.space import LACKING
from tests.authorization.world import World

_CLUB, _NONE = frozenset({"club"}), frozenset[str]()


def _create(world: World) -> frames.ReportCreate:
    return frames.ReportCreate(category="spam", channel=world.channels["hall"].id, seq=2)


def _person(world: World) -> frames.ReportCreate:
    return frames.ReportCreate(category="spam", user=world.tom.id)


def _in_space(world: World) -> frames.ReportCreate:
    return frames.ReportCreate(category="spam", user=world.tom.id, space=world.spaces["club"].id)


def _about(frame: type[frames.ReportGet], name: str = "of eve") -> Making:
    return lambda world: frame(space=world.spaces["club"].id, report=world.reports[name])


def _resolve(world: World) -> frames.ReportResolve:
    return frames.ReportResolve(space=world.spaces["club"].id, report=world.reports["of eve"], outcome="acted")


def _list(world: World) -> frames.ReportList:
    return frames.ReportList(space=world.spaces["club"].id)


def _counts(reports: int, open: int) -> object:
    return lambda reply: (len(reply["reports"]), reply["open"]) == (reports, open)


_SERVER = frozenset({"server's reports"})
# They are in a group with ann, and in the club.
_TOGETHER = frozenset({"somebody who blocks me", "somebody I block"})
SAMPLES = {
    "create": Sample(
        _create,
        in_space=True,
        touches=_CLUB,
        reaches=_TOGETHER,
        wrong={
            "where one reads nothing": Wrong("forbidden", changed(into(_create, "blank"), seq=1)),
            "one's own words": Wrong("invalid", changed(_create, seq=1)),
            "nothing": Wrong("invalid", changed(_create, channel=None, seq=None)),
            "a channel": Wrong("invalid", changed(_create, seq=None)),
            "a message of nowhere": Wrong("missing", changed(_create, channel=None)),
            "two things": Wrong("invalid", changed(_create, user=lambda world: world.tom.id)),
            "oneself": Wrong("missing", changed(_person, user=lambda world: world.ann.id)),
            "who is not there": Wrong("missing", changed(_in_space, user=lambda world: world.adm.id)),
        },
    ),
    "create: in a group": Sample(into(_create, "group"), outsiders=OUTSIDERS),
    "create: a person": Sample(_person, reaches=_TOGETHER, insiders=frozenset({"blocker"})),
    "create: somebody in a space": Sample(
        _in_space,
        in_space=True,
        touches=_CLUB,
        reaches=_TOGETHER,
        insiders=frozenset({"blocker"}),
    ),
    "list": Sample(_list, refused=LACKING, proves=_counts(1, 1)),
    "list: closed": Sample(changed(_list, open=False), refused=LACKING, proves=_counts(1, 1)),
    "list: by who sees another channel": Sample(_list, by="max", proves=_counts(4, 4)),
    "list: by who is reported": Sample(_list, by="lea", proves=_counts(2, 2)),
    "list: of the server": Sample(
        changed(_list, space=None),
        by="adm",
        wrong={"a member": Wrong("forbidden", changed(_list, space=None), by="ann")},
        shows=_SERVER,
        proves=_counts(1, 1),
    ),
    "get: of the server": Sample(
        changed(_about(frames.ReportGet, "of nobody's space"), space=None),
        by="adm",
        outsiders=frozenset({"stranger", "blocked", "blocker"}),
        shows=_SERVER,
        proves=lambda reply: reply["person"] is not None,
    ),
    "resolve: of the server": Sample(
        changed(_resolve, space=None, report=lambda world: world.reports["of nobody's space"]),
        by="adm",
        touches=frozenset({"sid"}),
        outsiders=frozenset({"stranger", "blocked", "blocker"}),
        shows=_SERVER,
        proves=lambda reply: reply["outcome"] == "acted",
    ),
    "get": Sample(_about(frames.ReportGet), refused=LACKING, proves=lambda reply: reply["message"] is not None),
    "resolve": Sample(
        _resolve,
        touches=frozenset({"club", "bea"}),
        refused=LACKING,
        wrong={
            "one that was closed otherwise": Wrong(
                "conflict", changed(_resolve, report=lambda world: world.reports["of kim, closed"])
            )
        },
        proves=lambda reply: reply["outcome"] == "acted",
    ),
}
