"""message: rows become messages; pages are one query."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from protocol.ballot import Poll
from protocol.content import Call, Forwarded, ReactionCount
from protocol.file import Attached
from protocol.message import (
    Message,
    Messages,
    Reader,
    Readers,
    Revision,
    Revisions,
)
from protocol.parts import PAGE_BYTES, fitting
from protocol.sticker import SentSticker
from storage.pool import Database, Row
from storage.standing import ACCESS, Standing

# Of a table that goes by `m`.
COLUMNS = """
    m.seq, m.author, m.sent_at, m.text, m.reply_to, m.mentions, m.hashtags, m.silent, m.forwarded, m.edited_at,
    m.deleted_at, m.pinned_at, m.reactions, m.poll, m.expires_at, m.thread,
    m.mention_roles, m.mention_everyone, m.sticker, m.files, m.call
"""
IN_VIEW = "NOT EXISTS (SELECT FROM hidden h WHERE h.channel = m.channel AND h.account = $1 AND h.seq = m.seq)"
_ABOUT = ("revision", "mention", "reaction", "vote", "summons", "file_use")  # tables of what goes with a message
_PINS, _EDITS = 100, 1000
_reactions = msgspec.json.Decoder(list[ReactionCount]).decode
_forwarded = msgspec.json.Decoder(Forwarded).decode
_sticker = msgspec.json.Decoder(SentSticker).decode
_poll = msgspec.json.Decoder(Poll).decode
_files = msgspec.json.Decoder(list[Attached]).decode
_call = msgspec.json.Decoder(Call).decode


def message(row: Row) -> Message:
    """A message from a row with these columns."""
    return Message(
        seq=row["seq"],
        author=row["author"],
        sent_at=row["sent_at"],
        text=row["text"],
        reply_to=row["reply_to"],
        mentions=row["mentions"] or [],
        hashtags=row["hashtags"] or [],
        silent=row["silent"],
        forwarded=_forwarded(row["forwarded"]) if row["forwarded"] else None,
        edited_at=row["edited_at"],
        deleted_at=row["deleted_at"],
        pinned_at=row["pinned_at"],
        reactions=_reactions(row["reactions"]) if row["reactions"] else [],
        poll=_poll(row["poll"]) if row["poll"] else None,
        expires_at=row["expires_at"],
        thread=row["thread"],
        files=_files(row["files"]) if row["files"] else [],
        mention_roles=row["mention_roles"] or [],
        mention_everyone=row["mention_everyone"],
        sticker=_sticker(row["sticker"]) if row["sticker"] else None,
        call=_call(row["call"]) if row["call"] else None,
    )


# Looking at one


async def visible(db: Database, viewer: UUID, channel: Standing, seq: int) -> Message | None:
    """A message that was not taken back, nor hidden by the viewer."""
    found = await visible_all(db, viewer, channel, [seq])
    return found[0] if found else None


async def visible_all(db: Database, viewer: UUID, channel: Standing, seqs: Sequence[int]) -> list[Message] | None:
    """Messages every one of which the viewer sees."""
    rows = await db.fetch(
        f"""
        SELECT {ACCESS} AS access, p.* FROM stream s LEFT JOIN LATERAL (
            SELECT {COLUMNS} FROM message m WHERE m.channel = s.id AND m.seq = ANY ($3::bigint[])
               AND m.deleted_at IS NULL AND {IN_VIEW} ORDER BY m.seq) p ON true
         WHERE s.id = $2
        """,
        viewer,
        channel.id,
        list(seqs),
    )
    channel.check(rows)
    found = [message(row) for row in rows if row["seq"] is not None]
    return found if len(found) == len(set(seqs)) else None


async def held(db: Database, channel: UUID, seqs: Sequence[int]) -> list[Message]:
    """Those of these messages that were not taken back, as they are while their stream is locked."""
    rows = await db.fetch(
        f"SELECT {COLUMNS} FROM message m WHERE m.channel = $1 AND m.seq = ANY ($2::bigint[]) AND m.deleted_at IS NULL",
        channel,
        list(seqs),
    )
    return [message(row) for row in rows]


# Pages


async def page(
    db: Database, viewer: UUID, channel: Standing, *, before: int | None, after: int | None, limit: int
) -> Messages:
    """The newest messages, those strictly before one seq, or those strictly after another."""
    forward = after is not None and before is None
    rows = await db.fetch(
        f"""
        SELECT s.head, {ACCESS} AS access, p.* FROM stream s LEFT JOIN LATERAL (
            SELECT {COLUMNS} FROM message m WHERE m.channel = s.id AND m.seq > $3 AND m.seq < $4
               AND {IN_VIEW} ORDER BY m.seq {"ASC" if forward else "DESC"} LIMIT $5) p ON true
         WHERE s.id = $2
        """,
        viewer,
        channel.id,
        after or 0,
        before if before is not None else 2**62,
        limit + 1,
    )
    channel.check(rows)
    found = [message(row) for row in rows if row["seq"] is not None]
    count = fitting(found, limit)
    more, found = count < len(found), sorted(found[:count], key=lambda one: one.seq)
    head = rows[0]["head"]
    if forward:
        return Messages(messages=found, head=head, earlier=bool(after), later=more)
    return Messages(messages=found, head=head, earlier=more or bool(after), later=before is not None and before <= head)


async def around(db: Database, viewer: UUID, channel: Standing, seq: int, limit: int) -> Messages:
    """Half before a seq, half from there on."""
    half = limit // 2
    rows = await db.fetch(
        f"""
        SELECT s.head, {ACCESS} AS access, p.* FROM stream s LEFT JOIN LATERAL (
            (SELECT {COLUMNS} FROM message m WHERE m.channel = s.id AND m.seq < $3 AND {IN_VIEW}
              ORDER BY m.seq DESC LIMIT $4 + 1)
            UNION ALL
            (SELECT {COLUMNS} FROM message m WHERE m.channel = s.id AND m.seq >= $3 AND {IN_VIEW}
              ORDER BY m.seq LIMIT $5 + 1)) p ON true
         WHERE s.id = $2
        """,
        viewer,
        channel.id,
        seq,
        half,
        limit - half,
    )
    channel.check(rows)
    found = sorted((message(row) for row in rows if row["seq"] is not None), key=lambda one: one.seq)
    before, behind = [m for m in reversed(found) if m.seq < seq], [m for m in found if m.seq >= seq]
    back, on = fitting(before, half, PAGE_BYTES // 2), fitting(behind, limit - half, PAGE_BYTES // 2)
    return Messages(
        messages=[*reversed(before[:back]), *behind[:on]],
        head=rows[0]["head"],
        earlier=back < len(before),
        later=on < len(behind),
    )


async def pins(db: Database, viewer: UUID, channel: Standing, after: int) -> Messages:
    """What is pinned, behind a seq."""
    rows = await db.fetch(
        f"""
        SELECT s.head, {ACCESS} AS access, p.* FROM stream s LEFT JOIN LATERAL (
            SELECT {COLUMNS} FROM message m WHERE m.channel = s.id AND m.pinned_at IS NOT NULL AND m.seq > $3
               AND {IN_VIEW} ORDER BY m.seq LIMIT {_PINS}) p ON true
         WHERE s.id = $2
        """,
        viewer,
        channel.id,
        after,
    )
    channel.check(rows)
    found = [message(row) for row in rows if row["seq"] is not None]
    count = fitting(found, _PINS)
    return Messages(messages=found[:count], head=rows[0]["head"], earlier=bool(after), later=count < len(found))


async def newest(db: Database, channel: Standing, limit: int) -> tuple[Messages, frozenset[UUID]]:
    """The newest messages as everybody sees them but those who have taken one of them out of their view."""
    rows = await db.fetch(
        f"""
        SELECT s.head, {ACCESS} AS access, p.* FROM stream s LEFT JOIN LATERAL (
            SELECT {COLUMNS},
                   ARRAY(SELECT h.account FROM hidden h WHERE h.channel = m.channel AND h.seq = m.seq) AS hiders
              FROM message m WHERE m.channel = s.id ORDER BY m.seq DESC LIMIT $2) p ON true
         WHERE s.id = $1
        """,
        channel.id,
        limit + 1,
    )
    channel.check(rows)
    found = [message(row) for row in rows if row["seq"] is not None]
    count = fitting(found, limit)
    hiders = frozenset(account for row in rows[:count] for account in row["hiders"])
    page = Messages(
        messages=found[count - 1 :: -1] if count else [], head=rows[0]["head"], earlier=count < len(found), later=False
    )
    return page, hiders


# Changing; the stream is locked


async def edit(db: Database, channel: UUID, before: Message, after: Message) -> bool:
    """Other words; those before become a revision. False when there is no room for another."""
    assert after.edited_at is not None
    tag = await db.execute(
        f"""
        INSERT INTO revision (channel, seq, number, text, until)
        SELECT $1, $2, 1 + last, $3::text, $4::timestamptz FROM
               (SELECT coalesce(max(number), 0) AS last FROM revision WHERE channel = $1 AND seq = $2) r
         WHERE last < {_EDITS}
        """,
        channel,
        before.seq,
        before.text,
        after.edited_at,
    )
    if tag.endswith(" 0"):
        return False
    await db.execute(
        """
        UPDATE message SET text = $3, mentions = $4, hashtags = $5, edited_at = $6, mention_roles = $7,
               mention_everyone = $8
         WHERE channel = $1 AND seq = $2
        """,
        channel,
        after.seq,
        after.text,
        after.mentions or None,
        after.hashtags or None,
        after.edited_at,
        after.mention_roles or None,
        after.mention_everyone,
    )
    if before.mentions != after.mentions:
        await _mention(db, channel, after)
    return True


async def _mention(db: Database, channel: UUID, one: Message) -> None:
    """Who stays mentioned keeps the row: they are notified once."""
    some = [account for account in one.mentions if account != one.author], channel, one.seq
    await db.execute("DELETE FROM mention WHERE account <> ALL ($1::uuid[]) AND channel = $2 AND seq = $3", *some)
    await db.execute(
        """
        INSERT INTO mention (account, channel, seq) SELECT DISTINCT unnest($1::uuid[]), $2::uuid, $3::bigint
        ON CONFLICT DO NOTHING
        """,
        *some,
    )


async def revisions(db: Database, channel: UUID, seq: int, after: int, limit: int) -> Revisions:
    """Former words, oldest first, behind a number; fewer when a frame holds no more."""
    rows = await db.fetch(
        """
        SELECT number, text, until FROM revision WHERE channel = $1 AND seq = $2 AND number > $3
         ORDER BY number LIMIT $4
        """,
        channel,
        seq,
        after,
        limit + 1,
    )
    found = [Revision(text=row["text"], until=row["until"]) for row in rows]
    count = fitting(found, limit)
    return Revisions(revisions=found[:count], next=rows[count - 1]["number"] if count < len(rows) else None)


async def delete(db: Database, channel: UUID, seqs: Sequence[int]) -> None:
    """Empty messages: nothing but their place is left."""
    await db.execute(
        """
        UPDATE message SET text = '', reply_to = NULL, mentions = NULL, hashtags = NULL, silent = false,
               forwarded = NULL, edited_at = NULL, pinned_at = NULL, reactions = NULL, poll = NULL, expires_at = NULL,
               thread = NULL, mention_roles = NULL, mention_everyone = false, sticker = NULL, files = NULL, call = NULL,
               deleted_at = now()
         WHERE channel = $1 AND seq = ANY ($2::bigint[])
        """,
        channel,
        list(seqs),
    )
    # In one go; who has hidden them does not see their places either.
    about = (
        f"{table}_gone AS (DELETE FROM {table} WHERE channel = $1 AND seq = ANY ($2::bigint[]))" for table in _ABOUT
    )
    await db.execute(f"WITH {', '.join(about)} SELECT", channel, list(seqs))


async def hide(db: Database, account: UUID, channel: UUID, seqs: Sequence[int]) -> list[int]:
    """Take messages out of somebody's view; those that were in it."""
    rows = await db.fetch(
        """
        INSERT INTO hidden (channel, account, seq) SELECT $1::uuid, $2::uuid, unnest($3::bigint[])
        ON CONFLICT DO NOTHING RETURNING seq
        """,
        channel,
        account,
        sorted(set(seqs)),
    )
    return sorted(row["seq"] for row in rows)


