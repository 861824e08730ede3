"""invite: codes that lead into spaces. The space's stream is held by who writes here.

Rule: an invite that is not good is as if there were none: to everybody but who is in the space by it already.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from protocol.invite import Invitation, Invite, Invites
from storage import cursor
from storage.pool import Database, Row, Transaction

# Of a table that goes by `i`.
COLUMNS = "i.code, i.space, i.by, i.role, i.uses, i.most, i.vanity, i.expires_at, i.created_at"
MOST = 50
GOOD = "(i.expires_at IS NULL OR i.expires_at > now()) AND (i.most IS NULL OR i.uses < i.most)"
# For an account $1: it is not kept out, and the invite is good or it is in already.
_LEADING = f"""
      FROM invite i JOIN space p ON p.id = i.space AND p.deleted_at IS NULL
      LEFT JOIN space_member m ON m.space = p.id AND m.account = $1
     WHERE i.code = $2 AND (m.account IS NOT NULL OR {GOOD})
       AND NOT EXISTS (SELECT FROM ban b WHERE b.space = p.id AND b.account = $1)
"""


def invite(row: Row) -> Invite:
    """An invite from a row with these columns."""
    return Invite(
        code=row["code"],
        space=row["space"],
        by=row["by"],
        role=row["role"],
        uses=row["uses"],
        most=row["most"],
        vanity=row["vanity"],
        expires_at=row["expires_at"],
        created_at=row["created_at"],
    )


# Looking


async def leading(db: Database, viewer: UUID, code: str) -> Invitation | None:
    """Where a code leads the viewer to."""
    row = await db.fetchrow(
        f"""
        SELECT i.code, p.id, p.name, p.description, p.avatar, p.members, m.account IS NOT NULL AS joined {_LEADING}
        """,
        viewer,
        code.lower(),
    )
    if row is None:
        return None
    return Invitation(
        code=row["code"],
        space=row["id"],
        name=row["name"],
        description=row["description"],
        avatar=row["avatar"],
        members=row["members"],
        joined=row["joined"],
    )


async def letting(tx: Transaction, account: UUID, code: str) -> Invite | None:
    """The invite by which an account may enter, as it is while the space is held."""
    row = await tx.fetchrow(f"SELECT {COLUMNS} {_LEADING}", account, code)
    return invite(row) if row else None


async def beside(db: Database, viewer: UUID, code: str) -> Invite | None:
    """An invite to a space that the viewer is in."""
    row = await db.fetchrow(
        f"""
        SELECT {COLUMNS} FROM invite i JOIN space p ON p.id = i.space AND p.deleted_at IS NULL
          JOIN space_member m ON m.space = p.id AND m.account = $1 WHERE i.code = $2
        """,
        viewer,
        code.lower(),
    )
    return invite(row) if row else None


async def good(db: Database, viewer: UUID, code: str) -> Invite | None:
    """An invite to a space that the viewer is in, by which others may enter."""
    row = await db.fetchrow(
        f"""
        SELECT {COLUMNS} FROM invite i JOIN space p ON p.id = i.space AND p.deleted_at IS NULL
          JOIN space_member m ON m.space = p.id AND m.account = $1 WHERE i.code = $2 AND {GOOD}
        """,
        viewer,
        code.lower(),
    )
    return invite(row) if row else None


async def made_with(db: Database, by: UUID, nonce: UUID) -> Invite | None:
    """The invite that this nonce has made."""
    row = await db.fetchrow(f"SELECT {COLUMNS} FROM invite i WHERE i.by = $1 AND i.nonce = $2", by, nonce)
    return invite(row) if row else None


async def listing(db: Database, space: UUID, by: UUID | None, after: str | None, limit: int) -> Invites:
    """Those of a space that are good, of one account or of all; the newest first."""
    at, code = _read_cursor(after)
    rows = await db.fetch(
        f"""
        SELECT {COLUMNS} FROM invite i WHERE i.space = $1 AND (i.created_at, i.code) < ($3, $4) AND {GOOD}
           AND ($2::uuid IS NULL OR (i.by = $2 AND NOT i.vanity))
         ORDER BY i.created_at DESC, i.code DESC LIMIT $5
        """,
        space,
        by,
        at,
        code,
        limit + 1,
    )
    found = [invite(row) for row in rows[:limit]]
    last = f"{found[-1].created_at.isoformat()} {found[-1].code}" if len(rows) > limit else None
    return Invites(invites=found, next=last)


def _read_cursor(text: str | None) -> tuple[datetime, str]:
    """Where a page begins; a cursor that is none begins at the beginning."""
    try:
        at, _, code = (text or "").partition(" ")
        return cursor.moment(at), code
    except (ValueError, OverflowError):
        return cursor.LAST[0], ""


# Changing


async def room(tx: Transaction, space: UUID, by: UUID) -> int:
    """How many more somebody may make; those that have been good for nothing for long go."""
    await tx.execute(
        f"""
        DELETE FROM invite i WHERE i.space = $1 AND i.by = $2 AND NOT ({GOOD})
           AND coalesce(i.expires_at, i.created_at) < now() - interval '1 day'
        """,
        space,
        by,
    )
    count: int = await tx.fetchval(
        f"SELECT count(*) FROM invite i WHERE i.space = $1 AND i.by = $2 AND NOT i.vanity AND {GOOD}", space, by
    )
    return MOST - count


async def create(tx: Transaction, one: Invite, nonce: UUID, lasts: int | None) -> Invite | None:
    """An invite that is good from now on, for so many seconds; None if there is one with that code."""
    row = await tx.fetchrow(
        f"""
        INSERT INTO invite AS i (code, space, by, role, most, vanity, nonce, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8))
        ON CONFLICT (code) DO NOTHING RETURNING {COLUMNS}
        """,
        one.code,
        one.space,
        one.by,
        one.role,
        one.most,
        one.vanity,
        nonce,
        lasts,
    )
    return invite(row) if row else None


async def clear_vanity(tx: Transaction, space: UUID) -> None:
    """The space has no code of its own choice any more."""
    await tx.execute("DELETE FROM invite WHERE space = $1 AND vanity", space)


async def count(tx: Transaction, code: str) -> None:
    """Somebody has entered by it."""
    await tx.execute("UPDATE invite SET uses = uses + 1 WHERE code = $1", code)


async def revoke(tx: Transaction, code: str) -> None:
    """It is good for nothing any more."""
    await tx.execute("DELETE FROM invite WHERE code = $1", code)
