"""report: telling moderators of messages and people, and what they do about it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from protocol.account import AccountDelete, AccountExport
from protocol.audit import AuditSpace
from protocol.channel import ChannelDelete
from protocol.error import Conflict, Forbidden, Invalid, Missing
from protocol.message import MessageDelete, MessageEdit, MessageGet
from protocol.report import (
    Report,
    ReportCreate,
    ReportDetail,
    ReportGet,
    ReportList,
    ReportResolve,
    Reports,
)
from protocol.role import RoleRevoke
from protocol.space import SpaceGet
from protocol.user import UserBlock
from server import Server
from storage import account
from storage import report as rows
from tests.chat import Phone, direct, group, me, refused, say
from tests.club import Club, club
from tests.conftest import Connector, Person


async def queue(person: Person, space: UUID, **fields: Any) -> list[Report]:
    return (await person.call(ReportList(space=space, **fields))).reports


async def detail(person: Person, space: UUID, report: UUID) -> ReportDetail:
    return await person.call(ReportGet(space=space, report=report))


async def tell(person: Person, channel: UUID, seq: int, text: str = "look at this") -> None:
    await person.call(ReportCreate(channel=channel, seq=seq, category="abuse", text=text))


@pytest.fixture
async def cid(connect: Connector) -> Person:
    return await connect("cid")


@pytest.fixture
async def at(ann: Person, bob: Person, cid: Person) -> Club:
    """A space of ann's, with bob and cid in it."""
    return await club(ann, bob, cid)


async def test_a_report_of_a_message_waits_in_the_queue_of_its_space(
    at: Club, ann: Person, bob: Person, cid: Person
) -> None:
    seq = await say(bob, at.general, "something bad")
    await tell(cid, at.general, seq)
    [report] = await queue(ann, at.id)
    assert (report.reporter, report.account) == (me(cid), me(bob))
    assert (report.channel, report.seq, report.category, report.text) == (at.general, seq, "abuse", "look at this")
    assert (report.outcome, report.closed_by, report.closed_at) == (None, None, None)


async def test_a_report_keeps_the_words_as_they_were_when_they_are_edited_or_taken_back(
    at: Club, ann: Person, bob: Person, cid: Person
) -> None:
    edited, deleted = await say(bob, at.general, "bad"), await say(bob, at.general, "worse")
    for seq in (edited, deleted):
        await tell(cid, at.general, seq)
    await bob.call(MessageEdit(channel=at.general, seq=edited, text="good"))
    await bob.call(MessageDelete(channel=at.general, seq=deleted))
    found = [await detail(ann, at.id, one.id) for one in await queue(ann, at.id)]
    assert [one.message and one.message.text for one in found] == ["bad", "worse"]
    assert found[0].person is not None
    assert found[0].person.username == "bob"


async def test_a_report_of_a_person_in_a_space_waits_there(at: Club, ann: Person, bob: Person, cid: Person) -> None:
    await cid.call(ReportCreate(user=me(bob), space=at.id, category="impersonation"))
    [report] = await queue(ann, at.id)
    assert (report.account, report.channel, report.seq) == (me(bob), None, None)
    found = await detail(ann, at.id, report.id)
    assert (found.message, found.person and found.person.id) == (None, me(bob))


async def test_the_same_report_again_is_the_same_report(at: Club, ann: Person, bob: Person, cid: Person) -> None:
    seq = await say(bob, at.general)
    for _ in range(2):
        await tell(cid, at.general, seq)
        await cid.call(ReportCreate(user=me(bob), space=at.id, category="spam"))
    assert len(await queue(ann, at.id)) == 2
    await tell(ann, at.general, seq)
    assert [one.reporter for one in await queue(ann, at.id) if one.seq] == [me(cid), me(ann)]


async def test_a_person_can_be_reported_again_once_that_was_closed_a_message_cannot(
    at: Club, ann: Person, bob: Person, cid: Person
) -> None:
    seq = await say(bob, at.general)
    for _ in range(2):
        await tell(cid, at.general, seq)
        await cid.call(ReportCreate(user=me(bob), space=at.id, category="spam"))
        for one in await queue(ann, at.id):
            await ann.call(ReportResolve(space=at.id, report=one.id, outcome="dismissed"))
    assert sorted(one.seq or 0 for one in await queue(ann, at.id, open=False)) == [0, 0, seq]


