"""Logging in with an outside service: from the redirect back to an account here.

Rule 1: the answer counts only where the login was started (`ticket`) and only for it (`state`), once.
Rule 2: an outside account is known by (issuer, subject), never by its address: addresses change hands.
Rule 3: an address that somebody here has confirmed is never taken over by an outside account.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from protocol.account import ExternalStart, SecondStep, Tokens
from protocol.error import Conflict, Expired, Forbidden, Invalid, Unavailable, WrongCredentials
from server import login, name
from server.external import ExternalError, Identity, Started
from server.secret import digest, ticket
from storage import account
from storage import ticket as tickets

if TYPE_CHECKING:
    from server.context import Context
    from storage.pool import Transaction

log = logging.getLogger("onesocket.external")
_KIND, _SECONDS = "external", 600
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


async def start(ctx: Context, provider: str, redirect: str) -> ExternalStart:
    """Where to send the person; what must come back is kept for ten minutes."""
    if not _allowed(redirect, [f"{ctx.app.public_url}/external", *ctx.app.config.external_redirects]):
        raise Invalid("the operator has not allowed this address: see `external_redirects`", field="redirect")
    if provider not in dict(ctx.app.external.names()):
        raise Invalid("there is no such provider: see account.providers", field="provider")
    try:
        started = await ctx.app.external.begin(provider, redirect)
    except ExternalError as error:
        raise _refusal(provider, error) from None
    secret = ticket()
    sealed = ctx.app.keys.seal(msgspec.json.encode(started), _KIND).hex()
    await tickets.issue(ctx.db, _KIND, digest(secret), None, _SECONDS, sealed)
    return ExternalStart(url=started.url, state=started.state, ticket=secret, expires_in=_SECONDS)


async def finish(ctx: Context, secret: str, state: str, code: str, issuer: str | None) -> tuple[str, Identity]:
    """Who came back: the provider's name, and who it says they are."""
    found = await tickets.use(ctx.db, _KIND, digest(secret))
    if found is None:
        raise Expired("start this login again")
    plain = ctx.app.keys.unseal(bytes.fromhex(found.data), _KIND)
    started = msgspec.json.decode(plain, type=Started)
    if not hmac.compare_digest(started.state.encode(), state.encode()):
        raise WrongCredentials("this answer does not belong to the login that was started here", field="state")
    try:
        return started.provider, await ctx.app.external.finish(started.provider, started, code, iss=issuer)
    except ExternalError as error:
        raise _refusal(started.provider, error) from None


async def login_or_register(ctx: Context, provider: str, who: Identity, device: str) -> Tokens | SecondStep:
    """Into the linked account, or into a new one."""
    for _ in range(5):
        try:
            async with ctx.db.transaction() as tx:
                known = await account.by_identity(tx, who.issuer, who.subject)
                if known is not None:
                    return await login.finish(ctx, tx, known, device, "account.login_external")
                return await _register(ctx, tx, provider, who, device)
        except account.NameTaken:
            continue
    raise Conflict("no free name was found: register with a password, then link this provider")


async def _register(ctx: Context, tx: Transaction, provider: str, who: Identity, device: str) -> Tokens:
    if not ctx.app.config.registration:
        raise Forbidden("this server makes no new accounts: ask its operator")
    email = who.email if who.email_verified else None
    if email is not None and await account.by_email(tx, email):
        raise Conflict("you have an account with this address: log in to it, then link this provider")
    username = _name(who)
    new = await account.create(
        tx,
        username=username,
        name_key=name.look(username),
        password_hash=None,
        email=email,
        display_name=re.sub(r"[^\w .'-]", "", who.name)[:80],
        locale="en",
        avatar=ctx.app.site.avatar_for(username),
    )
    if email is not None and not await account.confirm_email(tx, new, email):
        raise Conflict("you have an account with this address: log in to it, then link this provider")
    if not await account.link(tx, new, provider, who.issuer, who.subject):
        raise Conflict("try again")
    return await login.new_device(ctx, tx, new, device, "account.login_external")


def _name(who: Identity) -> str:
    """A free-looking name made of what the provider knows."""
    source = who.name or (who.email or "").partition("@")[0]
    stem = re.sub(r"[\W_]+", ".", source).strip(".")[:20] or "user"
    try:
        name.clean(stem)
    except Invalid:
        stem = "user"
    return f"{stem}.{secrets.randbelow(10**6):06d}"


def _allowed(redirect: str, allowed: list[str]) -> bool:
    """Exactly one of the list; a program on one's own machine may listen on any port."""
    given = urlsplit(redirect)
    if given.fragment or given.username:
        return False
    for one in map(urlsplit, allowed):
        same_host = given.netloc == one.netloc
        own_machine = given.hostname == one.hostname and given.hostname in _LOOPBACK and given.scheme == "http"
        if (given.scheme, given.path, given.query) == (one.scheme, one.path, one.query) and (same_host or own_machine):
            return True
    return False


def _refusal(provider: str, error: ExternalError) -> Unavailable | WrongCredentials:
    log.warning("%s: %s", provider, error.reason)
    if error.reason == "provider unavailable":
        return Unavailable(f"{provider} does not answer", retry_after=10)
    return WrongCredentials(f"{provider} did not confirm who you are: start again")
