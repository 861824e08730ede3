"""deed: what was done in spaces: by whom, to what, what it was before and after, and why.

Rule: what was done to a channel is for those who see the channel; once it is gone, for all but where it was `veiled`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.audit import Deed, Deeds, Difference
from protocol.codec import encode
from protocol.parts import fitting
from storage.pool import Database, Row, Transaction

_UNTOLD = ("id", "user")  # who or what it is stands beside it
# Of a channel `c`: where it is decided who sees it.
PLACE = "CASE WHEN c.kind = 'thread' THEN coalesce(c.parent, c.id) ELSE c.id END"


class Words(Struct, frozen=True):
    """Messages that were taken back."""

    channel: UUID
    messages: list[int]


async def note(
    db: Database,
    space: UUID,
    by: UUID | None,
    action: str,
    target: UUID | None,
    before: Struct | None,
    after: Struct | None,
    reason: str,
    channel: UUID | None = None,
) -> None:
    """Written in the transaction of what it tells; of what stood before and after only what differs is kept.

    `channel`: what it is about, if that is not the target
    """
    was, now = _told(before), _told(after)
    same = {name for name in was.keys() & now.keys() if was[name] == now[name]}
    await db.execute(
        f"""
        INSERT INTO deed (space, by, action, target, before, after, reason, place)
        VALUES ($1, $2, $3, $4::uuid, $5, $6, $7,
                (SELECT {PLACE} FROM channel c WHERE c.id = coalesce($8::uuid, $4::uuid)))
        """,
        space,
        by,
        action,
        target,
        encode({name: value for name, value in was.items() if name not in same}).decode(),
        encode({name: value for name, value in now.items() if name not in same}).decode(),
        reason,
        channel,
    )


def _told(body: Struct | None) -> dict[str, object]:
    if body is None:
        return {}
    return {name: getattr(body, name) for name in body.__struct_fields__ if name not in _UNTOLD}


async def page(
    db: Database,
    space: UUID,
    *,
    seen: Collection[UUID],
    hidden: Collection[UUID],
    everything: bool,
    by: UUID | None,
    action: str | None,
    target: UUID | None,
    before: int | None,
    limit: int,
) -> Deeds:
    """The newest first, but for what was done to `hidden` channels; `everything`: also what is veiled.

    `seen`: the channels that may be named
    """
    narrowed = (("by", by, "uuid"), ("action", action, "text"), ("target", target, "uuid"))
    filters = "".join(
        f" AND {column} = ${number}" if value is not None else f" AND ${number}::{kind} IS NULL"
        for number, (column, value, kind) in enumerate(narrowed, 6)
    )
    rows = await db.fetch(
        f"""
        SELECT id, at, by, action, target, before, after, reason FROM deed
         WHERE space = $1 AND id < $2 AND (place IS NULL OR place <> ALL ($3::uuid[])) AND (NOT veiled OR $4) {filters}
         ORDER BY id DESC LIMIT $5
        """,
        space,
        before or 2**63 - 1,
        list(hidden),
        everything,
        limit + 1,
        by,
        action,
        target,
    )
    found = [_deed(row, None if everything else {str(one) for one in seen}) for row in rows]
    size = fitting(found, limit)
    return Deeds(deeds=found[:size], next=rows[size - 1]["id"] if len(rows) > size else None)


def _deed(row: Row, seen: Collection[str] | None) -> Deed:
    was, now = _parts(row["before"], seen), _parts(row["after"], seen)
    return Deed(
        at=row["at"],
        by=row["by"],
        action=row["action"],
        target=row["target"],
        differences=[
            Difference(name=name, before=was.get(name), after=now.get(name)) for name in dict.fromkeys([*was, *now])
        ],
        reason=row["reason"],
    )


def _parts(text: str, named: Collection[str] | None) -> dict[str, str]:
    """Each value as JSON; a list of channels has those only that may be named."""
    found: dict[str, Any] = msgspec.json.decode(text)
    if named is not None and "channels" in found:
        found["channels"] = [one for one in found["channels"] or () if one in named]
    return {name: encode(value).decode() for name, value in found.items()}


async def veil(tx: Transaction, channel: UUID) -> None:
    """A channel that not everybody saw is about to go: what was done and said there stays hidden."""
    for table in ("deed", "report"):
        await tx.execute(f"UPDATE {table} SET veiled = true WHERE place = $1", channel)


async def forget(tx: Transaction, account: UUID) -> None:
    """How an account was called and what it was in spaces is in no log any more."""
    await tx.execute("UPDATE deed SET before = '{}', after = '{}' WHERE target = $1", account)


async def prune(db: Database, days: int) -> None:
    """Forget what was done long ago."""
    await db.execute("DELETE FROM deed WHERE at < now() - make_interval(days => $1)", days)
