"""Web servers on this machine for link previews to look at, or not to: each counts who comes."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

Answer = web.StreamResponse | str | bytes


class Site:
    """One server; `pages` are what it answers under a path."""

    def __init__(self, pages: Mapping[str, object]) -> None:
        self.pages, self.port, self.seen = dict(pages), 0, list[str]()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request.path)
        page = self.pages.get(request.path)
        if page is None:
            return web.Response(status=404)
        if callable(page):
            found = await page(request)
            assert isinstance(found, web.StreamResponse)
            return found
        if isinstance(page, bytes):
            return web.Response(body=page, content_type="text/html")
        text = str(page)
        if text.startswith("-> "):
            return web.Response(status=302, headers={"Location": text[3:]})
        return web.Response(text=text, content_type="text/html")

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@asynccontextmanager
async def site(
    pages: Mapping[str, object] | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Site]:
    """A server that runs."""
    one = Site(pages or {})
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", one.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await (listening := web.TCPSite(runner, host, port, ssl_context=tls)).start()
    one.port = listening._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    yield one
    await runner.cleanup()
