"""poll: messages with a choice of answers, what is chosen, what is told of it, and how they end."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

import server.due
from protocol.account import AccountDelete, AccountExport
from protocol.ballot import NewPoll, Poll
from protocol.channel import ChannelDelete, ChannelLeave, ChannelRemoveMember
from protocol.error import Conflict, Forbidden, Invalid, Missing
from protocol.frame import Request
from protocol.message import (
    MessageChanged,
    MessageCreated,
    MessageDelete,
    MessageEdit,
    MessageForward,
    MessageGet,
    MessagePin,
    MessageSend,
)
from protocol.poll import (
    PollChosen,
    PollClose,
    PollClosed,
    PollGet,
    PollVote,
    PollVoted,
    PollVoters,
    Vote,
)
from protocol.user import UserBlock
from server import Server
from tests.chat import Phone, device, direct, group, history, me, nodes, refused, say
from tests.conftest import Connector, Person, Starter

SOON = 4.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not wait a minute: they say that it is time, and every process looks often."""
    monkeypatch.setattr(server.due, "_EVERY", 0.05)


def ahead(seconds: float = 3600) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def asked(*options: str, **fields: Any) -> NewPoll:
    return NewPoll(options=list(options or ("tea", "coffee", "water")), **fields)


async def ask(person: Person, channel: UUID, **fields: Any) -> int:
    return await say(person, channel, "what will it be?", poll=asked(**fields))


async def vote(person: Person, channel: UUID, seq: int, *options: int) -> MessageChanged:
    return await person.call(PollVote(channel=channel, seq=seq, options=list(options)))


async def poll(person: Person, channel: UUID, seq: int) -> Poll:
    """As it stands with its message."""
    found = (await person.call(MessageGet(channel=channel, seq=seq))).poll
    assert found is not None
    return found


async def counts(person: Person, channel: UUID, seq: int) -> list[int]:
    found = await poll(person, channel, seq)
    return [*(one.count for one in found.options), found.voters]


async def chosen(person: Person, channel: UUID, seq: int) -> list[int]:
    return (await person.call(PollGet(channel=channel, seq=seq))).chosen


async def come(server: Server, channel: UUID) -> None:
    """Their time has come."""
    await server.pool.execute("UPDATE due SET at = now() WHERE kind = 'poll' AND stream = $1", channel)


async def test_a_message_with_a_poll_is_told_with_it(ann: Person, bob: Person) -> None:
    channel, closes_at = await group(ann, bob), ahead()
    seq = await ask(ann, channel, multiple=True, closes_at=closes_at)
    told = await bob.wait_for(MessageCreated, SOON)
    assert told.message.poll is not None
    assert [(one.text, one.count) for one in told.message.poll.options] == [("tea", 0), ("coffee", 0), ("water", 0)]
    assert (told.message.poll.multiple, told.message.poll.anonymous, told.message.poll.voters) == (True, False, 0)
    assert (told.message.poll.closes_at, told.message.poll.closed_at) == (closes_at, None)
    assert (await history(bob, channel))[-1] == told.message
    assert await bob.call(MessageGet(channel=channel, seq=seq)) == told.message


@pytest.mark.parametrize(
    "fields",
    [
        {"options": ["one"]},
        {"options": [str(number) for number in range(21)]},
        {"options": ["tea", ""]},
        {"options": ["tea", "a\nb"]},
        {"options": ["tea", "x" * 81]},
        {"options": ["tea", "tea"]},
        {"options": ["tea", "coffee"], "closes_at": ahead(50)},
        {"options": ["tea", "coffee"], "closes_at": ahead(61 * 86400)},
    ],
)
async def test_what_is_no_poll_is_refused(ann: Person, fields: dict[str, Any]) -> None:
    channel = await group(ann)
    try:
        frame = MessageSend(channel=channel, text="?", nonce=uuid4(), poll=NewPoll(**fields))
    except ValueError:  # what the client knows itself
        data = {"op": "message.send", "id": 1, "channel": channel, "text": "?", "nonce": uuid4(), "poll": fields}
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(msgspec.json.encode(data), type=MessageSend)
        return
    assert await refused(ann, frame) == "invalid"
    assert await history(ann, channel) == []


