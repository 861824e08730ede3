"""device: where one is logged in, and ending that. (On other processes: test_revocation.py.)"""

import asyncio

import pytest

from protocol.account import AccountGet, AccountLogin, AccountLogout, AccountRefresh, Tokens
from protocol.audit import AuditList
from protocol.device import Device, DeviceList, DeviceRevoke, DeviceRevokeOthers, DeviceSetPush, FcmPush, WebPush
from protocol.error import Invalid, Missing, SessionRevoked, Unauthenticated
from protocol.session import SessionOpen
from server import Server
from storage.ids import new_id
from tests.conftest import Connector, Person

PASSWORD = Person.password
SOON = 2.0


async def again(connect: Connector, name: str, device: str = "unnamed") -> tuple[Person, Tokens]:
    """A further device of an account, with a socket."""
    person = await connect()
    tokens = await person.call(AccountLogin(login=name, password=PASSWORD, device=device))
    assert isinstance(tokens, Tokens)
    await person.open(tokens)
    return person, tokens


async def listed(person: Person) -> list[Device]:
    return (await person.call(DeviceList())).devices


async def gone(person: Person) -> bool:
    """Its socket was closed, and it must not come back as it is."""
    return (await asyncio.wait_for(person.wait_closed(), SOON))[0] == 4401


async def test_one_sees_ones_own_devices_the_one_last_seen_first(ann: Person, bob: Person, connect: Connector) -> None:
    tablet, tokens = await again(connect, "ann", "a tablet")
    mine, hers = await listed(ann), await listed(tablet)
    assert [one.name for one in mine] == ["a tablet", "unnamed"]
    assert [one.current for one in mine] == [False, True]
    assert [one.current for one in hers] == [True, False]
    assert (mine[0].id, mine[0].address, mine[0].push) == (tokens.device, "127.0.0.1", False)
    assert len(await listed(bob)) == 1


async def test_a_revoked_device_is_out_and_its_tokens_are_worth_nothing(
    ann: Person, stranger: Person, connect: Connector
) -> None:
    tablet, tokens = await again(connect, "ann", "a tablet")
    same = await connect()
    await same.open(tokens)
    await ann.call(DeviceRevoke(device=tokens.device))
    assert await gone(tablet)
    assert await gone(same)
    with pytest.raises(SessionRevoked):
        await stranger.call(AccountRefresh(refresh=tokens.refresh, nonce=new_id()))
    with pytest.raises(SessionRevoked):
        await (await connect()).call(SessionOpen(token=tokens.access))
    assert [one.id for one in await listed(ann)] == [ann.tokens_given.device]
    newest = (await ann.call(AuditList(limit=1))).entries[0]
    assert newest.action == "device.revoke"
    assert newest.detail == {"device": str(tokens.device), "name": "a tablet"}


async def test_a_device_is_revoked_once_and_by_its_own_account_only(
    ann: Person, bob: Person, connect: Connector
) -> None:
    _, tokens = await again(connect, "ann")
    for person, device in ((bob, tokens.device), (bob, new_id()), (ann, new_id())):
        with pytest.raises(Missing):
            await person.call(DeviceRevoke(device=device))
    await ann.call(DeviceRevoke(device=tokens.device))
    with pytest.raises(Missing):
        await ann.call(DeviceRevoke(device=tokens.device))


async def test_whoever_revokes_the_device_in_hand_keeps_the_socket_and_speaks_for_nobody(
    ann: Person, connect: Connector
) -> None:
    same = await connect()
    await same.open(ann.tokens_given)
    await ann.call(DeviceRevoke(device=ann.tokens_given.device))
    assert await gone(same)
    with pytest.raises(Unauthenticated):
        await ann.call(AccountGet())
    tokens = await ann.call(AccountLogin(login="ann", password=PASSWORD))
    await ann.open(tokens)


async def test_a_logout_ends_the_device_on_all_its_sockets(ann: Person, connect: Connector) -> None:
    same, (tablet, _) = await connect(), await again(connect, "ann")
    await same.open(ann.tokens_given)
    await ann.call(AccountLogout())
    assert await gone(same)
    with pytest.raises(Unauthenticated):
        await ann.call(AccountGet())
    with pytest.raises(Unauthenticated):
        await ann.call(AccountLogout())
    newest = (await tablet.call(AuditList(limit=1))).entries[0]
    assert (newest.action, newest.device) == ("account.logout", ann.tokens_given.device)
    with pytest.raises(SessionRevoked):
        await ann.call(AccountRefresh(refresh=ann.tokens_given.refresh, nonce=new_id()))


async def test_all_others_can_be_revoked_at_once(ann: Person, bob: Person, connect: Connector) -> None:
    others = [(await again(connect, "ann"))[0] for _ in range(3)]
    assert (await ann.call(DeviceRevokeOthers())).count == 3
    for other in others:
        assert await gone(other)
    assert (await ann.call(DeviceRevokeOthers())).count == 0
    await bob.call(AccountGet())
    counts = [one.detail for one in (await ann.call(AuditList())).entries if one.action == "device.revoke_others"]
    assert counts == [{"count": "0"}, {"count": "3"}]


async def test_a_device_that_was_not_used_for_long_is_none(ann: Person, connect: Connector, server: Server) -> None:
    _, tokens = await again(connect, "ann")
    await server.pool.execute("UPDATE device SET expires_at = now() WHERE id = $1", tokens.device)
    assert [one.id for one in await listed(ann)] == [ann.tokens_given.device]


async def test_beyond_a_hundred_the_oldest_device_makes_room(ann: Person, connect: Connector, server: Server) -> None:
    await server.pool.execute(
        """
        INSERT INTO device (id, account, name, address, refresh_hash, expires_at, seen_at, push)
        SELECT gen_random_uuid(), account, 'old ' || n, '', '', expires_at, now() - n * interval '1 day', 'x'
          FROM device, generate_series(1, 99) n
        """
    )
    await again(connect, "ann", "new")
    names = [one.name for one in await listed(ann)]
    assert len(names) == 100
    assert (names[0], "old 98" in names, "old 99" in names) == ("new", True, False)
    assert (
        await server.pool.fetchval("SELECT count(*) FROM device WHERE revoked_at IS NOT NULL AND push IS NOT NULL") == 0
    )


async def test_notifications_go_to_a_device_until_it_is_revoked(
    ann: Person, connect: Connector, server: Server
) -> None:
    web = WebPush(endpoint="https://push.example/abc", p256dh="key", auth="auth")
    tablet, tokens = await again(connect, "ann")
    await ann.call(DeviceSetPush(push=web))
    await tablet.call(DeviceSetPush(push=FcmPush(token="a-token")))
    assert [one.push for one in await listed(ann)] == [True, True]
    await ann.call(DeviceSetPush(push=None))
    assert {one.id: one.push for one in await listed(ann)} == {ann.tokens_given.device: False, tokens.device: True}
    await ann.call(DeviceRevoke(device=tokens.device))
    assert await server.pool.fetchval("SELECT count(*) FROM device WHERE push IS NOT NULL") == 0
    with pytest.raises(Invalid):
        await ann.call(DeviceSetPush(push=WebPush(endpoint="https://push.example/a b", p256dh="key", auth="auth")))
