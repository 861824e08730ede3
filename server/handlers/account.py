"""account: making one, getting in, keeping it safe, leaving. (How a login works is in server/login.py.)"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from protocol.account import (
    Account,
    AccountAvatars,
    AccountChangeEmail,
    AccountChangePassword,
    AccountClaim,
    AccountDelete,
    AccountExport,
    AccountExported,
    AccountForgotPassword,
    AccountGet,
    AccountLinkExternal,
    AccountLogin,
    AccountLoginExternal,
    AccountLoginSecondStep,
    AccountLogout,
    AccountProviders,
    AccountRefresh,
    AccountRegister,
    AccountResetPassword,
    AccountSendVerification,
    AccountSetAvatar,
    AccountSetLocation,
    AccountStartExternal,
    AccountUnlinkExternal,
    AccountUpdate,
    AccountVerifyEmail,
    Avatars,
    DeletionReceipt,
    ExternalStart,
    Provider,
    Providers,
    SecondStep,
    Tokens,
)
from protocol.error import (
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    PasswordNeeded,
    SessionRevoked,
    Unauthenticated,
    WrongCredentials,
)
from protocol.frame import Nothing
from server import attempt, login, name, outside
from server import export as exports
from server.avatar import check_avatar
from server.context import Context
from server.router import op
from server.rule import IN_PERSON, LOGGED_IN, PUBLIC
from server.secret import digest
from storage import account, api_key, audit, device, erasure, member, stream, ticket

_TRIES = 5


@op(access=PUBLIC)
async def register(ctx: Context, frame: AccountRegister) -> Tokens:
    """Whether the address is known to somebody else shows in no reply: they get a mail instead."""
    if not ctx.app.config.registration:
        raise Forbidden("this server makes no new accounts: ask its operator")
    username = name.clean(frame.username)
    if frame.password.casefold() in (username.casefold(), (frame.email or "").casefold()):
        raise Invalid("the password must not be your name or address", field="password")
    await ctx.app.attempts.take(attempt.registrations(ctx.address))
    if frame.email is not None:
        await ctx.app.attempts.take(attempt.mails(ctx.address, frame.email))
    password_hash = await ctx.app.passwords.hash(frame.password)
    try:
        async with ctx.db.transaction() as tx:
            who = await account.create(
                tx,
                username=username,
                name_key=name.look(username),
                password_hash=password_hash,
                email=frame.email,
                display_name=frame.display_name,
                locale=frame.locale,
                avatar=ctx.app.site.avatar_for(username),
            )
            if frame.email is not None:
                known = await account.by_email(tx, frame.email)
                await (
                    ctx.app.letters.taken(tx, frame.email) if known else ctx.app.letters.verify(tx, who, frame.email)
                )
            tokens = await login.new_device(ctx, tx, who, frame.device, "account.register")
    except account.NameTaken:
        raise Conflict("somebody has this name, or one that looks like it", field="username") from None
    ctx.app.letters.wake()
    return tokens


@op(access=LOGGED_IN)
async def send_verification(ctx: Context, frame: AccountSendVerification) -> Nothing:
    """Only to the address that waits for it."""
    me = await account.login(ctx.db, ctx.user)
    if me is None or me.email is None or me.email_verified:
        raise Conflict("there is no address to confirm")
    await ctx.app.attempts.take(attempt.mails(ctx.address, me.email))
    async with ctx.db.transaction() as tx:
        await ctx.app.letters.verify(tx, me.id, me.email)
    ctx.app.letters.wake()
    return Nothing()


@op(access=PUBLIC)
async def verify_email(ctx: Context, frame: AccountVerifyEmail) -> Nothing:
    """The ticket knows the account and the address."""
    await ctx.app.attempts.take(attempt.tickets(ctx.address))
    async with ctx.db.transaction() as tx:
        found = await ticket.use(tx, "verify", digest(frame.ticket))
        if found is None or found.account is None:
            raise Expired
        if not await account.confirm_email(tx, found.account, found.data):
            raise Conflict("another account has confirmed this address")
        await ticket.void(tx, found.account, "reset")  # went to the address before
        await audit.record(tx, found.account, "account.verify_email", ctx.origin)
    return Nothing()


@op(access=PUBLIC)
async def login_(ctx: Context, frame: AccountLogin) -> Tokens | SecondStep:
    """By name or confirmed address."""
    who = await login.with_password(ctx, frame.login, name.look(frame.login), frame.password)
    async with ctx.db.transaction() as tx:
        return await login.finish(ctx, tx, who, frame.device, "account.login")


@op(access=PUBLIC)
async def login_second_step(ctx: Context, frame: AccountLoginSecondStep) -> Tokens:
    """A ticket allows a few tries, so that a wrong digit does not cost the password again."""
    await ctx.app.attempts.take(attempt.tickets(ctx.address))
    hashed = digest(frame.ticket)
    found = await ticket.attempt(ctx.db, login.SECOND_STEP, hashed, _TRIES)
    if found is None or found.account is None:
        raise Expired("log in with your password again")
    async with ctx.db.transaction() as tx:
        await account.hold(tx, found.account)
        await login.check_code(ctx, tx, found.account, frame.code)
        if await ticket.use(tx, login.SECOND_STEP, hashed) is None:
            raise Expired("log in with your password again")
        return await login.new_device(ctx, tx, found.account, found.data, "account.login")


@op(access=PUBLIC)
def providers(ctx: Context, frame: AccountProviders) -> Providers:
    """As configured."""
    return Providers(providers=[Provider(name=key, title=title) for key, title in ctx.app.external.names()])


@op(access=PUBLIC)
async def start_external(ctx: Context, frame: AccountStartExternal) -> ExternalStart:
    """The redirect must be one that the operator allows."""
    await ctx.app.attempts.take(attempt.tickets(ctx.address))
    return await outside.start(ctx, frame.provider, frame.redirect)


@op(access=PUBLIC)
async def login_external(ctx: Context, frame: AccountLoginExternal) -> Tokens | SecondStep:
    """Into the linked account, or into a new one."""
    await ctx.app.attempts.take(attempt.tickets(ctx.address))
    provider, identity = await outside.finish(ctx, frame.ticket, frame.state, frame.code, frame.issuer)
    return await outside.login_or_register(ctx, provider, identity, frame.device)


@op(access=IN_PERSON)
async def link_external(ctx: Context, frame: AccountLinkExternal) -> Nothing:
    """One outside account of a provider for one account here."""
    provider, identity = await outside.finish(ctx, frame.ticket, frame.state, frame.code, frame.issuer)
    async with ctx.db.transaction() as tx:
        if await account.hold(tx, ctx.user) is None:
            raise Unauthenticated
        if not await account.link(tx, ctx.user, provider, identity.issuer, identity.subject):
            raise Conflict("this outside account, or another one of the same provider, is linked already")
        await audit.record(tx, ctx.user, "account.link_external", ctx.origin, provider=provider)
    return Nothing()


@op(access=IN_PERSON)
async def unlink_external(ctx: Context, frame: AccountUnlinkExternal) -> Nothing:
    """Not the last way in."""
    me = await login.confirm(ctx, frame.password)
    if me.password_hash is None:
        raise Conflict("set a password first: this is your only way in")
    async with ctx.db.transaction() as tx:
        if not await account.unlink(tx, me.id, frame.provider):
            raise Conflict("this provider is not linked")
        await audit.record(tx, me.id, "account.unlink_external", ctx.origin, provider=frame.provider)
    return Nothing()


@op(access=PUBLIC)
async def refresh(ctx: Context, frame: AccountRefresh) -> Tokens:
    """One successor per token and nonce; a second one for the same token ends the device."""
    await ctx.app.attempts.take(attempt.tickets(ctx.address))
    device_id = ctx.app.keys.refresh_device(frame.refresh)
    given, successors = digest(frame.refresh), ctx.app.keys.next_refresh(frame.refresh, frame.nonce)
    async with ctx.db.transaction() as tx:
        chain = await device.chain(tx, device_id)
        if chain is None or not chain.alive:
            raise SessionRevoked
        if chain.current == given:
            days = ctx.app.config.refresh_days
            await device.advance(tx, device_id, digest(successors[0]), frame.nonce, ctx.address, days)
            return login.tokens(ctx, chain.account, device_id, successors[0])
        if (given, frame.nonce, True) == (chain.previous, chain.previous_nonce, chain.may_retry):
            for successor in successors:  # the secret may have been rotated since the first try
                if chain.current == digest(successor):
                    return login.tokens(ctx, chain.account, device_id, successor)
        ended = await device.revoke(tx, device_id)
        await audit.record(tx, chain.account, "refresh.reused", audit.Origin(ctx.address, device_id))
    await ctx.app.revocations.end(ended)
    raise SessionRevoked("this refresh token was used before: its device is logged out, for it may be stolen")


@op(access=IN_PERSON, alone=True)
async def logout(ctx: Context, frame: AccountLogout) -> Nothing:
    """This socket stays open and speaks for nobody; the device's other ones close."""
    if ctx.device is None:
        raise Unauthenticated
    async with ctx.db.transaction() as tx:
        ended = await device.revoke(tx, ctx.device)
        await audit.record(tx, ctx.user, "account.logout", ctx.origin)
    ctx.leave()
    await ctx.app.revocations.end(ended)
    return Nothing()