async def test_only_what_one_sees_can_be_reported(at: Club, ann: Person, bob: Person, cid: Person) -> None:
    secret = await at.channel("secret", private=True)
    seq = await say(ann, secret)
    for channel, number in ((secret, seq), (at.general, 99), (await group(ann), 1)):
        with pytest.raises(Missing):
            await tell(bob, channel, number)
    other = await club(ann)
    with pytest.raises(Missing):
        await bob.call(ReportCreate(user=me(ann), space=other.id, category="spam"))
    with pytest.raises(Missing):
        await ann.call(ReportCreate(user=me(bob), space=other.id, category="spam"))


async def test_who_blocks_one_can_be_reported_where_both_are(at: Club, ann: Person, bob: Person, connect: Any) -> None:
    dan = await connect("dan")
    await bob.call(UserBlock(user=me(ann)))
    await dan.call(UserBlock(user=me(ann)))
    await ann.call(ReportCreate(user=me(bob), space=at.id, category="abuse"))
    await ann.call(ReportCreate(user=me(bob), category="abuse"))
    with pytest.raises(Missing):
        await ann.call(ReportCreate(user=me(dan), category="abuse"))


async def test_a_report_says_either_which_message_or_who(at: Club, ann: Person, bob: Person) -> None:
    seq = await say(ann, at.general)
    for fields in (
        {},
        {"channel": at.general},
        {"channel": at.general, "seq": seq, "user": me(ann)},
        {"channel": at.general, "seq": seq, "space": at.id},
        {"space": at.id},
    ):
        with pytest.raises(Invalid):
            await bob.call(ReportCreate(category="spam", **fields))
    assert await refused(bob, ReportCreate(category="spam", seq=seq)) == "missing"
    with pytest.raises(Invalid, match="your own"):
        await ann.call(ReportCreate(category="spam", channel=at.general, seq=seq))
    with pytest.raises(Missing):
        await ann.call(ReportCreate(category="spam", user=me(ann), space=at.id))


async def test_reports_of_direct_channels_groups_and_people_as_such_are_in_no_queue_of_a_space(
    at: Club, ann: Person, bob: Person, cid: Person, server: Server
) -> None:
    pair, some = await direct(bob, cid), await group(bob, cid)
    for channel in (pair, some):
        await tell(cid, channel, await say(bob, channel, "psst"))
    await cid.call(ReportCreate(user=me(bob), category="spam"))
    assert await queue(ann, at.id) == []
    kept = await server.pool.fetch("SELECT space, channel FROM report ORDER BY id")
    assert [tuple(row) for row in kept] == [(None, pair), (None, some), (None, None)]


@pytest.mark.parametrize("role", ["owner", "admin", "moderator"])
async def test_they_wait_in_the_queue_of_the_server_for_who_moderates_it(
    at: Club, ann: Person, bob: Person, cid: Person, server: Server, role: str
) -> None:
    pair = await direct(bob, cid)
    seq = await say(bob, pair, "psst")
    await say(bob, pair, "and this is between us")
    await tell(cid, pair, seq)
    await cid.call(ReportCreate(user=me(bob), category="spam"))
    await tell(cid, at.general, await say(bob, at.general, "of the space"))
    await account.set_role(server.pool, me(ann), role)
    queue_ = await ann.call(ReportList())
    assert [(one.space, one.channel, one.seq) for one in queue_.reports] == [(None, pair, seq), (None, None, None)]
    assert queue_.open == 2
    of_words, of_person = queue_.reports
    found = await ann.call(ReportGet(report=of_words.id))
    assert found.message is not None
    assert (found.message.text, found.report.text) == ("psst", "look at this")
    assert await refused(ann, MessageGet(channel=pair, seq=seq)) == "missing", "that is all that they see"
    closed = await ann.call(ReportResolve(report=of_words.id, outcome="acted", note="spoke to him"))
    assert (closed.outcome, closed.closed_by) == ("acted", me(ann))
    assert await ann.call(ReportResolve(report=of_words.id, outcome="acted")) == closed
    with pytest.raises(Conflict):
        await ann.call(ReportResolve(report=of_words.id, outcome="dismissed"))
    assert [one.id for one in (await ann.call(ReportList())).reports] == [of_person.id]
    assert [one.id for one in (await ann.call(ReportList(open=False))).reports] == [of_words.id]


