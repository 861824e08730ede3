"""S3 over HTTP: requests that are signed (AWS Signature Version 4), and addresses that others may read at.

Rule 1: what is sent is signed with its hash, so what arrives is what was meant.
Rule 2: what fails for now is tried again a few times; then it is `Unavailable`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp
from msgspec import Struct
from yarl import URL

from protocol.error import Unavailable
from storage.pool import StorageError

log = logging.getLogger("onesocket.file")

_EMPTY = hashlib.sha256(b"").hexdigest()
_TRIES, _PAUSE = 3, 0.3
_LARGEST_REPLY = 1 << 20
_READ = 1 << 18
_ALGORITHM = "AWS4-HMAC-SHA256"


class Reply(Struct, frozen=True):
    """What S3 answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def missing(self) -> bool:
        """Whether there is no such thing."""
        return self.status == 404


class Signer:
    """Signs requests for one bucket."""

    def __init__(self, endpoint: str, bucket: str, region: str, key: tuple[str, str]) -> None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc or not bucket or not all(key):
            raise ValueError("s3_endpoint: an address, s3_bucket, s3_access_key and s3_secret_key belong together")
        self._base, self._host = f"{parts.scheme}://{parts.netloc}", parts.netloc
        self._path, self._region = f"{parts.path.rstrip('/')}/{quote(bucket)}", region
        self._id, self._secret = key

    def url(self, key: str, query: Mapping[str, str]) -> str:
        """Where something is."""
        return f"{self._base}{self._path}/{quote(key)}" + (f"?{_query(query)}" if query else "")

    def headers(self, method: str, key: str, query: Mapping[str, str], payload: str) -> dict[str, str]:
        """What makes a request ours; `payload`: the hash of its body."""
        now = datetime.now(UTC)
        given = {
            "host": self._host,
            "x-amz-content-sha256": payload,
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
        }
        signature = self._signature(now, method, key, query, given, payload)
        names = ";".join(given)
        given["Authorization"] = (
            f"{_ALGORITHM} Credential={self._id}/{self._scope(now)}, SignedHeaders={names}, Signature={signature}"
        )
        del given["host"]
        return given

    def presigned(self, key: str, seconds: int, query: Mapping[str, str]) -> str:
        """An address at which anybody can read something for a while."""
        now = datetime.now(UTC)
        signed = {
            **query,
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{self._id}/{self._scope(now)}",
            "X-Amz-Date": now.strftime("%Y%m%dT%H%M%SZ"),
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": "host",
        }
        signature = self._signature(now, "GET", key, signed, {"host": self._host}, "UNSIGNED-PAYLOAD")
        return self.url(key, {**signed, "X-Amz-Signature": signature})

    def _scope(self, now: datetime) -> str:
        return f"{now:%Y%m%d}/{self._region}/s3/aws4_request"

    def _signature(
        self,
        now: datetime,
        method: str,
        key: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        payload: str,
    ) -> str:
        lines = [f"{name}:{value}" for name, value in sorted(headers.items())]
        asked = [method, f"{self._path}/{quote(key)}", _query(query), *lines, "", ";".join(sorted(headers)), payload]
        digest = hashlib.sha256("\n".join(asked).encode()).hexdigest()
        text = "\n".join([_ALGORITHM, now.strftime("%Y%m%dT%H%M%SZ"), self._scope(now), digest])
        secret = f"AWS4{self._secret}".encode()
        for part in (f"{now:%Y%m%d}", self._region, "s3", "aws4_request"):
            secret = hmac.digest(secret, part.encode(), "sha256")
        return hmac.digest(secret, text.encode(), "sha256").hex()


class Bucket:
    """A bucket, over a few connections."""

    def __init__(self, signer: Signer) -> None:
        self.signer = signer
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self,
        method: str,
        key: str,
        query: Mapping[str, str] | None = None,
        body: bytes | Path = b"",
        hash: str | None = None,
    ) -> Reply:
        """Send a request, and read its short reply; a body that is a file is read as it is sent."""
        payload = hash or (hashlib.sha256(body).hexdigest() if isinstance(body, bytes) and body else _EMPTY)
        for left in reversed(range(_TRIES)):
            try:
                reply = await self._once(method, key, query or {}, body, payload)
            except (aiohttp.ClientError, TimeoutError) as error:
                log.warning("S3 does not answer: %s", error or type(error).__name__)
            else:
                if reply.status < 500 and reply.status != 429:
                    return reply
                log.warning("S3 answers %d", reply.status)
            if left:
                await asyncio.sleep(_PAUSE)
        raise Unavailable("the store of files does not answer", retry_after=5)

    async def _once(self, method: str, key: str, query: Mapping[str, str], body: bytes | Path, payload: str) -> Reply:
        headers = self.signer.headers(method, key, query, payload)
        url = URL(self.signer.url(key, query), encoded=True)
        file = await asyncio.to_thread(body.open, "rb") if isinstance(body, Path) else None
        try:
            async with self._client().request(
                method, url, headers=headers, data=body if file is None else file, allow_redirects=False
            ) as reply:
                return Reply(reply.status, reply.headers, await reply.content.read(_LARGEST_REPLY))
        finally:
            if file is not None:
                file.close()

    async def read(self, key: str) -> AsyncIterator[bytes]:
        """All of something, bit by bit."""
        headers = self.signer.headers("GET", key, {}, _EMPTY)
        url = URL(self.signer.url(key, {}), encoded=True)
        try:
            async with self._client().get(url, headers=headers, allow_redirects=False) as reply:
                if reply.status != 200:
                    raise Unavailable(f"the store of files answers {reply.status}")
                async for part in reply.content.iter_chunked(_READ):
                    yield part
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable("the store of files does not answer", retry_after=5) from error

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        return self._session

    async def stop(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def check(reply: Reply, what: str) -> Reply:
    """A reply that says that it was done."""
    if reply.status >= 300 or b"<Error>" in reply.body[:300]:
        raise StorageError(f"S3 refuses {what}: {reply.status} {reply.body[:300]!r}")
    return reply


def _query(query: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query))
