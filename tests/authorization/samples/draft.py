"""draft: one's own; ann has one for the group and one for tom."""

from protocol.draft import DraftClear, DraftList, DraftSave
from tests.authorization.sample import Sample
from tests.authorization.samples import hall
from tests.authorization.samples.channel import ANN
from tests.authorization.world import World


def _save(world: World) -> DraftSave:
    return DraftSave(channel=world.channels["group"].id, text="words", reply_to=2)


def _clear(world: World) -> DraftClear:
    return DraftClear(channel=world.channels["group"].id)


SAMPLES = hall.DRAFTS | {
    "save": Sample(_save, touches=frozenset({"group"}), told={"draft.saved": ANN}),
    "clear": Sample(_clear, touches=frozenset({"group"}), told={"draft.cleared": ANN}),
    "list": Sample(lambda world: DraftList(), proves=lambda reply: len(reply["drafts"]) == 3),
}
