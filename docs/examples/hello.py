"""A first conversation: make an account, log in, look around. Run it while `onesocket serve` runs."""

import asyncio
import sys

from protocol.account import AccountRegister, AccountUpdate
from protocol.client import Client
from protocol.session import SessionPing
from protocol.user import UserSearch


async def main(name: str = "ann", url: str = "ws://127.0.0.1:8765") -> None:
    async with Client(url) as client:
        print("server", client.hello.node, "speaks protocol", client.hello.protocol)
        tokens = await client.call(AccountRegister(username=name, password="a long enough password"))
        opened = await client.open(tokens)
        print("logged in as", opened.account)
        await client.call(AccountUpdate(bio="I have just arrived."))
        for user in (await client.call(UserSearch(text=name))).users:
            print("found", user.username, "-", user.bio)
        print("the server's clock says", (await client.call(SessionPing())).time)


asyncio.run(main(*sys.argv[1:]))
