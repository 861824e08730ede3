"""account: the private side of everybody.

Rule: who may know the password hash asks for `Login`; `Account` frames never carry it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.account import Account, Location, Notifications
from storage.ids import new_id
from storage.pool import Database, Row, UniqueViolation

_COLUMNS = {
    "username",
    "name_key",
    "display_name",
    "bio",
    "avatar",
    "locale",
    "theme",
    "notifications",
    "interests",
} | {
    "city",
    "latitude",
    "longitude",
}


class NameTaken(Exception):
    """Somebody has a name that looks like it."""


class Login(Struct, frozen=True):
    """What a login needs to know."""

    id: UUID
    username: str
    email: str | None
    email_verified: bool
    password_hash: str | None
    two_factor: bool


_LOGIN = """
    SELECT a.id, a.username, a.email, a.email_verified_at IS NOT NULL AS email_verified, a.password_hash,
           EXISTS (SELECT FROM two_factor t WHERE t.account = a.id AND t.confirmed_at IS NOT NULL) AS two_factor
      FROM account a WHERE a.deleted_at IS NULL AND
"""


def _login(row: Row | None) -> Login | None:
    if row is None:
        return None
    return Login(
        row["id"],
        row["username"],
        row["email"],
        row["email_verified"],
        row["password_hash"],
        row["two_factor"],
    )


async def create(
    db: Database,
    *,
    username: str,
    name_key: str,
    password_hash: str | None,
    email: str | None,
    display_name: str,
    locale: str,
    avatar: str,
) -> UUID:
    """A new account; `NameTaken` when the name is."""
    account = new_id()
    try:
        await db.execute(
            """
            WITH stream AS (INSERT INTO stream (id) VALUES ($1))
            INSERT INTO account (id, username, name_key, password_hash, email, display_name, locale, avatar)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            """,
            account,
            username,
            name_key,
            password_hash,
            email,
            display_name,
            locale,
            avatar,
        )
    except UniqueViolation:
        raise NameTaken from None
    return account


async def by_login(db: Database, name_key: str, email: str) -> Login | None:
    """Who logs in with this name, or with this confirmed address."""
    return _login(
        await db.fetchrow(
            f"{_LOGIN} (a.name_key = $1 OR (lower(a.email) = lower($2) AND a.email_verified_at IS NOT NULL))",
            name_key,
            email,
        )
    )


async def by_email(db: Database, email: str) -> Login | None:
    """Who has confirmed this address."""
    return _login(await db.fetchrow(f"{_LOGIN} lower(a.email) = lower($1) AND a.email_verified_at IS NOT NULL", email))


async def by_identity(db: Database, issuer: str, subject: str) -> Login | None:
    """Whom an outside account logs in to."""
    return _login(
        await db.fetchrow(
            f"{_LOGIN} a.id = (SELECT i.account FROM identity i WHERE i.issuer = $1 AND i.subject = $2)",
            issuer,
            subject,
        )
    )


async def login(db: Database, account: UUID) -> Login | None:
    """One's own login."""
    return _login(await db.fetchrow(f"{_LOGIN} a.id = $1", account))


async def hold(db: Database, account: UUID) -> Login | None:
    """One's own login as it is, and stays until the transaction ends."""
    return _login(await db.fetchrow(f"{_LOGIN} a.id = $1 FOR NO KEY UPDATE OF a", account))


async def get(db: Database, account: UUID) -> Account | None:
    """One's own account."""
    row = await db.fetchrow(
        """
        SELECT a.*, EXISTS (SELECT FROM two_factor t WHERE t.account = a.id AND t.confirmed_at IS NOT NULL) AS guarded,
               ARRAY(SELECT provider FROM identity i WHERE i.account = a.id ORDER BY provider) AS providers
          FROM account a WHERE a.id = $1 AND a.deleted_at IS NULL
        """,
        account,
    )
    return _account(row) if row else None


async def of_device(db: Database, account: UUID, device: UUID) -> Account | None:
    """The account, if the device is alive and belongs to it."""
    alive = await db.fetchval(
        """
        UPDATE device SET seen_at = now()
         WHERE id = $1 AND account = $2 AND revoked_at IS NULL AND expires_at > now() RETURNING true
        """,
        device,
        account,
    )
    return await get(db, account) if alive else None


def _account(row: Row) -> Account:
    place = None
    if row["latitude"] is not None:
        place = Location(latitude=row["latitude"], longitude=row["longitude"])
    return Account(
        id=row["id"],
        username=row["username"],
        display_name=row["display_name"],
        bio=row["bio"],
        avatar=row["avatar"],
        email=row["email"],
        email_verified=row["email_verified_at"] is not None,
        role=row["role"],
        locale=row["locale"],
        theme=row["theme"],
        notifications=msgspec.json.decode(row["notifications"], type=Notifications),
        interests=row["interests"],
        city=row["city"],
        location=place,
        has_password=row["password_hash"] is not None,
        two_factor=row["guarded"],
        providers=row["providers"],
        created_at=row["created_at"],
    )


