"""api_key: keys of programs."""

from protocol.api_key import ApiKey, ApiKeyCreate, ApiKeyList, ApiKeyRevoke, ApiKeys, NewApiKey
from protocol.error import Conflict, Invalid, Unauthenticated
from protocol.frame import Nothing
from server import login, secret
from server.context import Context
from server.router import op
from server.rule import IN_PERSON, bound
from storage import account, api_key, audit


@op(access=IN_PERSON)
async def create(ctx: Context, frame: ApiKeyCreate) -> NewApiKey:
    """Scopes must name ops that exist, so that a typing error is not a key that can do nothing."""
    known = set(ctx.app.router.ops) | {name.partition(".")[0] for name in ctx.app.router.ops} | {"*"}
    for scope in frame.scopes:
        if scope not in known:
            raise Invalid(f"there is no op or domain {scope}", field="scopes")
    me = await login.confirm(ctx, frame.password)
    plain = secret.api_key()
    async with ctx.db.transaction() as tx:
        if await account.hold(tx, me.id) is None:  # and two at once must not both be the last that fits
            raise Unauthenticated
        key = await api_key.create(tx, me.id, frame.name, secret.digest(plain), frame.scopes, frame.days)
        if key is None:
            raise Conflict(f"you have {api_key.MOST} keys: revoke one first")
        await audit.record(tx, me.id, "api_key.create", ctx.origin, name=frame.name, key=str(key.id))
    return NewApiKey(key=key, secret=plain)


@op(access=IN_PERSON)
async def list_(ctx: Context, frame: ApiKeyList) -> ApiKeys:
    """Without their secrets, which nobody has but who got them."""
    return ApiKeys(keys=await api_key.listing(ctx.db, ctx.user))


@op(access=IN_PERSON & bound("key", api_key.own, "api_key"))
async def revoke(ctx: Context, frame: ApiKeyRevoke, key: ApiKey) -> Nothing:
    """At once, and on every process."""
    async with ctx.db.transaction() as tx:
        ended = await api_key.revoke(tx, key.id)
        await audit.record(tx, ctx.user, "api_key.revoke", ctx.origin, name=key.name, key=str(key.id))
    await ctx.app.revocations.end(ended)
    return Nothing()
