"""file: reading: by links that expire, as much as was asked for, and never so that a browser runs it."""

import asyncio
import os
import socket
import time
from pathlib import Path
from uuid import uuid4

import pytest

import server.download
from protocol.file import FileDelete
from protocol.session import SessionPing
from server.download import INLINE, span
from tests import certificate
from tests.conftest import Connector, Person, Starter
from tests.files import address, get, upload

DATA = os.urandom(100_000)


async def test_all_of_it_with_what_a_browser_must_know(ann: Person) -> None:
    file = await upload(ann, DATA, 'my "höliday".png', type="image/png")
    url = await address(ann, file)
    got = await get(url)
    assert (got.status, got.body) == (200, DATA)
    assert got.headers["Content-Type"] == "image/png"
    assert got.headers["Content-Length"] == "100000"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in got.headers["Content-Security-Policy"]
    assert got.headers["Accept-Ranges"] == "bytes"
    wanted = "inline; filename=\"my _h_liday_.png\"; filename*=UTF-8''my%20%22h%C3%B6liday%22.png"
    assert got.headers["Content-Disposition"] == wanted
    assert got.headers["Cache-Control"].startswith("private, max-age=3")
    head = await get(url, "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == "100000"
    assert (await get(url, "POST")).status == 405


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-", 0, 100_000),
        ("bytes=10-19", 10, 20),
        ("bytes=99999-", 99_999, 100_000),
        ("bytes=-5", 99_995, 100_000),
        ("bytes=-200000", 0, 100_000),
        ("bytes=5-300000", 5, 100_000),
    ],
)
def test_a_range_is_what_it_says(asked: str, start: int, stop: int) -> None:
    assert span(asked, 100_000) == (start, stop)


async def test_ranges_tags_and_what_is_new(ann: Person) -> None:
    url = await address(ann, await upload(ann, DATA))
    got = await get(url, Range="bytes=500-1499")
    assert (got.status, got.body, got.headers["Content-Range"]) == (206, DATA[500:1500], "bytes 500-1499/100000")
    for several in ("bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=x-"):
        assert (await get(url, Range=several)).status == 200
    for beyond in ("bytes=100000-", "bytes=7-3", "bytes=-0"):
        got = await get(url, Range=beyond)
        assert (got.status, got.headers["Content-Range"]) == (416, "bytes */100000")
    tag = (await get(url, "HEAD")).headers["ETag"]
    same = await get(url, If_None_Match=f'"other", {tag}')
    assert (same.status, same.body) == (304, b"")
    assert (await get(url, Range="bytes=0-9", If_Range=tag)).status == 206
    assert (await get(url, Range="bytes=0-9", If_Range='"other"')).status == 200


async def test_a_link_is_good_for_its_file_its_variant_and_its_time(start: Starter, connect: Connector) -> None:
    server = await start(file_link_minutes=1)
    ann = await connect("ann", to=server)
    file, other = await upload(ann, DATA), await upload(ann, b"other")
    url = await address(ann, file)
    until = url.partition("until=")[2].partition("&")[0]
    assert 50 < int(until) - time.time() < 61
    for wrong in (
        url.replace(str(file.id), str(other.id)),
        url.replace("/original/", "/small/"),
        url.replace(until, str(int(until) + 1)),
        url[:-3] + "AAA",
        url.partition("&key")[0] + "&key=x",
        url.partition("until")[0] + "key=x&until=ten",
    ):
        assert (await get(wrong)).status == 403, wrong
    past = int(time.time()) - 1
    key = server.keys.sign(f"{file.id}/original/{past}".encode())
    assert (await get(f"{url.partition('?')[0]}?until={past}&key={key}")).status == 403
    bare = url.partition("?")[0]
    for unsigned in (bare, bare.replace(str(file.id), str(uuid4())), f"{bare}?key=", bare.rpartition("/original")[0]):
        assert (await get(unsigned)).status == 404, unsigned


