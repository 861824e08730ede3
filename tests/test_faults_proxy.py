"""The proxy that breaks networks does to a connection what it says, and nothing else."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.proxy import Link

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that says everything back, and counts what it got."""

    def __init__(self) -> None:
        self.got = b""
        self.connections = 0
        self.ended = 0
        self.changed = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while data := await reader.read(65536):
                self.got += data
                self.changed.set()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.ended += 1
            self.changed.set()
            writer.close()

    async def until(self, size: int) -> None:
        async with asyncio.timeout(5):
            while len(self.got) < size:
                self.changed.clear()
                await self.changed.wait()

    async def until_ended(self, count: int) -> None:
        async with asyncio.timeout(5):
            while self.ended < count:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def link(echo: Echo) -> AsyncIterator[Link]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with Link(server.sockets[0].getsockname()[:2]) as one:
        yield one
    server.close()


async def dial(link: Link) -> Streams:
    return await asyncio.open_connection("127.0.0.1", link.port)


async def nothing_comes(reader: asyncio.StreamReader, seconds: float = 0.15) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), seconds)


async def said_back(streams: Streams, data: bytes) -> bytes:
    reader, writer = streams
    writer.write(data)
    async with asyncio.timeout(10):
        return await reader.readexactly(len(data))


async def is_reset(reader: asyncio.StreamReader) -> None:
    with pytest.raises(ConnectionResetError):
        async with asyncio.timeout(5):
            while await reader.read(65536):
                pass


async def test_everything_passes_unchanged(link: Link) -> None:
    data = os.urandom(3_000_000)
    assert await said_back(await dial(link), data) == data
    assert link.passed == 2 * len(data)


async def test_the_target_may_be_a_unix_socket() -> None:
    path = Path(tempfile.mkdtemp()) / "echo"
    server = await asyncio.start_unix_server(Echo(), path)
    async with Link(path) as link:
        assert await said_back(await dial(link), b"hello") == b"hello"
    server.close()


async def test_an_end_is_passed_on_both_ways(link: Link, echo: Echo) -> None:
    _, writer = await dial(link)
    writer.write(b"x")
    await echo.until(1)
    writer.close()
    await echo.until_ended(1)


async def test_a_delay_counts_each_way_and_keeps_the_order(link: Link) -> None:
    link.delay(0.05)
    reader, writer = await dial(link)
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number in range(50):
        writer.write(b"%03d " % number)
        await asyncio.sleep(0)
    data = await reader.readexactly(200)
    assert [int(word) for word in data.split()] == list(range(50))
    assert 0.1 <= loop.time() - started < 1


async def test_a_throttled_link_takes_as_long_as_its_rate_says(link: Link) -> None:
    link.throttle(100_000)
    loop = asyncio.get_running_loop()
    streams, started = await dial(link), loop.time()
    data = os.urandom(30_000)
    assert await said_back(streams, data) == data
    assert loop.time() - started >= 0.28


async def test_what_is_held_passes_after_healing(link: Link, echo: Echo) -> None:
    streams = await dial(link)
    assert await said_back(streams, b"before") == b"before"
    link.hold()
    streams[1].write(b"during")
    await nothing_comes(streams[0])
    assert echo.got == b"before"
    link.heal()
    async with asyncio.timeout(5):
        assert await streams[0].readexactly(6) == b"during"


async def test_a_held_link_stops_reading_instead_of_growing(link: Link) -> None:
    streams = await dial(link)
    assert await said_back(streams, b"before") == b"before"
    link.hold()
    data = os.urandom(16 << 20)
    streams[1].write(data)
    await nothing_comes(streams[0])
    assert streams[1].transport.get_write_buffer_size() > 4 << 20
    link.heal()
    async with asyncio.timeout(10):
        assert await streams[0].readexactly(len(data)) == data


async def test_a_blackhole_takes_connections_and_swallows_what_comes(link: Link, echo: Echo) -> None:
    old = await dial(link)
    assert await said_back(old, b"before") == b"before"
    link.blackhole()
    new = await dial(link)
    for streams in (old, new):
        streams[1].write(b"lost")
        await nothing_comes(streams[0])
    link.heal()
    for streams in (old, new):
        await is_reset(streams[0])
    assert echo.got == b"before"


async def test_a_connection_that_lost_nothing_survives_a_blackhole(link: Link) -> None:
    streams = await dial(link)
    assert await said_back(streams, b"before") == b"before"
    link.blackhole()
    await nothing_comes(streams[0])
    link.heal()
    assert await said_back(streams, b"after") == b"after"


async def test_a_refusing_link_resets_what_is_and_what_comes(link: Link, echo: Echo) -> None:
    streams = await dial(link)
    assert await said_back(streams, b"x") == b"x"
    link.refuse()
    await is_reset(streams[0])
    reader, _ = await dial(link)
    await is_reset(reader)
    await echo.until_ended(1)
    link.heal()
    assert await said_back(await dial(link), b"back") == b"back"
    assert echo.connections == 2


async def test_half_open_means_that_only_the_server_knows(link: Link, echo: Echo) -> None:
    streams = await dial(link)
    assert await said_back(streams, b"x") == b"x"
    link.half_open()
    await echo.until_ended(1)
    streams[1].write(b"to nobody")
    await nothing_comes(streams[0])
    assert echo.got == b"x"
    link.heal()
    await is_reset(streams[0])


async def test_a_cut_lets_exactly_so_many_bytes_through(link: Link, echo: Echo) -> None:
    link.cut_after(10)
    reader, writer = await dial(link)
    writer.write(b"0123456789abcdef")
    async with asyncio.timeout(5):
        assert await reader.readexactly(10) == b"0123456789"
    await is_reset(reader)
    assert echo.got == b"0123456789abcdef"


async def test_a_cut_on_the_way_up_keeps_the_rest_from_the_server(link: Link, echo: Echo) -> None:
    reader, writer = await dial(link)
    assert await said_back((reader, writer), b"whole") == b"whole"
    link.cut_after(3, "up")
    writer.write(b"0123456789")
    await is_reset(reader)
    await echo.until_ended(1)
    assert echo.got == b"whole012"


async def test_a_target_that_is_not_there_resets(link: Link) -> None:
    link.target = ("127.0.0.1", 1)
    reader, _ = await dial(link)
    await is_reset(reader)
