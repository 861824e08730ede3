"""api_key: keys of programs, and what they cannot do."""

import asyncio

import pytest

from protocol import account, api_key, audit, device, two_factor
from protocol.account import AccountGet, AccountUpdate
from protocol.api_key import ApiKeyCreate, ApiKeyList, ApiKeyRevoke, NewApiKey
from protocol.audit import AuditList
from protocol.error import Conflict, Forbidden, Invalid, Missing, Unauthenticated, WrongCredentials
from protocol.frame import Request
from protocol.session import SessionOpen, SessionPing
from protocol.user import UserGet, UserList, UserSearch
from server import Server
from server.secret import digest
from storage.ids import new_id
from tests.conftest import Connector, Person

PASSWORD = Person.password
SOON = 2.0


async def made(person: Person, *scopes: str, days: int | None = None) -> NewApiKey:
    return await person.call(ApiKeyCreate(name="a bot", password=PASSWORD, scopes=list(scopes), days=days))


async def test_a_program_acts_for_its_account_within_its_scopes(ann: Person, stranger: Person) -> None:
    key = await made(ann, "user.search", "account.get")
    opened = await stranger.open(key.secret)
    assert (opened.account, opened.device) == (ann.tokens_given.account, None)
    assert opened.scopes == ["account.get", "user.search"]
    assert opened.me == await stranger.call(AccountGet())
    assert [one.username for one in (await stranger.call(UserSearch(text="an"))).users] == ["ann"]
    for frame in (UserList(), UserGet(user=ann.tokens_given.account), AccountUpdate(bio="by a bot")):
        with pytest.raises(Forbidden, match="no scope for"):
            await stranger.call(frame)
    await stranger.call(SessionPing())


async def test_a_domain_is_a_scope_and_so_is_everything(ann: Person, connect: Connector) -> None:
    domain, everything = await connect(), await connect()
    await domain.open((await made(ann, "user")).secret)
    await domain.call(UserList())
    with pytest.raises(Forbidden):
        await domain.call(AccountGet())
    await everything.open((await made(ann, "*")).secret)
    await everything.call(UserList())
    await everything.call(AccountGet())


async def test_a_program_without_the_scope_learns_nothing_of_the_account(ann: Person, stranger: Person) -> None:
    for scopes in (["user"], ["account.update"], ["account.avatars", "user.get"]):
        opened = await stranger.open((await made(ann, *scopes)).secret)
        assert (opened.account, opened.me) == (ann.tokens_given.account, None)
    assert (await stranger.open((await made(ann, "account")).secret)).me is not None


async def test_a_scope_that_no_op_has_is_a_typing_error(ann: Person) -> None:
    for scope in ("users", "user.find", "usr", "server.stop"):
        with pytest.raises(Invalid) as refused:
            await made(ann, "user", scope)
        assert refused.value.field == "scopes"
    for scope in ("", "User", "user.*", "user.get.more", "*\n"):
        with pytest.raises(Invalid):
            await made(ann, scope)
    with pytest.raises(Invalid):
        await made(ann)


# Every op that a rule keeps for people; a key with every scope meets all of them below.
IN_PERSON: list[Request[object]] = [
    account.AccountLinkExternal(ticket="t", code="c", state="s"),
    account.AccountUnlinkExternal(provider="p", password=PASSWORD),
    account.AccountLogout(),
    account.AccountChangePassword(password=PASSWORD, new_password="another password"),
    account.AccountChangeEmail(password=PASSWORD, email="a@example.org"),
    account.AccountClaim(ticket="t"),
    account.AccountExport(),
    account.AccountDelete(password=PASSWORD),
    api_key.ApiKeyCreate(name="more", password=PASSWORD, scopes=["*"]),
    api_key.ApiKeyList(),
    api_key.ApiKeyRevoke(key=new_id()),
    audit.AuditList(),
    device.DeviceList(),
    device.DeviceRevoke(device=new_id()),
    device.DeviceRevokeOthers(),
    device.DeviceSetPush(push=None),
    two_factor.TwoFactorEnable(password=PASSWORD),
    two_factor.TwoFactorConfirm(code="123456"),
    two_factor.TwoFactorRenew(password=PASSWORD, code="123456"),
    two_factor.TwoFactorDisable(password=PASSWORD, code="123456"),
]


async def test_no_key_does_what_is_kept_for_people(ann: Person, stranger: Person, server: Server) -> None:
    await stranger.open((await made(ann, "*")).secret)
    for frame in IN_PERSON:
        with pytest.raises(Forbidden, match="in person"):
            await stranger.call(frame)
    kept = {op.name for op in server.router.ops.values() if "in_person" in op.access.words}
    assert kept == {frame.__struct_config__.tag for frame in IN_PERSON}
    await ann.call(AccountGet())


