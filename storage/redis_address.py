"""Where Redis is and who we are to it, read from a URL by redis-py, so that all our connections agree."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

PORT = 6379


@dataclass(frozen=True, slots=True)
class Address:
    """One server; `path` is its Unix socket and then there is no host."""

    host: str = "localhost"
    port: int = PORT
    path: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    tls: ssl.SSLContext | None = None


def address_of(url: str) -> Address:
    """Read redis://, rediss:// and unix:// URLs; a ValueError says what is wrong with another one."""
    from redis.asyncio import ConnectionPool, SSLConnection

    pool: ConnectionPool = ConnectionPool.from_url(url)
    told = pool.connection_kwargs
    connection = pool.connection_class(**told)
    return Address(
        host=told.get("host", "localhost"),
        port=int(told.get("port", PORT)),
        path=told.get("path", ""),
        username=told.get("username") or "",
        password=told.get("password") or "",
        database=int(told.get("db") or 0),
        tls=connection.ssl_context.get() if isinstance(connection, SSLConnection) else None,
    )
