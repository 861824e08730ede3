"""report: what moderators were told of, with what was reported as it was then.

Rule 1: who is reported sees no report of themselves; nobody sees one of a channel that they do not see.
Rule 2: the words of who reports and who is reported go with their accounts, the report stays.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.codec import encode
from protocol.message import Message
from protocol.parts import fitting
from protocol.report import Report, ReportDetail, Reports
from protocol.user import User
from storage.deed import PLACE
from storage.ids import new_id
from storage.pool import Database, Row, Transaction

_COLUMNS = """
    r.id, r.space, r.at, r.reporter, r.account, r.channel, r.seq, r.category, r.text, r.outcome, r.note, r.closed_by,
    r.closed_at
"""
# What a moderator sees: `$2` is who that is, `$3` channels that are hidden from them, `$4` whether nothing is veiled.
_SEEN = "r.account <> $2 AND (r.place IS NULL OR r.place <> ALL ($3::uuid[])) AND (NOT r.veiled OR $4)"


class Eyes(Struct, frozen=True):
    """What a moderator of a space does and does not see; without one: of the server."""

    space: UUID | None
    account: UUID
    hidden: Collection[UUID]
    everything: bool

    def see(self, heap: Heap) -> bool:
        """The same as the condition in queries."""
        shown = heap.place not in self.hidden and (self.everything or not heap.veiled)
        return shown and heap.account != self.account

    @property
    def queue(self) -> str:
        """Which reports these are, in queries: `$1` is the space."""
        return "r.space = $1" if self.space is not None else "r.space IS NULL AND $1::uuid IS NULL"

    @property
    def values(self) -> tuple[Any, ...]:
        """As the first four parameters of queries."""
        return self.space, self.account, list(self.hidden), self.everything


class Reported(Struct, frozen=True):
    """What is reported: a message, or an account as such."""

    space: UUID | None
    person: User
    channel: UUID | None = None
    message: Message | None = None


class Closing(Struct, frozen=True):
    """What has become of a report, for the log."""

    outcome: str | None = None
    report: UUID | None = None


def _report(row: Row) -> Report:
    return Report(
        id=row["id"],
        space=row["space"],
        at=row["at"],
        reporter=row["reporter"],
        account=row["account"],
        channel=row["channel"],
        seq=row["seq"],
        category=row["category"],
        text=row["text"],
        outcome=row["outcome"],
        note=row["note"],
        closed_by=row["closed_by"],
        closed_at=row["closed_at"],
    )


async def create(tx: Transaction, reporter: UUID | None, what: Reported, category: str, text: str) -> bool:
    """A report, unless the same one has reported the same before; whether it is new."""
    tag = await tx.execute(
        f"""
        INSERT INTO report (id, space, reporter, account, channel, seq, place, category, text, message, person)
        VALUES ($1, $2, $3, $4, $5::uuid, $6, (SELECT {PLACE} FROM channel c WHERE c.id = $5::uuid), $7, $8, $9, $10)
        ON CONFLICT DO NOTHING
        """,
        new_id(),
        what.space,
        reporter,
        what.person.id,
        what.channel,
        what.message.seq or None if what.message is not None else None,  # 0: it was refused
        category,
        text,
        encode(what.message).decode() if what.message is not None else None,
        encode(what.person).decode(),
    )
    if tag.endswith("1") and what.space is not None:
        await _moved(tx, what.space)
    return tag.endswith("1")


async def create_by_rule(tx: Transaction, what: Reported, rule: str, every: int) -> None:
    """A report by automod; of one author by one rule at most one in so many seconds while it is open."""
    known = await tx.fetchval(
        """
        SELECT EXISTS (SELECT FROM report r WHERE r.account = $1 AND r.space = $2 AND r.reporter IS NULL AND r.text = $3
            AND r.category = 'automod' AND r.outcome IS NULL AND r.at > now() - make_interval(secs => $4))
        """,
        what.person.id,
        what.space,
        rule,
        every,
    )
    if not known:
        await create(tx, None, what, "automod", rule)


async def _moved(tx: Transaction, space: UUID) -> None:
    await tx.execute("UPDATE space SET reported = reported + 1 WHERE id = $1", space)


# The queue


async def moderating(db: Database, account: UUID, *, held: bool = False) -> Eyes | None:
    """What somebody sees of the queue of the server, if they moderate it; `held`: until the transaction ends."""
    found = await db.fetchval(
        f"""
        SELECT id FROM account WHERE id = $1 AND role IN ('owner', 'admin', 'moderator')
        {"FOR SHARE" if held else ""}
        """,
        account,
    )
    return Eyes(None, account, (), True) if found is not None else None


async def page(db: Database, eyes: Eyes, open: bool, after: str | None, limit: int) -> Reports:
    """The oldest first."""
    rows = await db.fetch(
        f"""
        SELECT {_COLUMNS} FROM report r
         WHERE {eyes.queue} AND {_SEEN} AND r.outcome IS {"" if open else "NOT"} NULL AND r.id > $5
         ORDER BY r.id LIMIT $6
        """,
        *eyes.values,
        _cursor(after),
        limit + 1,
    )
    count = await db.fetchval(
        f"SELECT count(*) FROM report r WHERE {eyes.queue} AND {_SEEN} AND r.outcome IS NULL", *eyes.values
    )
    found = [_report(row) for row in rows]
    size = fitting(found, limit)
    return Reports(reports=found[:size], open=count, next=str(found[size - 1].id) if len(found) > size else None)


def _cursor(after: str | None) -> UUID:
    """A cursor that is none begins at the beginning."""
    try:
        return UUID(after or "")
    except ValueError:
        return UUID(int=0)


async def get(db: Database, eyes: Eyes, id: UUID) -> ReportDetail | None:
    """One, with what was reported."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS}, r.message, r.person FROM report r WHERE {eyes.queue} AND {_SEEN} AND r.id = $5",
        *eyes.values,
        id,
    )
    if row is None:
        return None
    return ReportDetail(
        report=_report(row),
        message=msgspec.json.decode(row["message"], type=Message) if row["message"] else None,
        person=msgspec.json.decode(row["person"], type=User) if row["person"] else None,
    )


