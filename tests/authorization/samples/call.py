"""call: in ann's group, where tom calls; and between ann and tom, where nobody does."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from protocol import call as frames
from tests.authorization import rooms
from tests.authorization.channels import GROUP
from tests.authorization.kinds import OUTSIDERS
from tests.authorization.rooms import CALL, CALLED, CALLING
from tests.authorization.sample import Making, Sample, Wrong
from tests.authorization.samples.channel import ANN
from tests.authorization.samples.message import blocked
from tests.authorization.samples.proofs import into
from tests.authorization.world import World

_BOTH = frozenset({"ann", "tom"})
_HERS = frozenset({"group", "group 9", "group 0"})


def _group(frame: Callable[..., Any], **fields: Any) -> Making:
    return lambda world: frame(channel=world.channels["group"].id, **fields)


def _start(world: World) -> frames.CallStart:
    return frames.CallStart(channel=world.channels["ann+tom"].id, nonce=uuid4())


def _nobody(world: World) -> frames.CallStart:
    return frames.CallStart(channel=world.channels["ann's saved"].id, nonce=uuid4())


_answer, _decline = _group(frames.CallAnswer, call=CALL), _group(frames.CallDecline, call=CALL)
_end = _group(frames.CallEnd, call=CALL)
_signal = _group(frames.CallSignal, call=CALL, to=rooms.seat("tom"), data="an offer")
_NOT_THERE = {"blocker": "missing"}

SAMPLES = {
    "start": Sample(
        _start,
        touches=frozenset({"ann+tom", *_BOTH}),
        told={"message.created": _BOTH, "call.ringing": frozenset({"tom"})},
        outsiders=OUTSIDERS | {"blocker"},
        proves=lambda reply: len(reply["people"]) == 1 and not reply["busy"],
        wrong={**blocked(_start), "oneself": Wrong("invalid", _nobody)},
    ),
    "start: who is in another call": Sample(
        _start,
        sits={"call": ("tom",)},
        touches=frozenset({"ann+tom", *_BOTH}),
        told={"message.created": _BOTH},
        outsiders=OUTSIDERS | {"blocker"},
        proves=lambda reply: reply["people"] == [] and reply["busy"],
    ),
    "start: in a group": Sample(
        into(_start, "group"),
        touches=frozenset({"group", "group 0", *GROUP}),
        told={"message.created": GROUP, "call.ringing": frozenset({"tom", "kim"})},
    ),
    "answer": Sample(
        _answer,
        prepare=CALLED,
        sits={"call": ("tom",)},
        touches=_HERS,
        told={"call.changed": GROUP, "call.stopped": ANN},
        proves=lambda reply: len(reply["people"]) == 2,
        wrong=blocked(_answer),
    ),
    "decline": Sample(_decline, prepare=CALLED, sits={"call": ("tom",)}, touches=_HERS, told={"call.stopped": ANN}),
    "end": Sample(
        _end,
        prepare=CALLING,
        sits={"call": ("ann",)},
        touches=_HERS | {"tom"},
        told={"call.changed": GROUP, "call.stopped": _BOTH},
    ),
    "signal": Sample(
        _signal,
        prepare=CALLED,
        sits={"call": ("ann", "tom")},
        refused=_NOT_THERE,
        wrong={**blocked(_signal), "by who is not there": Wrong("missing", _signal, by="bea")},
    ),
    "get": Sample(
        _group(frames.CallGet),
        prepare=CALLED,
        sits={"call": ("tom",)},
        proves=lambda reply: len(reply["people"]) == 1 and reply["call"] == str(CALL),
    ),
    "relay": Sample(lambda world: frames.CallRelay(), proves=lambda reply: reply["servers"] == []),
}
