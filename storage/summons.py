"""summons: messages of spaces that mention roles, or everyone: numbered in their space, and looked at by each member.

Rule 1: numbers come one after the other, each with what it stands for: who writes them holds the space's row.
Rule 2: what a message mentions now decides, and the roles that a member has when they look.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from storage.notification_hint import Hint
from storage.pool import Database, Transaction

_KEPT, _AT_ONCE = 1000, 100  # of a space that was not looked at for long: so many are looked at, and so many hit
# Of a message `x` and a member `r` of its space: others have mentioned them in it, by a role or as everyone, and not
# by themselves.
MEANT = """
    (x.mention_everyone OR x.mention_roles IS NOT NULL) AND (x.mention_everyone OR x.mention_roles && r.roles)
    AND x.author <> r.account AND x.sent_at > r.joined_at AND r.account <> ALL (coalesce(x.mentions, '{}'))
"""


async def write(tx: Transaction, messages: Sequence[tuple[UUID, int]]) -> None:
    """Number those of these messages that mention somebody new; nobody changes their spaces meanwhile."""
    keys = [channel for channel, _ in messages], [seq for _, seq in messages]
    await tx.execute(
        """
        SELECT FROM space WHERE id IN (SELECT guard FROM stream WHERE id = ANY ($1::uuid[]))
         ORDER BY id FOR NO KEY UPDATE
        """,
        keys[0],
    )
    await tx.execute(
        """
        WITH new AS (
            SELECT s.guard, m.channel, m.seq, coalesce(m.mention_roles, '{}') AS roles, m.mention_everyone AS everyone,
                   row_number() OVER (PARTITION BY s.guard ORDER BY m.sent_at, m.channel, m.seq) AS place
              FROM unnest($1::uuid[], $2::bigint[]) AS t(channel, seq)
              JOIN message m ON m.channel = t.channel AND m.seq = t.seq
              JOIN stream s ON s.id = m.channel AND s.guard IS NOT NULL
              LEFT JOIN summons u ON u.channel = m.channel AND u.seq = m.seq
             WHERE CASE WHEN u.seq IS NULL THEN m.mention_everyone OR m.mention_roles IS NOT NULL
                        ELSE m.mention_everyone > u.everyone OR NOT coalesce(m.mention_roles, '{}') <@ u.roles END
        ), moved AS (
            UPDATE space p SET summons = summons + n.count
              FROM (SELECT guard, count(*) FROM new GROUP BY guard) n WHERE p.id = n.guard
            RETURNING p.id, p.summons - n.count AS before
        )
        INSERT INTO summons (space, number, channel, seq, roles, everyone)
        SELECT new.guard, moved.before + new.place, new.channel, new.seq, new.roles, new.everyone
          FROM new JOIN moved ON moved.id = new.guard
        ON CONFLICT (channel, seq) DO UPDATE
           SET number = excluded.number, roles = excluded.roles, everyone = excluded.everyone
        """,
        *keys,
    )


async def numbers(db: Database, spaces: Sequence[UUID]) -> dict[UUID, int]:
    """The last number of each space."""
    rows = await db.fetch("SELECT id, summons FROM space WHERE id = ANY ($1::uuid[])", list(spaces))
    return {row["id"]: row["summons"] for row in rows}


async def behind(db: Database, accounts: Sequence[UUID]) -> list[tuple[UUID, UUID]]:
    """Those of these accounts for whom there is something new, each with the space."""
    rows = await db.fetch(
        """
        SELECT m.account, m.space FROM space_member m JOIN space p ON p.id = m.space AND p.deleted_at IS NULL
         WHERE m.account = ANY ($1::uuid[]) AND p.summons > m.summons
        """,
        list(accounts),
    )
    return [(row["account"], row["space"]) for row in rows]


async def hold(tx: Transaction, spaces: Collection[UUID]) -> None:
    """Nobody loses a right in these until the transaction ends."""
    await tx.execute(
        """
        SELECT pg_advisory_xact_lock_shared(key) FROM
               (SELECT uuid_hash_extended(id, 0) AS key FROM unnest($1::uuid[]) AS t(id) ORDER BY 1) p
        """,
        list(spaces),
    )


async def take(tx: Transaction, pairs: Sequence[tuple[UUID, UUID]]) -> list[Hint]:
    """What these members, whose streams are held, have not looked at yet, and means them: now they have."""
    rows = await tx.fetch(
        f"""
        WITH r AS (
            SELECT m.account, m.space, m.roles, m.joined_at, p.summons AS last,
                   greatest(m.summons, p.summons - {_KEPT}) AS after
              FROM unnest($1::uuid[], $2::uuid[]) AS t(account, space)
              JOIN space_member m ON m.account = t.account AND m.space = t.space JOIN space p ON p.id = m.space
        ), moved AS (
            UPDATE space_member m SET summons = r.last FROM r WHERE m.account = r.account AND m.space = r.space
        )
        SELECT r.account, f.* FROM r, LATERAL (
            SELECT x.channel, x.seq, x.author, x.mention_everyone FROM summons u
              JOIN message x ON x.channel = u.channel AND x.seq = u.seq
             WHERE u.space = r.space AND u.number > r.after AND u.number <= r.last AND {MEANT}
             ORDER BY u.number DESC LIMIT {_AT_ONCE}) f
         ORDER BY f.channel, f.seq
        """,
        [account for account, _ in pairs],
        [space for _, space in pairs],
    )
    return [
        Hint(
            row["account"],
            row["channel"],
            row["seq"],
            "mention_everyone" if row["mention_everyone"] else "mention_role",
            row["author"],
        )
        for row in rows
    ]