async def close(tx: Transaction, eyes: Eyes, id: UUID, outcome: str, note: str) -> Report | None:
    """Close one that is open; None if it is none (any more)."""
    row = await tx.fetchrow(
        f"""
        UPDATE report r SET outcome = $6, note = $7, closed_by = $2, closed_at = now()
         WHERE {eyes.queue} AND {_SEEN} AND r.id = $5 AND r.outcome IS NULL RETURNING {_COLUMNS}
        """,
        *eyes.values,
        id,
        outcome,
        note,
    )
    if row is None:
        return None
    if eyes.space is not None:
        await _moved(tx, eyes.space)
    return _report(row)


# Where there is something new


class Heap(Struct, frozen=True):
    """Open reports of one account and place in a space; `last` is the newest of them."""

    space: UUID
    account: UUID
    place: UUID | None
    veiled: bool
    open: int
    last: str


async def heaps(db: Database, spaces: Sequence[UUID]) -> dict[UUID, set[Heap]]:
    """What is open in spaces."""
    rows = await db.fetch(
        """
        SELECT space, account, place, veiled, count(*) AS open, max(id::text) AS last FROM report
         WHERE space = ANY ($1::uuid[]) AND outcome IS NULL GROUP BY space, account, place, veiled
        """,
        list(spaces),
    )
    found: dict[UUID, set[Heap]] = {space: set() for space in spaces}
    for row in rows:
        found[row["space"]].add(Heap(*row))
    return found


# The end


async def forget(tx: Transaction, account: UUID) -> None:
    """What an account has said and written is in no report any more."""
    await tx.execute("UPDATE report SET message = NULL, person = NULL WHERE account = $1", account)
    await tx.execute("UPDATE report SET reporter = NULL, text = '' WHERE reporter = $1", account)


async def prune(db: Database, days: int) -> None:
    """Forget what was closed long ago."""
    await db.execute("DELETE FROM report WHERE closed_at < now() - make_interval(days => $1)", days)
