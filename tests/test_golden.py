"""The golden samples in tests/golden: whoever changes the wire by accident changes one of these.

Each frame, reply, event and error stands there as it goes over the wire, written by hand.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol.codec import Codec, encode
from protocol.document import Exchange, domain_of, tag
from protocol.error import codes, refusal
from protocol.frame import Body, Event, Failure
from server.document import built_in, read_samples

FOLDER = Path(__file__).parent / "golden"
SURFACE = built_in(read_samples(FOLDER))
SAMPLES = SURFACE.samples
OPS = {op.name: op for op in SURFACE.ops}
EVENTS = {tag(event): event for event in SURFACE.events}
CODEC = Codec(op.frame for op in SURFACE.ops)
EXCHANGES = [
    pytest.param(op, exchange, id=f"{op}-{at}") for op, all_ in SAMPLES.ops.items() for at, exchange in enumerate(all_)
]


def canonical(frame: bytes | dict[str, Any]) -> str:
    """JSON in one spelling: the order of fields means nothing, 1 and 1.0 are told apart."""
    return json.dumps(json.loads(frame) if isinstance(frame, bytes) else frame, sort_keys=True)


def reply_of(op: str, exchange: Exchange) -> Any:
    return msgspec.json.decode(encode(exchange.reply["ok"]), type=OPS[op].reply)


def all_decoded() -> Iterator[Any]:
    """Every golden frame as its struct."""
    for op, exchanges in SAMPLES.ops.items():
        for exchange in exchanges:
            yield CODEC.decode(encode(exchange.request))
            yield reply_of(op, exchange)
    for name, frame in SAMPLES.events.items():
        yield msgspec.json.decode(encode(frame), type=EVENTS[name])
    for sample in SAMPLES.errors.values():
        if sample.reply is not None:
            yield msgspec.json.decode(encode(sample.reply["error"]), type=Failure)


def structs_in(value: Any) -> Iterator[msgspec.Struct]:
    if isinstance(value, msgspec.Struct):
        yield value
        value = [getattr(value, field.name) for field in msgspec.structs.fields(value)]
    if isinstance(value, list):
        for one in value:
            yield from structs_in(one)


def test_every_op_event_and_error_has_a_golden_sample() -> None:
    assert SAMPLES.ops.keys() == OPS.keys()
    assert all(SAMPLES.ops.values())
    assert SAMPLES.events.keys() == EVENTS.keys()
    assert SAMPLES.errors.keys() == {kind.code for kind in SURFACE.refusals}


def test_a_golden_sample_stands_in_the_file_of_its_domain() -> None:
    for file in FOLDER.glob("*.json"):
        names = [name for kind in ("ops", "events") for name in json.loads(file.read_bytes()).get(kind, {})]
        assert {domain_of(name) for name in names} <= {file.stem}


@pytest.mark.parametrize(("op", "exchange"), EXCHANGES)
def test_a_golden_request_decodes_strictly_and_encodes_to_itself(op: str, exchange: Exchange) -> None:
    frame = CODEC.decode(encode(exchange.request))
    assert type(frame) is OPS[op].frame
    assert canonical(encode(frame)) == canonical(exchange.request)


@pytest.mark.parametrize(("op", "exchange"), EXCHANGES)
def test_a_golden_reply_answers_its_request_and_encodes_to_itself(op: str, exchange: Exchange) -> None:
    again = CODEC.reply(exchange.request["id"], reply_of(op, exchange))
    assert canonical(again) == canonical(exchange.reply)


@pytest.mark.parametrize("name", EVENTS)
def test_a_golden_event_decodes_and_encodes_to_itself(name: str) -> None:
    event: Event = msgspec.json.decode(encode(SAMPLES.events[name]), type=EVENTS[name])
    assert canonical(CODEC.event(event)) == canonical(SAMPLES.events[name])


@pytest.mark.parametrize("code", SAMPLES.errors)
def test_a_golden_error_has_its_close_code_and_encodes_to_itself(code: str) -> None:
    sample, kind = SAMPLES.errors[code], codes()[code]
    assert kind.close == sample.close
    if sample.reply is None:
        assert sample.close is not None, "neither a reply nor a close code would tell it"
        return
    error = refusal(msgspec.json.decode(encode(sample.reply["error"]), type=Failure))
    assert type(error) is kind
    assert canonical(CODEC.error(sample.reply["re"], error.failure())) == canonical(sample.reply)


def test_every_struct_on_the_wire_is_in_a_golden_sample() -> None:
    seen = {type(one) for value in all_decoded() for one in structs_in(value)}
    assert seen == wire_structs(seen)


def wire_structs(seen: Iterable[type[msgspec.Struct]]) -> set[type[msgspec.Struct]]:
    """All that could be seen: the frames, and what `protocol` has for their inside."""
    bodies = {kind for kind in below(Body) if kind.__module__.startswith("protocol.")}
    return {op.frame for op in SURFACE.ops} | set(SURFACE.events) | bodies | {Failure}


def below(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for one in kind.__subclasses__():
        yield one
        yield from below(one)


def test_every_field_has_a_value_in_a_golden_sample() -> None:
    empty: dict[str, bool] = {}
    for one in (one for value in all_decoded() for one in structs_in(value)):
        for field in msgspec.structs.fields(one):
            where = f"{type(one).__name__}.{field.name}"
            absent = getattr(one, field.name) in (None, msgspec.UNSET)
            empty[where] = empty.get(where, True) and absent
    assert [where for where, absent in empty.items() if absent] == []
