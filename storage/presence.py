"""presence: how people chose to be seen, when they were last there, and on which node they are now.

Rule 1: hidden looks like offline: to who blocks or is blocked, of who is invisible, and where there is nobody.
Rule 2: of who is invisible nothing moves: neither what they say nor when they were last seen.
Rule 3: who is where is a set in Redis for each node, which ends by itself unless the node renews it.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from msgspec import Struct

from protocol.parts import parts
from protocol.presence import Chosen, Presence, PresenceChoice
from storage.pool import Database

# What was chosen


class Choice(Struct, frozen=True):
    """How somebody wants to be seen, and by whom not."""

    status: Chosen
    text: str
    last_seen: datetime | None
    hidden_from: frozenset[UUID]


class Look(Struct, frozen=True):
    """What some viewers may see of some accounts, but for whether those are there."""

    users: Sequence[UUID]
    choices: dict[UUID, Choice]
    discreet: frozenset[UUID]

    def shown(self, viewer: UUID, user: UUID, *, there: bool) -> Presence:
        """An account as a viewer sees it."""
        choice = self.choices.get(user)
        if choice is None or viewer in choice.hidden_from:
            return Presence(user=user, status="offline", text="", last_seen=None)
        if there and choice.status != "invisible":
            return Presence(user=user, status=choice.status, text=choice.text, last_seen=None)
        last_seen = None if viewer in self.discreet else choice.last_seen
        return Presence(user=user, status="offline", text="", last_seen=last_seen)


async def look(db: Database, viewers: Sequence[UUID], users: Sequence[UUID]) -> Look:
    """What these viewers may see of these users."""
    rows = await db.fetch(
        """
        SELECT a.id, coalesce(p.status, 'online') AS status, coalesce(p.text, '') AS text,
               CASE WHEN p.show_last_seen THEN p.seen_at END AS last_seen,
               ARRAY(SELECT b.blocked FROM block b WHERE b.account = a.id AND (b.blocked = ANY ($2::uuid[])) IS TRUE
                     UNION ALL
                     SELECT b.account FROM block b WHERE b.blocked = a.id AND (b.account = ANY ($2::uuid[])) IS TRUE
               ) AS hidden_from
          FROM account a LEFT JOIN presence p ON p.account = a.id WHERE a.id = ANY ($1::uuid[]) AND a.deleted_at IS NULL
        """,
        list(users),
        list(viewers),
    )
    choices = {
        row["id"]: Choice(row["status"], row["text"], row["last_seen"], frozenset(row["hidden_from"])) for row in rows
    }
    discreet = await _discreet(db, viewers) if any(one.last_seen for one in choices.values()) else frozenset[UUID]()
    return Look(users, choices, discreet)


async def _discreet(db: Database, viewers: Sequence[UUID]) -> frozenset[UUID]:
    """Those who do not show when they were last seen, and so do not see it of others."""
    rows = await db.fetch(
        "SELECT account FROM presence WHERE account = ANY ($1::uuid[]) AND NOT show_last_seen", list(viewers)
    )
    return frozenset(row["account"] for row in rows)


async def as_seen(db: Database, viewer: UUID, users: Sequence[UUID]) -> Look:
    """What a viewer may see of these users, whoever they are: nobody looks like somebody who is offline."""
    return await look(db, [viewer], list(dict.fromkeys(users)))


async def choose(
    db: Database, account: UUID, status: Chosen | None, text: str | None, show_last_seen: bool | None
) -> PresenceChoice | None:
    """Change what is given; who becomes invisible was last seen at this moment. None when the account was deleted."""
    row = await db.fetchrow(
        """
        INSERT INTO presence AS p (account, status, text, show_last_seen, seen_at)
        SELECT id, coalesce($2::text, 'online'), coalesce($3::text, ''), coalesce($4::boolean, true), now()
          FROM account WHERE id = $1 AND deleted_at IS NULL
        ON CONFLICT (account) DO UPDATE
           SET status = coalesce($2, p.status), text = coalesce($3, p.text),
               show_last_seen = coalesce($4, p.show_last_seen),
               seen_at = CASE WHEN $2 = 'invisible' AND p.status <> 'invisible' THEN now() ELSE p.seen_at END
        RETURNING status, text, show_last_seen
        """,
        account,
        status,
        text,
        show_last_seen,
    )
    return PresenceChoice(**row) if row else None


async def chosen(db: Database, account: UUID) -> PresenceChoice:
    """What an account has chosen."""
    row = await db.fetchrow("SELECT status, text, show_last_seen FROM presence WHERE account = $1", account)
    return PresenceChoice(**row) if row else PresenceChoice(status="online", text="", show_last_seen=True)


async def note(db: Database, accounts: Iterable[UUID]) -> None:
    """These came or went just now."""
    await db.execute(
        """
        INSERT INTO presence AS p (account, seen_at)
        SELECT id, now() FROM account WHERE id = ANY ($1::uuid[]) AND deleted_at IS NULL ORDER BY id
        ON CONFLICT (account) DO UPDATE SET seen_at = now() WHERE p.status <> 'invisible'
        """,
        list(accounts),
    )


# Who is where

_NODES, _SET = "{presence}", "{presence}:%s"
_AT_ONCE = 1000

# The sets have an empty member, so that one that is not there was lost.
_RENEW = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[1], 86400)
local kept = redis.call('EXPIRE', KEYS[2], ARGV[2])
return {kept, unpack(redis.call('ZRANGE', KEYS[1], 0, -1))}
"""
_FILL = """
redis.call('SADD', KEYS[1], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
"""
_SWAP = "return redis.call('RENAME', KEYS[2], KEYS[1])"
_CHANGE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))
return 1
"""
_DROP = """
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
return 1
"""
# For each account whether it is in one of the sets; the nodes instead if those are not the ones that were thought.
_AMONG = """
local now = tonumber(redis.call('TIME')[1])
local nodes = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
if table.concat(nodes, ' ') ~= ARGV[1] then return nodes end
local found = {}
for key = 2, #KEYS do
    for at, flag in ipairs(redis.call('SMISMEMBER', KEYS[key], unpack(ARGV, 2))) do
        if flag == 1 then found[at] = true end
    end