@op(access=PUBLIC)
async def forgot_password(ctx: Context, frame: AccountForgotPassword) -> Nothing:
    """The same answer for every address, after the same time; only a confirmed one gets a mail."""
    await ctx.app.attempts.take(attempt.mails(ctx.address, frame.email))
    known = await account.by_email(ctx.db, frame.email)
    if known is not None and known.email is not None:
        ctx.app.later(_send_reset(ctx, known.id, known.email, ctx.origin))
    return Nothing()


async def _send_reset(ctx: Context, who: UUID, email: str, origin: audit.Origin) -> None:
    async with ctx.db.transaction() as tx:
        await ctx.app.letters.reset(tx, who, email)
        await audit.record(tx, who, "account.forgot_password", origin)
    ctx.app.letters.wake()


@op(access=PUBLIC)
async def reset_password(ctx: Context, frame: AccountResetPassword) -> Nothing:
    """Every device and API key ends: whoever knew the old password is out, too."""
    await ctx.app.attempts.take(attempt.tickets(ctx.address))
    hashed = digest(frame.ticket)
    if not await ticket.known(ctx.db, "reset", hashed):  # guesses must not keep the password threads busy
        raise Expired
    password_hash = await ctx.app.passwords.hash(frame.password)
    async with ctx.db.transaction() as tx:
        found = await ticket.use(tx, "reset", hashed)
        if found is None or found.account is None:
            raise Expired
        await account.set_password(tx, found.account, password_hash)
        await ticket.void(tx, found.account, login.SECOND_STEP)
        ended = await device.revoke_all(tx, found.account) + await api_key.revoke_all(tx, found.account)
        await audit.record(tx, found.account, "account.reset_password", ctx.origin)
        await _tell(ctx, tx, found.account, "Your password was changed, by a link from a mail to this address.")
    if ctx.device in ended:
        ctx.leave()  # so that the reply still arrives
    await ctx.app.revocations.end(ended)
    ctx.app.letters.wake()
    return Nothing()


