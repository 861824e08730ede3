"""scheduled: messages that are sent at a time. Who may write where counts then, and is looked at here only to help."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from protocol.error import Conflict, Invalid, Missing
from protocol.frame import Nothing
from protocol.scheduled import (
    Scheduled,
    ScheduledCancel,
    ScheduledCancelled,
    ScheduledCreate,
    ScheduledList,
    ScheduledMessages,
    ScheduledSaved,
    ScheduledUpdate,
)
from server.access import in_channel
from server.context import Context
from server.fact import Change, changing
from server.router import op
from server.rule import LOGGED_IN, bound, optional
from storage import scheduled as rows
from storage.entry import stored_before
from storage.standing import Standing

_SOONEST, _LATEST = timedelta(seconds=5), timedelta(days=366)
_OWN = optional(bound("scheduled", rows.own, "scheduled"))
_SENT = "this was sent already, or is about to be"


@op(access=LOGGED_IN & in_channel(), limit="120/m")
async def create(ctx: Context, frame: ScheduledCreate, channel: Standing) -> Scheduled:
    """Told to one's other devices; the same nonce again is the same one, and never another message."""
    async with changing(ctx.app, ctx.user) as change:
        before = await rows.own(change.tx, ctx.user, frame.nonce)
        if before is not None:
            return before
        await change.standing(ctx.user, channel.id, "send")
        await _check_unsent(change, ctx.user, frame.nonce)
        room = await rows.room(change.tx, ctx.user)
        if room.count >= rows.MOST:
            raise Conflict("you have a hundred scheduled messages: cancel one first")
        return await _save(ctx, change, _made(frame, room.now))


@op(access=LOGGED_IN)
async def list_(ctx: Context, frame: ScheduledList) -> ScheduledMessages:
    """One's own only."""
    return await rows.listing(ctx.db, ctx.user, frame.after, frame.limit)


@op(access=LOGGED_IN & _OWN, limit="120/m")
async def update(ctx: Context, frame: ScheduledUpdate, scheduled: Scheduled | None) -> Scheduled:
    """Told to one's other devices."""
    async with changing(ctx.app, ctx.user) as change:
        before = await _held(ctx, change, frame.scheduled)
        given: dict[str, Any] = {
            name: value
            for name in ("text", "at", "reply_to", "mentions", "silent")
            if (value := getattr(frame, name)) is not msgspec.UNSET
        }
        if "at" in given:
            given["at"] = _time(given["at"], (await rows.room(change.tx, ctx.user)).now)
        elif before.failed is not None:
            raise Invalid("it has failed: say when to send it", field="at")
        if "mentions" in given:
            given["mentions"] = list(dict.fromkeys(given["mentions"]))
        after = msgspec.structs.replace(before, failed=None, **given)
        return after if after == before else await _save(ctx, change, after)


@op(access=LOGGED_IN & _OWN, limit="120/m")
async def cancel(ctx: Context, frame: ScheduledCancel, scheduled: Scheduled | None) -> Nothing:
    """Told to one's other devices."""
    async with changing(ctx.app, ctx.user) as change:
        before = await _held(ctx, change, frame.scheduled)
        await rows.remove(change.tx, ctx.user, before.id)
        change.tell(ScheduledCancelled(stream=ctx.user, seq=change.next(ctx.user), scheduled=before.id))
    return Nothing()


async def _save(ctx: Context, change: Change, message: Scheduled) -> Scheduled:
    await rows.save(change.tx, ctx.user, message)
    change.tell(ScheduledSaved(stream=ctx.user, seq=change.next(ctx.user), scheduled=message))
    return message


async def _held(ctx: Context, change: Change, id: UUID) -> Scheduled:
    """One's own that can still be changed."""
    held = await rows.hold(change.tx, ctx.user, id)
    if held is None:
        await _check_unsent(change, ctx.user, id)
        raise Missing
    if held.begun:
        raise Conflict(_SENT)
    return held.message


async def _check_unsent(change: Change, user: UUID, id: UUID) -> None:
    if (await stored_before(change.tx, [(user, id)]))[0] is not None:
        raise Conflict(_SENT)


def _made(frame: ScheduledCreate, now: datetime) -> Scheduled:
    return Scheduled(
        id=frame.nonce,
        channel=frame.channel,
        text=frame.text,
        at=_time(frame.at, now),
        reply_to=frame.reply_to,
        mentions=list(dict.fromkeys(frame.mentions)),
        silent=frame.silent,
        created_at=now,
        failed=None,
    )


def _time(at: datetime, now: datetime) -> datetime:
    """A time that it can be sent at, spelt as the database does."""
    if not now + _SOONEST <= at <= now + _LATEST:
        raise Invalid("from five seconds to a year ahead", field="at")
    return at.astimezone(UTC)
