"""authorization_mutants: servers that lack one check each, every one of which the matrix notices.

What is taken away is told in tests/authorization: mutants.py (rules), queries*.py (conditions in SQL), checks*.py.
"""

import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import pytest_asyncio

from server.handlers import collect
from server.rule import PUBLIC_OPS
from tests.authorization import (
    checks,
    checks_call,
    checks_emoji,
    checks_moderation,
    checks_space,
    checks_way,
    matrix,
    mutants,
    queries,
    queries_account,
    queries_call,
    queries_channel,
    queries_emoji,
    queries_file,
    queries_friend,
    queries_moderation,
    queries_notification,
    queries_poll,
    queries_search,
    queries_space,
    queries_way,
)
from tests.authorization.stage import Stage, staged
from tests.authorization.world import World
from tests.conftest import Storage

OPS = sorted(handler.__op__.name for handler in collect())  # type: ignore[attr-defined]
QUERIES = (
    *queries_account.QUERIES,
    *queries_call.QUERIES,
    *queries_call.OF_SPACES,
    *queries_channel.QUERIES,
    *queries_emoji.QUERIES,
    *queries_file.QUERIES,
    *queries_friend.QUERIES,
    *queries_moderation.QUERIES,
    *queries_notification.QUERIES,
    *queries_poll.QUERIES,
    *queries_search.QUERIES,
    *queries_space.QUERIES,
    *queries_way.QUERIES,
)
TEXTS = (
    *checks.CODE,
    *checks.TEXTS,
    *checks_call.TEXTS,
    *checks_emoji.TEXTS,
    *checks_space.TEXTS,
    *checks_way.TEXTS,
    *checks_moderation.TEXTS,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _in_turn(values: Iterable[Any]) -> list[Any]:
    """One of three is played in the ordinary run, all by `pytest -m "" tests/test_authorization_mutants.py`."""
    return [
        pytest.param(one, marks=[] if zlib.crc32(str(one).encode()) % 3 == 0 else [pytest.mark.slow]) for one in values
    ]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One server and its people for all of this file."""
    async with staged(storage, tmp_path_factory.mktemp("data")) as made:
        yield made


@pytest.fixture
def world(stage: Stage) -> World:
    return stage[0]


@pytest.mark.parametrize("name", _in_turn(name for name in OPS if name not in PUBLIC_OPS))
async def test_a_rule_that_lacks_one_check_is_noticed(world: World, name: str) -> None:
    """Of what runs alone, or needs no task, nobody sees when it was refused: there the second line goes, too."""
    op = world.server.router.ops[name]
    unseen = op.alone or not op.awaits
    for what, rule, scenes in mutants.rules(world, name):
        with mutants.ruled(world, name, rule), mutants.without_second_line(world) if unseen else nullcontext():
            await _noticed(world, what, name, scenes)


@pytest.mark.parametrize(("name", "field"), mutants.RECHECKED)
async def test_what_is_looked_at_again_is_refused_then(world: World, name: str, field: str) -> None:
    """The rule lets everybody pass, and yet nobody gets any further; without the second look they would."""
    rule = mutants.for_anybody(world, name, field)
    played = mutants.NOT_TO_ONESELF.get(name, name)
    with mutants.ruled(world, name, rule):
        await matrix.run(world, played, matrix.HIDDEN)
        with mutants.RECHECKED[name, field]():
            await _noticed(world, f"with {field} for anybody, twice", played, matrix.IDS)


@pytest.mark.parametrize("name", mutants.HELD_TO_NEEDS)
async def test_what_is_allowed_is_looked_at_again(world: World, name: str) -> None:
    """A rule that does not ask what is allowed lets nobody get any further; without the second look they would."""
    played = mutants.NOT_TO_ONESELF.get(name, name)
    with mutants.ruled(world, name, mutants.without_needs(world, name)):
        await matrix.run(world, played, matrix.OTHERS)
        with mutants.without_held_needs():
            await _noticed(world, "without asking what is allowed, twice", played, matrix.OTHERS)


@pytest.mark.parametrize("query", _in_turn(QUERIES), ids=str)
async def test_a_query_that_lacks_one_condition_is_noticed(world: World, query: queries.Query) -> None:
    for name in query.ops:
        with queries.queried(query):
            await _noticed(world, str(query), name, matrix.ROWS)


@pytest.mark.parametrize("code", TEXTS, ids=lambda one: one.name)
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


async def _noticed(world: World, what: str, name: str, scenes: Sequence[matrix.Scene]) -> None:
    world.mutants += 1
    try:
        await matrix.run(world, name, scenes)
    except matrix.FoundError:
        return
    raise AssertionError(f"{name} {what}: nothing in the matrix notices")