async def test_the_same_nonce_is_the_same_poll_also_when_it_is_too_late_for_its_end(
    server: Server, ann: Person
) -> None:
    channel, nonce = await group(ann), uuid4()
    frame = MessageSend(channel=channel, text="?", nonce=nonce, poll=asked(closes_at=ahead(61)))
    first = await ann.call(frame)
    assert await ann.call(frame) == first
    late = msgspec.structs.replace(frame, poll=asked(closes_at=ahead(-1)))
    assert await ann.call(late) == first
    with pytest.raises(Invalid) as refused_:
        await ann.call(msgspec.structs.replace(late, nonce=uuid4()))
    assert refused_.value.field == "poll.closes_at"
    assert len(await history(ann, channel)) == 1
    assert await server.pool.fetchval("SELECT count(*) FROM due") == 1


async def test_votes_are_counted_told_and_changed(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await ask(ann, channel)
    for person, options, now in (
        (bob, [1], [0, 1, 0, 1]),
        (ann, [1], [0, 2, 0, 2]),
        (bob, [0], [1, 1, 0, 2]),
        (ann, [], [1, 0, 0, 1]),
    ):
        changed = await vote(person, channel, seq, *options)
        told = await bob.wait_for(PollVoted, SOON)
        assert (told.stream, told.seq, told.message) == (channel, changed.seq, seq)
        assert (told.user, told.options) == (me(person), options)
        assert [*told.counts, told.voters] == now == await counts(bob, channel, seq)
        assert await chosen(person, channel, seq) == options
    assert await counts(ann, channel, seq) == [1, 0, 0, 1]


async def test_the_same_again_changes_nothing(ann: Person) -> None:
    channel = await group(ann)
    seq = await ask(ann, channel, multiple=True)
    assert await vote(ann, channel, seq) == MessageChanged(seq=0)
    assert (await vote(ann, channel, seq, 2, 0, 2)).seq == 2
    assert await vote(ann, channel, seq, 0, 2) == MessageChanged(seq=0)
    assert await counts(ann, channel, seq) == [1, 0, 1, 1]


async def test_one_option_of_those_that_there_are(ann: Person) -> None:
    channel = await group(ann)
    single, multiple = await ask(ann, channel), await ask(ann, channel, multiple=True)
    for seq, options in ((single, [0, 1]), (single, [3]), (multiple, [0, 3])):
        with pytest.raises(Invalid) as refused_:
            await vote(ann, channel, seq, *options)
        assert refused_.value.field == "options"
    assert await counts(ann, channel, single) == await counts(ann, channel, multiple) == [0, 0, 0, 0]
    await vote(ann, channel, multiple, 0, 1, 2)
    assert await counts(ann, channel, multiple) == [1, 1, 1, 1]


async def test_what_is_no_poll_takes_no_vote(ann: Person) -> None:
    channel = await group(ann)
    seq = await say(ann, channel)
    frames: list[Request[Any]] = [kind(channel=channel, seq=seq) for kind in (PollClose, PollGet, PollVoters)]
    for frame in (*frames, PollVote(channel=channel, seq=seq, options=[0])):
        with pytest.raises(Missing):
            await ann.call(frame)


async def test_ones_own_vote_is_told_to_ones_own_devices_only(ann: Person, bob: Person, connect: Connector) -> None:
    second = await device(connect, ann)
    channel = await group(ann, bob)
    seq = await ask(bob, channel, anonymous=True)
    await vote(ann, channel, seq, 1)
    told = await second.wait_for(PollChosen, SOON)
    assert (told.stream, told.channel, told.message, told.options) == (me(ann), channel, seq, [1])
    assert await chosen(second, channel, seq) == [1]
    assert await chosen(bob, channel, seq) == []
    await vote(second, channel, seq)
    assert [(await ann.wait_for(PollChosen, SOON)).options for _ in range(2)] == [[1], []]


async def test_an_anonymous_poll_tells_nobody_who_has_chosen_what(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await ask(ann, channel, anonymous=True)
    heard = await Phone.open(server, ann.tokens_given.access)
    await vote(bob, channel, seq, 1)
    told = await ann.wait_for(PollVoted, SOON)
    assert (told.user, told.options, told.counts, told.voters) == (None, None, [0, 1, 0], 1)
    for person in (ann, bob):
        with pytest.raises(Forbidden):
            await person.call(PollVoters(channel=channel, seq=seq))
    await heard.heard(channel, told.seq)
    assert not [data for data in heard.messages if b"poll.voted" in data and str(me(bob)).encode() in data]
    kept = await server.pool.fetchval("SELECT data FROM fact WHERE kind = 'poll.voted'")
    assert str(me(bob)) not in kept
    heard.abort()


async def test_who_has_chosen_what_is_told_page_by_page(ann: Person, bob: Person, connect: Connector) -> None:
    cid = await connect("cid")
    people = {me(one): one for one in (ann, bob, cid)}
    channel = await group(ann, bob, cid)
    seq = await ask(ann, channel, multiple=True)
    other = await ask(ann, channel)
    await vote(cid, channel, other, 0)
    for number, one in enumerate(people.values()):
        await vote(one, channel, seq, number, 2)
    found: list[Vote] = []
    after = None
    while True:
        page = await bob.call(PollVoters(channel=channel, seq=seq, after=after, limit=2))
        assert len(page.votes) <= 2
        found += page.votes
        if (after := page.next) is None:
            break
    assert {one.user: one.options for one in found} == {me(ann): [0, 2], me(bob): [1, 2], me(cid): [2]}
    assert len(found) == 3


async def test_its_author_closes_it_and_nobody_votes_any_more(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(bob, ann)
    seq = await ask(bob, channel, closes_at=ahead())
    await vote(ann, channel, seq, 1)
    with pytest.raises(Forbidden):
        await ann.call(PollClose(channel=channel, seq=seq))
    changed = await bob.call(PollClose(channel=channel, seq=seq))
    told = await ann.wait_for(PollClosed, SOON)
    assert (told.seq, told.message, told.counts, told.voters, told.by) == (changed.seq, seq, [0, 1, 0], 1, me(bob))
    assert (await poll(ann, channel, seq)).closed_at == told.at
    for options in ([0], []):
        with pytest.raises(Conflict):
            await vote(ann, channel, seq, *options)
    assert await bob.call(PollClose(channel=channel, seq=seq)) == MessageChanged(seq=0)
    assert await server.pool.fetchval("SELECT count(*) FROM due") == 0, "it is not closed a second time"


async def test_it_closes_at_its_time_once(server: Server, start: Starter, ann: Person, bob: Person) -> None:
    await start()
    channel = await group(ann, bob)
    seqs = [await ask(ann, channel, closes_at=ahead()) for _ in range(10)]
    open_ = await ask(ann, channel)
    await vote(bob, channel, seqs[0], 2)
    await come(server, channel)
    told = [await bob.wait_for(PollClosed, SOON) for _ in seqs]
    assert sorted(one.message for one in told) == seqs
    assert {one.by for one in told} == {None}
    first = next(one for one in told if one.message == seqs[0])
    assert ([*first.counts, first.voters]) == [0, 0, 1, 1]
    for seq in seqs:
        assert (await poll(bob, channel, seq)).closed_at is not None
    assert (await poll(bob, channel, open_)).closed_at is None
    assert await server.pool.fetchval("SELECT count(*) FROM due") == 0
    assert await server.pool.fetchval("SELECT count(*) FROM fact WHERE kind = 'poll.closed'") == len(seqs)


async def test_nobody_votes_when_its_time_is_over_though_it_was_not_closed_yet(server: Server, ann: Person) -> None:
    channel = await group(ann)
    seq = await ask(ann, channel, closes_at=ahead())
    await server.pool.execute("DELETE FROM due")
    await server.pool.execute("UPDATE message SET poll = jsonb_set(poll::jsonb, '{closes_at}', to_jsonb(now()))::text")
    with pytest.raises(Conflict):
        await vote(ann, channel, seq, 0)


async def test_what_was_taken_back_is_not_closed(server: Server, ann: Person) -> None:
    channel = await group(ann)
    seq = await ask(ann, channel, closes_at=ahead())
    await vote(ann, channel, seq, 1)
    await ann.call(MessageDelete(channel=channel, seq=seq))
    [message] = await history(ann, channel)
    assert (message.poll, message.text) == (None, "")
    assert await server.pool.fetchval("SELECT count(*) FROM vote") == 0
    await come(server, channel)
    async with asyncio.timeout(SOON):
        while await server.pool.fetchval("SELECT count(*) FROM due"):
            await asyncio.sleep(0.02)
    assert await server.pool.fetchval("SELECT count(*) FROM fact WHERE kind = 'poll.closed'") == 0


async def test_a_process_that_dies_at_it_leaves_it_to_another(
    server: Server, start: Starter, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = await group(ann)
    seq = await ask(ann, channel, closes_at=ahead())
    dead = asyncio.Event()

    async def die(*_: object) -> None:
        dead.set()
        await asyncio.Event().wait()

    monkeypatch.setitem(server.dues._kinds, "poll", die)
    await come(server, channel)
    await asyncio.wait_for(dead.wait(), SOON)
    assert (await poll(ann, channel, seq)).closed_at is None
    await start()  # another process, and the time is over for which the first one had taken it
    async with asyncio.timeout(SOON):
        while (await poll(ann, channel, seq)).closed_at is None:
            await come(server, channel)
            await asyncio.sleep(0.05)
    assert (await ann.wait_for(PollClosed, SOON)).message == seq


async def test_many_who_vote_at_once_are_all_counted(start: Starter, connect: Connector) -> None:
    one, other = await nodes(start)
    people = [await connect(f"p{number}", to=(one, other)[number % 2]) for number in range(8)]
    channel = await group(people[0], *people[1:])
    seq = await ask(people[0], channel, multiple=True)
    for options in ([0], [0, 1], [2]):
        await asyncio.gather(*(vote(person, channel, seq, *options) for person in people))
    assert await counts(people[1], channel, seq) == [0, 0, 8, 8]


async def test_who_was_away_is_told_of_it_as_it_is_now(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await ask(ann, channel)
    await ann.call(MessageEdit(channel=channel, seq=seq, text="or else?"))
    await vote(bob, channel, seq, 1)
    await ann.call(MessagePin(channel=channel, seq=seq))
    await ann.call(PollClose(channel=channel, seq=seq))
    server.streams.get(channel).forget()  # type: ignore[union-attr]
    phone, _ = await Phone.resume(server, bob.tokens_given.access, {channel: 0})
    facts = {one["ev"]: one for one in phone.facts(channel)}
    now = msgspec.to_builtins(await poll(bob, channel, seq))
    for kind in ("message.created", "message.edited"):
        assert facts[kind]["message"]["poll"] == msgspec.json.decode(msgspec.json.encode(now))
    assert (facts["poll.voted"]["user"], facts["poll.voted"]["options"]) == (str(me(bob)), [1])
    assert (facts["poll.closed"]["counts"], facts["poll.closed"]["by"]) == ([0, 1, 0], str(me(ann)))
    phone.abort()


async def test_of_a_poll_only_the_words_are_forwarded(ann: Person) -> None:
    channel, other = await group(ann), await group(ann)
    seq = await ask(ann, channel)
    await ann.call(MessageForward(channel=other, source=channel, seq=seq, nonce=uuid4()))
    [message] = await history(ann, other)
    assert (message.text, message.poll) == ("what will it be?", None)


async def test_votes_of_who_was_put_out_stay(ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await ask(ann, channel)
    await vote(bob, channel, seq, 1)
    await ann.call(ChannelRemoveMember(channel=channel, user=me(bob)))
    assert await counts(ann, channel, seq) == [0, 1, 0, 1]
    [one] = (await ann.call(PollVoters(channel=channel, seq=seq))).votes
    assert one.user == me(bob)
    frames: list[Request[Any]] = [kind(channel=channel, seq=seq) for kind in (PollGet, PollVoters)]
    for frame in (*frames, PollVote(channel=channel, seq=seq, options=[0])):
        with pytest.raises(Missing):
            await bob.call(frame)


async def test_who_may_not_write_does_not_vote(ann: Person, bob: Person) -> None:
    channel = await direct(ann, bob)
    seq = await ask(ann, channel)
    await bob.call(UserBlock(user=me(ann)))
    for frame in (PollVote(channel=channel, seq=seq, options=[0]), PollClose(channel=channel, seq=seq)):
        with pytest.raises(Forbidden):
            await ann.call(frame)


async def test_votes_of_erased_accounts_go_and_counts_follow(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    public, anonymous = await ask(ann, channel), await ask(ann, channel, anonymous=True)
    for seq in (public, anonymous):
        await vote(ann, channel, seq, 0)
        await vote(bob, channel, seq, 1)
    await ann.call(PollClose(channel=channel, seq=public))
    receipt = await bob.call(AccountDelete(password=Person.password))
    assert receipt.following["vote"] == 2
    async with asyncio.timeout(SOON):
        while await server.pool.fetchval("SELECT count(*) FROM erasure"):
            await asyncio.sleep(0.02)
    for seq in (public, anonymous):
        assert await counts(ann, channel, seq) == [1, 0, 0, 1]
    assert [one.user for one in (await ann.call(PollVoters(channel=channel, seq=public))).votes] == [me(ann)]
    assert await server.pool.fetchval("SELECT count(*) FROM vote") == 2
    told = [await ann.wait_for(PollVoted, SOON) for _ in range(6)][-2:]
    assert [(one.message, one.voters, one.options) for one in told] == [(public, 1, []), (anonymous, 1, None)]


async def test_an_export_has_what_one_has_asked_and_chosen(ann: Person, bob: Person) -> None:
    channel, other = await group(ann, bob), await group(ann, bob)
    mine, theirs = await ask(ann, channel, multiple=True), await ask(bob, other, anonymous=True)
    await vote(ann, channel, mine, 0, 2)
    await vote(ann, other, theirs, 1)
    await vote(bob, channel, mine, 0)
    exported = await ann.call(AccountExport())
    assert {(one.channel, one.message, tuple(one.options)) for one in exported.votes} == {
        (channel, mine, (0, 2)),
        (other, theirs, (1,)),
    }
    [message] = exported.messages
    assert message.message.poll is not None
    assert [(one.text, one.count) for one in message.message.poll.options] == [("tea", 0), ("coffee", 0), ("water", 0)]
    assert message.message.poll.voters == 0
    rest = await ann.call(AccountExport(after=f"votes {exported.votes[0].channel}/{exported.votes[0].message}"))
    assert rest.votes == exported.votes[1:]
    for cursor in ("votes x", "votes x/1", f"votes {channel}/x"):
        assert await refused(ann, AccountExport(after=cursor)) == "invalid"


async def test_nothing_of_a_poll_is_left_of_a_deleted_channel(server: Server, ann: Person, bob: Person) -> None:
    channel = await group(ann, bob)
    seq = await ask(bob, channel, closes_at=ahead())
    await vote(bob, channel, seq, 1)
    await bob.call(ChannelLeave(channel=channel))
    await ann.call(ChannelDelete(channel=channel))
    async with asyncio.timeout(SOON):
        while await server.pool.fetchval("SELECT count(*) FROM stream WHERE id = $1", channel):
            await asyncio.sleep(0.02)
    for table in ("vote", "due", "message"):
        assert await server.pool.fetchval(f"SELECT count(*) FROM {table}") == 0, table
