"""gateway: what a socket does with frames, good ones and bombs. (Limits, HTTP, TLS, draining: test_gateway_*.py.)"""

import asyncio
import zlib
from collections.abc import AsyncIterator

import pytest

from protocol.session import SessionClose, SessionOpen, SessionPing
from server import Server
from tests.conftest import Dial, Person
from tests.echo import Listening, echoing
from tests.raw import BINARY, CLOSE, PING, PONG, TEXT, Frame, Raw, masked, until


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    async with echoing() as one:
        yield one


async def test_a_message_comes_back_as_it_was_sent(listening: Listening) -> None:
    raw = await listening.raw()
    for body in (b"", b"a", b"b" * 125, b"c" * 126, "déjà vu ☃".encode()):
        raw.say(body)
        assert await raw.text() == body


async def test_a_message_may_come_byte_by_byte(listening: Listening) -> None:
    raw = await listening.raw()
    for byte in masked(b"slowly"):
        raw.send(bytes((byte,)))
        await asyncio.sleep(0)
    assert await raw.text() == b"slowly"


async def test_large_messages_have_the_right_length_field(listening: Listening) -> None:
    raw = await listening.raw()
    for size in (126, 65535, 65536, 300_000):
        raw.say(b"more:%d" % size)
        assert await raw.text() == b"." * size


async def test_fragments_and_control_frames_between_them_are_answered_in_order(listening: Listening) -> None:
    raw = await listening.raw()
    raw.send(
        masked(b"one ", fin=False)
        + masked(b"first", PING)
        + masked(b"two ", 0, fin=False)
        + masked(b"", 0, fin=False)
        + masked(b"three", 0)
        + masked(b"second", PING)
        + masked(b"four")
    )
    found = [await raw.frame() for _ in range(4)]
    assert found == [(PONG, b"first"), (TEXT, b"one two three"), (PONG, b"second"), (TEXT, b"four")]


async def test_a_close_is_answered_with_its_code_after_what_was_asked_before(listening: Listening) -> None:
    raw = await listening.raw()
    raw.send(masked(b"last words") + masked(b"\x0b\xb8bye", CLOSE))
    assert await raw.text() == b"last words"
    assert await raw.frame() == Frame(CLOSE, b"\x0b\xb8bye")
    assert await raw.over() == b""


async def test_a_close_in_the_middle_of_a_message_is_a_close(listening: Listening) -> None:
    raw = await listening.raw()
    raw.send(masked(b"half a", fin=False) + masked(b"", CLOSE) + masked(b" message", 0))
    assert await raw.closed() == 1000


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (masked(b"", 3), 1002),
        (masked(b"", 0), 1002),
        (masked(b"x", rsv=4), 1002),
        (masked(b"x", PING, fin=False), 1002),
        (masked(b"x" * 126, PING), 1002),
        (masked(b"x", CLOSE), 1002),
        (masked(b"\x03\xec", CLOSE), 1002),
        (masked(b"x", fin=False) + masked(b"y"), 1002),
        (b"\x81\x01x", 1002),
        (masked(b"\xff"), 1007),
        (masked("☃".encode()[:2]), 1007),
        (masked(b"\xed\xa0\x80"), 1007),
        (masked(b"ok", fin=False) + masked(b"\xc0\x80", 0, fin=False), 1007),
        (masked(b"\x03\xe8\xff", CLOSE), 1007),
        (masked(b"", size=4097), 1009),
        (masked(b"", size=1 << 63 - 1), 1009),
        (masked(b"", BINARY, size=5000), 1009),
        (masked(b"x" * 4000, fin=False) + masked(b"y" * 97, 0), 1009),
    ],
)
async def test_bytes_against_the_protocol_close_with_the_code_for_it(
    listening: Listening, data: bytes, code: int
) -> None:
    raw = await listening.raw()
    raw.send(data)
    assert await raw.closed() == code
    await until(lambda: not listening.gateway.sockets)
    assert listening.gateway.closes == {code: 1}


