"""automod: messages are looked at before they are stored, by the rules of their space."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from protocol.audit import AuditSpace
from protocol.automod import Automod, AutomodCreate, AutomodDelete, AutomodList, Automods, AutomodUpdate
from protocol.ballot import NewPoll
from protocol.channel import ChannelUpdate
from protocol.client import Client
from protocol.error import Conflict, Forbidden, Invalid, Missing
from protocol.member import MemberChanged, MemberTimeout
from protocol.message import MessageEdit, MessageForward, MessageSend
from protocol.report import ReportGet, ReportList
from protocol.role import RoleGrant
from protocol.scheduled import ScheduledCreate, ScheduledFailed
from protocol.space import SpaceDelete, SpaceJoin
from protocol.thread import ThreadList, ThreadOpen, ThreadUpdate
from server import Server
from server import due as dues
from server.consequence import Consequences
from tests.chat import device, group, history, me, nodes, refused, say
from tests.club import Club, club
from tests.conftest import Connector, Person, Starter
from tests.tail_node import DONE, a_node


async def rule(at: Club, kind: str, *terms: str, **fields: Any) -> Automod:
    frame = AutomodCreate(
        space=at.id, name=f"no {(*terms, kind)[0]}"[:64], nonce=uuid4(), kind=kind, terms=list(terms), **fields
    )
    return await at.owner.call(frame)


async def passes(person: Person, channel: UUID, text: str, **fields: Any) -> bool:
    """Whether a message is stored."""
    return await refused(person, MessageSend(channel=channel, text=text, nonce=uuid4(), **fields)) == "ok"


@pytest.fixture
async def at(ann: Person, bob: Person) -> Club:
    """A space of ann's, with bob in it."""
    return await club(ann, bob)


# What is looked for


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a class of its own", True),
        ("what an ass", False),
        ("ASS!", False),
        ("ás̶s", False),
        ("аss in Cyrillic", False),
        ("a\u200bss", False),
        ("go to hell", True),
        ("go  AWAY, now", False),
        ("going away", True),
    ],
)
async def test_words_are_found_whole_and_by_what_they_look_like(at: Club, bob: Person, text: str, stored: bool) -> None:
    await rule(at, "words", "ass", "go away")
    assert await passes(bob, at.general, text) is stored


@pytest.mark.parametrize(
    ("text", "stored"),
    [("classy", False), ("cl4ssy", True), ("CLÄSS", False), ("as if", True), ("今日は天気です", False)],
)
async def test_parts_are_found_inside_of_words_and_where_there_are_none(
    at: Club, bob: Person, text: str, stored: bool
) -> None:
    await rule(at, "parts", "ass", "天気")
    assert await passes(bob, at.general, text) is stored


@pytest.mark.parametrize(
    ("text", "stored"), [("call 555-0199", False), ("call 555 0199", True), ("FREE   money", False), ("free", True)]
)
async def test_patterns_are_found_anywhere_without_regard_to_case(
    at: Club, bob: Person, text: str, stored: bool
) -> None:
    await rule(at, "patterns", r"\d{3}-\d{4}", r"free\s+money")
    assert await passes(bob, at.general, text) is stored


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("see https://example.org/a", True),
        ("see https://bad.example/a?b", False),
        ("see HTTP://Sub.Bad.Example.", False),
        ("see bad.example", False),
        ("see https://user@bad.example:80/", False),
        ("see https://bаd.example with Cyrillic", True),
        ("see notbad.example", True),
        ("see https://bad。example", False),
    ],
)
async def test_links_to_denied_hosts_are_found(at: Club, bob: Person, text: str, stored: bool) -> None:
    await rule(at, "links", "bad.example")
    assert await passes(bob, at.general, text) is stored


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("no link: file.txt, e.g. this", True),
        ("https://good.example/x", True),
        ("www.good.example", True),
        ("https://docs.good.example", True),
        ("https://good.example.evil.example", False),
        ("https://good.example@evil.example/", False),
        ("http://[::1", False),
    ],
)
async def test_links_to_other_than_allowed_hosts_are_found(at: Club, bob: Person, text: str, stored: bool) -> None:
    await rule(at, "links", "good.example", allow=True)
    assert await passes(bob, at.general, text) is stored


