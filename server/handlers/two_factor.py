"""two_factor: the authenticator."""

from uuid import UUID

from protocol.error import Conflict, WrongCredentials
from protocol.frame import Nothing
from protocol.two_factor import (
    RecoveryCodes,
    TwoFactorConfirm,
    TwoFactorDisable,
    TwoFactorEnable,
    TwoFactorRenew,
    TwoFactorSecret,
)
from server import attempt, login, totp
from server.context import Context
from server.router import op
from server.rule import IN_PERSON
from storage import audit, two_factor
from storage.pool import Database


@op(access=IN_PERSON)
async def enable(ctx: Context, frame: TwoFactorEnable) -> TwoFactorSecret:
    """A secret that counts for nothing until it is confirmed."""
    me = await login.confirm(ctx, frame.password)
    secret = totp.new_secret()
    if not await two_factor.begin(ctx.db, me.id, ctx.app.keys.seal(secret, login.purpose(me.id))):
        raise Conflict("an authenticator is in use already: disable it first")
    return TwoFactorSecret(secret=totp.shown(secret), uri=totp.uri(secret, me.username, "onesocket"))


@op(access=IN_PERSON)
async def confirm(ctx: Context, frame: TwoFactorConfirm) -> RecoveryCodes:
    """The first code proves that the authenticator works."""
    await ctx.app.attempts.take(attempt.codes(str(ctx.user)))
    async with ctx.db.transaction() as tx:
        found = await two_factor.get(tx, ctx.user, lock=True)
        if found is None or found.confirmed:
            raise Conflict("there is no authenticator to confirm")
        secret = ctx.app.keys.unseal(found.sealed, login.purpose(ctx.user))
        step = totp.match(secret, frame.code, found.last_step)
        if step is None:
            raise WrongCredentials("the code is wrong: is the device's clock right?")
        await two_factor.confirm(tx, ctx.user, step)
        await audit.record(tx, ctx.user, "two_factor.confirm", ctx.origin)
        return await _new_codes(tx, ctx.user)


@op(access=IN_PERSON)
async def renew(ctx: Context, frame: TwoFactorRenew) -> RecoveryCodes:
    """Ten new ones."""
    me = await login.confirm(ctx, frame.password)
    async with ctx.db.transaction() as tx:
        await login.check_code(ctx, tx, me.id, frame.code)
        await audit.record(tx, me.id, "two_factor.renew", ctx.origin)
        return await _new_codes(tx, me.id)


@op(access=IN_PERSON)
async def disable(ctx: Context, frame: TwoFactorDisable) -> Nothing:
    """With both proofs."""
    me = await login.confirm(ctx, frame.password)
    async with ctx.db.transaction() as tx:
        await login.check_code(ctx, tx, me.id, frame.code)
        await two_factor.disable(tx, me.id)
        await audit.record(tx, me.id, "two_factor.disable", ctx.origin)
    return Nothing()


async def _new_codes(db: Database, who: UUID) -> RecoveryCodes:
    codes = totp.recovery_codes()
    await two_factor.set_recovery(db, who, [login.recovery_hash(who, code) for code in codes])
    return RecoveryCodes(codes=codes)
