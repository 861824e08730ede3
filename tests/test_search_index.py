"""search: the documents follow the messages: what is taken back, by whatever way, can be found by nothing any more."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from protocol.account import AccountDelete
from protocol.channel import ChannelDelete, ChannelLeave
from protocol.message import MessageDelete, MessageDeleteMany, MessageEdit, MessageForward, MessagePin, MessageUnpin
from server import Server, chore
from server import search as searching
from server import tail as tails
from storage import search, words
from tests.chat import group, me, old_group, say
from tests.conftest import Person

SOON = 8.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done every few seconds is done often."""
    monkeypatch.setattr(tails, "_EVERY", 0.02)
    monkeypatch.setattr(searching, "_EVERY", 0.05)
    monkeypatch.setattr(chore, "_EVERY", 0.05)


async def documents(server: Server, channel: UUID) -> dict[int, str]:
    """The words of each document."""
    rows = await server.pool.fetch("SELECT seq, words::text FROM search WHERE channel = $1 ORDER BY seq", channel)
    return {row["seq"]: row["words"] for row in rows}


async def becomes(server: Server, channel: UUID, expected: Any) -> None:
    """Wait until a channel has documents for these messages."""
    try:
        async with asyncio.timeout(SOON):
            while list(await documents(server, channel)) != expected:
                await asyncio.sleep(0.02)
    except TimeoutError:
        assert list(await documents(server, channel)) == expected


async def listed(server: Server, *words: str) -> set[str]:
    """Those of these words that are in the list of words."""
    rows = await server.pool.fetch("SELECT word FROM search_word WHERE word = ANY ($1::text[])", list(words))
    return {row["word"] for row in rows}


async def are_listed(server: Server, *expected: str, among: tuple[str, ...]) -> None:
    """Wait until of some words these are left."""
    async with asyncio.timeout(SOON):
        while await listed(server, *among) != set(expected):
            await asyncio.sleep(0.02)


