"""thread: conversations within a channel: who opens and sees them, writes, follows, puts them away and ends them."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from protocol.account import AccountDelete, AccountExport
from protocol.channel import ChannelDelete, ChannelGet, ChannelUpdate, ChannelWatch
from protocol.draft import DraftSave
from protocol.error import Conflict, Forbidden, Invalid
from protocol.frame import Request
from protocol.member import MemberSuggest, MemberTimeout
from protocol.message import (
    MessageCreated,
    MessageDelete,
    MessageGet,
    MessageHistory,
    MessageMarkRead,
    MessagePin,
    MessageSend,
)
from protocol.permission import PermissionSet
from protocol.reaction import ReactionAdd
from protocol.scheduled import ScheduledCreate
from protocol.space import SpaceDelete, SpaceLeave
from protocol.thread import (
    ExportedThread,
    Thread,
    ThreadDelete,
    ThreadDeleted,
    ThreadFollow,
    ThreadFollowed,
    ThreadGet,
    ThreadList,
    ThreadOpen,
    ThreadOpened,
    ThreadUnfollow,
    ThreadUpdate,
    ThreadUpdated,
    ThreadView,
)
from protocol.typing import TypingStart
from server import Server
from tests.chat import UNBOUND, Phone, history, me, nodes, refused, say
from tests.community import Community, community, watch
from tests.conftest import Connector, Person, Starter

SOON = 4.0


@pytest.fixture
async def club(ann: Person, bob: Person) -> Community:
    """Ann's space, in which bob is."""
    return await community(ann, bob)


@pytest.fixture
async def hall(club: Community) -> UUID:
    """A text channel."""
    return await club.room("hall")


async def thread(person: Person, channel: UUID, name: str = "thread", **fields: Any) -> Thread:
    return await person.call(ThreadOpen(channel=channel, name=name, nonce=uuid4(), **fields))


async def view(person: Person, one: Thread) -> ThreadView:
    return await person.call(ThreadGet(thread=one.id))


async def active(person: Person, channel: UUID, *, archived: bool = False) -> list[str]:
    page = await person.call(ThreadList(channel=channel, archived=archived, limit=100))
    return [one.thread.name for one in page.threads]


async def followed(person: Person, club: Community) -> list[str]:
    return [one.thread.name for one in (await person.call(ThreadFollowed(space=club.id))).threads]


async def eventually(condition: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.02)


async def left(server: Server, *ids: UUID) -> int:
    """How much there is of these channels."""
    found: int = await server.pool.fetchval(
        """
        SELECT (SELECT count(*) FROM stream WHERE id = ANY ($1)) + (SELECT count(*) FROM channel WHERE id = ANY ($1))
             + (SELECT count(*) FROM thread WHERE id = ANY ($1)) + (SELECT count(*) FROM follow WHERE thread = ANY ($1))
             + (SELECT count(*) FROM message WHERE channel = ANY ($1))
             + (SELECT count(*) FROM fact WHERE stream = ANY ($1))
        """,
        list(ids),
    )
    return found


async def old(server: Server, one: Thread, days: int = 8) -> None:
    """Let it be long ago that somebody has written there."""
    await server.pool.execute(
        "UPDATE stream SET moved_at = now() - make_interval(days => $2) WHERE id = $1", one.id, days
    )
    await server.pool.execute("UPDATE thread SET due = now() WHERE id = $1", one.id)


# Opening


async def test_a_thread_starts_from_a_message_and_all_who_watch_the_channel_are_told(
    ann: Person, bob: Person, hall: UUID
) -> None:
    await watch(bob, hall)
    seq = await say(ann, hall, "what about lunch?")
    made = await thread(bob, hall, "lunch", seq=seq)
    assert (made.channel, made.name, made.owner, made.origin) == (hall, "lunch", me(bob), seq)
    assert (made.locked, made.archived) == (False, False)
    assert (await bob.wait_for(ThreadOpened, SOON)).thread == made
    assert (await ann.call(MessageGet(channel=hall, seq=seq))).thread == made.id
    assert [one.thread for one in await history(ann, hall)] == [made.id]
    assert (await view(ann, made)).thread == made


async def test_a_message_has_one_thread_whoever_opens_it(ann: Person, bob: Person, hall: UUID) -> None:
    seq = await say(ann, hall)
    first, second = await asyncio.gather(thread(ann, hall, "one", seq=seq), thread(bob, hall, "other", seq=seq))
    assert first == second
    assert len(await active(ann, hall)) == 1


