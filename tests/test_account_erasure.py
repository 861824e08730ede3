"""account: what follows a deletion: channels are left, words and reactions go, and nobody waits for it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from protocol.account import AccountDelete, DeletionReceipt
from protocol.channel import (
    ChannelAddMember,
    ChannelCreate,
    ChannelGet,
    ChannelJoin,
    ChannelLeave,
    ChannelList,
    ChannelMemberLeft,
    ChannelOpenDirect,
    Membership,
)
from protocol.draft import DraftSave
from protocol.error import Forbidden, Missing
from protocol.frame import Request
from protocol.message import (
    Message,
    MessageDelete,
    MessageDeleted,
    MessageEdit,
    MessageHistory,
    MessageSend,
)
from protocol.presence import PresenceChanged, PresenceSet, PresenceWatch
from protocol.reaction import ReactionAdd, ReactionList, ReactionRemoved
from protocol.user import UserBlock
from server import Server
from tests.chat import UNBOUND, device, refused, sql
from tests.conftest import Connector, Person, Starter

SOON = 5.0


def id_of(person: Person) -> UUID:
    return person.tokens_given.account


async def group(owner: Person, *members: Person, **fields: Any) -> UUID:
    frame = ChannelCreate(name="group", nonce=uuid4(), members=[id_of(one) for one in members], **fields)
    return (await owner.call(frame)).channel.id


async def direct(one: Person, other: Person) -> UUID:
    return (await one.call(ChannelOpenDirect(user=id_of(other)))).channel.id


async def say(person: Person, channel: UUID, text: str, **more: Any) -> int:
    return (await person.call(MessageSend(channel=channel, text=text, nonce=uuid4(), **more))).seq


async def page(person: Person, channel: UUID) -> list[Message]:
    return (await person.call(MessageHistory(channel=channel, limit=100))).messages


async def delete(person: Person) -> DeletionReceipt:
    return await person.call(AccountDelete(password=Person.password))


async def erased(server: Server, within: float = SOON) -> None:
    """Nothing is left to do."""
    await until(lambda: nothing_left(server), within)


async def nothing_left(server: Server) -> bool:
    return not await server.pool.fetchval("SELECT EXISTS (SELECT FROM erasure) OR EXISTS (SELECT FROM grave)")


async def until(condition: Callable[[], Awaitable[bool]], within: float = SOON) -> None:
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_who_leaves_takes_their_words_back_everywhere(ann: Person, bob: Person, server: Server) -> None:
    both, alone = await group(bob, ann), await direct(ann, bob)
    for channel in (both, alone):
        await say(bob, channel, "hello ann", mentions=[id_of(ann)])
        first = await say(ann, channel, "canary one")
        await ann.call(MessageEdit(channel=channel, seq=first, text="canary two"))
        await say(ann, channel, "canary three", reply_to=first)
    await ann.call(ChannelLeave(channel=both))  # words stay, and go with the account
    receipt = await delete(ann)
    assert receipt.following == {
        "friend": 0,
        "file": 0,
        "channel": 1,
        "space": 0,
        "message": 4,
        "reaction": 0,
        "vote": 0,
        "mention": 1,
        "hidden": 0,
    }
    told = {(await bob.wait_for(MessageDeleted, SOON)).stream for _ in range(2)}
    assert told == {both, alone}
    for channel in (both, alone):
        messages = await page(bob, channel)
        assert [one.text for one in messages] == ["hello ann", "", ""]
        assert [one.deleted_at is not None for one in messages] == [False, True, True]
    await erased(server)
    for table, column in (("message", "text"), ("revision", "text"), ("fact", "data"), ("draft", "text")):
        found = await server.pool.fetchval(f"SELECT count(*) FROM {table} WHERE {column} LIKE '%canary%'")
        assert found == 0, table


async def test_who_leaves_is_out_of_every_channel_and_groups_go_to_others(
    ann: Person, bob: Person, connect: Connector, server: Server
) -> None:
    cid = await connect("cid")
    shared, own, pair = await group(ann, bob, cid), await group(ann), await direct(ann, bob)
    saved = await direct(ann, ann)
    await say(ann, own, "to myself")
    await say(ann, saved, "remember")
    await delete(ann)
    told = {}
    for _ in range(2):
        left = await bob.wait_for(ChannelMemberLeft, SOON)
        told[left.stream] = left
    assert (told[shared].user, told[shared].owner, told[shared].members) == (id_of(ann), id_of(bob), 2)
    assert (told[pair].user, told[pair].owner, told[pair].members) == (id_of(ann), None, 1)
    await erased(server)
    assert await server.pool.fetchval("SELECT count(*) FROM member WHERE account = $1", id_of(ann)) == 0
    for gone in (own, saved):
        for table, column in (("channel", "id"), ("stream", "id"), ("message", "channel")):
            assert await server.pool.fetchval(f"SELECT count(*) FROM {table} WHERE {column} = $1", gone) == 0
    mine: dict[UUID, Membership] = {one.channel.id: one for one in (await bob.call(ChannelList())).channels}
    assert mine.keys() == {shared, pair}
    assert mine[pair].peer == id_of(ann), "it is still known whom one talked with"


async def test_nobody_writes_to_who_has_left_and_everybody_reads_on(ann: Person, bob: Person, server: Server) -> None:
    pair = await direct(ann, bob)
    await say(bob, pair, "are you there?")
    await delete(ann)
    await bob.wait_for(ChannelMemberLeft, SOON)
    await erased(server)
    with pytest.raises(Forbidden):
        await say(bob, pair, "hello?")
    with pytest.raises(Missing):
        await direct(bob, ann)
    assert [one.text for one in await page(bob, pair)] == ["are you there?"]
    assert (await bob.call(ChannelGet(channel=pair))).channel.members == 1
    await delete(bob)  # the last one ends it
    await erased(server)
    assert await server.pool.fetchval("SELECT count(*) FROM channel") == 0
    assert await server.pool.fetchval("SELECT count(*) FROM message") == 0


async def test_who_leaves_takes_reactions_drafts_and_presence_with_them(
    ann: Person, bob: Person, server: Server
) -> None:
    channel = await group(bob, ann)
    seqs = [await say(bob, channel, f"message {number}") for number in range(3)]
    for seq in seqs:
        await ann.call(ReactionAdd(channel=channel, seq=seq, emoji="👍"))
    await bob.call(ReactionAdd(channel=channel, seq=seqs[0], emoji="👍"))
    await ann.call(MessageDelete(channel=channel, seq=seqs[1], for_all=False))
    await ann.call(DraftSave(channel=channel, text="canary"))
    await ann.call(PresenceSet(status="away", text="canary"))
    await bob.call(PresenceWatch(users=[id_of(ann)]))
    receipt = await delete(ann)
    assert (receipt.erased["draft"], receipt.erased["presence"]) == (1, 1)
    assert (receipt.following["reaction"], receipt.following["hidden"]) == (3, 1)
    gone = [await bob.wait_for(ReactionRemoved, SOON) for _ in range(3)]
    assert [(one.message, one.user, one.count) for one in gone] == [
        (seq, id_of(ann), int(seq == seqs[0])) for seq in seqs
    ]
    changed = (await bob.wait_for(PresenceChanged, SOON)).presence
    assert (changed.status, changed.text, changed.last_seen) == ("offline", "", None)
    await erased(server)
    left = (await bob.call(ReactionList(channel=channel, seq=seqs[0]))).reactions
    assert [one.user for one in left] == [id_of(bob)]
    assert [[r.count for r in one.reactions] for one in await page(bob, channel)] == [[1], [], []]
    for table in ("reaction", "vote", "hidden", "mention", "draft", "presence", "member"):
        assert await server.pool.fetchval(f"SELECT count(*) FROM {table} WHERE account = $1", id_of(ann)) == 0, table
    assert await server.pool.fetchval("SELECT count(*) FROM stream WHERE id = $1", id_of(ann)) == 0
    assert await server.pool.fetchval("SELECT count(*) FROM fact WHERE data LIKE '%canary%'") == 0


FILL = """
    WITH s AS (UPDATE stream SET head = head + $3 WHERE id = $1 RETURNING head)
    INSERT INTO message (channel, seq, author, nonce, sent_at, text)
    SELECT $1, s.head - $3 + n, $2, gen_random_uuid(), now(), 'canary' FROM s, generate_series(1, $3::bigint) n
