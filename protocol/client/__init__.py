"""A client for programs: typed calls and typed events over one socket that comes back by itself.

    async with Client("ws://127.0.0.1:8765") as client:
        tokens = await client.call(AccountRegister(username="ann", password="correct horse"))
        await client.open(tokens)
        async for event in client.events():
            ...

Rule 1: a request is sent twice only when its caller said that this does no harm (`retry=True`).
Rule 2: one refresh at a time, and one whose reply was lost is asked again with the same nonce.
Rule 3: facts are handed out once and in order, whatever happens to connections; those that can't be are told of.
Rule 4: nothing grows without bound: what a program has no room for stays on the server until it has.
Rule 5: what a newer server sends and this client does not know is skipped.
"""

from protocol.client.client import Client
from protocol.client.connection import Disconnected
from protocol.client.streams import StreamReset

__all__ = ["Client", "Disconnected", "StreamReset"]