async def test_a_thread_can_start_from_nothing_or_with_a_message_in_it(ann: Person, bob: Person, hall: UUID) -> None:
    empty, begun = await thread(ann, hall, "empty"), await thread(ann, hall, "begun", text="first words")
    assert await history(bob, empty.id) == []
    assert [(one.text, one.author) for one in await history(bob, begun.id)] == [("first words", me(ann))]
    assert (await view(bob, begun)).last == 1


async def test_in_a_forum_all_is_said_in_threads(ann: Person, bob: Person, club: Community) -> None:
    forum = await club.room("forum", kind="forum")
    assert await refused(ann, MessageSend(channel=forum, text="x", nonce=uuid4())) == "forbidden"
    with pytest.raises(Invalid) as refusal:
        await thread(bob, forum, "no words")
    assert refusal.value.field == "text"
    made = await thread(bob, forum, "question", text="how?")
    await say(ann, made.id, "so")
    assert [one.text for one in await history(bob, made.id)] == ["how?", "so"]


async def test_the_same_nonce_is_the_same_thread_and_the_same_first_message(
    ann: Person, bob: Person, club: Community, hall: UUID
) -> None:
    frame = ThreadOpen(channel=hall, name="once", nonce=uuid4(), text="said once")
    opened = await asyncio.gather(*(bob.call(frame) for _ in range(4)))
    assert len({one.id for one in opened}) == 1
    assert [one.text for one in await history(ann, opened[0].id)] == ["said once"]
    other = await club.room("other")
    assert await refused(bob, ThreadOpen(channel=other, name="once", nonce=frame.nonce)) == "conflict"


async def test_a_first_message_that_was_interrupted_is_said_by_the_retry(ann: Person, hall: UUID) -> None:
    nonce = uuid4()
    made = await ann.call(ThreadOpen(channel=hall, name="cut", nonce=nonce))
    again = await ann.call(ThreadOpen(channel=hall, name="cut", nonce=nonce, text="at last"))
    assert again == made
    assert [one.text for one in await history(ann, made.id)] == ["at last"]


async def test_opening_takes_start_threads(ann: Person, bob: Person, club: Community, hall: UUID) -> None:
    await club.overwrite(hall, deny=["start_threads"])
    with pytest.raises(Forbidden, match="start_threads"):
        await thread(bob, hall)
    await club.overwrite(hall, deny=["send_in_threads"])
    with pytest.raises(Forbidden, match="send_in_threads"):
        await thread(bob, hall, text="words")
    await thread(bob, hall)


async def test_threads_are_in_no_other_kinds_of_channels(ann: Person, bob: Person, club: Community, hall: UUID) -> None:
    inner = await thread(ann, hall)
    for channel in (inner.id, await club.room("voice", kind="voice"), await club.room("shelf", kind="category")):
        assert await refused(ann, ThreadOpen(channel=channel, name="x", nonce=uuid4(), text="x")) == "invalid"


async def test_a_thread_starts_from_no_message_that_one_does_not_see(
    ann: Person, bob: Person, club: Community, hall: UUID
) -> None:
    seq = await say(ann, hall)
    gone = await say(ann, hall)
    await ann.call(MessageDelete(channel=hall, seq=gone))
    for missing in (gone, 99):
        assert await refused(bob, ThreadOpen(channel=hall, name="x", nonce=uuid4(), seq=missing)) == "missing"
    await club.overwrite(hall, deny=["history"])
    for unread in (seq, 99):
        assert await refused(bob, ThreadOpen(channel=hall, name="x", nonce=uuid4(), seq=unread)) == "missing"


async def test_a_deleted_message_tells_of_no_thread_any_more_but_the_thread_stays(ann: Person, hall: UUID) -> None:
    seq = await say(ann, hall)
    made = await thread(ann, hall, seq=seq)
    await ann.call(MessageDelete(channel=hall, seq=seq))
    assert (await history(ann, hall))[0].thread is None
    assert await active(ann, hall) == [made.name]


# Who sees and writes


async def test_writing_takes_send_in_threads_and_not_send(ann: Person, bob: Person, club: Community) -> None:
    news = await club.room("news", kind="broadcast")
    made = await thread(ann, news)
    assert await refused(bob, MessageSend(channel=news, text="x", nonce=uuid4())) == "forbidden"
    await say(bob, made.id, "a comment")
    await club.overwrite(news, deny=["send_in_threads"])
    assert await refused(bob, MessageSend(channel=made.id, text="x", nonce=uuid4())) == "forbidden"
    assert [one.text for one in await history(bob, made.id)] == ["a comment"]