async def test_only_who_moderates_the_server_sees_its_queue_and_nobody_what_is_said_of_themselves(
    at: Club, ann: Person, bob: Person, cid: Person, server: Server
) -> None:
    await cid.call(ReportCreate(user=me(bob), category="spam"))
    await tell(cid, at.general, await say(bob, at.general))
    of_server = await server.pool.fetchval("SELECT id FROM report WHERE space IS NULL")
    [of_space] = await queue(ann, at.id)
    for one in (ReportList(), ReportGet(report=of_server), ReportResolve(report=of_server, outcome="acted")):
        assert await refused(ann, one) == ("forbidden" if isinstance(one, ReportList) else "missing")
    assert await refused(ann, ReportGet(space=at.id, report=of_server)) == "missing"
    await account.set_role(server.pool, me(ann), "moderator")
    assert await refused(ann, ReportGet(report=of_space.id)) == "missing", "spaces moderate themselves"
    await account.set_role(server.pool, me(bob), "moderator")
    assert (await bob.call(ReportList())).reports == []
    assert await refused(bob, ReportGet(report=of_server)) == "missing"
    await account.set_role(server.pool, me(ann), "member")
    assert await refused(ann, ReportGet(report=of_server)) == "missing"


async def test_the_queue_is_listed_oldest_first_page_by_page_open_or_closed(
    at: Club, ann: Person, bob: Person, cid: Person
) -> None:
    seqs = [await say(bob, at.general, str(number)) for number in range(5)]
    for seq in seqs:
        await tell(cid, at.general, seq)
    page, paged = Reports(reports=[], open=0, next=None), []
    while not paged or page.next is not None:
        page = await ann.call(ReportList(space=at.id, limit=2, after=page.next))
        assert page.open == 5
        paged += page.reports
    assert [one.seq for one in paged] == seqs
    await ann.call(ReportResolve(space=at.id, report=paged[1].id, outcome="acted"))
    assert [one.seq for one in await queue(ann, at.id)] == [seqs[0], *seqs[2:]]
    closed = await ann.call(ReportList(space=at.id, open=False))
    assert ([one.seq for one in closed.reports], closed.open) == ([seqs[1]], 4)


async def test_only_who_may_manage_reports_sees_them(at: Club, ann: Person, bob: Person, cid: Person) -> None:
    await tell(cid, at.general, await say(ann, at.general))
    role = await at.role("manage_reports", to=bob)
    [report] = await queue(bob, at.id)
    await ann.call(RoleRevoke(space=at.id, role=role, user=me(bob)))
    for frame in (
        ReportList(space=at.id),
        ReportGet(space=at.id, report=report.id),
        ReportResolve(space=at.id, report=report.id, outcome="dismissed"),
    ):
        with pytest.raises(Forbidden, match="manage_reports"):
            await bob.call(frame)


async def test_a_report_of_one_space_is_not_found_in_another(at: Club, ann: Person, bob: Person, cid: Person) -> None:
    await tell(cid, at.general, await say(bob, at.general))
    [report] = await queue(ann, at.id)
    other = await club(ann)
    with pytest.raises(Missing):
        await detail(ann, other.id, report.id)


async def test_who_is_reported_sees_no_report_of_themselves_whatever_they_may_do(
    at: Club, ann: Person, bob: Person, cid: Person
) -> None:
    await at.role("administrator", to=bob)
    await tell(cid, at.general, await say(bob, at.general))
    assert (await bob.call(ReportList(space=at.id))).open == 0
    assert await queue(bob, at.id) == []
    [report] = await queue(ann, at.id)
    for frame in (
        ReportGet(space=at.id, report=report.id),
        ReportResolve(space=at.id, report=report.id, outcome="dismissed"),
    ):
        with pytest.raises(Missing):
            await bob.call(frame)


async def test_reports_of_channels_that_a_moderator_does_not_see_are_hidden_from_them_also_later(
    at: Club, ann: Person, bob: Person, cid: Person
) -> None:
    await at.role("manage_reports", to=bob)
    secret = await at.channel("secret", private=True)
    await at.role("administrator", to=cid)
    await tell(cid, secret, await say(ann, secret))
    assert [one.account for one in await queue(cid, at.id)] == [me(ann)]
    assert (await bob.call(ReportList(space=at.id))).open == 0
    assert await queue(bob, at.id) == []
    await ann.call(ChannelDelete(channel=secret))
    assert await queue(bob, at.id) == []
    assert len(await queue(cid, at.id)) == 1


