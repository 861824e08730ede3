"""account: taking everything along, part by part."""

from uuid import UUID, uuid4

import msgspec
import pytest

from protocol.account import AccountExport, AccountExported
from protocol.audit import AuditList
from protocol.channel import ChannelCreate, ChannelLeave, ChannelOpenDirect
from protocol.codec import encode
from protocol.draft import DraftList, DraftSave
from protocol.error import Invalid
from protocol.message import MessageDelete, MessageSend
from protocol.presence import PresenceChoice, PresenceSet
from protocol.reaction import ReactionAdd
from server import Server
from tests.conftest import Person

PART = 256 * 1024


def id_of(person: Person) -> UUID:
    return person.tokens_given.account


async def group(owner: Person, name: str, *members: Person) -> UUID:
    frame = ChannelCreate(name=name, nonce=uuid4(), members=[id_of(one) for one in members])
    return (await owner.call(frame)).channel.id


async def say(person: Person, channel: UUID, text: str) -> int:
    return (await person.call(MessageSend(channel=channel, text=text, nonce=uuid4()))).seq


async def parts(person: Person) -> list[AccountExported]:
    found = [await person.call(AccountExport())]
    while found[-1].next is not None:
        found.append(await person.call(AccountExport(after=found[-1].next)))
    return found


async def test_an_export_has_all_that_one_has_said_and_done(ann: Person, bob: Person) -> None:
    shared, left = await group(ann, "shared", bob), await group(bob, "left", ann)
    pair = (await ann.call(ChannelOpenDirect(user=id_of(bob)))).channel.id
    theirs = await say(bob, shared, "bobs words")
    mine = await say(ann, shared, "anns words")
    gone = await say(ann, shared, "taken back")
    await ann.call(MessageDelete(channel=shared, seq=gone))
    await say(ann, left, "before she left")
    await ann.call(ChannelLeave(channel=left))
    await ann.call(ReactionAdd(channel=shared, seq=theirs, emoji="👍"))
    await bob.call(ReactionAdd(channel=shared, seq=mine, emoji="🎉"))
    await ann.call(DraftSave(channel=pair, text="dear bob"))
    await bob.call(DraftSave(channel=pair, text="dear ann"))
    await ann.call(PresenceSet(status="dnd", text="busy"))
    [exported] = await parts(ann)
    assert exported.presence == PresenceChoice(status="dnd", text="busy", show_last_seen=True)
    assert {(one.id, one.kind, one.owned, one.peer) for one in exported.channels} == {
        (shared, "group", True, None),
        (pair, "direct", False, id_of(bob)),
    }
    assert exported.drafts == (await ann.call(DraftList())).drafts
    assert [(one.channel, one.message, one.emoji) for one in exported.reactions] == [(shared, theirs, "👍")]
    said = {(one.channel, one.message.seq, one.message.text) for one in exported.messages}
    assert {text for _, _, text in said} == {"anns words", "before she left"}
    assert (shared, mine, "anns words") in said
    everything = msgspec.json.encode(exported)
    for foreign in ("bobs words", "dear ann", "🎉"):
        assert foreign.encode() not in everything, foreign


FILL = """
    WITH s AS (UPDATE stream SET head = head + $3 WHERE id = $1 RETURNING head)
    INSERT INTO message (channel, seq, author, nonce, sent_at, text)
    SELECT $1, s.head - $3 + n, $2, gen_random_uuid(), now(), repeat('x', 2000) FROM s, generate_series(1, $3::bigint) n
"""


async def test_a_large_export_comes_in_parts_that_each_fit_into_a_frame(
    ann: Person, bob: Person, server: Server
) -> None:
    channels = [await group(ann, f"group {number}") for number in range(3)]
    for channel in channels:
        await ann.call(DraftSave(channel=channel, text="y" * 4000))
        await server.pool.execute(FILL, channel, id_of(ann), 150)
    await server.pool.execute(FILL, channels[0], id_of(bob), 10)
    found = await parts(ann)
    assert len(found) > 3
    assert all(len(encode(part)) <= PART for part in found)
    said = [(one.channel, one.message.seq) for part in found for one in part.messages]
    assert (len(said), len(set(said))) == (450, 450)
    assert {one.channel for part in found for one in part.drafts} == set(channels)
    first, *rest = found
    assert first.devices
    assert first.presence is not None
    assert not any(part.devices or part.keys or part.presence for part in rest)
    entries = (await ann.call(AuditList(limit=100))).entries
    assert [one.action for one in entries].count("account.export") == 1, "one export is told once"


async def test_a_cursor_that_is_none_is_refused(ann: Person) -> None:
    for cursor in ("", "nothing", "audit x", "messages x", f"reactions {10**30}", "audit 99999999999999999999"):
        with pytest.raises(Invalid) as refused:
            await ann.call(AccountExport(after=cursor))
        assert refused.value.field == "after"
