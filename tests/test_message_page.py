"""message: pages are no larger than a frame should be, and lead to everything there is."""

from uuid import UUID

import pytest

from protocol.error import Conflict
from protocol.frame import Request
from protocol.message import (
    MessageAround,
    MessageEdit,
    MessageHistory,
    MessagePins,
    MessageRevisions,
    Messages,
    Revision,
)
from server import Server
from tests.chat import Phone, group, history, me, old_group, refused, say, sql
from tests.conftest import Person

LARGEST = 256 * 1024
WIDE = "中" * 4000  # 12,000 bytes


@pytest.fixture
async def wide(server: Server, ann: Person, bob: Person) -> UUID:
    """A group with 1.2 MB of messages."""
    return await old_group(server, me(ann), me(bob), 100, WIDE)


def seqs(page: Messages) -> list[int]:
    return [one.seq for one in page.messages]


@pytest.mark.parametrize("fields", [{"limit": 50}, {"limit": 100}, {"limit": 100, "before": 99}, {"after": 3}])
async def test_a_page_of_history_is_one_frame_of_bounded_size(
    server: Server, ann: Person, wide: UUID, fields: dict[str, int]
) -> None:
    phone = await Phone.open(server, ann.tokens_given.access)
    page = await phone.call(MessageHistory(channel=wide, **fields))
    assert 200_000 < max(map(len, phone.messages)) <= LARGEST
    assert (page["earlier"], page["later"]) == (True, "before" in fields or "after" in fields)
    phone.abort()


async def test_walking_over_pages_that_are_cut_meets_every_message_once(ann: Person, wide: UUID) -> None:
    back: list[int] = []
    page = await ann.call(MessageHistory(channel=wide, limit=100))
    while page.messages:
        back = seqs(page) + back
        assert page.earlier == (page.messages[0].seq > 1)
        page = await ann.call(MessageHistory(channel=wide, before=page.messages[0].seq, limit=100))
    forth: list[int] = []
    page = await ann.call(MessageHistory(channel=wide, after=0, limit=100))
    while page.messages:
        forth += seqs(page)
        assert page.later == (page.messages[-1].seq < 100)
        page = await ann.call(MessageHistory(channel=wide, after=page.messages[-1].seq, limit=100))
    assert back == forth == list(range(1, 101))


async def test_around_is_cut_on_both_sides_and_never_at_its_middle(server: Server, ann: Person, wide: UUID) -> None:
    phone = await Phone.open(server, ann.tokens_given.access)
    page = await phone.call(MessageAround(channel=wide, seq=50, limit=100))
    found = [one["seq"] for one in page["messages"]]
    assert found == list(range(found[0], found[-1] + 1))
    assert found[0] < 45
    assert found[-1] > 55
    assert (page["earlier"], page["later"]) == (True, True)
    assert max(map(len, phone.messages)) <= LARGEST
    phone.abort()


async def test_pins_that_are_too_much_for_one_frame_come_in_several(server: Server, ann: Person, wide: UUID) -> None:
    async with sql(server) as db:
        await db.execute("UPDATE message SET pinned_at = now() WHERE channel = $1 AND seq % 2 = 0", wide)
    phone = await Phone.open(server, ann.tokens_given.access)
    found: list[int] = []
    more = True
    while more:
        page = await phone.call(MessagePins(channel=wide, after=found[-1] if found else 0))
        assert page["earlier"] == bool(found)
        found += [one["seq"] for one in page["messages"]]
        more = page["later"]
    assert found == list(range(2, 101, 2))
    assert max(map(len, phone.messages)) <= LARGEST
    phone.abort()


async def test_a_message_that_is_more_than_a_page_is_a_page(server: Server, ann: Person, wide: UUID) -> None:
    async with sql(server) as db:  # no client can say so much, but a later version may let it
        await db.execute("UPDATE message SET text = repeat('x', 300000) WHERE channel = $1", wide)
    frames: list[Request[Messages]] = [MessageHistory(channel=wide), MessageHistory(channel=wide, after=99)]
    for frame in (*frames, MessageHistory(channel=wide, before=101)):
        assert seqs(await ann.call(frame)) == [100]
    assert seqs(await ann.call(MessageAround(channel=wide, seq=50))) == [49, 50]


# Revisions


async def edited(server: Server, channel: UUID, seq: int, count: int, text: str = "") -> None:
    """As if a message had been edited so often."""
    async with sql(server) as db:
        await db.execute(
            """
            INSERT INTO revision (channel, seq, number, text, until)
            SELECT $1, $2, n, $4 || n, now() FROM generate_series(1, $3::int) n
            """,
            channel,
            seq,
            count,
            text,
        )


async def all_revisions(person: Person, channel: UUID, seq: int, limit: int = 100) -> list[Revision]:
    found: list[Revision] = []
    after: int | None = 0
    while after is not None:
        page = await person.call(MessageRevisions(channel=channel, seq=seq, after=after, limit=limit))
        assert 0 < len(page.revisions) <= limit
        found, after = found + page.revisions, page.next
    return found


@pytest.mark.parametrize("limit", [30, 40, 60, 100])
async def test_every_revision_can_be_read_page_by_page(server: Server, ann: Person, bob: Person, limit: int) -> None:
    channel = await group(ann, bob)
    seq = await say(ann, channel, "120")
    await edited(server, channel, seq, 119)
    await ann.call(MessageEdit(channel=channel, seq=seq, text="at last"))
    assert [one.text for one in await all_revisions(bob, channel, seq, limit)] == [str(n) for n in range(1, 121)]


async def test_a_page_of_revisions_is_one_frame_of_bounded_size(server: Server, ann: Person) -> None:
    channel = await group(ann)
    seq = await say(ann, channel)
    await edited(server, channel, seq, 100, WIDE)
    phone = await Phone.open(server, ann.tokens_given.access)
    await phone.call(MessageRevisions(channel=channel, seq=seq, limit=100))
    assert max(map(len, phone.messages)) <= LARGEST
    assert len(await all_revisions(ann, channel, seq)) == 100
    phone.abort()


async def test_a_message_is_edited_a_thousand_times_at_most(server: Server, ann: Person) -> None:
    channel = await group(ann)
    seq = await say(ann, channel, "first")
    await edited(server, channel, seq, 999)
    await ann.call(MessageEdit(channel=channel, seq=seq, text="last"))
    with pytest.raises(Conflict):
        await ann.call(MessageEdit(channel=channel, seq=seq, text="one too many"))
    assert [one.text for one in await history(ann, channel)] == ["last"]
    last = (await ann.call(MessageRevisions(channel=channel, seq=seq, after=999))).revisions
    assert [one.text for one in last] == ["first"]
    assert (await ann.call(MessageRevisions(channel=channel, seq=seq, after=1000))).next is None


@pytest.mark.parametrize("fields", [{"after": -1}, {"after": 1001}, {"limit": 0}, {"limit": 101}])
async def test_pages_of_revisions_have_bounds(ann: Person, fields: dict[str, int]) -> None:
    channel = await group(ann)
    seq = await say(ann, channel)
    assert await refused(ann, MessageRevisions(channel=channel, seq=seq, **fields)) == "invalid"