@op(access=IN_PERSON)
async def change_password(ctx: Context, frame: AccountChangePassword) -> Nothing:
    """Every other device is logged out."""
    me = await login.confirm(ctx, frame.password)
    password_hash = await ctx.app.passwords.hash(frame.new_password)
    async with ctx.db.transaction() as tx:
        if not await account.replace_password(tx, me.id, me.password_hash, password_hash):
            raise WrongCredentials("the password was changed meanwhile")
        await ticket.void(tx, me.id, login.SECOND_STEP, "reset")
        ended = await device.revoke_all(tx, me.id, but=ctx.device)
        await audit.record(tx, me.id, "account.change_password", ctx.origin)
        await _tell(ctx, tx, me.id, "Your password was changed.")
    await ctx.app.revocations.end(ended)
    ctx.app.letters.wake()
    return Nothing()


@op(access=IN_PERSON)
async def change_email(ctx: Context, frame: AccountChangeEmail) -> Nothing:
    """The old address hears of it, the new one has to answer."""
    me = await login.confirm(ctx, frame.password)
    await ctx.app.attempts.take(attempt.mails(ctx.address, frame.email))
    async with ctx.db.transaction() as tx:
        known = await account.by_email(tx, frame.email)
        await (ctx.app.letters.taken(tx, frame.email) if known else ctx.app.letters.verify(tx, me.id, frame.email))
        await _tell(ctx, tx, me.id, f"Your address is about to be changed to {frame.email}.")
        await audit.record(tx, me.id, "account.change_email", ctx.origin)
    ctx.app.letters.wake()
    return Nothing()


async def _tell(ctx: Context, tx: Any, who: Any, what: str) -> None:
    """Mail a notice to a confirmed address, if there is one."""
    found = await account.login(tx, who)
    if found is not None and found.email is not None and found.email_verified:
        await ctx.app.letters.notice(tx, found.email, what)


@op(access=LOGGED_IN)
async def get(ctx: Context, frame: AccountGet) -> Account:
    """As it is now."""
    return await _mine(ctx)


