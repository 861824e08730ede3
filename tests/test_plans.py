"""plans: what is asked most reads by indexes, however much there is; and nothing reads a large table as a whole.

What is looked at are the plans by which requests over a socket were answered (tests/plans.py), each asked so often that
PostgreSQL has made up its mind whether to plan anew for each.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from protocol.channel import ChannelList, ChannelWatch
from protocol.draft import DraftSave
from protocol.frame import Request
from protocol.friend import FriendList
from protocol.hashtag import HashtagTop
from protocol.member import MemberList, MemberSearch
from protocol.message import MessageHistory, MessageMarkRead, MessageMentions, MessageSend
from protocol.notification import NotificationCreated, NotificationList, NotificationMarkRead
from protocol.permission import PermissionClear, PermissionSet
from protocol.search import SearchChannels, SearchMessages
from protocol.session import Cursor, SessionOpen, SessionResume
from protocol.space import SpaceCreate, SpaceGet, SpaceJoin
from protocol.user import UserSearch
from server import Config, Server
from tests.chat import me, registered
from tests.conftest import QUICK, Person, Storage
from tests.plans import LARGE, Plan, fill, told

OFTEN = 6  # after five times PostgreSQL may use one plan for all values
# The hottest: what it is, words that only its query has, and the indexes that it reads by (`a|b`: by one of them).
HOTTEST = (
    ("sending: locks", "FROM stream WHERE id = ANY (channels) ORDER BY id FOR NO KEY UPDATE", "stream_pkey"),
    ("sending: storing", "WITH input AS MATERIALIZED", "stream_pkey message_nonce"),
    (
        "what somebody may do where",
        "c.kind = 'direct' AND (c.members <> 2",
        "channel_pkey stream_pkey member_pkey|member_account space_member_pkey|space_member_account",
    ),
    ("messages of a channel", "FROM message m WHERE m.channel = s.id", "stream_pkey message_pkey"),
    ("facts that were missed", "WITH facts AS", "fact_pkey message_pkey stream_pkey"),
    ("which streams have moved", "AS k(id, head, access) LEFT JOIN stream", "stream_pkey"),
    ("streams of an account", "1 FROM member m JOIN stream", "member_account space_member_account stream_pkey"),
    (
        "channels of an account",
        "m.moved_at DESC, c.id DESC",
        "member_account|member_pkey stream_pkey channel_pkey message_pkey mention_pkey",
    ),
    ("what a space consists of", "p.structure, p.rules", "channel_space"),
    (
        "members by name",
        "OFFSET $2 LIMIT $3) found",
        "space_member_name space_member_pkey|space_member_account account_pkey",
    ),
    ("members by how they begin", "m.name >= lower($2)", "space_member_name account_search"),
    ("people by parts of names", "WHERE name_parts(", "account_search account_parts account_pkey"),
    (
        "how far somebody has read",
        "WITH before AS",
        "mark_pkey|mark_account|member_pkey|member_account stream_pkey message_pkey mention_pkey",
    ),
    ("notifications", "AS gone FROM notification n", "notification_pkey|notification_unread"),
    ("how many notifications", "(SELECT kind, space, count(*) AS unread", "notification_unread"),
    ("who has to look at what was said to everyone", "p.summons > m.summons", "space_member_account|space_member_pkey"),
    (
        "what was said to everyone",
        "AND u.number > r.after",
        "space_member_account|space_member_pkey message_pkey|message_summons",
    ),
    (
        "how often somebody was mentioned in a space",
        "JOIN space_member r ON r.space = $2",
        "message_summons mention_pkey",
    ),
    ("common words", "looked AS MATERIALIZED", "search_pkey"),
    ("rare words", "OFFSET 0) s ON s.channel = c.id", "search_words"),
    ("parts of words", "FROM search_word WHERE grams", "search_word_grams"),
)
# What looks at thousands of rows in one go, in the background, and may join them with a whole table.
SWEEPS = ("SELECT count(*), array_agg(id) FILTER (WHERE left_behind) AS channels",)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plans(storage: Storage) -> AsyncIterator[list[Plan]]:
    """The plans of everything that is asked here, and of what goes on in the background meanwhile."""
    name = await storage.databases.lend()
    with tempfile.TemporaryDirectory(prefix="onesocket-") as folder:
        values = {**QUICK, "data": Path(folder), "database_url": storage.url(name), "redis_url": storage.redis_url}
        async with Server(Config(**values)) as server:
            ann, bob = await registered(server, "ann"), await registered(server, "bob")
            async with Person(server.url) as owner, Person(server.url) as member:
                await owner.open(ann)
                await member.open(bob)
                space = (await owner.call(SpaceCreate(name="Large", nonce=uuid4(), open=True))).id
                await member.call(SpaceJoin(space=space))
                people = me(owner), me(member)
        await fill(storage.url(name), space, *people)
        with told() as found, patch("server.tail._EVERY", 0.02), patch("server.summons._EVERY", 0.02):
            async with AsyncExitStack() as stack:
                server = await stack.enter_async_context(Server(Config(**values)))
                owner, member = [await stack.enter_async_context(Person(server.url)) for _ in range(2)]
                await owner.open(ann)
                await member.open(bob)
                await _use(server, owner, member, space, bob.access)
        yield found
    await storage.databases.take_back(name)


async def _use(server: Server, owner: Person, member: Person, space: UUID, token: str) -> None:
    """What people do."""
    page = await member.call(ChannelList(limit=20))
    group = page.channels[0].channel.id
    rooms = [one.channel.id for one in (await member.call(SpaceGet(space=space))).channels]
    heads = {one.channel: one.head for one in (await member.call(ChannelWatch(channels=rooms[:10]))).channels}
    for number in range(OFTEN):
        room = rooms[number]
        some: list[Request[Any]] = [
            *(MessageSend(channel=one, text="the engine wheelhouse", nonce=uuid4()) for one in (room, group)),
            MessageHistory(channel=room),
            MessageHistory(channel=group, before=15),
            *(MessageMarkRead(channel=one, seq=10 + number) for one in (room, group)),
            DraftSave(channel=room, text="well"),
            SpaceGet(space=space),
            MemberList(space=space, offset=500 * (number % 5), limit=50),
            MemberSearch(space=space, text=f"seed{number}"),
            UserSearch(text=f"eed{number}"),
            SearchMessages(text="engine"),
            SearchMessages(text="engine", channels=[room]),
            SearchMessages(text=f"wheel w{number}7777"),
            SearchMessages(text="*eelhou*", order="rank"),
            SearchChannels(text="channel 7"),
            NotificationList(),
            MessageMentions(),
            HashtagTop(space=space),
            NotificationList(unread=True),
            NotificationMarkRead(channel=room),
            FriendList(),
        ]
        await owner.call(MessageSend(channel=room, text="hear", nonce=uuid4(), mention_everyone=True))
        await member.wait_for(NotificationCreated)
        for frame in some:
            await member.call(frame)
        await owner.call(PermissionSet(channel=room, role=space, deny=["attach"]))
        await owner.call(PermissionClear(channel=room, role=space))
        async with Person(server.url) as other:
            known = {me(member): 5000, group: 15, room: heads[room] - 5}
            cursors = [Cursor(stream=stream, seq=seq) for stream, seq in known.items()]
            await other.call(SessionResume(token=token, cursors=cursors))
        async with Person(server.url) as other:
            await other.call(SessionOpen(token=token))


@pytest.mark.parametrize(("what", "words", "indexes"), HOTTEST, ids=[what for what, _, _ in HOTTEST])
def test_the_hottest_queries_read_by_their_indexes(plans: list[Plan], what: str, words: str, indexes: str) -> None:
    found = [plan for plan in plans if words in plan.query]
    assert found, f"nobody has asked for {what} in these words: {words}"
    wanted = [set(names.split("|")) for names in indexes.split()]
    assert [sorted(plan.indexes) for plan in found if not all(names & plan.indexes for names in wanted)] == []


def test_nothing_reads_a_large_table_as_a_whole(plans: list[Plan]) -> None:
    asked = [plan for plan in plans if not plan.query.startswith(SWEEPS)]
    assert len({plan.query for plan in asked}) > 50
    assert {(plan.query, table) for plan in asked for table in plan.whole & LARGE} == set()
