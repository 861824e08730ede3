"""thread: who follows one is told that there is something new in it, heard or not, and notified where they chose so."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from protocol.api_key import ApiKeyCreate
from protocol.client import Client
from protocol.notification import Notification, NotificationConfigure, NotificationList, NotificationMarkRead
from protocol.space import SpaceMoved
from protocol.thread import Thread, ThreadFollow, ThreadMoved, ThreadOpen, ThreadUnfollow
from server import Server
from server import outline as outlines
from server import tail as tails
from server.outline import Outlines
from server.stream import Streams
from storage import thread as threads
from tests.chat import Phone, me, nodes, say, settled
from tests.community import Community, community
from tests.conftest import Connector, Person, Starter


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes behind messages comes at once, and news soon."""
    monkeypatch.setattr(tails, "_EVERY", 0.01)
    monkeypatch.setattr(outlines, "_EVERY", 0.1)


async def opened(person: Person, channel: UUID, name: str = "thread", **fields: Any) -> Thread:
    return await person.call(ThreadOpen(channel=channel, name=name, nonce=uuid4(), **fields))


async def place(*people: Person) -> tuple[Community, UUID, Thread]:
    """A space whose first member has opened a thread, and everybody has looked at it."""
    club = await community(*people)
    hall = await club.room("hall")
    for one in people:
        await club.seen(one)
    return club, hall, await opened(people[0], hall)


async def news(person: Client, thread: UUID, seq: int) -> list[tuple[UUID, int]]:
    """All that somebody is told of threads, up to a message of one."""
    told: list[tuple[UUID, int]] = []
    async with asyncio.timeout(10):
        while (thread, seq) not in told:
            told += [(one.thread, one.seq) for one in (await person.wait_for(ThreadMoved)).lasts]
    return told


async def notified(server: Server, person: Person) -> list[Notification]:
    await settled(server)
    return (await person.call(NotificationList(kinds=["thread"]))).notifications


async def test_who_follows_a_thread_hears_of_news_without_watching_it(ann: Person, bob: Person) -> None:
    _, hall, thread = await place(ann, bob)
    other = await opened(ann, hall, "other")
    await bob.call(ThreadFollow(thread=thread.id))
    await say(ann, other.id)
    last = [await say(ann, thread.id) for _ in range(5)][-1]
    told = await news(bob, thread.id, last)
    assert {id for id, _ in told} == {thread.id}, "only what one follows"
    assert len(told) < 5, "several messages are one piece of news"
    await bob.call(ThreadUnfollow(thread=thread.id))
    await bob.call(ThreadFollow(thread=other.id))
    await say(ann, thread.id)
    last = await say(ann, other.id)
    assert await news(bob, other.id, last) == [(other.id, last)]


async def test_news_of_threads_reach_those_who_follow_them_on_another_node(start: Starter, connect: Connector) -> None:
    here, there = await nodes(start)
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    _, _, thread = await place(ann, bob)
    await bob.call(ThreadFollow(thread=thread.id))
    last = await say(ann, thread.id)
    assert (await news(bob, thread.id, last))[-1] == (thread.id, last)
    last = await say(bob, thread.id)
    assert (await news(ann, thread.id, last))[-1] == (thread.id, last)


async def test_who_has_a_thread_taken_out_of_view_is_told_no_news_of_it(ann: Person, bob: Person) -> None:
    club, hall, thread = await place(ann, bob)
    seen = await opened(ann, await club.room("seen"), "seen")
    for one in (thread, seen):
        await bob.call(ThreadFollow(thread=one.id))
    await club.overwrite(hall, deny=["view"])
    await say(ann, thread.id)
    last = await say(ann, seen.id)
    assert {id for id, _ in await news(bob, seen.id, last)} == {seen.id}