async def test_too_many_mentions_are_found_in_one_message_and_in_several(
    at: Club, ann: Person, bob: Person, connect: Connector
) -> None:
    await rule(at, "mentions", most=1)
    both = [me(ann), me(bob)]
    assert not await passes(bob, at.general, "you two", mentions=both)
    assert await passes(bob, at.general, "you", mentions=[me(ann)])
    await rule(at, "mentions", most=3, seconds=60)
    sent = [await passes(bob, at.general, str(number), mentions=[me(ann)]) for number in range(4)]
    assert sent == [True, True, True, False]
    assert await passes(bob, at.general, "nobody")


async def test_the_same_text_too_often_is_found_in_all_channels(at: Club, ann: Person, bob: Person) -> None:
    await rule(at, "repeats", most=2, seconds=60)
    other = await at.channel()
    assert [await passes(bob, channel, text) for channel, text in ((at.general, "Buy now"), (other, "buy NOW"))] == [
        True,
        True,
    ]
    assert not await passes(bob, other, "b u y now")
    assert await passes(bob, other, "something else")


async def test_too_many_messages_are_found_and_a_retry_is_none(at: Club, bob: Person) -> None:
    await rule(at, "floods", most=3, seconds=60)
    frame = MessageSend(channel=at.general, text="the first", nonce=uuid4())
    first = await bob.call(frame)
    for _ in range(5):
        assert await bob.call(frame) == first
    assert [await passes(bob, at.general, str(number)) for number in range(3)] == [True, True, False]
    assert await bob.call(frame) == first, "what was stored before stays so, whatever is looked for now"


async def test_messages_are_counted_over_all_processes_and_without_redis_by_each(
    start: Starter, connect: Connector
) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=one)
    at = await club(ann, bob)
    await rule(at, "floods", most=4, seconds=60)
    elsewhere = await device(connect, bob, to=other)
    sent = [await passes(who, at.general, "x") for who in (bob, elsewhere, bob, elsewhere, bob, elsewhere)]
    assert sent == [True] * 4 + [False] * 2
    for node in (one, other):
        node.bus.script = _away  # type: ignore[method-assign]
    assert [await passes(bob, at.general, "y") for _ in range(5)] == [True] * 4 + [False]


async def _away(*_: Any) -> None:
    return None


# What follows


async def test_the_author_is_told_the_words_of_the_rule_and_never_what_it_looks_for(at: Club, bob: Person) -> None:
    await rule(at, "words", "heck", message="Mind your language, please.")
    with pytest.raises(Forbidden, match=r"Mind your language, please\.") as told:
        await say(bob, at.general, "what the heck")
    assert "heck" not in str(told.value)
    await rule(at, "parts", "gosh")
    with pytest.raises(Forbidden) as told:
        await say(bob, at.general, "oh gosh")
    assert "gosh" not in str(told.value)
    assert await history(bob, at.general) == []


async def test_what_is_found_comes_into_the_queue_of_reports(at: Club, ann: Person, bob: Person) -> None:
    await rule(at, "words", "heck", report=True)
    await rule(at, "words", "gosh", refuse=False, report=True)
    assert not await passes(bob, at.general, "heck")
    seq = await say(bob, at.general, "gosh")
    found = await reported(ann, at, 2)
    assert [(one.reporter, one.account, one.category, one.text, one.seq) for one in found] == [
        (None, me(bob), "automod", "no heck", None),
        (None, me(bob), "automod", "no gosh", seq),
    ]
    details = [await ann.call(ReportGet(space=at.id, report=one.id)) for one in found]
    assert [one.message and one.message.text for one in details] == ["heck", "gosh"]


