"""session: opening, keeping and ending a socket's conversation."""

import asyncio

import msgspec
import pytest

from protocol import VERSION
from protocol.account import AccountGet, AccountLogin, AccountRegister, AccountUpdate, Tokens
from protocol.codec import encode
from protocol.error import Invalid, SessionRevoked, Unauthenticated
from protocol.session import SessionClose, SessionDescribe, SessionOpen, SessionPing
from protocol.user import UserList
from server import Server
from tests.conftest import Connector, Person, Starter
from tests.raw_socket import RawSocket

PASSWORD = Person.password


async def test_hello_names_version_limits_and_heartbeat(stranger: Person) -> None:
    hello = stranger.hello
    assert hello.protocol == VERSION
    assert hello.limits.frame_bytes == 65536
    assert hello.heartbeat == 30


async def test_ping_answers_a_stranger_with_the_time(stranger: Person) -> None:
    before = (await stranger.call(SessionPing())).time
    assert (await stranger.call(SessionPing())).time >= before


async def test_without_a_session_nothing_of_anybody_is_told(ann: Person, stranger: Person) -> None:
    for frame in (AccountGet(), UserList(), SessionClose()):
        with pytest.raises(Unauthenticated):
            await stranger.call(frame)


async def test_a_session_opens_on_as_many_sockets_as_one_likes(ann: Person, connect: Connector, server: Server) -> None:
    for _ in range(3):
        person = await connect()
        opened = await person.call(SessionOpen(token=ann.tokens_given.access))
        assert (opened.account, opened.device) == (ann.tokens_given.account, ann.tokens_given.device)
        assert opened.me == await ann.call(AccountGet())
    assert server.hub.logged_in == 4


async def test_opening_tells_when_the_device_was_last_seen(ann: Person, connect: Connector, server: Server) -> None:
    await server.pool.execute("UPDATE device SET seen_at = now() - interval '1 day'")
    await (await connect()).call(SessionOpen(token=ann.tokens_given.access))
    assert await server.pool.fetchval("SELECT seen_at > now() - interval '1 min' FROM device")


async def test_a_closed_session_leaves_the_socket_to_the_next_one(ann: Person, bob: Person, server: Server) -> None:
    await ann.call(SessionClose())
    for frame in (AccountGet(), SessionClose()):
        with pytest.raises(Unauthenticated):
            await ann.call(frame)
    await ann.call(SessionOpen(token=bob.tokens_given.access))
    assert (await ann.call(AccountGet())).username == "bob"
    await ann.call(SessionOpen(token=ann.tokens_given.access))
    assert (await ann.call(AccountGet())).username == "ann"
    assert server.hub.logged_in == 2


async def test_a_token_that_is_refused_leaves_the_session_as_it_was(ann: Person) -> None:
    for token in ("nonsense", "osk_nonsense", ann.tokens_given.refresh):
        with pytest.raises(Unauthenticated):
            await ann.call(SessionOpen(token=token))
    assert (await ann.call(AccountGet())).username == "ann"


async def test_a_revoked_session_closes_the_socket_that_asks_for_it(
    ann: Person, connect: Connector, server: Server
) -> None:
    for change in ("expires_at = now()", "expires_at = now() + interval '1 day', revoked_at = now()"):
        await server.pool.execute(f"UPDATE device SET {change}")
        person = await connect()
        with pytest.raises(SessionRevoked):
            await person.call(SessionOpen(token=ann.tokens_given.access))
        assert (await asyncio.wait_for(person.wait_closed(), 5))[0] == 4401


async def test_what_is_sent_right_behind_the_opening_waits_for_it(ann: Person, server: Server) -> None:
    socket = await RawSocket.connect(server.url)
    frames = [SessionOpen(id=1, token=ann.tokens_given.access), AccountGet(id=2), SessionPing(id=3), AccountGet(id=4)]
    socket.send(*map(encode, frames))
    replies = await socket.replies(4)
    assert replies[0].re == 1
    assert {reply.re: reply.code for reply in replies} == {1: "ok", 2: "ok", 3: "ok", 4: "ok"}
    socket.abort()


async def test_a_request_belongs_to_the_session_that_it_was_sent_in(ann: Person, bob: Person, server: Server) -> None:
    """Also when the next session was asked for before it was done: all of this is one write."""
    for round_ in range(5):
        socket = await RawSocket.connect(server.url)
        frames = [
            SessionOpen(id=1, token=ann.tokens_given.access),
            *(AccountUpdate(id=10 + at, bio=f"ann {round_}") for at in range(5)),
            SessionOpen(id=2, token=bob.tokens_given.access),
            *(AccountUpdate(id=20 + at, bio=f"bob {round_}") for at in range(5)),
            SessionClose(id=3),
            AccountUpdate(id=30, bio="nobody"),
        ]
        socket.send(*map(encode, frames))
        replies = {reply.re: reply for reply in await socket.replies(len(frames))}
        for number, name in ((10, "ann"), (20, "bob")):
            for at in range(5):
                assert replies[number + at].said["ok"]["username"] == name
        assert replies[30].code == "unauthenticated"
        socket.abort()
    assert [(await person.call(AccountGet())).bio for person in (ann, bob)] == ["ann 4", "bob 4"]


async def test_who_does_not_log_in_in_time_must_go_and_so_must_who_logs_out(start: Starter) -> None:
    server = await start(login_timeout=1.0)
    people = [Person(server.url, reconnect=False) for _ in range(3)]
    for person in people:
        await person.__aenter__()
    stranger, leaver, stayer = people
    await stayer.open(await stayer.call(AccountRegister(username="ann", password=PASSWORD)))
    tokens = await leaver.call(AccountLogin(login="ann", password=PASSWORD))
    assert isinstance(tokens, Tokens)
    await leaver.open(tokens)
    await leaver.call(SessionClose())
    for person in (stranger, leaver):
        assert (await asyncio.wait_for(person.wait_closed(), 5))[0] == 4408
    await stayer.call(AccountGet())
    for person in people:
        await person.close()


async def test_the_server_describes_its_protocol_as_a_whole_and_by_domain(stranger: Person) -> None:
    whole = await stranger.call(SessionDescribe())
    ops = msgspec.json.decode(whole.ops)
    assert {"session.open", "account.login", "user.search"} <= ops.keys()
    assert ops["account.delete"]["access"] == "logged_in, in_person"
    user = msgspec.json.decode((await stranger.call(SessionDescribe(domain="user"))).ops)
    assert user == {name: told for name, told in ops.items() if name.startswith("user.")}
    with pytest.raises(Invalid):
        await stranger.call(SessionDescribe(domain="no-such-domain"))
