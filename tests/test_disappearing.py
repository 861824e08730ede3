"""Messages that disappear: how long a channel lets them stay counts for what is sent from then on; each goes once."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

import server.due
from protocol.ballot import NewPoll
from protocol.channel import ChannelOpenDirect, ChannelUpdate, ChannelUpdated
from protocol.error import Forbidden
from protocol.message import (
    Message,
    MessageCreated,
    MessageDelete,
    MessageDeleted,
    MessageEdit,
    MessageForward,
    MessageGet,
    MessagePin,
    MessageSend,
)
from protocol.poll import PollVote
from protocol.reaction import ReactionAdd
from protocol.user import UserBlock
from server import Server
from tests.chat import Phone, direct, group, history, me, nodes, refused, say, standing
from tests.conftest import Connector, Person, Starter

SOON = 6.0
HOUR = 3600


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not wait a minute: they say that it is time, and every process looks often."""
    monkeypatch.setattr(server.due, "_EVERY", 0.05)


async def disappear(person: Person, channel: UUID, after: int | None = HOUR) -> None:
    await person.call(ChannelUpdate(channel=channel, disappears_after=after))


async def last(person: Person, channel: UUID) -> Message:
    return (await history(person, channel))[-1]


async def come(server: Server, *seqs: int) -> None:
    """Their time is over."""
    await server.pool.execute("UPDATE message SET expires_at = now() WHERE seq = ANY ($1::bigint[])", seqs)
    await server.pool.execute("UPDATE due SET at = now() WHERE kind = 'disappearing'")