async def update(db: Database, account: UUID, changes: Mapping[str, Any]) -> None:
    """Change some columns; `NameTaken` when the new name is."""
    names = [name for name in changes if name in _COLUMNS]
    if not names:
        return
    assignments = ", ".join(f"{name} = ${i}" for i, name in enumerate(names, 2))
    try:
        await db.execute(
            f"UPDATE account SET {assignments} WHERE id = $1 AND deleted_at IS NULL",
            account,
            *(changes[name] for name in names),
        )
    except UniqueViolation:
        raise NameTaken from None


async def set_password(db: Database, account: UUID, password_hash: str) -> None:
    """A new password."""
    await db.execute("UPDATE account SET password_hash = $2 WHERE id = $1", account, password_hash)


async def replace_password(db: Database, account: UUID, old: str | None, password_hash: str) -> bool:
    """A new password; False when the old one is not that any more."""
    tag = await db.execute(
        "UPDATE account SET password_hash = $3 WHERE id = $1 AND password_hash IS NOT DISTINCT FROM $2",
        account,
        old,
        password_hash,
    )
    return tag == "UPDATE 1"


async def confirm_email(db: Database, account: UUID, email: str) -> bool:
    """The address is theirs; False when somebody else has confirmed it before."""
    taken = await db.fetchval(
        """
        SELECT true FROM account WHERE lower(email) = lower($2) AND email_verified_at IS NOT NULL AND id <> $1
        """,
        account,
        email,
    )
    if taken:
        return False
    try:
        tag = await db.execute(
            "UPDATE account SET email = $2, email_verified_at = now() WHERE id = $1 AND deleted_at IS NULL",
            account,
            email,
        )
    except UniqueViolation:
        return False
    return tag == "UPDATE 1"


async def link(db: Database, account: UUID, provider: str, issuer: str, subject: str) -> bool:
    """Let an outside account log in; False when either side is linked already."""
    tag = await db.execute(
        """
        INSERT INTO identity (issuer, subject, account, provider) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
        """,
        issuer,
        subject,
        account,
        provider,
    )
    return tag == "INSERT 0 1"


async def unlink(db: Database, account: UUID, provider: str) -> bool:
    """Stop an outside account from logging in; whether it could."""
    tag = await db.execute("DELETE FROM identity WHERE account = $1 AND provider = $2", account, provider)
    return tag != "DELETE 0"


async def set_role(db: Database, account: UUID, role: str) -> bool:
    """Give somebody a role; False when it is the owner's, and there is one."""
    try:
        await db.execute("UPDATE account SET role = $2 WHERE id = $1 AND deleted_at IS NULL", account, role)
    except UniqueViolation:
        return False
    return True


class Overview(Struct, frozen=True):
    """An account in the operator's list."""

    username: str
    role: str
    email: str | None
    created_at: datetime
    devices: int


async def overview(db: Database) -> list[Overview]:
    """Everybody, for the operator."""
    rows = await db.fetch("""
        SELECT a.username, a.role, a.email, a.created_at,
               (SELECT count(*) FROM device d WHERE d.account = a.id AND d.revoked_at IS NULL) AS devices
          FROM account a WHERE a.deleted_at IS NULL ORDER BY a.created_at
    """)
    return [Overview(**row) for row in rows]


async def erase(db: Database, account: UUID) -> dict[str, int]:
    """Empty the account, keep its id so that nobody ever gets it again; what was erased, by kind."""
    erased = {}
    # Devices and keys stay as empty revoked rows for a while: that is how other processes learn that they ended.
    tag = await db.execute(
        """
        UPDATE device SET revoked_at = now(), name = '', address = '', push = NULL, refresh_hash = '',
               previous_hash = NULL WHERE account = $1
        """,
        account,
    )
    erased["device"] = int(tag.split()[-1])
    tag = await db.execute(
        "UPDATE api_key SET revoked_at = now(), name = '', hash = uuid_send(id), scopes = '{}' WHERE account = $1",
        account,
    )
    erased["api_key"] = int(tag.split()[-1])
    for table in (
        "identity",
        "two_factor",
        "recovery_code",
        "ticket",
        "audit",
        "draft",
        "scheduled",
        "friend_privacy",
        "presence",
        "notification",
        "notification_level",
        "consequence",
        "ring",
        "hush",
    ):
        tag = await db.execute(f"DELETE FROM {table} WHERE account = $1", account)
        erased[table] = int(tag.split()[-1])
    tag = await db.execute("DELETE FROM block WHERE account = $1 OR blocked = $1", account)
    erased["block"] = int(tag.split()[-1])
    await db.execute("DELETE FROM mail WHERE recipient = (SELECT email FROM account WHERE id = $1)", account)
    await db.execute(
        """
        UPDATE account SET username = 'deleted', name_key = NULL, display_name = '', bio = '', avatar = '',
               email = NULL, email_verified_at = NULL, password_hash = NULL, role = 'member', locale = 'en',
               theme = 'system', notifications = '{}', interests = '{}', city = '', latitude = NULL,
               longitude = NULL, deleted_at = now() WHERE id = $1
        """,
        account,
    )
    return erased
