"""Gets pages of the open internet on the word of strangers, and nothing from anywhere else.

Rule 1: what counts is the address that the connection goes to. It is looked at when the socket for it is made, after
every name was resolved: no name, no second answer, no redirect and no other spelling leads past that.
Rule 2: http and https on their own ports, no credentials, no cookies, no proxies, and three redirects, each of which is
a new question with all the same rules.
Rule 3: so many bytes and so many seconds, for all of it together.
Rule 4: `allowed` host:port pairs are the operator's own, and the only exception.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from msgspec import Struct

from server.public import Address, is_name, is_public, literal
from server.resolver import Names

if TYPE_CHECKING:
    import aiohttp

Lookup = Callable[[str, int], Awaitable[list[str]]]

PORTS = {"http": 80, "https": 443}
_OTHER = {"http": "https", "https": "http"}
_HOPS, _BYTES, _SECONDS = 3, 512 * 1024, 6.0
_AT_ONCE, _PER_HOST = 16, 2
_LONGEST, _GRANTED = 2048, 100
_MOVED = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "Accept": "text/html, application/xhtml+xml;q=0.9, image/*;q=0.5",
    "Accept-Encoding": "identity",
    "Accept-Language": "en, *;q=0.5",
    "User-Agent": "Mozilla/5.0 (compatible; onesocket; link preview)",
}
_PAIR = re.compile(r"[^\s/@]+:\d{1,5}")
_AS_IT_IS = "!#$%&'()*+,/:;=?@[]~"
_WORDS = re.compile(r"[\x21-\x7e]+")


class FetchError(Exception):
    """Nothing came of it. `reason` is for the log: who asked learns no more than that."""


class Page(Struct, frozen=True):
    """What was there, or the beginning of it."""

    url: str
    kind: str
    charset: str
    body: bytes


class Target(Struct, frozen=True):
    """Where a URL leads."""

    url: str
    host: str
    port: int


class Fetcher:
    """Gets pages.

    `allowed`: host:port pairs, ValueError when one is not
    `lookup`: says which addresses a name has, instead of the system
    `ports`: besides those of http and https, which change nothing about addresses
    """

    def __init__(
        self,
        allowed: Collection[str] = (),
        *,
        lookup: Lookup | None = None,
        ports: Collection[int] = (),
        seconds: float = _SECONDS,
    ) -> None:
        if wrong := [one for one in allowed if not _PAIR.fullmatch(one)]:
            raise ValueError(f"link_allow has pairs of host:port, not {wrong[0]!r}")
        self._allowed, self._lookup, self._seconds = frozenset(allowed), lookup or Names().addresses, seconds
        self._granted: set[str] = set()
        self._ports = frozenset((*PORTS.values(), *ports))
        self._session: aiohttp.ClientSession | None = None
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def get(self, url: str) -> Page:
        """The page of a URL, or `FetchError`."""
        import aiohttp

        try:
            async with self._turns, asyncio.timeout(self._seconds):
                return await self._follow(url)
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:  # ValueError: a header or a URL
            cause = getattr(error, "os_error", None) or error
            raise FetchError(f"{type(error).__name__}: {cause}"[:200]) from None

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _follow(self, url: str) -> Page:
        for _ in range(_HOPS + 1):
            target = self.target(url)
            async with self._opened().get(target.url, allow_redirects=False) as response:
                if response.status not in _MOVED:
                    return await _page(target.url, response)
                url = urljoin(target.url, quote(response.headers.get("Location", ""), safe=_AS_IT_IS))
        raise FetchError("too many redirects")

    def target(self, url: str) -> Target:
        """Where it leads, if that may be asked for by its looks."""
        if not _WORDS.fullmatch(url) or len(url) > _LONGEST:
            raise FetchError("no URL")
        parts, host, port = _split(url)
        if parts.scheme not in PORTS or not host:
            raise FetchError("neither http nor https")
        if parts.username is not None or parts.password is not None or "\\" in url:
            raise FetchError("more than a host")
        if f"{host}:{port}" not in self._allowed:
            if port not in self._ports or port == PORTS[_OTHER[parts.scheme]]:
                raise FetchError("another port")
            address = literal(host)
            if not (is_public(address) if address is not None else is_name(host)):
                raise FetchError("no public host")
        place = f"[{host}]" if ":" in host else host
        authority = place if port == PORTS[parts.scheme] else f"{place}:{port}"
        return Target(parts._replace(netloc=authority, fragment="", path=parts.path or "/").geturl(), host, port)

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_Resolver(self._addresses),  # type: ignore[arg-type]  # by its methods it is one
                socket_factory=self._socket,
                use_dns_cache=False,
                force_close=True,
                limit=_AT_ONCE,
                limit_per_host=_PER_HOST,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                auto_decompress=False,  # a small answer stays small
                max_line_size=8190,
                max_field_size=8190,
            )
        return self._session

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Those of a name; a name that has a private one beside others is not for us."""
        found = await self._lookup(host, port)
        if not found:
            raise OSError(f"no address for {host}")
        if f"{host}:{port}" in self._allowed:  # a name that the operator has allowed, so whatever it means
            self._granted = {f"{one}:{port}" for one in found} | set(list(self._granted)[:_GRANTED])
        for one in found:
            self._check(one, port)
        return found

    def _socket(self, info: Any) -> socket.socket:
        """A socket for one address, which is the last moment to refuse it."""
        family, kind, protocol, _, place = info
        self._check(str(place[0]), int(place[1]))
        found = socket.socket(family, kind, protocol)
        found.setblocking(False)
        return found

    def _check(self, address: str, port: int) -> None:
        known: Address | None = literal(address)
        if known is not None and is_public(known) and port in self._ports:
            return
        if f"{address}:{port}" not in self._allowed | self._granted:
            raise PermissionError("no public address")


class _Resolver:
    """What aiohttp asks for addresses; it connects to these and to no others."""

    def __init__(self, addresses: Lookup) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_UNSPEC) -> list[dict[str, Any]]:
        return [
            {
                "hostname": host,
                "host": one,
                "port": port,
                "family": socket.AF_INET6 if ":" in one else socket.AF_INET,
                "proto": socket.IPPROTO_TCP,
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for one in await self._addresses(host, port)
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _split(url: str) -> tuple[SplitResult, str, int]:
    try:
        parts = urlsplit(url)
        return parts, (parts.hostname or "").removesuffix("."), parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        raise FetchError("no URL") from None


async def _page(url: str, response: aiohttp.ClientResponse) -> Page:
    """As much of a page as is looked at."""
    if response.status != 200:
        raise FetchError(f"status {response.status}")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchError("packed")
    kind = response.content_type.lower()
    if kind.startswith("image/"):
        return Page(url, kind, "", b"")
    if kind not in ("text/html", "application/xhtml+xml"):
        raise FetchError("no page")
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) >= _BYTES:
            break
    return Page(url, kind, response.charset or "", bytes(body[:_BYTES]))
