"""Sign in with somebody else's account: the OAuth 2 code flow, and OpenID Connect where it is spoken.

Owner of `aiohttp` (loaded when the first person signs in this way), and beside server/secret.py the only user
of `jwt`, here for nothing but tokens that a provider signed.

Rule 1: a code is worth nothing without the verifier (PKCE) and the nonce of the flow that asked for it. Who
        calls keeps `Started` under its state for ten minutes, takes it out once, and shows it to nobody.
Rule 2: an id_token counts when signature, issuer, audience, times and nonce all hold, and a signature only
        when it is made with a public-key algorithm that we name.
Rule 3: providers are bounded: 256 KiB an answer, one time limit a step, no redirects, no cookies, TLS (or
        loopback).
Rule 4: errors say what happened in our words. What a provider sent, and every secret, stays out of them.
"""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    import aiohttp
    import jwt

T = TypeVar("T")
Reason = Literal["unknown provider", "provider unavailable", "provider refused", "bad token"]
Subject = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\A[\x21-\x7e]+\Z")]

ANSWER_BYTES = 256 * 1024
CODE_CHARACTERS = 4096
CACHE_SECONDS = 3600
KEY_REFETCH_SECONDS = 60
LEEWAY_SECONDS = 30
KEY_TYPES = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
MALFORMED = (ValueError, TypeError, ArithmeticError, RecursionError)  # odd numbers and nesting inside a token
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


class TokenReply(msgspec.Struct):
    access_token: str = ""
    token_type: str = ""
    id_token: str = ""
    error: str = ""


class Discovery(msgspec.Struct):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


class Person(msgspec.Struct):
    """What the claims of an id_token and the answer of a userinfo endpoint have in common."""

    sub: Subject
    email: str | None = None
    email_verified: bool | str | None = None  # some send "true"
    name: str | None = None


class Claims(Person, kw_only=True):
    aud: str | list[str]
    nonce: Annotated[str, Meta(min_length=1)]
    azp: str | None = None


class Account(msgspec.Struct):
    """A plain OAuth 2 provider's user, in GitHub's words."""

    id: int | Subject
    login: str = ""
    name: str | None = None
    email: str | None = None


class AccountEmail(msgspec.Struct):
    email: str
    primary: bool = False
    verified: bool = False


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


