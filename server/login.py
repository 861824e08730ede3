"""Getting in, and proving again who one is.

Rule 1: a wrong name, a wrong password and a missing account are one refusal, after the same time.
Rule 2: what is dangerous asks for the password again; with an authenticator, a login asks for its code.
Rule 3: a login counts only if what it was checked against still holds when it is stored: who changes a password
logs out those who are just logging in with the old one, too.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from protocol.account import SecondStep, Tokens
from protocol.error import Expired, Overloaded, PasswordNeeded, Unauthenticated, WrongCredentials
from server import attempt, totp
from server.secret import Keyring, digest, ticket
from storage import account, audit, device, two_factor
from storage import ticket as tickets
from storage.account import Login
from storage.ids import new_id

if TYPE_CHECKING:
    from server.context import Context
    from storage.pool import Database

SECOND_STEP = "second_step"
_SECOND_STEP_SECONDS = 300
_DAY = 86400


async def with_password(ctx: Context, name: str, name_key: str, password: str) -> Login:
    """Who logs in with these, or `WrongCredentials`."""
    attempts = attempt.logins(ctx.address, name_key)
    await ctx.app.attempts.take(attempts)
    found = await account.by_login(ctx.db, name_key, name)
    anywhere = attempt.logins_anywhere(name_key)
    if found is None or not await device.known_address(ctx.db, found.id, ctx.address):
        await ctx.app.attempts.take(anywhere)
    if not await ctx.app.passwords.matches(found.password_hash if found else None, password):
        if found is not None:
            ctx.app.later(audit.record(ctx.db, found.id, "login.failed", ctx.origin))
        raise WrongCredentials
    assert found is not None and found.password_hash is not None
    await ctx.app.attempts.give_back(attempts)
    if ctx.app.passwords.outdated(found.password_hash):
        return await _rehashed(ctx, found, password)
    return found


async def _rehashed(ctx: Context, who: Login, password: str) -> Login:
    """With a hash of today's costs, unless the password was changed meanwhile."""
    fresh = await ctx.app.passwords.hash(password)
    await account.replace_password(ctx.db, who.id, who.password_hash, fresh)
    return msgspec.structs.replace(who, password_hash=fresh)


async def finish(ctx: Context, db: Database, who: Login, device_name: str, how: str) -> Tokens | SecondStep:
    """Tokens for a new device, or the question for the second factor."""
    now = await account.hold(db, who.id)
    if now is None or now.password_hash != who.password_hash:
        raise Overloaded("this account was changed just now: try again", retry_after=0.2)
    if now.two_factor:
        secret = ticket()
        await tickets.issue(db, SECOND_STEP, digest(secret), who.id, _SECOND_STEP_SECONDS, device_name, only=False)
        return SecondStep(ticket=secret, expires_in=_SECOND_STEP_SECONDS)
    return await new_device(ctx, db, who.id, device_name, how)


async def new_device(ctx: Context, db: Database, who: UUID, device_name: str, how: str) -> Tokens:
    """Log a new device in."""
    config, keys, device_id = ctx.app.config, ctx.app.keys, new_id()
    refresh = keys.first_refresh(device_id)
    await device.create(db, device_id, who, device_name, ctx.address, digest(refresh), config.refresh_days)
    await audit.record(db, who, how, audit.Origin(ctx.address, device_id), name=device_name)
    return tokens(ctx, who, device_id, refresh)


def tokens(ctx: Context, who: UUID, device_id: UUID, refresh: str) -> Tokens:
    """What a device gets to stay logged in."""
    seconds = ctx.app.config.access_minutes * 60
    return Tokens(
        account=who,
        device=device_id,
        access=ctx.app.keys.access(who, device_id, seconds),
        access_expires_in=seconds,
        refresh=refresh,
        refresh_expires_in=ctx.app.config.refresh_days * _DAY,
    )


async def confirm(ctx: Context, password: str) -> Login:
    """The account that asks, once it has proved again that it is itself."""
    found = await account.login(ctx.db, ctx.user)
    if found is None:
        raise Unauthenticated
    if found.password_hash is None:
        if not await device.fresh(ctx.db, ctx.device):
            raise PasswordNeeded("log in again, then repeat this within ten minutes")
        return found
    attempts = attempt.passwords(str(found.id))
    await ctx.app.attempts.take(attempts)
    if not await ctx.app.passwords.matches(found.password_hash, password):
        await audit.record(ctx.db, found.id, "password.wrong", ctx.origin)
        raise WrongCredentials("the password is wrong")
    await ctx.app.attempts.give_back(attempts)
    return found


async def check_code(ctx: Context, db: Database, who: UUID, code: str) -> None:
    """Use up an authenticator's code or a recovery code, or refuse it."""
    attempts = attempt.codes(str(who))
    await ctx.app.attempts.take(attempts)
    if not await (_use_code(ctx, db, who, code) if code.isdecimal() else _use_recovery(db, who, code)):
        ctx.app.later(audit.record(ctx.db, who, "code.wrong", ctx.origin))
        raise WrongCredentials("the code is wrong, or was used before")
    await ctx.app.attempts.give_back(attempts)


async def _use_code(ctx: Context, db: Database, who: UUID, code: str) -> bool:
    found = await two_factor.get(db, who, lock=True)
    if found is None or not found.confirmed:
        return False
    step = totp.match(ctx.app.keys.unseal(found.sealed, purpose(who)), code, found.last_step)
    if step is not None:
        await two_factor.use_step(db, who, step)
    return step is not None


async def _use_recovery(db: Database, who: UUID, code: str) -> bool:
    return await two_factor.use_recovery(db, who, recovery_hash(who, code))


def recovery_hash(who: UUID, code: str) -> bytes:
    """What the database keeps of a recovery code; dashes and case do not matter."""
    return digest(f"{who}:{code.replace('-', '').upper()}")


async def reseal(db: Database, keys: Keyring) -> None:
    """Move what older secrets have sealed to the current one, so that they can be dropped some day."""
    for who, box in await two_factor.sealed_before(db, keys.current.id):
        with contextlib.suppress(Expired):
            await two_factor.reseal(db, who, box, keys.seal(keys.unseal(box, purpose(who)), purpose(who)))


def purpose(who: UUID) -> str:
    """What an authenticator's secret is sealed for: nobody else's row can hold it."""
    return f"two_factor:{who}"
