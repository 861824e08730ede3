"""session: opening, keeping and ending a socket's conversation."""

from protocol import VERSION
from protocol.session import SessionPing
from tests.conftest import Person


async def test_hello_names_version_limits_and_heartbeat(stranger: Person) -> None:
    hello = stranger.hello
    assert hello.protocol == VERSION
    assert hello.limits.frame_bytes == 65536
    assert hello.heartbeat == 30


async def test_ping_answers_a_stranger_with_the_time(stranger: Person) -> None:
    before = (await stranger.call(SessionPing())).time
    assert (await stranger.call(SessionPing())).time >= before
