"""Sign in with somebody else's account: OpenID Connect where it is spoken, plain OAuth 2 elsewhere."""

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import msgspec

from server.oauth import (
    ExternalError,
    Http,
    Identity,
    Person,
    Provider,
    Started,
    Subject,
    acceptable,
    exchange,
    identified,
)
from server.openid import OpenId

__all__ = ["External", "ExternalError", "Identity", "Provider", "Started"]

CODE_CHARACTERS = 4096


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
