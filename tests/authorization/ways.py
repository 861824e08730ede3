"""Threads in the club, and ways into spaces, each with a canary in its name or as its code.

In the hall, in which all who see it see them:
talk     ann's: it has started from her first message there. 1 is tom's, 2 is hers; both follow it
rest     tom's, put away and locked: 1 is his
dust     tom's, put away
note     tom's: 1 is his, 2 was eve's, who took it back
mixed    tom's, too, in which ann has written as well
bare     ann's, in which nobody has

Elsewhere:
gap      max's, in the blank, where nobody writes in threads but chiefs
whisper  lea's, in the attic; she follows it
smoke    own's, in the den, from the second message there
queue    fay's, in the fair; kim follows it

Codes: "club" is max's, "tom's" leads there, too; "own" is the club's own choice, made by tom when he could. "fair" is
fay's; nobody enters by "den" who was banned from there, as ann was, who has made "ann's" for it; "hut" has a choice of
its own, "hut's own". "old", "used" and "ruins" lead nowhere any more: to the fair, and to what is left of a space.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from protocol.permission import bits
from storage.ids import new_id
from tests.authorization.channels import Channel
from tests.authorization.spaces import CLUB, Settler, Space

THREADS = ("talk", "rest", "dust", "note", "mixed", "bare", "gap", "whisper")
_FEW = frozenset({"lea", "cal", "max"})


class Weaver(Settler):
    """Makes threads and codes as well."""

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self.codes: dict[str, str] = {}
        self.nonces: dict[str, UUID] = {}

    def build(self) -> None:
        """Everything that the docstrings tell of."""
        super().build()
        hall, club = self.channels["hall"], self.spaces["club"]
        self._in_hall(club, hall)
        self._attach("hall", 9, "kim")
        blank = self.channels["blank"]
        overwrite = next(row for row in self._rows["overwrite"] if row["channel"] == blank.id)
        overwrite["deny"] |= bits(["send_in_threads"])
        self._say(self._thread(club, "gap", blank, "max", CLUB), "max")
        whisper = self._thread(club, "whisper", self.channels["attic"], "lea", _FEW)
        self._say(whisper, "lea")
        self._follow(whisper, "lea")
        den, fair = self.spaces["den"], self.spaces["fair"]
        smoke = self._thread(den, "smoke", self.channels["stove"], "own", den.members, origin=2)
        self._say(smoke, "own")
        self._follow(self._thread(fair, "queue", self.channels["stand"], "fay", fair.members), "kim")
        self._ban(den, "ann")
        self._let_in(club, fair)

    def _in_hall(self, club: Space, hall: Channel) -> None:
        talk = self._thread(club, "talk", hall, "ann", CLUB, origin=1)
        for name in ("tom", "ann"):
            self._say(talk, name)
            self._follow(talk, name)
        self._mark(talk, "tom", read=2, delivered=2)
        rest = self._thread(club, "rest", hall, "tom", CLUB, archived_at=self._at, locked=True)
        self._follow(rest, "ann", followed=False)
        for one in (rest, self._thread(club, "dust", hall, "tom", CLUB, archived_at=self._at)):
            self._say(one, "tom")
            self._follow(one, "tom")
        note = self._thread(club, "note", hall, "tom", CLUB)
        self._say(note, "tom")
        self._say(note, "eve", text="", deleted_at=self._at)
        mixed = self._thread(club, "mixed", hall, "tom", CLUB)
        for name in ("tom", "ann"):
            self._say(mixed, name)
        self._thread(club, "bare", hall, "ann", CLUB)

    def _let_in(self, club: Space, fair: Space) -> None:
        for name, space in self.spaces.items():
            row = next(row for row in self._rows["invite"] if row["space"] == space.id)
            row["nonce"] = self.nonces[name] = new_id()
            self.codes[name] = row["code"]
        self._invite("tom's", club, "tom")
        self._invite("own", club, "tom", vanity=True)
        self._invite("ann's", self.spaces["den"], "ann")
        self._invite("hut's own", self.spaces["hut"], "tom", vanity=True)
        self._invite("old", fair, "fay", expires_at=self._at)
        self._invite("used", fair, "fay", uses=1, most=1)

    def _thread(
        self,
        space: Space,
        name: str,
        parent: Channel,
        owner: str,
        members: frozenset[str],
        *,
        origin: int | None = None,
        **values: Any,
    ) -> Channel:
        was = [one for one in parent.before if space.name == "club" and parent.name == "hall"]
        thread = self._room(space, name, members, kind="thread", parent=parent, was=was)
        self._rows["channel"][-1]["creator"] = self._people[owner].id
        row = {"id": thread.id, "parent": parent.id, "origin": origin, "due": self._at + timedelta(days=7)}
        self._rows["thread"].append(row | values)
        if origin is not None:
            place = {"channel": parent.id, "seq": origin}
            next(row for row in self._rows["message"] if place.items() <= row.items())["thread"] = thread.id
        return thread

    def _follow(self, thread: Channel, name: str, *, followed: bool = True) -> None:
        row = {"account": self._people[name].id, "thread": thread.id, "followed": followed}
        self._rows["follow"].append(row)

    def _invite(self, name: str, space: Space, by: str, *, vanity: bool = False, **values: Any) -> None:
        whose = f"{space.name}'s invites" + ("" if vanity else f" by {by}")
        code = self.codes[name] = self._marks.private(by if by not in space.members else whose, "code of an invite")
        self.nonces[name] = new_id()
        row = {"code": code, "space": space.id, "by": self._people[by].id, "vanity": vanity}
        self._rows["invite"].append(row | {"nonce": self.nonces[name]} | values)


def code(name: str) -> Any:
    """A code of the world."""
    return lambda world: world.codes[name]


def thread(name: str) -> Any:
    """The id of a thread."""
    return lambda world: world.channels[name].id


def nonce(name: str) -> Any:
    """The nonce that a code was made with."""
    return lambda world: world.nonces[name]
