"""A chat for two: `chat.py ann bob` in one terminal, `chat.py bob ann` in another, while `onesocket serve` runs."""

import asyncio
import sys

from protocol.account import AccountLogin, AccountRegister, SecondStep, Tokens
from protocol.channel import ChannelOpenDirect
from protocol.client import Client
from protocol.error import Conflict
from protocol.message import MessageCreated, MessageHistory
from protocol.user import UserSearch


async def listen(client: Client, head: int) -> None:
    async for event in client.events():  # goes on over lost connections: nothing is missed, nothing comes twice
        if isinstance(event, MessageCreated) and event.seq > head:
            print(event.message.text, flush=True)


async def main(name: str, friend: str, url: str = "ws://127.0.0.1:8765") -> None:
    lines, password = asyncio.StreamReader(), "a long enough password"
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with asyncio.TaskGroup() as tasks, Client(url) as client:
        try:
            tokens: Tokens | SecondStep = await client.call(AccountRegister(username=name, password=password))
        except Conflict:
            tokens = await client.call(AccountLogin(login=name, password=password))
        assert isinstance(tokens, Tokens)
        await client.open(tokens)
        friends = (await client.call(UserSearch(text=friend))).users or sys.exit(f"there is no {friend} yet")
        channel = (await client.call(ChannelOpenDirect(user=friends[0].id))).channel.id
        before = await client.call(MessageHistory(channel=channel))
        print(*(message.text for message in before.messages), sep="\n", flush=True)
        tasks.create_task(listen(client, before.head))
        async for line in lines:
            await client.send(channel, f"{name}: {line.decode().strip()}")


asyncio.run(main(*sys.argv[1:]))
