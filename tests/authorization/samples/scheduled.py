"""scheduled: one's own; ann has one for the group, and one for tom that has failed."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from msgspec import structs

from protocol.scheduled import ScheduledCancel, ScheduledCreate, ScheduledList, ScheduledUpdate
from tests.authorization.sample import Sample, Wrong
from tests.authorization.samples import hall
from tests.authorization.samples.channel import ANN
from tests.authorization.world import World

_AT = datetime.now(UTC) + timedelta(days=200)
_TOLD = {"scheduled.saved": ANN}
_BEGUN = "UPDATE scheduled SET begun = true WHERE account = $1"


def _create(world: World) -> ScheduledCreate:
    return ScheduledCreate(channel=world.channels["group"].id, text="words", at=_AT, nonce=uuid4(), reply_to=2)


def _again(world: World) -> ScheduledCreate:
    return structs.replace(_create(world), nonce=world.scheduled["ann in ann+tom"])


def _again_elsewhere(world: World) -> ScheduledCreate:
    return structs.replace(_create(world), nonce=world.scheduled["ann in hall"])


def _sent_before(world: World) -> ScheduledCreate:
    return structs.replace(_create(world), nonce=world.channels["group"].nonces[1])


def _update(world: World) -> ScheduledUpdate:
    return ScheduledUpdate(scheduled=world.scheduled["ann in group"], text="other words")


def _cancel(world: World) -> ScheduledCancel:
    return ScheduledCancel(scheduled=world.scheduled["ann in group"])


SAMPLES = hall.SCHEDULED | {
    "create": Sample(
        _create,
        touches=frozenset({"group"}),
        told=_TOLD,
        wrong={
            "one that was sent": Wrong("conflict", _sent_before),
            "where ann may not write": Wrong(
                "forbidden", lambda world: structs.replace(_create(world), channel=world.channels["ann+bea"].id)
            ),
        },
        proves=lambda reply: reply["text"] == "words",
    ),
    "create: the same again": Sample(
        _again,
        touches=frozenset({"group"}),
        proves=lambda reply: reply["failed"] == "forbidden",
    ),
    "create: another one again": Sample(
        _again_elsewhere, touches=frozenset({"group"}), proves=lambda reply: reply["failed"] is None
    ),
    "list": Sample(
        lambda world: ScheduledList(),
        proves=lambda reply: [one["failed"] for one in reply["scheduled"]] == [None, "forbidden", None],
    ),
    "update": Sample(
        _update,
        touches=frozenset({"group"}),
        told=_TOLD,
        wrong={"one that is being sent": Wrong("conflict", _update, prepare=_BEGUN)},
        proves=lambda reply: reply["text"] == "other words",
    ),
    "cancel": Sample(
        _cancel,
        touches=frozenset({"group"}),
        told={"scheduled.cancelled": ANN},
        wrong={"one that is being sent": Wrong("conflict", _cancel, prepare=_BEGUN)},
    ),
}
