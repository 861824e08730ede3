"""authorization: every actor against every op and every id, from the registry (see tests/authorization)."""

import logging
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import asyncpg
import pytest
import pytest_asyncio

from protocol.codec import encode
from protocol.message import MessageHistory, MessageSend
from protocol.typing import TypingStart
from server.handlers import collect
from server.hub import Hub
from server.rule import PUBLIC_OPS
from storage.ids import new_id
from tests.authorization import (
    absence,
    checks,
    checks_call,
    checks_moderation,
    checks_space,
    checks_way,
    endings,
    locks,
    losses,
    matrix,
    mutants,
    queries,
    queries_account,
    queries_call,
    queries_channel,
    queries_friend,
    queries_moderation,
    queries_notification,
    queries_poll,
    queries_search,
    queries_space,
    queries_way,
)
from tests.authorization.people import PLAIN, PUBLIC
from tests.authorization.sample import samples
from tests.authorization.stage import Log, staged
from tests.authorization.world import World
from tests.conftest import Storage

OPS = sorted(handler.__op__.name for handler in collect())  # type: ignore[attr-defined]
# In the ordinary run; the others are played by `pytest -m slow tests/test_authorization.py`.
QUERIES = (
    *queries_account.QUERIES,
    *queries_call.QUERIES,
    *queries_channel.QUERIES,
    *queries_friend.QUERIES,
    *queries_poll.QUERIES,
)
MORE_QUERIES = (
    *queries_call.OF_SPACES,
    *queries_moderation.QUERIES,
    *queries_notification.QUERIES,
    *queries_search.QUERIES,
    *queries_space.QUERIES,
    *queries_way.QUERIES,
)
TEXTS = (*checks.CODE, *checks.TEXTS)
MORE_TEXTS = (*checks_call.TEXTS, *checks_space.TEXTS, *checks_way.TEXTS, *checks_moderation.TEXTS)
_LATER = frozenset(
    {
        "automod",
        "invite",
        "member",
        "notification",
        "permission",
        "report",
        "role",
        "search",
        "space",
        "stage",
        "stats",
        "thread",
        "voice",
    }
)


def _later(values: Iterable[Any], *, when: Callable[[Any], bool] = lambda one: True) -> list[Any]:
    """Those of these are slow of which that is said."""
    return [
        pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=[pytest.mark.slow] if when(one) else [])
        for one in values
    ]


def _in_turn(one: Any) -> bool:
    """Whether it is one of those seven of eight that are played by `-m slow` only."""
    return zlib.crc32(str(getattr(one, "name", one)).encode()) % 8 != 0


def _by_chance(one: queries.Query) -> bool:
    """Whether it is noticed only where rows come in another order."""
    return str(one) in {"channel.get without m.account = $1", "scheduled.create: the same again without p.id = $2"}


def _of_later(one: Any) -> bool:
    """Whether it is about a domain of spaces."""
    name = one[0] if isinstance(one, tuple) else one
    return str(name).partition(".")[0] in _LATER


pytestmark = pytest.mark.asyncio(loop_scope="module")