async def test_text_split_inside_a_character_is_good(listening: Listening) -> None:
    raw = await listening.raw()
    snow = "☃".encode()
    raw.send(masked(snow[:1], fin=False) + masked(snow[1:2], 0, fin=False) + masked(snow[2:], 0))
    assert await raw.text() == snow


async def test_who_announces_too_large_a_frame_and_keeps_sending_still_reads_why(listening: Listening) -> None:
    """A reset in answer to unread bytes would destroy the close frame."""
    for _ in range(5):
        raw = await listening.raw()
        raw.send(masked(b"", size=16 << 20))
        raw.send(b"x" * (4 << 20))
        assert await raw.closed() == 1009


async def test_a_socket_may_send_4_kib_before_its_login_and_64_kib_after(listening: Listening) -> None:
    raw = await listening.raw()
    raw.say(b"a" * 4096)
    assert await raw.text() == b"a" * 4096
    raw.say(b"login")
    assert await raw.text() == b"login"
    raw.say(b"b" * 65536)
    assert await raw.text() == b"b" * 65536
    raw.say(b"", size=65537)
    assert await raw.closed() == 1009


async def test_a_logout_brings_the_small_limit_back(server: Server, ann: Person, dial: Dial) -> None:
    raw = await dial(server)
    long = b'{"op":"session.ping","id":7,"x":"%b"}' % (b"y" * 5000)
    raw.ask(SessionOpen(token=ann.tokens_given.access))
    assert "ok" in await raw.json()
    raw.say(long)
    assert (await raw.json())["error"]["code"] == "invalid"
    raw.ask(SessionClose())
    assert "ok" in await raw.json()
    raw.say(long)
    assert await raw.closed() == 1009


async def test_frames_behind_the_handshake_in_the_same_packet_are_read_after_it(listening: Listening) -> None:
    raw = await Raw.connect(listening.port)
    request = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    request += b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    raw.send(request + masked(b"early", PING) + masked(b"bird"))
    assert (await raw.reply()).status == 101
    assert [await raw.frame() for _ in range(3)] == [(TEXT, b"hello"), (PONG, b"early"), (TEXT, b"bird")]


async def test_the_replies_of_one_packet_leave_in_one(listening: Listening) -> None:
    raw = await listening.raw()
    raw.send(b"".join(masked(b"%d" % number) for number in range(50)))
    first = await raw.reader.read(65536)
    assert first.count(b"\x81") == 50, "one read has them all"


async def test_what_is_sent_within_one_turn_of_the_loop_leaves_in_one_write(listening: Listening) -> None:
    raws = [await listening.raw() for _ in range(3)]
    for number in range(40):
        for one in listening.conversations:
            one.socket.send(b"%d" % number)
    for raw in raws:
        data = await raw.reader.read(65536)
        assert data.count(b"\x81") == 40


