"""account: keeping one's own, taking everything along, leaving, and owning the server."""

import asyncio
from typing import Any
from uuid import UUID

import msgspec
import pytest

from protocol.account import (
    AccountAvatars,
    AccountClaim,
    AccountDelete,
    AccountExport,
    AccountGet,
    AccountLogin,
    AccountRefresh,
    AccountSetAvatar,
    AccountSetLocation,
    AccountUpdate,
    AccountVerifyEmail,
    Location,
    Notifications,
    Tokens,
)
from protocol.api_key import ApiKeyCreate
from protocol.audit import AuditList
from protocol.error import (
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    Missing,
    PasswordNeeded,
    SessionRevoked,
    Unauthenticated,
    WrongCredentials,
)
from protocol.session import SessionOpen
from protocol.user import UserBlock, UserBlocked, UserGet, UserSearch
from server import Server
from tests.authenticator import Authenticator
from tests.conftest import Connector, Person
from tests.mailbox import Mailbox

PASSWORD = Person.password
SOON = 2.0


async def test_an_update_changes_what_it_names_and_nothing_else(ann: Person) -> None:
    before = await ann.call(AccountGet())
    changed = await ann.call(AccountUpdate(bio="I sail", interests=["boats", "wind"], theme="dark"))
    assert changed == msgspec.structs.replace(before, bio="I sail", interests=["boats", "wind"], theme="dark")
    quiet = Notifications(sounds=False, email_digest="weekly")
    await ann.call(AccountUpdate(notifications=quiet, display_name="Ann B.", city="Kiel", locale="de"))
    now = await ann.call(AccountGet())
    assert (now.notifications, now.display_name, now.city, now.locale) == (quiet, "Ann B.", "Kiel", "de")
    assert (now.bio, now.interests) == ("I sail", ["boats", "wind"])
    assert await ann.call(AccountUpdate()) == now
    assert (await ann.call(AccountUpdate(bio="", interests=[]))).bio == ""


async def test_a_new_name_follows_the_rules_of_names(ann: Person, bob: Person) -> None:
    for name, refusal in (("B0b", Conflict), ("b\u043eb", Conflict), ("admin", Invalid), ("_ann", Invalid)):
        with pytest.raises(refusal) as refused:
            await ann.call(AccountUpdate(username=name, bio="not stored"))
        assert refused.value.field == "username"
    assert (await ann.call(AccountGet())).bio == ""
    assert (await ann.call(AccountUpdate(username="Ann"))).username == "Ann", "one's own name in other letters"
    await ann.call(AccountUpdate(username="anna"))
    newest = (await ann.call(AuditList(limit=1))).entries[0]
    assert (newest.action, newest.detail) == ("account.rename", {"username": "anna"})
    await bob.call(AccountUpdate(username="ann"))
    assert isinstance(await bob.call(AccountLogin(login="anna", password=PASSWORD)), Tokens)


async def test_an_avatar_is_one_of_those_that_come_with_the_server(ann: Person) -> None:
    avatars = (await ann.call(AccountAvatars())).avatars
    assert (await ann.call(AccountGet())).avatar in avatars
    for avatar in avatars[:2]:
        assert (await ann.call(AccountSetAvatar(avatar=avatar))).avatar == avatar
    with pytest.raises(Invalid) as refused:
        await ann.call(AccountSetAvatar(avatar="no-such-picture"))
    assert refused.value.field == "avatar"


async def test_a_location_is_kept_roughly_shown_to_nobody_and_forgotten_on_demand(
    ann: Person, bob: Person, server: Server
) -> None:
    exact = Location(latitude=88.3232927, longitude=-10.1227652)
    kept = (await ann.call(AccountSetLocation(location=exact))).location
    assert kept == Location(latitude=88.323, longitude=-10.123)
    row = await server.pool.fetchrow("SELECT latitude, longitude FROM account WHERE username = 'ann'")
    assert row is not None
    assert tuple(row) == (88.323, -10.123)
    # No second of a minute looks like this latitude.
    shown = msgspec.json.encode(await bob.call(UserGet(user=ann.tokens_given.account)))
    assert b"88.3" not in shown
    assert (await ann.call(AccountSetLocation(location=None))).location is None
    corner = Location(latitude=-90, longitude=180)
    assert (await ann.call(AccountSetLocation(location=corner))).location == corner


# Taking everything along


