"""invite: codes that lead into a space, for so many, for so long; and guessing them."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from protocol.account import AccountDelete, AccountExport
from protocol.error import Conflict, Forbidden, Missing, RateLimited
from protocol.frame import Request
from protocol.friend import FriendSetPrivacy
from protocol.invite import Invite, InviteAccept, InviteCreate, InviteGet, InviteList, InviteRevoke, InviteSend
from protocol.member import MemberBan, MemberGet, MemberKick
from protocol.notification import (
    Notification,
    NotificationCounts,
    NotificationCreated,
    NotificationList,
    NotificationRemoved,
)
from protocol.permission import Permission
from protocol.role import RoleCreate, RoleDelete, RoleGrant, RoleRevoke, RoleUpdate
from protocol.space import Space, SpaceCreate, SpaceDelete, SpaceGet, SpaceJoined, SpaceLeave
from protocol.user import UserBlock
from server import Server, attempt
from tests.chat import UNBOUND, Phone, device, me, nodes, refused
from tests.conftest import Connector, Person, Starter

LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


async def club(owner: Person, name: str = "Club", **fields: Any) -> Space:
    return await owner.call(SpaceCreate(name=name, nonce=uuid4(), **fields))


async def invite(person: Person, space: Space, **fields: Any) -> Invite:
    return await person.call(InviteCreate(space=space.id, nonce=uuid4(), **fields))


async def bring(owner: Person, space: Space, *people: Person) -> None:
    code = (await invite(owner, space)).code
    for person in people:
        await person.call(InviteAccept(code=code))


async def role(owner: Person, space: Space, name: str, *permissions: Permission) -> UUID:
    made = await owner.call(RoleCreate(space=space.id, name=name, nonce=uuid4(), permissions=list(permissions)))
    return made.id


async def give(owner: Person, space: Space, to: Person, *permissions: Permission) -> UUID:
    made = await role(owner, space, "one of theirs", *permissions)
    await owner.call(RoleGrant(space=space.id, role=made, user=me(to)))
    return made


async def codes(person: Person, space: Space) -> list[str]:
    return [one.code for one in (await person.call(InviteList(space=space.id, limit=100))).invites]


async def is_in(person: Person, space: Space) -> bool:
    return await refused(person, SpaceGet(space=space.id)) == "ok"


async def execute(server: Server, query: str, *values: Any) -> None:
    await server.pool.execute(query, *values)


# A way in


async def test_who_has_a_code_enters_and_all_their_devices_are_told(
    ann: Person, bob: Person, connect: Connector
) -> None:
    space, tablet = await club(ann), await device(connect, bob)
    made = await invite(ann, space)
    assert (made.space, made.by, made.uses, made.most, made.role, made.vanity) == (
        space.id,
        me(ann),
        0,
        None,
        None,
        False,
    )
    entered = await bob.call(InviteAccept(code=made.code))
    assert (entered.id, entered.members) == (space.id, 2)
    for one in (bob, tablet):
        told = await one.wait_for(SpaceJoined, 4)
        assert (told.space.id, told.by) == (space.id, me(ann))
    assert await is_in(bob, space)
    assert [(one.code, one.uses) for one in (await ann.call(InviteList(space=space.id))).invites] == [(made.code, 1)]


async def test_a_code_tells_where_it_leads_before_one_enters(ann: Person, bob: Person) -> None:
    space = await club(ann, description="For members only", avatar="owl")
    code = (await invite(ann, space)).code
    seen = await bob.call(InviteGet(code=code))
    assert (seen.space, seen.name, seen.description, seen.avatar, seen.members, seen.joined) == (
        space.id,
        "Club",
        "For members only",
        "owl",
        1,
        False,
    )
    assert await refused(bob, SpaceGet(space=space.id)) == "missing", "looking is not entering"
    await bob.call(InviteAccept(code=code))
    seen = await bob.call(InviteGet(code=code))
    assert (seen.members, seen.joined) == (2, True)


async def test_codes_are_random_and_no_letter_looks_like_another(ann: Person) -> None:
    space = await club(ann)
    made = [(await invite(ann, space)).code for _ in range(20)]
    assert len(set(made)) == 20
    assert all(len(code) == 12 and set(code) <= set(LETTERS) for code in made)
    assert len(Counter("".join(made))) > len(LETTERS) / 2


async def test_large_and_small_letters_are_alike(ann: Person, bob: Person) -> None:
    space = await club(ann)
    code = (await invite(ann, space)).code
    assert (await bob.call(InviteAccept(code=code.upper()))).id == space.id


async def test_the_same_nonce_is_the_same_invite(ann: Person) -> None:
    space, other = await club(ann), await club(ann)
    frame = InviteCreate(space=space.id, nonce=uuid4(), most=3)
    assert await ann.call(frame) == await ann.call(frame)
    assert len(await codes(ann, space)) == 1
    assert await refused(ann, msgspec.structs.replace(frame, space=other.id)) == "conflict"


async def test_inviting_takes_the_permission(ann: Person, bob: Person, server: Server) -> None:
    space = await club(ann)
    await bring(ann, space, bob)
    await invite(bob, space)
    await execute(server, "UPDATE role SET permissions = 1 WHERE id = $1", space.id)
    await execute(server, "UPDATE space SET structure = structure + 1 WHERE id = $1", space.id)
    with pytest.raises(Forbidden, match="invite"):
        await invite(bob, space)


async def test_who_enters_is_noted_with_the_beginning_of_the_code(ann: Person, bob: Person, server: Server) -> None:
    space = await club(ann)
    member = await role(ann, space, "member")
    code = (await invite(ann, space, role=member)).code
    await bob.call(InviteAccept(code=code))
    row = await server.pool.fetchrow("SELECT * FROM deed WHERE space = $1 AND action = 'member.joined'", space.id)
    assert row is not None
    assert (row["by"], row["target"]) == (me(bob), me(bob))
    assert msgspec.json.decode(row["after"]) == {"via": code[:3] + "…", "role": str(member)}
    told = await server.pool.fetch("SELECT before || after AS told FROM deed WHERE space = $1", space.id)
    assert not any(code in one["told"] for one in told), "who reads the log cannot enter by it"


# For so many, for so long


async def test_accepting_again_counts_once_and_is_no_error(ann: Person, bob: Person, server: Server) -> None:
    space = await club(ann)
    code = (await invite(ann, space, most=1)).code
    assert [(await bob.call(InviteAccept(code=code))).members for _ in range(3)] == [2, 2, 2]
    assert await server.pool.fetchval("SELECT uses FROM invite WHERE code = $1", code) == 1
    assert await server.pool.fetchval("SELECT count(*) FROM fact WHERE kind = 'space.joined'") == 2, "hers and his"


async def test_who_is_in_already_uses_up_nothing(ann: Person, bob: Person) -> None:
    space = await club(ann)
    code = (await invite(ann, space, most=1)).code
    await ann.call(InviteAccept(code=code))
    assert (await bob.call(InviteAccept(code=code))).members == 2


async def test_never_more_enter_than_may_however_many_try_at_once_on_however_many_nodes(
    start: Starter, connect: Connector
) -> None:
    one, other = await nodes(start, **UNBOUND)
    owner = await connect("olga", one)
    people = [await connect(f"p{number}", (one, other)[number % 2]) for number in range(16)]
    space = await club(owner)
    code = (await invite(owner, space, most=5)).code

    async def enter(person: Person) -> str:
        while (answered := await refused(person, InviteAccept(code=code))) == "overloaded":
            await asyncio.sleep(0.05)
        return answered

    found = await asyncio.gather(*(enter(person) for person in people for _ in range(3)))
    each = [set(found[place : place + 3]) for place in range(0, len(found), 3)]
    assert Counter(map(frozenset, each)) == {frozenset({"ok"}): 5, frozenset({"missing"}): 11}
    assert await one.pool.fetchval("SELECT members FROM space WHERE id = $1", space.id) == 6
    assert await one.pool.fetchval("SELECT uses FROM invite WHERE code = $1", code) == 5


async def answer(person: Person, server: Server, frame: Request[Any]) -> bytes:
    socket = await Phone.open(server, person.tokens_given.access)
    number = socket.ask(frame)[0]
    await socket.answer(number)
    found = next(data for data in socket.messages if b'"re":%d,' % number in data)
    socket.abort()
    return bytes(found)


async def test_what_is_not_good_looks_like_what_never_was(ann: Person, bob: Person, server: Server) -> None:
    space, banning, gone = await club(ann), await club(ann), await club(ann)
    bad = {"unknown": "abcdefghjkmn"}
    bad["revoked"] = (await invite(ann, space)).code
    await ann.call(InviteRevoke(code=bad["revoked"]))
    bad["expired"] = (await invite(ann, space, lasts=60)).code
    await execute(server, "UPDATE invite SET expires_at = now() WHERE code = $1", bad["expired"])
    bad["used up"] = (await invite(ann, space, most=2)).code
    await execute(server, "UPDATE invite SET uses = 2 WHERE code = $1", bad["used up"])
    bad["banned"] = (await invite(ann, banning)).code
    await ann.call(MemberBan(space=banning.id, user=me(bob)))
    bad["of a space that is no more"] = (await invite(ann, gone)).code
    await ann.call(SpaceDelete(space=gone.id, name="Club"))
    for kind in (InviteGet, InviteAccept, InviteRevoke):
        answers = {name: await answer(bob, server, kind(code=code)) for name, code in bad.items()}
        assert len(set(answers.values())) == 1, answers
        assert b'"missing"' in answers["unknown"]
    assert not any([await is_in(bob, space), await is_in(bob, banning)])


async def test_who_was_banned_meanwhile_does_not_enter(ann: Person, bob: Person) -> None:
    space = await club(ann)
    code = (await invite(ann, space)).code
    await bob.call(InviteAccept(code=code))
    await ann.call(MemberBan(space=space.id, user=me(bob)))
    assert await refused(bob, InviteAccept(code=code)) == "missing"
    assert not await is_in(bob, space)


async def test_an_invite_is_good_for_a_week_unless_it_says_otherwise(ann: Person) -> None:
    space = await club(ann)
    for lasts, days in ((None, None), (604_800, 7.0), (86_400, 1.0)):
        made = await invite(ann, space, lasts=lasts)
        left = (made.expires_at - made.created_at).total_seconds() if made.expires_at else None
        assert left == (days * 86_400 if days else None)
    default = await ann.call(InviteCreate(space=space.id, nonce=uuid4()))
    assert default.expires_at is not None


async def test_fifty_at_a_time_and_those_that_are_good_for_nothing_do_not_count(ann: Person, server: Server) -> None:
    space = await club(ann)
    await execute(
        server,
        "INSERT INTO invite (code, space, by) SELECT 'many' || n, $1, $2 FROM generate_series(1, 49) n",
        space.id,
        me(ann),
    )
    await invite(ann, space)
    with pytest.raises(Conflict):
        await invite(ann, space)
    await execute(server, "UPDATE invite SET expires_at = now() - interval '2 days' WHERE code = 'many1'")
    await invite(ann, space)
    assert await server.pool.fetchval("SELECT count(*) FROM invite") == 50, "what has ended long ago is swept"


# A role


async def test_a_role_comes_along(ann: Person, bob: Person) -> None:
    space = await club(ann)
    member = await role(ann, space, "member")
    await bob.call(InviteAccept(code=(await invite(ann, space, role=member)).code))
    assert (await ann.call(MemberGet(space=space.id, user=me(bob)))).roles == [member]


async def test_only_who_manages_roles_gives_one_and_only_one_that_stands_lower(ann: Person, bob: Person) -> None:
    space = await club(ann)
    await bring(ann, space, bob)
    low = await role(ann, space, "low")
    with pytest.raises(Forbidden, match="manage_roles"):
        await invite(bob, space, role=low)
    own = await give(ann, space, bob, "manage_roles", "invite")
    for forbidden in (own, low, space.id):  # his own is the lowest: the newest stands right above everyone's
        assert await refused(bob, InviteCreate(space=space.id, nonce=uuid4(), role=forbidden)) == "forbidden"
    newest = await role(ann, space, "newest")
    assert (await invite(bob, space, role=newest)).role == newest
    elsewhere = await role(ann, await club(ann), "elsewhere")
    assert await refused(ann, InviteCreate(space=space.id, nonce=uuid4(), role=elsewhere)) == "missing"


async def test_a_role_comes_along_only_while_who_invites_may_give_it(
    ann: Person, bob: Person, connect: Connector
) -> None:
    space, cid = await club(ann), await connect("cid")
    await bring(ann, space, bob)
    own = await give(ann, space, bob, "manage_roles", "invite")
    low = await role(ann, space, "low")
    code = (await invite(bob, space, role=low)).code
    await ann.call(RoleRevoke(space=space.id, role=own, user=me(bob)))
    await cid.call(InviteAccept(code=code))
    assert (await ann.call(MemberGet(space=space.id, user=me(cid)))).roles == []


async def test_an_invite_with_a_role_ends_with_the_role(ann: Person, bob: Person) -> None:
    space = await club(ann)
    member = await role(ann, space, "member")
    code = (await invite(ann, space, role=member)).code
    await ann.call(RoleDelete(space=space.id, role=member))
    assert await refused(bob, InviteAccept(code=code)) == "missing"


# A code of one's own choice


async def test_a_space_has_one_code_of_its_own_choice(ann: Person, bob: Person, connect: Connector) -> None:
    space, cid = await club(ann), await connect("cid")
    made = await invite(ann, space, vanity="Night-Owls")
    assert (made.code, made.vanity, made.expires_at, made.most) == ("night-owls", True, None, None)
    assert (await bob.call(InviteAccept(code="NIGHT-owls"))).id == space.id
    await invite(ann, space, vanity="early-birds")
    assert await refused(cid, InviteAccept(code="night-owls")) == "missing"
    assert (await cid.call(InviteAccept(code="early-birds"))).id == space.id
    assert await codes(ann, space) == ["early-birds"]


async def test_a_code_that_is_taken_is_refused_and_the_one_before_stays(ann: Person, bob: Person) -> None:
    space, other = await club(ann), await club(bob)
    await invite(bob, other, vanity="owls")
    await invite(ann, space, vanity="birds")
    with pytest.raises(Conflict) as refusal:
        await invite(ann, space, vanity="OWLS")
    assert refusal.value.field == "vanity"
    assert await codes(ann, space) == ["birds"]


@pytest.mark.parametrize("code", ["ab", "a" * 33, "a b", "-abc", "abc-", "a--b", "äbc", "a_b", "abc\n", ""])
async def test_a_code_of_ones_own_choice_is_three_to_32_letters(ann: Person, code: str) -> None:
    space = await club(ann)
    assert await refused(ann, InviteCreate(space=space.id, nonce=uuid4(), vanity=code)) == "invalid"


@pytest.mark.parametrize("code", ["abc", "a" * 32, "a-b-c", "123"])
async def test_a_code_of_ones_own_choice_is_kept(ann: Person, code: str) -> None:
    assert (await invite(ann, await club(ann), vanity=code)).code == code


async def test_a_code_of_ones_own_choice_takes_manage_space_and_has_no_role_or_end(ann: Person, bob: Person) -> None:
    space = await club(ann)
    await bring(ann, space, bob)
    with pytest.raises(Forbidden, match="manage_space"):
        await invite(bob, space, vanity="bobs-place")
    member = await role(ann, space, "member")
    for fields in ({"most": 3}, {"role": member}):
        frame = InviteCreate(space=space.id, nonce=uuid4(), vanity="place", **fields)  # type: ignore[arg-type]
        assert await refused(ann, frame) == "invalid"
    await give(ann, space, bob, "manage_space")
    assert (await invite(bob, space, vanity="bobs-place")).code == "bobs-place"


# Listing and revoking


async def test_one_lists_ones_own_and_all_with_manage_space(ann: Person, bob: Person) -> None:
    space = await club(ann)
    await bring(ann, space, bob)
    hers, vanity, his = await codes(ann, space), await invite(ann, space, vanity="club"), await invite(bob, space)
    assert await codes(bob, space) == [his.code]
    assert await codes(ann, space) == [his.code, vanity.code, *hers], "the newest first"


async def test_a_list_has_pages_and_only_what_is_good(ann: Person, server: Server) -> None:
    space = await club(ann)
    made = [(await invite(ann, space)).code for _ in range(5)][::-1]
    await execute(server, "UPDATE invite SET expires_at = now() WHERE code = $1", made[1])
    found: list[str] = []
    after: str | None = None
    for _ in range(5):
        page = await ann.call(InviteList(space=space.id, after=after, limit=2))
        found += [one.code for one in page.invites]
        after = page.next
        if after is None:
            break
    assert found == [made[0], *made[2:]]
    assert len((await ann.call(InviteList(space=space.id, after="nonsense"))).invites) == 4


async def test_one_revokes_ones_own_and_any_with_manage_space(ann: Person, bob: Person, connect: Connector) -> None:
    space, cid = await club(ann), await connect("cid")
    await bring(ann, space, bob, cid)
    hers, his = (await codes(ann, space))[0], (await invite(bob, space)).code
    assert await refused(bob, InviteRevoke(code=hers)) == "missing"
    assert await refused(cid, InviteRevoke(code=his)) == "missing"
    await bob.call(InviteRevoke(code=his))
    assert await codes(bob, space) == []
    third = (await invite(cid, space)).code
    await give(ann, space, bob, "manage_space")
    for code in (hers, third):
        await bob.call(InviteRevoke(code=code))
        assert await refused(bob, InviteRevoke(code=code)) == "missing"
    assert await codes(ann, space) == []


async def test_the_code_of_the_space_is_not_its_makers_own(ann: Person, bob: Person) -> None:
    space = await club(ann)
    await bring(ann, space, bob)
    manages = await give(ann, space, bob, "manage_space")
    await invite(bob, space, vanity="club")
    await ann.call(RoleRevoke(space=space.id, role=manages, user=me(bob)))
    assert await refused(bob, InviteRevoke(code="club")) == "missing"
    assert await codes(bob, space) == []
    await ann.call(InviteRevoke(code="club"))


@pytest.mark.parametrize("how", ["leaves", "is kicked", "is banned"])
async def test_the_invites_of_who_leaves_go_along_but_not_the_code_of_the_space(
    ann: Person, bob: Person, connect: Connector, how: str
) -> None:
    space, cid = await club(ann), await connect("cid")
    await bring(ann, space, bob)
    await give(ann, space, bob, "manage_space")
    code = (await invite(bob, space)).code
    await invite(bob, space, vanity="club")
    if how == "leaves":
        await bob.call(SpaceLeave(space=space.id))
    else:
        await ann.call((MemberKick if how == "is kicked" else MemberBan)(space=space.id, user=me(bob)))
    assert await refused(cid, InviteAccept(code=code)) == "missing"
    assert (await cid.call(InviteAccept(code="club"))).id == space.id


async def test_the_code_of_a_deleted_space_is_free_for_another(ann: Person, bob: Person) -> None:
    space, other = await club(ann), await club(bob)
    await invite(ann, space, vanity="club")
    await ann.call(SpaceDelete(space=space.id, name="Club"))
    assert (await invite(bob, other, vanity="club")).space == other.id


async def test_a_deleted_account_invites_nobody_and_takes_its_invites_along(
    ann: Person, bob: Person, server: Server
) -> None:
    space = await club(ann)
    await bring(ann, space, bob)
    made = await invite(bob, space)
    assert (await bob.call(AccountExport())).invites == [made]
    await bob.call(AccountDelete(password=Person.password))

    async def gone() -> bool:
        return not await server.pool.fetchval("SELECT count(*) FROM invite WHERE code = $1", made.code)

    async with asyncio.timeout(10):
        while not await gone():
            await asyncio.sleep(0.02)


# Guessing


async def guess(person: Person, kind: type[InviteGet] | type[InviteAccept], most: int = 60) -> int:
    """How many wrong codes are answered."""
    for count in range(most):
        try:
            await person.call(kind(code=f"wrong{count:07}"))
        except Missing:
            continue
        except RateLimited as refusal:
            assert refusal.retry_after is not None
            assert 0 < refusal.retry_after < 60
            return count
    return most


async def test_who_guesses_is_slowed_down_on_all_nodes_and_a_right_code_works_within_the_limit(
    start: Starter, connect: Connector
) -> None:
    one, other = await nodes(start, throttle=1.0)
    owner, eve = await connect("olga", one), await connect("eve", one)
    far = await device(connect, eve, other)
    code = (await invite(owner, await club(owner))).code
    for count in range(19):
        assert await refused(eve if count % 2 else far, InviteGet(code=f"guess{count:07}")) == "missing"
        if count % 6 == 0:
            await far.call(InviteGet(code=code))
    await eve.call(InviteAccept(code=code))
    assert await refused(far, InviteAccept(code="guess9999999")) == "missing"
    for person in (eve, far):
        for frame in (InviteGet(code="guess0000000"), InviteGet(code=code), InviteAccept(code=code)):
            assert await refused(person, frame) == "rate_limited"
    assert (await owner.call(InviteGet(code=code))).joined, "others are not held up"


async def test_one_address_with_many_accounts_is_slowed_down_too(start: Starter, connect: Connector) -> None:
    server = await start(throttle=1.0)
    people = [await connect(f"p{number}", server) for number in range(11)]
    guesses = [await guess(person, InviteAccept) for person in people[:10]]
    assert guesses == [20] * 10
    assert await guess(people[10], InviteGet) == 0


async def test_probing_for_codes_that_are_taken_is_guessing(start: Starter, connect: Connector) -> None:
    server = await start(throttle=1.0)
    ann, bob = await connect("ann", server), await connect("bob", server)
    await invite(ann, await club(ann), vanity="taken")
    space, found = await club(bob), Counter[str]()
    for _ in range(22):
        found[await refused(bob, InviteCreate(space=space.id, nonce=uuid4(), vanity="taken"))] += 1
    assert found == {"conflict": 20, "rate_limited": 2}


# Inviting somebody


async def invitations(person: Person) -> list[Notification]:
    return (await person.call(NotificationList(kinds=["invite"]))).notifications


async def test_who_is_invited_is_notified_sees_where_it_leads_to_and_enters(
    ann: Person, bob: Person, connect: Connector
) -> None:
    space, tablet = await club(ann, description="For members only"), await device(connect, bob)
    code = (await invite(ann, space)).code
    await ann.call(InviteSend(code=code.upper(), user=me(bob)))
    told = await tablet.wait_for(NotificationCreated, 4)
    assert (told.notification.kind, told.notification.by, told.notification.space) == ("invite", me(ann), space.id)
    assert [(one.kind, one.unread) for one in told.counts.kinds] == [("invite", 1)]
    [listed] = await invitations(bob)
    seen = listed.invitation
    assert listed == told.notification
    assert seen is not None
    assert (seen.code, seen.name, seen.description, seen.members, seen.joined) == (
        *(code, "Club", "For members only", 1, False),
    )
    await bob.call(InviteAccept(code=seen.code))
    assert (await tablet.wait_for(NotificationRemoved, 4)).notifications == [listed.id]
    assert await invitations(bob) == []
    assert await refused(ann, InviteSend(code=code, user=me(bob))) == "conflict"


async def test_nobody_is_invited_twice_by_the_same_person_while_that_is_good(
    ann: Person, bob: Person, connect: Connector
) -> None:
    space, cid = await club(ann), await connect("cid")
    await bring(ann, space, cid)
    codes_ = [(await invite(ann, space)).code for _ in range(2)]
    for code in (*codes_, codes_[0]):
        await ann.call(InviteSend(code=code, user=me(bob)))
    assert [one.invitation and one.invitation.code for one in await invitations(bob)] == [codes_[0]]
    await ann.call(InviteRevoke(code=codes_[0]))
    await ann.call(InviteSend(code=codes_[1], user=me(bob)))
    assert [one.invitation and one.invitation.code for one in await invitations(bob)] == [codes_[1]]
    await cid.call(InviteSend(code=codes_[1], user=me(bob)))
    assert [one.by for one in await invitations(bob)] == [me(cid), me(ann)]


_ENDS = {
    "revoked": "DELETE FROM invite WHERE code = $1",
    "its time is over": "UPDATE invite SET expires_at = now() - interval '1 s' WHERE code = $1",
    "used up": "UPDATE invite SET uses = most WHERE code = $1",
    "the space is no more": "UPDATE space p SET deleted_at = now() FROM invite i WHERE i.space = p.id AND i.code = $1",
    "kept out": "INSERT INTO ban SELECT space, account, by FROM notification WHERE code = $1",
}


@pytest.mark.parametrize("how", _ENDS)
async def test_an_invite_that_is_good_no_more_is_gone_from_the_list(
    how: str, server: Server, ann: Person, bob: Person
) -> None:
    space = await club(ann)
    code = (await invite(ann, space, most=1)).code
    await ann.call(InviteSend(code=code, user=me(bob)))
    [listed] = await invitations(bob)
    await execute(server, _ENDS[how], code)
    assert await invitations(bob) == []
    assert (await bob.wait_for(NotificationRemoved, 4)).notifications == [listed.id]
    assert (await bob.call(NotificationCounts())).counts.unread == 0


async def test_only_whom_one_may_turn_to_is_invited(ann: Person, bob: Person, connect: Connector) -> None:
    space = await club(ann)
    code = (await invite(ann, space)).code
    cid, dan, eve, fay = [await connect(name) for name in ("cid", "dan", "eve", "fay")]
    await cid.call(UserBlock(user=me(ann)))
    await ann.call(UserBlock(user=me(dan)))
    for hidden in (me(cid), me(dan), uuid4()):
        with pytest.raises(Missing):
            await ann.call(InviteSend(code=code, user=hidden))
    await eve.call(FriendSetPrivacy(directs="friends"))
    with pytest.raises(Forbidden, match="friends only"):
        await ann.call(InviteSend(code=code, user=me(eve)))
    await ann.call(MemberBan(space=space.id, user=me(fay)))
    await ann.call(InviteSend(code=code, user=me(fay)))
    with pytest.raises(Conflict):
        await ann.call(InviteSend(code=code, user=me(ann)))
    assert [await invitations(one) for one in (cid, dan, eve, fay)] == [[], [], [], []]


async def test_only_who_may_invite_sends_and_only_codes_of_their_spaces(
    ann: Person, bob: Person, connect: Connector
) -> None:
    space, cid = await club(ann), await connect("cid")
    code = (await invite(ann, space)).code
    assert await refused(bob, InviteSend(code=code, user=me(cid))) == "missing"
    await bring(ann, space, bob)
    assert await refused(bob, InviteSend(code=code, user=me(cid))) == "ok"
    await ann.call(RoleUpdate(role=space.id, space=space.id, permissions=["view"]))
    dan = await connect("dan")
    assert await refused(bob, InviteSend(code=code, user=me(dan))) == "forbidden"
    await ann.call(InviteRevoke(code=code))
    assert await refused(ann, InviteSend(code=code, user=me(dan))) == "missing"


async def test_who_invites_very_many_is_slowed_down(start: Starter, connect: Connector) -> None:
    server = await start(throttle=1.0)
    ann, *others = [await connect(name, to=server) for name in ("ann", "bob", "cid")]
    space = await club(ann)
    code = (await invite(ann, space)).code
    for _ in range(99):
        await server.attempts.take(attempt.invitations(me(ann)))
    assert [await refused(ann, InviteSend(code=code, user=me(one))) for one in others] == ["ok", "rate_limited"]