async def test_what_is_sent_from_then_on_knows_when_it_goes(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    await say(ann, channel)
    assert (await last(ann, channel)).expires_at is None
    await disappear(ann, channel)
    assert (await bob.wait_for(ChannelUpdated, SOON)).channel.disappears_after == HOUR
    assert (await standing(bob, channel)).channel.disappears_after == HOUR
    for text in ("plain", "#tag"):
        await say(bob, channel, text)
        message = await last(ann, channel)
        assert message.expires_at == message.sent_at + timedelta(seconds=HOUR)
    told = [await ann.wait_for(MessageCreated, SOON) for _ in range(3)]
    assert [one.message.expires_at is None for one in told] == [True, False, False]
    assert told[-1].message == message
    await bob.call(MessageEdit(channel=channel, seq=message.seq, text="#other"))
    assert (await last(bob, channel)).expires_at == message.expires_at
    await disappear(ann, channel, None)
    await say(bob, channel)
    assert (await last(ann, channel)).expires_at is None
    assert (await history(ann, channel))[-2].expires_at == message.expires_at


async def test_its_owner_sets_it_in_a_group_and_either_one_in_a_direct_channel(ann: Person, bob: Person) -> None:
    shared, pair = await group(ann, bob), await direct(ann, bob)
    saved = (await ann.call(ChannelOpenDirect(user=me(ann)))).channel.id
    with pytest.raises(Forbidden):
        await disappear(bob, shared)
    for person, after in ((ann, 60), (bob, 366 * 86400), (ann, None)):
        await disappear(person, pair, after)
        assert (await standing(bob, pair)).channel.disappears_after == after
    await disappear(ann, saved)
    for fields in ({"topic": "ours"}, {"keeps_for": 1}, {"disappears_after": 60, "name": "x"}):
        for channel in (pair, saved):
            assert await refused(ann, ChannelUpdate(channel=channel, **fields)) == "forbidden"  # type: ignore[arg-type]
    await bob.call(UserBlock(user=me(ann)))
    for person in (ann, bob):
        assert await refused(person, ChannelUpdate(channel=pair, disappears_after=60)) == "forbidden"


@pytest.mark.parametrize("after", [0, 59, 366 * 86400 + 1])
async def test_from_a_minute_to_a_year(ann: Person, after: int) -> None:
    assert await refused(ann, ChannelUpdate(channel=await group(ann), disappears_after=after)) == "invalid"


async def test_it_counts_for_what_was_decided_before_on_another_process(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=other)
    channel = await group(ann, bob)
    await say(bob, channel)
    for after in (HOUR, None, 60, HOUR):
        await disappear(ann, channel, after)
        await say(bob, channel)
        message = await last(ann, channel)
        expected = None if after is None else message.sent_at + timedelta(seconds=after)
        assert message.expires_at == expected


async def test_it_goes_at_its_time_for_everybody_once(server: Server, start: Starter, ann: Person, bob: Person) -> None:
    await start()
    channel = await group(ann, bob)
    kept = await say(ann, channel, "kept")
    await disappear(ann, channel)
    seqs = [await say(ann, channel, f"a canary {number}") for number in range(10)]
    later = await say(bob, channel, "later")
    await come(server, *seqs)
    told = await bob.wait_for(MessageDeleted, SOON)
    assert told.messages == seqs
    found = {one.seq: one for one in await history(bob, channel)}
    assert [seq for seq, one in found.items() if one.deleted_at is None] == [kept, later]
    assert all((found[seq].text, found[seq].expires_at) == ("", None) for seq in seqs)
    at = await server.pool.fetchval("SELECT at FROM due")
    assert at == found[later].expires_at
    await come(server, later)
    assert (await bob.wait_for(MessageDeleted, SOON)).messages == [later]
    assert await server.pool.fetchval("SELECT count(*) FROM due") == 0
    assert await server.pool.fetchval("SELECT count(*) FROM fact WHERE kind = 'message.deleted'") == 2


async def test_nothing_of_it_is_left(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    await disappear(ann, channel)
    poll = NewPoll(options=["tea", "coffee"])
    seq = await say(ann, channel, "a canary", mentions=[me(bob)], poll=poll)
    await ann.call(MessageEdit(channel=channel, seq=seq, text="another canary", mentions=[me(bob)]))
    await bob.call(ReactionAdd(channel=channel, seq=seq, emoji="👍"))
    await bob.call(PollVote(channel=channel, seq=seq, options=[0]))
    await bob.call(MessagePin(channel=channel, seq=seq))
    await come(server, seq)
    await bob.wait_for(MessageDeleted, SOON)
    for table in ("revision", "mention", "reaction", "vote", "due"):
        assert await server.pool.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    assert await server.pool.fetchval("SELECT count(*) FROM message WHERE text <> '' OR poll IS NOT NULL") == 0
    assert await server.pool.fetchval("SELECT count(*) FROM fact WHERE data LIKE '%canary%'") == 0
    assert await refused(bob, MessageGet(channel=channel, seq=seq)) == "missing"
    assert ((await standing(bob, channel)).unread, (await standing(bob, channel)).mentions) == (0, 0)


async def test_a_shorter_time_is_not_late_for_a_longer_one_before(server: Server, ann: Person) -> None:
    channel = await group(ann)
    for after in (10 * HOUR, 60, HOUR):
        await disappear(ann, channel, after)
        await say(ann, channel)
    at = await server.pool.fetchval("SELECT at FROM due")
    found = [one.expires_at for one in await history(ann, channel)]
    assert at == found[1] == min(one for one in found if one is not None)


async def test_what_was_taken_back_before_is_not_told_again(server: Server, ann: Person) -> None:
    channel = await group(ann)
    await disappear(ann, channel)
    first, second = await say(ann, channel), await say(ann, channel)
    await ann.call(MessageDelete(channel=channel, seq=first))
    await come(server, second)
    assert [(await ann.wait_for(MessageDeleted, SOON)).messages for _ in range(2)] == [[first], [second]]


async def test_very_many_go_in_parts(server: Server, ann: Person) -> None:
    channel = await group(ann)
    await server.pool.execute(
        """
        WITH s AS (UPDATE stream SET head = 1200 WHERE id = $1)
        INSERT INTO message (channel, seq, author, nonce, sent_at, text, expires_at)
        SELECT $1, n, $2, gen_random_uuid(), now(), 'x', now() FROM generate_series(1, 1200) n
        """,
        channel,
        me(ann),
    )
    await server.pool.execute("INSERT INTO due (kind, stream, at) VALUES ('disappearing', $1, now())", channel)
    told = [(await ann.wait_for(MessageDeleted, SOON)).messages for _ in range(3)]
    assert [len(one) for one in told] == [500, 500, 200]
    assert sorted(seq for one in told for seq in one) == list(range(1, 1201))


async def test_a_forwarded_message_stays_as_long_as_it_does_there(ann: Person) -> None:
    here, there = await group(ann), await group(ann)
    await disappear(ann, here)
    seq = await say(ann, here)
    await ann.call(MessageForward(channel=there, source=here, seq=seq, nonce=uuid4()))
    assert (await last(ann, there)).expires_at is None
    await ann.call(MessageForward(channel=here, source=there, seq=1, nonce=uuid4()))
    assert (await last(ann, here)).expires_at is not None


async def test_who_was_away_is_told_of_it_as_it_is_now(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    await disappear(ann, channel)
    gone, stays = await say(ann, channel, "a canary"), await say(ann, channel)
    await come(server, gone)
    told = await ann.wait_for(MessageDeleted, SOON)
    server.streams.get(channel).forget()  # type: ignore[union-attr]
    phone, _ = await Phone.resume(server, bob.tokens_given.access, {channel: 0})
    await phone.heard(channel, told.seq)
    said: dict[int, dict[str, Any]] = {
        one["seq"]: one["message"] for one in phone.facts(channel) if one["ev"] == "message.created"
    }
    assert "text" not in said[gone] and "expires_at" not in said[gone]
    assert said[stays]["expires_at"]
    phone.abort()


async def test_a_process_that_dies_at_it_leaves_it_to_another(
    server: Server, start: Starter, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = await group(ann)
    await disappear(ann, channel)
    seq = await say(ann, channel)
    dead = asyncio.Event()

    async def die(*_: object) -> None:
        dead.set()
        await asyncio.Event().wait()

    monkeypatch.setitem(server.dues._kinds, "disappearing", die)
    await come(server, seq)
    await asyncio.wait_for(dead.wait(), SOON)
    assert (await last(ann, channel)).text == "hello"
    await start()  # another process, and the time is over for which the first one had taken it
    async with asyncio.timeout(SOON):
        while (await last(ann, channel)).deleted_at is None:
            await server.pool.execute("UPDATE due SET at = now()")
            await asyncio.sleep(0.05)
    assert (await ann.wait_for(MessageDeleted, SOON)).messages == [seq]


async def test_the_same_nonce_is_the_same_message_also_when_it_has_gone(server: Server, ann: Person) -> None:
    channel = await group(ann)
    await disappear(ann, channel)
    frame = MessageSend(channel=channel, text="once", nonce=uuid4())
    first = await ann.call(frame)
    await come(server, first.seq)
    await ann.wait_for(MessageDeleted, SOON)
    assert await ann.call(frame) == first
    assert len(await history(ann, channel)) == 1