def _everything(channel: UUID, one: UUID, seq: int) -> list[Request[Any]]:
    return [
        ThreadOpen(channel=channel, name="x", nonce=uuid4()),
        ThreadList(channel=channel),
        ThreadGet(thread=one),
        ThreadFollow(thread=one),
        ThreadUnfollow(thread=one),
        ThreadUpdate(thread=one, name="x"),
        ThreadDelete(thread=one),
        ChannelGet(channel=one),
        ChannelWatch(channels=[one]),
        MessageSend(channel=one, text="x", nonce=uuid4()),
        MessageHistory(channel=one),
        MessageGet(channel=one, seq=seq),
        MessageMarkRead(channel=one, seq=seq),
        MessagePin(channel=one, seq=seq),
        ReactionAdd(channel=one, seq=seq, emoji="👍"),
        TypingStart(channel=one),
        DraftSave(channel=one, text="x"),
        MemberSuggest(channel=one),
    ]


async def test_a_hidden_channel_hides_its_threads_everywhere(
    ann: Person, bob: Person, club: Community, hall: UUID, server: Server
) -> None:
    made = await thread(ann, hall, text="secret plans")
    seq = await say(bob, made.id, "mine")
    phone = await Phone.open(server, bob.tokens_given.access)
    await phone.call(ChannelWatch(channels=[hall, made.id]))
    await phone.heard(made.id, await say(ann, made.id, "while he sees it"))
    for frame in _everything(hall, made.id, seq):
        assert await refused(bob, frame) != "missing", frame
    await club.overwrite(hall, deny=["view"])
    for frame in _everything(hall, made.id, seq):
        assert await refused(bob, frame) == "missing", frame
    assert await followed(bob, club) == []
    await say(ann, made.id, "not for bob")
    await club.overwrite(hall)
    await phone.call(ChannelWatch(channels=[made.id]))
    seq = await say(ann, made.id, "for bob")
    await phone.heard(made.id, seq)
    heard = [one["message"]["text"] for one in phone.facts(made.id) if one["ev"] == "message.created"]
    assert (heard[0], heard[-1]) == ("while he sees it", "for bob")
    assert "not for bob" not in heard
    phone.abort()


async def test_threads_are_watched_like_channels(ann: Person, bob: Person, hall: UUID) -> None:
    made = await thread(ann, hall)
    await watch(bob, made.id)
    seq = await say(ann, made.id, "hello")
    told = await bob.wait_for(MessageCreated, SOON)
    assert (told.stream, told.seq, told.message.text) == (made.id, seq, "hello")


async def test_a_slow_channel_has_slow_threads(ann: Person, bob: Person, club: Community, hall: UUID) -> None:
    made = await thread(ann, hall)
    await ann.call(ChannelUpdate(channel=hall, slow=60))
    await say(bob, made.id)
    assert await refused(bob, MessageSend(channel=made.id, text="x", nonce=uuid4())) == "rate_limited"
    await say(ann, made.id)
    await say(ann, made.id)


async def test_who_is_timed_out_only_reads(ann: Person, bob: Person, club: Community, hall: UUID) -> None:
    made = await thread(bob, hall, text="mine")
    await ann.call(MemberTimeout(space=club.id, user=me(bob), until=datetime.now(UTC) + timedelta(hours=1)))
    for frame in (
        MessageSend(channel=made.id, text="x", nonce=uuid4()),
        ThreadOpen(channel=hall, name="x", nonce=uuid4()),
        ThreadUpdate(thread=made.id, name="x"),
        ThreadDelete(thread=made.id),
    ):
        assert await refused(bob, frame) == "forbidden"
    assert len(await history(bob, made.id)) == 1


async def test_a_thread_is_changed_by_no_op_for_channels(ann: Person, club: Community, hall: UUID) -> None:
    made = await thread(ann, hall)
    for frame in (
        ChannelUpdate(channel=made.id, name="x"),
        ChannelDelete(channel=made.id),
        PermissionSet(channel=made.id, role=club.id, deny=["view"]),
    ):
        assert await refused(ann, frame) == "invalid"
    for wrong in (hall, club.id, uuid4()):
        assert await refused(ann, ThreadUpdate(thread=wrong, name="x")) == "missing"


# Changing