async def test_a_document_tells_the_words_and_what_else_a_message_has(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    first = await say(ann, channel, "Grüße, Grüße aus 東京! see https://example.org #Tag")
    await say(bob, channel, "yes", mentions=[me(ann)], reply_to=first)
    await ann.call(MessagePin(channel=channel, seq=first))
    await becomes(server, channel, [1, 2])
    async with asyncio.timeout(SOON):
        while "+pin" not in (found := await documents(server, channel))[1]:
            await asyncio.sleep(0.02)
    assert "'grusse':1,2 'https':7" in found[1]
    assert "'東京':4" in found[1]
    assert all(f"'{one}'" in found[1] for one in (words.author(me(ann)), "+link", "+pin", "#tag"))
    assert all(f"'{one}'" in found[2] for one in (words.author(me(bob)), words.mention(me(ann)), "+mention", "+reply"))
    await ann.call(MessageUnpin(channel=channel, seq=first))
    async with asyncio.timeout(SOON):
        while "+pin" in (await documents(server, channel))[1]:
            await asyncio.sleep(0.02)


async def test_what_was_edited_or_taken_back_is_found_by_its_former_words_no_more(
    server: Server, ann: Person, bob: Person
) -> None:
    among = ("first", "changed", "second", "third", "shared")
    channel = await group(ann, bob)
    seqs = [await say(ann, channel, f"{text} shared") for text in ("first", "second", "third", "fourth")]
    await becomes(server, channel, seqs)
    await are_listed(server, "first", "second", "third", "shared", among=among)
    await ann.call(MessageEdit(channel=channel, seq=seqs[0], text="changed"))
    await are_listed(server, "changed", "second", "third", "shared", among=among)
    assert "'changed':1" in (await documents(server, channel))[seqs[0]]
    await ann.call(MessageDelete(channel=channel, seq=seqs[1]))
    await ann.call(MessageDeleteMany(channel=channel, seqs=seqs[2:]))
    await becomes(server, channel, seqs[:1])
    await are_listed(server, "changed", among=among)
    assert await server.pool.fetchval("SELECT count(*) FROM search_word WHERE doubt") == 0
    await say(ann, channel, "second to none")
    await are_listed(server, "changed", "second", among=among)


async def test_a_deleted_channel_takes_its_documents_along(server: Server, ann: Person, bob: Person) -> None:
    channel, kept = await group(ann, bob), await group(ann, bob)
    for number in range(20):
        await say(ann, channel, f"remarkable {number}")
    await say(ann, kept, "unremarkable")
    await becomes(server, channel, list(range(1, 21)))
    await ann.call(ChannelDelete(channel=channel))
    await becomes(server, channel, [])
    await are_listed(server, "unremarkable", among=("remarkable", "unremarkable"))
    assert await server.pool.fetchval("SELECT count(*) FROM tail WHERE channel = $1", channel) == 0


async def test_the_last_who_leaves_takes_the_documents_along(server: Server, ann: Person) -> None:
    channel = await group(ann)
    await say(ann, channel, "all alone")
    await becomes(server, channel, [1])
    await ann.call(ChannelLeave(channel=channel))
    await becomes(server, channel, [])


async def test_an_erased_account_takes_its_documents_along(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(bob, ann)
    seqs = [await say(one, channel, text) for one, text in ((ann, "quicksilver"), (bob, "gold"), (ann, "silver"))]
    await becomes(server, channel, seqs)
    await ann.call(AccountDelete(password=Person.password))
    await becomes(server, channel, [seqs[1]])
    await are_listed(server, "gold", among=("quicksilver", "gold", "silver"))
    whose = "SELECT count(*) FROM search WHERE words @@ $1::text::tsquery"
    assert await server.pool.fetchval(whose, f"'{words.author(me(ann))}'") == 0


async def test_a_forwarded_message_is_found_where_it_was_put(server: Server, ann: Person) -> None:
    channel, other = await group(ann), await group(ann)
    seq = await say(ann, channel, "carried over")
    await ann.call(MessageForward(channel=other, source=channel, seq=seq, nonce=UUID(int=7)))
    await becomes(server, other, [1])


async def test_what_was_said_before_gets_documents_newest_first(
    server: Server, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    write = search.Index.write

    async def watched(self: search.Index, tx: Any, messages: Any) -> None:
        await write(self, tx, messages)
        seen.extend(message.seq for _, message in messages)

    monkeypatch.setattr(search.Index, "write", watched)
    monkeypatch.setattr(searching, "_AT_ONCE", 10)
    channel = await old_group(server, me(ann), me(bob), 45)
    await server.pool.execute(
        "UPDATE message SET deleted_at = now(), text = '' WHERE channel = $1 AND seq = 7", channel
    )
    async with server.pool.transaction() as tx:
        await tx.execute("INSERT INTO tail (channel, seq) VALUES ($1, 45)", channel)
        await tx.execute("INSERT INTO search_backlog (channel, below) VALUES ($1, 46)", channel)
    await becomes(server, channel, [seq for seq in range(1, 46) if seq != 7])
    assert seen == [seq for seq in range(45, 0, -1) if seq != 7]
    await say(ann, channel, "and something new")
    await becomes(server, channel, [seq for seq in range(1, 47) if seq != 7])
    assert await server.pool.fetchval("SELECT count(*) FROM search_backlog") == 0


async def test_a_word_that_is_said_again_while_it_is_forgotten_stays_in_the_list(server: Server, ann: Person) -> None:
    channel = await group(ann)
    for _ in range(20):
        seq = await say(ann, channel, "quicksilver")
        await ann.call(MessageDelete(channel=channel, seq=seq))
        await asyncio.sleep(0.02)
    last = await say(ann, channel, "quicksilver")
    await becomes(server, channel, [last])
    async with asyncio.timeout(SOON):
        while await server.pool.fetchval("SELECT count(*) FROM search_word WHERE doubt"):
            await asyncio.sleep(0.02)
    assert await listed(server, "quicksilver") == {"quicksilver"}
