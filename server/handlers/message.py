"""message: saying, changing and reading what was said."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from protocol.codec import encode
from protocol.content import Forwarded
from protocol.error import Conflict, Forbidden, Invalid, Missing
from protocol.file import Attached, File
from protocol.message import (
    FoundMessages,
    Marks,
    Message,
    MessageAround,
    MessageChanged,
    MessageDelete,
    MessageDeleteMany,
    MessageEdit,
    MessageEdited,
    MessageForward,
    MessageGet,
    MessageHidden,
    MessageHistory,
    MessageMarkDelivered,
    MessageMarkRead,
    MessageMentions,
    MessagePin,
    MessagePinned,
    MessagePins,
    MessageRead,
    MessageReaders,
    MessageReceipt,
    MessageRevisions,
    Messages,
    MessageSend,
    MessageSent,
    MessageUnpin,
    MessageUnpinned,
    Readers,
    Revisions,
)
from protocol.permission import Permission, bits
from server import listing, notification, poll, summons
from server.access import Undecided, files_given, in_channel, message_in, sending
from server.audience import Stream
from server.context import Context
from server.fact import Change, changing
from server.later import Later
from server.page import MOST_BYTES, SIZE, Page
from server.posting import extra, extra_in_space, hashtags
from server.removal import remove
from server.router import op
from server.rule import LOGGED_IN, check, optional
from server.space_access import in_space
from server.structure import Resident
from storage import deed, retention
from storage import membership as memberships
from storage import message as messages
from storage.extra import Extra
from storage.file import CARRIED, attached
from storage.membership import Marked
from storage.standing import Standing

_SMALL = 50
_MANAGE = bits(["manage_messages"])

# Saying


@op(access=LOGGED_IN & sending() & files_given())
def send(ctx: Context, frame: MessageSend, channel: Standing | Undecided, files: Sequence[File] | None) -> MessageSent:
    """Stored with others in one transaction; answered when that is committed."""
    if files is None:  # perhaps they went with the message, since it was sent
        return ctx.app.posting.again(channel.id, ctx.user, frame.nonce)  # type: ignore[return-value]
    asked = frame.poll
    if asked is not None and not poll.in_time(asked):
        return _sent_before(ctx, frame, channel.id)  # type: ignore[return-value]
    if not frame.text and (not (frame.sticker or files) or asked is not None):
        raise Invalid("say something, or send a file", field="text")
    begun = poll.begun(asked) if asked else None
    more = extra(frame.text, frame.reply_to, frame.mentions, frame.silent, begun, _attached(files))
    more = extra_in_space(more, frame)
    return ctx.app.posting.send(channel, ctx.user, frame.nonce, frame.text, more)  # type: ignore[return-value]


def _attached(files: Sequence[File]) -> Sequence[Attached]:
    for one in files:
        if one.purpose not in CARRIED:
            raise Invalid("uploaded for another purpose than to be sent", field="files")
        if one.state != "ready":
            raise Conflict("this file is not ready", field="files")
    return [attached(one) for one in files]


async def _sent_before(ctx: Context, frame: MessageSend, channel: UUID) -> MessageSent:
    """A poll that would close at a wrong time: it was sent when that was a right one, or is refused."""
    try:
        sent: MessageSent = await ctx.app.posting.again(channel, ctx.user, frame.nonce).wait()
    except Missing:
        raise Invalid("from a minute to 60 days ahead", field="poll.closes_at") from None
    return sent


@op(
    access=LOGGED_IN & sending() & optional(in_channel("history", field="source") & message_in("source")), limit="120/m"
)
async def forward(
    ctx: Context, frame: MessageForward, channel: Standing | Undecided, source: Standing | None, message: Message | None
) -> MessageSent:
    """Its words, and whose they are; whoever asks again is told what became of it, also where it is no more."""
    later: Later
    if message is None:
        later = ctx.app.posting.again(channel.id, ctx.user, frame.nonce)
    elif message.call is not None:
        raise Conflict("a call has no words")
    else:
        whose = message.forwarded or Forwarded(author=message.author, sent_at=message.sent_at)
        more = Extra(hashtags=message.hashtags, forwarded=whose, sticker=message.sticker, files=message.files)
        later = ctx.app.posting.send(channel, ctx.user, frame.nonce, message.text, more)
    sent: MessageSent = await later.wait()
    return sent


# Changing


@op(access=LOGGED_IN & in_channel("history") & message_in(), limit="120/m")
async def edit(ctx: Context, frame: MessageEdit, channel: Standing, message: Message) -> MessageChanged:
    """One's own words only."""
    async with changing(ctx.app, channel.id) as change:
        standing = await change.standing(ctx.user, channel.id, "send")
        before = await _held(change.tx, channel.id, message.seq)
        if before.author != ctx.user or before.forwarded is not None:
            raise Forbidden("only what you have written yourself can be edited")
        if before.call is not None:
            raise Conflict("a call has no words")
        after = _edited(before, frame)
        if after == msgspec.structs.replace(before, edited_at=after.edited_at):
            return MessageChanged(seq=0)
        await change.check_seeing(channel.id, after.mentions)
        summons.check_edit(ctx.app.structures.known(channel.space), standing, before, after)
        await ctx.app.grants.check_words(change.tx, standing, ctx.user, after)
        if not await messages.edit(change.tx, channel.id, before, after):
            raise Conflict("this message was edited a thousand times: say it anew")
        seq = change.tell(MessageEdited(stream=channel.id, seq=change.next(channel.id), message=after))
    return MessageChanged(seq=seq)


