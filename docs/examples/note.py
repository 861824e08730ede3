"""A server with an op of its own. Run it, log in, then send {"op": "note.add", "id": 1, "text": "milk"}."""

import asyncio

from protocol.frame import Body, Request, Text
from server import LOGGED_IN, Config, Context, Server, op


class Noted(Body, frozen=True):
    count: int


class NoteAdd(Request[Noted], tag="note.add", frozen=True):
    text: Text


@op(access=LOGGED_IN, limit="20/10s")
async def add(ctx: Context, frame: NoteAdd) -> Noted:
    return Noted(count=await ctx.db.fetchval("SELECT count(*) FROM account WHERE bio <> $1", frame.text))


async def main() -> None:
    async with Server(Config(port=8765), ops=[add]) as server:
        print(server.url, await server.owner_link())
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