async def reported(person: Person, at: Club, count: int) -> list[Any]:
    async with asyncio.timeout(10):
        while len(found := (await person.call(ReportList(space=at.id))).reports) < count:
            await asyncio.sleep(0.01)
    return found


async def test_who_goes_on_is_reported_once_while_that_is_open(at: Club, ann: Person, bob: Person) -> None:
    await rule(at, "words", "heck", report=True)
    for number in range(5):
        assert not await passes(bob, at.general, f"heck {number}")
    await rule(at, "words", "gosh", report=True)
    assert not await passes(bob, at.general, "gosh")
    assert [one.text for one in await reported(ann, at, 2)] == ["no heck", "no gosh"]


async def test_an_author_is_timed_out_by_the_server_which_is_in_the_log(at: Club, ann: Person, bob: Person) -> None:
    await rule(at, "words", "heck", timeout=3600)
    assert not await passes(bob, at.general, "heck")
    changed = await bob.wait_for(MemberChanged, 10)
    assert changed.member.timeout_until is not None
    assert changed.member.timeout_until > datetime.now(UTC) + timedelta(minutes=50)
    with pytest.raises(Forbidden, match="cannot write"):
        await say(bob, at.general, "what?")
    [noted] = (await ann.call(AuditSpace(space=at.id, action="automod.timeout"))).deeds
    assert (noted.by, noted.target, noted.reason) == (None, me(bob), "no heck")
    await ann.call(MemberTimeout(space=at.id, user=me(bob), until=None))
    assert await passes(bob, at.general, "thanks")


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds something is gone before they do anything about it; others look soon."""
    monkeypatch.setattr(Consequences, "soon", lambda *_: None)
    monkeypatch.setattr(dues, "_EVERY", 0.05)


async def left_behind(server: Server) -> list[str]:
    """What was to follow, which is everybody's now."""
    rows = await server.pool.fetch("UPDATE consequence SET due = now() RETURNING id")
    async with asyncio.timeout(10):
        while await server.pool.fetchval("SELECT count(*) FROM consequence"):
            await asyncio.sleep(0.02)
    return [str(row["id"]) for row in rows]


async def test_what_follows_comes_also_when_who_has_found_it_is_killed(
    at: Club, ann: Person, bob: Person, connect: Connector, start: Starter, server: Server, killed: None
) -> None:
    await rule(at, "words", "heck", report=True, timeout=3600)
    await rule(at, "words", "gosh", refuse=False, report=True)
    cid = await connect("cid")
    await cid.call(SpaceJoin(space=at.id))
    seq = await say(cid, at.general, "gosh")
    said = await say(cid, at.general, "fine")
    await cid.call(MessageEdit(channel=at.general, seq=said, text="gosh, no"))
    assert not await passes(bob, at.general, "heck")
    assert await refused(cid, ThreadOpen(channel=at.general, name="heck", nonce=uuid4())) == "forbidden"
    assert (await ann.call(ReportList(space=at.id))).reports == []
    await start()  # two are looking
    assert len(await left_behind(server)) == 4
    found = (await ann.call(ReportList(space=at.id))).reports
    reported = [(one.account, one.text) for one in found]
    assert sorted(reported) == sorted([(me(cid), "no gosh"), (me(bob), "no heck"), (me(cid), "no heck")])
    assert {one.seq for one in found if one.text == "no gosh"} < {seq, said}, "of an author by a rule one at a time"
    timed_out = (await ann.call(AuditSpace(space=at.id, action="automod.timeout"))).deeds
    assert {one.target for one in timed_out} == {me(bob), me(cid)}


