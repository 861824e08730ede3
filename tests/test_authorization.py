"""authorization: every actor against every op and every id, from the registry (see tests/authorization)."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, nullcontext

import asyncpg
import pytest
import pytest_asyncio

from server import Config, Server
from server.access import PUBLIC_OPS
from server.external import Provider
from server.handlers import collect
from storage.ids import new_id
from tests.authorization import matrix, mutants, provider
from tests.authorization.people import PLAIN, PUBLIC
from tests.authorization.sample import sample
from tests.authorization.world import World
from tests.authorization.world import world as making
from tests.conftest import QUICK, Storage

OPS = sorted(handler.__op__.name for handler in collect())
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One server and its people for all of this file."""
    name = f"test_{new_id().hex}"
    admin = await asyncpg.connect(storage.url("postgres"))
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE onesocket STRATEGY file_copy")
    with pytest.MonkeyPatch.context() as patch:
        # The test brings revoked devices back to life, which the server rightly never expects.
        patch.setattr("server.revocation._EVERY", 86400.0)
        async with AsyncExitStack() as stack:
            issuer = await stack.enter_async_context(provider.serving())
            outside = Provider(
                provider.NAME,
                "onesocket",
                authorize_url=f"{issuer}/authorize",
                token_url=f"{issuer}/token",
                user_url=f"{issuer}/user",
            )
            settings = {
                **QUICK,
                "data": tmp_path_factory.mktemp("data"),
                "database_url": storage.url(name),
                "redis_url": storage.redis_url,
                "providers": [outside],
                "smtp_url": "smtp://127.0.0.1:9",
                "frames_per_second": 1_000_000,
                "frames_in_burst": 1_000_000,
                "pending_per_address": 1000,
                "login_timeout": 600.0,
                "heartbeat": 600,
                "drain": 0.0,
            }
            server = await stack.enter_async_context(Server(Config(**settings)))
            made = await stack.enter_async_context(making(server, storage.url(name), issuer))
            yield made
            print(f"{len(OPS)} ops, {made.cases} cases, {made.mutants} mutants, {len(made.marks)} canaries, {made.marks.searched} bytes")
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


async def test_every_op_has_a_sample() -> None:
    for name in OPS:
        assert sample(name)


async def test_every_private_column_holds_a_canary(world: World) -> None:
    for table, column in await world.columns():
        where = f"{table}.{column}"
        if where in PLAIN:
            continue
        values = [one for value in await world.column(table, column) for one in (value if isinstance(value, list) else [value])]
        spelt = [value.hex() if isinstance(value, bytes) else str(value) for value in values]
        marks = [mark for value in spelt for mark in world.marks.found(value.encode())]
        held = [mark for mark in marks if mark.private is (where not in PUBLIC)]
        assert held, f"{where} holds no canary: fill it in tests/authorization/people.py, or say why not in PLAIN there"


@pytest.mark.parametrize("name", OPS)
async def test_nobody_gets_more_than_is_theirs(world: World, name: str) -> None:
    await matrix.run(world, name)


@pytest.mark.parametrize("name", [name for name in OPS if name not in PUBLIC_OPS])
async def test_a_rule_that_lacks_one_check_is_noticed(world: World, name: str) -> None:
    """What runs alone lets nothing pass it, so that nobody sees when it was refused: there the second line goes, too."""
    alone = world.server.router.ops[name].alone
    for what, rule in mutants.rules(world, name):
        with mutants.ruled(world, name, rule), mutants.without_second_line(world) if alone else nullcontext():
            await _noticed(world, what, name)


async def test_the_gates_hold_without_the_second_line_behind_them(world: World) -> None:
    with mutants.without_second_line(world):
        for name in OPS:
            await matrix.run(world, name)


@pytest.mark.parametrize("query", mutants.QUERIES, ids=lambda one: f"{one.ops[0]}: {one.was}")
async def test_a_query_that_lacks_one_condition_is_noticed(world: World, query: mutants.Query) -> None:
    for name in query.ops:
        with mutants.queried(query):
            await _noticed(world, query.was, name)


@pytest.mark.parametrize("code", mutants.CODE, ids=lambda one: one.name)
async def test_a_check_that_lets_everything_pass_is_noticed(world: World, code: mutants.Code) -> None:
    for name in code.ops:
        with code.applied():
            await _noticed(world, code.name, name)


async def _noticed(world: World, what: str, name: str) -> None:
    world.mutants += 1
    try:
        await matrix.run(world, name)
    except matrix.FoundError:
        return
    raise AssertionError(f"{name} {what}: nothing in the matrix notices")
