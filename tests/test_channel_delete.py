"""channel: what follows the end of a channel: everybody is told, everything goes, and nobody waits for it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from protocol.channel import (
    ChannelAddMember,
    ChannelCreate,
    ChannelDelete,
    ChannelGet,
    ChannelJoin,
    ChannelLeave,
    ChannelLeft,
    ChannelList,
    ChannelMemberLeft,
    ChannelMembers,
    ChannelMute,
    ChannelUpdate,
)
from protocol.draft import DraftSave
from protocol.frame import Request
from protocol.message import MessageEdit, MessageHistory, MessagePins, MessageSend
from protocol.reaction import ReactionAdd
from protocol.typing import TypingStart
from server import Server, chore
from storage.ids import new_id
from tests.chat import UNBOUND, Phone, device, group, me, nodes, refused, say, sql, standing
from tests.conftest import Connector, Person, Starter
from tests.raw import until

MEMBERS, MESSAGES = 2000, 20_000
SOON = 10.0
ALL = ("grave", "departed", "member", "message", "reaction", "revision", "mention", "hidden", "draft")


async def crowded(server: Server, channel: UUID, author: UUID, members: int, messages: int) -> list[UUID]:
    """Many more members, and many messages with all that can hang on them, made by the database."""
    ids = [new_id() for _ in range(members)]
    async with sql(server) as db:
        for statement, *values in (
            (
                "INSERT INTO account (id, username, name_key) SELECT i, 'u' || i, i::text FROM unnest($1::uuid[]) i",
                ids,
            ),
            ("INSERT INTO stream (id) SELECT unnest($1::uuid[])", ids),
            ("INSERT INTO member (channel, account) SELECT $2::uuid, unnest($1::uuid[])", ids, channel),
            ("UPDATE channel SET members = members + $2 WHERE id = $1", channel, members),
            (
                "INSERT INTO message (channel, seq, author, nonce, sent_at, text) SELECT $1, s.head + n, $2,"
                " gen_random_uuid(), now(), 'x' FROM stream s, generate_series(1, $3::bigint) n WHERE s.id = $1",
                channel,
                author,
                messages,
            ),
            ("UPDATE stream SET head = head + $2 WHERE id = $1", channel, messages),
            (
                "INSERT INTO reaction (channel, seq, account, emoji) SELECT $1, seq, author, 'a' FROM message"
                " WHERE channel = $1 AND seq % 10 = 0",
                channel,
            ),
            (
                "INSERT INTO revision (channel, seq, number, text, until) SELECT $1, seq, 1, 'y', now() FROM message"
                " WHERE channel = $1 AND seq % 10 = 0",
                channel,
            ),
        ):
            await db.execute(statement, *values)
    return ids


async def buried(server: Server, channel: UUID) -> None:
    """Wait until nothing is left of a channel."""
    async with sql(server) as db, asyncio.timeout(60):
        while await db.fetchval("SELECT EXISTS (SELECT FROM stream WHERE id = $1)", channel):
            await asyncio.sleep(0.02)
        for table in ALL:
            assert not await db.fetchval(f"SELECT count(*) FROM {table} WHERE channel = $1", channel), table


async def told(server: Server, channel: UUID) -> dict[UUID, int]:
    """How often each account was told that it left a channel."""
    async with sql(server) as db:
        rows = await db.fetch(
            "SELECT stream, count(*) FROM fact WHERE kind = 'channel.left' AND data LIKE '%' || $1 || '%' GROUP BY 1",
            str(channel),
        )
    return {row["stream"]: row["count"] for row in rows}


@asynccontextmanager
async def holding(server: Server, stream: UUID) -> AsyncIterator[None]:
    """Nobody else gets hold of a stream."""
    async with sql(server) as db, db.transaction():
        await db.execute("SELECT FROM stream WHERE id = $1 FOR UPDATE", stream)
        yield


async def until_waiting(db: Any) -> None:
    """Wait until somebody waits for what is locked here."""
    async with asyncio.timeout(SOON):
        while not await db.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
            await asyncio.sleep(0.01)


async def test_a_large_group_goes_and_nobody_waits_for_it(start: Starter, connect: Connector) -> None:
    server = await start(**UNBOUND)
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    other = await group(bob, ann)
    for _ in range(3):  # the machine may stand still meanwhile: then another one goes
        replied, slowest = await goes(server, ann, bob, other)
        if replied < 0.5 and slowest < 0.2:
            break
    assert (replied < 0.5, slowest < 0.2) == (True, True), (replied, slowest)


async def goes(server: Server, ann: Person, bob: Person, other: UUID) -> tuple[float, float]:
    """How long until a large group has been deleted, and how long somebody elsewhere waited at most."""
    channel = await group(ann, bob)
    crowd = await crowded(server, channel, me(bob), MEMBERS, MESSAGES)
    began = time.monotonic()
    await ann.call(ChannelDelete(channel=channel))
    replied, slowest, count = time.monotonic() - began, 0.0, 0
    gone = asyncio.create_task(buried(server, channel))
    while not gone.done():
        for person, frame in (
            (bob, MessageSend(channel=other, text="meanwhile", nonce=uuid4())),
            (ann, MessageHistory(channel=other)),
            (bob, ChannelMute(channel=other, until=None)),
        ):
            began = time.monotonic()
            await person.call(frame)  # type: ignore[arg-type]
            slowest, count = max(slowest, time.monotonic() - began), count + 1
        await asyncio.sleep(0.005)
    await gone
    assert count > 50, "it took long enough to be in somebody's way"
    assert await told(server, channel) == dict.fromkeys([*crowd, me(ann), me(bob)], 1)
    for person in (ann, bob):
        left = await person.wait_for(ChannelLeft, SOON)
        assert (left.channel, left.reason, left.by) == (channel, "deleted", me(ann))
    return replied, slowest


async def test_from_the_reply_on_nobody_reads_joins_or_hears_it_though_nobody_was_told_yet(
    start: Starter, connect: Connector
) -> None:
    one, other = await nodes(start)
    ann, bob, cid = await connect("ann", to=one), await connect("bob", to=other), await connect("cid", to=one)
    channel = await group(ann, bob, open=True)
    seq = await say(bob, channel, "words")
    phone = await Phone.open(other, bob.tokens_given.access)
    head = (await standing(bob, channel)).head
    frames: list[Request[Any]] = [
        ChannelGet(channel=channel),
        ChannelJoin(channel=channel),
        ChannelMembers(channel=channel),
        ChannelUpdate(channel=channel, open=True),
        ChannelAddMember(channel=channel, user=me(cid)),
        ChannelLeave(channel=channel),
        ChannelDelete(channel=channel),
        MessageHistory(channel=channel),
        MessagePins(channel=channel),
        MessageSend(channel=channel, text="x", nonce=uuid4()),
        MessageEdit(channel=channel, seq=seq, text="x"),
        ReactionAdd(channel=channel, seq=seq, emoji="👍"),
        TypingStart(channel=channel),
    ]
    async with holding(one, me(bob)):
        await ann.call(ChannelDelete(channel=channel))
        assert await told(one, channel) == {}
        for person in (ann, bob):
            assert {await refused(person, frame) for frame in frames} == {"missing"}
            assert (await person.call(ChannelList())).channels == []
        assert await refused(cid, ChannelJoin(channel=channel)) == "missing"
        again, reply = await Phone.resume(other, bob.tokens_given.access, {channel: head - 1})
        assert (reply["channels"], reply["reset"], again.facts(channel)) == ([], [str(channel)], [])
        await until(lambda: not any(s and s.sockets for s in (one.streams.get(channel), other.streams.get(channel))))
        assert not [one for one in phone.events if one["ev"] == "channel.left"]
        heard = len(phone.facts(channel))
    for person in (ann, bob):
        assert (await person.wait_for(ChannelLeft, SOON)).reason == "deleted"
    for socket in (phone, again):
        await socket.until(lambda socket=socket: any(one["ev"] == "channel.left" for one in socket.events))  # type: ignore[misc]
        socket.abort()
    assert (len(phone.facts(channel)), again.facts(channel)) == (heard, [])
    await buried(one, channel)
    assert await refused(bob, MessageHistory(channel=channel)) == "missing"


async def test_what_somebody_was_doing_there_is_told_before_its_end_and_goes_with_it(
    server: Server, ann: Person, bob: Person
) -> None:
    """Who saves a draft holds nothing but a stream of their own, so the group may be deleted meanwhile."""
    channel = await group(ann, bob)
    await crowded(server, channel, me(ann), 0, 5000)
    await bob.call(DraftSave(channel=channel, text="first"))
    phone = await Phone.open(server, bob.tokens_given.access)
    async with sql(server) as db:
        async with db.transaction():
            await db.execute("SELECT FROM draft WHERE channel = $1 FOR UPDATE", channel)
            saving = asyncio.create_task(refused(bob, DraftSave(channel=channel, text="second")))
            await until_waiting(db)
            await ann.call(ChannelDelete(channel=channel))
            assert await refused(bob, MessageHistory(channel=channel)) == "missing"
        assert await saving == "ok"
        await phone.until(lambda: any(one["ev"] == "channel.left" for one in phone.events))
        left = await db.fetchrow("SELECT (SELECT count(*) FROM draft), (SELECT count(*) FROM grave)")
        assert tuple(left) == (0, 1), "the draft goes before what was said there"
    assert [one["ev"] for one in phone.facts(me(bob))] == ["draft.saved", "channel.left"]
    await buried(server, channel)
    phone.abort()


async def test_another_process_goes_on_where_one_stopped_and_everybody_is_told_once(
    start: Starter, connect: Connector
) -> None:
    one = await start()
    ann = await connect("ann", to=one)
    channel = await group(ann)
    crowd = await crowded(one, channel, me(ann), 600, 3000)
    async with holding(one, sorted(crowd)[300]):
        await ann.call(ChannelDelete(channel=channel))
        async with asyncio.timeout(SOON):
            while not await told(one, channel):
                await asyncio.sleep(0.01)
        await one.stop()
        assert 0 < len(await told(one, channel)) < 600, "it was stopped in the middle"
        async with sql(one) as db:
            assert await db.fetchval("SELECT taken_until <= now() FROM grave"), "nobody needs to wait"
    other = await start()
    await buried(other, channel)
    assert await told(other, channel) == dict.fromkeys([*crowd, me(ann)], 1)


async def test_another_process_goes_on_after_one_that_died_at_it(
    start: Starter, connect: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chore, "_EVERY", 0.1)
    server = await start()
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    channel = await group(ann, bob)
    async with sql(server) as db:  # as it is when a process was killed right after its reply
        async with db.transaction():
            await db.execute("DELETE FROM member WHERE channel = $1", channel)
            await db.execute("UPDATE channel SET members = 0, owner = NULL WHERE id = $1", channel)
            await db.execute("UPDATE stream SET access = access + 1 WHERE id = $1", channel)
            await db.execute("INSERT INTO departed SELECT $1, unnest($2::uuid[])", channel, [me(ann), me(bob)])
            await db.execute(
                "INSERT INTO grave (channel, by, taken_until) VALUES ($1, $2, now() + interval '1 s')", channel, me(ann)
            )
        await asyncio.sleep(0.4)
        assert await db.fetchval("SELECT count(*) FROM departed") == 2, "it is believed to be at it for a while"
    for person in (ann, bob):
        left = await person.wait_for(ChannelLeft, SOON)
        assert (left.channel, left.reason, left.by) == (channel, "deleted", me(ann))
    await buried(server, channel)


async def test_a_group_that_waits_behind_a_large_one_is_told_at_once(start: Starter, connect: Connector) -> None:
    server = await start()
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    large, small = await group(ann), await group(ann, bob)
    await crowded(server, large, me(ann), 0, MESSAGES)
    await ann.call(ChannelDelete(channel=large))
    await ann.call(ChannelDelete(channel=small))
    await bob.wait_for(ChannelLeft, SOON)
    async with sql(server) as db:
        assert await db.fetchval("SELECT count(*) FROM message WHERE channel = $1", large) > 0
    await buried(server, large)


async def test_who_has_deleted_a_group_can_make_it_again(ann: Person, bob: Person) -> None:
    frame = ChannelCreate(name="group", nonce=uuid4(), members=[me(bob)])
    first = (await ann.call(frame)).channel.id
    await ann.call(ChannelDelete(channel=first))
    second = (await ann.call(frame)).channel.id
    assert second != first
    assert [one.channel.id for one in (await bob.call(ChannelList())).channels] == [second]


async def test_when_the_last_one_leaves_a_large_open_group_nobody_gets_in_any_more(
    server: Server, ann: Person, bob: Person
) -> None:
    channel = await group(ann, open=True)
    await crowded(server, channel, me(ann), 0, 5000)
    await ann.call(ChannelLeave(channel=channel))
    assert await refused(bob, ChannelJoin(channel=channel)) == "missing"
    assert (await ann.wait_for(ChannelLeft)).reason == "left"
    await buried(server, channel)
    assert await told(server, channel) == {me(ann): 1}


async def test_a_group_is_never_handed_to_who_was_deleted(
    server: Server, ann: Person, bob: Person, connect: Connector
) -> None:
    cid = await connect("cid")
    channel = await group(ann)
    for person in (bob, cid):
        await ann.call(ChannelAddMember(channel=channel, user=me(person)))
    anns = await device(connect, ann)
    async with sql(server) as db:
        await db.execute("UPDATE account SET deleted_at = now() WHERE id = $1", me(bob))
        await ann.call(ChannelLeave(channel=channel))
        left = await cid.wait_for(ChannelMemberLeft)
        assert (left.user, left.owner, left.members) == (me(ann), me(cid), 2)
        await cid.call(ChannelUpdate(channel=channel, open=True))
        await cid.call(ChannelLeave(channel=channel))
        assert await db.fetchval("SELECT owner FROM channel WHERE id = $1", channel) is None
        await anns.call(ChannelJoin(channel=channel))
        await db.execute("INSERT INTO erasure (account) VALUES ($1)", me(bob))
        server.erasures.wake()
        while (left := await anns.wait_for(ChannelMemberLeft, SOON)).user != me(bob):
            pass
        assert (left.owner, left.members) == (me(ann), 1)
