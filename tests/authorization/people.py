"""The people of the world: each has everything an account can have, and a canary wherever something is private.

Columns that hold no secret and no text of the account's own are listed in PLAIN, with what they hold instead; those
that others may see, in PUBLIC. Every other column holds a canary, which a test checks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from msgspec import Struct

from server import login, totp
from server import name as names
from server.app import Server
from server.secret import api_key, digest, ticket
from storage.ids import new_id
from tests.authorization.marks import Marks

PUBLIC = {f"account.{column}" for column in ("username", "name_key", "display_name", "bio", "interests", "city")}
PUBLIC |= {"presence.text"}
PLAIN = {
    "account.avatar": "one of the built-in ones, or an id",
    "account.role": "one of four",
    "account.locale": "a language",
    "account.theme": "one of four",
    "account.notifications": "switches",
    "api_key.scopes": "names of ops",
    "audit.action": "names of ops",
    "automod.kind": "one of seven",
    "automod.roles": "ids",
    "automod.channels": "ids",
    "channel.avatar": "one of the built-in ones, or an id",
    "channel.kind": "one of ten",
    "due.kind": "what is to be done",
    "deed.action": "names of ops",
    "fact.kind": "names of events",
    "file.purpose": "one of six",
    "file.state": "one of four",
    "file.type": "a media type",
    "variant.name": "small, large, …",
    "variant.type": "a media type",
    "friend.state": "one of three",
    "friend_privacy.requests": "one of three",
    "friend_privacy.directs": "one of two",
    "identity.issuer": "an address of the operator's choice",
    "identity.provider": "a name of the operator's choice",
    "instance.key_id": "the server's",
    "message.call": "what became of a call, and ids",
    "message.forwarded": "an id and a time",
    "message.mentions": "ids",
    "message.mention_roles": "ids",
    "message.sticker": "what its row has",
    "notification.kind": "one of eight",
    "notification_level.level": "one of four",
    "migration.name": "the server's",
    "migration.checksum": "the server's",
    "presence.status": "one of four",
    "report.category": "one of ten",
    "report.outcome": "one of two",
    "scheduled.failed": "codes of refusals",
    "search_word.word": "words, without where they stand",
    "scheduled.mentions": "ids",
    "space.avatar": "one of the built-in ones, or an id",
    "space_member.roles": "ids",
    "summons.roles": "ids",
    "ticket.kind": "one of five",
    "vote.options": "numbers",
}
EVERYBODY = "Everybody's second name"
TICKETS = ("verify", "reset", login.SECOND_STEP)
Values = dict[str, Any]


class Device(Struct, frozen=True):
    """A login, with its refresh token and the one before it."""

    id: UUID
    refresh: str
    previous: str


class Key(Struct, frozen=True):
    """An API key."""

    id: UUID
    secret: str


class Person(Struct, frozen=True):
    """Somebody, with every secret that they have."""

    name: str
    id: UUID
    username: str
    email: str
    password: str
    subject: str
    authenticator: bytes
    recovery: str
    phone: Device
    laptop: Device
    lost: Device
    stale: Device
    full: Key
    withdrawn: Key
    outdated: Key
    tickets: dict[str, str]
    old_tickets: dict[str, str]
    rows: list[tuple[str, Values]]
    tokens: dict[UUID, str] = {}

    @property
    def code(self) -> str:
        """What the authenticator shows now."""
        return totp.at(self.authenticator, int(datetime.now(UTC).timestamp()) // 30)

    def access(self, server: Server, device: Device | None = None) -> str:
        """An access token of one of the devices; the same one each time, as its socket may be."""
        id = (device or self.phone).id
        if id not in self.tokens:
            self.tokens[id] = server.keys.access(self.id, id, 3600)
        return self.tokens[id]


class Maker:
    """Makes people, with the keys of the server that they are for."""

    def __init__(self, server: Server, marks: Marks, issuer: str, provider: str) -> None:
        self._server, self._marks, self._issuer, self._provider = server, marks, issuer, provider
        self._count = 0

    async def make(self, who: str, role: str = "member", *, verified: bool = True, deleted: bool = False) -> Person:
        """Somebody new; `rows` is what the database is to hold of them."""
        rows: list[tuple[str, Values]] = []
        account, username = new_id(), self._marks.public(who, "name")
        email, password = f"{self._marks.private(who, 'address')}@example.org", self._marks.private(who, "password")
        rows.append(("account", await self._account(who, account, username, email, password, role)))
        now = datetime.now(UTC)
        rows[0][1].update(email_verified_at=now if verified else None, deleted_at=now if deleted else None)
        authenticator, recovery = totp.new_secret(), totp.recovery_codes(1)[0]
        subject = self._marks.private(who, "outside account")
        rows.extend(self._factors(who, account, authenticator, recovery, subject))
        person = Person(
            name=who,
            id=account,
            username=username,
            email=email,
            password=password,
            subject=subject,
            authenticator=authenticator,
            recovery=recovery,
            phone=self._device(who, account, rows),
            laptop=self._device(who, account, rows),
            lost=self._device(who, account, rows, revoked_at=now),
            stale=self._device(who, account, rows, expires_at=now - timedelta(days=1)),
            full=self._key(who, account, rows),
            withdrawn=self._key(who, account, rows, revoked_at=now),
            outdated=self._key(who, account, rows, expires_at=now - timedelta(days=1)),
            tickets={kind: self._ticket(who, account, rows, kind, email, 1) for kind in TICKETS},
            old_tickets={kind: self._ticket(who, account, rows, kind, email, -1) for kind in TICKETS},
            rows=rows,
        )
        rows.extend(self._traces(who, account, email, person.phone.id))
        return person

    async def _account(self, who: str, account: UUID, username: str, email: str, password: str, role: str) -> Values:
        marks = self._marks
        self._count += 1
        hashed = await self._server.passwords.hash(password)
        place = (float(f"-60.{100 + self._count}1"), float(f"160.{100 + self._count}1"))
        for degrees in place:
            marks.keep(who, "place", str(degrees))
        return {
            "id": account,
            "username": username,
            "name_key": names.look(username),
            "display_name": f"{marks.public(who, 'display name')} {EVERYBODY}",
            "bio": marks.public(who, "bio"),
            "avatar": self._server.site.avatar_for(username),
            "email": email,
            "password_hash": marks.keep(who, "password hash", hashed),
            "role": role,
            "interests": [marks.public(who, "interest")],
            "city": marks.public(who, "city"),
            "latitude": place[0],
            "longitude": place[1],
        }

    def _factors(self, who: str, account: UUID, authenticator: bytes, recovery: str, subject: str) -> Iterable[Any]:
        marks, keys = self._marks, self._server.keys
        marks.keep(who, "authenticator", totp.shown(authenticator))
        marks.keep(who, "recovery code", recovery)
        sealed = marks.keep_bytes(who, "sealed authenticator", keys.seal(authenticator, login.purpose(account)))
        hashed = marks.keep_bytes(who, "hashed recovery code", login.recovery_hash(account, recovery))
        yield "two_factor", {"account": account, "secret": sealed, "confirmed_at": datetime.now(UTC)}
        yield "recovery_code", {"account": account, "hash": hashed}
        identity = {"account": account, "issuer": self._issuer, "subject": subject, "provider": self._provider}
        yield "identity", identity

    def _device(self, who: str, account: UUID, rows: list[Any], **values: Any) -> Device:
        marks, keys, device = self._marks, self._server.keys, marks_id(self._marks, who, "device")
        refresh, previous = keys.first_refresh(device), keys.first_refresh(device)
        push = {name: marks.private(who, f"push {name}") for name in ("endpoint", "p256dh", "auth")}
        row = {
            "id": device,
            "account": account,
            "name": marks.private(who, "device name"),
            "address": marks.private(who, "device address"),
            "refresh_hash": marks.keep_bytes(who, "hashed refresh token", digest(marks.keep(who, "token", refresh))),
            "previous_hash": marks.keep_bytes(who, "hashed refresh token", digest(marks.keep(who, "token", previous))),
            "previous_nonce": uuid4(),
            "expires_at": datetime.now(UTC) + timedelta(days=1),
            "created_at": datetime.now(UTC) - timedelta(days=2),
            "push": json.dumps({"kind": "web", **push}),
        }
        rows.append(("device", row | values))
        return Device(device, refresh, previous)

    def _key(self, who: str, account: UUID, rows: list[Any], **values: Any) -> Key:
        key, row = new_key(self._marks, who, account, ["*"])
        rows.append(("api_key", row | values))
        return key

    def _ticket(self, who: str, account: UUID, rows: list[Any], kind: str, email: str, days: int) -> str:
        secret, row = new_ticket(self._marks, who, kind, email if kind == "verify" else "", days)
        rows.append(("ticket", row | {"account": account}))
        return secret

    def _traces(self, who: str, account: UUID, email: str, device: UUID) -> Iterable[Any]:
        marks = self._marks
        detail = json.dumps({"name": marks.private(who, "detail of the audit log")})
        address = marks.private(who, "address in the audit log")
        for action in ("account.login", "account.rename"):
            row = {"account": account, "action": action, "address": address, "device": device, "detail": detail}
            yield "audit", row
        yield "presence", {"account": account, "text": marks.public(who, "status"), "seen_at": datetime.now(UTC)}
        sealed = marks.keep_bytes(who, "sealed mail", self._server.keys.seal(b"text", "mail"))
        mail = {"id": new_id(), "recipient": email, "subject": marks.private(who, "mail"), "sealed": sealed}
        yield "mail", mail | {"next_at": datetime.now(UTC) + timedelta(days=9)}


def marks_id(marks: Marks, who: str, what: str) -> UUID:
    """A new id that nobody else may see."""
    return marks.keep_id(who, what, new_id())


def new_key(marks: Marks, who: str, account: UUID, scopes: list[str]) -> tuple[Key, Values]:
    """An API key and its row."""
    key = Key(marks_id(marks, who, "API key"), marks.keep(who, "API key", api_key()))
    hashed = marks.keep_bytes(who, "hashed API key", digest(key.secret))
    name = marks.private(who, "name of an API key")
    return key, {"id": key.id, "account": account, "name": name, "hash": hashed, "scopes": scopes}


def new_ticket(marks: Marks, who: str, kind: str, data: str, days: int) -> tuple[str, Values]:
    """A ticket and its row."""
    secret = marks.keep(who, f"{kind} ticket", ticket())
    hashed = marks.keep_bytes(who, "hashed ticket", digest(secret))
    data = data or marks.private(who, "data of a ticket")
    return secret, {"hash": hashed, "kind": kind, "data": data, "expires_at": datetime.now(UTC) + timedelta(days=days)}