async def test_closing_a_report_is_once_and_in_the_log_without_who_reported(
    at: Club, ann: Person, bob: Person, cid: Person
) -> None:
    await at.role("manage_reports", "see_audit", to=cid)
    seq = await say(bob, at.general)
    await tell(cid, at.general, seq)
    [report] = await queue(ann, at.id)
    close = ReportResolve(space=at.id, report=report.id, outcome="acted", note="spoke to them")
    closed = await ann.call(close)
    assert (closed.outcome, closed.note, closed.closed_by) == ("acted", "spoke to them", me(ann))
    assert await cid.call(close) == closed
    with pytest.raises(Conflict):
        await cid.call(ReportResolve(space=at.id, report=report.id, outcome="dismissed"))
    [noted] = (await ann.call(AuditSpace(space=at.id, action="report.resolve"))).deeds
    assert (noted.by, noted.target, noted.reason) == (me(ann), me(bob), "spoke to them")
    assert [(one.before, one.after) for one in noted.differences if one.name == "outcome"] == [("null", '"acted"')]
    assert str(me(cid)) not in str(noted)


async def test_moderators_are_told_of_new_reports_and_nobody_else(
    at: Club, ann: Person, bob: Person, cid: Person, server: Server
) -> None:
    await at.role("manage_reports", to=bob)
    moderator, reported, other = [await Phone.open(server, one.tokens_given.access) for one in (bob, ann, cid)]
    await tell(cid, at.general, await say(ann, at.general))
    await moderator.until(lambda: counts(moderator) == [1])
    [report] = await queue(bob, at.id)
    await bob.call(ReportResolve(space=at.id, report=report.id, outcome="dismissed"))
    await moderator.until(lambda: counts(moderator) == [1, 0])
    for phone in (reported, other):
        await phone.call(ReportCreate(user=me(bob), category="spam") if phone is other else SpaceGet(space=at.id))
        assert counts(phone) == [], "who is reported, and who may not, is told nothing"


async def test_moderators_are_not_told_of_reports_in_channels_that_they_do_not_see(
    at: Club, ann: Person, bob: Person, cid: Person, server: Server
) -> None:
    await at.role("manage_reports", to=bob)
    await at.role("administrator", to=cid)
    secret = await at.channel("secret", private=True)
    moderator, all_seeing = [await Phone.open(server, one.tokens_given.access) for one in (bob, cid)]
    await tell(cid, secret, await say(ann, secret))
    await all_seeing.until(lambda: counts(all_seeing) == [1])
    await tell(cid, at.general, await say(ann, at.general))
    await all_seeing.until(lambda: counts(all_seeing)[-1] == 2)
    await moderator.until(lambda: bool(counts(moderator)))
    assert counts(moderator) == [1]


def counts(phone: Phone) -> list[int]:
    """How many reports somebody was told are open, each time."""
    return [one["open"] for one in phone.events if one["ev"] == "report.changed"]


async def test_what_was_closed_a_year_ago_is_forgotten(
    at: Club, ann: Person, bob: Person, cid: Person, server: Server
) -> None:
    for number in range(2):
        await tell(cid, at.general, await say(bob, at.general, str(number)))
    [first, second] = await queue(ann, at.id)
    await ann.call(ReportResolve(space=at.id, report=first.id, outcome="dismissed"))
    await server.pool.execute(
        "UPDATE report SET at = at - interval '2 years', closed_at = closed_at - interval '1 year'"
    )
    await rows.prune(server.pool, 364)
    assert [one.id for one in await queue(ann, at.id)] == [second.id]
    assert await queue(ann, at.id, open=False) == []


async def test_an_account_takes_its_reports_along_and_leaves_none_of_its_words(
    at: Club, ann: Person, bob: Person, cid: Person, server: Server
) -> None:
    await tell(cid, at.general, await say(bob, at.general, "bobs words"), "cids words")
    await ann.call(ReportCreate(user=me(bob), space=at.id, category="spam", text="anns words"))
    [mine] = (await cid.call(AccountExport())).reports
    assert (mine.account, mine.channel, mine.category, mine.text) == (me(bob), at.general, "abuse", "cids words")
    [first, _] = await queue(ann, at.id)
    await cid.call(AccountDelete(password=Person.password))
    await bob.call(AccountDelete(password=Person.password))
    await until_erased(server)
    found = await detail(ann, at.id, first.id)
    assert (found.report.reporter, found.report.text, found.message, found.person) == (None, "", None, None)
    assert [one.text for one in await queue(ann, at.id)] == ["", "anns words"]


async def until_erased(server: Server) -> None:
    async with asyncio.timeout(10):
        while await server.pool.fetchval("SELECT EXISTS (SELECT FROM erasure)"):
            await asyncio.sleep(0.02)
