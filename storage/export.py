"""export: what is kept about an account, as pages of (where it stands, what it is).

Rule: only what is the account's own: of a message its words, not what others made of it.
"""

from __future__ import annotations

from uuid import UUID

import msgspec

from protocol.audit import AuditEntry, ExportedDeed
from protocol.ballot import PollOption
from protocol.channel import ExportedChannel
from protocol.draft import Draft
from protocol.file import File
from protocol.friend import Friend
from protocol.invite import Invite
from protocol.message import ExportedMessage, Message
from protocol.notification import Notification, Setting
from protocol.poll import ExportedVote
from protocol.reaction import ExportedReaction
from protocol.report import ExportedReport
from protocol.scheduled import Scheduled
from protocol.space import ExportedSpace
from protocol.thread import ExportedThread
from protocol.user import User
from storage import audit as audits
from storage import file as file_rows
from storage import friend as friend_rows
from storage import invite as invite_rows
from storage import message as message_rows
from storage import notification as notified
from storage import notification_level
from storage import scheduled as planned
from storage import user as users
from storage.pool import Database

_NONE = UUID(int=0)


async def blocked(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, User]]:
    """Whom it has blocked, by name."""
    found = await users.blocked(db, account, after, limit)
    return [(one.username, one) for one in found.users]


async def audit(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, AuditEntry]]:
    """What concerned its security, newest first."""
    found = await audits.entries(db, account, int(after) if after else None, limit)
    return [(str(number), entry) for number, entry in found]


async def deeds(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, ExportedDeed]]:
    """What it has done in spaces, oldest first."""
    rows = await db.fetch(
        "SELECT id, space, at, action, target, reason FROM deed WHERE by = $1 AND id > $2 ORDER BY id LIMIT $3",
        account,
        int(after or 0),
        limit,
    )
    return [(str(row["id"]), ExportedDeed(**dict(list(row.items())[1:]))) for row in rows]


async def channels(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, ExportedChannel]]:
    """Where it is."""
    rows = await db.fetch(
        """
        SELECT c.id, c.kind, c.name, c.owner = $1 AS owned, m.joined_at, m.read,
               CASE WHEN d.low = $1 THEN d.high ELSE d.low END AS peer
          FROM member m JOIN channel c ON c.id = m.channel LEFT JOIN direct d ON d.channel = c.id AND d.low <> d.high
         WHERE m.account = $1 AND m.channel > $2 ORDER BY m.channel LIMIT $3
        """,
        account,
        _id(after),
        limit,
    )
    return [
        (
            str(row["id"]),
            ExportedChannel(
                id=row["id"],
                kind=row["kind"],
                name=row["name"],
                peer=row["peer"],
                owned=bool(row["owned"]),
                joined_at=row["joined_at"],
                read=row["read"],
            ),
        )
        for row in rows
    ]


async def spaces(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, ExportedSpace]]:
    """The communities that it is in."""
    rows = await db.fetch(
        """
        SELECT p.id, p.name, m.nick, p.owner = $1 AS owned, m.joined_at,
               ARRAY(SELECT r.name FROM role r WHERE r.space = p.id AND r.id = ANY (m.roles)
                      ORDER BY r.position) AS roles
          FROM space_member m JOIN space p ON p.id = m.space AND p.deleted_at IS NULL
         WHERE m.account = $1 AND m.space > $2 ORDER BY m.space LIMIT $3
        """,
        account,
        _id(after),
        limit,
    )
    return [(str(row["id"]), ExportedSpace(**{**row, "owned": bool(row["owned"])})) for row in rows]


async def drafts(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, Draft]]:
    """What it has begun to write."""
    rows = await db.fetch(
        """
        SELECT channel, text, reply_to, saved_at FROM draft
         WHERE account = $1 AND channel > $2 ORDER BY channel LIMIT $3
        """,
        account,
        _id(after),
        limit,
    )
    return [(str(row["channel"]), Draft(**row)) for row in rows]


async def scheduled(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, Scheduled]]:
    """What is to be sent later, and what could not be."""
    rows = await db.fetch(
        f"SELECT {planned.COLUMNS} FROM scheduled p WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3",
        account,
        _id(after),
        limit,
    )
    return [(str(row["planned"]), planned.scheduled(row)) for row in rows]


async def reports(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, ExportedReport]]:
    """What it has told moderators of."""
    rows = await db.fetch(
        """
        SELECT id, at, account, channel, seq AS message, category, text FROM report
         WHERE reporter = $1 AND id > $2 ORDER BY id LIMIT $3
        """,
        account,
        _id(after),
        limit,
    )
    return [(str(row["id"]), ExportedReport(**dict(list(row.items())[1:]))) for row in rows]


