"""The channels of the world, each with a canary in everything that is said there.

group    ann's; tom, kim, bea and gone are in it, eve was until a moment ago: this process has not forgotten her yet
foreign  fay's; own is in it
open     fay's, too; kim is in it, and everybody may look at its door
left     tom's; ann was in it until a moment ago
ann+tom, sid+own  direct channels
ann+cal, ann+bea  direct channels from before ann blocked him, and before she blocked ann
ann+gone what is left of one, whose other half was deleted
ann's saved, sid's saved  what each keeps for themselves

What stands in the group: 1 and 8 are ann's, 2 and 6 are tom's and eve's, 9 is somebody else's words that ann forwarded;
3 is tom's and ann does not want to see it (nor 4 in ann+tom, nor 2 in left, which is her own); 5 was taken back;
4 and 7 are facts but no messages. 1 is a poll that was closed, 2 and 3 are open ones, 8 an anonymous one; 2 and 8
close some day (so do all that stand in the foreign group). Seq 11 exists in the foreign group only.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct

from protocol import channel as protocol
from protocol import permission
from protocol.ballot import Poll, PollOption
from protocol.codec import encode
from protocol.file import Details
from server import group
from storage.ids import new_id
from storage.standing import Standing
from tests.authorization.marks import Marks
from tests.authorization.people import Person, Values

GROUP = frozenset({"ann", "tom", "kim", "bea"})
NOBODYS = "nobody at all"
# What they could do who have just lost a right: nothing but their access version keeps them from it.
EVERYTHING = permission.ALL & ~permission.ADMINISTRATOR
_TABLES = (
    "stream",
    "space",
    "role",
    "channel",
    "member",
    "direct",
    "fact",
    "message",
    "blob",
    "variant",
    "file",
    "upload",
    "file_use",
    "file_loose",
    "revision",
    "mention",
    "hidden",
    "reaction",
    "vote",
    "due",
    "draft",
    "scheduled",
    "space_member",
    "overwrite",
    "ban",
    "mark",
    "deed",
    "invite",
    "thread",
    "follow",
    "report",
    "automod",
    "emoji",
    "sticker",
)


class Channel(Struct):
    """A channel; `before`: how those stood there who have lost a right since.

    `space`: the one that it is in; `glimpsed`: who sees it there, whether they may read what was said before or not.
    """

    name: str
    id: UUID
    kind: str
    owner: str
    members: tuple[str, ...]
    nonce: UUID
    head: int = 0
    access: int = 1
    before: dict[str, Standing] = {}
    nonces: dict[int, UUID] = {}
    space: str = ""
    glimpsed: Collection[str] = ()

    def sees(self, person: str) -> Iterable[str]:
        """Whose canaries somebody may see here."""
        yield f"{self.name} by {person}"
        if person in self.glimpsed:
            yield from (f"the door of {self.name}", f"the id of {self.name}")
        if person in self.members:
            yield self.name
            yield from (f"{self.name} by {one}" for one in {*self.before, *self.glimpsed})
            for one in {*self.members, *self.before} - {person}:
                yield from (f"{self.name} but for {one}", own_words(self.name, one))


def own_words(channel: str, person: str) -> str:
    """Whose canaries those are that somebody has said and then hidden from themselves."""
    return f"{channel} but for {person}, who said it"


class Builder:
    """Makes channels, and everything in them and in the streams of people."""

    def __init__(self, people: dict[str, Person], marks: Marks) -> None:
        self._people, self._marks = people, marks
        self.tags: dict[tuple[str, int], str] = {}
        self._rows: dict[str, list[Values]] = {table: [] for table in _TABLES}
        self._heads: dict[UUID, int] = {}
        self._lasts: dict[UUID, int] = {}
        self._at = datetime.now(UTC) - timedelta(hours=1)
        self.channels: dict[str, Channel] = {}
        self.emojis: dict[str, str] = {}
        self.scheduled: dict[str, UUID] = {}
        self.files: dict[str, UUID] = {}

    @property
    def rows(self) -> Iterable[tuple[str, Values]]:
        """All of it, in an order that the database takes."""
        for row in self._rows["stream"]:
            row["head"] = self._heads[row["id"]]
            row["last"] = self._lasts.get(row["id"], 0)
        for channel in self.channels.values():
            channel.head = self._heads[channel.id]
        return ((table, row) for table in _TABLES for row in self._rows[table])

    def build(self) -> None:
        """Everything that the docstring tells of."""
        for person in self._people.values():
            self._stream(person.id)
        self._foreign()
        self._group()
        self._others()
        for name in ("ann", "tom", "sid"):
            self._account(name)
            self._keep(name, name, name)
            self._keep(name, name, f"{name}'s picture", purpose="avatar")
            self._upload(name)
        for name, channel, seq in (
            ("ann", "group", 1),
            ("tom", "group", 2),
            ("kim", "group", 3),
            ("fay", "foreign", 1),
        ):
            self._attach(channel, seq, name)
        for name in ("eve", "ivy"):
            self._came(name, self.channels["group"])
        self._went("eve", self.channels["group"])

    def _group(self) -> None:
        channel = self._channel("group", "group", "ann", "tom", "kim", "bea", "gone", was=("eve",))
        self._say(channel, "ann", pinned_at=self._at, reactions=("ann x", "kim x", "ann y", "tom z"))
        self._ask(channel, 1, kim=[0], ann=[0], closed_at=self._at)
        self._say(channel, "tom", mentions=("ann",), edited_at=self._at, reactions=("kim w",))
        self._ask(channel, 2, kim=[1, 2], ann=[1], eve=[0], multiple=True, closes_at=self._at + timedelta(days=50))
        self._say(channel, "tom", hidden_by="ann", pinned_at=self._at)
        self._ask(channel, 3, tom=[2])
        eve, ann = self._people["eve"].id, self._people["ann"].id
        self._tell(channel.id, "channel.member_left", user=eve, by=ann, members=5, owner=ann)
        self._say(channel, "tom", text="", deleted_at=self._at)
        self._say(channel, "eve", mentions=("ann",))
        self._tell(channel.id, "message.pinned", message=1, by=ann, at=self._at)
        self._say(channel, "ann", mentions=("tom",), reply_to=2, edited_at=self._at, reactions=("ann x",))
        self._ask(channel, 8, tom=[0], anonymous=True, closes_at=self._at + timedelta(days=50))
        forwarded = {"author": str(self._people["sid"].id), "sent_at": self._at.isoformat()}
        self._say(channel, "ann", forwarded=json.dumps(forwarded))
        for name in ("ann", "tom", "eve"):
            self._draft(channel, name)
            self._schedule(channel, name)
        self._far(channel, "ann", read=2, delivered=2)
        self._far(channel, "tom", read=6, delivered=8)
        # Of ann's own words, and what is left behind by who has gone.
        self._rows["mention"].append({"account": ann, "channel": channel.id, "seq": 1})
        self._rows["mention"].append({"account": eve, "channel": channel.id, "seq": 8})
        for seq in (2, 6):
            self._rows["hidden"].append({"account": eve, "channel": channel.id, "seq": seq})
        self._rows["hidden"].append({"account": ann, "channel": self.channels["foreign"].id, "seq": 6})

    def _foreign(self) -> None:
        foreign = self._channel("foreign", "group", "fay", "own")
        for number in range(11):
            self._say(
                foreign,
                "own" if number % 2 else "fay",
                mentions=("own",),
                pinned_at=self._at,
                edited_at=self._at,
                reactions=("fay v",),
                hidden_by="own",
            )
            closes_at = self._at + timedelta(days=50)
            # Ann was in it once: her votes stay, and she does not see them.
            self._ask(foreign, number + 1, own=[0], ann=[2], anonymous=number > 5, closes_at=closes_at)
        self._draft(foreign, "fay")
        self._schedule(foreign, "fay")
        self._far(foreign, "own", read=11, delivered=11)

    def _others(self) -> None:
        door = self._channel("open", "group", "fay", "kim", open=True)
        for name in ("kim", "fay"):
            self._say(door, name)
        left = self._channel("left", "group", "tom", "kim", was=("ann",))
        self._say(left, "tom")
        self._say(left, "ann", hidden_by="ann")
        self._say(left, "tom")
        for one, other, blocked in (("ann", "tom", 0), ("sid", "own", 0), ("ann", "cal", 1), ("ann", "bea", 1)):
            direct = self._channel(f"{one}+{other}", "direct", one, other, blocked=bool(blocked))
            self._say(direct, other, mentions=(one,), pinned_at=self._at)
            self._say(direct, one)
            self._say(direct, other, mentions=(one,), hidden_by=other)
        for name in ("ann+cal", "ann+bea"):
            self._far(self.channels[name], "ann", read=3, delivered=3)
        self._far(self.channels["ann+tom"], "ann", read=3, delivered=4)
        alone = self._channel("ann+gone", "direct", "ann", gone="gone")
        for _ in range(2):
            self._say(alone, "ann")
        self._say(self.channels["ann+tom"], "tom", hidden_by="ann")
        self._react("ann+tom", 1, "ann x")
        for name in ("ann", "sid"):
            saved = self._channel(f"{name}'s saved", "saved", name)
            self._say(saved, name)
            self._say(saved, name, text="", deleted_at=self._at)
        self._draft(self.channels["ann+tom"], "ann")
        self._schedule(self.channels["ann+tom"], "ann", failed="forbidden")
        self._schedule(self.channels["sid's saved"], "sid")

    def _account(self, name: str) -> None:
        """Facts that concern one person alone."""
        account = self._people[name].id
        draft = {"channel": str(account), "text": self._marks.private(name, "draft of long ago"), "reply_to": None}
        self._tell(account, "draft.saved", draft={**draft, "saved_at": self._at.isoformat()})
        self._tell(account, "draft.cleared", channel=account)

    def _went(self, name: str, channel: Channel) -> None:
        account, by = self._people[name].id, self._people[channel.owner].id
        self._tell(account, "channel.left", channel=channel.id, reason="removed", by=by)

    def _came(self, name: str, channel: Channel) -> None:
        """What somebody was told who is not in a channel (any more)."""
        account, by = self._people[name].id, self._people[channel.owner].id
        outside = protocol.Channel(
            id=channel.id,
            kind="group",
            name="as it was called then",
            topic="",
            description="",
            avatar="",
            open=False,
            owner=by,
            members=5,
            created_at=self._at,
        )
        membership = msgspec.to_builtins(msgspec.structs.replace(group.from_outside(outside), joined=True))
        self._tell(account, "channel.joined", membership=membership, by=by)

    # Rows

    def _far(self, channel: Channel, name: str, **marks: int) -> None:
        """How far somebody is."""
        place = {"channel": channel.id, "account": self._people[name].id}
        next(row for row in self._rows["member"] if place.items() <= row.items()).update(marks)

    def _stream(self, id: UUID, access: int = 1) -> None:
        self._heads[id] = 0
        self._rows["stream"].append({"id": id, "access": access, "moved_at": self._at})

    def _channel(
        self,
        name: str,
        kind: str,
        *members: str,
        was: Collection[str] = (),
        blocked: bool = False,
        open: bool = False,
        gone: str = "",
    ) -> Channel:
        marks, door = self._marks, f"the door of {name}" if open else name
        owner = members[0]
        channel = Channel(name, new_id(), kind, owner, members, marks.keep_id(NOBODYS, "nonce", new_id()))
        self.channels[name] = channel
        channel.access = 2 if was or blocked else 1
        self._stream(channel.id, channel.access)
        owned = self._people[owner].id if kind != "direct" else None
        row: Values = {"id": channel.id, "kind": kind, "owner": owned, "creator": self._people[owner].id}
        row |= {"nonce": channel.nonce, "open": open, "members": len(members), "cleared": 5 if name == "foreign" else 0}
        if kind == "group":
            row["keeps_for"] = 300
            self._rows["due"].append({"kind": "retention", "stream": channel.id, "at": self._at + timedelta(days=50)})
        if kind == "group":
            row |= {column: marks.private(door, column) for column in ("name", "topic", "description")}
        self._rows["channel"].append(row)
        long_ago = self._at - timedelta(days=len(self.channels))  # the later one is made here, the older it is
        for member in reversed(members):
            account = self._people[member].id
            self._rows["member"].append({"channel": channel.id, "account": account, "joined_at": long_ago})
        if kind != "group":
            low, high = sorted((self._people[members[0]].id, self._people[gone or members[-1]].id))
            self._rows["direct"].append({"low": low, "high": high, "channel": channel.id})
        stale = Standing(channel.id, kind, owned, channel.access - 1, EVERYTHING, len(members) + len(was))
        channel.before = dict.fromkeys([*was, *(members if blocked else ())], stale)
        return channel

    def _say(
        self,
        channel: Channel,
        who: str,
        *,
        hidden_by: str = "",
        mentions: Collection[str] = (),
        reactions: Collection[str] = (),
        **values: Any,
    ) -> None:
        """One message."""
        by = channel.name if who in channel.members else f"{channel.name} by {who}"
        whose = f"{channel.name} but for {hidden_by}" if hidden_by else by
        whose = own_words(channel.name, who) if hidden_by == who else whose
        seq = self._lasts[channel.id] = self._next(channel.id)
        place: Values = {"channel": channel.id, "seq": seq}
        channel.nonces[seq] = self._marks.keep_id(NOBODYS, "nonce", new_id())
        row = {"author": self._people[who].id, "nonce": channel.nonces[seq], "sent_at": self._at}
        tag = self.tags[channel.name, seq] = self._marks.private(whose, "hashtag")
        row |= {"text": self._marks.private(whose, "message"), "hashtags": [tag]}
        row |= {"mentions": [self._people[one].id for one in mentions] or None}
        if values.get("deleted_at"):
            row["hashtags"] = None
        self._rows["message"].append(place | row | values)
        for reaction in reactions:
            self._react(channel.name, seq, reaction)
        for name in mentions:
            self._rows["mention"].append(place | {"account": self._people[name].id})
        if values.get("edited_at"):
            text = self._marks.private(whose, "former words")
            self._rows["revision"].append(place | {"number": 1, "text": text, "until": self._at})
        if hidden_by:
            self._rows["hidden"].append(place | {"account": self._people[hidden_by].id})

    def _react(self, channel: str, seq: int, reaction: str) -> None:
        """`<who> <which>`: one of the world's emoji, each of which is used in one channel first."""
        who, _, which = reaction.partition(" ")
        if which not in self.emojis:
            self.emojis[which] = self._marks.private(channel, "emoji")
        place: Values = {"channel": self.channels[channel].id, "seq": seq}
        row = place | {"account": self._people[who].id, "emoji": self.emojis[which]}
        self._rows["reaction"].append(row)
        rows = [one for one in self._rows["reaction"] if place.items() <= one.items()]
        counts = {one["emoji"]: [str(two["account"]) for two in rows if two["emoji"] == one["emoji"]] for one in rows}
        message = next(one for one in self._rows["message"] if place.items() <= one.items())
        told = [{"emoji": emoji, "count": len(users), "users": users} for emoji, users in counts.items()]
        message["reactions"] = json.dumps(told)

    def _ask(
        self,
        channel: Channel,
        seq: int,
        *,
        multiple: bool = False,
        anonymous: bool = False,
        closes_at: datetime | None = None,
        closed_at: datetime | None = None,
        **votes: list[int],
    ) -> None:
        """Make a message a poll with three options, and let some choose."""
        place: Values = {"channel": channel.id, "seq": seq}
        message = next(one for one in self._rows["message"] if place.items() <= one.items())
        whose = self._whose(channel.name, message)
        options = [
            PollOption(text=self._marks.private(whose, "option"), count=sum(number in one for one in votes.values()))
            for number in range(3)
        ]
        poll = Poll(
            options=options,
            multiple=multiple,
            anonymous=anonymous,
            voters=len(votes),
            closes_at=closes_at,
            closed_at=closed_at,
        )
        message["poll"] = encode(poll).decode()
        for name, chosen in votes.items():
            self._rows["vote"].append(place | {"account": self._people[name].id, "options": chosen})
        if closes_at is not None:
            self._rows["due"].append({"kind": "poll", "stream": channel.id, "seq": seq, "at": closes_at})

    def _whose(self, channel: str, message: Values) -> str:
        """Whose the canaries of a message are."""
        hidden = [
            one for one in self._rows["hidden"] if (one["channel"], one["seq"]) == (message["channel"], message["seq"])
        ]
        names = {person.id: name for name, person in self._people.items()}
        if not hidden:
            return channel
        hider = names[hidden[0]["account"]]
        return own_words(channel, hider) if message["author"] == hidden[0]["account"] else f"{channel} but for {hider}"

    def _keep(self, whose: str, owner: str, called: str, **fields: Any) -> Values:
        """A file that is ready; nobody is to see its name but those who see what is `whose`."""
        id, blob, account = new_id(), new_id(), self._people[owner].id
        hashed = self._marks.keep_bytes(owner, "hash of a file", secrets.token_bytes(32))
        details = Details(preview=self._marks.private(whose, "preview"), variants=["small"])
        self._rows["blob"].append({"id": blob, "owner": account, "hash": hashed, "size": 10})
        self._rows["variant"].append({"blob": blob, "name": "small", "type": "image/webp", "size": 5})
        row: Values = {"id": id, "owner": account, "purpose": "attachment", "type": "image/png", "size": 10}
        row |= {"name": self._marks.private(whose, "name of a file"), "hash": hashed, "state": "ready", "blob": blob}
        row |= {"details": encode(details).decode()} | fields
        self._rows["file"].append(row)
        self.files[called] = id
        return row

    def _upload(self, owner: str) -> None:
        """A file that was begun."""
        id, mark = new_id(), self._marks
        row: Values = {"id": id, "owner": self._people[owner].id, "purpose": "attachment", "type": "a/b", "size": 9}
        row |= {"name": mark.private(owner, "name of a file"), "state": "uploading", "details": None}
        row |= {"hash": mark.keep_bytes(owner, "hash of a file", secrets.token_bytes(32)), "blob": None}
        self._rows["file"].append(row)
        about = {"place": mark.private(NOBODYS, "upload"), "parts": [mark.private(NOBODYS, "part")]}
        self._rows["upload"].append({"key": new_id(), "file": id, "writer": new_id(), **about})
        self.files[f"{owner} has begun"] = id

    def _attach(self, channel: str, seq: int, owner: str) -> None:
        """Have a message carry a file of its author's."""
        place: Values = {"channel": self.channels[channel].id, "seq": seq}
        message = next(one for one in self._rows["message"] if place.items() <= one.items())
        row = self._keep(self._whose(channel, message), owner, f"{owner} in {channel}")
        shown = {name: row[name] for name in ("name", "type", "size")} | {"id": str(row["id"])}
        message["files"] = json.dumps([shown | {"details": json.loads(row["details"])}])
        self._rows["file_use"].append(place | {"file": row["id"]})

    def _draft(self, channel: Channel, name: str) -> None:
        text = self._marks.private(name, "draft")
        self._rows["draft"].append({"account": self._people[name].id, "channel": channel.id, "text": text})

    def _schedule(self, channel: Channel, name: str, **fields: Any) -> None:
        """Due long after all tests; eve has happened upon an id that ann has made, too."""
        at = self._at + timedelta(days=100)
        text = self._marks.private(name, "scheduled message")
        id = self.scheduled["ann in group"] if name == "eve" else uuid4()
        row = {"account": self._people[name].id, "id": id, "channel": channel.id, "text": text, "at": at, "due": at}
        self._rows["scheduled"].append(row | fields)
        self.scheduled[f"{name} in {channel.name}"] = id

    def _tell(self, stream: UUID, kind: str, **data: Any) -> None:
        """One fact that is no message."""
        text = json.dumps(data, default=lambda one: one.isoformat() if isinstance(one, datetime) else str(one))
        self._rows["fact"].append({"stream": stream, "seq": self._next(stream), "kind": kind, "data": text})

    def _next(self, stream: UUID) -> int:
        self._heads[stream] += 1
        self._at += timedelta(seconds=1)
        return self._heads[stream]
