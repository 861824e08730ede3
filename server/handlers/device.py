"""device: where one is logged in."""

from protocol.device import (
    Device,
    DeviceList,
    DeviceRevoke,
    DeviceRevokeOthers,
    Devices,
    DeviceSetPush,
    Revoked,
)
from protocol.error import Unauthenticated
from protocol.frame import Nothing
from server.context import Context
from server.router import op
from server.rule import IN_PERSON, bound
from storage import audit, device


@op(access=IN_PERSON)
async def list_(ctx: Context, frame: DeviceList) -> Devices:
    """Live ones only."""
    return Devices(devices=await device.listing(ctx.db, ctx.user, ctx.device))


@op(access=IN_PERSON & bound("device", device.own))
async def revoke(ctx: Context, frame: DeviceRevoke, device: Device) -> Nothing:
    """This socket, if it is the device's, stays open and speaks for nobody."""
    await _end(ctx, device)
    return Nothing()


@op(access=IN_PERSON)
async def revoke_others(ctx: Context, frame: DeviceRevokeOthers) -> Revoked:
    """All but the one that asks."""
    async with ctx.db.transaction() as tx:
        ended = await device.revoke_all(tx, ctx.user, but=ctx.device)
        await audit.record(tx, ctx.user, "device.revoke_others", ctx.origin, count=str(len(ended)))
    await ctx.app.revocations.end(ended)
    return Revoked(count=len(ended))


@op(access=IN_PERSON)
async def set_push(ctx: Context, frame: DeviceSetPush) -> Nothing:
    """For the device that asks."""
    if ctx.device is None:
        raise Unauthenticated
    await device.set_push(ctx.db, ctx.device, frame.push)
    return Nothing()


async def _end(ctx: Context, one: Device) -> None:
    async with ctx.db.transaction() as tx:
        ended = await device.revoke(tx, one.id)
        await audit.record(tx, ctx.user, "device.revoke", ctx.origin, device=str(one.id), name=one.name)
    if one.id == ctx.device:
        ctx.leave()
    await ctx.app.revocations.end(ended)
