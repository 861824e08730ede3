"""The OAuth 2 code flow with one provider: what is known of it, and asking it over HTTPS.

Owner of `aiohttp` (loaded when the first person signs in this way).

Rule 1: a code is worth nothing without the verifier (PKCE) and the nonce of the flow that asked for it. Who calls
keeps `Started` under its state for ten minutes, takes it out once, and shows it to nobody.
Rule 2: providers are bounded: 256 KiB an answer, one time limit a step, no redirects, no cookies, TLS (or loopback).
Rule 3: errors say what happened in our words. What a provider sent, and every secret, stays out of them.
"""

import base64
import ipaddress
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar
from urllib.parse import quote_plus, urlsplit

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
Reason = Literal["unknown provider", "provider unavailable", "provider refused", "bad token"]
Subject = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\A[\x21-\x7e]+\Z")]

ANSWER_BYTES = 256 * 1024
HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "onesocket"}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "google": {"title": "Google", "issuer": "https://accounts.google.com"},
    "github": {
        "title": "GitHub",
        "authorize_url": "https://github.com/login/oauth/authorize",
        "token_url": "https://github.com/login/oauth/access_token",
        "user_url": "https://api.github.com/user",
        "emails_url": "https://api.github.com/user/emails",
        "scopes": ("read:user", "user:email"),
    },
}


class ExternalError(Exception):
    """`reason` is for the program, `detail` for whoever reads the log."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One [[providers]] table: OpenID Connect when `issuer` is set, plain OAuth 2 by its URLs otherwise."""

    name: Annotated[str, Meta(pattern=r"\A[a-z0-9_-]{1,32}\Z")]
    client_id: Annotated[str, Meta(min_length=1)]
    client_secret: str = ""  # empty: a public client, protected by PKCE alone
    title: str = ""
    scopes: tuple[str, ...] = ()
    issuer: str = ""
    authorize_url: str = ""
    token_url: str = ""
    user_url: str = ""
    emails_url: str = ""

    def __repr__(self) -> str:
        return f"Provider({self.name!r})"

    def completed(self) -> "Provider":
        """With the preset of its name for what is empty."""
        preset = PRESETS.get(self.name, {})
        filled = {field: value for field, value in preset.items() if not getattr(self, field)}
        return msgspec.structs.replace(self, **filled)


class Started(msgspec.Struct, frozen=True):
    """One person on the way to a provider: send them to `url`, keep the rest under `state`."""

    provider: str
    url: str
    state: str
    verifier: str
    nonce: str
    redirect: str

    def __repr__(self) -> str:
        return f"Started({self.provider!r})"


class Identity(msgspec.Struct, frozen=True):
    """Who the provider says it is. (issuer, subject) is the account; its address may change hands."""

    issuer: str
    subject: str
    email: str | None
    email_verified: bool
    name: str


class Person(msgspec.Struct):
    """What the claims of an id_token and the answer of a userinfo endpoint have in common."""

    sub: Subject
    email: str | None = None
    email_verified: bool | str | None = None  # some send "true"
    name: str | None = None


class TokenReply(msgspec.Struct):
    access_token: str = ""
    token_type: str = ""
    id_token: str = ""
    error: str = ""


class Http:
    """Asks providers, within the bounds of rule 3 (the time limit is the caller's)."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def _opened(self) -> "aiohttp.ClientSession":
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=32, limit_per_host=8),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=HEADERS,
                auto_decompress=False,  # a small answer stays small
            )
        return self._session

    async def ask(self, method: str, url: str, **options: Any) -> tuple[int, bytes]:
        """The status and the whole body."""
        import aiohttp

        try:
            async with self._opened().request(method, url, allow_redirects=False, **options) as response:
                return response.status, await bounded(response.content)
        except (aiohttp.ClientError, OSError) as error:
            raise ExternalError("provider unavailable", type(error).__name__) from error

    async def get(self, url: str, kind: type[T], token: str = "") -> T:
        """The answer to a plain question, which must be 200."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        status, body = await self.ask("GET", url, headers=headers)
        if status != 200:
            raise ExternalError("provider unavailable", f"status {status}")
        return understood(body, kind)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


async def exchange(http: Http, url: str, provider: Provider, started: Started, code: str, *, post: bool) -> TokenReply:
    """Trade the code for tokens; `post` tells which of the two ways the client's secret travels."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": started.redirect,
        "code_verifier": started.verifier,
    }
    headers = {}
    if provider.client_secret and not post:
        pair = f"{quote_plus(provider.client_id)}:{quote_plus(provider.client_secret)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        secret = {"client_secret": provider.client_secret} if provider.client_secret else {}
        form |= {"client_id": provider.client_id, **secret}
    status, body = await http.ask("POST", url, data=form, headers=headers)
    if status == 429 or not (200 <= status < 300 or 400 <= status < 500):
        raise ExternalError("provider unavailable", f"status {status}")
    reply = understood(body, TokenReply)
    if status >= 400 or not reply.access_token or reply.token_type.lower() != "bearer":
        known = re.fullmatch(r"[a-z_]{1,64}", reply.error)  # GitHub refuses with status 200
        raise ExternalError("provider refused", known[0] if known else f"status {status}")
    return reply


def identified(issuer: str, person: Person) -> Identity:
    """The identity, with what cannot be stored or shown left out."""
    email = person.email
    if email is not None and not re.fullmatch(r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,189}", email):
        email = None
    return Identity(
        issuer=issuer,
        subject=person.sub,
        email=email,
        email_verified=email is not None and person.email_verified in (True, "true"),
        name="".join(letter for letter in person.name or "" if letter.isprintable())[:100].strip(),
    )


def acceptable(url: str, *, allow_http: bool) -> bool:
    """https, or http to this very machine where that is allowed."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if not parts.hostname or parts.fragment or parts.username is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and allow_http and loopback(parts.hostname))


def loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def bounded(stream: "aiohttp.StreamReader") -> bytes:
    body = bytearray()
    async for chunk in stream.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES:
            raise ExternalError("provider unavailable", "answer too large")
    return bytes(body)


def understood(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ExternalError("provider unavailable", "answer not understood") from error