async def test_nothing_follows_what_was_let_through_and_never_stored(
    at: Club, ann: Person, bob: Person, server: Server, killed: None
) -> None:
    await rule(at, "words", "gosh", refuse=False, report=True)
    await ann.call(ChannelUpdate(channel=at.general, slow=600))
    await say(bob, at.general, "fine")
    assert not await passes(bob, at.general, "gosh"), "too soon"
    assert len(await left_behind(server)) == 1
    assert (await ann.call(ReportList(space=at.id))).reports == []


@pytest.mark.slow
async def test_of_a_killed_node_everything_follows_once(
    ann: Person, connect: Connector, server: Server, redis_url: str, folder: Path
) -> None:
    await server.pool.execute(DONE)
    people = [await connect(f"p{number}") for number in range(10)]
    at = await club(ann, *people)
    await rule(at, "words", "heck", report=True, timeout=3600)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(a_node(server.config.database_url, redis_url, folder, "dying"))
        clients = [await stack.enter_async_context(Client(url, reconnect=False)) for _ in people]
        for client, person in zip(clients, people, strict=True):
            await client.open(person.tokens_given)
        tries = [refused(client, MessageSend(channel=at.general, text="heck", nonce=uuid4())) for client in clients]
        assert await asyncio.gather(*tries) == ["forbidden"] * 10
    async with asyncio.timeout(40):
        while await server.pool.fetchval("SELECT count(*) FROM consequence"):
            await asyncio.sleep(0.1)
    found = (await ann.call(ReportList(space=at.id))).reports
    assert sorted(one.account for one in found) == sorted(me(one) for one in people)
    timed_out = (await ann.call(AuditSpace(space=at.id, action="automod.timeout"))).deeds
    assert sorted(str(one.target) for one in timed_out) == sorted(str(me(one)) for one in people)


# Where it is looked for


async def test_edited_forwarded_and_scheduled_messages_are_looked_at_too(
    at: Club, ann: Person, bob: Person, server: Server
) -> None:
    await rule(at, "words", "heck")
    seq = await say(bob, at.general, "harmless")
    with pytest.raises(Forbidden):
        await bob.call(MessageEdit(channel=at.general, seq=seq, text="heck"))
    await bob.call(MessageEdit(channel=at.general, seq=seq, text="more harmless"))
    elsewhere = await group(bob)
    source = await say(bob, elsewhere, "heck")
    with pytest.raises(Forbidden):
        await bob.call(MessageForward(channel=at.general, source=elsewhere, seq=source, nonce=uuid4()))
    soon = datetime.now(UTC) + timedelta(hours=1)
    await bob.call(ScheduledCreate(channel=at.general, text="heck", at=soon, nonce=uuid4()))
    await server.pool.execute("UPDATE scheduled SET due = now()")
    assert (await bob.wait_for(ScheduledFailed, 10)).code == "forbidden"
    assert [one.text for one in await history(bob, at.general)] == ["more harmless"]


async def test_threads_are_looked_at_before_there_is_one(at: Club, ann: Person, bob: Person) -> None:
    await rule(at, "words", "heck")
    for name, text in (("heck", "fine"), ("fine", "heck")):
        with pytest.raises(Forbidden):
            await bob.call(ThreadOpen(channel=at.general, name=name, nonce=uuid4(), text=text))
    assert (await bob.call(ThreadList(channel=at.general))).threads == []
    made = await bob.call(ThreadOpen(channel=at.general, name="fine", nonce=uuid4(), text="fine"))
    assert not await passes(bob, made.id, "heck")
    with pytest.raises(Forbidden):
        await bob.call(ThreadUpdate(thread=made.id, name="heck"))


async def test_the_answers_of_a_poll_are_looked_at(at: Club, bob: Person) -> None:
    await rule(at, "words", "heck")
    assert not await passes(bob, at.general, "which?", poll=NewPoll(options=["this", "heck"]))
    assert await passes(bob, at.general, "which?", poll=NewPoll(options=["this", "that"]))