def _edited(before: Message, frame: MessageEdit) -> Message:
    return msgspec.structs.replace(
        before,
        text=frame.text,
        mentions=list(dict.fromkeys(frame.mentions)),
        mention_roles=list(dict.fromkeys(frame.mention_roles)),
        mention_everyone=frame.mention_everyone,
        hashtags=hashtags(frame.text),
        edited_at=datetime.now(UTC),
    )


async def _held(tx: Any, channel: UUID, seq: int) -> Message:
    """A message as it is now that its stream is held."""
    found = await messages.held(tx, channel, [seq])
    if not found:
        raise Missing
    return found[0]


@op(access=LOGGED_IN & in_channel("history") & message_in(), limit="120/m")
async def delete(ctx: Context, frame: MessageDelete, channel: Standing, message: Message) -> MessageChanged:
    """For everybody: one's own, and any with `manage_messages`, as the owner of a group has."""
    return await _delete(ctx, channel, [message.seq], frame.for_all)


@op(access=LOGGED_IN & in_channel("history") & message_in(field="seqs", load=messages.visible_all), limit="30/m")
async def delete_many(
    ctx: Context, frame: MessageDeleteMany, channel: Standing, message: list[Message]
) -> MessageChanged:
    """All or none."""
    return await _delete(ctx, channel, sorted({one.seq for one in message}), frame.for_all)


async def _delete(ctx: Context, channel: Standing, seqs: list[int], for_all: bool) -> MessageChanged:
    if not for_all:
        return await _hide(ctx, channel, seqs)
    async with changing(ctx.app, channel.id) as change:
        needs: tuple[Permission, ...] = ("send",) if channel.space is None else ()  # one's own words, also in a timeout
        standing = await change.standing(ctx.user, channel.id, *needs)
        found = await messages.held(change.tx, channel.id, seqs)
        if len(found) != len(seqs):
            raise Missing
        if any(one.author != ctx.user for one in found):
            check(standing.allowed, _MANAGE)
            if standing.space is not None:
                await _note(change, standing.space, channel.id, ctx.user, found)
        seq = await remove(change, channel.id, seqs)
    return MessageChanged(seq=seq)


