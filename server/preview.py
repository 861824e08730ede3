"""Previews of links: asked for once, by one process for all who ask at the same time, and remembered for a while.

Rule: whoever asks learns that there is a preview or that there is none, never why: else the server could be made to
tell what is reachable from where it stands.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from protocol.error import Missing, Overloaded, RateLimited
from protocol.link import Preview
from server.fetch import Fetcher, FetchError, Page
from server.heading import heading
from storage import link
from storage.bus import Bus

log = logging.getLogger("onesocket.preview")

_FOUND_FOR, _NOTHING_FOR = 3600, 120
_UNDER_WAY, _OF_ONE = 48, 4
_decode = msgspec.json.Decoder(Preview | None)


class Previews:
    """Knows what pages say of themselves."""

    def __init__(self, bus: Bus, fetcher: Fetcher, *, enabled: bool = True) -> None:
        self._bus, self._fetcher, self._enabled = bus, fetcher, enabled
        self._under_way: dict[str, asyncio.Task[Preview | None]] = {}
        self._waiting: Counter[UUID] = Counter()

    async def of(self, url: str, account: UUID) -> Preview:
        """The preview of a URL; `missing` when there is none, for whatever reason."""
        if not self._enabled:
            raise Missing("links are not looked at here")
        if self._waiting[account] >= _OF_ONE:
            raise RateLimited("wait for the links that are being looked at", retry_after=1)
        self._waiting[account] += 1
        try:
            found = await self._one(self._fetcher.target(url).url)
        except FetchError as error:
            log.debug("no preview: %s", error)
            found = None
        finally:
            self._waiting -= Counter([account])  # who waits for none is not counted
        if found is None:
            raise Missing("there is no preview of this link")
        return found

    async def close(self) -> None:
        """Leave nothing under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fetcher.close()

    async def _one(self, url: str) -> Preview | None:
        """All who ask at the same time wait for the same answer; who gives up does not end it for the others."""
        task = self._under_way.get(url)
        if task is None:
            if len(self._under_way) >= _UNDER_WAY:
                raise Overloaded("many links are being looked at", retry_after=2)
            task = self._under_way[url] = asyncio.create_task(self._known_or_found(url), name="preview")
            task.add_done_callback(lambda _: self._under_way.pop(url))
        return await asyncio.shield(task)

    async def _known_or_found(self, url: str) -> Preview | None:
        known = await link.known(self._bus, url)
        if known is not None:
            kept: Preview | None = _decode.decode(known)
            return kept
        try:
            found = await asyncio.to_thread(_shown, await self._fetcher.get(url))
        except FetchError as error:
            log.debug("no preview: %s", error)
            found = None
        await link.remember(self._bus, url, msgspec.json.encode(found), _NOTHING_FOR if found is None else _FOUND_FOR)
        return found


def _shown(page: Page) -> Preview | None:
    """A page as people see it; None when it says nothing of itself."""
    site = urlsplit(page.url).hostname
    if page.kind.startswith("image/"):
        return Preview(url=page.url, title=None, description=None, site=site, image=page.url)
    said = heading(page.body, page.charset, page.url)
    if not (said.title or said.description):
        return None
    return Preview(
        url=page.url, title=said.title, description=said.description, site=said.site or site, image=said.image
    )