Stage = tuple[World, Log]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One server and its people for all of this file."""
    name = f"test_{new_id().hex}"
    admin = await asyncpg.connect(storage.url("postgres"))
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE onesocket STRATEGY file_copy")
    async with staged(storage.url(name), storage.redis_url, tmp_path_factory.mktemp("data")) as made:
        yield made
        world = made[0]
        print(f"{len(OPS)} ops, {world.cases} cases, {world.mutants} mutants; ", end="")
        print(f"{len(world.marks)} canaries looked for in {world.marks.searched} bytes")
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
def world(stage: Stage) -> World:
    return stage[0]


async def test_every_op_has_a_sample() -> None:
    for name in OPS:
        assert samples(name)


async def test_every_private_column_holds_a_canary(world: World) -> None:
    for table, column in await world.columns():
        where = f"{table}.{column}"
        if where in PLAIN:
            continue
        spelt = [one.hex() if isinstance(one, bytes) else str(one) for one in await world.column(table, column)]
        marks = [mark for value in spelt for mark in world.marks.found(value.encode())]
        held = [mark for mark in marks if mark.private is (where not in PUBLIC)]
        assert held, f"{where} holds no canary: fill it in tests/authorization/people.py, or say why not in PLAIN there"


@pytest.mark.parametrize("name", _later(OPS, when=_of_later))
async def test_nobody_gets_more_than_is_theirs(world: World, name: str) -> None:
    await matrix.run(world, name)


async def test_no_canary_is_in_the_log(stage: Stage) -> None:
    """Whatever the tests above had the server write."""
    world, log = stage
    logging.getLogger("onesocket.test").debug("the last line")
    assert "the last line" in log.lines[-1]
    told = {f"{mark.whose}'s {mark.what}: {line}" for line in log.lines for mark in world.marks.found(line.encode())}
    assert not told


@pytest.mark.parametrize(
    "name", _later([name for name in OPS if name not in PUBLIC_OPS], when=lambda one: _of_later(one) or _in_turn(one))
)
async def test_a_rule_that_lacks_one_check_is_noticed(world: World, name: str) -> None:
    """Of what runs alone, or needs no task, nobody sees when it was refused: there the second line goes, too."""
    op = world.server.router.ops[name]
    unseen = op.alone or not op.awaits
    for what, rule, scenes in mutants.rules(world, name):
        with mutants.ruled(world, name, rule), mutants.without_second_line(world) if unseen else nullcontext():
            await _noticed(world, what, name, scenes)


@pytest.mark.parametrize(("name", "field"), _later(mutants.RECHECKED, when=lambda one: _of_later(one) or _in_turn(one)))
async def test_what_is_looked_at_again_is_refused_then(world: World, name: str, field: str) -> None:
    """The rule lets everybody pass, and yet nobody gets any further; without the second look they would."""
    rule = mutants.for_anybody(world, name, field)
    played = mutants.NOT_TO_ONESELF.get(name, name)
    with mutants.ruled(world, name, rule):
        await matrix.run(world, played, matrix.IDS)
        with mutants.RECHECKED[name, field]():
            await _noticed(world, f"with {field} for anybody, twice", played, matrix.IDS)


@pytest.mark.parametrize("name", _later(mutants.HELD_TO_NEEDS, when=lambda one: _of_later(one) or _in_turn(one)))
async def test_what_is_allowed_is_looked_at_again(world: World, name: str) -> None:
    """A rule that does not ask what is allowed lets nobody get any further; without the second look they would."""
    played = mutants.NOT_TO_ONESELF.get(name, name)
    with mutants.ruled(world, name, mutants.without_needs(world, name)):
        await matrix.run(world, played, matrix.OTHERS)
        with mutants.without_held_needs():
            await _noticed(world, "without asking what is allowed, twice", played, matrix.OTHERS)


async def test_the_gates_hold_without_the_second_line_behind_them(world: World) -> None:
    with mutants.without_second_line(world):
        for name in OPS:
            if name not in PUBLIC_OPS:
                await matrix.run(world, name, [matrix.nobody_refused])


@pytest.mark.parametrize(
    "query", [*_later(QUERIES, when=lambda one: _by_chance(one) or _in_turn(one)), *_later(MORE_QUERIES)], ids=str
)
async def test_a_query_that_lacks_one_condition_is_noticed(world: World, query: queries.Query) -> None:
    for name in query.ops:
        with queries.queried(query):
            await _noticed(world, str(query), name, matrix.ROWS)


@pytest.mark.parametrize("code", [*_later(TEXTS, when=_in_turn), *_later(MORE_TEXTS)], ids=lambda one: one.name)
async def test_a_check_that_lets_everything_pass_is_noticed(world: World, code: checks.Code | checks.Text) -> None:
    for name in code.ops:
        with code.applied(world):
            await _noticed(world, code.name, name, matrix.CHECKS)


@pytest.mark.parametrize(("name", "both"), checks.TWICE.items(), ids=checks.TWICE)
async def test_what_is_looked_at_twice_holds_without_one_of_them(
    world: World, name: str, both: tuple[checks.Text, checks.Text]
) -> None:
    for one in both:
        with one.applied(world):
            await matrix.run(world, name, matrix.ROWS)
    with both[0].applied(world), both[1].applied(world):
        await _noticed(world, f"without {both[0].name}, and without {both[1].name}", name, matrix.ROWS)


@pytest.mark.parametrize("function", checks.FUNCTIONS, ids=lambda one: one.name)
async def test_an_sql_function_that_lacks_one_condition_is_noticed(world: World, function: checks.Function) -> None:
    for name in function.ops:
        async with function.written(world):
            await _noticed(world, function.name, name, matrix.ROWS)


@pytest.mark.parametrize("ending", endings.ENDINGS.values(), ids=endings.ENDINGS)
async def test_a_login_that_ends_takes_its_sockets_with_it(world: World, ending: endings.Ending) -> None:
    await endings.run(world, ending)
    await world.reset()


async def test_a_login_that_ends_without_its_sockets_is_noticed(world: World) -> None:
    with patch.object(Hub, "end", lambda self, logins, refusal: 0), pytest.raises(TimeoutError):
        await endings.run(world, endings.ENDINGS["device.revoke"])
    await world.reset()


@pytest.mark.parametrize("loss", losses.LOSSES.values(), ids=losses.LOSSES)
async def test_whoever_loses_a_right_in_a_space_gets_no_further(world: World, loss: losses.Loss) -> None:
    await losses.run(world, loss)
    await _back(world)


@pytest.mark.parametrize(("withdrawal", "names"), losses.WITHDRAWALS, ids=lambda one: getattr(one, "name", ""))
async def test_a_right_that_is_lost_and_not_withdrawn_is_noticed(
    world: World, withdrawal: checks.Text, names: Sequence[str]
) -> None:
    for name in names:
        with withdrawal.applied(world), pytest.raises(AssertionError):
            await losses.run(world, losses.LOSSES[name])
        await _back(world)


async def _back(world: World) -> None:
    """To where everything was."""
    world.touched = True
    await world.reset()
    await world.heard()


async def test_of_what_is_hidden_nobody_is_sent_anything(world: World) -> None:
    await absence.run(world)
    await world.heard()


@pytest.mark.parametrize("hidden", ["attic", "loft", "cellar", "stove"])
async def test_what_is_hidden_is_missing_to_the_byte_and_to_the_query(world: World, hidden: str) -> None:
    count = 0
    for name, field, frame in absence.asking(world):
        told = ghost = None
        for _ in range(5):  # other things are asked of the database now and then
            told, ghost = await absence.compare(world, field, frame, hidden)
            if told == ghost:
                break
        assert told == ghost, f"{name}: {told}, not {ghost}"
        count += 1
    assert count >= 40
    await _back(world)


async def test_a_space_is_held_alone_and_its_channels_together(world: World) -> None:
    await locks.run(world, world.url)


@pytest.mark.parametrize("function", locks.MUTANTS, ids=lambda one: one.name)
async def test_a_lock_that_is_not_taken_is_noticed(world: World, function: checks.Function) -> None:
    async with function.written(world):
        with pytest.raises(AssertionError):
            await locks.run(world, world.url)


async def test_a_channel_that_another_process_deleted_is_gone_here_too(world: World) -> None:
    """Although this one remembers how tom stood there, and what was said last."""
    group = world.channels["group"].id
    for frame in (MessageSend(channel=group, text="words", nonce=new_id()), MessageHistory(channel=group)):
        await world.ask("tom", frame)
    assert world.server.grants.known(group, world.tom.id)
    await world.prepare("DELETE FROM stream s WHERE s.id IN (SELECT id FROM channel WHERE owner = $1)", world.ann)
    await world.server.streams._heads.poll([*world.server.streams._streams.values()])
    await world.memory.settle()
    tom = await world.open(world.tom.access(world.server))
    for asked in (MessageHistory(channel=group), TypingStart(channel=group)):
        assert (await tom.ask(encode(asked))).code == "missing"
    tom.abort()
    await world.reset()
    await world.heard()


async def _noticed(world: World, what: str, name: str, scenes: Sequence[matrix.Scene]) -> None:
    world.mutants += 1
    try:
        await matrix.run(world, name, scenes)
    except matrix.FoundError:
        return
    raise AssertionError(f"{name} {what}: nothing in the matrix notices")
