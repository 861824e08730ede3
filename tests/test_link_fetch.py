"""Previews of links ask nobody but the open internet, whatever a URL, a redirect or a name says."""

import asyncio
import gzip
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web

from server.fetch import Fetcher, FetchError, Page
from server.public import is_name, is_public
from server.resolver import Names
from tests import certificate
from tests.site import Site, site

PRIVATE = """0.0.0.0 10.1.2.3 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16 169.254.169.254
172.16.0.1 172.31.255.255 192.0.0.170 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1
239.255.255.250 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1
64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1:: 2002:808:808::1 3fff::1 fc00::1 fd00:ec2::254
fe80::1 fe80::1%eth0 2600::1%1 fec0::1 ff02::1 2600::5efe:7f00:1 4000::1"""
PUBLIC = "1.1.1.1 8.8.8.8 93.184.216.34 172.15.0.1 172.32.0.1 192.167.0.1 2600::1 2a00:1450::1 2606:4700::1111"
# Ways to write the loopback address, and others to say more than a host.
SPELLINGS = """127.0.0.1 127.1 127.0.1 2130706433 017700000001 0177.0.0.1 0x7f000001 0x7f.0.0.1 0x7F.1 127.0.0.1.
[::1] [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:7f00:1] [::7f00:1] [64:ff9b::127.0.0.1] [2002:7f00:1::]
[fe80::1%25lo] localhost LOCALHOST localhost. foo.localhost 0 0.0.0.0 [::] good.test@127.0.0.1 ①②⑦.0.0.1 127。0。0。1
%31%32%37.0.0.1 router.local printer"""


@pytest.fixture
async def inside() -> AsyncIterator[Site]:
    """What nobody may reach."""
    async with site({"/": "<title>secret</title>"}) as one:
        yield one
    assert one.seen == []


@pytest.fixture
async def outside() -> AsyncIterator[Site]:
    """What stands for the open internet."""
    async with site({"/": "<title>hello</title>"}) as one:
        yield one


async def reason(fetcher: Fetcher, url: str) -> str:
    """Why nothing came."""
    with pytest.raises(FetchError) as error:
        await fetcher.get(url)
    await fetcher.close()
    return str(error.value)


def allowing(outside: Site, *others: Site, **options: float) -> Fetcher:
    """One that takes a local server for public; ports of the others are no obstacle, so that addresses are."""
    ports = [one.port for one in (outside, *others)]
    return Fetcher([f"127.0.0.1:{outside.port}"], ports=ports, **options)  # type: ignore[arg-type]


def test_addresses_are_public_only_when_they_are_known_to_be() -> None:
    assert [one for one in PRIVATE.split() if is_public(ip_address(one))] == []
    assert [one for one in PUBLIC.split() if not is_public(ip_address(one))] == []


def test_a_name_is_one_of_the_public_dns() -> None:
    assert is_name("example.com") and is_name("xn--bcher-kva.example.com") and is_name("a_b.example.com.")
    wrong = [
        "",
        "a",
        "1",
        "a.1",
        "a.0x1",
        "1.2.3",
        "a..b",
        "-a.com",
        "a b.com",
        "x" * 64 + ".com",
        "é.com",
        "a.local",
        "a.example",
    ]
    assert [one for one in wrong if is_name(one)] == []


async def test_no_spelling_of_a_private_address_is_asked_nor_redirected_to(inside: Site, outside: Site) -> None:
    spellings = SPELLINGS.split()
    outside.pages |= {f"/{at}": f"-> http://{one}:{inside.port}/" for at, one in enumerate(spellings)}
    fetcher = allowing(outside, inside)
    for at, spelling in enumerate(spellings):
        for url in (f"http://{spelling}:{inside.port}/", outside.url(f"/{at}")):
            with pytest.raises(FetchError):
                await fetcher.get(url)
    assert outside.seen == [f"/{at}" for at in range(len(spellings))]
    await fetcher.close()


async def test_a_name_with_a_private_address_is_not_asked(inside: Site) -> None:
    answers = [["127.0.0.1"], ["::1"], ["10.0.0.7", "1.1.1.1"], ["1.1.1.1", "169.254.169.254"], ["::ffff:1.1.1.1"], []]

    async def lookup(host: str, port: int) -> list[str]:
        return answers[int(host[1])]

    for at in range(len(answers)):
        fetcher = Fetcher(lookup=lookup, ports=[inside.port])
        why = await reason(fetcher, inside.url("/", f"n{at}.example.com"))
        assert ("no public address" in why) == bool(answers[at]), why


async def test_a_name_that_changes_its_mind_is_looked_at_each_time_and_used_as_it_was_looked_at(outside: Site) -> None:
    asked: list[str] = []

    async def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1" if len(asked) % 2 else "127.0.0.2"]

    outside.pages["/again"] = f"-> {outside.url('/', 'turns.example.com')}"
    async with site({"/": "<title>secret</title>"}, "127.0.0.2", outside.port) as inside:
        fetcher = Fetcher([f"127.0.0.1:{outside.port}"], lookup=lookup, ports=[outside.port])
        assert (await fetcher.get(outside.url("/", "turns.example.com"))).body == b"<title>hello</title>"
        assert len(asked) == 1
        asked.clear()
        assert "no public address" in await reason(fetcher, outside.url("/again", "turns.example.com"))
        assert asked == ["turns.example.com"] * 2
        assert inside.seen == []


