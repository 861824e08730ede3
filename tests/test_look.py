"""Looking again who may still hear: once for a whole space, and never by what was read too early."""

import asyncio
from typing import Any

import pytest

from protocol.channel import ChannelWatch
from server import Server
from tests.chat import Phone, me, say
from tests.community import Community, community, watch
from tests.conftest import Person
from tests.raw import until


class Watched:
    """Counts the looks of a server, and holds them up on the way back when it is told to."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.streams: list[list[Any]] = []
        self.go = asyncio.Event()
        self.go.set()
        self._audiences = server.reach.audiences
        monkeypatch.setattr(server.reach, "audiences", self._look)

    async def _look(self, db: Any, asked: Any) -> Any:
        found = await self._audiences(db, asked)
        self.streams.append([one[0] for one in asked])
        await self.go.wait()
        return found


async def _silence(club: Community, *channels: Any) -> None:
    for channel in channels:
        await club.overwrite(channel, deny=["react"])


async def test_a_right_that_is_taken_in_a_space_is_looked_at_once_for_all_its_channels(
    server: Server, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    club = await community(ann, bob)
    rooms = [await club.room(f"room {number}") for number in range(10)]
    await watch(bob, *rooms)
    await _settle(server, *rooms)
    watched = Watched(server, monkeypatch)
    await _silence(club, rooms[0])
    await until(lambda: watched.streams)
    await _settle(server, *rooms)
    assert [set(one) for one in watched.streams] == [{club.id, *rooms}]


async def _settle(server: Server, *rooms: Any) -> None:
    streams = [found for room in rooms if (found := server.streams.get(room)) is not None]
    await until(lambda: all(one.repairing is None for one in streams))


async def test_a_right_that_is_taken_while_others_are_looked_at_is_gone_for_what_follows(
    server: Server, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    club = await community(ann, bob)
    room = await club.room()
    phone = await Phone.open(server, bob.tokens_given.access)
    other = await Phone.open(server, ann.tokens_given.access)
    for one in (phone, other):
        await one.call(ChannelWatch(channels=[room]))
    await _settle(server, room)
    watched = Watched(server, monkeypatch)
    watched.go.clear()
    await _silence(club, room)
    await until(lambda: watched.streams)  # it has been read who sees the room: bob does
    await club.overwrite(room, deny=["view"])
    seq = await say(ann, room, "not for bob")
    watched.go.set()
    await other.heard(room, seq)
    assert phone.seqs(room) == []
    assert me(bob) not in {one.session.account for one in server.streams.get(room).audience}  # type: ignore[union-attr]
    phone.abort()
    other.abort()
