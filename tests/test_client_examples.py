"""The example programs do what they say."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from server import Server

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


@asynccontextmanager
async def example(name: str, *arguments: str) -> AsyncIterator[Process]:
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parents[1]), "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / name), *arguments, stdin=PIPE, stdout=PIPE, stderr=STDOUT, env=environment
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def type_line(process: Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n".encode())
    await process.stdin.drain()


async def shows(process: Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 30)).decode()


async def end(process: Process) -> tuple[str, int]:
    """Close its input; what else it printed, and its exit code."""
    assert process.stdin is not None
    process.stdin.close()
    rest, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return rest.decode(), process.returncode


async def test_two_people_chat_in_their_terminals(server: Server) -> None:
    async with example("chat.py", "ann", "bob", server.url) as early:
        text, code = await end(early)
        assert (text, code) == ("there is no bob yet\n", 1)
    async with example("chat.py", "bob", "ann", server.url) as bob:
        assert await shows(bob) == "\n"
        await type_line(bob, "hello ann")
        assert await shows(bob) == "bob: hello ann\n"
        async with example("chat.py", "ann", "bob", server.url) as ann:
            assert await shows(ann) == "bob: hello ann\n"
            await type_line(ann, "hello bob")
            assert await shows(bob) == await shows(ann) == "ann: hello bob\n"
            await type_line(bob, "good night")
            assert await shows(ann) == await shows(bob) == "bob: good night\n"
            assert await end(ann) == ("", 0)
        assert await end(bob) == ("", 0)


async def test_a_first_conversation(server: Server) -> None:
    async with example("hello.py", "ann", server.url) as hello:
        text, code = await end(hello)
    assert code == 0
    assert "logged in as" in text
    assert "found ann - I have just arrived." in text


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 40