end
local flags = {}
for at = 2, #ARGV do flags[at - 1] = found[at - 1] and '1' or '0' end
return table.concat(flags)
"""

Script = Callable[[str, Sequence[str], Sequence[Any]], Awaitable[Any]]


class Leases:
    """This node's set, and those of the others. Every answer may be None: then Redis is not there to ask."""

    def __init__(self, script: Script, seconds: int) -> None:
        self._script, self._seconds = script, seconds
        self.name = secrets.token_hex(8)
        self._nodes: list[str] = []
        self.whole = False  # whether Redis has all that it was told

    @property
    def others(self) -> frozenset[str]:
        """The other nodes whose leases were last seen to last."""
        return frozenset(self._nodes) - {self.name}

    async def renew(self) -> bool:
        """Keep this node's set for another while, and learn who else has one; whether Redis was there."""
        told = await self._script(_RENEW, self._keys(self.name), [self.name, self._seconds])
        if told is None:
            return False
        kept, *nodes = told
        self.whole = self.whole and bool(kept)
        self._nodes = [node.decode() for node in nodes]
        return True

    async def fill(self, accounts: Iterable[UUID]) -> bool:
        """Make this node's set anew, in one stroke; whether that is done."""
        mine, draft = _SET % self.name, _SET % f"{self.name}:new"
        await self._script("return redis.call('DEL', KEYS[1])", [draft], [])
        members, told = iter([b"", *(account.bytes for account in accounts)]), True
        while told and (some := list(islice(members, _AT_ONCE))):
            told = await self._script(_FILL, [draft], [self._seconds, *some]) is not None
        self.whole = told and await self._script(_SWAP, [mine, draft], []) is not None
        return self.whole

    async def change(self, came: Collection[UUID], went: Collection[UUID]) -> None:
        """Tell who came and went; when that fails the set is not `whole`, and has to be filled anew."""
        for word, accounts in (("SADD", came), ("SREM", went)):
            members = iter(accounts)
            while self.whole and (some := [account.bytes for account in islice(members, _AT_ONCE)]):
                self.whole = bool(await self._script(_CHANGE, [_SET % self.name], [word, *some]))

    async def elsewhere(self, accounts: Sequence[UUID]) -> set[UUID] | None:
        """Those of these accounts that are on other nodes."""
        found: set[UUID] = set()
        for some in parts(accounts, _AT_ONCE):
            flags = await self._flags([account.bytes for account in some])
            if flags is None:
                return None
            found.update(account for account, flag in zip(some, flags, strict=True) if flag == ord("1"))
        return found

    async def _flags(self, members: Sequence[bytes]) -> bytes | None:
        for _ in range(5):
            keys = [_NODES, *(_SET % node for node in self._nodes if node != self.name)]
            told = await self._script(_AMONG, keys, [" ".join(self._nodes), *members])
            if not isinstance(told, list):
                return told or None
            self._nodes = [node.decode() for node in told]
        return None

    async def drop(self) -> None:
        """End this node's lease."""
        self.whole = False
        await self._script(_DROP, self._keys(self.name), [self.name])

    @staticmethod
    def _keys(node: str) -> list[str]:
        return [_NODES, _SET % node]
