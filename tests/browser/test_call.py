"""Two tabs of a real browser, with devices that are not there, call each other through a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from server import Server
from tests.browser.conftest import CHROMIUM
from tests.chat import direct
from tests.conftest import Connector, Person, Starter
from tests.turn import turn

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

__all__ = ["turn"]
pytestmark = pytest.mark.browser
PAGE = (Path(__file__).parent / "call.html").read_bytes()
DEVICES = ("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """One with a camera that shows a clock, and a microphone that beeps."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=DEVICES)
        yield browser
        await browser.close()


@pytest.fixture
async def page_url() -> AsyncIterator[str]:
    """Where the page is: at an address of its own, as an application has one."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(PAGE)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + PAGE)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as site:
        yield f"http://127.0.0.1:{site.sockets[0].getsockname()[1]}"


async def tab(browser: Browser, url: str, server: Server, person: Person) -> Page:
    """The page, logged in."""
    page = await (await browser.new_context()).new_page()
    await page.goto(url)
    await log_in(page, server, person)
    return page


async def log_in(page: Page, server: Server, person: Person) -> None:
    await page.evaluate("([url, token]) => connect(url, token)", [f"{server.url}/", person.tokens_given.access])


async def until(page: Page, condition: str, **values: Any) -> None:
    async with asyncio.timeout(20):
        while not await page.evaluate(condition, values or None):
            await asyncio.sleep(0.05)


async def both_ways(one: Page, other: Page) -> None:
    """Sound, pictures and words go from each to the other from now on."""
    for page in (one, other):
        await until(page, "() => me.chat !== null && me.chat.readyState === 'open'")
    for page, listener in ((one, other), (other, one)):
        before = await listener.evaluate("() => received()")
        word = uuid4().hex
        await page.evaluate("(word) => me.chat.send(word)", word)
        await until(listener, "({ word }) => me.said.includes(word)", word=word)
        more = "async (was) => { const now = await received(); return now.audio > was.audio && now.video > was.video }"
        await until(listener, more, **before)


@pytest.mark.parametrize("relayed", [False, True], ids=["directly", "through a relay alone"])
async def test_two_tabs_call_each_other(
    chromium: Browser, page_url: str, start: Starter, connect: Connector, turn: dict[str, Any], relayed: bool
) -> None:
    server = await start(origins=[page_url], **turn)
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    channel = str(await direct(ann, bob))
    first, second = await tab(chromium, page_url, server, ann), await tab(chromium, page_url, server, bob)
    asked = [channel, str(uuid4()), relayed]
    call = await first.evaluate("([channel, nonce, relayed]) => start(channel, nonce, relayed)", asked)
    await until(second, "() => me.events.some((one) => one.ev === 'call.ringing')")
    there = [channel, call["call"], relayed]
    seated = await second.evaluate("([channel, call, relayed]) => answer(channel, call, relayed)", there)

    await second.evaluate("(to) => offer(to)", call["seat"])
    await both_ways(first, second)
    ways = set((await first.evaluate("() => received()"))["ways"])
    assert ways == {"relay"} if relayed else "relay" not in ways

    await first.evaluate("() => show()")
    await first.evaluate("(to) => offer(to)", seated["seat"])
    await until(second, "() => me.tracks.length === 3")
    await both_ways(first, second)

    await second.evaluate("() => me.socket.close()")
    await both_ways(first, second)
    await log_in(second, server, bob)
    again = await second.evaluate("([channel, call, relayed]) => answer(channel, call, relayed)", there)
    assert (again["seat"], again["back"]) == (seated["seat"], True)
    await second.evaluate("() => { show(); return offer(me.to) }")
    await until(first, "() => me.tracks.length === 3")
    await both_ways(first, second)
