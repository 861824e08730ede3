"""Logins that end while their sockets are open: those close, and nobody else's do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from protocol.account import (
    AccountChangePassword,
    AccountDelete,
    AccountGet,
    AccountLogout,
    AccountResetPassword,
)
from protocol.api_key import ApiKeyRevoke
from protocol.codec import encode
from protocol.device import DeviceRevoke, DeviceRevokeOthers
from protocol.frame import Request
from tests.authorization.world import World

NEW = "a password that is new"
_SOON = 2.0


class Ending(Struct, frozen=True):
    """What ann's phone asks for, and which of her other sockets must close; the rest must not.

    They are: `phone`, another one of the same device; `laptop`; `key`, a program's.
    """

    frame: Callable[[World], Request[Any]]
    ends: tuple[str, ...]
    itself: bool = False


ENDINGS = {
    "device.revoke": Ending(lambda world: DeviceRevoke(device=world.ann.laptop.id), ("laptop",)),
    "device.revoke (itself)": Ending(lambda world: DeviceRevoke(device=world.ann.phone.id), ("phone",), True),
    "device.revoke_others": Ending(lambda world: DeviceRevokeOthers(), ("laptop",)),
    "api_key.revoke": Ending(lambda world: ApiKeyRevoke(key=world.ann.full.id), ("key",)),
    "account.logout": Ending(lambda world: AccountLogout(), ("phone",), True),
    "account.change_password": Ending(
        lambda world: AccountChangePassword(password=world.ann.password, new_password=NEW), ("laptop",)
    ),
    "account.reset_password": Ending(
        lambda world: AccountResetPassword(ticket=world.ann.tickets["reset"], password=NEW),
        ("phone", "laptop", "key"),
        True,
    ),
    "account.delete": Ending(
        lambda world: AccountDelete(password=world.ann.password, code=world.ann.code), ("phone", "laptop", "key"), True
    ),
}


async def run(world: World, ending: Ending) -> None:
    """End the logins and see whose sockets live."""
    ann = world.ann
    asking = await world.open(ann.access(world.server), hears=False)
    others = {
        "phone": await world.open(ann.access(world.server), hears=False),
        "laptop": await world.open(ann.access(world.server, ann.laptop), hears=False),
        "key": await world.open(ann.full.secret, hears=False),
    }
    world.touched = world.ended = True
    asking.send(encode(ending.frame(world)))
    assert (await asking.next()).code == "ok"
    for name, socket in others.items():
        if name in ending.ends:
            async with asyncio.timeout(_SOON):
                assert (await socket.wait_closed())[0] == 4401
        else:
            assert (await socket.ask(encode(AccountGet()))).code == "ok", f"the socket of the {name} ended, too"
    if ending.itself:
        await _speaks_for_nobody(world, asking)
    for socket in (asking, *others.values()):
        socket.abort()


async def _speaks_for_nobody(world: World, socket: Any) -> None:
    """Closed, or refused."""
    try:
        assert (await socket.ask(encode(AccountGet()))).code == "unauthenticated"
    except ConnectionError:
        assert socket.closed[0] == 4401
