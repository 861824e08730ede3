"""notification_hint: whom messages may concern, and who of them wants to be notified of it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from protocol.notification import Kind
from storage.pool import Transaction

_MOST_FOLLOWERS = 1000
_HEARD = "SELECT EXISTS (SELECT FROM notification_level WHERE place = ANY ($1::uuid[]) AND level = 'all')"


class Hint(Struct, frozen=True):
    """Somebody whom a message may concern; of two of a message for one account the mention comes first."""

    account: UUID
    channel: UUID
    seq: int
    kind: Kind
    by: UUID


async def hints(
    tx: Transaction, mentioning: Sequence[tuple[UUID, int, UUID]], replies: Sequence[tuple[UUID, int, UUID, int]]
) -> list[Hint]:
    """Whom messages mention who was not thought of yet, and whom they answer."""
    rows = await tx.fetch(
        """
        SELECT n.account, t.channel, t.seq, 'mention' AS kind, t.author
          FROM unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS t(channel, seq, author)
          JOIN mention n ON n.channel = t.channel AND n.seq = t.seq WHERE NOT n.told
        UNION ALL
        SELECT m.author, t.channel, t.seq, 'reply', t.author
          FROM unnest($4::uuid[], $5::bigint[], $6::uuid[], $7::bigint[]) AS t(channel, seq, author, reply_to)
          JOIN message m ON m.channel = t.channel AND m.seq = t.reply_to AND m.deleted_at IS NULL
         WHERE m.author <> t.author
        ORDER BY 2, 3, 4
        """,
        *([one[n] for one in mentioning] for n in range(3)),
        *([one[n] for one in replies] for n in range(4)),
    )
    return [Hint(row["account"], row["channel"], row["seq"], row["kind"], row["author"]) for row in rows]


async def following(tx: Transaction, created: Sequence[tuple[UUID, int, UUID]]) -> list[Hint]:
    """Who follows threads, wants to hear of everything there, and has read what they were told of it.

    Of several messages the first; of very many accounts some.
    """
    if not await tx.fetchval(_HEARD, list({channel for channel, _, _ in created})):
        return []
    rows = await tx.fetch(
        f"""
        WITH said AS MATERIALIZED (
            SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS t(channel, seq, author)
        )
        SELECT l.account, c.channel, t.seq, t.author
          FROM (SELECT DISTINCT channel FROM said) c
          JOIN notification_level l ON l.place = c.channel AND l.level = 'all' AND (l.until IS NULL OR l.until > now())
          JOIN follow f ON f.account = l.account AND f.thread = c.channel AND f.followed
          JOIN LATERAL (SELECT seq, author FROM said WHERE channel = c.channel AND author <> l.account
                         ORDER BY seq LIMIT 1) t ON true
         WHERE (SELECT n.id FROM notification n WHERE n.account = l.account AND n.channel = c.channel
                   AND n.kind = 'thread' AND NOT n.read LIMIT 1) IS NULL  -- each looked up by itself, however many
         LIMIT {_MOST_FOLLOWERS}
        """,
        *([one[n] for one in created] for n in range(3)),
    )
    return [Hint(row["account"], row["channel"], row["seq"], "thread", row["author"]) for row in rows]


async def hold_places(tx: Transaction, channels: Sequence[UUID]) -> None:
    """Nobody loses a right in the spaces of these channels until the transaction ends; whoever writes there may."""
    await tx.execute(
        """
        SELECT pg_advisory_xact_lock_shared(key) FROM
               (SELECT DISTINCT uuid_hash_extended(guard, 0) AS key FROM stream
                 WHERE id = ANY ($1::uuid[]) AND guard IS NOT NULL ORDER BY 1) g
        """,
        list(channels),
    )


async def think_of(tx: Transaction, found: Sequence[Hint]) -> list[Hint]:
    """Those who were not thought of before, and are still mentioned; nobody thinks of them again."""
    mentions = [one for one in found if one.kind == "mention"]
    rows = await tx.fetch(
        """
        UPDATE mention n SET told = true FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS t(account, channel, seq)
         WHERE n.account = t.account AND n.channel = t.channel AND n.seq = t.seq AND NOT n.told
        RETURNING n.account, n.channel, n.seq
        """,
        [one.account for one in mentions],
        [one.channel for one in mentions],
        [one.seq for one in mentions],
    )
    new = {(row["account"], row["channel"], row["seq"]) for row in rows}
    return [one for one in found if one.kind != "mention" or (one.account, one.channel, one.seq) in new]


async def wanted(tx: Transaction, found: Sequence[Hint]) -> list[Hint]:
    """Those who want to be notified of that, and were not notified of the same message yet."""
    rows = await tx.fetch(
        """
        SELECT t.k FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::boolean[])
               WITH ORDINALITY AS t(account, channel, seq, by, called, k)
          JOIN channel c ON c.id = t.channel
         WHERE NOT EXISTS (SELECT FROM block b WHERE b.account = t.account AND b.blocked = t.by)
           AND NOT EXISTS (SELECT FROM notification n WHERE n.account = t.account AND n.channel = t.channel
                              AND n.seq = t.seq)
           AND NOT EXISTS (SELECT FROM member m WHERE m.account = t.account AND m.channel = t.channel
                              AND m.muted_until > now())
           AND NOT EXISTS (SELECT FROM mark m WHERE m.account = t.account AND m.channel IN (c.id, c.parent)
                              AND m.muted_until > now())
           AND coalesce(
               (SELECT l.level FROM notification_level l JOIN (VALUES (c.id, 1), (c.parent, 2), (c.space, 3))
                       AS p(place, far) USING (place)
                 WHERE l.account = t.account AND (l.until IS NULL OR l.until > now()) ORDER BY p.far LIMIT 1),
               'mentions')
               <> ALL (CASE WHEN t.called THEN ARRAY['nothing', 'personal'] ELSE ARRAY['nothing'] END)
         ORDER BY t.k
        """,
        [one.account for one in found],
        [one.channel for one in found],
        [one.seq for one in found],
        [one.by for one in found],
        [one.kind in ("mention_role", "mention_everyone") for one in found],
    )
    return [found[row["k"] - 1] for row in rows]