async def test_a_rule_counts_from_its_commit_on_for_all_processes(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start)
    ann, bob = await connect("ann", to=one), await connect("bob", to=other)
    at = await club(ann, bob)
    for _ in range(3):
        assert await passes(bob, at.general, "heck"), "warm: this process knows how bob stands"
    made = await rule(at, "words", "heck")
    assert not await passes(bob, at.general, "heck")
    await ann.call(AutomodUpdate(space=at.id, rule=made.id, terms=["gosh"]))
    assert await passes(bob, at.general, "heck")
    assert not await passes(bob, at.general, "gosh")
    await ann.call(AutomodUpdate(space=at.id, rule=made.id, enabled=False))
    assert await passes(bob, at.general, "gosh")
    await ann.call(AutomodUpdate(space=at.id, rule=made.id, enabled=True))
    assert not await passes(bob, at.general, "gosh")
    await ann.call(AutomodDelete(space=at.id, rule=made.id))
    assert await passes(bob, at.general, "gosh")


async def test_exempt_roles_and_channels_administrators_and_who_makes_rules_are_not_looked_at(
    at: Club, ann: Person, bob: Person, connect: Connector
) -> None:
    free = await at.role()
    category = await at.channel("free", kind="category")
    inside, outside = await at.channel("in", parent=category), await at.channel("out")
    await rule(at, "words", "heck", roles=[free], channels=[category, outside])
    assert [await passes(bob, one, "heck") for one in (at.general, inside, outside)] == [False, True, True]
    assert await passes(ann, at.general, "heck")
    cid, dan, eve = [await connect(name) for name in ("cid", "dan", "eve")]
    for one in (cid, dan, eve):
        await one.call(SpaceJoin(space=at.id))
        assert not await passes(one, at.general, "heck")
    await ann.call(RoleGrant(space=at.id, role=free, user=me(cid)))
    await at.role("manage_automod", to=dan)
    await at.role("administrator", to=eve)
    for one in (cid, dan, eve):
        assert await passes(one, at.general, "heck")


async def test_rules_of_a_space_count_nowhere_else(at: Club, ann: Person, bob: Person) -> None:
    await rule(at, "words", "heck")
    other, some = await club(ann, bob), await group(ann, bob)
    assert await passes(bob, other.general, "heck")
    assert await passes(bob, some, "heck")


# The rules themselves


async def test_rules_are_listed_changed_and_logged_for_who_may_manage_them(at: Club, ann: Person, bob: Person) -> None:
    frame = AutomodCreate(space=at.id, name="one", nonce=uuid4(), kind="words", terms=["heck"])
    made = await ann.call(frame)
    assert await ann.call(frame) == made
    assert (await ann.call(AutomodList(space=at.id))).rules == [made]
    for one in (
        frame,
        AutomodList(space=at.id),
        AutomodUpdate(space=at.id, rule=made.id, name="x"),
        AutomodDelete(space=at.id, rule=made.id),
    ):
        with pytest.raises(Forbidden, match="manage_automod"):
            await bob.call(one)
    await at.role("manage_automod", to=bob)
    changed = await bob.call(AutomodUpdate(space=at.id, rule=made.id, name="two"))
    assert (changed.name, changed.terms) == ("two", ["heck"])
    other = await rule(at, "words", "gosh")
    await bob.call(AutomodDelete(space=at.id, rule=made.id))
    assert (await ann.call(AutomodList(space=at.id))).rules == [other]
    with pytest.raises(Missing):
        await ann.call(AutomodDelete(space=at.id, rule=made.id))
    noted = (await ann.call(AuditSpace(space=at.id, target=made.id))).deeds
    assert [one.action for one in noted] == ["automod.delete", "automod.update", "automod.create"]


async def test_a_rule_of_another_space_is_missing(at: Club, ann: Person, bob: Person) -> None:
    other = await club(ann)
    made = await rule(other, "words", "heck")
    for frame in (AutomodUpdate(space=at.id, rule=made.id, name="x"), AutomodDelete(space=at.id, rule=made.id)):
        with pytest.raises(Missing):
            await ann.call(frame)


