"""audit: what happened to one's own account, page by page. (Which entries there are: the tests of each domain.)"""

import pytest

from protocol.account import AccountLogin
from protocol.audit import AuditList, AuditPage
from protocol.device import DeviceRevokeOthers
from protocol.error import Invalid, Unauthenticated
from server import Server
from storage import audit
from tests.conftest import Person

PASSWORD = Person.password


async def test_entries_come_newest_first_with_who_where_and_what(ann: Person, stranger: Person) -> None:
    await stranger.call(AccountLogin(login="ann", password=PASSWORD, device="a tablet"))
    await ann.call(DeviceRevokeOthers())
    newest, login, register = (await ann.call(AuditList())).entries
    assert (newest.action, login.action, register.action) == (
        "device.revoke_others",
        "account.login",
        "account.register",
    )
    assert newest.at > login.at > register.at
    assert (newest.device, newest.address) == (ann.tokens_given.device, "127.0.0.1")
    assert newest.detail == {"count": "1"}


async def test_pages_follow_each_other_without_gap_or_repetition(ann: Person, server: Server) -> None:
    await server.pool.execute(
        "INSERT INTO audit (account, action) SELECT id, 'test ' || n FROM account, generate_series(1, 24) n"
    )
    whole = (await ann.call(AuditList(limit=100))).entries
    assert len(whole) == 25
    for limit in (1, 7, 24, 25):
        page, paged = AuditPage(entries=[], next=None), []
        while not paged or page.next is not None:
            page = await ann.call(AuditList(limit=limit, before=page.next))
            paged += page.entries
        assert paged == whole
    assert (await ann.call(AuditList(limit=25))).next is None


async def test_nobody_sees_the_entries_of_others(ann: Person, bob: Person, stranger: Person) -> None:
    seen = (await bob.call(AuditList())).entries
    assert [(one.action, one.device) for one in seen] == [("account.register", bob.tokens_given.device)]
    with pytest.raises(Unauthenticated):
        await stranger.call(AuditList())


async def test_bounds_are_kept(ann: Person) -> None:
    for frame in (AuditList(limit=0), AuditList(limit=101), AuditList(before=0), AuditList(before=2**63)):
        with pytest.raises(Invalid):
            await ann.call(frame)


async def test_old_entries_are_forgotten(ann: Person, server: Server) -> None:
    await server.pool.execute(
        "INSERT INTO audit (account, action, at) SELECT id, 'old', now() - interval '366 days' FROM account"
    )
    await audit.prune(server.pool, 365)
    assert [one.action for one in (await ann.call(AuditList())).entries] == ["account.register"]
