"""Core.take: cutting what comes in at the borders of frames, without ever losing the parser's place."""

import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from server.core import Core
from tests import raw


def masked(*frames: Frame) -> bytes:
    """What a client sends."""
    return b"".join(one.serialize(mask=True) for one in frames)


def taken(core: Core, data: bytes, cuts: list[int]) -> list[tuple[int, bytes]]:
    """What comes out when the data arrives in pieces."""
    found: list[tuple[int, bytes]] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        for one in core.take(data[start:end]):
            found.append((1, one) if isinstance(one, bytes) else (int(one.opcode), bytes(one.data)))
    return found


CONVERSATION = [
    Frame(Opcode.TEXT, b"plain"),
    Frame(Opcode.PING, b"p"),
    Frame(Opcode.TEXT, b"half", fin=False),
    Frame(Opcode.PONG, b""),
    Frame(Opcode.CONT, b"and half"),
    Frame(Opcode.TEXT, b""),
    Frame(Opcode.BINARY, b"\x00" * 200),
    Frame(Opcode.TEXT, b"x" * 126),
    Frame(Opcode.TEXT, b"y" * 70000),
    Frame(Opcode.TEXT, b"last"),
]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("seed", range(40))
def test_any_cut_gives_the_same_frames(seed: int) -> None:
    data = masked(*CONVERSATION)
    rng = random.Random(seed)
    cuts = sorted(rng.sample(range(1, len(data)), rng.choice([1, 5, 50, 500])))
    core = Core(state=OPEN, max_size=None)
    assert taken(core, data, cuts) == [(int(one.opcode), bytes(one.data)) for one in CONVERSATION]


@pytest.mark.timeout(30)
def test_byte_by_byte_gives_the_same_frames() -> None:
    frames = [*CONVERSATION[:8], CONVERSATION[9]]
    data = masked(*frames)
    core = Core(state=OPEN, max_size=None)
    assert taken(core, data, list(range(1, len(data)))) == [(int(one.opcode), bytes(one.data)) for one in frames]


def failed_with(data: bytes, max_size: int = 1000) -> int:
    """The close code that the data is answered with."""
    core = Core(state=OPEN, max_size=max_size)
    core.take(data)
    return core.close_sent.code if core.close_sent else 0


def test_what_the_parser_refuses_is_refused_with_the_same_code() -> None:
    assert failed_with(Frame(Opcode.TEXT, b"not masked").serialize(mask=False)) == CloseCode.PROTOCOL_ERROR
    assert failed_with(masked(Frame(Opcode.TEXT, b"x" * 1001))) == CloseCode.MESSAGE_TOO_BIG
    assert failed_with(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff") == 0  # its length is not all there yet
    assert failed_with(b"\x81\xff" + b"\x7f" * 8 + b"mask") == CloseCode.MESSAGE_TOO_BIG
    assert failed_with(b"\xc1\x81mask?") == CloseCode.PROTOCOL_ERROR
    inside = masked(Frame(Opcode.TEXT, b"a", fin=False), Frame(Opcode.TEXT, b"b"))
    assert failed_with(inside) == CloseCode.PROTOCOL_ERROR


def test_nothing_is_taken_after_a_close() -> None:
    core = Core(state=OPEN, max_size=None)
    data = masked(Frame(Opcode.CLOSE, b"\x03\xe8"), Frame(Opcode.TEXT, b"too late"))
    assert taken(core, data, []) == [(8, b"\x03\xe8")]


def test_a_handshake_comes_before_frames() -> None:
    client = ClientProtocol(parse_uri("ws://localhost/"))
    client.send_request(client.connect())
    [request] = client.data_to_send()
    core = Core()
    core.receive_data(request)
    [event] = core.events_received()
    core.send_response(core.accept(event))
    assert core.take(masked(Frame(Opcode.TEXT, b"hi"))) == [b"hi"]


@st.composite
def any_frame(draw: st.DrawFn) -> bytes:
    """Mostly good; some lie about their length, break a rule, are not masked, or are no frame at all."""
    body = draw(st.binary(max_size=20) | st.binary(min_size=120, max_size=135) | st.binary(min_size=290, max_size=310))
    opcode, fin = draw(st.sampled_from([1, 1, 1, 0, 2, 9, 10])), draw(st.sampled_from([True, True, False]))
    good = raw.masked(body, opcode, fin=fin)
    size = draw(st.sampled_from([None, 3, 2**40]))
    odd = raw.masked(body, draw(st.integers(0, 15)), rsv=draw(st.integers(0, 7)), size=size)
    bare = Frame(Opcode.TEXT, body).serialize(mask=False)
    return draw(st.sampled_from([good, good, good, good, odd, bare, body]))


def outcome(core: Core, events: list[Any]) -> Any:
    """What came, the code that it was closed with, and whether the end was said."""
    came = [(1, one, True) if isinstance(one, bytes) else (one.opcode, bytes(one.data), one.fin) for one in events]
    return came, core.close_sent.code if core.close_sent else None, core.eof_sent


@given(st.lists(any_frame(), max_size=8), st.lists(st.integers(1, 400), min_size=1, max_size=6))
@example([raw.masked(b"x" * 126)], [3])
@example([raw.masked(b"x", size=2**62)], [1])
@example([raw.masked(b"", 8), raw.masked(b"late")], [5])
@settings(max_examples=150, deadline=None, derandomize=True)
def test_whatever_comes_however_it_is_cut_the_outcome_is_the_parsers(parts: list[bytes], cuts: list[int]) -> None:
    data, at, found = b"".join(parts), 0, []
    ours, parser = Core(state=OPEN, max_size=300), Core(state=OPEN, max_size=300)
    while at < len(data):
        size = cuts[at % len(cuts)]
        found += ours.take(data[at : at + size])
        at += size
    parser.receive_data(data)
    assert outcome(ours, found) == outcome(parser, parser.events_received())