async def friends(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, Friend]]:
    """Its friends, and who waits for an answer of whom."""
    rows = await db.fetch(
        "SELECT other, state, since FROM friend WHERE account = $1 AND other > $2 ORDER BY other LIMIT $3",
        account,
        _id(after),
        limit,
    )
    return [(str(row["other"]), friend_rows.friend(row)) for row in rows]


async def invites(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, Invite]]:
    """The ways into spaces that it has made."""
    rows = await db.fetch(
        f"SELECT {invite_rows.COLUMNS} FROM invite i WHERE i.by = $1 AND i.code > $2 ORDER BY i.code LIMIT $3",
        account,
        after,
        limit,
    )
    return [(row["code"], invite_rows.invite(row)) for row in rows]


async def threads(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, ExportedThread]]:
    """The threads that it has opened or written in, or follows."""
    rows = await db.fetch(
        """
        SELECT c.id, coalesce(c.creator = $1, false) AS opened, f.followed
          FROM follow f JOIN channel c ON c.id = f.thread
         WHERE f.account = $1 AND f.thread > $2 ORDER BY f.thread LIMIT $3
        """,
        account,
        _id(after),
        limit,
    )
    return [(str(row["id"]), ExportedThread(**row)) for row in rows]


async def reactions(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, ExportedReaction]]:
    """What it has put under messages, oldest first."""
    rows = await db.fetch(
        """
        SELECT id, channel, seq, emoji, at, custom FROM reaction WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3
        """,
        account,
        int(after or 0),
        limit,
    )
    return [
        (
            str(row["id"]),
            ExportedReaction(
                channel=row["channel"], message=row["seq"], emoji=row["emoji"], at=row["at"], custom=row["custom"]
            ),
        )
        for row in rows
    ]


async def votes(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, ExportedVote]]:
    """What it has chosen in polls."""
    channel, _, seq = after.partition("/")
    rows = await db.fetch(
        """
        SELECT channel, seq, options, at FROM vote WHERE account = $1 AND (channel, seq) > ($2, $3)
         ORDER BY channel, seq LIMIT $4
        """,
        account,
        _id(channel),
        int(seq or 0),
        limit,
    )
    return [
        (
            f"{row['channel']}/{row['seq']}",
            ExportedVote(channel=row["channel"], message=row["seq"], options=row["options"], at=row["at"]),
        )
        for row in rows
    ]


async def files(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, File]]:
    """What it has uploaded, oldest first; `file.link` tells where to read it."""
    rows = await db.fetch(
        f"SELECT {file_rows.COLUMNS} FROM file f WHERE f.owner = $1 AND f.id > $2 ORDER BY f.id LIMIT $3",
        account,
        _id(after),
        limit,
    )
    return [(str(row["id"]), file_rows.file(row)) for row in rows]


async def notifications(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, Notification]]:
    """What it was notified of, oldest first."""
    rows = await db.fetch(
        f"SELECT {notified.COLUMNS} FROM {notified.FROM} WHERE n.account = $1 AND n.id > $2 ORDER BY n.id LIMIT $3",
        account,
        int(after or 0),
        limit,
    )
    return [(str(row["id"]), notified.notification(row)) for row in rows]


async def notification_settings(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, Setting]]:
    """Of what it wants to be notified."""
    found = await notification_level.settings(db, account)
    return [(key, one) for one in found if (key := str(one.channel or one.space)) > after][:limit]


async def messages(db: Database, account: UUID, after: str, limit: int) -> list[tuple[str, ExportedMessage]]:
    """What it has said, wherever, in no order but one."""
    rows = await db.fetch(
        f"""
        SELECT m.channel, m.nonce, {message_rows.COLUMNS} FROM message m
         WHERE m.author = $1 AND m.nonce > $2 AND m.deleted_at IS NULL ORDER BY m.nonce LIMIT $3
        """,
        account,
        _id(after),
        limit,
    )
    return [
        (
            str(row["nonce"]),
            ExportedMessage(channel=row["channel"], message=_own(message_rows.message(row))),
        )
        for row in rows
    ]


def _own(message: Message) -> Message:
    poll = message.poll
    if poll is not None:
        options = [PollOption(text=one.text) for one in poll.options]
        poll = msgspec.structs.replace(poll, options=options, voters=0)
    call = message.call
    if call is not None:
        call = msgspec.structs.replace(call, people=[])
    return msgspec.structs.replace(message, reactions=[], poll=poll, call=call)


def _id(after: str) -> UUID:
    return UUID(after) if after else _NONE
