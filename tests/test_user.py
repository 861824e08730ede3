"""user: finding others, and not being found by those whom one has blocked."""

import pytest

from protocol.account import AccountUpdate
from protocol.codec import encode
from protocol.error import Missing
from protocol.user import User, UserBlock, UserBlocked, UserGet, UserList, UserSearch, UserUnblock
from server import Server
from server.name import look
from storage.ids import new_id
from tests.conftest import Connector, Person
from tests.raw_socket import RawSocket

COLUMNS = "(id, username, name_key, display_name, email, password_hash, city)"


async def people(server: Server, *names: str, display: str = "") -> None:
    """Accounts that nobody logs in to, with something secret in each of their private columns."""
    for name in names:
        await server.pool.execute(
            f"INSERT INTO account {COLUMNS} VALUES ($1, $2, $3, $4, 'secret@example.org', 'secret', 'Kiel')",
            new_id(),
            name,
            look(name),
            display,
        )


async def names(person: Person, frame: UserList | UserSearch | UserBlocked) -> list[str]:
    return [one.username for one in (await person.call(frame)).users]


async def test_others_see_what_is_public_and_nothing_else(ann: Person, bob: Person) -> None:
    await ann.call(AccountUpdate(display_name="Ann B.", bio="I sail", city="Kiel", interests=["boats"], theme="dark"))
    seen = await bob.call(UserGet(user=ann.tokens_given.account))
    assert (seen.username, seen.display_name, seen.bio, seen.city) == ("ann", "Ann B.", "I sail", "Kiel")
    assert set(User.__struct_fields__) == {
        *("id", "username", "display_name", "bio", "avatar", "city", "interests", "created_at")
    }
    for list_of in (UserList(), UserSearch(text="ann")):
        assert seen in (await bob.call(list_of)).users
    assert await ann.call(UserGet(user=ann.tokens_given.account)) == seen


async def test_a_list_goes_by_name_page_by_page(ann: Person, server: Server) -> None:
    await people(
        server, "Bob", "carl", "Dora", "emil", "\u0130nci", "Zo\u00eb", "\u039f\u0394\u039f\u03a3", "\u5c71\u672c"
    )
    whole = await names(ann, UserList(limit=100))
    assert whole[:5] == ["ann", "Bob", "carl", "Dora", "emil"]
    assert len(whole) == 9
    for limit in (1, 2, 3, 8, 9):
        paged: list[str] = []
        after = None
        while True:
            page = await ann.call(UserList(after=after, limit=limit))
            paged += [one.username for one in page.users]
            if (after := page.next) is None:
                break
            assert len(page.users) == limit
        assert paged == whole, limit


async def test_a_page_holds_no_secret_of_anybody(ann: Person, server: Server) -> None:
    await people(server, "carl")
    socket = await RawSocket.connect(server.url)
    await socket.ask(b'{"op":"session.open","token":"%s"}' % ann.tokens_given.access.encode())
    for frame in (UserList(id=1), UserSearch(id=2, text="carl")):
        reply = await socket.ask(encode(frame))
        assert b"carl" in reply.data
        assert b"secret" not in reply.data
    socket.abort()


async def test_a_search_finds_beginnings_first_and_display_names_too(ann: Person, server: Server) -> None:
    await people(server, "marianne", "Anna", "anneliese", "joan")
    await people(server, "zed", display="Susanne Zed")
    assert await names(ann, UserSearch(text="ann")) == ["ann", "Anna", "anneliese", "zed", "marianne"]
    assert await names(ann, UserSearch(text="ANN", limit=2)) == ["ann", "Anna"]
    assert await names(ann, UserSearch(text="nn", limit=2)) == ["ann", "zed"], "short ones, too"
    assert await names(ann, UserSearch(text="d su")) == [], "no two names are one"
    assert await names(ann, UserSearch(text="nobody")) == []
    await people(server, "\u039f\u0394\u039f\u03a3")
    for text in ("\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf"):
        assert await names(ann, UserSearch(text=text)) == ["\u039f\u0394\u039f\u03a3"], "a capital sigma at the end"


async def test_wildcards_are_letters_like_others(ann: Person, server: Server) -> None:
    await people(server, "a_b", "axb")
    await people(server, "carl", display="100 % carl \\o/")
    assert await names(ann, UserSearch(text="a_b")) == ["a_b"]
    assert await names(ann, UserSearch(text="%")) == ["carl"]
    assert await names(ann, UserSearch(text="\\")) == ["carl"]
    assert await names(ann, UserSearch(text="_")) == ["a_b"]
    assert await names(ann, UserSearch(text="'; DROP TABLE account")) == []