async def _mine(ctx: Context) -> Account:
    found = await account.get(ctx.db, ctx.user)
    if found is None:
        raise Unauthenticated
    return found


@op(access=LOGGED_IN, limit="60/m")
async def update(ctx: Context, frame: AccountUpdate) -> Account:
    """What is not in the frame stays."""
    fields = msgspec.structs.fields(frame)
    changes = {one.name: getattr(frame, one.name) for one in fields if one.name != "id"}
    changes = {key: value for key, value in changes.items() if value is not UNSET}
    if "username" in changes:
        changes["username"] = name.clean(changes["username"])
        changes["name_key"] = name.look(changes["username"])
    if "notifications" in changes:
        changes["notifications"] = msgspec.json.encode(changes["notifications"]).decode()
    return await _changed(ctx, changes)


async def _changed(ctx: Context, changes: dict[str, Any]) -> Account:
    try:
        async with ctx.db.transaction() as tx:
            await account.update(tx, ctx.user, changes)
            if changes.keys() & {"username", "display_name"}:
                await member.rename_everywhere(tx, ctx.user)
            if "username" in changes:
                await audit.record(tx, ctx.user, "account.rename", ctx.origin, username=changes["username"])
            found = await account.get(tx, ctx.user)
    except account.NameTaken:
        raise Conflict("somebody has this name, or one that looks like it", field="username") from None
    if found is None:
        raise Unauthenticated
    return found


@op(access=LOGGED_IN)
def avatars(ctx: Context, frame: AccountAvatars) -> Avatars:
    """Those that come with the server."""
    return Avatars(avatars=list(ctx.app.site.avatars))


@op(access=LOGGED_IN, limit="60/m")
async def set_avatar(ctx: Context, frame: AccountSetAvatar) -> Account:
    """One of the built-in ones, or one's own."""
    await check_avatar(ctx, frame.avatar)
    return await _changed(ctx, {"avatar": frame.avatar})


@op(access=LOGGED_IN, limit="60/m")
async def set_location(ctx: Context, frame: AccountSetLocation) -> Account:
    """Rounded to about a hundred metres before it is stored."""
    place = frame.location
    return await _changed(
        ctx,
        {
            "latitude": round(place.latitude, 3) if place else None,
            "longitude": round(place.longitude, 3) if place else None,
        },
    )


@op(access=IN_PERSON, limit="10/h")
async def claim(ctx: Context, frame: AccountClaim) -> Account:
    """Good once, and only while nobody owns the server."""
    await ctx.app.attempts.take(attempt.tickets(ctx.address))
    async with ctx.db.transaction() as tx:
        if await ticket.use(tx, "claim", digest(frame.ticket)) is None:
            raise Expired
        if not await account.set_role(tx, ctx.user, "owner"):
            raise Conflict("this server has an owner")
        await audit.record(tx, ctx.user, "account.claim", ctx.origin)
    return await _mine(ctx)


@op(access=IN_PERSON, limit="120/m")
async def export(ctx: Context, frame: AccountExport) -> AccountExported:
    """All rows that are about the account, as many at a time as a frame holds."""
    if frame.after is None:
        await audit.record(ctx.db, ctx.user, "account.export", ctx.origin)
    return await exports.part(ctx.db, await _mine(ctx), ctx.device, frame.after)


@op(access=IN_PERSON, alone=True)
async def delete(ctx: Context, frame: AccountDelete) -> DeletionReceipt:
    """Ends every login first, so that nothing is written for the account any more; what it said goes behind it."""
    me = await login.confirm(ctx, frame.password)
    async with ctx.db.transaction() as tx:
        await stream.lock(tx, [me.id])  # before its row: whoever makes something for it comes before this, or after it
        if await account.hold(tx, me.id) is None:
            raise Unauthenticated
        if me.two_factor:
            if frame.code is None:
                raise PasswordNeeded("confirm this with the code of your authenticator, too", field="code")
            await login.check_code(ctx, tx, me.id, frame.code)
        ended = await device.revoke_all(tx, me.id) + await api_key.revoke_all(tx, me.id)
        erased, following = await account.erase(tx, me.id), await erasure.begin(tx, me.id)
    ctx.leave()
    await ctx.app.revocations.end(ended)
    ctx.app.presence.changed(me.id)
    ctx.app.erasures.wake()
    return DeletionReceipt(account=me.id, deleted_at=datetime.now(UTC), erased=erased, following=following)