async def test_one_renames_ones_own_and_any_with_manage_threads(
    ann: Person, bob: Person, club: Community, hall: UUID, connect: Connector, server: Server
) -> None:
    made, hers = await thread(bob, hall, "his"), await thread(ann, hall, "hers")
    await watch(ann, hall)
    await watch(bob, made.id)
    after = await bob.call(ThreadUpdate(thread=made.id, name="another"))
    assert after.name == "another"
    assert (await ann.wait_for(ThreadUpdated, SOON)).stream == hall
    told = await bob.wait_for(ThreadUpdated, SOON)
    assert (told.stream, told.thread) == (made.id, after)
    assert (await bob.call(ChannelGet(channel=made.id))).channel.name == "another"
    with pytest.raises(Forbidden, match="manage_threads"):
        await bob.call(ThreadUpdate(thread=hers.id, name="stolen"))
    await club.role("warden", "manage_threads", to=bob)
    assert (await bob.call(ThreadUpdate(thread=hers.id, name="taken over"))).owner == me(ann)
    noted = await server.pool.fetch("SELECT by, target, before, after FROM deed WHERE action = 'thread.update'")
    assert [tuple(row) for row in noted] == [(me(bob), hers.id, '{"name":"hers"}', '{"name":"taken over"}')]


async def test_only_manage_threads_locks_and_writes_in_what_is_locked(
    ann: Person, bob: Person, club: Community, hall: UUID
) -> None:
    made = await thread(bob, hall)
    await say(bob, made.id)
    assert await refused(bob, ThreadUpdate(thread=made.id, locked=True)) == "forbidden"
    await ann.call(ThreadUpdate(thread=made.id, locked=True))
    assert await refused(bob, MessageSend(channel=made.id, text="x", nonce=uuid4())) == "forbidden"
    for frame in (
        ThreadUpdate(thread=made.id, locked=False),
        ThreadUpdate(thread=made.id, name="x"),
        ThreadDelete(thread=made.id),
    ):
        assert await refused(bob, frame) == "forbidden"
    await say(ann, made.id)
    await ann.call(ThreadUpdate(thread=made.id, locked=False))
    await say(bob, made.id)


async def test_nothing_is_stored_behind_a_lock_on_any_node(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start, **UNBOUND)
    ann, bob = await connect("ann", one), await connect("bob", other)
    club = await community(ann, bob)
    made = await thread(ann, await club.room("hall"))
    await watch(bob, made.id)

    async def write() -> list[str]:
        return [await refused(bob, MessageSend(channel=made.id, text="x", nonce=uuid4())) for _ in range(60)]

    writing = asyncio.create_task(write())
    await asyncio.sleep(0.05)
    await ann.call(ThreadUpdate(thread=made.id, locked=True))
    stored = await one.pool.fetchval("SELECT count(*) FROM message WHERE channel = $1", made.id)
    answered = await writing
    assert (
        answered.count("ok")
        == stored
        == await one.pool.fetchval("SELECT count(*) FROM message WHERE channel = $1", made.id)
    )
    assert set(answered[-5:]) == {"forbidden"}


async def test_writing_gets_out_what_was_put_away_unless_it_is_locked(ann: Person, bob: Person, hall: UUID) -> None:
    made = await thread(bob, hall)
    await say(ann, made.id)
    await bob.call(ThreadUpdate(thread=made.id, archived=True))
    assert (await active(ann, hall), await active(ann, hall, archived=True)) == ([], ["thread"])
    await watch(bob, hall)
    await say(ann, made.id, "wait")
    assert not (await bob.wait_for(ThreadUpdated, SOON)).thread.archived
    assert (await active(ann, hall), await active(ann, hall, archived=True)) == (["thread"], [])
    await ann.call(ThreadUpdate(thread=made.id, archived=True, locked=True))
    await say(ann, made.id, "the last word")
    assert (await view(bob, made)).thread.archived