async def test_channels_that_one_does_not_see_are_neither_told_nor_lost(at: Club, ann: Person, bob: Person) -> None:
    secret = await at.channel("secret", private=True)
    await at.role("manage_automod", to=bob)
    made = await rule(at, "words", "heck", channels=[secret])
    assert made.channels == [secret]
    [seen] = (await bob.call(AutomodList(space=at.id))).rules
    assert seen.channels == []
    assert (await bob.call(AutomodUpdate(space=at.id, rule=made.id, channels=[at.general]))).channels == [at.general]
    [whole] = (await ann.call(AutomodList(space=at.id))).rules
    assert set(whole.channels) == {at.general, secret}
    with pytest.raises(Missing):
        await bob.call(AutomodUpdate(space=at.id, rule=made.id, channels=[secret]))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": "words"}, "terms"),
        ({"kind": "words", "terms": ["..."]}, "terms"),
        ({"kind": "words", "terms": ["one two three four five"]}, "terms"),
        ({"kind": "parts", "terms": ["a"]}, "terms"),
        ({"kind": "parts", "terms": ["a" * 33]}, "terms"),
        ({"kind": "patterns", "terms": ["("]}, "terms"),
        ({"kind": "patterns", "terms": ["a*"]}, "terms"),
        ({"kind": "patterns", "terms": [r"(a)\1"]}, "terms"),
        ({"kind": "patterns", "terms": ["(?=a)"]}, "terms"),
        ({"kind": "patterns", "terms": ["(.{1,100}){1,10}z"]}, "terms"),
        ({"kind": "patterns", "terms": ["a"] * 21}, "terms"),
        ({"kind": "links", "terms": ["no host"]}, "terms"),
        ({"kind": "links"}, "terms"),
        ({"kind": "words", "terms": ["a"], "allow": True}, "allow"),
        ({"kind": "floods", "terms": ["a"], "most": 1, "seconds": 1}, "terms"),
        ({"kind": "floods", "most": 1}, "most"),
        ({"kind": "repeats", "seconds": 1}, "most"),
        ({"kind": "words", "terms": ["a"], "refuse": False}, "refuse"),
    ],
)
async def test_a_rule_that_cannot_be_followed_is_refused(
    at: Club, ann: Person, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as told:
        await ann.call(AutomodCreate(space=at.id, name="x", nonce=uuid4(), **fields))
    assert told.value.field == field


async def test_a_space_has_room_for_fifty_rules_and_a_hundred_patterns(at: Club, ann: Person) -> None:
    for number in range(5):
        await rule(at, "patterns", *(f"x{number}y{one}" for one in range(20)))
    with pytest.raises(Conflict, match="patterns"):
        await rule(at, "patterns", "one more")
    await asyncio.gather(*(rule(at, "words", "heck") for _ in range(25)))
    await asyncio.gather(*(rule(at, "words", *(f"word{one}" for one in range(1000))) for _ in range(20)))
    with pytest.raises(Conflict, match="50 rules"):
        await rule(at, "words", "heck")
    page, paged = Automods(rules=[], next=None), []
    while not paged or page.next is not None:
        page = await ann.call(AutomodList(space=at.id, after=page.next))
        assert len(msgspec.json.encode(page)) < 256 * 1024
        paged += page.rules
    assert len({one.id for one in paged}) == len(paged) == 50


async def test_a_space_that_is_deleted_takes_its_rules_along(at: Club, ann: Person, server: Server) -> None:
    await rule(at, "words", "heck")
    await ann.call(SpaceDelete(space=at.id, name="Club"))
    async with asyncio.timeout(10):
        while await server.pool.fetchval("SELECT EXISTS (SELECT FROM automod)"):
            await asyncio.sleep(0.01)
