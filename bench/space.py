"""A community of a hundred thousand: opening, listing, looking, and how soon a right that is taken is gone.

The server that is started for it is filled by SQL first (`bench/seed.py`), which takes some minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from urllib.parse import quote
from uuid import UUID, uuid4

from bench import process, report, runner
from bench.accounts import Registered, register_all
from bench.load.histogram import BUCKET_NS, Counts, summary
from bench.seed import seed
from bench.target import Target, target
from protocol.channel import ChannelWatch
from protocol.client import Client
from protocol.error import Refusal
from protocol.frame import Request
from protocol.member import MemberList, MemberSearch
from protocol.message import MessageHistory, MessageSend
from protocol.permission import PermissionClear, PermissionSet
from protocol.session import SessionOpen
from protocol.space import SpaceCreate, SpaceGet, SpaceJoin

_MEASURED = ("session_open", "space_get", "member_list", "member_search", "channel_watch", "message_history")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    report.add_options(parser)
    parser.add_argument("--workers", type=int, default=2, help="processes of the server (default 2)")
    parser.add_argument("--members", type=int, default=100_000, help="how many are in it (default 100000)")
    parser.add_argument("--roles", type=int, default=50, help="how many roles there are (default 50)")
    parser.add_argument("--channels", type=int, default=499, help="besides the first one (default 499)")
    parser.add_argument("--messages", type=int, default=1_000_000, help="in all channels together (default 1000000)")
    parser.add_argument("--times", type=int, default=200, help="how often each thing is done (default 200)")
    parser.add_argument("--max-open-ms", type=float, default=100.0, help="p95 of session.open (default 100)")
    parser.add_argument("--max-list-ms", type=float, default=50.0, help="p95 of a range of members (default 50)")
    parser.add_argument("--max-change-ms", type=float, default=1000.0, help="a right is gone everywhere (default 1000)")


def run(options: argparse.Namespace) -> int:
    """Measure; the exit code."""
    if options.url is not None:
        raise SystemExit("this scenario fills the database of its own server: do without --url")
    process.allow_many_files()
    with target(options) as server:
        result = runner.run(measure(server, options))
    limits = [
        report.Limit("session_open_ms.p95", options.max_open_ms),
        report.Limit("member_list_ms.p95", options.max_list_ms),
        report.Limit("permission_gone_ms.p95", options.max_change_ms),
    ]
    flat = dict(result) | {f"{name}.p95": one["p95"] for name, one in result.items() if isinstance(one, dict)}
    code = report.publish(result, options)
    lines, failed = report.verdicts(flat, limits)
    print("\n".join(lines))
    return 1 if failed else code


async def measure(server: Target, options: argparse.Namespace) -> report.Result:
    """Fill it, and use it."""
    owner, member = await register_all(server.url, 2, lambda _: None)
    async with Client(server.url) as ann, Client(server.url) as bob:
        await ann.call(SessionOpen(token=owner.token))
        await bob.call(SessionOpen(token=member.token))
        space = (await ann.call(SpaceCreate(name="Large", nonce=uuid4(), open=True))).id
        await bob.call(SpaceJoin(space=space))
        await _fill(server, space, owner, options)
        found = await _look(server.url, member, bob, space, options)
        found |= {"permission_gone_ms": summary(await _withdraw(server.url, ann, member, space, 20))}
    return {"scenario": "space", "members": options.members, "workers": len(server.workers)} | found


async def _fill(server: Target, space: UUID, owner: Registered, options: argparse.Namespace) -> None:
    assert server.data is not None
    url = f"postgresql://onesocket@/onesocket?host={quote(str((server.data / 'run').resolve()))}"
    began = time.monotonic()
    await seed(
        url,
        space,
        UUID(owner.id),
        members=options.members,
        roles=options.roles,
        channels=options.channels,
        messages=options.messages,
    )
    print(f"filled in {time.monotonic() - began:.0f} s")


async def _look(url: str, member: Registered, bob: Client, space: UUID, options: argparse.Namespace) -> report.Result:
    dice = random.Random(1)
    await asyncio.sleep(2)
    view = await bob.call(SpaceGet(space=space), timeout=60)
    rooms = [one.channel.id for one in view.channels]

    async def opened() -> None:
        async with Client(url) as other:
            await other.call(SessionOpen(token=member.token))

    asks: dict[str, Callable[[], Awaitable[object]]] = {
        "session_open": opened,
        "space_get": lambda: bob.call(SpaceGet(space=space)),
        "member_list": lambda: bob.call(MemberList(space=space, offset=dice.randrange(options.members), limit=100)),
        "member_search": lambda: bob.call(MemberSearch(space=space, text=f"seed {dice.randrange(16):x}")),
        "channel_watch": lambda: bob.call(ChannelWatch(channels=[dice.choice(rooms[:100])])),
        "message_history": lambda: bob.call(MessageHistory(channel=dice.choice(rooms))),
    }
    return {f"{name}_ms": summary(await _times(asks[name], options.times)) for name in _MEASURED} | {
        "channels_seen": len(rooms)
    }


async def _times(ask: Callable[[], Awaitable[object]], times: int) -> Counts:
    await ask()
    found = Counter[int]()
    for _ in range(times):
        began = time.perf_counter()
        await ask()
        found[round((time.perf_counter() - began) * 1e9) // BUCKET_NS] += 1
    return found


async def _withdraw(url: str, ann: Client, member: Registered, space: UUID, times: int) -> Counts:
    """From the reply that a right is taken until no socket, on whatever process, has it."""
    shown = (await ann.call(SpaceGet(space=space))).channels
    room = next(one.channel.id for one in shown if one.channel.name == "general")  # seen by everybody
    found = Counter[int]()
    async with AsyncExitStack() as stack:
        others = [await stack.enter_async_context(Client(url)) for _ in range(8)]  # spread over the processes
        for one in others:
            await one.call(SessionOpen(token=member.token))
        for _ in range(times):
            await asyncio.gather(*(one.call(_message(room)) for one in others))
            await ann.call(PermissionSet(channel=room, role=space, deny=["send"]))
            began = time.perf_counter()
            await asyncio.gather(*(_refused(one, room) for one in others))
            found[round((time.perf_counter() - began) * 1e9) // BUCKET_NS] += 1
            await ann.call(PermissionClear(channel=room, role=space))
    return found


async def _refused(one: Client, room: UUID) -> None:
    while True:
        try:
            await one.call(_message(room))
        except Refusal:
            return


def _message(room: UUID) -> Request[object]:
    return MessageSend(channel=room, text="x", nonce=uuid4())
