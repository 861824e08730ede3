"""The few things that plain GET gets on the socket's port: health, metrics and the files of `web/`.

Rule 1: everything is in memory: an answer never waits for a disk or a database; but for uploaded files, which
        server/download.py serves.
Rule 2: pages may load only from here and run no inline script; nobody may frame them.
"""

from __future__ import annotations

import hashlib
import hmac
import mimetypes
import zlib
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from websockets.datastructures import Headers
from websockets.exceptions import HeaderLineTooLong, RequestLineTooLong, TooManyHeaders
from websockets.http11 import Response

from server import proxy

if TYPE_CHECKING:
    from websockets.http11 import Request

    from server.wire import Socket

WEB = Path(__file__).parent / "web"
_LARGEST_FILE = 1 << 20
_AVATARS, _FILES = "/avatar/", "/file/"
_PAGES = {"/", "/claim", "/verify", "/reset", "/external"}
_FORWARDED = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP", "Forwarded", "Via")
_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json"}
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(self), camera=(self), microphone=(self)",
}


class Answer(Struct, frozen=True):
    """A plain HTTP response."""

    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def refused(cls, response: Response) -> Answer:
        """A handshake that websockets refused, in its words."""
        names = [name for name in ("Allow", "Upgrade") if name in response.headers]
        kept = tuple((name, response.headers[name]) for name in names)
        return cls(response.status_code, bytes(response.body), headers=kept)

    def response(self, method: str) -> Response:
        """As websockets sends it; HEAD gets the headers alone."""
        headers = Headers()
        headers["Date"] = formatdate(usegmt=True)
        headers["Connection"] = "close"
        headers["Content-Type"] = self.kind
        if self.status != HTTPStatus.NOT_MODIFIED:
            headers["Content-Length"] = str(len(self.body))
        for name, value in (*SECURITY_HEADERS.items(), *self.headers):
            headers[name] = value
        phrase = HTTPStatus(self.status).phrase
        return Response(self.status, phrase, headers, b"" if method == "HEAD" else self.body)


def complaint(error: Exception) -> Answer:
    """What to say about bytes that are no request."""
    if isinstance(error, RequestLineTooLong):
        return Answer(414, b"the request line is too long\n")
    if isinstance(error, HeaderLineTooLong | TooManyHeaders):
        return Answer(431, b"the headers are too large\n")
    return Answer(400, b"this is no request that is answered here: HTTP/1.1, GET or HEAD, without a body\n")


class Streamed(Protocol):
    """An answer that is sent bit by bit."""

    def begin(self, socket: Socket) -> None:
        """Take the connection over, and close it in the end."""


class File(Struct, frozen=True):
    """A static file in memory."""

    body: bytes
    kind: str
    tag: str


class Site:
    """Answers plain requests."""

    def __init__(
        self,
        ready: Callable[[], tuple[bool, bytes]],
        metrics: Callable[[], bytes],
        metrics_token: str = "",
        folder: Path = WEB,
        files: Callable[[Request, str], Streamed] | None = None,
    ) -> None:
        self._ready, self._metrics, self._token, self._stream = ready, metrics, metrics_token, files
        self.files = load(folder)
        names = [path for path in self.files if path.startswith(_AVATARS) and path.endswith(".svg")]
        self.avatars = tuple(path.removeprefix(_AVATARS).removesuffix(".svg") for path in names)

    def avatar_for(self, username: str) -> str:
        """The avatar that a new account begins with."""
        return self.avatars[zlib.crc32(username.encode()) % len(self.avatars)] if self.avatars else ""

    def answer(self, request: Request, address: str) -> Answer | Streamed:
        """The answer to one plain request."""
        if request.method not in ("GET", "HEAD"):
            return Answer(405, b"only GET and HEAD\n", headers=(("Allow", "GET, HEAD"),))
        path = request.path.partition("?")[0]
        if path.startswith(_FILES) and self._stream is not None:
            return self._stream(request, address)
        if path == "/healthz":
            return Answer(200, b"ok\n", headers=_FRESH)
        if path == "/readyz":
            ready, body = self._ready()
            return Answer(200 if ready else 503, body, "application/json", _FRESH)
        if path == "/metrics":
            return self._measured(request, address)
        return self._file(request, path)

    def _measured(self, request: Request, address: str) -> Answer:
        if self._token:
            given = request.headers.get("Authorization", "").encode(errors="replace")
            allowed = hmac.compare_digest(given, f"Bearer {self._token}".encode())
        else:
            allowed = proxy.local(address) and not any(name in request.headers for name in _FORWARDED)
        if not allowed:
            return Answer(403, b"metrics are for this machine, or for who has the token\n")
        return Answer(200, self._metrics(), "text/plain; version=0.0.4; charset=utf-8", _FRESH)

    def _file(self, request: Request, path: str) -> Answer:
        found = self.files.get("/index.html" if path in _PAGES else path)
        if found is None:
            return Answer(404, b"not found\n")
        caching = (("ETag", found.tag), ("Cache-Control", "no-cache"))
        if found.tag in request.headers.get("If-None-Match", ""):
            return Answer(304, b"", found.kind, caching)
        return Answer(200, found.body, found.kind, caching)


_FRESH = (("Cache-Control", "no-store"),)


def load(folder: Path) -> dict[str, File]:
    """All files below a folder by their path, read once at start."""
    return {
        f"/{path.relative_to(folder).as_posix()}": _read(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _read(path: Path) -> File:
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError(f"{path} is too large to be served from memory")
    body = path.read_bytes()
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    charset = "; charset=utf-8" if kind.startswith("text/") else ""
    return File(body, kind + charset, f'"{hashlib.sha256(body).hexdigest()[:20]}"')
