"""gateway: TLS and its certificates, Unix sockets, and several servers on one port."""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from protocol.client import Client
from protocol.session import SessionPing
from server.config import ConfigError
from tests import certificate
from tests.conftest import Starter
from tests.echo import HELLO, Listening, echoing
from tests.raw import Raw, head, masked, until


def trusting(folder: Path) -> ssl.SSLContext:
    """A client that believes the certificate in a folder."""
    return ssl.create_default_context(cafile=str(folder / "cert.pem"))


@pytest.fixture
async def secure(folder: Path) -> AsyncIterator[Listening]:
    certificate_file, key_file = certificate.write(folder, "first")
    async with echoing(tls_certificate=certificate_file, tls_key=key_file, handshake_timeout=1) as listening:
        yield listening


def shown(raw: Raw) -> str:
    """The name in the certificate that a connection was given."""
    subject = raw.writer.get_extra_info("peercert")["subject"]
    return str(subject[0][0][1])


async def test_clients_come_in_over_tls(start: Starter, folder: Path) -> None:
    certificate_file, key_file = certificate.write(folder, "first")
    server = await start(tls_certificate=certificate_file, tls_key=key_file)
    assert server.url == f"wss://127.0.0.1:{server.port}"
    async with Client(server.url, ssl=trusting(folder), reconnect=False) as client:
        await client.call(SessionPing())
        (one,) = server.gateway.sockets
        assert one.secure
        with pytest.raises(ssl.SSLCertVerificationError):
            await Client(server.url, ssl=ssl.create_default_context(), reconnect=False).__aenter__()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_tls_of_today_is_spoken(secure: Listening, folder: Path, version: str) -> None:
    context = trusting(folder)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    await secure.raw(ssl=context)


async def test_old_versions_of_tls_are_refused(secure: Listening, folder: Path) -> None:
    context = trusting(folder)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await secure.raw(ssl=context)


async def test_a_new_certificate_is_shown_to_who_comes_and_nobody_is_dropped(secure: Listening, folder: Path) -> None:
    first = await secure.raw(ssl=trusting(folder))
    certificate.write(folder, "second")
    secure.gateway.reload_certificate()
    second = await secure.raw(ssl=trusting(folder))
    assert (shown(first), shown(second)) == ("first", "second")
    for raw in (first, second):
        raw.say(b"still here")
        assert await raw.text() == b"still here"
    certificate.write(folder, "third")
    secure.gateway.reload_certificate()
    assert shown(await secure.raw(ssl=trusting(folder))) == "third"


@pytest.mark.parametrize("broken", ["certificate", "key", "key of another", "missing", "key with a password"])
async def test_a_broken_certificate_is_told_and_the_old_one_stays(
    secure: Listening, folder: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    context, kept = trusting(folder), (folder / "cert.pem").read_bytes()
    certificate.write(folder, "second", password=b"secret" if broken == "key with a password" else None)
    if broken == "certificate":
        (folder / "cert.pem").write_text("nonsense")
    elif broken == "key":
        (folder / "key.pem").write_text("nonsense")
    elif broken == "key of another":
        (folder / "cert.pem").write_bytes(kept)
    elif broken == "missing":
        (folder / "cert.pem").unlink()
    secure.gateway.reload_certificate()
    assert "the old one stays" in caplog.text
    assert "Traceback" not in caplog.text
    assert shown(await secure.raw(ssl=context)) == "first"


async def test_a_certificate_that_cannot_be_used_at_start_is_told_as_a_setting(start: Starter, folder: Path) -> None:
    (folder / "cert.pem").write_text("nonsense")
    with pytest.raises(ConfigError, match="tls_certificate"):
        await start(tls_certificate=folder / "cert.pem")


async def test_a_reload_without_tls_does_nothing() -> None:
    async with echoing() as listening:
        listening.gateway.reload_certificate()
        await listening.raw()


async def test_garbage_and_slow_handshakes_on_the_tls_port_end_soon_and_quietly(
    secure: Listening, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    plain, silent, slow = [await Raw.connect(secure.port) for _ in range(3)]
    started = time.perf_counter()
    plain.send(head("GET", "/", [("Host", "localhost")]))
    slow.send(b"\x16\x03\x01\x02\x00\x01")
    assert b"HTTP" not in await plain.over()
    await asyncio.gather(silent.over(), slow.over())
    assert time.perf_counter() - started < 4
    await until(lambda: not secure.gateway.sockets)
    assert caplog.text == ""
    await secure.raw(ssl=trusting(folder))


async def test_over_tls_too_large_a_frame_and_a_flood_are_told_before_the_end(secure: Listening, folder: Path) -> None:
    for data, code in (
        (masked(b"", size=16 << 20) + b"x" * (1 << 20), 1009),
        (masked(b"\xff") + masked(b"x") * 1000, 1007),
        (masked(b"x") * 20_000, 4429),
    ):
        raw = await secure.raw(ssl=trusting(folder))
        raw.send(data)
        assert await raw.closed() == code
    await until(lambda: not secure.gateway.sockets)


async def test_over_tls_who_does_not_read_is_closed(folder: Path) -> None:
    certificate_file, key_file = certificate.write(folder, "first")
    settings: dict[str, Any] = {"write_buffer_bytes": 1 << 18, "write_timeout": 1}
    async with echoing(tls_certificate=certificate_file, tls_key=key_file, **settings) as listening:
        raw = await listening.raw(ssl=trusting(folder), limit=1024)
        (held,) = listening.gateway.sockets
        for _ in range(200):
            held.send(b"x" * 65536)
            await asyncio.sleep(0)
        await until(lambda: held.close_code == 4503)
        await until(lambda: not listening.gateway.sockets, timeout=12)
        raw.abort()


# Unix sockets


async def test_a_unix_socket_takes_the_place_of_a_port(start: Starter, folder: Path) -> None:
    path = folder / "one.sock"
    path.write_text("left behind by a crash")
    server = await start(unix_socket=path)
    assert (server.url, server.port) == (f"unix:{path}", 0)
    assert path.stat().st_mode & 0o777 == 0o660
    async with Client("ws://localhost/", unix_socket=path, reconnect=False) as client:
        await client.call(SessionPing())
        (one,) = server.gateway.sockets
        assert one.address == "unix"
    await server.gateway.stop_listening()
    await server.gateway.close(4503, "bye")
    assert not path.exists()


async def test_a_proxy_on_a_unix_socket_names_its_clients(folder: Path) -> None:
    path = folder / "one.sock"
    async with echoing(unix_socket=path, pending_per_address=1) as listening:
        first = await listening.raw(("X-Forwarded-For", "1.2.3.4"), unix=str(path))
        assert listening.conversations[0].socket.address == "1.2.3.4"
        second = await listening.raw(("X-Forwarded-For", "1.2.3.5"), unix=str(path))
        third = await Raw.connect(0, unix=str(path))
        assert (await third.upgrade("/", ("X-Forwarded-For", "1.2.3.4"))).status == 429
        for raw in (first, second):
            raw.say(b"here")
            assert await raw.text() == b"here"


# One port


async def test_two_servers_share_a_port_and_one_may_leave(folder: Path) -> None:
    async with echoing() as first:
        async with echoing(port=first.port) as second:
            raws = []
            while not (first.gateway.sockets and second.gateway.sockets):
                raws.append(await first.raw())
                assert len(raws) < 100
        for _ in range(10):
            raw = await Raw.connect(first.port)
            assert (await raw.upgrade()).status == 101
            assert await raw.text() == HELLO
            raws.append(raw)
        assert len(first.conversations) >= 11