async def test_an_export_has_everything_of_ones_own_and_nothing_of_others(
    connect: Connector, bob: Person, server: Server, mailbox: Mailbox
) -> None:
    ann, mallory = await connect("ann", email="ann@example.org"), await connect("mallory", email="mallory@example.org")
    await ann.call(AccountVerifyEmail(ticket=(await mailbox.next("ann@example.org")).ticket))
    await ann.call(AccountUpdate(bio="bio of ann", interests=["boats"]))
    await ann.call(AccountSetLocation(location=Location(latitude=1, longitude=2)))
    key = await ann.call(ApiKeyCreate(name="a bot", password=PASSWORD, scopes=["user"]))
    await ann.call(UserBlock(user=bob.tokens_given.account))
    await mallory.call(ApiKeyCreate(name="mallorys bot", password=PASSWORD, scopes=["user"]))
    exported = await ann.call(AccountExport())
    assert exported.account == await ann.call(AccountGet())
    assert [one.id for one in exported.devices] == [ann.tokens_given.device]
    assert [one.id for one in exported.keys] == [key.key.id]
    assert exported.blocked == (await ann.call(UserBlocked())).users
    assert {"account.register", "account.verify_email", "api_key.create"} <= {one.action for one in exported.audit}
    assert exported.audit == (await ann.call(AuditList(limit=100))).entries, "the export itself is told, too"
    everything = msgspec.json.encode(exported)
    for foreign in ("mallory", str(mallory.tokens_given.account), key.secret, "argon2", str(bob.tokens_given.device)):
        assert foreign.encode() not in everything, foreign


# Leaving


async def test_leaving_takes_the_password_and_ends_every_login(ann: Person, connect: Connector, server: Server) -> None:
    other, program = await connect(), await connect()
    await other.open(await other.call(AccountLogin(login="ann", password=PASSWORD)))
    key = await ann.call(ApiKeyCreate(name="a bot", password=PASSWORD, scopes=["*"]))
    await program.open(key.secret)
    with pytest.raises(WrongCredentials):
        await ann.call(AccountDelete(password="wrong password"))
    receipt = await ann.call(AccountDelete(password=PASSWORD))
    assert receipt.account == ann.tokens_given.account
    assert (receipt.erased["device"], receipt.erased["api_key"]) == (2, 1)
    for person in (other, program):
        assert (await asyncio.wait_for(person.wait_closed(), SOON))[0] == 4401
    with pytest.raises(Unauthenticated):
        await ann.call(AccountGet())
    stranger = await connect()
    with pytest.raises(WrongCredentials):
        await stranger.call(AccountLogin(login="ann", password=PASSWORD))
    with pytest.raises(Unauthenticated):
        await stranger.call(SessionOpen(token=key.secret))
    with pytest.raises(SessionRevoked):
        await stranger.call(AccountRefresh(refresh=ann.tokens_given.refresh, nonce=UUID(int=1)))
    with pytest.raises(SessionRevoked):
        await (await connect()).call(SessionOpen(token=ann.tokens_given.access))


async def test_whoever_left_leaves_nothing_private_behind(
    connect: Connector, bob: Person, server: Server, mailbox: Mailbox
) -> None:
    ann = await connect("ann", email="ann@example.org", display_name="Ann B.", device="anns phone")
    ticket = (await mailbox.next("ann@example.org")).ticket
    await ann.call(AccountVerifyEmail(ticket=ticket))
    await ann.call(AccountUpdate(bio="bio of ann", city="Kiel", interests=["boats"], locale="de", theme="dark"))
    await ann.call(AccountSetLocation(location=Location(latitude=54.3, longitude=10.1)))
    await ann.call(ApiKeyCreate(name="anns bot", password=PASSWORD, scopes=["user.search"]))
    await ann.call(UserBlock(user=bob.tokens_given.account))
    await Authenticator.of(server, ann)
    who = ann.tokens_given.account
    with pytest.raises(PasswordNeeded) as refused:
        await ann.call(AccountDelete(password=PASSWORD))
    assert refused.value.field == "code"
    await server.pool.execute("DELETE FROM two_factor")
    await ann.call(AccountDelete(password=PASSWORD))
    left = await dump(server, who)
    for trace in (
        "ann",
        "Ann",
        "bio of",
        "Kiel",
        "boats",
        "54.3",
        "dark",
        "'de'",
        "127.0.0.1",
        "user.search",
        "argon2",
    ):
        assert trace not in left.replace("'deleted'", "").replace("'member'", ""), (trace, left)
    for table in ("audit", "ticket", "identity", "block", "recovery_code", "two_factor", "mail"):
        assert await server.pool.fetchval(f"SELECT count(*) FROM {table} WHERE {TABLES[table]}", who) == 0, table
    with pytest.raises(Missing):
        await bob.call(UserGet(user=who))
    assert (await bob.call(UserSearch(text="ann"))).users == []
    await connect("ann", email="ann@example.org")


