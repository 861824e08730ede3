"""presence: who is there, and who is told of it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from protocol.api_key import ApiKeyCreate
from protocol.codec import encode
from protocol.error import Conflict, Forbidden, Invalid, Unauthenticated
from protocol.presence import (
    Presence,
    PresenceChanged,
    PresenceChoice,
    PresenceGet,
    PresenceSet,
    PresenceUnwatch,
    PresenceWatch,
)
from protocol.session import SessionClose, SessionOpen, SessionPing
from protocol.user import UserBlock, UserUnblock
from server import Server
from storage.presence import Leases
from tests.conftest import Connector, Person, Starter
from tests.valkey import Valkey

SOON = 4.0
QUIET = 1.5  # longer than a change takes to be told


def id_of(person: Person) -> UUID:
    return person.tokens_given.account


async def seen(viewer: Person, *users: Person) -> list[Presence]:
    return (await viewer.call(PresenceGet(users=[id_of(user) for user in users]))).presences


async def status(viewer: Person, user: Person) -> str:
    return (await seen(viewer, user))[0].status


async def watch(viewer: Person, *users: Person) -> list[Presence]:
    return (await viewer.call(PresenceWatch(users=[id_of(user) for user in users]))).presences


async def told(viewer: Person) -> Presence:
    return (await viewer.wait_for(PresenceChanged, SOON)).presence


async def sees_online(viewer: Person, user: Person) -> None:
    """Watch somebody whose coming may not have got around to this node."""
    if (await watch(viewer, user))[0].status == "offline":
        assert (await told(viewer)).status == "online"


async def told_nothing(viewer: Person) -> None:
    with pytest.raises(TimeoutError):
        await viewer.wait_for(PresenceChanged, QUIET)


async def until(condition: Callable[[], Awaitable[bool]], within: float = SOON) -> None:
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.02)


async def again(connect: Connector, person: Person, to: Server | None = None) -> Person:
    """Another socket of the same device."""
    other = await connect(to=to)
    await other.call(SessionOpen(token=person.tokens_given.access))
    return other


def nothing_of(person: Person) -> Presence:
    return Presence(user=id_of(person), status="offline", text="", last_seen=None)


# Being there


async def test_somebody_is_online_as_long_as_one_of_their_sockets_is_open(ann: Person, connect: Connector) -> None:
    bob = await connect("bob")
    second = await again(connect, bob)
    assert await status(ann, bob) == "online"
    await bob.close()
    await told_nothing(ann)
    assert await status(ann, bob) == "online"
    await second.close()
    await until(lambda: is_status(ann, bob, "offline"))


async def is_status(viewer: Person, user: Person, wanted: str) -> bool:
    return await status(viewer, user) == wanted


async def test_a_watcher_hears_of_coming_going_and_changing(ann: Person, connect: Connector) -> None:
    bob = await connect("bob")
    assert [one.status for one in await watch(ann, bob)] == ["online"]
    await bob.call(PresenceSet(status="dnd", text="in a meeting"))
    assert await told(ann) == Presence(user=id_of(bob), status="dnd", text="in a meeting", last_seen=None)
    await bob.close()
    gone = await told(ann)
    assert (gone.status, gone.text) == ("offline", "")
    assert gone.last_seen is not None
    await again(connect, bob)
    assert await told(ann) == Presence(user=id_of(bob), status="dnd", text="in a meeting", last_seen=None)


async def test_who_does_not_watch_or_no_longer_does_hears_nothing(ann: Person, bob: Person, connect: Connector) -> None:
    cid = await connect("cid")
    await watch(ann, bob)
    await watch(cid, bob)
    await cid.call(PresenceUnwatch(users=[id_of(bob), uuid4()]))
    await bob.call(PresenceSet(status="away"))
    assert (await told(ann)).status == "away"
    await told_nothing(cid)


async def test_a_closed_session_watches_nobody(ann: Person, bob: Person, server: Server) -> None:
    await watch(ann, bob)
    await ann.call(SessionClose())
    await ann.call(SessionOpen(token=ann.tokens_given.access))
    await bob.call(PresenceSet(status="away"))
    await told_nothing(ann)


async def test_changes_within_a_moment_are_told_as_one(ann: Person, bob: Person) -> None:
    await watch(ann, bob)
    for text in ("a", "b", "c"):
        await bob.call(PresenceSet(text=text))
    assert (await told(ann)).text == "c"
    await told_nothing(ann)


async def test_a_moments_absence_is_told_to_nobody(ann: Person, connect: Connector) -> None:
    bob = await connect("bob")
    await watch(ann, bob)
    await bob.close()
    await again(connect, bob)
    await told_nothing(ann)
    assert await status(ann, bob) == "online"


async def test_a_socket_that_does_not_want_presence_is_told_of_no_change(bob: Person, connect: Connector) -> None:
    ann = await connect("ann")
    await ann.call(SessionOpen(token=ann.tokens_given.access, wants=["messages"]))
    assert [one.status for one in await watch(ann, bob)] == ["online"]
    await bob.call(PresenceSet(status="away"))
    await told_nothing(ann)


async def test_one_socket_watches_a_thousand_at_most(ann: Person, bob: Person) -> None:
    for _ in range(9):
        await ann.call(PresenceWatch(users=[uuid4() for _ in range(100)]))
    known = [uuid4() for _ in range(99)]
    await ann.call(PresenceWatch(users=[id_of(bob), *known]))
    await ann.call(PresenceWatch(users=[id_of(bob), *known]))  # again is nothing more
    with pytest.raises(Conflict):
        await ann.call(PresenceWatch(users=[uuid4()]))
    await ann.call(PresenceUnwatch(users=known[:1]))
    await ann.call(PresenceWatch(users=[uuid4()]))
    await bob.call(PresenceSet(status="away"))
    assert (await told(ann)).status == "away"


async def test_the_frames_bounds_are_kept(ann: Person, stranger: Person) -> None:
    for users in ([], [uuid4()] * 101):
        with pytest.raises(Invalid):
            await ann.call(PresenceGet(users=users))
    with pytest.raises(Invalid):
        await ann.call(PresenceSet(text="two\nlines"))
    for frame in (PresenceGet(users=[uuid4()]), PresenceSet(status="away")):
        with pytest.raises(Unauthenticated):
            await stranger.call(frame)


async def test_a_program_needs_the_scope_to_look(ann: Person, connect: Connector) -> None:
    key = await ann.call(ApiKeyCreate(name="bot", password=Person.password, scopes=["presence.get"]))
    program = await connect()
    await program.open(key.secret)
    await program.call(PresenceGet(users=[id_of(ann)]))
    with pytest.raises(Forbidden):
        await program.call(PresenceWatch(users=[id_of(ann)]))


# What was chosen


async def test_a_choice_stays_until_the_next_one(ann: Person, bob: Person, connect: Connector) -> None:
    first = PresenceChoice(status="online", text="", show_last_seen=True)
    assert await ann.call(PresenceSet()) == first
    await ann.call(PresenceSet(status="away", text="at lunch"))
    chosen = await ann.call(PresenceSet(show_last_seen=False))
    assert chosen == PresenceChoice(status="away", text="at lunch", show_last_seen=False)
    other = await again(connect, ann)
    assert await other.call(PresenceSet()) == chosen
    await ann.close()
    assert await seen(bob, ann) == [Presence(user=id_of(ann), status="away", text="at lunch", last_seen=None)]


async def test_who_is_invisible_looks_exactly_like_somebody_who_left(ann: Person, connect: Connector) -> None:
    bob, cid = await connect("bob"), await connect("cid")
    await watch(ann, bob, cid)
    await bob.call(PresenceSet(status="invisible", text="secretly here"))
    await cid.close()
    both = {one.user: one for one in (await told(ann), await told(ann))}
    hidden, gone = both[id_of(bob)], both[id_of(cid)]
    assert gone.last_seen is not None
    assert _but_for_whom_and_when(hidden) == _but_for_whom_and_when(gone)
    before = await seen(ann, bob)
    assert before == [hidden]
    # Nothing that they do while nobody sees them shows.
    await bob.call(PresenceSet(text="still here"))
    await bob.close()
    back = await again(connect, bob)
    await told_nothing(ann)
    assert await seen(ann, bob) == before
    await back.call(PresenceSet(status="online"))
    assert await told(ann) == Presence(user=id_of(bob), status="online", text="still here", last_seen=None)


def _but_for_whom_and_when(presence: Presence) -> bytes:
    """The bytes, with the same name and a time as long."""
    assert presence.last_seen is not None
    neutral = msgspec.structs.replace(presence, user=UUID(int=0), last_seen=datetime(2026, 1, 1, tzinfo=UTC))
    return encode(neutral)


async def test_last_seen_is_shown_by_who_shows_it_to_who_shows_it(ann: Person, connect: Connector) -> None:
    bob = await connect("bob")
    await bob.close()
    await until(lambda: _has_last_seen(ann, bob))
    await ann.call(PresenceSet(show_last_seen=False))
    assert await seen(ann, bob) == [nothing_of(bob)]
    await ann.call(PresenceSet(show_last_seen=True))
    assert await _has_last_seen(ann, bob)
    back = await again(connect, bob)
    await back.call(PresenceSet(show_last_seen=False))
    await back.close()
    await until(lambda: is_status(ann, bob, "offline"))
    assert await seen(ann, bob) == [nothing_of(bob)]


async def test_who_hides_when_they_were_last_seen_is_told_that_they_see_it_of_nobody_any_more(
    ann: Person, connect: Connector
) -> None:
    bob = await connect("bob")
    await sees_online(ann, bob)
    await bob.close()
    gone = await told(ann)
    assert gone.last_seen is not None
    await ann.call(PresenceSet(show_last_seen=False))
    assert await told(ann) == nothing_of(bob)
    await ann.call(PresenceSet(show_last_seen=True))
    assert await told(ann) == gone


async def _has_last_seen(viewer: Person, user: Person) -> bool:
    return (await seen(viewer, user))[0].last_seen is not None


async def test_when_many_leave_at_once_it_is_written_down_at_once(
    connect: Connector, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [await connect(f"person{number}") for number in range(20)]
    await until(lambda: _written(server, 20))
    await server.pool.execute("UPDATE presence SET seen_at = NULL")
    written, execute = 0, server.pool.execute

    async def counted(query: str, *values: Any) -> str:
        nonlocal written
        written += "INTO presence" in query
        return await execute(query, *values)

    monkeypatch.setattr(server.pool, "execute", counted)
    await asyncio.gather(*(person.close() for person in people))
    await until(lambda: _written(server, 20))
    assert 1 <= written <= 3


async def _written(server: Server, count: int) -> bool:
    found = await server.pool.fetchval("SELECT count(*) FROM presence WHERE seen_at IS NOT NULL")
    return bool(found == count)


# Being hidden


async def test_who_blocks_or_is_blocked_is_offline_to_the_other_like_somebody_who_is_not(
    ann: Person, bob: Person, connect: Connector
) -> None:
    cid = await connect("cid")
    await bob.call(PresenceSet(text="canary"))
    await ann.call(UserBlock(user=id_of(bob)))
    assert await seen(ann, bob) == [nothing_of(bob)]
    assert await seen(bob, ann) == [nothing_of(ann)]
    nobody = uuid4()
    [as_nobody] = (await bob.call(PresenceGet(users=[nobody]))).presences
    [as_ann] = await seen(bob, ann)
    assert encode(as_nobody).replace(str(nobody).encode(), str(id_of(ann)).encode()) == encode(as_ann)
    assert (await seen(cid, bob))[0].text == "canary"


async def test_a_block_ends_what_is_told_and_its_end_begins_it_again(
    ann: Person, bob: Person, connect: Connector
) -> None:
    cid = await connect("cid")
    for viewer, user in ((ann, bob), (bob, ann), (cid, bob)):
        await watch(viewer, user)
    await ann.call(UserBlock(user=id_of(bob)))
    assert await told(ann) == nothing_of(bob)
    assert await told(bob) == nothing_of(ann)
    await bob.call(PresenceSet(text="canary"))
    assert (await told(cid)).text == "canary"
    await told_nothing(ann)
    await ann.call(UserUnblock(user=id_of(bob)))
    assert (await told(ann)).text == "canary"
    assert (await told(bob)).status == "online"


async def test_who_blocks_while_somebody_begins_to_watch_tells_them_nothing(ann: Person, connect: Connector) -> None:
    """However the two meet, what is told in the end is that nobody is there."""
    for number in range(5):
        bob = await connect(f"bob{number}")
        await asyncio.gather(watch(bob, ann), ann.call(UserBlock(user=id_of(bob))))
        await until(lambda bob=bob: _sees_nothing(bob, ann))  # type: ignore[misc]
        await bob.call(SessionPing())


async def _sees_nothing(viewer: Person, user: Person) -> bool:
    return await seen(viewer, user) == [nothing_of(user)]


# Several nodes


@pytest.fixture
async def nodes(server: Server, start: Starter) -> tuple[Server, Server]:
    """Two that know of each other."""
    both = server, await start()
    await until(lambda: _acquainted(*both))
    return both


async def _acquainted(*servers: Server) -> bool:
    return all(server.bus.others == len(servers) - 1 and server.presence.shared for server in servers)


async def test_a_watcher_hears_of_who_is_on_another_node(nodes: tuple[Server, Server], connect: Connector) -> None:
    here, there = nodes
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    await sees_online(ann, bob)
    await bob.call(PresenceSet(status="away", text="on a walk"))
    assert (await told(ann)).text == "on a walk"
    await bob.close()
    assert (await told(ann)).status == "offline"
    back = await again(connect, bob, to=there)
    assert (await told(ann)).text == "on a walk"
    await again(connect, bob, to=here)
    await back.close()
    await told_nothing(ann)
    assert await status(ann, bob) == "away"


async def test_a_block_on_one_node_ends_what_the_other_tells(nodes: tuple[Server, Server], connect: Connector) -> None:
    ann, bob = await connect("ann", to=nodes[0]), await connect("bob", to=nodes[1])
    await sees_online(bob, ann)
    await ann.call(UserBlock(user=id_of(bob)))
    assert await told(bob) == nothing_of(ann)


async def test_whoever_was_there_before_another_node_came_is_known_to_it(start: Starter, connect: Connector) -> None:
    bob = await connect("bob")
    ann = await connect("ann", to=await start())
    await sees_online(ann, bob)


async def test_a_node_that_stops_takes_its_people_with_it(nodes: tuple[Server, Server], connect: Connector) -> None:
    ann, bob = await connect("ann", to=nodes[0]), await connect("bob", to=nodes[1])
    await sees_online(ann, bob)
    await nodes[1].stop()
    assert (await told(ann)).status == "offline"
    assert await _has_last_seen(ann, bob)


async def test_the_people_of_a_node_that_died_are_offline_when_its_lease_ends(
    nodes: tuple[Server, Server], connect: Connector
) -> None:
    ann, bob = await connect("ann", to=nodes[0]), await connect("bob", to=nodes[0])
    await bob.close()
    await until(lambda: is_status(ann, bob, "offline"))
    dying = Leases(nodes[1].bus.script, seconds=3)
    await dying.renew()
    assert await dying.fill([id_of(bob)])
    assert [one.status for one in await watch(ann, bob)] == ["online"]
    gone = await ann.wait_for(PresenceChanged, 8.0)
    assert gone.presence.status == "offline"


async def test_when_redis_forgets_everything_it_is_told_anew(nodes: tuple[Server, Server], connect: Connector) -> None:
    ann, bob = await connect("ann", to=nodes[0]), await connect("bob", to=nodes[1])
    await sees_online(ann, bob)
    await nodes[0].bus.script("return redis.call('FLUSHALL')", [], [])
    await until(lambda: is_status(ann, bob, "online"), 8.0)


async def test_without_redis_a_node_knows_its_own(start: Starter, connect: Connector) -> None:
    server = await start(redis_url="redis://127.0.0.1:1")
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    assert [one.status for one in await watch(ann, bob)] == ["online"]
    await bob.call(PresenceSet(status="away"))
    assert (await told(ann)).status == "away"
    await bob.close()
    assert (await told(ann)).status == "offline"


async def test_alone_a_node_tells_redis_nothing_of_presence(server: Server, ann: Person, bob: Person) -> None:
    await watch(ann, bob)
    await bob.call(PresenceSet(status="away"))
    await told(ann)
    assert await server.bus.script("return redis.call('EXISTS', KEYS[1])", ["{presence}"], []) == 0


async def test_while_redis_is_gone_nothing_false_is_told_and_afterwards_all_of_it(
    start: Starter, connect: Connector, tmp_path: Path
) -> None:
    valkey = Valkey(tmp_path / "valkey")
    await valkey.start()
    try:
        here, there = await start(redis_url=valkey.url), await start(redis_url=valkey.url)
        await until(lambda: _acquainted(here, there))
        ann, bob, cid = await connect("ann", to=here), await connect("bob", to=there), await connect("cid", to=here)
        await sees_online(ann, bob)
        await sees_online(ann, cid)
        valkey.kill()
        await cid.call(PresenceSet(status="away"))
        assert await told(ann) == Presence(user=id_of(cid), status="away", text="", last_seen=None)
        await bob.call(PresenceSet(status="away"))
        assert (await told(ann)).status == "away", "the database knows, and that he is there is believed for a while"
        await valkey.start()
        await bob.close()
        assert (await ann.wait_for(PresenceChanged, 10.0)).presence.status == "offline"
    finally:
        valkey.kill()
