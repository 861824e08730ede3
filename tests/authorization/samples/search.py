"""search: what ann finds is what she reads: not what she has hidden, nor what was taken back, nor elsewhere."""

from typing import Any

from protocol.search import SearchChannels, SearchMessages
from tests.authorization.sample import Making, Sample
from tests.authorization.world import World


def _by(name: str, **fields: Any) -> Making:
    return lambda world: SearchMessages(author=world.people[name].id, limit=50, **fields)


def _in_group(world: World) -> SearchMessages:
    return SearchMessages(author=world.tom.id, channels=[world.channels["group"].id])


def _seqs(*seqs: int) -> Any:
    return lambda reply: [one["message"]["seq"] for one in reply["hits"]] == list(seqs)


SAMPLES = {
    "messages": Sample(_in_group, proves=_seqs(2)),
    "messages: anywhere": Sample(_by("tom"), outsiders=frozenset(), proves=lambda reply: len(reply["hits"]) == 9),
    "messages: pinned": Sample(_by("ann", has=["pin"]), outsiders=frozenset(), proves=_seqs(1, 1)),
    "messages: what mentions others": Sample(
        lambda world: SearchMessages(has=["mention"], limit=50),
        outsiders=frozenset(),
        proves=lambda reply: len(reply["hits"]) > 3,
    ),
    "channels": Sample(lambda world: SearchChannels(text="a", limit=20), proves=lambda reply: reply["next"] is None),
}
