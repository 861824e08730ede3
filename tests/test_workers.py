"""What is true of two servers is true of two worker processes of `onesocket serve`."""

from pathlib import Path
from uuid import uuid4

import psutil

from protocol.client import Client
from protocol.message import MessageHistory, MessageSend
from tests.chat import UNBOUND, Phone, group, registered
from tests.service import Service


async def on(service: Service, worker: int, token: str) -> Phone:
    """A socket that this process serves: the kernel deals them out."""
    for _ in range(100):
        phone = await Phone.open(service, token)
        port = phone.transport.get_extra_info("sockname")[1]
        if any(one.raddr and one.raddr.port == port for one in psutil.Process(worker).net_connections()):
            return phone
        phone.abort()
    raise AssertionError(f"worker {worker} was given none of a hundred sockets")


async def test_a_thousand_nonces_each_sent_at_once_through_two_workers_are_a_thousand_messages(
    folder: Path, database: str, redis_url: str
) -> None:
    settings = {**UNBOUND, "database_url": database, "redis_url": redis_url}
    sets = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    async with Service(folder, "--workers", "2", *sets) as service:
        one, other = service.workers()
        tokens = await registered(service, "ann")
        async with Client(service.url) as ann:
            await ann.open(tokens)
            channel = await group(ann)
        here, there = await on(service, one, tokens.access), await on(service, other, tokens.access)
        frames = [MessageSend(channel=channel, text=str(number), nonce=uuid4()) for number in range(1000)]
        numbers = list(zip(here.ask(*frames), there.ask(*frames), strict=True))
        first = await here.answers([number for number, _ in numbers])
        second = await there.answers([number for _, number in numbers])
        assert [reply["ok"] for reply in first] == [reply["ok"] for reply in second]
        assert sorted(reply["ok"]["seq"] for reply in first) == list(range(1, 1001))
        texts = []
        for after in range(0, 1000, 100):
            page = await there.call(MessageHistory(channel=channel, after=after, limit=100))
            texts += [int(message["text"]) for message in page["messages"]]
        assert sorted(texts) == list(range(1000))
        for phone in (here, there):
            assert await phone.heard(channel, 1000) == list(range(1, 1001))
            phone.abort()
