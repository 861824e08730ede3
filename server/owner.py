"""The first owner: a link printed at the start of a server that belongs to nobody."""

from server.secret import digest, ticket
from storage import instance
from storage import ticket as tickets
from storage.pool import Pool

_SECONDS = 86400


async def link(pool: Pool, public_url: str) -> str | None:
    """A link that makes its opener the owner, good once and for a day; None when there is an owner."""
    if await instance.has_owner(pool):
        return None
    secret = ticket()
    await tickets.withdraw(pool, "claim")
    await tickets.issue(pool, "claim", digest(secret), None, _SECONDS)
    return f"{public_url}/claim#{secret}"