TABLES = {
    "audit": "account = $1",
    "ticket": "account = $1",
    "identity": "account = $1",
    "block": "account = $1 OR blocked = $1",
    "recovery_code": "account = $1",
    "two_factor": "account = $1",
    "mail": "recipient LIKE 'ann@%' AND $1::uuid IS NOT NULL",
}


async def dump(server: Server, who: UUID) -> str:
    """All that the database still has of an account."""
    rows: list[Any] = await server.pool.fetch("SELECT * FROM account WHERE id = $1", who)
    for table in ("device", "api_key"):
        rows += await server.pool.fetch(f"SELECT * FROM {table} WHERE account = $1", who)
    return repr([{key: value for key, value in row.items() if value is not None} for row in rows])


async def test_leaving_asks_for_the_authenticators_code_as_well(ann: Person, server: Server) -> None:
    authenticator = await Authenticator.of(server, ann)
    with pytest.raises(WrongCredentials):
        await ann.call(AccountDelete(password=PASSWORD, code=authenticator.wrong))
    await ann.call(AccountGet())
    await ann.call(AccountDelete(password=PASSWORD, code=await authenticator.code()))
    with pytest.raises(Unauthenticated):
        await ann.call(AccountGet())


async def test_what_is_on_its_way_when_an_account_is_erased_writes_nothing(
    ann: Person, connect: Connector, server: Server
) -> None:
    """The deletion holds the account; the change comes while it does, and finds nobody."""
    other = await connect()
    await other.open(await other.call(AccountLogin(login="ann", password=PASSWORD)))
    async with server.vital.transaction() as tx:
        await tx.fetchval("SELECT 1 FROM account WHERE username = 'ann' FOR UPDATE")
        update = asyncio.create_task(other.call(AccountUpdate(username="ghost", bio="written too late")))
        login = asyncio.create_task((await connect()).call(AccountLogin(login="ann", password=PASSWORD)))
        async with asyncio.timeout(5):
            while await tx.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < 2:
                await asyncio.sleep(0.005)
        await tx.execute("UPDATE account SET deleted_at = now(), name_key = NULL, username = 'deleted'")
    answers = await asyncio.gather(update, login, return_exceptions=True)
    assert not [answer for answer in answers if not isinstance(answer, Exception)]
    row = await server.pool.fetchrow("SELECT username, bio FROM account")
    assert row is not None
    assert tuple(row) == ("deleted", "")
    assert await server.pool.fetchval("SELECT count(*) FROM device") == 2
    await connect("ghost")


# Owning the server


async def claim_ticket(server: Server) -> str:
    link = await server.owner_link()
    assert link is not None
    assert link.startswith(f"{server.public_url}/claim#")
    return link.partition("#")[2]


async def test_the_first_to_open_the_claim_link_owns_the_server(ann: Person, bob: Person, server: Server) -> None:
    older, ticket = await claim_ticket(server), await claim_ticket(server)
    with pytest.raises(Expired):
        await ann.call(AccountClaim(ticket=older))
    answers = await asyncio.gather(
        ann.call(AccountClaim(ticket=ticket)), bob.call(AccountClaim(ticket=ticket)), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Account", "Expired"]
    roles = {(await person.call(AccountGet())).role for person in (ann, bob)}
    assert roles == {"owner", "member"}
    assert await server.owner_link() is None


async def test_a_server_has_one_owner(ann: Person, bob: Person, server: Server) -> None:
    ticket = await claim_ticket(server)
    await server.pool.execute("UPDATE account SET role = 'owner' WHERE username = 'ann'")
    with pytest.raises(Conflict, match="has an owner"):
        await bob.call(AccountClaim(ticket=ticket))
    assert (await bob.call(AccountGet())).role == "member"


async def test_an_owner_may_leave_and_another_may_follow(ann: Person, bob: Person, server: Server) -> None:
    await ann.call(AccountClaim(ticket=await claim_ticket(server)))
    assert [one.action for one in (await ann.call(AuditList(limit=1))).entries] == ["account.claim"]
    await ann.call(AccountDelete(password=PASSWORD))
    assert (await bob.call(AccountClaim(ticket=await claim_ticket(server)))).role == "owner"


async def test_a_claim_link_is_good_for_a_day_and_not_for_programs(
    ann: Person, connect: Connector, server: Server
) -> None:
    ticket, program = await claim_ticket(server), await connect()
    key = await ann.call(ApiKeyCreate(name="a bot", password=PASSWORD, scopes=["*"]))
    await program.open(key.secret)
    with pytest.raises(Forbidden):
        await program.call(AccountClaim(ticket=ticket))
    await server.pool.execute("UPDATE ticket SET expires_at = expires_at - interval '1 day'")
    with pytest.raises(Expired):
        await ann.call(AccountClaim(ticket=ticket))
