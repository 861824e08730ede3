"""router: what does not start, and what happens to a request whatever its handler does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

import pytest
from msgspec import Meta, Struct

import server.handlers
from protocol.codec import encode
from protocol.frame import Body, DeviceId, Nonce, Nothing, Request, Time, UserId, of
from protocol.user import User
from server import LOGGED_IN, PUBLIC, Context, Server, bound, op
from server.handlers import collect, session
from server.router import Router, StartError
from server.rule import PUBLIC_OPS, Bind, Rule
from storage import user as users
from storage.pool import Pool
from tests.conftest import Person, Starter
from tests.ops import echo
from tests.raw_socket import RawSocket, Reply

HERE = "test_router"


# What does not start


async def some_thing(db: Pool, viewer: UUID, thing: UUID) -> str | None:
    """A resolver of some kind."""
    return str(thing)


class Dated(Struct):
    """What has a time."""

    at: Time


def start(*handlers: Callable[..., Any], public: tuple[str, ...] = ()) -> Router:
    """As a server does it."""
    return Router([*collect(), *handlers], public)


def test_the_built_in_ops_start() -> None:
    router = start()
    assert {name for name, one in router.ops.items() if one.access.public} == PUBLIC_OPS


def test_the_list_of_public_ops_is_pinned() -> None:
    """Whoever adds one changes this list, too, and says why in the review."""
    assert {
        "session.open",
        "session.resume",
        "session.ping",
        "session.describe",
        "account.register",
        "account.login",
        "account.login_second_step",
        "account.providers",
        "account.start_external",
        "account.login_external",
        "account.refresh",
        "account.verify_email",
        "account.forgot_password",
        "account.reset_password",
    } == PUBLIC_OPS


def test_an_op_without_a_rule_does_not_start() -> None:
    class Thing(Request[Nothing], tag=f"{HERE}.thing", frozen=True):
        """A thing."""

    @op(access=PUBLIC)
    def thing(ctx: Context, frame: Thing) -> Nothing:
        return Nothing()

    with pytest.raises(StartError, match=rf"{HERE}\.thing has no access rule and is not on the list of public ops"):
        start(thing)
    assert f"{HERE}.thing" in start(thing, public=(f"{HERE}.thing",)).ops


def test_a_handler_cannot_be_declared_without_naming_its_rule() -> None:
    with pytest.raises(TypeError, match="access"):
        op()  # type: ignore[call-arg]


class Near(Body, frozen=True):
    """Something with an id inside."""

    user: UserId


@pytest.mark.parametrize(
    "hint",
    [
        UserId,
        UserId | None,
        list[UserId],
        Annotated[list[UserId], Meta(max_length=3)],
        dict[str, UserId],
        Near,
        list[Near],
    ],
    ids=str,
)
def test_an_id_that_no_rule_binds_does_not_start(hint: Any) -> None:
    class Thing(Request[Nothing], tag=f"{HERE}.thing", frozen=True):
        """A thing."""

        whom: hint

    @op(access=LOGGED_IN)
    def thing(ctx: Context, frame: Thing) -> Nothing:
        return Nothing()

    with pytest.raises(StartError, match=rf"no rule binds the id `whom` of {HERE}\.thing to a user"):
        start(thing)


def test_an_id_bound_as_another_kind_does_not_start() -> None:
    class Thing(Request[Nothing], tag=f"{HERE}.thing", frozen=True):
        """A thing."""

        device: DeviceId

    @op(access=LOGGED_IN & bound("device", users.visible, "user"))
    async def thing(ctx: Context, frame: Thing, device: User) -> Nothing:
        return Nothing()

    with pytest.raises(StartError, match=r"no rule binds the id `device` .* to a device"):
        start(thing)


def test_a_rule_that_binds_what_is_no_id_does_not_start() -> None:
    class Thing(Request[Nothing], tag=f"{HERE}.thing", frozen=True):
        """A thing."""

        user: UserId
        text: str
        nonce: Nonce

    @op(access=LOGGED_IN & bound("user", users.visible) & bound("text", some_thing))
    async def thing(ctx: Context, frame: Thing, user: User, text: str) -> Nothing:
        return Nothing()

    with pytest.raises(StartError, match=rf"a rule binds `text`, which is no id field of {HERE}\.thing"):
        start(thing)


def test_a_uuid_that_does_not_say_of_what_it_is_the_id_does_not_start() -> None:
    class Thing(Request[Nothing], tag=f"{HERE}.thing", frozen=True):
        """A thing."""

        what: list[UUID] | None

    @op(access=LOGGED_IN)
    def thing(ctx: Context, frame: Thing) -> Nothing:
        return Nothing()

    with pytest.raises(StartError, match="must say of what it is the id"):
        start(thing)


@pytest.mark.parametrize("kind", [Time, Time | None, list[Time], Dated, list[Dated] | None])
def test_a_request_that_does_not_check_its_times_does_not_start(kind: Any) -> None:
    class Thing(Request[Nothing], tag=f"{HERE}.thing", frozen=True):
        """A thing."""

        at: kind

    @op(access=LOGGED_IN)
    def thing(ctx: Context, frame: Thing) -> Nothing:
        return Nothing()

    with pytest.raises(StartError, match=rf"{HERE}\.thing has a time: call protocol\.frame\.check_times"):
        start(thing)


def test_a_field_that_may_name_several_kinds_of_things_does_not_start() -> None:
    class Thing(Request[Nothing], tag=f"{HERE}.thing", frozen=True):
        """A thing."""

        whom: tuple[UserId, DeviceId]

    @op(access=LOGGED_IN & bound("whom", some_thing, "user"))
    async def thing(ctx: Context, frame: Thing, whom: str) -> Nothing:
        return Nothing()

    with pytest.raises(StartError, match=r"Thing\.whom may name several kinds of things"):
        start(thing)


def test_a_handler_that_does_not_take_what_its_rule_resolves_does_not_start() -> None:
    class Thing(Request[Nothing], tag=f"{HERE}.thing", frozen=True):
        """A thing."""

        first: Annotated[UUID, of("user")]
        second: Annotated[UUID, of("user")]

    @op(access=LOGGED_IN & bound("first", users.visible, "user") & bound("second", users.visible, "user"))
    async def thing(ctx: Context, frame: Thing, second: User, first: User) -> Nothing:
        return Nothing()

    with pytest.raises(StartError, match=r"takes \['second', 'first'\], but its rule resolves \['first', 'second'\]"):
        start(thing)


def test_an_id_bound_twice_does_not_start() -> None:
    class Thing(Request[Nothing], tag=f"{HERE}.thing", frozen=True):
        """A thing."""

        user: UserId

    @op(access=LOGGED_IN & bound("user", users.visible) & bound("user", users.blockable))
    async def thing(ctx: Context, frame: Thing, user: User) -> Nothing:
        return Nothing()

    with pytest.raises(StartError, match="its rule resolves"):
        start(thing)


def test_a_tag_that_is_not_the_handlers_place_does_not_start() -> None:
    class Thing(Request[Nothing], tag="elsewhere.thing", frozen=True):
        """A thing."""

    @op(access=LOGGED_IN)
    def thing(ctx: Context, frame: Thing) -> Nothing:
        return Nothing()

    with pytest.raises(StartError, match=rf"handles 'elsewhere\.thing', but its place makes it '{HERE}\.thing'"):
        start(thing)


def test_a_frame_without_a_handler_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(session, "ping")
    with pytest.raises(StartError, match=r"SessionPing has no handler: write it in server/handlers/session\.py"):
        collect()


def test_two_handlers_for_one_op_do_not_start() -> None:
    with pytest.raises(StartError, match=r"session\.ping has two handlers"):
        start(server.handlers.session.ping)


def test_a_reply_that_the_frame_does_not_promise_does_not_start() -> None:
    class Thing(Request[Nothing], tag=f"{HERE}.thing", frozen=True):
        """A thing."""

    @op(access=LOGGED_IN)
    def thing(ctx: Context, frame: Thing) -> User:
        raise NotImplementedError

    with pytest.raises(StartError, match=r"returns .*User.*, but its frame promises .*Nothing"):
        start(thing)


def test_a_function_that_is_not_declared_an_op_does_not_start() -> None:
    with pytest.raises(StartError, match="is no handler: decorate it with @op"):
        start(some_thing)


@pytest.mark.parametrize("hint", [int, Nothing], ids=["int", "a reply"])
def test_a_handler_whose_second_parameter_is_no_request_does_not_start(hint: type) -> None:
    @op(access=LOGGED_IN)
    def thing(ctx: Context, frame: hint) -> Nothing:  # type: ignore[valid-type]
        return Nothing()

    with pytest.raises(StartError, match="must be the op's Request"):
        start(thing)


def test_a_limit_that_is_no_rate_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="write 20/10s"):
        op(access=LOGGED_IN, limit="often")(session.ping)


def test_rules_add_up_and_name_no_gate_twice() -> None:
    rule = LOGGED_IN & bound("user", users.visible) & LOGGED_IN
    assert rule == Rule(LOGGED_IN.gates, (Bind("user", "user", users.visible),))
    assert rule.words == "logged_in, in_scope, user: visible"
    assert PUBLIC.words == "public"


# What happens to a request


@pytest.fixture
async def echoing(start: Starter) -> Server:
    return await start(ops=echo.ALL, public=echo.NAMES, request_timeout=5.0, requests_in_flight=4, drain=0.0)


@pytest.fixture
async def raw(echoing: Server) -> AsyncIterator[Callable[[], Awaitable[RawSocket]]]:
    sockets: list[RawSocket] = []

    async def connect() -> RawSocket:
        sockets.append(await RawSocket.connect(echoing.url))
        return sockets[-1]

    yield connect
    for socket in sockets:
        socket.abort()


Opener = Callable[[], Awaitable[RawSocket]]


def told(replies: list[Reply]) -> list[tuple[int | None, str]]:
    return [(reply.re, reply.code) for reply in replies]


async def test_ops_of_an_embedder_work_end_to_end(echoing: Server, connect: Callable[..., Awaitable[Person]]) -> None:
    person = await connect("ann", to=echoing)
    assert (await person.call(echo.EchoSay(text="hello"))).text == "hello"
    assert (await person.call(echo.EchoTask(text="hello"))).text == "hello"


MISBEHAVING = {
    echo.EchoFail: "internal",
    echo.EchoFailLater: "internal",
    echo.EchoRefuse: "forbidden",
    echo.EchoNone: "ok",
    echo.EchoNoneLater: "ok",
    echo.EchoUnsendable: "internal",
    echo.EchoUnsendableLater: "internal",
    echo.EchoCancelled: "internal",
}


async def test_a_request_gets_one_reply_whatever_its_handler_does(raw: Opener) -> None:
    socket = await raw()
    for number, (kind, code) in enumerate(MISBEHAVING.items()):
        first = await socket.ask(encode(kind(id=number)))
        assert (kind, first.re, first.code) == (kind, number, code)
        after = await socket.ask(encode(echo.EchoSay(id=99)))
        assert (kind, after.re, after.code) == (kind, 99, "ok"), "no second reply comes, and the socket lives"


async def test_what_went_wrong_inside_is_not_told(raw: Opener) -> None:
    reply = await (await raw()).ask(encode(echo.EchoFail(id=7)))
    assert reply.said["error"].keys() == {"code", "message"}
    assert "ZeroDivision" not in reply.said["error"]["message"]


async def test_a_handler_that_returns_nothing_says_that_it_is_done(raw: Opener) -> None:
    socket = await raw()
    assert (await socket.ask(encode(echo.EchoNone()))).said["ok"] == {}
    assert (await socket.ask(encode(echo.EchoNoneLater()))).said["ok"] == {}


async def test_a_refusal_arrives_as_it_was_meant(raw: Opener) -> None:
    reply = await (await raw()).ask(encode(echo.EchoRefuse(id=3)))
    assert reply.said["error"] == {"code": "forbidden", "message": "not today", "field": "day", "retry_after": 2.5}


async def test_a_refusal_that_ends_the_session_is_told_and_then_closes_the_socket(raw: Opener) -> None:
    socket = await raw()
    reply = await socket.ask(encode(echo.EchoEnd(id=3)))
    assert (reply.re, reply.code) == (3, "session_revoked")
    assert await socket.wait_closed() == (4401, "This session has ended: log in again.")


async def test_a_handler_that_hangs_is_given_up_and_told_to_be_overloaded(start: Starter) -> None:
    server = await start(ops=echo.ALL, public=echo.NAMES, request_timeout=0.05)
    socket = await RawSocket.connect(server.url)
    reply = await socket.ask(encode(echo.EchoHold(id=5)))
    assert (reply.re, reply.code, reply.said["error"]["retry_after"]) == (5, "overloaded", 5.0)
    assert echo.door(server).waiting == 0, "the handler was stopped"
    socket.abort()


WRONG = {
    b'{"id":9,"op":"echo.unheard"}': "op",
    b'{"id":9,"op":7}': "op",
    b'{"id":9}': "op",
    b'{"id":9,"op":"echo.say","text":"x","loud":true}': "loud",
    b'{"id":9,"op":"echo.say","text":5}': "text",
    b'{"id":9,"op":"echo.say","text":"longer than ten"}': "text",
    b'{"id":9,"op":"user.get"}': "user",
    b'{"id":9,"op":"user.get","user":"nobody"}': "user",
    b'{"id":9,"op":"account.update","interests":["a",""]}': "interests[1]",
    b'{"id":9,"op":"account.set_location","location":{"latitude":91,"longitude":0}}': "location.latitude",
    b'{"id":9,"op":"account.set_location","location":{"latitude":1}}': "location.longitude",
    b'{"id":9,"op":"account.set_location","location":{"latitude":1,"longitude":0,"up":3}}': "location.up",
}


async def test_a_request_that_is_wrong_is_told_where_and_the_socket_lives(raw: Opener) -> None:
    socket = await raw()
    for message, field in WRONG.items():
        reply = await socket.ask(message)
        assert (message, reply.re, reply.code, reply.said["error"].get("field")) == (message, 9, "invalid", field)
        assert (await socket.ask(encode(echo.EchoSay(id=1)))).code == "ok"


async def test_requests_beyond_the_limit_in_flight_wait_instead_of_being_refused(echoing: Server, raw: Opener) -> None:
    socket, door = await raw(), echo.door(echoing)
    socket.send(*(encode(echo.EchoHold(id=number)) for number in range(1, 11)))
    await door.has(4)
    assert len(socket.messages) == 1, "nothing but the hello so far"
    door.open.set()
    assert sorted(told(await socket.replies(10))) == [(number, "ok") for number in range(1, 11)]


async def test_requests_that_waited_are_answered_in_their_order(echoing: Server, raw: Opener) -> None:
    socket, door = await raw(), echo.door(echoing)
    holds = [encode(echo.EchoHold(id=number)) for number in range(4)]
    says = [encode(echo.EchoSay(id=number, text=str(number))) for number in range(10, 60)]
    socket.send(*holds, *says)
    await door.has(4)
    socket.send(*(encode(echo.EchoSay(id=number)) for number in range(60, 70)))
    door.open.set()
    replies = await socket.replies(64)
    assert [reply.re for reply in replies if (reply.re or 0) >= 10] == list(range(10, 70))


async def test_requests_that_need_no_task_are_answered_in_their_order(raw: Opener) -> None:
    socket = await raw()
    socket.send(*(encode(echo.EchoSay(id=number)) for number in range(50)))
    assert told(await socket.replies(50)) == [(number, "ok") for number in range(50)]


async def test_a_slow_request_does_not_hold_up_those_behind_it(echoing: Server, raw: Opener) -> None:
    socket, door = await raw(), echo.door(echoing)
    socket.send(encode(echo.EchoHold(id=1)), encode(echo.EchoTask(id=2)), encode(echo.EchoSay(id=3)))
    assert told(await socket.replies(2)) == [(3, "ok"), (2, "ok")]
    door.open.set()
    assert told(await socket.replies(1)) == [(1, "ok")]


async def test_an_id_that_is_in_flight_is_refused_and_free_again_afterwards(echoing: Server, raw: Opener) -> None:
    socket, door = await raw(), echo.door(echoing)
    socket.send(encode(echo.EchoHold(id=1)), encode(echo.EchoTask(id=1)))
    reply = await socket.next()
    assert (reply.re, reply.code, reply.said["error"]["field"]) == (1, "conflict", "id")
    door.open.set()
    assert told(await socket.replies(1)) == [(1, "ok")]
    assert (await socket.ask(encode(echo.EchoTask(id=1)))).code == "ok"


async def test_frames_behind_one_that_runs_alone_wait(echoing: Server, raw: Opener) -> None:
    socket, other, door = await raw(), await raw(), echo.door(echoing)
    socket.send(encode(echo.EchoHoldAlone(id=1)), encode(echo.EchoSay(id=2)), encode(echo.EchoTask(id=3)))
    await door.has(1)
    assert (await other.ask(encode(echo.EchoSay(id=9)))).code == "ok", "other sockets do not wait"
    assert len(socket.messages) == 1
    door.open.set()
    assert told(await socket.replies(3)) == [(1, "ok"), (2, "ok"), (3, "ok")]


async def test_one_that_runs_alone_waits_for_those_before_it(echoing: Server, raw: Opener) -> None:
    """Else a request that was let in for one account could end as another's."""
    socket, door = await raw(), echo.door(echoing)
    socket.send(encode(echo.EchoHold(id=1)), encode(echo.EchoHoldAlone(id=2)), encode(echo.EchoSay(id=3)))
    await door.has(1)
    for _ in range(20):
        await asyncio.sleep(0)
    assert (door.waiting, len(socket.messages)) == (1, 1), "neither the second nor the third has begun"
    door.open.set()
    assert told(await socket.replies(3)) == [(1, "ok"), (2, "ok"), (3, "ok")]


async def test_a_socket_that_leaves_with_requests_in_flight_leaves_nothing_behind(echoing: Server, raw: Opener) -> None:
    socket, door = await raw(), echo.door(echoing)
    socket.send(*(encode(echo.EchoHold(id=number)) for number in range(10)))
    await door.has(4)
    socket.abort()
    door.open.set()
    async with asyncio.timeout(10):
        await echoing.router.drained()
    assert (door.waiting, echoing.router.in_flight) == (0, 0)
