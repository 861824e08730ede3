"""The spaces of the world, each with a canary in everything that is said there; also in the ids of what is hidden.

club     max's. Its roles, the lowest first: fans (tom, max), helpers (lea), mods (ann, bea, kim), chiefs (cal). Helpers
         and mods may do everything but what chiefs may: they are administrators. kim is timed out, and eve was put
         out, both a moment ago: this process has not forgotten how they stood. ivy is banned, and sid is, too
den      fay's; own is in it
hut      tom's; lea is in it, and ann was until a moment ago
fair     fay's, and open; kim is in it. ivy and eve are banned
ruins    tom's, in which ann was when it was deleted: nothing of it is gone yet

What is in the club: everybody sees the hall, in which stands the same as in ann's group, but nobody pins there but
mods; the notices, in which nobody writes but chiefs; the blank, in which nobody reads what was said before; and the
book on its shelf, a category. Only mods see the cellar. Only lea (and chiefs, and max) see the attic, the nook, which
is a category, and for that the loft in it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from protocol import permission
from protocol.codec import encode
from protocol.message import Message
from protocol.permission import Permission, bits
from protocol.user import User
from storage.ids import new_id
from storage.standing import Standing
from tests.authorization.channels import EVERYTHING, Builder, Channel

CLUB = frozenset({"ann", "tom", "kim", "bea", "lea", "cal", "max"})
MODS = frozenset({"ann", "bea", "cal", "max"})
_EVERYONE: tuple[Permission, ...] = (
    *("view", "history", "send", "react", "change_nick", "start_threads", "send_in_threads"),
)
_MODS: tuple[Permission, ...] = (
    *("manage_messages", "pin", "manage_nicks", "manage_channels", "manage_roles"),
    *("kick", "ban", "timeout", "see_audit", "manage_space", "mute_members", "manage_threads"),
    *("manage_reports", "manage_automod", "manage_emoji"),
)
_ROLES: dict[str, tuple[Permission, ...]] = {
    "fans": (),
    "helpers": _MODS,
    "mods": _MODS,
    "chiefs": ("administrator",),
}
_HAVE = {"tom": "fans", "lea": "helpers", "ann": "mods", "bea": "mods", "kim": "mods", "cal": "chiefs", "max": "fans"}


class Space(Struct):
    """A space; its members see what its canaries hold, its moderators why somebody was banned, too."""

    name: str
    id: UUID
    owner: str
    members: frozenset[str]
    moderators: frozenset[str]
    nonce: UUID
    door: str
    title: str = ""
    roles: dict[str, UUID] = {}
    nicks: dict[str, str] = {}
    nonces: dict[str, UUID] = {}
    emblems: dict[str, UUID] = {}

    def sees(self, person: str) -> Iterable[str]:
        """Whose canaries somebody may see here."""
        if person in self.members:
            yield self.name
        if person in self.moderators:
            yield from (f"{self.name}'s {what}" for what in ("bans", "log", "rules"))
            yield from (f"{self.name}'s reports, but not of {one}" for one in {*self.members, "eve"} - {person})
            yield f"{self.name}'s invites"
            yield from (f"{self.name}'s invites by {one}" for one in self.members)
        if person in self.members:
            yield f"{self.name}'s invites by {person}"


class Settler(Builder):
    """Makes spaces as well."""

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self.spaces: dict[str, Space] = {}
        self.reports: dict[str, UUID] = {}
        self.automods: dict[str, UUID] = {}

    def build(self) -> None:
        """Everything that the docstrings tell of."""
        super().build()
        club = self._space("club", "max", CLUB, MODS | {"lea"}, access=3)
        for number, (name, allowed) in enumerate(_ROLES.items(), 1):
            self._role(club, name, number, allowed)
        soon = self._at + timedelta(days=20)
        for row in self._rows["space_member"]:
            name = next(one.name for one in self._people.values() if one.id == row["account"])
            row["roles"] = [club.roles[_HAVE[name]]] if name in _HAVE else []
            row["timeout_until"] = soon if name == "kim" else None
        for name in ("sid", "ivy"):
            self._ban(club, name)
        self._furnish(club)
        self._elsewhere()
        self._moderate()

    def _furnish(self, club: Space) -> None:
        mods, everyone = club.roles["mods"], club.id
        hall = self._room(club, "hall", CLUB, was=("eve", "kim"))
        self._fill(hall)
        self._draft(hall, "ann")
        self._schedule(hall, "ann")
        self._mark(hall, "ann", read=2, delivered=2)
        self._mark(hall, "tom", read=6, delivered=8)
        notices = self._room(club, "notices", CLUB, kind="broadcast")
        self._overwrite(notices, everyone, deny=("send",))
        self._overwrite(notices, club.roles["chiefs"], allow=("send",))
        self._say(notices, "max")
        blank = self._room(club, "blank", CLUB, unread=CLUB - {"cal", "max"})
        self._overwrite(blank, everyone, deny=("history",))
        for name in ("tom", "ann", "max"):
            self._say(blank, name, pinned_at=self._at, edited_at=self._at, reactions=("max u",))
        self._ask(blank, 1, max=[0])
        shelf = self._room(club, "shelf", CLUB, kind="category")
        self._say(self._room(club, "book", CLUB, parent=shelf), "max")
        cellar = self._room(club, "cellar", MODS | {"kim"})
        self._overwrite(cellar, everyone, deny=("view",))
        self._overwrite(cellar, mods, allow=("view",))
        self._say(cellar, "bea", mentions=("ann",), mention_everyone=True)
        self._say(cellar, "ann")
        few = frozenset({"lea", "cal", "max"})
        attic, nook = self._room(club, "attic", few), self._room(club, "nook", few, kind="category")
        for channel in (attic, nook):
            self._overwrite(channel, everyone, deny=("view",))
            self._overwrite(channel, self._people["lea"].id, allow=("view",), member=True)
        for channel in (attic, self._room(club, "loft", few, parent=nook)):
            for number in range(11):
                self._say(
                    channel,
                    "max" if number % 2 else "lea",
                    pinned_at=self._at,
                    edited_at=self._at,
                    reactions=("max t",),
                    mention_everyone=not number,
                )

    def _fill(self, hall: Channel) -> None:
        """The same numbers as in the group."""
        self._say(hall, "ann", pinned_at=self._at, reactions=("ann p", "bea p", "ann q", "tom r"))
        self._say(hall, "tom", mentions=("ann",), edited_at=self._at, reactions=("bea s",))
        self._say(hall, "tom", hidden_by="ann", pinned_at=self._at)
        ann = self._people["ann"].id
        self._tell(hall.id, "message.pinned", message=1, by=ann, at=self._at)
        self._say(hall, "tom", text="", deleted_at=self._at)
        self._say(hall, "eve", mentions=("ann",))
        self._tell(hall.id, "message.pinned", message=3, by=ann, at=self._at)
        self._say(hall, "ann", mentions=("tom",), reply_to=2, edited_at=self._at, reactions=("ann p",))
        self._say(hall, "kim", mention_roles=[self.spaces["club"].roles["fans"]])
        self._ask(hall, 9, ann=[1], lea=[0])

    def _elsewhere(self) -> None:
        den = self._space("den", "fay", frozenset({"fay", "own"}), frozenset({"fay"}))
        self._role(den, "cooks", 1, ("manage_roles",))
        room = self._room(den, "stove", den.members)
        self._room(den, "larder", den.members, kind="category")
        hut = self._space("hut", "tom", frozenset({"tom", "lea"}), frozenset({"tom"}), access=2)
        self._rows["space_member"][-1]["roles"] = [self.spaces["club"].roles["fans"]]  # which means nothing here
        hearth = self._room(hut, "hearth", hut.members, was=("ann",))
        for channel, name in ((room, "own"), (hearth, "tom")):
            for _ in range(11):
                self._say(channel, name, pinned_at=self._at, edited_at=self._at, mention_everyone=True)
        fair = self._space("fair", "fay", frozenset({"fay", "kim"}), frozenset({"fay"}), open=True)
        self._say(self._room(fair, "stand", fair.members), "fay")
        for name in ("ivy", "eve"):
            self._ban(fair, name)
        ruins = self._space("ruins", "tom", frozenset({"tom", "ann"}), frozenset(), deleted_at=self._at)
        self._say(self._room(ruins, "wall", frozenset({"tom", "ann"})), "tom")
        ruins.members, wall = frozenset(), self.channels["wall"]
        wall.members, wall.glimpsed = (), ()

    def _moderate(self) -> None:
        """Reports, rules, and what was done to channels that not every moderator sees."""
        club, den, attic = self.spaces["club"], self.spaces["den"], self.channels["attic"]
        hall, stove = self.channels["hall"], self.channels["stove"]
        self._report("of eve", club, "bea", "eve", hall, 6)
        self._report("of kim, closed", club, "bea", "kim", outcome="dismissed")
        self._report("of ann", club, "bea", "ann", hall, 1)
        self._report("in the attic", club, "cal", "lea", attic, 1, whose="attic")
        self._report("where a channel was", club, "cal", "lea", whose="attic", veiled=True)
        self._report("in the den", den, "own", "fay", stove, 1, whose="den")
        self._report("of nobody's space", None, "sid", "tom", whose="server's reports")
        for name, space in (("club", club), ("club, too", club), ("den", den)):
            self.automods[name] = self._marks.keep_id(f"{space.name}'s rules", "id of a rule", new_id())
            row = {"id": self.automods[name], "space": space.id, "nonce": new_id(), "enabled": False, "kind": "words"}
            row |= {column: self._marks.private(f"{space.name}'s rules", column) for column in ("name", "message")}
            row |= {
                "terms": [self._marks.private(f"{space.name}'s rules", "term")],
                "allow": False,
                "most": 0,
                "seconds": 0,
            }
            channels = [attic.id] if name == "club" else []
            self._rows["automod"].append(
                row | {"refuse": True, "report": False, "timeout": 0, "roles": [], "channels": channels}
            )
        for target, values in ((attic.id, {"place": attic.id}), (new_id(), {"veiled": True})):
            row = {"space": club.id, "by": self._people["max"].id, "action": "channel.update", "target": target}
            row |= {"reason": self._marks.private("attic", "reason"), "after": "{}", "before": "{}"}
            self._rows["deed"].append(row | values)

    def _report(
        self,
        name: str,
        space: Space | None,
        reporter: str,
        account: str,
        channel: Channel | None = None,
        seq: int | None = None,
        *,
        whose: str = "",
        outcome: str | None = None,
        veiled: bool = False,
    ) -> None:
        marks, whose = self._marks, whose or f"club's reports, but not of {account}"
        self.reports[name] = marks.keep_id(whose, "id of a report", new_id())
        author = self._people[account].id
        said = Message(
            seq=seq or 1, author=author, sent_at=self._at, text=marks.private(whose, "words that were reported")
        )
        person = User(
            id=author,
            username="as it was then",
            display_name="",
            bio=marks.private(whose, "bio of then"),
            avatar="",
            city="",
            interests=[],
            created_at=self._at,
        )
        row = {"id": self.reports[name], "space": space and space.id, "reporter": self._people[reporter].id}
        row |= {"account": author, "channel": channel and channel.id, "seq": seq, "place": channel and channel.id}
        row |= {
            "category": "spam",
            "text": marks.private(whose, "words of a report"),
            "person": encode(person).decode(),
        }
        row |= {"message": encode(said).decode() if seq else None, "outcome": outcome, "veiled": veiled}
        closed = {"closed_by": self._people["max"].id, "closed_at": self._at, "note": marks.private(whose, "note")}
        self._rows["report"].append(row | (closed if outcome else {}))

    # Rows

    def _space(
        self,
        name: str,
        owner: str,
        members: frozenset[str],
        moderators: frozenset[str],
        *,
        access: int = 1,
        open: bool = False,
        **values: Any,
    ) -> Space:
        marks, door = self._marks, f"the door of {name}" if open else name
        space = Space(
            name, new_id(), owner, members, moderators, marks.keep_id("nobody at all", "nonce", new_id()), door
        )
        self.spaces[name] = space
        self._stream(space.id, access)
        who = self._people[owner].id
        row = {"id": space.id, "owner": who, "creator": who, "nonce": space.nonce, "open": open}
        row |= {column: marks.private(door, column) for column in ("name", "description")}
        space.title = row["name"]
        self._rows["space"].append(row | {"members": len(members)} | values)
        self._role(space, "everyone", 0, _EVERYONE, id=space.id)
        for number, member in enumerate(sorted(members)):
            nick = space.nicks[member] = marks.private(name, "nick")
            row = {"space": space.id, "account": self._people[member].id, "nick": nick, "name": nick, "roles": []}
            self._rows["space_member"].append(row | {"joined_at": self._at - timedelta(minutes=50 + number)})
        self._rows["deed"].append(
            {
                "space": space.id,
                "by": who,
                "action": "space.update",
                "target": space.id,
                "before": json.dumps({"name": marks.private(f"{name}'s log", "name of before")}),
                "after": json.dumps({"name": marks.private(f"{name}'s log", "name of then")}),
                "reason": marks.private(f"{name}'s log", "reason"),
            }
        )
        for kind, more in (("emoji", {}), ("sticker", {"about": marks.private(name, "what is to be seen")})):
            row = {"id": new_id(), "space": space.id, "name": marks.private(name, f"name of an {kind}")} | more
            space.emblems[kind] = row["id"]
            self._rows[kind].append(row | {"file": marks.keep_id(name, "file", new_id()), "nonce": new_id()})
            space.nonces[kind] = self._rows[kind][-1]["nonce"]
        code = marks.private(f"{name}'s invites", "code of an invite")
        self._rows["invite"].append({"code": code, "space": space.id, "by": who})
        return space

    def _role(self, space: Space, name: str, position: int, allowed: Collection[Permission], **fields: Any) -> None:
        row = {"id": new_id(), "space": space.id, "name": self._marks.private(space.name, "role")} | fields
        space.roles[name], space.nonces[name] = row["id"], new_id()
        row["nonce"] = space.nonces[name]
        self._rows["role"].append(row | {"position": position, "permissions": bits(allowed)})

    def _ban(self, space: Space, name: str) -> None:
        reason = self._marks.private(f"{space.name}'s bans", "reason")
        row = {"space": space.id, "account": self._people[name].id, "by": self._people[space.owner].id}
        self._rows["ban"].append(row | {"reason": reason, "at": self._at + timedelta(seconds=len(self._rows["ban"]))})

    def _room(
        self,
        space: Space,
        name: str,
        members: frozenset[str],
        *,
        kind: str = "text",
        parent: Channel | None = None,
        was: Collection[str] = (),
        unread: frozenset[str] = frozenset(),
    ) -> Channel:
        """A channel of a space: who sees it are its members here; `unread`: those for whom it has no past."""
        marks, door = self._marks, f"the door of {name}" if unread or space.door != space.name else name
        channel = Channel(
            name,
            marks.keep_id(f"the id of {name}", "id", new_id()),
            kind,
            space.owner,
            tuple(sorted(members - unread)),
            marks.keep_id("nobody at all", "nonce", new_id()),
            space=space.name,
            glimpsed=members,
        )
        self.channels[name] = channel
        above = next(row["access"] for row in self._rows["stream"] if row["id"] == space.id)
        channel.access = 1 + above
        self._stream(channel.id)
        self._rows["stream"][-1]["guard"] = space.id
        row = {"id": channel.id, "kind": kind, "creator": self._people[space.owner].id, "nonce": channel.nonce}
        row |= {"space": space.id, "parent": parent and parent.id, "position": len(self.channels)}
        row |= {column: marks.private(door, column) for column in ("name", "topic", "description")}
        self._rows["channel"].append(row)
        owner = self._people[space.owner].id
        stale = Standing(channel.id, kind, owner, channel.access - 1, EVERYTHING, len(space.members) + 1, space.id)
        channel.before = dict.fromkeys(was, stale)
        return channel

    def _overwrite(
        self,
        channel: Channel,
        target: UUID,
        *,
        allow: Collection[Permission] = (),
        deny: Collection[Permission] = (),
        member: bool = False,
    ) -> None:
        row = {"channel": channel.id, "target": target, "member": member}
        self._rows["overwrite"].append(row | {"allow": bits(allow), "deny": bits(deny)})

    def _mark(self, channel: Channel, name: str, **marks: int) -> None:
        self._rows["mark"].append({"channel": channel.id, "account": self._people[name].id} | marks)


assert not bits(_MODS) & permission.ADMINISTRATOR