async def _note(change: Change, space: UUID, channel: UUID, me: UUID, taken: list[Message]) -> None:
    """Whose words somebody else has taken back."""
    for author in sorted({one.author for one in taken} - {me}):
        seqs = sorted(one.seq for one in taken if one.author == author)
        before = deed.Words(channel=channel, messages=seqs)
        await deed.note(change.tx, space, me, "message.delete", author, before, None, "", channel)


async def _hide(ctx: Context, channel: Standing, seqs: list[int]) -> MessageChanged:
    async with changing(ctx.app, ctx.user, channel.id) as change:
        await change.standing(ctx.user, channel.id)
        hidden = await messages.hide(change.tx, ctx.user, channel.id, seqs)
        if not hidden:
            return MessageChanged(seq=0)
        change.withdraw(channel.id)  # what processes have in memory is not for everybody any more
        fact = MessageHidden(stream=ctx.user, seq=change.next(ctx.user), channel=channel.id, messages=hidden)
        seq = change.tell(fact)
        await notification.hide(change, ctx.user, channel.id, hidden)
    return MessageChanged(seq=seq)


@op(access=LOGGED_IN & in_channel("history") & message_in(), limit="60/m")
async def pin(ctx: Context, frame: MessagePin, channel: Standing, message: Message) -> MessageChanged:
    """By whoever may pin there: in groups everybody."""
    async with changing(ctx.app, channel.id) as change:
        await change.standing(ctx.user, channel.id, "pin")
        if (await _held(change.tx, channel.id, message.seq)).pinned_at is not None:
            return MessageChanged(seq=0)
        at = datetime.now(UTC)
        if not await messages.pin(change.tx, channel.id, message.seq, at):
            raise Conflict("a hundred messages are pinned here: unpin one first")
        fact = MessagePinned(stream=channel.id, seq=change.next(channel.id), message=message.seq, by=ctx.user, at=at)
        seq = change.tell(fact)
    return MessageChanged(seq=seq)


@op(access=LOGGED_IN & in_channel("history") & message_in(), limit="60/m")
async def unpin(ctx: Context, frame: MessageUnpin, channel: Standing, message: Message) -> MessageChanged:
    """By whoever may pin there: in groups everybody."""
    async with changing(ctx.app, channel.id) as change:
        await change.standing(ctx.user, channel.id, "pin")
        if (await _held(change.tx, channel.id, message.seq)).pinned_at is None:
            return MessageChanged(seq=0)
        await messages.pin(change.tx, channel.id, message.seq, None)
        await retention.unpinned(change.tx, channel.id, message.seq)
        fact = MessageUnpinned(stream=channel.id, seq=change.next(channel.id), message=message.seq, by=ctx.user)
        seq = change.tell(fact)
    return MessageChanged(seq=seq)


# Reading


@op(access=LOGGED_IN & in_channel("history") & message_in())
async def get(ctx: Context, frame: MessageGet, channel: Standing, message: Message) -> Message:
    """As the rule found it."""
    return message


@op(access=LOGGED_IN & in_space() & in_channel("history"), limit="120/m")
async def mentions(
    ctx: Context, frame: MessageMentions, space: Resident | None, channel: Standing | None
) -> FoundMessages:
    """Only what the asker may read now."""
    return await listing.mentions(ctx, await listing.where(ctx, space, channel), frame)


@op(access=LOGGED_IN & in_channel("history"))
def history(ctx: Context, frame: MessageHistory, channel: Standing) -> Messages:
    """The newest page comes from memory where that is as new as the asker knows."""
    stream = ctx.app.streams.get(channel.id)
    if frame.before is None and frame.after is None and frame.limit <= SIZE and stream is not None:
        if stream.page is None or frame.known > stream.page.head:
            return _newest(ctx, frame, channel, stream)  # type: ignore[return-value]
        if ctx.user not in stream.page.hiders:
            return stream.page.serve(frame.limit)  # type: ignore[return-value]
    return _page(ctx, frame, channel)  # type: ignore[return-value]


