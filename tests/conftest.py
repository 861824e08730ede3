"""A real PostgreSQL and a real Redis for the whole run, a fresh database and a real server for each test."""

import asyncio
import functools
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import redis.utils
import uvloop

from protocol.account import AccountRegister, Tokens
from protocol.client import Client
from server import Config, Server
from storage.child_postgres import Postgres
from storage.embedded import Embedded
from storage.migrate import migrate
from tests.databases import Databases
from tests.mailbox import Mailbox
from tests.raw import Raw

warnings.filterwarnings("ignore", category=DeprecationWarning, module="uvloop|asyncio")

# Cheap passwords and no attempt limits, so that tests are about what they say; limits have tests of their own.
QUICK: dict[str, Any] = {
    "port": 0,
    "password_memory_kib": 8,
    "password_rounds": 1,
    "throttle": 1000.0,
    "drain": 1.0,
    "pool_size": 3,
    "acquire_timeout": 10.0,
}

# Files that take long, in the order in which they are begun: what waits beside what computes, and no long one last.
LONG = (
    *("test_faults", "test_authorization_mutants", "test_authorization", "test_presence", "test_supervisor"),
    *("test_embedded", "test_bench_scenarios", "test_document", "test_backup", "test_journal_locked", "test_stream"),
    *("test_journal", "test_gateway_limits", "test_fuzz", "test_account_login", "test_state", "test_stream_large"),
    *(
        "test_permission",
        "test_media_hostile",
        "test_media",
        "test_conformance",
        "test_channel_delete",
        "test_message_read",
        "test_faults_mutants",
    ),
    *("test_style", "test_workers", "test_cli"),
)
# Programs that tests start again and again would compile everything anew each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# It reads its package's metadata from the disk for each connection.
redis.utils.get_lib_version = functools.cache(redis.utils.get_lib_version)


def pytest_configure(config: pytest.Config) -> None:
    """Have pytest-xdist hand out files in the order in which they are collected."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long is begun first."""
    turns = {name: turn for turn, name in enumerate(LONG)}
    items.sort(key=lambda item: turns.get(item.path.stem, len(LONG)))


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the server runs on."""
    return {"uvloop": uvloop.new_event_loop}


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can reach, too (pytest's tmp_path is private)."""
    path = Path(tempfile.mkdtemp(prefix="onesocket-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One of a test's own."""
    with open_folder() as path:
        yield path


class Storage:
    """The servers of this run."""

    def __init__(self, embedded: Embedded) -> None:
        self.embedded = embedded
        self.redis_url = embedded.redis_url
        self.databases = Databases(embedded.database_url)
        self.url = self.databases.url


@contextmanager
def _nothing_on_disk() -> Iterator[None]:
    """Start PostgreSQL so that a commit waits for no disk: nobody cuts its power.

    What it is started with otherwise is what tests/test_embedded.py is about.
    """
    usual = Postgres._settings
    quick = {"fsync": "off", "full_page_writes": "off", "wal_level": "minimal", "max_wal_senders": 0}
    with patch.object(Postgres, "_settings", lambda self: {**usual(self), **quick}):
        yield


@pytest.fixture(scope="session")
def storage() -> Iterator[Storage]:
    path = Path(tempfile.mkdtemp(prefix="onesocket-run-"))
    path.chmod(0o755)
    loop = asyncio.new_event_loop()
    embedded = Embedded(path)
    with _nothing_on_disk():
        loop.run_until_complete(embedded.start())
    loop.run_until_complete(migrate(embedded.database_url))
    storage = Storage(embedded)
    yield storage
    storage.databases.close()
    loop.run_until_complete(embedded.stop())
    loop.close()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def database(storage: Storage) -> AsyncIterator[str]:
    """The URL of a fresh, migrated database."""
    name = await storage.databases.lend()
    yield storage.url(name)
    await storage.databases.take_back(name)


@pytest.fixture
async def redis_url(storage: Storage) -> str:
    """The URL of an empty Redis."""
    import redis.asyncio

    client = redis.asyncio.from_url(storage.redis_url)
    await client.flushall()
    await client.aclose()
    return storage.redis_url


Starter = Callable[..., Awaitable[Server]]
Connector = Callable[..., Awaitable["Person"]]


@pytest.fixture
async def start(database: str, redis_url: str, folder: Path) -> AsyncIterator[Starter]:
    """Starts servers on this test's database: `await start(frame_bytes=1024, ops=[…])`."""
    async with AsyncExitStack() as stack:

        async def begin(ops: Any = (), public: Any = (), **settings: Any) -> Server:
            values = {**QUICK, "data": folder, "database_url": database, "redis_url": redis_url, **settings}
            return await stack.enter_async_context(Server(Config(**values), ops=ops, public=public))

        yield begin


@pytest.fixture
async def server(start: Starter) -> Server:
    """A server with the settings of most tests."""
    return await start()


class Person(Client):
    """A client that has registered and opened a session."""

    name: str
    password = "correct horse battery"
    tokens_given: Tokens


@pytest.fixture
async def connect(server: Server) -> AsyncIterator[Callable[..., Awaitable[Person]]]:
    """Opens sockets: `await connect()` is a stranger, `await connect("ann")` has an account and a session."""
    async with AsyncExitStack() as stack:

        async def begin(name: str | None = None, to: Server | None = None, **fields: Any) -> Person:
            person = await stack.enter_async_context(Person((to or server).url, reconnect=False))
            if name is not None:
                person.name = name
                frame = AccountRegister(username=name, password=Person.password, **fields)
                person.tokens_given = await person.call(frame)
                await person.open(person.tokens_given)
            return person

        yield begin


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    """The mails of this test's servers."""
    log, box = logging.getLogger("onesocket.mail"), Mailbox()
    log.addHandler(box)
    log.setLevel(logging.INFO)
    yield box
    log.removeHandler(box)
    log.setLevel(logging.NOTSET)


@pytest.fixture
async def stranger(connect: Callable[..., Awaitable[Person]]) -> Person:
    return await connect()


@pytest.fixture
async def ann(connect: Callable[..., Awaitable[Person]]) -> Person:
    return await connect("ann")


@pytest.fixture
async def bob(connect: Callable[..., Awaitable[Person]]) -> Person:
    return await connect("bob")


Dial = Callable[..., Awaitable[Raw]]


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """Opens sockets without manners that have heard the hello: `await dial(server)`. They go before the server."""
    opened: list[Raw] = []

    async def begin(server: Server, **options: Any) -> Raw:
        raw = await Raw.connect(server.port, **options)
        opened.append(raw)
        assert (await raw.upgrade()).status == 101
        assert b"session.hello" in await raw.text()
        return raw

    yield begin
    for raw in opened:
        raw.abort()
