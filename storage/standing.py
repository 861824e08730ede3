"""standing: what an account may do in a channel, as decided under one access version of it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from protocol import permission
from storage.pool import Database, Row

# The access version of a stream `s`: in a channel of a space the space's counts, too.
ACCESS = "s.access + coalesce((SELECT g.access FROM stream g WHERE g.id = s.guard), 0)"
_SEND, _HISTORY = permission.bits(["send"]), permission.bits(["history"])
_BLOCKED = """
    EXISTS (SELECT FROM direct d JOIN block b ON (b.account, b.blocked) IN ((d.low, d.high), (d.high, d.low))
             WHERE d.channel = c.id)
"""


class Standing(Struct, frozen=True):
    """What an account may do in a channel.

    `slow`: how many seconds it has to wait between two messages; `lifetime`: after how many seconds what it sends
    disappears; `settled`: whether nothing is to be done before it writes: there is, while it does not follow a thread;
    `space`: None for direct channels and groups.
    """

    id: UUID
    kind: str
    owner: UUID | None
    access: int
    allowed: int
    members: int
    space: UUID | None = None
    slow: int = 0
    lifetime: int | None = None
    settled: bool = True

    @property
    def writes(self) -> bool:
        """Whether it may send messages."""
        return bool(self.allowed & _SEND)

    @property
    def reads(self) -> bool:
        """Whether it may read what was said before."""
        return bool(self.allowed & _HISTORY)

    def check(self, rows: Sequence[Row]) -> None:
        """That rows were read under the version that this was decided under: each tells the channel's `access`."""
        if not rows or rows[0]["access"] != self.access:
            raise Stale(self.id)


class Stale(Exception):
    """Somebody has lost a right there meanwhile: look again who asks."""

    def __init__(self, channel: UUID) -> None:
        super().__init__(f"channel {channel} has another access version")
        self.channel = channel


class Footing(Struct, frozen=True):
    """What the database knows of an account and a channel, all of one moment: what it may do follows from that.

    `mute`: one of the two of a direct channel blocks the other. Of a channel in a space: `structure` says as of when
    its roles and overwrites must be known. Of a thread: whether it is `locked`, and `settled` as in Standing.
    """

    id: UUID
    kind: str
    owner: UUID | None
    members: int
    head: int
    access: int
    account: UUID
    mute: bool
    space: UUID | None
    parent: UUID | None
    slow: int
    lifetime: int | None
    structure: int
    roles: Sequence[UUID]
    timed_out: bool
    locked: bool
    settled: bool


async def footings(db: Database, channels: Sequence[UUID], accounts: Sequence[UUID]) -> list[Footing | None]:
    """How accounts stand in channels, pair by pair; None for who is neither a member of it nor of its space."""
    rows = await db.fetch(
        f"""
        SELECT t.k, c.id, c.kind, coalesce(p.owner, c.owner) AS owner, coalesce(p.members, c.members) AS members,
               s.head, {ACCESS} AS access, t.account, c.kind = 'direct' AND (c.members <> 2 OR {_BLOCKED}) AS mute,
               c.space, c.parent, c.slow, c.disappears_after, coalesce(p.structure, 0) AS structure,
               coalesce(r.roles, '{{}}') AS roles,
               coalesce(r.timeout_until > now(), false) AS timed_out,
               c.kind = 'thread' AND EXISTS (SELECT FROM thread h WHERE h.id = c.id AND h.locked) AS locked,
               c.kind <> 'thread' OR EXISTS
                   (SELECT FROM thread h JOIN follow f ON f.thread = h.id AND f.account = t.account
                     WHERE h.id = c.id AND (h.archived_at IS NULL OR h.locked)) AS settled
          FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS t(channel, account, k)
          JOIN channel c ON c.id = t.channel JOIN stream s ON s.id = t.channel
          LEFT JOIN member m ON c.space IS NULL AND m.channel = t.channel AND m.account = t.account
          LEFT JOIN space p ON p.id = c.space AND p.deleted_at IS NULL
          LEFT JOIN space_member r ON r.space = p.id AND r.account = t.account
         WHERE m.account IS NOT NULL OR r.account IS NOT NULL
        """,
        channels,
        accounts,
    )
    found: list[Footing | None] = [None] * len(channels)
    for row in rows:
        found[row["k"] - 1] = Footing(*row[1:])
    return found
