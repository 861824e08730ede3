"""scheduled: what is written now and sent at its time, whatever has become of its author and their right meanwhile."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest

import server.due
from protocol.account import AccountDelete, AccountExport, AccountLogin, Tokens
from protocol.channel import ChannelDelete, ChannelLeave, ChannelRemoveMember
from protocol.codec import encode
from protocol.error import Conflict, Forbidden, Invalid, Missing
from protocol.message import MessageSend
from protocol.scheduled import (
    Scheduled,
    ScheduledCancel,
    ScheduledCancelled,
    ScheduledCreate,
    ScheduledFailed,
    ScheduledList,
    ScheduledSaved,
    ScheduledSent,
    ScheduledUpdate,
)
from protocol.user import UserBlock
from server import Server
from tests.chat import Phone, direct, group, history, me, say
from tests.conftest import Connector, Person, Starter

SOON = 4.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not wait five seconds: they say that it is time, and every process looks often."""
    monkeypatch.setattr(server.due, "_EVERY", 0.05)


def ahead(seconds: float = 3600) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def plan(
    person: Person, channel: UUID, text: str = "later", at: datetime | None = None, **more: Any
) -> Scheduled:
    frame = ScheduledCreate(channel=channel, text=text, at=at or ahead(), nonce=more.pop("nonce", uuid4()), **more)
    return await person.call(frame)


async def waiting(person: Person) -> list[Scheduled]:
    return (await person.call(ScheduledList())).scheduled


async def come(server: Server, *planned: Scheduled) -> None:
    """Their time has come."""
    ids = [one.id for one in planned]
    await server.pool.execute("UPDATE scheduled SET due = now() WHERE id = ANY ($1::uuid[])", ids)


async def texts(person: Person, channel: UUID) -> list[str]:
    return [one.text for one in await history(person, channel)]