async def test_who_has_written_before_gets_it_out_on_another_node_too(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", one), await connect("bob", other)
    club = await community(ann, bob)
    made = await thread(ann, await club.room("hall"))
    await watch(bob, made.id)
    for _ in range(3):
        await say(bob, made.id)
        await ann.call(ThreadUpdate(thread=made.id, archived=True))
        await say(bob, made.id)
        assert not (await view(ann, made)).thread.archived


async def test_a_thread_in_which_nobody_writes_for_a_week_is_put_away(
    ann: Person, bob: Person, hall: UUID, server: Server
) -> None:
    quiet, busy = await thread(ann, hall, "quiet"), await thread(ann, hall, "busy")
    for one in (quiet, busy):
        await old(server, one)
    await old(server, busy, days=6)
    await watch(bob, hall)
    assert await server.threads.put_away() == 2
    assert await server.threads.put_away() == 0, "it is looked at again when it is time"
    told = await bob.wait_for(ThreadUpdated, SOON)
    assert (told.thread.name, told.thread.archived) == ("quiet", True)
    assert (await active(ann, hall), await active(ann, hall, archived=True)) == (["busy"], ["quiet"])
    await say(bob, quiet.id)
    assert sorted(await active(ann, hall)) == ["busy", "quiet"]


# Listing and following


async def test_the_one_that_moved_last_is_listed_first_page_by_page(ann: Person, bob: Person, hall: UUID) -> None:
    made = [await thread(ann, hall, f"t{number}", text="x") for number in range(5)]
    await say(bob, made[1].id)
    for archived in (False, True):
        found: list[str] = []
        after: str | None = None
        for _ in range(9):
            page = await bob.call(ThreadList(channel=hall, archived=archived, after=after, limit=2))
            found += [one.thread.name for one in page.threads]
            after = page.next
            if after is None:
                break
        assert found == ["t1", "t4", "t3", "t2", "t0"]
        for one in ("t0", "t2", "t3", "t4", "t1"):
            await ann.call(ThreadUpdate(thread=made[int(one[1])].id, archived=True))
    assert await active(bob, hall) == []
    assert len((await bob.call(ThreadList(channel=hall, archived=True, after="nonsense"))).threads) == 5


async def test_a_list_tells_how_far_one_is(ann: Person, bob: Person, hall: UUID) -> None:
    made = await thread(ann, hall, text="one")
    await say(ann, made.id, "two", mentions=[me(bob)])
    seen = await view(bob, made)
    assert (seen.last, seen.read, seen.mentions, seen.followed) == (2, 0, 1, False)
    await bob.call(MessageMarkRead(channel=made.id, seq=2))
    page = await bob.call(ThreadList(channel=hall))
    assert [(one.last, one.read, one.mentions) for one in page.threads] == [(2, 2, 0)]


async def test_who_opens_or_writes_follows_by_itself(
    ann: Person, bob: Person, club: Community, hall: UUID, connect: Connector
) -> None:
    made = await thread(ann, hall)
    assert (await followed(ann, club), await followed(bob, club)) == (["thread"], [])
    await history(bob, made.id)
    assert await followed(bob, club) == [], "reading is not writing"
    await say(bob, made.id)
    assert await followed(bob, club) == ["thread"]
    assert (await view(bob, made)).followed


async def test_a_scheduled_message_follows_too(ann: Person, bob: Person, club: Community, hall: UUID) -> None:
    made = await thread(ann, hall)
    at = datetime.now(UTC) + timedelta(seconds=5.3)
    await bob.call(ScheduledCreate(channel=made.id, text="later", at=at, nonce=uuid4()))

    async def is_followed() -> bool:
        return (await view(bob, made)).followed

    async with asyncio.timeout(15):
        while not await is_followed():
            await asyncio.sleep(0.1)


async def test_who_does_not_want_to_follow_does_not_by_writing(
    ann: Person, bob: Person, club: Community, hall: UUID
) -> None:
    made = await thread(ann, hall)
    await say(bob, made.id)
    for _ in range(2):
        await bob.call(ThreadUnfollow(thread=made.id))
    await say(bob, made.id)
    assert await followed(bob, club) == []
    for _ in range(2):
        await bob.call(ThreadFollow(thread=made.id))
    assert await followed(bob, club) == ["thread"]


async def test_followed_threads_come_page_by_page_without_those_that_one_does_not_see(
    ann: Person, bob: Person, club: Community, hall: UUID
) -> None:
    cellar = await club.room("cellar")
    for number, channel in enumerate((hall, cellar, hall, cellar, hall)):
        await thread(bob, channel, f"t{number}")
    await club.overwrite(cellar, deny=["view"])
    found: list[str] = []
    after: str | None = None
    for _ in range(9):
        page = await bob.call(ThreadFollowed(space=club.id, after=after, limit=2))
        found += [one.thread.name for one in page.threads]
        after = page.next
        if after is None:
            break
    assert found == ["t4", "t2", "t0"]
    assert len((await bob.call(ThreadFollowed(space=club.id, after="nonsense"))).threads) == 3


async def test_who_leaves_the_space_follows_nothing_there(
    ann: Person, bob: Person, club: Community, hall: UUID, server: Server
) -> None:
    made = await thread(ann, hall)
    await say(bob, made.id)
    await bob.call(SpaceLeave(space=club.id))
    assert await server.pool.fetchval("SELECT count(*) FROM follow WHERE account = $1", me(bob)) == 0


async def test_a_deleted_account_follows_nothing(ann: Person, bob: Person, hall: UUID, server: Server) -> None:
    made, refused_ = await thread(bob, hall), await thread(ann, hall)
    await bob.call(ThreadUnfollow(thread=refused_.id))
    assert (await bob.call(AccountExport())).threads == [
        ExportedThread(id=made.id, name="thread", opened=True, followed=True),
        ExportedThread(id=refused_.id, name="thread", opened=False, followed=False),
    ]
    await bob.call(AccountDelete(password=Person.password))

    async def nothing() -> bool:
        return not await server.pool.fetchval("SELECT count(*) FROM follow WHERE account = $1", me(bob))

    await eventually(nothing)


# Ending


async def test_one_deletes_ones_own_in_which_nobody_else_has_written(
    ann: Person, bob: Person, hall: UUID, server: Server
) -> None:
    seq = await say(ann, hall)
    made = await thread(bob, hall, seq=seq, text="mine")
    answer = await say(ann, made.id)
    with pytest.raises(Forbidden, match="manage_threads"):
        await bob.call(ThreadDelete(thread=made.id))
    await ann.call(MessageDelete(channel=made.id, seq=answer))
    await watch(ann, hall)
    await bob.call(ThreadDelete(thread=made.id))
    assert (await ann.wait_for(ThreadDeleted, SOON)).thread == made.id
    assert (await history(ann, hall))[0].thread is None
    assert await refused(ann, MessageSend(channel=made.id, text="x", nonce=uuid4())) == "missing"

    async def gone() -> bool:
        return await left(server, made.id) == 0

    await eventually(gone)
    assert (await thread(bob, hall, "anew", seq=seq)).id != made.id


async def test_any_is_deleted_with_manage_threads(
    ann: Person, bob: Person, club: Community, hall: UUID, server: Server
) -> None:
    made = await thread(ann, hall, text="hers")
    assert await refused(bob, ThreadDelete(thread=made.id)) == "forbidden"
    await club.role("warden", "manage_threads", to=bob)
    await bob.call(ThreadDelete(thread=made.id))
    assert await active(ann, hall) == []
    assert await server.pool.fetchval("SELECT count(*) FROM deed WHERE action = 'thread.delete'") == 1


async def test_a_deleted_channel_takes_its_threads_along(
    ann: Person, bob: Person, club: Community, hall: UUID, server: Server
) -> None:
    made = [await thread(ann, hall, f"t{number}", text="words") for number in range(3)]
    await say(bob, made[0].id)
    await watch(bob, made[0].id)
    await ann.call(ChannelDelete(channel=hall))
    for one in made:
        assert await refused(bob, MessageHistory(channel=one.id)) == "missing"
        assert await refused(bob, MessageSend(channel=one.id, text="x", nonce=uuid4())) == "missing"
    assert await followed(bob, club) == []

    async def gone() -> bool:
        return await left(server, hall, *(one.id for one in made)) == 0

    await eventually(gone)


async def test_a_deleted_space_takes_its_threads_along(
    ann: Person, bob: Person, club: Community, hall: UUID, server: Server
) -> None:
    made = [await thread(bob, hall, f"t{number}", text="words") for number in range(3)]
    await ann.call(SpaceDelete(space=club.id, name="Club"))

    async def gone() -> bool:
        return await left(server, club.id, hall, *(one.id for one in made)) == 0

    await eventually(gone)


async def test_there_is_an_end_to_active_threads(ann: Person, hall: UUID, server: Server) -> None:
    await server.pool.execute(
        """
        WITH new AS (SELECT gen_random_uuid() AS id FROM generate_series(1, 5000)),
             s AS (INSERT INTO stream (id) SELECT id FROM new RETURNING id),
             c AS (INSERT INTO channel (id, kind) SELECT id, 'thread' FROM s RETURNING id)
        INSERT INTO thread (id, parent, due) SELECT id, $1, now() FROM c
        """,
        hall,
    )
    with pytest.raises(Conflict):
        await thread(ann, hall)
