"""presence: whoever is hidden looks like nobody at all, who is offline."""

from protocol.presence import PresenceGet, PresenceSet, PresenceUnwatch, PresenceWatch
from tests.authorization.sample import Sample

SAMPLES = {
    "set": Sample(lambda world: PresenceSet(status="away", text="new"), proves=lambda reply: reply["status"] == "away"),
    "get": Sample(
        lambda world: PresenceGet(users=[world.tom.id]),
        missing="ok",
        proves=lambda reply: reply["presences"][0]["status"] == "online" and reply["presences"][0]["text"],
    ),
    "watch": Sample(
        lambda world: PresenceWatch(users=[world.tom.id]),
        missing="ok",
        proves=lambda reply: reply["presences"][0]["status"] == "online" and reply["presences"][0]["text"],
    ),
    "unwatch": Sample(lambda world: PresenceUnwatch(users=[world.tom.id]), missing="ok"),
}