async def test_it_is_sent_at_its_time_and_waits_no_longer(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    first = await say(bob, channel, "when is it?")
    fields = {"reply_to": first, "mentions": [me(bob), me(bob)], "silent": True}
    planned = await plan(ann, channel, "now #then", **fields)
    assert (planned.mentions, planned.failed) == ([me(bob)], None)
    assert await waiting(ann) == [planned]
    await come(server, planned)
    told = await ann.wait_for(ScheduledSent, SOON)
    message = (await history(bob, channel))[-1]
    assert (told.scheduled, told.channel, told.message) == (planned.id, channel, message.seq)
    assert (message.author, message.text, message.hashtags) == (me(ann), "now #then", ["then"])
    assert (message.reply_to, message.mentions, message.silent) == (first, [me(bob)], True)
    assert await waiting(ann) == []


async def test_it_comes_within_a_second_of_its_time(ann: Person) -> None:
    channel, at = await group(ann), ahead(5.5)
    await plan(ann, channel, at=at)
    await ann.wait_for(ScheduledSent, 10)
    [message] = await history(ann, channel)
    assert timedelta(0) <= message.sent_at - at < timedelta(seconds=1)


async def test_the_same_nonce_is_the_same_one_also_once_it_was_sent(server: Server, ann: Person) -> None:
    channel, at, nonce = await group(ann), ahead(), uuid4()
    first = await plan(ann, channel, "once", at, nonce=nonce)
    assert await plan(ann, channel, "another", ahead(99), nonce=nonce) == first
    assert await waiting(ann) == [first]
    await come(server, first)
    await ann.wait_for(ScheduledSent, SOON)
    for again in (
        ScheduledCreate(channel=channel, text="once", at=at, nonce=nonce),
        ScheduledUpdate(scheduled=nonce, text="too late"),
        ScheduledCancel(scheduled=nonce),
    ):
        with pytest.raises(Conflict):
            await ann.call(again)
    assert await texts(ann, channel) == ["once"]


async def test_a_time_is_from_five_seconds_to_a_year_ahead(ann: Person) -> None:
    channel = await group(ann)
    kept = await plan(ann, channel, at=ahead(3600).astimezone(timezone(timedelta(hours=2))))
    assert kept.at.utcoffset() == timedelta(0)
    for at in (ahead(-1), ahead(4), ahead(367 * 86400)):
        for frame in (
            ScheduledCreate(channel=channel, text="x", at=at, nonce=uuid4()),
            ScheduledUpdate(scheduled=kept.id, at=at),
        ):
            with pytest.raises(Invalid) as refused:
                await ann.call(frame)
            assert refused.value.field == "at"
    await plan(ann, channel, at=ahead(365 * 86400))
    assert len(await waiting(ann)) == 2


async def test_it_can_be_changed_and_cancelled_until_it_is_sent(ann: Person, connect: Connector) -> None:
    second = await connect()
    tokens = await second.call(AccountLogin(login="ann", password=Person.password))
    assert isinstance(tokens, Tokens)
    await second.open(tokens)
    channel = await group(ann)
    planned = await plan(ann, channel, reply_to=1, silent=True)
    assert (await second.wait_for(ScheduledSaved, SOON)).scheduled == planned
    at = ahead(7200)
    changed = await ann.call(ScheduledUpdate(scheduled=planned.id, text="other words", at=at, reply_to=None))
    assert (changed.text, changed.at, changed.reply_to, changed.silent) == ("other words", at, None, True)
    assert (await second.wait_for(ScheduledSaved, SOON)).scheduled == changed
    assert await ann.call(ScheduledUpdate(scheduled=planned.id, text="other words")) == changed
    assert await waiting(second) == [changed]
    await second.call(ScheduledCancel(scheduled=planned.id))
    assert (await ann.wait_for(ScheduledCancelled, SOON)).scheduled == planned.id
    assert await waiting(ann) == []
    for frame in (ScheduledCancel(scheduled=planned.id), ScheduledUpdate(scheduled=planned.id, text="x")):
        with pytest.raises(Missing):
            await ann.call(frame)


async def test_what_may_be_sent_already_is_neither_changed_nor_cancelled(server: Server, ann: Person) -> None:
    planned = await plan(ann, await group(ann))
    await server.pool.execute("UPDATE scheduled SET begun = true")
    for frame in (ScheduledCancel(scheduled=planned.id), ScheduledUpdate(scheduled=planned.id, text="x")):
        with pytest.raises(Conflict):
            await ann.call(frame)
    assert await waiting(ann) == [planned]


async def test_a_hundred_are_kept(server: Server, ann: Person) -> None:
    channel = await group(ann)
    planned = await plan(ann, channel)
    await server.pool.execute(
        """
        INSERT INTO scheduled (account, id, channel, text, at, due)
        SELECT $1, gen_random_uuid(), $2, 'one of many', now() + interval '1 day', now() + interval '1 day'
          FROM generate_series(1, 99)
        """,
        me(ann),
        channel,
    )
    with pytest.raises(Conflict):
        await plan(ann, channel)
    assert await plan(ann, channel, nonce=planned.id) == planned
    await ann.call(ScheduledCancel(scheduled=planned.id))
    await plan(ann, channel)


async def test_they_are_listed_by_time_page_by_page(ann: Person) -> None:
    channel = await group(ann)
    planned = [await plan(ann, channel, str(number), ahead(3600 - number)) for number in range(5)]
    found, after = [], None
    while True:
        page = await ann.call(ScheduledList(after=after, limit=2))
        assert len(page.scheduled) <= 2
        found += page.scheduled
        if (after := page.next) is None:
            break
    assert found == planned[::-1]
    large = [await plan(ann, channel, "🎉" * 4000, ahead(4000 + number)) for number in range(20)]
    page = await ann.call(ScheduledList(after=None, limit=100))
    assert page.next is not None
    assert len(encode(page)) < 256 * 1024
    rest = await ann.call(ScheduledList(after=page.next, limit=100))
    assert page.scheduled + rest.scheduled == planned[::-1] + large


async def test_it_is_only_planned_where_one_may_write(ann: Person, bob: Person) -> None:
    with pytest.raises(Missing):
        await plan(ann, await group(bob))
    pair = await direct(ann, bob)
    await bob.call(UserBlock(user=me(ann)))
    with pytest.raises(Forbidden):
        await plan(ann, pair)
    assert await waiting(ann) == []


async def test_ones_own_only(ann: Person, bob: Person) -> None:
    planned = await plan(ann, await group(ann, bob), "a canary")
    assert await waiting(bob) == []
    for frame in (ScheduledCancel(scheduled=planned.id), ScheduledUpdate(scheduled=planned.id, text="mine")):
        with pytest.raises(Missing):
            await bob.call(frame)
    other = await plan(bob, await group(bob), nonce=planned.id)
    await bob.call(ScheduledCancel(scheduled=other.id))
    assert await waiting(ann) == [planned]


async def test_who_may_not_write_any_more_gets_it_back(server: Server, ann: Person, bob: Person) -> None:
    removed, left, deleted = [await group(bob, ann) for _ in range(3)]
    pair = await direct(ann, bob)
    planned = {channel: await plan(ann, channel) for channel in (removed, left, deleted, pair)}
    await bob.call(ChannelRemoveMember(channel=removed, user=me(ann)))
    await ann.call(ChannelLeave(channel=left))
    await bob.call(ChannelDelete(channel=deleted))
    await bob.call(UserBlock(user=me(ann)))
    assert {one.channel for one in await waiting(ann)} == planned.keys()
    await come(server, *planned.values())
    told = {(one := await ann.wait_for(ScheduledFailed, SOON)).scheduled: one.code for _ in planned}
    codes = {removed: "missing", left: "missing", deleted: "missing", pair: "forbidden"}
    assert told == {planned[channel].id: code for channel, code in codes.items()}
    assert {one.channel: one.failed for one in await waiting(ann)} == codes
    for one in planned.values():
        await ann.call(ScheduledCancel(scheduled=one.id))
    assert await waiting(ann) == []
    assert await texts(bob, removed) == await texts(bob, pair) == []


async def test_what_has_failed_can_be_sent_at_another_time(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await say(bob, channel, "about to go")
    planned = await plan(ann, channel, reply_to=seq + 100)
    await come(server, planned)
    assert (await ann.wait_for(ScheduledFailed, SOON)).code == "missing"
    await asyncio.sleep(0.2)
    assert await texts(bob, channel) == ["about to go"], "it is not tried again by itself"
    with pytest.raises(Invalid):
        await ann.call(ScheduledUpdate(scheduled=planned.id, reply_to=None))
    changed = await ann.call(ScheduledUpdate(scheduled=planned.id, reply_to=seq, at=ahead()))
    assert changed.failed is None
    await come(server, planned)
    await ann.wait_for(ScheduledSent, SOON)
    assert await texts(bob, channel) == ["about to go", "later"]


async def test_a_message_with_its_nonce_elsewhere_is_not_taken_for_it(server: Server, ann: Person) -> None:
    here, there = await group(ann), await group(ann)
    planned = await plan(ann, here)
    await ann.call(MessageSend(channel=there, text="else", nonce=planned.id))
    await come(server, planned)
    assert (await ann.wait_for(ScheduledFailed, SOON)).code == "conflict"


async def test_who_was_away_is_told_of_them_as_they_are_now(server: Server, ann: Person, bob: Person) -> None:
    channel, gone = await group(ann), await group(bob, ann)
    kept, sent, cancelled, failed = [await plan(ann, at, "a canary") for at in (channel, channel, channel, gone)]
    kept = await ann.call(ScheduledUpdate(scheduled=kept.id, text="a second canary"))
    await ann.call(ScheduledCancel(scheduled=cancelled.id))
    await ann.call(ChannelLeave(channel=gone))
    await come(server, sent, failed)
    await ann.wait_for(ScheduledSent, SOON)
    await ann.wait_for(ScheduledFailed, SOON)
    assert await server.pool.fetchval("SELECT count(*) FROM fact WHERE kind = 'scheduled.saved'") == 5
    assert await server.pool.fetchval("SELECT count(*) FROM fact WHERE data LIKE '%canary%'") == 0
    server.streams.get(me(ann)).forget()  # type: ignore[union-attr]
    phone, reply = await Phone.resume(server, ann.tokens_given.access, {me(ann): 0})
    assert reply["reset"] == []
    known: dict[str, Any] = {}
    for fact in phone.facts(me(ann)):
        told = fact.get("scheduled")
        if fact["ev"] == "scheduled.saved":
            known[told["id"]] = told
        elif fact["ev"] in ("scheduled.sent", "scheduled.cancelled"):
            known.pop(told, None)
        elif fact["ev"] == "scheduled.failed":
            known[told]["failed"] = fact["code"]
    assert known.keys() == {str(kept.id), str(failed.id)}
    assert (known[str(kept.id)]["text"], known[str(failed.id)]["failed"]) == ("a second canary", "missing")
    phone.abort()


async def test_they_go_with_the_account_and_stand_in_its_export(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(bob, ann)
    planned, other = await plan(ann, channel, "a canary"), await plan(bob, channel)
    exported = await ann.call(AccountExport())
    assert exported.scheduled == [planned]
    receipt = await ann.call(AccountDelete(password=Person.password))
    assert receipt.erased["scheduled"] == 1
    assert await waiting(bob) == [other]
    assert await server.pool.fetchval("SELECT count(*) FROM scheduled") == 1


async def test_a_process_that_dies_between_sending_and_noting_it_has_sent_it_once(
    server: Server, start: Starter, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = await group(ann)
    planned = await plan(ann, channel)
    dead = asyncio.Event()

    async def die(*_: object) -> None:
        dead.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(server.schedule, "_note", die)
    await come(server, planned)
    await asyncio.wait_for(dead.wait(), SOON)
    assert await texts(ann, channel) == ["later"]
    with pytest.raises(Conflict):
        await ann.call(ScheduledCancel(scheduled=planned.id))
    await start()  # another process, and the time is over for which the first one had taken it
    async with asyncio.timeout(SOON):
        while await waiting(ann):
            await come(server, planned)
            await asyncio.sleep(0.05)
    told = await ann.wait_for(ScheduledSent, SOON)
    [message] = await history(ann, channel)
    assert told.message == message.seq


async def test_many_at_once_are_sent_once_each_by_two_processes(server: Server, start: Starter, ann: Person) -> None:
    await start()
    channels = [await group(ann) for _ in range(3)]
    planned = [await plan(ann, channels[number % 3], str(number)) for number in range(90)]
    await come(server, *planned)
    told = [await ann.wait_for(ScheduledSent, SOON) for _ in planned]
    assert sorted(one.scheduled for one in told) == sorted(one.id for one in planned)
    said = [text for channel in channels for text in await texts(ann, channel)]
    assert sorted(said) == sorted(one.text for one in planned)


async def test_a_channel_that_somebody_holds_holds_up_no_other(server: Server, ann: Person) -> None:
    held, free = await group(ann), await group(ann)
    async with server.pool.transaction() as tx:
        await tx.execute("SELECT FROM stream WHERE id = $1 FOR UPDATE", held)
        first, second = await plan(ann, held, "held"), await plan(ann, free, "free")
        await come(server, first)
        await asyncio.sleep(0.2)
        await come(server, second)
        assert (await ann.wait_for(ScheduledSent, SOON)).scheduled == second.id
    assert (await ann.wait_for(ScheduledSent, SOON)).scheduled == first.id
