"""State that was read once and then followed by events is the state that is read anew, whatever has happened.

The ordinary run draws the same few examples each time. To look for longer, with others each time:

    STATE_EXAMPLES=5000 pytest -m slow tests/test_state.py
"""

import os
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, settings
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from server import Config, Server
from tests.chat import UNBOUND
from tests.conftest import QUICK
from tests.raw import until
from tests.state.call_rules import CallRules
from tests.state.channel_rules import ChannelRules
from tests.state.message_rules import MessageRules
from tests.state.people_rules import PeopleRules
from tests.state.poll_rules import PollRules
from tests.state.rules import NODE
from tests.state.world import World

_ENOUGH = 20  # to be worth a check
_ORDINARY, _LONG = 5, int(os.environ.get("STATE_EXAMPLES", "500"))


class Stage:
    """Two nodes on one database, and the loop that they and all clients run on."""

    def __init__(self, database: str, redis_url: str, folder: Path) -> None:
        self._loop = uvloop.new_event_loop()
        self._stack = AsyncExitStack()
        self._values = {**QUICK, **UNBOUND, "data": folder, "database_url": database, "redis_url": redis_url}
        self.servers: list[Server] = []

    def run(self, awaitable: Awaitable[Any]) -> Any:
        return self._loop.run_until_complete(awaitable)

    async def begin(self) -> None:
        for _ in range(2):
            server = Server(Config(**self._values))
            self.servers.append(await self._stack.enter_async_context(server))
        await until(lambda: all(one.bus.others >= 1 and one.bus.alive for one in self.servers))
        for one in self.servers:
            assert await one.bus.settled()

    def end(self) -> None:
        self.run(self._stack.aclose())
        self.run(self._loop.shutdown_asyncgens())
        self._loop.close()


class Community(ChannelRules, MessageRules, PollRules, PeopleRules, CallRules):
    """Everything that this server does with channels, by three people at once."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage, self._sound = stage, True
        self.world = stage.run(World.new(stage.servers))

    def run(self, awaitable: Awaitable[Any]) -> None:
        try:
            self._stage.run(awaitable)
        except BaseException:
            self._sound = False
            raise

    @precondition(lambda self: self.world.unchecked >= _ENOUGH)
    @rule(node=NODE)
    def compare(self, node: int) -> None:
        self.run(self.world.check(node))

    def teardown(self) -> None:
        try:
            if self._sound:
                self.run(self.world.check(0))
        finally:
            self.world.close()


@pytest.fixture
def stage(database: str, redis_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr("server.presence._MOMENT", 0.02)  # what is told a moment later need not be waited for
    monkeypatch.setattr("server.presence._IDLE", 0.1)
    monkeypatch.setattr("server.due._EVERY", 0.02)
    monkeypatch.setattr("server.tail._EVERY", 0.02)
    monkeypatch.setattr("server.tail._SWEEP_EVERY", 0.1)
    stage = Stage(database, redis_url, folder)
    stage.run(stage.begin())
    yield stage
    stage.end()


def play(stage: Stage, **limits: Any) -> None:
    how = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), **limits)
    run_state_machine_as_test(lambda: Community(stage), settings=how)  # type: ignore[arg-type]


@pytest.mark.timeout(600)  # when it fails: the shortest way there is looked for
def test_stale_state_and_events_are_fresh_state(stage: Stage) -> None:
    play(stage, max_examples=_ORDINARY, stateful_step_count=80, derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_stale_state_and_events_are_fresh_state_for_long(stage: Stage) -> None:
    play(stage, max_examples=_LONG, stateful_step_count=200, print_blob=True)
