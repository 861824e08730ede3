"""from server import Server, Config, op: a server inside another program."""

import asyncio
import importlib
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from protocol.client import Client
from protocol.error import Unauthenticated
from protocol.session import SessionPing
from server import Config, Server
from tests.conftest import QUICK, Person, Starter

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "note.py"
sys.path.insert(0, str(EXAMPLE.parent))
note = importlib.import_module("note")

Connect = Callable[..., Awaitable[Person]]


async def test_an_embedders_op_is_an_op_like_any_other(start: Starter, connect: Connect) -> None:
    server = await start(ops=[note.add])
    ann = await connect("ann", to=server)
    assert (await ann.call(note.NoteAdd(text="milk"))).count == 1
    assert "note.add" in server.router.ops


async def test_an_embedders_op_is_refused_to_strangers(start: Starter, connect: Connect) -> None:
    stranger = await connect(to=await start(ops=[note.add]))
    with pytest.raises(Unauthenticated):
        await stranger.call(note.NoteAdd(text="milk"))


async def test_two_servers_with_different_ops_live_in_one_program(start: Starter) -> None:
    with_note, without = await start(ops=[note.add]), await start()
    assert "note.add" in with_note.router.ops
    assert "note.add" not in without.router.ops


async def test_starts_and_stops_inside_a_running_loop_and_starts_again(folder: Path) -> None:
    for _ in range(2):
        async with Server(Config(**{**QUICK, "data": folder, "drain": 0.1})) as server, Client(server.url) as client:
            await client.call(SessionPing())


def test_the_example_is_short_and_runs() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 30
    run = f"m = runpy.run_path({str(EXAMPLE)!r}, run_name='note')"
    code = f"import runpy; {run}; assert m['add'].__op__.name == 'note.add'"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=EXAMPLE.parents[2], timeout=30)


def test_the_server_runs_on_the_standard_loop_too(folder: Path) -> None:
    async def talk() -> None:
        async with Server(Config(**{**QUICK, "data": folder})) as server, Client(server.url) as client:
            await client.call(SessionPing())

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(talk())
