"""authorization: every actor against every op and every id, from the registry (see tests/authorization)."""

import logging
from collections.abc import AsyncIterator, Sequence
from unittest.mock import patch

import pytest
import pytest_asyncio

from protocol.codec import encode
from protocol.message import MessageHistory, MessageSend
from protocol.typing import TypingStart
from server.handlers import collect
from server.hub import Hub
from server.rule import PUBLIC_OPS
from storage.ids import new_id
from tests.authorization import absence, checks, endings, locks, losses, matrix, mutants
from tests.authorization.people import PLAIN, PUBLIC
from tests.authorization.sample import samples
from tests.authorization.stage import Stage, staged
from tests.authorization.world import World
from tests.conftest import Storage

OPS = sorted(handler.__op__.name for handler in collect())  # type: ignore[attr-defined]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One server and its people for all of this file."""
    async with staged(storage, tmp_path_factory.mktemp("data")) as made:
        yield made


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


@pytest.mark.parametrize("name", OPS)
async def test_nobody_gets_more_than_is_theirs(world: World, name: str) -> None:
    await matrix.run(world, name)


async def test_no_canary_is_in_the_log(stage: Stage) -> None:
    """Whatever the tests above had the server write."""
    world, log = stage
    logging.getLogger("onesocket.test").debug("the last line")
    assert "the last line" in log.lines[-1]
    told = {f"{mark.whose}'s {mark.what}: {line}" for line in log.lines for mark in world.marks.found(line.encode())}
    assert not told


async def test_the_gates_hold_without_the_second_line_behind_them(world: World) -> None:
    with mutants.without_second_line(world):
        for name in OPS:
            if name not in PUBLIC_OPS:
                await matrix.run(world, name, [matrix.nobody_refused])


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