async def test_only_accounts_that_are_here_are_looked_for(
    server: Server, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many follow it: what is asked for depends on who has a socket."""
    _, _, thread = await place(ann, bob)
    await bob.call(ThreadFollow(thread=thread.id))
    asked: list[set[UUID]] = []
    ask = threads.followers

    async def counted(db: Any, ids: Any, accounts: Any) -> Any:
        asked.append(set(accounts))
        return await ask(db, ids, accounts)

    monkeypatch.setattr(threads, "followers", counted)
    await server.pool.execute(
        """
        WITH made AS (INSERT INTO account (id, username) SELECT gen_random_uuid(), 'x' FROM generate_series(1, 3000)
                      RETURNING id)
        INSERT INTO follow SELECT id, $1, true FROM made
        """,
        thread.id,
    )
    await news(bob, thread.id, await say(ann, thread.id))
    assert asked
    assert set.union(*asked) == {me(ann), me(bob)}


async def test_a_program_is_told_of_threads_only_if_it_may_list_them(server: Server, ann: Person, bob: Person) -> None:
    _, _, thread = await place(ann, bob)
    await bob.call(ThreadFollow(thread=thread.id))
    programs = []
    for scopes in (["space", "message"], ["space", "message", "thread.followed"]):
        key = await bob.call(ApiKeyCreate(name="k", scopes=scopes, password=Person.password))
        programs.append(await Phone.open(server, key.secret))
    await say(ann, thread.id)
    async with asyncio.timeout(10):
        while not any(one["ev"] == "thread.moved" for one in programs[1].events):
            await asyncio.sleep(0.01)
    assert [one for one in programs[0].events if one["ev"] == "thread.moved"] == []


_LATE = {"not told of it yet": (Outlines, "_tell_changes"), "not heard of it yet": (Streams, "_repair")}


@pytest.mark.parametrize("how", _LATE)
async def test_news_are_told_by_what_one_sees_now_though_this_process_is_late(
    ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Of a channel that was lost a moment ago one is not even told the number of its last message."""
    club, hall, thread = await place(ann, bob)
    other = await club.room("other")
    await club.seen(bob)
    await bob.call(ThreadFollow(thread=thread.id))

    async def nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr(*_LATE[how], nothing if how == "not told of it yet" else lambda *_: None)
    await club.overwrite(hall, deny=["view"])
    await say(ann, thread.id)
    for channel in (hall, other):
        last = await say(ann, channel)
    told: list[tuple[UUID, int]] = []
    async with asyncio.timeout(10):
        while (other, last) not in told:
            told += [(one.channel, one.seq) for one in (await bob.wait_for(SpaceMoved)).lasts]
    assert {channel for channel, _ in told} == {other}
    with pytest.raises(TimeoutError):
        await bob.wait_for(ThreadMoved, 0.01)


# Notifications


async def test_who_wants_all_of_a_thread_is_notified_once_until_they_have_read_it(
    server: Server, ann: Person, bob: Person
) -> None:
    _, _, thread = await place(ann, bob)
    await bob.call(ThreadFollow(thread=thread.id))
    await say(ann, thread.id)
    assert await notified(server, bob) == [], "nobody is who has not chosen so"
    await bob.call(NotificationConfigure(channel=thread.id, level="all"))
    first = await say(ann, thread.id)
    for _ in range(3):
        await say(ann, thread.id)
    await say(bob, thread.id)
    [one] = await notified(server, bob)
    assert (one.channel, one.message, one.by, one.read) == (thread.id, first, me(ann), False)
    await bob.call(NotificationMarkRead(channel=thread.id))
    again = await say(ann, thread.id)
    assert [one.message for one in await notified(server, bob)] == [again, first]


async def test_who_does_not_follow_a_thread_any_more_or_writes_there_is_not_notified(
    server: Server, ann: Person, bob: Person
) -> None:
    _, _, thread = await place(ann, bob)
    await bob.call(ThreadFollow(thread=thread.id))
    await bob.call(NotificationConfigure(channel=thread.id, level="all"))
    await say(bob, thread.id)
    await bob.call(ThreadUnfollow(thread=thread.id))
    await say(ann, thread.id)
    assert await notified(server, bob) == []


async def test_a_mention_in_a_followed_thread_is_one_notification(server: Server, ann: Person, bob: Person) -> None:
    _, _, thread = await place(ann, bob)
    await bob.call(ThreadFollow(thread=thread.id))
    await bob.call(NotificationConfigure(channel=thread.id, level="all"))
    await say(ann, thread.id, mentions=[me(bob)])
    await settled(server)
    assert [one.kind for one in (await bob.call(NotificationList())).notifications] == ["mention"]


async def test_who_does_not_see_a_thread_any_more_is_not_notified_of_it(
    server: Server, ann: Person, bob: Person
) -> None:
    club, hall, thread = await place(ann, bob)
    await bob.call(ThreadFollow(thread=thread.id))
    await bob.call(NotificationConfigure(channel=thread.id, level="all"))
    await club.overwrite(hall, deny=["view"])
    await say(ann, thread.id)
    assert await notified(server, bob) == []
    assert await server.pool.fetchval("SELECT count(*) FROM notification") == 0
