"""hashtag: each message of the world has one of its own; what ann finds is what she reads."""

from typing import Any

from protocol import hashtag as frames
from tests.authorization.sample import Making, Sample, Wrong
from tests.authorization.samples.proofs import changed, into
from tests.authorization.world import World


def _tag(channel: str, seq: int) -> Any:
    return lambda world: world.tags[channel, seq]


def _list(place: str, seq: int, **fields: Any) -> Making:
    return changed(lambda world: frames.HashtagList(hashtag=world.tags[place, seq]), **fields)


def _id(what: str, name: str) -> Any:
    return lambda world: getattr(world, what)[name].id


def _seqs(*seqs: int) -> Any:
    return lambda reply: [one["message"]["seq"] for one in reply["messages"]] == list(seqs)


def _counted(count: int) -> Any:
    return lambda reply: reply["messages"] == count


_GROUP, _CLUB = {"channel": _id("channels", "group")}, {"space": _id("spaces", "club")}
_HALL = {"channel": _id("channels", "hall")}
_WRONG = {
    "both": Wrong("invalid", _list("hall", 2, **_CLUB, **_HALL)),
    "where I do not read": Wrong("forbidden", into(_list("blank", 1), "blank")),
}


def _top(world: World) -> frames.HashtagTop:
    return frames.HashtagTop(channel=world.channels["group"].id)


SAMPLES = {
    "list": Sample(_list("group", 2, **_GROUP), proves=_seqs(2), wrong=_WRONG),
    "list: in a space": Sample(_list("hall", 2, **_CLUB), proves=_seqs(2)),
    "list: of what I have hidden": Sample(_list("group", 3, **_GROUP), proves=_seqs()),
    "list: where I do not see it": Sample(_list("attic", 1, **_CLUB), proves=_seqs()),
    "list: anywhere, of another space": Sample(_list("stove", 1), outsiders=frozenset(), proves=_seqs()),
    "top": Sample(
        _top,
        proves=_counted(5),
        wrong={
            "nowhere": Wrong("invalid", lambda world: frames.HashtagTop()),
            "where I do not read": Wrong("forbidden", into(_top, "blank")),
        },
    ),
    "top: in a space": Sample(
        lambda world: frames.HashtagTop(space=world.spaces["club"].id, limit=50), proves=lambda reply: reply["messages"]
    ),
}