"""


async def test_a_big_account_goes_in_pieces_and_nobody_waits_for_it(start: Starter, connect: Connector) -> None:
    server = await start(**UNBOUND)
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    channel, count = await group(bob, ann), 3300
    await server.pool.execute(FILL, channel, id_of(ann), count)
    receipt = await delete(ann)
    assert receipt.following["message"] == count
    slowest = 0.0
    while not await nothing_left(server):
        began = time.monotonic()
        await say(bob, channel, "meanwhile")
        slowest = max(slowest, time.monotonic() - began)
    taken, pieces = 0, 0
    while taken < count:
        fact = await bob.wait_for(MessageDeleted, SOON)
        assert len(fact.messages) <= 500
        taken, pieces = taken + len(fact.messages), pieces + 1
    assert (taken, pieces) == (count, 7)
    assert slowest < 1.0
    left = await server.pool.fetchval("SELECT count(*) FROM message WHERE author = $1 AND text <> ''", id_of(ann))
    assert left == 0


async def test_what_was_not_finished_when_a_server_died_is_finished_by_the_next(
    ann: Person, bob: Person, server: Server, start: Starter
) -> None:
    """The account is deleted and nothing else is done: as if the server had died right after the commit."""
    channel = await group(bob, ann)
    await say(ann, channel, "canary")
    await server.pool.execute("UPDATE account SET deleted_at = now() WHERE id = $1", id_of(ann))
    await server.pool.execute("INSERT INTO erasure (account) VALUES ($1)", id_of(ann))
    await start()
    await erased(server)
    assert [one.text for one in await page(bob, channel)] == [""]
    assert (await bob.call(ChannelGet(channel=channel))).channel.members == 1


# Races with what is made for it


@asynccontextmanager
async def locked(server: Server, query: str, *values: object) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """Rows are locked; gives a wait for so many others to wait for what is locked."""
    async with sql(server) as db, db.transaction():
        await db.execute(query, *values)

        async def waiting(count: int) -> None:
            async with asyncio.timeout(SOON):
                while await db.fetchval("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted") < count:
                    await asyncio.sleep(0.01)

        yield waiting


async def test_who_is_put_into_a_group_while_being_deleted_does_not_stay_there(
    ann: Person, bob: Person, connect: Connector, server: Server
) -> None:
    cid = await connect("cid")
    channel = await group(ann, bob)
    async with locked(server, "SELECT FROM channel WHERE id = $1 FOR UPDATE", channel) as waiting:
        adding = asyncio.create_task(ann.call(ChannelAddMember(channel=channel, user=id_of(cid))))
        await waiting(1)
        deleting = asyncio.create_task(delete(cid))
        await waiting(2)
    await asyncio.gather(adding, deleting)
    await erased(server)
    for person, frame in ((bob, ChannelGet(channel=channel)), (bob, ChannelLeave(channel=channel))):
        assert await refused(person, frame) == "ok"
    found = await server.pool.fetchrow("SELECT owner, members FROM channel WHERE id = $1", channel)
    assert found is not None
    assert tuple(found) == (id_of(ann), 1)
    assert await server.pool.fetchval("SELECT count(*) FROM member WHERE account = $1", id_of(cid)) == 0


async def test_nothing_is_made_for_who_was_deleted_on_another_process(
    ann: Person, bob: Person, connect: Connector, server: Server
) -> None:
    """Her sockets have not heard of it yet."""
    makes: list[Request[Any]] = [
        ChannelCreate(name="zombie", nonce=uuid4(), members=[id_of(bob)]),
        ChannelCreate(name="zombie", nonce=uuid4()),
        ChannelOpenDirect(user=id_of(bob)),
        ChannelOpenDirect(user=id_of(ann)),
        ChannelJoin(channel=await group(bob, open=True)),
        UserBlock(user=id_of(bob)),
        PresenceSet(status="away", text="canary"),
    ]
    devices = [await device(connect, ann) for _ in makes]
    await server.pool.execute("DELETE FROM presence")
    await server.pool.execute("UPDATE account SET deleted_at = now() WHERE id = $1", id_of(ann))
    codes = {await refused(one, frame) for one, frame in zip(devices, makes, strict=True)}
    assert codes == {"session_revoked", "missing"}
    await server.pool.execute("INSERT INTO erasure (account) VALUES ($1)", id_of(ann))
    server.erasures.wake()
    await erased(server)
    assert await server.pool.fetchval("SELECT array_agg(owner) FROM channel") == [id_of(bob)]
    for table, column in (("member", "account"), ("block", "account"), ("presence", "account")):
        assert await server.pool.fetchval(f"SELECT count(*) FROM {table} WHERE {column} = $1", id_of(ann)) == 0, table


async def test_nobody_is_blocked_who_was_deleted_meanwhile(ann: Person, bob: Person, server: Server) -> None:
    async with locked(server, "SELECT FROM stream WHERE id = $1 FOR UPDATE", id_of(bob)) as waiting:
        deleting = asyncio.create_task(delete(bob))
        await waiting(1)
        blocking = asyncio.create_task(refused(ann, UserBlock(user=id_of(bob))))
        await waiting(2)
    await deleting
    assert await blocking == "missing"
    assert await server.pool.fetchval("SELECT count(*) FROM block") == 0


async def test_an_open_group_that_somebody_joins_while_its_last_one_is_erased_keeps_what_others_said(
    ann: Person, bob: Person, server: Server
) -> None:
    channel = await group(bob, ann, open=True)
    await say(bob, channel, "kept")
    await say(ann, channel, "canary")
    await bob.call(ChannelLeave(channel=channel))
    async with locked(server, "SELECT FROM stream WHERE id = $1 FOR UPDATE", channel) as waiting:
        joining = asyncio.create_task(refused(bob, ChannelJoin(channel=channel)))
        await waiting(1)
        await delete(ann)
        await waiting(2)
    assert await joining == "ok"
    await erased(server)
    assert [one.text for one in await page(bob, channel)] == ["kept", ""]
    found = (await bob.call(ChannelGet(channel=channel))).channel
    assert (found.owner, found.members) == (id_of(bob), 1)