async def cost(person: Person, server: Server, frame: UserList | UserSearch | UserBlocked) -> int:
    """Queries of one call: the least of several, for health and revocations ask now and then as well."""
    costs = []
    for _ in range(4):
        before = server.pool.queries
        await person.call(frame)
        costs.append(server.pool.queries - before)
    return min(costs)


async def test_lists_cost_one_query_however_long_they_are(ann: Person, bob: Person, server: Server) -> None:
    await people(server, *(f"user{number:03}" for number in range(60)))
    await ann.call(UserBlock(user=bob.tokens_given.account))
    for limit in (1, 60):
        for frame in (UserList(limit=limit), UserSearch(text="user", limit=limit), UserBlocked(limit=limit)):
            assert await cost(ann, server, frame) == 1, frame


async def test_a_block_hides_both_from_each_other_everywhere(ann: Person, bob: Person, connect: Connector) -> None:
    eve, a, b = await connect("eve"), ann.tokens_given.account, bob.tokens_given.account
    await ann.call(UserBlock(user=b))
    for viewer, other, name in ((ann, b, "bob"), (bob, a, "ann")):
        with pytest.raises(Missing):
            await viewer.call(UserGet(user=other))
        assert name not in await names(viewer, UserList())
        assert await names(viewer, UserSearch(text=name)) == []
    assert await names(eve, UserList()) == ["ann", "bob", "eve"]
    assert (await names(ann, UserBlocked()), await names(bob, UserBlocked())) == (["bob"], [])
    await ann.call(UserUnblock(user=b))
    assert await names(ann, UserBlocked()) == []
    for viewer, other in ((ann, b), (bob, a)):
        await viewer.call(UserGet(user=other))
        assert await names(viewer, UserList()) == ["ann", "bob", "eve"]


async def test_whoever_is_blocked_is_told_what_is_told_of_nobody(ann: Person, bob: Person, server: Server) -> None:
    await ann.call(UserBlock(user=bob.tokens_given.account))
    socket = await RawSocket.connect(server.url)
    await socket.ask(b'{"op":"session.open","token":"%s"}' % bob.tokens_given.access.encode())
    for kind in (UserGet, UserBlock, UserUnblock):
        hidden, missing = [
            await socket.ask(encode(kind(id=7, user=user))) for user in (ann.tokens_given.account, new_id())
        ]
        assert (hidden.code, hidden.data) == ("missing", missing.data), kind
    socket.abort()
    with pytest.raises(Missing):
        await ann.call(UserUnblock(user=new_id()))


async def test_a_block_twice_is_no_error_and_of_oneself_none(ann: Person, bob: Person) -> None:
    for _ in range(2):
        await ann.call(UserBlock(user=bob.tokens_given.account))
    assert await names(ann, UserBlocked()) == ["bob"]
    with pytest.raises(Missing):
        await ann.call(UserBlock(user=ann.tokens_given.account))
    await ann.call(UserUnblock(user=bob.tokens_given.account))
    with pytest.raises(Missing):
        await ann.call(UserUnblock(user=bob.tokens_given.account))


async def test_ones_own_blocks_are_listed_page_by_page(ann: Person, connect: Connector, server: Server) -> None:
    others = [await connect(name) for name in ("Carl", "bob", "dora")]
    for other in others:
        await ann.call(UserBlock(user=other.tokens_given.account))
    first = await ann.call(UserBlocked(limit=2))
    assert ([one.username for one in first.users], first.next) == (["bob", "Carl"], "Carl")
    second = await ann.call(UserBlocked(limit=2, after=first.next))
    assert ([one.username for one in second.users], second.next) == (["dora"], None)


async def test_whoever_left_is_nowhere(ann: Person, bob: Person, server: Server) -> None:
    await server.pool.execute("UPDATE account SET deleted_at = now(), name_key = NULL WHERE username = 'bob'")
    for frame in (UserGet, UserBlock):
        with pytest.raises(Missing):
            await ann.call(frame(user=bob.tokens_given.account))
    assert (await names(ann, UserList()), await names(ann, UserSearch(text="bob"))) == (["ann"], [])
