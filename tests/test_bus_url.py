"""All connections of the bus read the URL in the same way: names and passwords, databases, TLS."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.bus import Bus
from tests import certificate
from tests.valkey import Valkey

PASSWORD = "p@ss/word:%"
QUOTED = "p%40ss%2Fword%3A%25"


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    """Knows `ann`, who may do all, `bob`, who must not ask for INFO, and `eve`, who has no channels."""
    users = (
        *("--user", "default", "off"),
        *("--user", "ann", "on", f">{PASSWORD}", "~*", "&*", "+@all"),
        *("--user", "bob", "on", f">{PASSWORD}", "~*", "&*", "+@all", "-info"),
        *("--user", "eve", "on", f">{PASSWORD}", "~*", "&onesocket:0/heard", "&onesocket:0:*", "+@all"),
    )
    valkey = Valkey(tmp_path / "valkey", *users)
    await valkey.start()
    yield valkey
    valkey.kill()


async def hears(bus: Bus) -> bool:
    """Whether everything works."""
    heard: list[tuple[bytes, bytes]] = []
    bus.on_topic = lambda topic, message: heard.append((topic, message))
    await bus.start()
    try:
        bus.follow([b"heard"])
        if not (await bus.settled() and await bus.keep("key", b"x", 5)):
            return False
        bus.publish_soon(b"heard", b"x")
        async with asyncio.timeout(2):
            while not heard:
                await asyncio.sleep(0.005)
        return True
    finally:
        await bus.stop()


@pytest.mark.parametrize("name", ["ann", "bob", "eve"])
async def test_a_name_and_a_password(valkey: Valkey, name: str) -> None:
    assert await hears(Bus(f"redis://{name}:{QUOTED}@127.0.0.1:{valkey.port}/0"))


async def test_a_wrong_password_is_an_absence_and_stays_out_of_the_log(
    valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    bus = Bus(f"redis://ann:wrong-secret@127.0.0.1:{valkey.port}/0")
    assert not await hears(bus)
    assert "secret" not in caplog.text
    assert PASSWORD not in repr(Bus(f"redis://ann:{QUOTED}@127.0.0.1:{valkey.port}")._address)


async def test_a_forbidden_channel_is_an_absence_that_is_told(valkey: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus(f"redis://eve:{QUOTED}@127.0.0.1:{valkey.port}/0")
    await bus.start()
    assert bus.alive
    bus.publish_soon(b"other", b"x")
    async with asyncio.timeout(2):
        while bus.alive:
            await asyncio.sleep(0.005)
    assert "NOPERM" in caplog.text
    await bus.stop()


async def test_a_database_of_its_own(valkey: Valkey) -> None:
    urls = [f"redis://ann:{QUOTED}@127.0.0.1:{valkey.port}/{number}" for number in (5, 6)]
    five, six = map(Bus, urls)
    for bus in (five, six):
        await bus.start()
    await five.beat("five")
    await six.beat("six")
    assert (five.others, six.others) == (0, 0)
    assert await five.keep("key", b"x", 5)
    assert (await five.kept("key"), await six.kept("key")) == ({"key": b"x"}, {})
    for bus in (five, six):
        await bus.stop()


@contextlib.asynccontextmanager
async def tls(port: int, folder: Path) -> AsyncIterator[int]:
    """Speaks TLS for a server that does not; its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate.write(folder, "localhost"))
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        tasks.update((asyncio.create_task(pump(reader, outer)), asyncio.create_task(pump(inner, writer))))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_tls_with_a_certificate_that_is_checked(valkey: Valkey, tmp_path: Path) -> None:
    async with tls(valkey.port, tmp_path) as port:
        place = f"rediss://ann:{QUOTED}@127.0.0.1:{port}/0"
        assert await hears(Bus(f"{place}?ssl_ca_certs={tmp_path / 'cert.pem'}"))
        assert not await hears(Bus(place))


def test_another_kind_of_url_is_refused() -> None:
    with pytest.raises(ValueError, match="redis://"):
        Bus("http://127.0.0.1")
