"""PostgreSQL: connections, transactions, and what their failures mean to a client.

Rule 1: nothing waits for a connection without a limit.
Rule 2: a database that is away is `Unavailable`, never a traceback: the caller may come back.
Rule 3: a commit is durable before it is acknowledged: `synchronous_commit` is checked at start.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple, Protocol

import asyncpg

from protocol.error import Overloaded, Unavailable

Row = asyncpg.Record
UniqueViolation = asyncpg.UniqueViolationError
BadData = (asyncpg.DataError, asyncpg.CharacterNotInRepertoireError, ValueError, OverflowError)

_MET = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError)
_AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # its connection was told of the end while nobody asked anything
)


PASSING = (*_AWAY, *_MET, asyncpg.DiskFullError, asyncpg.TooManyConnectionsError)  # nobody's fault: it may work again


class Database(Protocol):
    """What queries need: the pool, or one connection within a transaction."""

    async def fetch(self, query: str, *values: Any) -> list[Row]:
        """All rows."""

    async def fetchrow(self, query: str, *values: Any) -> Row | None:
        """The first row."""

    async def fetchval(self, query: str, *values: Any) -> Any:
        """The first column of the first row."""

    async def execute(self, query: str, *values: Any) -> str:
        """The command tag."""


# A process that is stopped in the middle of a transaction must not hold its locks against the others.
_SETTINGS = {
    "application_name": "onesocket",
    "timezone": "UTC",
    "idle_in_transaction_session_timeout": "2000",
    "lock_timeout": "5000",
}
_LANE_SETTINGS = {**_SETTINGS, "lock_timeout": "100"}


class StorageError(Exception):
    """The database is not as the server needs it; the message says what to do."""


class Locked(Exception):
    """Somebody else holds a row, and for longer than a lane waits: nothing was done."""


class Transaction:
    """One connection inside a transaction; counts its queries into the pool."""

    __slots__ = ("_connection", "_pool", "_then")

    def __init__(self, pool: Pool, connection: Any) -> None:
        self._pool, self._connection = pool, connection
        self._then: list[Callable[[], None]] = []

    def then(self, call: Callable[[], None]) -> None:
        """Something to do once all of it is committed."""
        self._then.append(call)

    def committed(self) -> None:
        """It is."""
        for call in self._then:
            call()

    @asynccontextmanager
    async def part(self) -> AsyncIterator[None]:
        """A part that may fail alone; when the server is away, or two meet, all of it does."""
        before = len(self._then)
        try:
            async with self._connection.transaction():
                yield
        except BaseException:
            del self._then[before:]
            raise

    async def fetch(self, query: str, *values: Any) -> list[Row]:
        """All rows."""
        self._pool.queries += 1
        return list(await self._connection.fetch(query, *values))

    async def fetchrow(self, query: str, *values: Any) -> Row | None:
        """The first row."""
        self._pool.queries += 1
        row: Row | None = await self._connection.fetchrow(query, *values)
        return row

    async def fetchval(self, query: str, *values: Any) -> Any:
        """The first column of the first row."""
        self._pool.queries += 1
        return await self._connection.fetchval(query, *values)

    async def execute(self, query: str, *values: Any) -> str:
        """The command tag."""
        self._pool.queries += 1
        return str(await self._connection.execute(query, *values))


class _Known(NamedTuple):
    """What asyncpg is told instead of the statement by which it would have asked about types."""

    name: str = "known"


_OWN_TYPES = 16384  # the first number of a type that PostgreSQL did not bring: those before are the same everywhere
_types: dict[frozenset[int], list[Any]] = {}


class _Connection(asyncpg.Connection):
    """A connection that is given back as it is: nothing here sets what outlives a transaction, so nothing is reset.

    The reset would be a second round trip with every query. Nor does each connection ask about the arrays of
    PostgreSQL's own types again, which takes it ten milliseconds for each: one of the process has.
    """

    def get_reset_query(self) -> str:
        return ""

    async def _introspect_types(self, typeoids: Iterable[int], timeout: float) -> tuple[list[Any], Any]:
        wanted = frozenset(typeoids)
        if wanted in _types:
            return _types[wanted], _Known()
        rows, statement = await super()._introspect_types(wanted, timeout)  # type: ignore[misc]
        if max(wanted) < _OWN_TYPES:
            _types[wanted] = rows
        return rows, statement


class Pool:
    """All connections of one process."""

    def __init__(self, url: str, *, size: int, acquire_timeout: float, query_timeout: float) -> None:
        self._url, self._size = url, size
        self._acquire_timeout, self._query_timeout = acquire_timeout, query_timeout
        self._pool: asyncpg.Pool[Row] | None = None
        self.queries, self.waiting, self.waited = 0, 0, 0.0
        self.away = False

    async def start(self) -> None:
        """Connect, or say why that is impossible."""
        try:
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=1,
                max_size=self._size,
                timeout=10,
                command_timeout=self._query_timeout,
                max_inactive_connection_lifetime=300,
                server_settings=_SETTINGS,
                connection_class=_Connection,
            )
        except (OSError, asyncpg.PostgresError, ValueError) as error:
            raise StorageError(f"cannot connect to PostgreSQL: {error}; check DATABASE_URL") from error
        await self._check()

    async def _check(self) -> None:
        version = int(await self.fetchval("SELECT current_setting('server_version_num')"))
        if version < 150000:
            raise StorageError(f"PostgreSQL {version // 10000} is too old: 15 or newer is needed")
        if await self.fetchval("SELECT current_setting('synchronous_commit')") == "off":
            raise StorageError("synchronous_commit is off: acknowledged writes could be lost; turn it on")

    async def stop(self) -> None:
        """Close all connections, whatever state the server is in."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            await asyncio.wait_for(pool.close(), 5)
        except (TimeoutError, *_AWAY):
            pool.terminate()

    def lane(self) -> Lane:
        """A connection for one purpose only, made when it is first used and again when it was lost."""
        return Lane(self, self._url, self._acquire_timeout)

    @property
    def size(self) -> tuple[int, int]:
        """Connections, and how many of them are idle."""
        return (self._pool.get_size(), self._pool.get_idle_size()) if self._pool else (0, 0)

    @asynccontextmanager
    async def _acquire(self) -> AsyncIterator[Any]:
        pool = self._pool
        if pool is None:
            raise Unavailable("the database is not connected", retry_after=1)
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.waiting += 1
        try:
            connection = await pool.acquire(timeout=self._acquire_timeout)
        except TimeoutError:
            raise Overloaded("the database is busy", retry_after=1) from None
        except asyncpg.TooManyConnectionsError:
            raise
        except asyncpg.PostgresError as error:  # it answers, but lets nobody in: for who asks, it is away
            raise ConnectionError(str(error)) from error
        finally:
            self.waiting -= 1
            self.waited += loop.time() - started
        try:
            yield connection
        finally:
            await pool.release(connection, timeout=5)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """All of it or nothing; committed when the block ends."""
        with _away(self):
            async with self._acquire() as connection:
                tx = Transaction(self, connection)
                async with connection.transaction():
                    yield tx
                tx.committed()

    async def fetch(self, query: str, *values: Any) -> list[Row]:
        """All rows of one query of its own."""
        self.queries += 1
        with _away(self):
            async with self._acquire() as connection:
                return list(await connection.fetch(query, *values))

    async def fetchrow(self, query: str, *values: Any) -> Row | None:
        """The first row of one query of its own."""
        self.queries += 1
        with _away(self):
            async with self._acquire() as connection:
                row: Row | None = await connection.fetchrow(query, *values)
                return row

    async def fetchval(self, query: str, *values: Any) -> Any:
        """The first column of the first row of one query of its own."""
        self.queries += 1
        with _away(self):
            async with self._acquire() as connection:
                return await connection.fetchval(query, *values)

    async def execute(self, query: str, *values: Any) -> str:
        """Run one statement of its own."""
        self.queries += 1
        with _away(self):
            async with self._acquire() as connection:
                return str(await connection.execute(query, *values))