class Cached(Generic[T]):
    """One answer, kept for an hour. Who asks while it is being fetched waits for that fetch."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._kept: tuple[float, T] | None = None
        self._refetch_at = float("-inf")

    async def get(self) -> T:
        async with self._lock:
            if self._kept is not None and self._clock() < self._kept[0]:
                return self._kept[1]
            return await self._fetched()

    async def newer(self) -> T:
        """Fetched again although it is not old yet, at most once a minute."""
        async with self._lock:
            if self._kept is not None and self._clock() < self._refetch_at:
                return self._kept[1]
            self._refetch_at = self._clock() + KEY_REFETCH_SECONDS
            return await self._fetched()

    async def _fetched(self) -> T:
        value = await self._fetch()
        self._kept = (self._clock() + CACHE_SECONDS, value)
        return value


class OpenId:
    """One OpenID provider: endpoints and keys from its discovery document, the person from its id_token."""

    def __init__(self, provider: Provider, http: Http, clock: Callable[[], float]) -> None:
        self.provider = provider
        self.scopes = tuple(dict.fromkeys(("openid", *(provider.scopes or ("email", "profile")))))
        self._http = http
        self._discovery = Cached(self._discover, clock)
        self._keys = Cached(self._fetch_keys, clock)

    async def endpoint(self) -> str:
        """Where a person is sent."""
        return (await self._discovery.get()).authorization_endpoint

    async def identity(self, started: Started, code: str, iss: str | None) -> Identity:
        """Who came back with `code`."""
        discovery = await self._discovery.get()
        required = discovery.authorization_response_iss_parameter_supported
        if iss != self.provider.issuer and (iss is not None or required):
            raise ExternalError("provider refused", "the answer came from another issuer")  # RFC 9207
        post = "client_secret_basic" not in discovery.token_endpoint_auth_methods_supported
        tokens = await exchange(self._http, discovery.token_endpoint, self.provider, started, code, post=post)
        claims = await self._verified(tokens.id_token, started.nonce)
        person = await self._person(claims, tokens.access_token, discovery.userinfo_endpoint)
        return identified(self.provider.issuer, person)

    async def _discover(self) -> Discovery:
        url = self.provider.issuer.rstrip("/") + "/.well-known/openid-configuration"
        discovery = await self._http.get(url, Discovery)
        if discovery.issuer != self.provider.issuer:
            raise ExternalError("provider unavailable", "its discovery document names another issuer")
        endpoints = [discovery.authorization_endpoint, discovery.token_endpoint, discovery.jwks_uri]
        local = self.provider.issuer.startswith("http:")
        for url in [*endpoints, discovery.userinfo_endpoint or discovery.token_endpoint]:
            if not acceptable(url, allow_http=local):
                raise ExternalError("provider unavailable", "its discovery document names an unsafe endpoint")
        return discovery

    async def _fetch_keys(self) -> KeySet:
        return await self._http.get((await self._discovery.get()).jwks_uri, KeySet)

    async def _verified(self, token: str, nonce: str) -> Claims:
        """The claims of an id_token for which rule 2 holds."""
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(header.get("alg"), header.get("kid"))
            decoded = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self.provider.client_id,
                issuer=self.provider.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "sub"], "enforce_minimum_key_length": True},
            )
            claims = msgspec.convert(decoded, Claims)
        except (jwt.PyJWTError, msgspec.ValidationError, *MALFORMED) as error:
            raise ExternalError("bad token", type(error).__name__) from error
        several = not isinstance(claims.aud, str) and len(claims.aud) > 1
        if claims.azp != self.provider.client_id and (several or claims.azp is not None):
            raise ExternalError("bad token", "made for another client")
        if not hmac.compare_digest(claims.nonce.encode(), nonce.encode()):
            raise ExternalError("bad token", "made for another flow")
        return claims

    async def _key(self, algorithm: object, kid: object) -> "jwt.PyJWK":
        """The provider's key for a token's header, which chooses among keys, not what a key is used for."""
        from jwt import PyJWK

        if not isinstance(algorithm, str) or algorithm not in KEY_TYPES:
            raise ExternalError("bad token", "algorithm not accepted")
        known = fitting((await self._keys.get()).keys, algorithm, kid)
        if not known:
            known = fitting((await self._keys.newer()).keys, algorithm, kid)
        if len(known) != 1:
            raise ExternalError("bad token", "no such key")
        return PyJWK(known[0], algorithm)

    async def _person(self, claims: Claims, token: str, userinfo: str | None) -> Person:
        """The id_token's word, or the userinfo endpoint's where only that tells addresses."""
        if claims.email is not None or userinfo is None or "email" not in self.scopes:
            return claims
        person = await self._http.get(userinfo, Person, token)
        if person.sub != claims.sub:
            raise ExternalError("bad token", "userinfo is about somebody else")
        return person


class PlainOAuth:
    """One OAuth 2 provider that is not an OpenID provider: the person from its user and e-mail endpoints."""

    def __init__(self, provider: Provider, http: Http) -> None:
        self.provider = provider
        self.scopes = provider.scopes
        self._http = http

    async def endpoint(self) -> str:
        return self.provider.authorize_url

    async def identity(self, started: Started, code: str, iss: str | None) -> Identity:
        provider = self.provider
        tokens = await exchange(self._http, provider.token_url, provider, started, code, post=True)
        account = await self._http.get(provider.user_url, Account, tokens.access_token)
        email, verified = account.email, False
        if provider.emails_url:
            listed = await self._http.get(provider.emails_url, list[AccountEmail], tokens.access_token)
            primary = next((entry for entry in listed if entry.primary and entry.verified), None)
            email, verified = (primary.email, True) if primary else (email, False)
        name = account.name or account.login
        return identified(provider.user_url, Person(str(account.id), email, verified, name))


class External:
    """Every outside provider that an operator configured."""

    def __init__(
        self,
        providers: Sequence[Provider],
        *,
        allow_http: bool = False,  # of loopback addresses, for development and tests
        timeout: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = Http()
        self._timeout = timeout
        self._flows: dict[str, OpenId | PlainOAuth] = {}
        for provider in map(Provider.completed, providers):
            check(provider, allow_http=allow_http)
            if provider.name in self._flows:
                raise ValueError(f"provider {provider.name!r} is configured twice")
            openid = OpenId(provider, self._http, clock) if provider.issuer else None
            self._flows[provider.name] = openid or PlainOAuth(provider, self._http)

    def names(self) -> list[tuple[str, str]]:
        """(name, title) of each provider, in the order of the configuration."""
        return [(name, flow.provider.title or name) for name, flow in self._flows.items()]

    async def begin(self, provider: str, redirect: str) -> Started:
        """A new flow; the provider will send the person back to `redirect`."""
        flow = self._flow(provider)
        async with self._in_time():
            endpoint = await flow.endpoint()
        state, verifier, nonce = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = hashlib.sha256(verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": flow.provider.client_id,
            "redirect_uri": redirect,
            "scope": " ".join(flow.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        url = f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"
        return Started(provider, url, state, verifier, nonce, redirect)

    async def finish(self, provider: str, started: Started, code: str, *, iss: str | None = None) -> Identity:
        """Who came back with `code`, and with `iss` if the provider named itself beside it."""
        flow = self._flow(provider)
        if started.provider != provider or not 0 < len(code) <= CODE_CHARACTERS:
            raise ExternalError("provider refused", "the answer does not belong to this flow")
        async with self._in_time():
            return await flow.identity(started, code, iss)

    async def close(self) -> None:
        await self._http.close()

    def _flow(self, provider: str) -> OpenId | PlainOAuth:
        if provider not in self._flows:
            raise ExternalError("unknown provider")
        return self._flows[provider]

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError as error:
            raise ExternalError("provider unavailable", "no answer in time") from error


def check(provider: Provider, *, allow_http: bool) -> None:
    """Refuse a configuration that cannot work, or that would carry secrets in the clear."""
    plain = [provider.authorize_url, provider.token_url, provider.user_url]
    urls = [provider.issuer] if provider.issuer else [*plain, provider.emails_url or provider.user_url]
    for url in urls:
        if not acceptable(url, allow_http=allow_http):
            raise ValueError(f"provider {provider.name!r}: {url!r} is not an https:// address")


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


def fitting(keys: Sequence[dict[str, Any]], algorithm: str, kid: object) -> list[dict[str, Any]]:
    """The keys that may have signed a token with this header; without kid, any key of its kind."""
    return [
        key
        for key in keys
        if key.get("kty") == KEY_TYPES[algorithm]
        and (kid is None or key.get("kid") == kid)
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
    ]


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