async def _page(ctx: Context, frame: MessageHistory, channel: Standing) -> Messages:
    return await messages.page(ctx.db, ctx.user, channel, before=frame.before, after=frame.after, limit=frame.limit)


async def _newest(ctx: Context, frame: MessageHistory, channel: Standing, stream: Stream) -> Messages:
    """Read the newest page, and keep it for others if nothing has happened meanwhile."""
    access = stream.access
    page, hiders = await messages.newest(ctx.db, channel, SIZE)
    if (stream.head, stream.access) == (page.head, access):
        kept = Page(page, hiders)
        stream.page = kept if kept.bytes <= MOST_BYTES else None
    if ctx.user in hiders:
        return await _page(ctx, frame, channel)
    cut = page.messages[-frame.limit :]
    return msgspec.structs.replace(page, messages=cut, earlier=page.earlier or len(cut) < len(page.messages))


@op(access=LOGGED_IN & in_channel("history"))
async def around(ctx: Context, frame: MessageAround, channel: Standing) -> Messages:
    """Also around a seq that is no message."""
    return await messages.around(ctx.db, ctx.user, channel, frame.seq, frame.limit)


@op(access=LOGGED_IN & in_channel("history"))
async def pins(ctx: Context, frame: MessagePins, channel: Standing) -> Messages:
    """All of them, if a frame holds them."""
    return await messages.pins(ctx.db, ctx.user, channel, frame.after)


@op(access=LOGGED_IN & in_channel("history") & message_in())
async def revisions(ctx: Context, frame: MessageRevisions, channel: Standing, message: Message) -> Revisions:
    """For everybody who can read the message."""
    return await messages.revisions(ctx.db, channel.id, message.seq, frame.after, frame.limit)


# How far


@op(access=LOGGED_IN & in_channel())
async def mark_read(ctx: Context, frame: MessageMarkRead, channel: Standing) -> Marks:
    """What is read has been delivered."""
    return await _mark(ctx, channel, read=frame.seq, delivered=frame.seq)


@op(access=LOGGED_IN & in_channel())
async def mark_delivered(ctx: Context, frame: MessageMarkDelivered, channel: Standing) -> Marks:
    """Whether it was looked at or not."""
    return await _mark(ctx, channel, read=0, delivered=frame.seq)


async def _mark(ctx: Context, channel: Standing, *, read: int, delivered: int) -> Marks:
    """Told to one's other devices, and in small channels to the others."""
    async with changing(ctx.app, ctx.user) as change:
        if channel.space is not None:  # who does not see it any more may still be in the space
            await change.standing(ctx.user, channel.id)
        marked = await memberships.mark(change.tx, ctx.user, channel, read, delivered)
        if marked is None:
            raise Missing
        if marked.moved:
            fields = msgspec.structs.asdict(marked.marks)
            change.tell(MessageRead(stream=ctx.user, seq=change.next(ctx.user), channel=channel.id, **fields))
    _tell_receipt(ctx, channel, marked)
    return marked.marks


def _tell_receipt(ctx: Context, channel: Standing, marked: Marked) -> None:
    marks = marked.marks
    if marked.moved and channel.space is None and marked.members <= _SMALL and channel.writes:
        event = MessageReceipt(channel=channel.id, user=ctx.user, delivered=marks.delivered, read=marks.read)
        ctx.app.streams.tell(channel.id, "receipts", ctx.user, encode(event))


@op(access=LOGGED_IN & in_channel("history") & message_in())
async def readers(ctx: Context, frame: MessageReaders, channel: Standing, message: Message) -> Readers:
    """For everybody in the channel, unless one of the two there blocks the other."""
    if not channel.writes:
        return Readers(readers=[], delivered=0, read=0)
    return await messages.readers(ctx.db, channel, message)
