"""fuzz: twenty thousand frames on one socket. Each gets one reply or a close with a code; nothing fails, nothing leaks.

What closes the socket is sent alone, and a new socket takes its place, so that it is known which frame it was.
"""

import gc
import itertools
import json
import logging
import re
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from msgspec import inspect

from protocol.account import AccountRegister, Tokens
from protocol.client import Client
from protocol.codec import encode
from protocol.device import DeviceList
from protocol.session import SessionOpen, SessionPing
from server import Server
from server.handlers import collect
from server.router import Op
from tests.conftest import Starter
from tests.raw import BINARY, CLOSE, PING, PONG, TEXT, Frame, Raw, masked
from tests.wild import Wild

STRUCTURED, MANGLED, BATCH = 18_600, 1_500, 60
CODES = {1002, 1003, 1007, 1009, 4400, 4401}


def resident() -> int:
    """Bytes of memory in use by this process: server and test."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


class Fuzzer:
    """A logged-in socket, again and again."""

    raw: Raw

    def __init__(self, server: Server, wild: Wild) -> None:
        self._server, self._wild, self._numbers = server, wild, itertools.count(1)
        self.said: Counter[str] = Counter()
        self.closed: Counter[int] = Counter()

    async def login(self) -> None:
        """A new account on a new socket."""
        async with Client(self._server.url, reconnect=False, headers=dict([self._address()])) as client:
            frame = AccountRegister(username=f"fuzz{next(self._numbers)}", password="correct horse battery")
            self._tokens: Tokens = await client.call(frame)
            await client.open(self._tokens)
            devices = (await client.call(DeviceList())).devices
        self._wild.known = [self._tokens.account, *(one.id for one in devices)]
        await self.connect()

    async def connect(self) -> None:
        """A socket, logged in while its login lasts."""
        self.raw = await Raw.connect(self._server.port, limit=1 << 22)
        assert (await self.raw.upgrade("/", self._address())).status == 101
        await self.raw.text()
        self.raw.ask(SessionOpen(token=self._tokens.access))
        if "ok" not in await self.raw.json():
            self.raw.abort()
            await self.login()

    def _address(self) -> tuple[str, str]:
        """Another one each time: one alone would soon be shut out."""
        return "X-Forwarded-For", str(IPv4Address(0x0A000000 + next(self._numbers)))

    async def batch(self, frames: list[bytes]) -> None:
        """Frames that are JSON: as many replies."""
        self.raw.send(b"".join(masked(one) for one in frames))
        for at in range(len(frames)):
            await self._reply(frames, at)
        self.raw.say(b'{"op":"device.list","id":123456789}')
        if b'"ok":' not in (await self.answer()).body:
            self.raw.abort()
            await self.login()

    async def answer(self) -> Frame:
        """The next frame that is no event."""
        one = await self.raw.frame(timeout=20)
        while one.opcode == TEXT and one.body.startswith(b'{"ev":'):
            one = await self.raw.frame(timeout=20)
        return one

    async def _reply(self, frames: list[bytes], at: int) -> None:
        one = await self.answer()
        assert one.opcode == TEXT, (one, frames[max(0, at - 40) : at + 1])
        self._note(json.loads(one.body), one.body)

    def _note(self, reply: dict[str, object], body: bytes) -> None:
        assert reply.keys() in ({"re", "ok"}, {"re", "error"}), body
        error = reply.get("error")
        code = error["code"] if isinstance(error, dict) else "ok"
        assert code != "internal", body
        self.said[code] += 1

    async def alone(self, frame: bytes) -> None:
        """Any bytes: a reply, or a close with a code."""
        self.raw.send(frame)
        one = await self.answer()
        while one.opcode == PONG:
            one = await self.answer()
        if one.opcode == TEXT:
            self._note(json.loads(one.body), one.body)
            return
        code = int.from_bytes(one.body[:2], "big")
        assert (one.opcode, code in CODES) == (CLOSE, True), (one, frame)
        self.closed[code] += 1
        self.raw.abort()
        await self.connect()


@pytest.fixture
async def fuzzed(start: Starter) -> AsyncIterator[Server]:
    yield await start(
        frames_per_second=10**6,
        frames_in_burst=10**6,
        frame_bytes_before_login=65536,
        requests_in_flight=64,
        trusted_proxies=["127.0.0.0/8"],
    )


def ops(server: Server) -> list[Op]:
    """All ops of a server."""
    return list(server.router.ops.values())


def fitting(wild: Wild, number: int, limit: int) -> bytes:
    """A frame that is not too large: with those it is not about what stands in them."""
    frame = wild.structured(number)
    while len(frame) > limit:
        frame = wild.structured(number)
    return frame


@pytest.mark.timeout(300)
async def test_twenty_thousand_frames_get_a_reply_or_a_code(fuzzed: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    wild = Wild(20_240_607, (one.frame for one in ops(fuzzed)))
    fuzzer = Fuzzer(fuzzed, wild)
    await fuzzer.login()
    before = 0
    for batch in range(STRUCTURED // BATCH):
        await fuzzer.batch([fitting(wild, number, fuzzed.config.frame_bytes) for number in range(BATCH)])
        for number in range(MANGLED // (STRUCTURED // BATCH) + 1):
            await fuzzer.alone(masked(wild.mangled(number)))
        if batch == STRUCTURED // BATCH // 4:
            before = resident()
    grown = resident() - before
    fuzzer.raw.ask(SessionPing(id=1))
    assert b'"ok":' in (await fuzzer.answer()).body
    assert fuzzer.said.total() + fuzzer.closed.total() >= 20_000
    assert grown < 20 << 20
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    untouched = [one.name for one in ops(fuzzed) if not one.metric.ok and not one.metric.refusals]
    assert untouched == [], "every op was called"
    assert {"ok", "invalid", "missing", "conflict", "unauthenticated"} <= fuzzer.said.keys()
    assert {4400, 1007} <= fuzzer.closed.keys()


def verdict(opcode: int, rsv: int, fin: bool, body: bytes) -> int:
    """What RFC 6455 and our own rules say of a frame: the code that it closes with, 0 if it lives on."""
    control = opcode >= 8
    if rsv or opcode not in (TEXT, BINARY, CLOSE, PING, PONG) or (control and (not fin or len(body) > 125)):
        return 1002
    if opcode == CLOSE:
        return {b"": 1005, b"\x03\xe8": 1000}.get(body, 1002)
    return {b"": 4400, b"\x03\xe8": 1007, b"\xff" * 130: 1007}.get(body, 0) if opcode == TEXT else 0


async def test_frames_of_every_shape_get_what_the_standard_says(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    question, answer = encode(SessionPing(id=5)), b'{"re":99,'
    for opcode, rsv, fin in itertools.product(range(16), range(8), (True, False)):
        for body in (b"", b"\x03\xe8", question, b"\xff" * 130):
            raw = await Raw.connect(server.port)
            await raw.upgrade()
            raw.send(masked(body, opcode, fin=fin, rsv=rsv) + (b"" if fin else masked(b"", 0)))
            raw.ask(SessionPing(id=99))
            one = await raw.frame()
            while one.opcode != CLOSE and not one.body.startswith(answer):
                one = await raw.frame()
            code = int.from_bytes(one.body[:2] or b"\x03\xed", "big") if one.opcode == CLOSE else 0
            assert code == verdict(opcode, rsv, fin, body), (opcode, rsv, fin, body)
            raw.abort()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def patterns(kinds: Iterable[inspect.Type]) -> Iterator[str]:
    """Every pattern that some field of some request is checked with."""
    for kind in kinds:
        match kind:
            case inspect.StrType(pattern=str(pattern)):
                yield pattern
            case inspect.StructType(fields=fields):
                yield from patterns(field.type for field in fields)
            case inspect.Metadata(type=inner) | inspect.ListType(item_type=inner):
                yield from patterns([inner])
            case inspect.UnionType(types=types):
                yield from patterns(types)


def test_no_pattern_takes_long_whatever_it_is_given() -> None:
    declared: list[Op] = [vars(handler)["__op__"] for handler in collect()]
    found = set(patterns(inspect.type_info(one.frame) for one in declared))
    assert len(found) > 8
    parts = ["a", "a-", "a.", "a@", "@", "-", " ", "0", "A", "é", "en-", "\n", "*", "a_.", "https://a/", "\u2028"]
    for pattern in found:
        compiled = re.compile(pattern)
        for start, part, end in itertools.product(("", "a"), parts, ("", "\x00")):
            text = start + part * (65536 // len(part)) + end
            took = []
            for _ in range(5):  # CPU time: the machine may have other things to do
                started = time.thread_time()
                compiled.search(text)
                took.append(time.thread_time() - started)
                if took[-1] < 0.01:
                    break
            assert min(took) < 0.02, (pattern, text[:20], took)
