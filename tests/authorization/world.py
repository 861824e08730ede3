"""The world of the matrix: one server, some people who stand in every relation to each other, and who listens.

ann      may do what the op does, to what is hers; the others try the same
tom      whom the frames about users are about
sid      a stranger to ann and tom
ivy      tom blocks her
kim      she blocks tom
bea      she blocks ann, tom and kim
cal      ann blocks him; his address is not confirmed
adm, own the administrator and the owner of the server, which gives them no rights over people
gone     an account that was deleted, of which nothing was erased
eve, fay were put out of ann's group, and own another one (channels.py)
lea, max stand below and above ann in the club (spaces.py)

What they are to each other is in FRIENDS and ASKED: ann's friends whom she does not see (any more) are left over.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from server.app import Server
from server.external import Started
from server.rule import Rule
from server.secret import digest, ticket
from storage import words
from storage.ids import new_id
from storage.message import message
from storage.tail import COLUMNS
from tests.authorization import provider
from tests.authorization.flaws import FLAWS
from tests.authorization.ledger import Ledger, Rows
from tests.authorization.marks import Marks
from tests.authorization.memory import Memory
from tests.authorization.people import Key, Maker, Person, Values, new_key
from tests.authorization.spaces import Space
from tests.authorization.talk import PROGRAM, Talk
from tests.authorization.ways import Weaver

BLOCKS = (
    ("kim", "tom"),
    ("tom", "ivy"),
    ("bea", "ann"),
    ("bea", "tom"),
    ("bea", "kim"),
    ("ann", "cal"),
    ("fay", "lea"),
)
FRIENDS = (
    ("ann", "adm"),
    ("own", "fay"),
    ("tom", "own"),
    ("eve", "fay"),
    ("ann", "bea"),
    ("ann", "cal"),
    ("ann", "gone"),
)
ASKED = (("own", "ann"), ("eve", "ann"), ("ann", "ivy"), ("adm", "fay"), ("sid", "eve"))
# Who may ask them, and who may open a direct channel with them.
PRIVACY = {
    "own": ("everyone", "everyone"),
    "kim": ("nobody", "everyone"),
    "fay": ("friends_of_friends", "everyone"),
    "eve": ("nobody", "friends"),
    "ann": ("everyone", "friends"),
}
# What programs need a scope for as well, besides the op.
NEEDED = {"channel.watch": ["message.history"]}
STATE = "a-state-that-only-who-started-the-login-knows"


class World(Talk):
    """Everybody, everything, and how to talk to it."""

    def __init__(self, server: Server, db: asyncpg.Connection[Any], url: str, issuer: str) -> None:
        """`url`: of the database, to which `db` is connected."""
        super().__init__(server)
        self.url, self.issuer = url, issuer
        self.marks, self.ledger = Marks(), Ledger(db)
        self.spaces: dict[str, Space] = {}
        self.codes: dict[str, str] = {}
        self.nonces: dict[str, UUID] = {}
        self.reports: dict[str, UUID] = {}
        self.automods: dict[str, UUID] = {}
        self.tags: dict[tuple[str, int], str] = {}
        self.emojis: dict[str, str] = {}
        self.scheduled: dict[str, UUID] = {}
        self.files: dict[str, UUID] = {}
        self.memory = Memory(server, db)
        self.loose: dict[str, str] = {}
        self.rules: dict[str, Rule] = {name: op.access for name, op in server.router.ops.items()}
        self.cases = self.mutants = 0
        self._seen: dict[str, frozenset[str]] = {}
        self._cut_for = ""
        self._cut: dict[str, dict[str, tuple[Key, Values]]] = {}
        self.touched = self.ended = False
        self._db = db

    def __getattr__(self, name: str) -> Person:
        try:
            person: Person = self.__dict__["people"][name]
        except KeyError:
            raise AttributeError(f"nobody is called {name}") from None
        return person

    # Making it

    async def make(self) -> None:
        """Put everybody into the database, and have everybody listen."""
        maker = Maker(self.server, self.marks, f"{self.issuer}/user", provider.NAME)
        for name in ("ann", "tom", "sid", "ivy", "kim", "bea", "eve", "fay", "lea", "max"):
            self.people[name] = await maker.make(name)
        self.people["cal"] = await maker.make("cal", verified=False)
        self.people["adm"] = await maker.make("adm", "admin")
        self.people["own"] = await maker.make("own", "owner")
        self.people["gone"] = await maker.make("gone", deleted=True)
        builder = Weaver(self.people, self.marks)
        builder.build()
        self.channels, self.emojis, self.scheduled = builder.channels, builder.emojis, builder.scheduled
        self.files = builder.files
        self.spaces, self.codes, self.nonces = builder.spaces, builder.codes, builder.nonces
        self.reports, self.automods, self.tags = builder.reports, builder.automods, builder.tags
        for person in self.people.values():
            for table, values in person.rows:
                await self.insert(table, values)
        for table, values in builder.rows:
            await self.insert(table, values)
        for blocker, blocked in BLOCKS:
            await self.insert("block", {"account": self.people[blocker].id, "blocked": self.people[blocked].id})
        await self._documents()
        await self._friends()
        await self._notified()
        await self._loose_tickets()
        self.keys[PROGRAM], row = new_key(self.marks, "ann", self.ann.id, ["user"])
        await self.insert("api_key", row)
        flaws = await self.flaws()
        assert not flaws, flaws
        await self.ledger.learn()
        await self.memory.learn(self.channels.values(), self.people)
        self.memory.restore()
        await self.listen()

    async def _documents(self) -> None:
        """What messages are found by; also those that were taken back a moment ago."""
        rows = await self._db.fetch(f"SELECT m.channel, {COLUMNS} FROM message m")
        for row in rows:
            place = row["channel"], row["sent_at"], row["seq"]
            document, _ = words.document(message(row))
            await self._db.execute("INSERT INTO search VALUES ($1, $2, $3, $4::text::tsvector)", *place, document)

    async def _friends(self) -> None:
        pairs = [(*pair, "friend", "friend") for pair in FRIENDS] + [(*pair, "waiting", "asked") for pair in ASKED]
        for one, other, of_one, of_other in pairs:
            for account, peer, state in ((one, other, of_one), (other, one, of_other)):
                row = {"account": self.people[account].id, "other": self.people[peer].id, "state": state}
                await self.insert("friend", row)
        for name, (requests, directs) in PRIVACY.items():
            row = {"account": self.people[name].id, "requests": requests, "directs": directs}
            await self.insert("friend_privacy", row)

    async def _notified(self) -> None:
        """Of 2 in ann's group, by tom; of 8 there, by her; ann of 3 and 5 there, too, and of what stands where she was.

        Each wants all of it in the group, and nothing of a place that they were put out of.
        """
        group, left = self.channels["group"].id, self.channels["left"].id
        of = {"ann": (2, 3, 5), "tom": (8,), "kim": (2,), "eve": (2, 8)}
        for name, seqs in of.items():
            account = self.people[name].id
            about = [(group, seq, self.tom if seq != 8 else self.ann) for seq in seqs]
            about += [(left, 1, self.tom)] if name == "ann" else []
            for id, (channel, seq, by) in enumerate(about, 1):  # older than whatever they are told
                place = {"channel": channel, "seq": seq, "by": by.id, "kind": "mention"}
                await self.insert("notification", {"account": account, "id": -id, **place})
            row: Values = {
                "account": account,
                "id": 0,
                "kind": "friend_request",
                "by": self.own.id,
                "read": name != "ann",
            }
            await self.insert("notification", row)
            for place, level in ((group, "all"), (left, "nothing")):
                await self.insert("notification_level", {"account": account, "place": place, "level": level})

        row = {"account": self.gone.id, "id": 1, "kind": "invite", "by": self.own.id, "space": self.spaces["fair"].id}
        await self.insert("notification", row | {"code": self.marks.private("gone", "code of an invite")})
        row = {"account": self.gone.id, "id": 2, "kind": "mention", "by": self.lea.id}
        await self.insert("notification", row | {"channel": self.channels["attic"].id, "seq": 1})
        row = {"id": new_id(), "account": self.tom.id, "body": self.marks.private("tom", "words that were found")}
        await self.insert("consequence", row | {"due": datetime.now(UTC) + timedelta(days=1)})

    async def _loose_tickets(self) -> None:
        """Tickets of nobody's account: who has one may use it."""
        started = Started(provider.NAME, "", STATE, "verifier", "nonce", f"{self.server.public_url}/external")
        sealed = self.server.keys.seal(msgspec.json.encode(started), "external").hex()
        for name, kind, data, days in (
            ("external", "external", sealed, 1),
            ("old external", "external", sealed, -1),
            ("claim", "claim", "", 1),
            ("old claim", "claim", "", -1),
        ):
            self.loose[name] = ticket()
            expires_at = datetime.now(UTC) + timedelta(days=days)
            row = {"hash": digest(self.loose[name]), "kind": kind, "data": data, "expires_at": expires_at}
            await self.insert("ticket", row)

    async def insert(self, table: str, values: Values) -> None:
        """One row."""
        columns, places = ", ".join(values), ", ".join(f"${number}" for number in range(1, len(values) + 1))
        await self._db.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", *values.values())

    async def column(self, table: str, column: str) -> list[Any]:
        """All values of a column but NULLs."""
        rows = await self._db.fetch(f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL')
        return [row[0] for row in rows]

    @cached_property
    def owners_known(self) -> set[str | None]:
        """Whoever owned something from the beginning."""
        return {owner for rows in self.ledger.learnt.values() for row in rows for owner in row.owners}

    async def flaws(self) -> list[str]:
        """What does not fit together in the database, and whose sockets do not hear just what they should."""
        return [row[0] for row in await self._db.fetch(FLAWS)] + await self.memory.flaws()

    async def function(self, name: str) -> str:
        """The text that defines an SQL function."""
        return str(await self._db.fetchval("SELECT pg_get_functiondef($1::regproc)", name))

    async def define(self, text: str) -> None:
        """Have an SQL function be another."""
        await self._db.execute(text)

    async def columns(self) -> list[tuple[str, str]]:
        """Every column that can hold text, bytes or a place."""
        rows = await self._db.fetch("""
            SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'
               AND data_type IN ('text', 'bytea', 'ARRAY', 'double precision', 'json', 'jsonb', 'inet', 'cidr')
        """)
        return [(row[0], row[1]) for row in rows]

    # Keys whose scopes are about one op

    async def cut_keys(self, op: str, who: Person) -> None:
        """Keys of `who`: for everything but this op, for this op alone, for its domain."""
        if op != self._cut_for:
            self.forget("osk_")
            self._cut_for = op
        if op not in self._cut:
            ops, domain = self.server.router.ops, op.partition(".")[0]
            others = ({name.partition(".")[0] for name in ops} | ops.keys()) - {domain, op}
            scopes = {"narrow": sorted(others), "exact": [op], "domain": [domain]}
            scopes = {kind: [*some, *NEEDED.get(op, [])] for kind, some in scopes.items()}
            self._cut[op] = {kind: new_key(self.marks, who.name, who.id, some) for kind, some in scopes.items()}
        for kind, (key, row) in self._cut[op].items():
            self.keys[kind] = key
            self.touched = True
            await self.insert("api_key", row)

    # Back to the beginning

    async def prepare(self, sql: str, who: Person) -> None:
        """Change something for a while; statements are separated by semicolons.

        `$1` is the account of `who`, `<hall>` or `<role mods>` an id.
        """
        for statement in filter(None, map(str.strip, sql.split(";"))):
            self.touched = True
            told = re.sub("<([a-z ]+)>", lambda found: f"'{self._id(found[1])}'::uuid", statement)
            await self._db.execute(told, *([who.id] if "$1" in told else []))

    def _id(self, name: str) -> UUID:
        if name.startswith("role "):
            return self.spaces["club"].roles[name.removeprefix("role ")]
        return self.channels[name].id if name in self.channels else self.spaces[name].id

    async def reset(self) -> None:
        """Everything as it was made, and everybody listening.

        `touched` says that rows were changed, `ended` that logins were ended, which processes tell each other.
        """
        if self.touched or self.ended:
            await self.ledger.restore(await self._quiet())
            self.memory.restore()
        if self.ended:
            await self._settle()
        self.touched = self.ended = False
        await self.listen()

    async def _quiet(self) -> int:
        """Wait until everything is done that was asked for, also what is done after a reply; how much was written."""
        async with asyncio.timeout(10):
            while True:
                await self.server.router.drained()
                while self.server._later:
                    await asyncio.wait(self.server._later)
                await self.memory.settle()
                buried, written = await self.ledger.look()
                if buried and self.memory.settled:
                    return written
                await asyncio.sleep(0.002)

    async def rows(self) -> Rows:
        """The whole database, once everything is done that was asked for."""
        return await self.ledger.read(await self._quiet())

    async def _settle(self) -> None:
        """Wait until every end of a login that was told so far has been heard: what is told last is heard last."""
        bell = await self.open(self.sid.access(self.server, self.sid.laptop))
        await self.server.bus.publish("revoked", self.sid.laptop.id.bytes)
        await bell.wait_closed()
        bell.abort()

    # Who sees what

    def sees(self, viewer: str) -> frozenset[str]:
        """Whose canaries are not private to somebody: their own, and those of their channels."""
        if viewer not in self._seen:
            self._seen[viewer] = frozenset(self._sees(viewer) if viewer in self.people else ())
        return self._seen[viewer]

    def _sees(self, viewer: str) -> set[str]:
        return {
            viewer,
            "the door of open",
            "the door of fair",
            *(("server's reports",) if viewer == "sid" else ()),  # the words are his
            *(one for channel in self.channels.values() for one in channel.sees(viewer)),
            *(one for space in self.spaces.values() for one in space.sees(viewer)),
        }

    def owners(self, names: Collection[str | None]) -> set[str | None]:
        """Owners of rows: a person, a channel, `<channel> <seq>` (0: what is due), `<channel> *`, `role <name>`."""
        found: set[str | None] = set()
        for name in names:
            if name is None or name in self.people or name in self.channels or name in self.spaces:
                found.add(name and str((self.people.get(name) or self.channels.get(name) or self.spaces[name]).id))
                continue
            channel, _, seq = name.rpartition(" ")
            if channel == "role":
                found.add(str(self.spaces["club"].roles[seq]))
                continue
            id, head = self.channels[channel].id, self.channels[channel].head
            found |= {f"{id} {number}" for number in range(head + 1) if seq in ("*", str(number))}
        return found

    def hidden(self, viewer: str, *, shows_blocked: bool = False) -> Collection[str]:
        """Whose public side somebody must not see; `nobody` sees nobody."""
        if viewer == "nobody":
            return self.people.keys()
        blocked = {} if shows_blocked else {other for who, other in BLOCKS if who == viewer}
        return {"gone", *blocked, *(who for who, other in BLOCKS if other == viewer)}