async def test_names_lead_nowhere(ann: Person) -> None:
    file = await upload(ann, DATA, "../../etc/passwd")
    url = await address(ann, file)
    assert ".." not in url.replace("..%2F", "")
    assert (await get(url)).body == DATA
    base = url.partition("/file/")[0]
    for path in (
        "/file/",
        "/file/..",
        "/file/../secret.key",
        "/file/%2e%2e/secret.key",
        f"/file/{file.id}/../x",
        "/file/x/y",
    ):
        assert (await get(base + path)).status == 404


@pytest.mark.parametrize("kind", ["image/svg+xml", "text/html", "application/xhtml+xml", "application/pdf", "text/xml"])
async def test_what_could_run_is_saved_and_not_shown(ann: Person, kind: str) -> None:
    file = await upload(ann, b"<svg onload=alert(1)>", "x", type=kind)
    got = await get(await address(ann, file))
    assert kind not in INLINE
    assert got.headers["Content-Disposition"].startswith("attachment;")
    assert got.headers["Content-Type"] == kind
    assert got.headers["X-Content-Type-Options"] == "nosniff"


async def test_avatars_emoji_and_stickers_are_for_everybody(ann: Person) -> None:
    for number, purpose in enumerate(("avatar", "emoji", "sticker")):
        file = await upload(ann, DATA[number:], "me.png", purpose=purpose, type="image/png")
        url = await address(ann, file)
        assert url.endswith(file.url or "?")
        got = await get(url)
        assert (got.status, got.headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
        await ann.call(FileDelete(file=file.id))
        assert (await get(url)).status == 404


async def test_who_does_not_read_is_let_go_and_nobody_else_notices(
    start: Starter, connect: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.download, "_SLOWEST", 1.0)
    served = await start()
    ann = await connect("ann", to=served)
    data = bytes(20_000_000)
    url = await address(ann, await upload(ann, data))
    path = url.partition(str(served.port))[2]
    slow = socket.create_connection(("127.0.0.1", served.port))
    slow.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(10):
        while not served.downloads.count:
            await asyncio.sleep(0.01)
        await ann.call(SessionPing())
        assert (await get(url)).body == data
        while served.downloads.count:
            await asyncio.sleep(0.05)
    slow.close()


async def test_only_so_many_at_once(start: Starter, connect: Connector) -> None:
    served = await start(file_downloads=1)
    ann = await connect("ann", to=served)
    url = await address(ann, await upload(ann, bytes(20_000_000)))
    slow = socket.create_connection(("127.0.0.1", served.port))
    slow.sendall(f"GET {url.partition(str(served.port))[2]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(10):
        while not served.downloads.count:
            await asyncio.sleep(0.01)
        assert (await get(url)).status == 503
        slow.close()
        while served.downloads.count:
            await asyncio.sleep(0.01)
    assert (await get(url)).status == 200


async def test_a_download_outlives_the_deadline_of_a_handshake(start: Starter, connect: Connector) -> None:
    served = await start(handshake_timeout=0.5)
    ann = await connect("ann", to=served)
    data = os.urandom(20_000_000)
    url = await address(ann, await upload(ann, data))

    def read_slowly() -> bytes:
        with socket.create_connection(("127.0.0.1", served.port)) as one:
            one.sendall(f"GET {url.partition(str(served.port))[2]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            got = [one.recv(65536)]
            time.sleep(3)
            while part := one.recv(1 << 20):
                got.append(part)
        return b"".join(got).partition(b"\r\n\r\n")[2]

    assert await asyncio.to_thread(read_slowly) == data


async def test_over_tls_a_thread_reads_it(start: Starter, connect: Connector, folder: Path) -> None:
    import ssl
    import urllib.request

    chain, key = certificate.write(folder, "localhost")
    served = await start(tls_certificate=chain, tls_key=key)
    trust = ssl.create_default_context(cafile=str(chain))
    trust.check_hostname = False
    ann = Person(served.url, ssl=trust, reconnect=False)
    async with ann:
        from protocol.account import AccountRegister

        await ann.open(await ann.call(AccountRegister(username="ann", password=Person.password)))
        data = os.urandom(3_000_000)
        url = await address(ann, await upload(ann, data))

        def fetch() -> bytes:
            with urllib.request.urlopen(url, context=trust) as reply:
                return bytes(reply.read())

        assert await asyncio.to_thread(fetch) == data
