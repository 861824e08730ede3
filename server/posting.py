"""Messages on their way: from a handler into the journal, and from there to everybody and back to the sender."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import structs

from protocol.ballot import Poll
from protocol.codec import encode
from protocol.error import Refusal
from protocol.file import Attached
from protocol.message import Message, MessageSend, MessageSent
from protocol.sticker import SentSticker
from server.audience import Batch
from server.core import frame
from server.fresh import Fresh
from server.later import Later
from server.stream import Streams
from storage.entry import Entry
from storage.extra import Extra
from storage.journal import Journal
from storage.stream import header

if TYPE_CHECKING:
    from server.access import Undecided
    from server.consequence import Consequences
    from server.grant import Grants
    from storage.pool import Pool
    from storage.standing import Standing

_HASHTAG = re.compile(r"#(?<![\w#&]#)(\w{1,50})")  # its # first: that is what is searched for
_HASHTAGS = 10


class Post(Entry):
    """A message whose sender waits for a reply."""

    __slots__ = ("later",)

    def __init__(
        self, channel: UUID, author: UUID, nonce: UUID, text: str, access: int, more: Extra | None = None
    ) -> None:
        super().__init__(channel, author, nonce, text, access, more)
        self.later = Later()

    def stored(self) -> None:
        """Acknowledge it."""
        assert self.sent_at is not None
        self.later.done(MessageSent(seq=self.seq, sent_at=self.sent_at))

    def refused(self, refusal: Refusal) -> None:
        """Say why not."""
        self.later.failed(refusal)


class Again(Post):
    """A message that cannot be stored any more, but may have been."""

    __slots__ = ()
    again = True


class Posting:
    """Takes messages from handlers, and hands what was stored to the streams."""

    def __init__(self, pool: Pool, grants: Grants, streams: Streams, consequences: Consequences, fresh: Fresh) -> None:
        self._streams, self._consequences, self._fresh = streams, consequences, fresh
        self.journal = Journal(pool.lane(), grants.decide, self._committed)

    def send(
        self, channel: Standing | Undecided, author: UUID, nonce: UUID, text: str, more: Extra | None = None
    ) -> Later:
        """Store a message; the reply comes when that is done."""
        access = channel.access if _decided(channel, more) else 0
        if channel.lifetime is not None and access:
            more = structs.replace(more or Extra(), lifetime=channel.lifetime)
        post = Post(channel.id, author, nonce, text, access, more)
        if more is not None:
            post.extra = encode(more).decode()
        self.journal.append(post)
        return post.later

    def again(self, channel: UUID, author: UUID, nonce: UUID) -> Later:
        """The reply to a message that was sent before, behind what is on its way; `Missing` if there is none."""
        post = Again(channel, author, nonce, "", 0)
        self.journal.append(post)
        return post.later

    def _committed(self, entries: Sequence[Entry]) -> None:
        batches: dict[UUID, Batch] = {}
        for entry in entries:
            batch = batches.get(entry.channel)
            if batch is None:
                batch = batches[entry.channel] = Batch(entry.channel, entry.access, entry.seq, [])
            batch.frames.append(self._frame(entry))  # type: ignore[attr-defined]
        self._streams.committed(batches.values())
        if self._consequences.waiting:
            for entry in entries:
                self._consequences.stored(entry, message(entry))

    def _frame(self, entry: Entry) -> bytes:
        stream = self._streams.get(entry.channel)
        key = stream.key if stream is not None else str(entry.channel).encode()
        said = message(entry)
        self._fresh.keep(entry.channel, said)
        return frame(1, b'%b,"message":%b}' % (header(b"message.created", key, entry.seq), encode(said)))


def _decided(channel: Standing | Undecided, more: Extra | None) -> bool:
    """Whether what is known is enough; who could not write may do so by now: then the journal looks."""
    plain = more is None or channel.space is None or not (more.mentions or more.poll or more.files)
    if more is not None and (more.sticker or more.summons):
        return False
    return channel.writes and channel.settled and not channel.slow and not channel.rules and plain


def message(entry: Entry) -> Message:
    """An entry as others see it."""
    assert entry.sent_at is not None
    more = entry.more
    if more is None:
        return Message(seq=entry.seq, author=entry.author, sent_at=entry.sent_at, text=entry.text)
    return Message(
        seq=entry.seq,
        author=entry.author,
        sent_at=entry.sent_at,
        text=entry.text,
        reply_to=more.reply_to,
        mentions=more.mentions,
        mention_roles=more.mention_roles,
        mention_everyone=more.mention_everyone,
        sticker=more.sticker,
        hashtags=more.hashtags,
        silent=more.silent,
        forwarded=more.forwarded,
        poll=more.poll,
        files=more.files,
        expires_at=entry.sent_at + timedelta(seconds=more.lifetime) if more.lifetime else None,
    )


def extra(
    text: str,
    reply_to: int | None,
    mentions: Sequence[UUID],
    silent: bool,
    poll: Poll | None = None,
    files: Sequence[Attached] = (),
) -> Extra | None:
    """What a message has besides its words; most have nothing."""
    tags = hashtags(text)
    if not (reply_to or mentions or silent or tags or poll or files):
        return None
    return Extra(
        reply_to=reply_to,
        mentions=list(dict.fromkeys(mentions)),
        hashtags=tags,
        silent=silent,
        poll=poll,
        files=list(files),
    )


def extra_in_space(more: Extra | None, frame: MessageSend) -> Extra | None:
    """The same with what there is in spaces alone: the journal looks whether it is there, and may be used."""
    if not (frame.mention_roles or frame.mention_everyone or frame.sticker):
        return more
    roles = list(dict.fromkeys(frame.mention_roles))
    sticker = SentSticker(id=frame.sticker, name="", about="", file=frame.sticker) if frame.sticker else None
    return structs.replace(
        more or Extra(), mention_roles=roles, mention_everyone=frame.mention_everyone, sticker=sticker
    )


def hashtags(text: str) -> list[str]:
    """What a text is tagged with, in lower case, each once."""
    if "#" not in text:
        return []
    return list(dict.fromkeys(found.lower() for found in _HASHTAG.findall(text)))[:_HASHTAGS]
