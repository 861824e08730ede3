"""A real browser: Debian's Chromium, driven by Playwright. Every page of a test must leave without a complaint.

Where Playwright is not installed these tests are not there at all: the ordinary run does not need it, and a run that
asks for them (`-m browser`) then fails for want of tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Browser, ConsoleMessage, Page

collect_ignore_glob = [] if find_spec("playwright") else ["test_*.py"]
CHROMIUM = "/usr/bin/chromium"
_PATIENCE = 10_000.0


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """One browser a test; `--no-sandbox` because tests also run as root."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        await chromium.close()


class Complaints(list[str]):
    """What the browser held against the pages: errors, refused scripts and styles, dialogs that opened."""

    def watch(self, page: Page) -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.append(str(error)))
        page.on("dialog", lambda dialog: self.append(f"a dialog: {dialog.message}"))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.append(message.text)


@pytest.fixture
def complaints() -> Complaints:
    """For tests that expect some: they clear them."""
    return Complaints()


@pytest.fixture
async def visit(browser: Browser, complaints: Complaints) -> AsyncIterator[Callable[..., Awaitable[Page]]]:
    """Opens an address as somebody with a browser of their own: `page = await visit(server.public_url)`."""

    async def begin(url: str) -> Page:
        context = await browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 900})
        context.set_default_timeout(_PATIENCE)
        page = await context.new_page()
        complaints.watch(page)
        await page.goto(url)
        return page

    yield begin
    assert complaints == []