async def pin(db: Database, channel: UUID, seq: int, at: datetime | None) -> bool:
    """Pin or unpin; False when there is no room for another pin."""
    if at is not None:
        count = await db.fetchval("SELECT count(*) FROM message WHERE channel = $1 AND pinned_at IS NOT NULL", channel)
        if count >= _PINS:
            return False
    await db.execute("UPDATE message SET pinned_at = $3 WHERE channel = $1 AND seq = $2", channel, seq, at)
    return True


async def readers(db: Database, channel: Standing, one: Message) -> Readers:
    """Who has got a message, furthest first."""
    rows = await db.fetch(
        f"""
        SELECT account, delivered, read, count(*) OVER () AS all_delivered,
               count(*) FILTER (WHERE read >= $2) OVER () AS all_read
          FROM {"member" if channel.space is None else "mark"} m
         WHERE channel = $1 AND delivered >= $2 AND account <> $3
         ORDER BY read DESC, delivered DESC, account LIMIT 100
        """,
        channel.id,
        one.seq,
        one.author,
    )
    found = [Reader(user=row["account"], delivered=row["delivered"], read=row["read"]) for row in rows]
    counts = (rows[0]["all_delivered"], rows[0]["all_read"]) if rows else (0, 0)
    return Readers(readers=found, delivered=counts[0], read=counts[1])
