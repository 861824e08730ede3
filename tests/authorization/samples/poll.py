"""poll: in ann's group; which messages there are polls is told in channels.py."""

from protocol.poll import PollClose, PollGet, PollVote, PollVoters
from tests.authorization.channels import GROUP
from tests.authorization.sample import Sample, Wrong
from tests.authorization.samples import hall
from tests.authorization.samples.channel import ANN, NOT_THEIRS
from tests.authorization.samples.message import TOMS, blocked
from tests.authorization.samples.proofs import changed
from tests.authorization.world import World

_TOLD = {"poll.voted": GROUP, "poll.chosen": ANN}
_ANONYMOUS = frozenset({"group", "group 8"})


def _vote(world: World) -> PollVote:
    return PollVote(channel=world.channels["group"].id, seq=2, options=[0, 2])


def _close(world: World) -> PollClose:
    return PollClose(channel=world.channels["group"].id, seq=8)


def _get(world: World) -> PollGet:
    return PollGet(channel=world.channels["group"].id, seq=2)


def _voters(world: World) -> PollVoters:
    return PollVoters(channel=world.channels["group"].id, seq=2)


def _after_all(world: World) -> PollVoters:
    last = max(world.people[name].id for name in ("ann", "kim", "eve"))
    return PollVoters(channel=world.channels["group"].id, seq=2, after=last)


SAMPLES = hall.POLLS | {
    "vote": Sample(
        _vote,
        touches=TOMS,
        told=_TOLD,
        wrong={
            **blocked(_vote),
            "one that was closed": Wrong("conflict", changed(_vote, seq=1)),
            "two where it takes one": Wrong("invalid", changed(_vote, seq=8)),
            "an option that there is not": Wrong("invalid", changed(_vote, options=[3])),
            "what is no poll": Wrong("missing", changed(_vote, seq=6)),
        },
    ),
    "vote: taking it back": Sample(changed(_vote, options=[]), touches=TOMS, told=_TOLD),
    "vote: for the first time": Sample(changed(_vote, seq=8, options=[1]), touches=_ANONYMOUS, told=_TOLD),
    "close": Sample(
        _close,
        touches=_ANONYMOUS,
        told={"poll.closed": GROUP},
        refused=NOT_THEIRS,
        wrong={
            "what is no poll": Wrong("missing", changed(_close, seq=6)),
        },
    ),
    "close: somebody else's, as the owner": Sample(
        changed(_close, seq=2), touches=TOMS, told={"poll.closed": GROUP}, refused={"blocker": "forbidden"}
    ),
    "close: one that was closed": Sample(
        changed(_close, seq=1), touches=frozenset({"group"}), refused=NOT_THEIRS, proves=lambda reply: reply["seq"] == 0
    ),
    "get": Sample(_get, proves=lambda reply: reply["chosen"] == [1] and reply["poll"]["voters"] == 3),
    "get: of who has not voted": Sample(
        _get, by="tom", proves=lambda reply: reply["chosen"] == [] and reply["poll"]["voters"] == 3
    ),
    "voters": Sample(
        _voters,
        wrong={
            "an anonymous one, as its author": Wrong("forbidden", changed(_voters, seq=8)),
            "an anonymous one": Wrong("forbidden", changed(_voters, seq=8), by="tom"),
        },
        proves=lambda reply: sorted(one["options"] for one in reply["votes"]) == [[0], [1], [1, 2]],
    ),
    "voters: behind the last": Sample(_after_all, proves=lambda reply: reply["votes"] == []),
}