async def test_compression_is_not_negotiated_unless_the_operator_wants_it(listening: Listening) -> None:
    raw = await Raw.connect(listening.port)
    reply = await raw.upgrade("/", ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"))
    assert reply.status == 101
    assert "Sec-WebSocket-Extensions" not in reply.headers


async def test_a_compressed_bomb_is_refused_at_the_size_of_any_other_frame() -> None:
    async with echoing(compression=True) as listening:
        raw = await Raw.connect(listening.port)
        reply = await raw.upgrade("/", ("Sec-WebSocket-Extensions", "permessage-deflate"))
        assert reply.headers["Sec-WebSocket-Extensions"] == "permessage-deflate"
        assert await raw.text() == b"hello"
        squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = squeeze.compress(b"\0" * (4 << 20)) + squeeze.flush(zlib.Z_SYNC_FLUSH)
        assert len(bomb) < 4300
        raw.say(bomb[:4000], rsv=4)
        assert await raw.closed() == 1009


async def test_with_compression_on_a_request_and_a_close_in_one_packet_are_both_answered() -> None:
    async with echoing(compression=True) as listening:
        raw = await Raw.connect(listening.port)
        await raw.upgrade("/", ("Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover"))
        assert await raw.text() == b"hello"
        raw.send(masked(b"last words") + masked(b"\x03\xe8", CLOSE))
        data = await raw.over()
        assert data[0] == 0xC1
        body = data[2 : 2 + data[1]]
        assert zlib.decompressobj(-15).decompress(body + b"\x00\x00\xff\xff") == b"last words"
        assert data[2 + data[1] :] == b"\x88\x02\x03\xe8"


# Bombs for the decoder behind the socket

BOMBS = {
    b"": 4400,
    b"x": 4400,
    b"{": 4400,
    b'{"op":"session.ping","id":1}}': 4400,
    b'{"op":"session.ping","id":NaN}': 4400,
    b'{"op":"session.ping","id":Infinity}': 4400,
    b'{"op":"session.ping","id":01}': 4400,
    b'{"op":"session.ping","\xff":1}': 1007,
    b'{"op":' * 600: 4400,
}

NESTED = {
    b"[" * 65536: 0,
    b'{"op":"session.ping","id":' + b"[" * 65000: 0,
    b'{"op":"session.ping","id":1,"x":' + b"[" * 65000: 0,
    b'{"x":' + b"[" * 65000: 4400,
    b'{"x":' + b'{"a":' * 12000: 4400,
    b'{"x":' + b"[" * 30000 + b"]" * 30000 + b',"op":"session.ping","id":7}': 4400,
}


async def test_what_cannot_be_read_closes_with_a_code(server: Server, stranger: Person, dial: Dial) -> None:
    for body, code in BOMBS.items():
        raw = await dial(server)
        raw.say(body)
        assert await raw.closed() == code, body
    await stranger.call(SessionPing())


async def test_nesting_without_end_is_refused_at_any_place_and_size(server: Server, ann: Person, dial: Dial) -> None:
    for body, code in NESTED.items():
        raw = await dial(server)
        raw.ask(SessionOpen(token=ann.tokens_given.access))
        assert "ok" in await raw.json()
        raw.say(body)
        if code:
            assert await raw.closed() == code
        else:
            assert (await raw.json())["error"]["code"] == "invalid"


ODD = {
    b'{"op":"session.ping","id":123456789012345678901234567890}': (0, "invalid"),
    b'{"op":"session.ping","id":1e999}': (0, "invalid"),
    b'{"op":"session.ping","id":-1}': (0, "invalid"),
    b'{"op":"session.ping","id":1.5}': (0, "invalid"),
    b'{"op":"session.ping","id":"1"}': (0, "invalid"),
    b'{"op":"session.ping","id":5,"id":6}': (6, None),
    b'{"op":"session.nothing","op":"session.ping","id":8}': (8, "invalid"),
    b'{"op":"session.ping","id":9,"extra":1}': (9, "invalid"),
    b'{"op":"session.fly","id":10}': (10, "invalid"),
    b'{"op":7,"id":11}': (11, "invalid"),
    b'{"id":12}': (12, "invalid"),
    b'[{"op":"session.ping"}]': (0, "invalid"),
    b'"session.ping"': (0, "invalid"),
    b"null": (0, "invalid"),
    b"17": (0, "invalid"),
    b'{"op":"account.login","id":13,"login":"a\\u0000b","password":"x"}': (13, "invalid"),
    b'{"op":"account.login","id":14,"login":7,"password":"x"}': (14, "invalid"),
    b' \r\n\t{"op":"session.ping","id":15}\n': (15, None),
}


async def test_what_can_be_read_and_is_wrong_is_answered_and_the_socket_lives(server: Server, dial: Dial) -> None:
    raw = await dial(server)
    for body, (number, code) in ODD.items():
        raw.say(body)
        reply = await raw.json()
        assert reply["re"] == number, body
        assert reply.get("error", {}).get("code") == code, body


async def test_a_lone_surrogate_is_not_text(server: Server, dial: Dial) -> None:
    raw = await dial(server)
    raw.say(b'{"op":"account.login","id":1,"login":"\\ud800","password":"x"}')
    assert await raw.closed() == 4400