class Lane:
    """One connection that nobody else uses: no query of its user waits for the pool, nor for long for a lock."""

    def __init__(self, pool: Pool, url: str, patience: float) -> None:
        self._pool, self._url, self._patience = pool, url, max(patience, 2.0)
        self._connection: asyncpg.Connection[Row] | None = None

    async def fetchrow(self, query: str, *values: Any, timeout: float) -> Row | None:
        """The first row, or `Locked`; when this raises `Unavailable`, whether it was done is unknown."""
        self._pool.queries += 1
        with _away(self._pool):
            try:
                async with asyncio.timeout(timeout):
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await asyncpg.connect(
                            self._url,
                            timeout=self._patience,
                            server_settings=_LANE_SETTINGS,
                            connection_class=_Connection,
                        )
                    row: Row | None = await self._connection.fetchrow(query, *values)
                    return row
            except asyncpg.LockNotAvailableError as error:
                raise Locked from error
            except (TimeoutError, *_AWAY) as error:
                self.drop()
                raise ConnectionError(str(error)) from error

    def another(self) -> Lane:
        """One more, beside this one."""
        return Lane(self._pool, self._url, self._patience)

    def drop(self) -> None:
        """Let go of the connection, whatever state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


@contextmanager
def _away(pool: Pool) -> Iterator[None]:
    """Turn the failures of a missing or stuck server into what a client can act on."""
    try:
        yield
    except _AWAY as error:
        pool.away = True
        raise Unavailable("the database is away for a moment", retry_after=1) from error
    except _MET as error:
        raise Overloaded("two changes met; try again", retry_after=0.2) from error
    except asyncpg.DiskFullError as error:
        raise Unavailable("the database has no room left", retry_after=30) from error
    except asyncpg.TooManyConnectionsError as error:
        raise Overloaded("the database has no connection left", retry_after=2) from error
