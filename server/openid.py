"""OpenID Connect with one provider: its discovery document, its keys, and who its id tokens speak of.

Beside server/secret.py the only user of `jwt`, here for nothing but tokens that a provider signed.

Rule: an id_token counts when signature, issuer, audience, times and nonce all hold, and a signature only when it is
made with a public-key algorithm that we name.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta

from server.oauth import ExternalError, Http, Identity, Person, Provider, Started, acceptable, exchange, identified

if TYPE_CHECKING:
    import jwt

T = TypeVar("T")

CACHE_SECONDS = 3600
KEY_REFETCH_SECONDS = 60
LEEWAY_SECONDS = 30
KEY_TYPES = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
MALFORMED = (ValueError, TypeError, ArithmeticError, RecursionError)  # odd numbers and nesting inside a token


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


class Claims(Person, kw_only=True):
    aud: str | list[str]
    nonce: Annotated[str, Meta(min_length=1)]
    azp: str | None = None


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
