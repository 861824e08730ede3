"""link: what a page says of itself, asked for once and remembered; whoever asks learns nothing about places inside."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from protocol.error import Invalid, Missing, RateLimited
from protocol.link import LinkPreview, Preview
from server import Server
from storage import link
from tests.conftest import Connector, Person, Starter
from tests.site import Site, site

PAGE = """<!doctype html><head><title>In the tab</title>
<meta property="og:title" content="The &quot;first&quot; engine">
<meta property="og:description" content="It prints\n its own tables.">
<meta property="og:site_name" content="Engines"><meta property="og:image" content="/engine.png"></head>"""


async def _slow(request: web.Request) -> web.Response:
    await asyncio.sleep(0.2)
    return web.Response(text="<title>slow</title>", content_type="text/html")


@pytest.fixture
async def pages() -> AsyncIterator[Site]:
    async with site({"/": PAGE, "/slow": _slow, "/moved": "-> /", "/empty": "<p>nothing"}) as one:
        yield one


@pytest.fixture
async def server(start: Starter, pages: Site) -> Server:
    return await start(link_allow=[f"127.0.0.1:{pages.port}"])


async def look(person: Person, url: str) -> Preview:
    return await person.call(LinkPreview(url=url))


async def test_a_link_has_a_title_a_description_a_site_and_a_picture(ann: Person, pages: Site) -> None:
    assert await look(ann, pages.url("/moved#here")) == Preview(
        url=pages.url("/"),
        title='The "first" engine',
        description="It prints its own tables.",
        site="Engines",
        image=pages.url("/engine.png"),
    )


async def test_a_page_is_asked_for_once_by_whoever_asks_and_remembered(ann: Person, bob: Person, pages: Site) -> None:
    asked = [look(person, pages.url("/slow")) for person in (ann, bob) for _ in range(3)]
    assert {one.title for one in await asyncio.gather(*asked)} == {"slow"}
    assert (await look(bob, pages.url("/slow"))).title == "slow"
    assert pages.seen == ["/slow"]


async def test_that_there_is_nothing_is_remembered_too(ann: Person, pages: Site) -> None:
    for path in ("/empty", "/none", "/empty", "/none"):
        with pytest.raises(Missing):
            await look(ann, pages.url(path))
    assert pages.seen == ["/empty", "/none"]


async def test_places_inside_are_like_places_that_are_not_there(ann: Person, server: Server, pages: Site) -> None:
    said = set()
    inside = ["http://127.0.0.1/", "http://169.254.169.254/latest/meta-data/", server.public_url, "http://[::1]/"]
    for url in (*inside, pages.url("/none"), "http://localhost/", "ftp://example.com/", "javascript:alert(1)"):
        with pytest.raises(Missing) as missing:
            await look(ann, url)
        said.add(str(missing.value))
    assert len(said) == 1
    with pytest.raises(Invalid):
        await look(ann, "http://example.com/a b")


async def test_it_can_be_switched_off(start: Starter, connect: Connector, pages: Site) -> None:
    quiet = await start(link_previews=False, link_allow=[f"127.0.0.1:{pages.port}"])
    eve = await connect("eve", to=quiet)
    with pytest.raises(Missing, match="not looked at"):
        await look(eve, pages.url("/"))
    assert pages.seen == []


async def test_an_account_may_ask_thirty_times_a_minute(start: Starter, connect: Connector) -> None:
    eve = await connect("eve", to=await start(throttle=1.0))
    asked = 0
    with pytest.raises(RateLimited):
        while asked < 60:  # a slow machine may have some more, one in two seconds
            with pytest.raises(Missing):
                await look(eve, "http://10.0.0.1/")
            asked += 1
    assert asked >= 30


async def test_an_account_waits_for_four_at_once(ann: Person, bob: Person, pages: Site) -> None:
    go = asyncio.Event()

    async def held(request: web.Request) -> web.Response:
        await go.wait()
        return web.Response(text="<title>at last</title>", content_type="text/html")

    pages.pages |= {f"/{at}": held for at in range(6)}
    waiting = [asyncio.ensure_future(look(ann, pages.url(f"/{at}"))) for at in range(4)]
    async with asyncio.timeout(5):
        while len(pages.seen) < 2:  # of one site not more
            await asyncio.sleep(0.001)
    with pytest.raises(RateLimited):
        await look(ann, pages.url("/4"))
    waiting.append(asyncio.ensure_future(look(bob, pages.url("/5"))))
    go.set()
    assert {one.title for one in await asyncio.gather(*waiting)} == {"at last"}
    assert (await look(ann, pages.url("/4"))).title == "at last"


async def test_without_redis_a_page_is_asked_for_again(
    server: Server, ann: Person, pages: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> bool:
        server.bus.alive = False
        return False

    monkeypatch.setattr(server.bus, "check", away)
    await away()
    for _ in range(2):
        assert (await look(ann, pages.url("/"))).title == 'The "first" engine'
    assert pages.seen == ["/", "/"]


async def test_no_more_is_remembered_than_there_is_room_for(server: Server) -> None:
    for number in range(5):
        await link.remember(server.bus, f"http://{number}.example/", b"%d" % number, 60 + number, most=3)
    kept = [await link.known(server.bus, f"http://{number}.example/") for number in range(5)]
    assert kept == [None, None, b"2", b"3", b"4"]