async def test_an_address_is_looked_at_when_its_socket_is_made_however_it_came_there(inside: Site) -> None:
    fetcher = Fetcher(ports=[inside.port])
    for place in (inside.url(), inside.url("/", "localhost")):
        with pytest.raises(OSError):
            await fetcher._opened().get(place)
    await fetcher.close()


async def test_a_name_that_takes_its_time_keeps_nobody_else_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own resolver, with owners of names who do not answer."""
    usual, go = socket.getaddrinfo, threading.Event()

    def slow(host: str, *more: object, **options: int) -> object:
        if host.startswith("slow"):
            go.wait(10)
        return usual("127.0.0.1", 80)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    names = Names(threads=2)
    waiting = [asyncio.ensure_future(names.addresses("slow.example.com", 80)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="too many"):
        await names.addresses("example.com", 80)
    waiting[0].cancel()
    go.set()
    assert await waiting[1] == ["127.0.0.1"]
    async with asyncio.timeout(5):
        while names._free < 2:
            await asyncio.sleep(0.001)
    assert await names.addresses("example.com", 80) == ["127.0.0.1"]


async def test_a_site_without_a_good_certificate_is_not_asked(tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate.write(tmp_path, "a site"))
    async with site({"/": "<title>hello</title>"}, tls=tls) as one:
        fetcher = Fetcher([f"127.0.0.1:{one.port}"])
        assert "CERTIFICATE_VERIFY_FAILED" in await reason(fetcher, one.url().replace("http", "https"))
        assert one.seen == []


async def test_what_the_operator_has_allowed_by_name_is_reached_by_that_name_only(outside: Site) -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host == "wiki.intern" else ["127.0.0.3"]

    fetcher = Fetcher([f"wiki.intern:{outside.port}"], lookup=lookup, ports=[outside.port])
    assert (await fetcher.get(outside.url("/", "wiki.intern"))).url == outside.url("/", "wiki.intern")
    assert await reason(fetcher, outside.url("/", "other.example.com"))


STRANGE = [
    "file:///etc/passwd",
    "ftp://example.com/",
    "gopher://example.com/",
    "data:text/html,hello",
    "//example.com:22/",
    "http://example.com:22/",
    "http://example.com:443/",
    "https://example.com:80/",
    "https://example.com:99999/",
    "http://user:secret@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://[::1/",
    "http://example.com/" + "a" * 2048,
]


async def test_only_plain_urls_of_web_pages_are_asked_and_redirected_to(outside: Site) -> None:
    fetcher = allowing(outside)
    for url in STRANGE:
        outside.pages["/away"] = f"-> {url}"
        for one in (url, outside.url("/away")):
            with pytest.raises(FetchError):
                await fetcher.get(one)
    assert outside.seen == ["/away"] * len(STRANGE)
    for url in ("http://example.com/\nHost: inside", "http://example.com/ x", "http://exämple.com/", "http:///", ""):
        with pytest.raises(FetchError):
            await fetcher.get(url)
    await fetcher.close()


async def test_three_redirects_are_followed_and_no_more(outside: Site) -> None:
    outside.pages |= {f"/{at}": f"-> /{at + 1}" for at in range(4)} | {"/4": "<title>end</title>"}
    fetcher = allowing(outside)
    assert (await fetcher.get(outside.url("/1"))).url == outside.url("/4")
    assert await reason(fetcher, outside.url("/0")) == "too many redirects"


async def test_a_page_is_read_so_far_and_no_further(outside: Site) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse(headers={"Content-Type": "text/html"})
        await answer.prepare(request)
        while sent < 64 * 2**20:
            await answer.write(b"<title>long</title>" + bytes(65536))
            sent += 65536
        return answer

    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    outside.pages |= {"/endless": endless, "/silent": silent}
    page: Page = await (fetcher := allowing(outside)).get(outside.url("/endless"))
    assert (len(page.body), page.body[:7]) == (512 * 1024, b"<title>")
    await fetcher.close()
    assert sent < 16 * 2**20
    assert "Timeout" in await reason(allowing(outside, seconds=0.2), outside.url("/silent"))


async def test_what_is_no_page_is_left_alone(outside: Site) -> None:
    async def packed(request: web.Request) -> web.Response:
        headers = {"Content-Encoding": "gzip", "Content-Type": "text/html"}
        return web.Response(body=gzip.compress(bytes(10**7)), headers=headers)

    async def program(request: web.Request) -> web.Response:
        return web.Response(body=b"MZ", content_type="application/octet-stream")

    async def picture(request: web.Request) -> web.Response:
        assert (request.headers.get("Cookie"), request.headers.get("Referer")) == (None, None)
        return web.Response(body=b"GIF89a", content_type="image/gif")

    outside.pages |= {"/packed": packed, "/program": program, "/picture": picture}
    assert await reason(allowing(outside), outside.url("/packed")) == "packed"
    assert await reason(allowing(outside), outside.url("/program")) == "no page"
    assert await reason(allowing(outside), outside.url("/none")) == "status 404"
    fetcher = allowing(outside)
    assert (await fetcher.get(outside.url("/picture"))).kind == "image/gif"
    await fetcher.close()
