"""Polls: what a vote makes of one, and how it ends.

Rule 1: counts are moved under the stream's lock by what a vote was and what it is now, never counted anew: a poll of a
        hundred thousand takes a vote as fast as one of ten.
Rule 2: once it is closed nobody votes; only the votes of deleted accounts still go.
Rule 3: what somebody has chosen in an anonymous poll is told to their own devices alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from protocol.ballot import NewPoll, Poll, PollOption
from protocol.error import Conflict, Invalid, Missing
from protocol.message import Message
from protocol.permission import bits
from protocol.poll import PollChosen, PollClosed, PollVoted
from server.fact import Change, changing
from server.rule import check
from storage import due
from storage import message as messages
from storage import poll as polls
from storage.due import Due

if TYPE_CHECKING:
    from server.app import Server

_SOONEST, _LATEST = timedelta(minutes=1), timedelta(days=60)


def begun(asked: NewPoll) -> Poll:
    """A poll in which nobody has voted yet."""
    return Poll(
        options=[PollOption(text=text) for text in asked.options],
        multiple=asked.multiple,
        anonymous=asked.anonymous,
        closes_at=asked.closes_at.astimezone(UTC) if asked.closes_at else None,
    )


def in_time(asked: NewPoll) -> bool:
    """Whether it closes when a poll may."""
    now = datetime.now(UTC)
    return asked.closes_at is None or now + _SOONEST <= asked.closes_at <= now + _LATEST


async def vote(app: Server, user: UUID, channel: UUID, seq: int, chosen: Sequence[int]) -> int:
    """Let somebody choose; the seq of the fact that says so, 0 when that is what they have chosen already."""
    async with changing(app, user, channel) as change:
        await change.standing(user, channel, "react")
        poll = _open(await held(change, channel, seq))
        options = sorted(set(chosen))
        if options and options[-1] >= len(poll.options):
            raise Invalid("there is no such option", field="options")
        if len(options) > 1 and not poll.multiple:
            raise Invalid("only one option can be chosen here", field="options")
        told = await _choose(change, channel, seq, poll, user, options)
        if told:
            change.tell(PollChosen(stream=user, seq=change.next(user), channel=channel, message=seq, options=options))
    return told


async def held(change: Change, channel: UUID, seq: int) -> Message:
    """The message, as it is now that its stream is held, if it has a poll."""
    found = await messages.held(change.tx, channel, [seq])
    if not found or found[0].poll is None:
        raise Missing
    return found[0]


def _open(message: Message) -> Poll:
    poll = message.poll
    assert poll is not None
    if poll.closed_at is not None or (poll.closes_at is not None and poll.closes_at <= datetime.now(UTC)):
        raise Conflict("this poll is closed")
    return poll


async def _choose(change: Change, channel: UUID, seq: int, poll: Poll, account: UUID, options: Sequence[int]) -> int:
    before = await polls.chosen(change.tx, channel, seq, account)
    if list(options) == before:
        return 0
    await polls.choose(change.tx, channel, seq, account, options)
    after = _moved(poll, before, options)
    await polls.keep(change.tx, channel, seq, after)
    fact = PollVoted(
        stream=channel,
        seq=change.next(channel),
        message=seq,
        counts=[one.count for one in after.options],
        voters=after.voters,
        user=None if poll.anonymous else account,
        options=None if poll.anonymous else list(options),
    )
    return change.tell(fact)


def _moved(poll: Poll, before: Sequence[int], after: Sequence[int]) -> Poll:
    options = [
        PollOption(text=one.text, count=one.count + (number in after) - (number in before))
        for number, one in enumerate(poll.options)
    ]
    return msgspec.structs.replace(poll, options=options, voters=poll.voters + bool(after) - bool(before))


async def withdraw(change: Change, channel: UUID, seq: int, account: UUID) -> None:
    """The vote of an account that was deleted goes, whether the poll is closed or not."""
    found = await messages.held(change.tx, channel, [seq])
    if found and found[0].poll is not None:
        await _choose(change, channel, seq, found[0].poll, account, [])
    else:
        await polls.choose(change.tx, channel, seq, account, [])


# Closing


async def close(app: Server, user: UUID, channel: UUID, seq: int) -> int:
    """Its author's right; the seq of the fact that says so, 0 when it is closed already."""
    async with changing(app, channel) as change:
        standing = await change.standing(user, channel, "history")
        message = await held(change, channel, seq)
        check(standing.allowed, bits(["send"] if message.author == user else ["manage_messages"]))
        await due.finish(change.tx, "poll", channel, seq)
        return await _close(change, channel, message, user)


async def fall_due(app: Server, one: Due) -> None:
    """Its time has come; if it was not closed before."""
    async with changing(app, one.stream) as change:
        if await due.finish(change.tx, "poll", one.stream, one.seq):
            for message in await messages.held(change.tx, one.stream, [one.seq]):
                await _close(change, one.stream, message, None)


async def _close(change: Change, channel: UUID, message: Message, by: UUID | None) -> int:
    poll = message.poll
    if poll is None or poll.closed_at is not None:
        return 0
    at = datetime.now(UTC)
    await polls.keep(change.tx, channel, message.seq, msgspec.structs.replace(poll, closed_at=at))
    fact = PollClosed(
        stream=channel,
        seq=change.next(channel),
        message=message.seq,
        counts=[one.count for one in poll.options],
        voters=poll.voters,
        by=by,
        at=at,
    )
    return change.tell(fact)