async def test_a_key_takes_the_password_and_shows_its_secret_once(ann: Person, server: Server) -> None:
    with pytest.raises(WrongCredentials):
        await ann.call(ApiKeyCreate(name="a bot", password="wrong password", scopes=["*"]))
    key = await made(ann, "user")
    assert key.secret.startswith("osk_")
    [listed] = (await ann.call(ApiKeyList())).keys
    assert listed == key.key
    assert not hasattr(listed, "secret")
    row = await server.pool.fetchrow("SELECT * FROM api_key")
    assert row is not None
    assert row["hash"] == digest(key.secret)
    assert key.secret[4:].encode() not in repr(dict(row)).encode()
    newest = (await ann.call(AuditList(limit=1))).entries[0]
    assert (newest.action, newest.detail) == ("api_key.create", {"name": "a bot", "key": str(key.key.id)})


async def test_the_list_tells_the_newest_first_and_when_each_was_used(ann: Person, stranger: Person) -> None:
    first, second = await made(ann, "user"), await made(ann, "user", days=7)
    await stranger.open(first.secret)
    newer, older = (await ann.call(ApiKeyList())).keys
    assert (newer.id, older.id) == (second.key.id, first.key.id)
    assert (newer.used_at, older.expires_at) == (None, None)
    assert older.used_at is not None
    assert newer.expires_at is not None
    assert (newer.expires_at - newer.created_at).days == 7


async def test_an_expired_key_opens_nothing(ann: Person, stranger: Person, server: Server) -> None:
    key = await made(ann, "*", days=1)
    await server.pool.execute("UPDATE api_key SET expires_at = expires_at - interval '1 day'")
    with pytest.raises(Unauthenticated):
        await stranger.call(SessionOpen(token=key.secret))


async def test_a_revoked_key_is_out_at_once_and_so_are_its_sockets_only(
    ann: Person, bob: Person, connect: Connector
) -> None:
    key, other = await made(ann, "*"), await made(ann, "*")
    sockets = [await connect() for _ in range(2)]
    for socket in sockets:
        await socket.open(key.secret)
    unharmed = await connect()
    await unharmed.open(other.secret)
    for person, unknown in ((bob, key.key.id), (ann, new_id()), (ann, ann.tokens_given.device)):
        with pytest.raises(Missing):
            await person.call(ApiKeyRevoke(key=unknown))
    await ann.call(ApiKeyRevoke(key=key.key.id))
    for socket in sockets:
        assert (await asyncio.wait_for(socket.wait_closed(), SOON))[0] == 4401
    with pytest.raises(Unauthenticated):
        await (await connect()).call(SessionOpen(token=key.secret))
    with pytest.raises(Missing):
        await ann.call(ApiKeyRevoke(key=key.key.id))
    await unharmed.call(UserList())
    assert [one.id for one in (await ann.call(ApiKeyList())).keys] == [other.key.id]
    newest = (await ann.call(AuditList(limit=1))).entries[0]
    assert (newest.action, newest.detail) == ("api_key.revoke", {"name": "a bot", "key": str(key.key.id)})


async def test_made_up_keys_open_nothing(ann: Person, stranger: Person) -> None:
    key = await made(ann, "*")
    for token in ("osk_", "osk_" + "x" * 43, key.secret[:-1], key.secret + "A", key.secret.lower(), str(key.key.id)):
        with pytest.raises(Unauthenticated):
            await stranger.call(SessionOpen(token=token))


async def test_fifty_keys_are_the_most_also_for_many_asked_for_at_once(ann: Person, server: Server) -> None:
    await server.pool.execute(
        """
        INSERT INTO api_key (id, account, name, hash, scopes)
        SELECT gen_random_uuid(), id, 'old', uuid_send(gen_random_uuid()), '{user}' FROM account, generate_series(1, 47)
        """
    )
    answers = await asyncio.gather(*(made(ann, "user") for _ in range(8)), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict"] * 5 + ["NewApiKey"] * 3
    keys = (await ann.call(ApiKeyList())).keys
    assert len(keys) == 50
    with pytest.raises(Conflict):
        await made(ann, "user")
    await ann.call(ApiKeyRevoke(key=keys[0].id))
    await made(ann, "user")


async def test_a_key_is_no_refresh_token_and_no_password(ann: Person, stranger: Person) -> None:
    key = await made(ann, "*")
    with pytest.raises(Unauthenticated):
        await stranger.call(account.AccountRefresh(refresh=key.secret, nonce=new_id()))
    with pytest.raises(WrongCredentials):
        await stranger.call(account.AccountLogin(login="ann", password=key.secret))
