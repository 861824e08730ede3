"""Roles: making, changing, ordering, giving and taking them; nobody gets above or beyond themselves."""

import asyncio
from itertools import pairwise
from uuid import UUID, uuid4

from protocol.error import Refusal
from protocol.member import MemberChanged
from protocol.message import MessageSend
from protocol.role import RoleCreate, RoleDelete, RoleGrant, RoleReorder, RoleRevoke, RoleUpdate
from protocol.space import SpaceChanged, SpaceUpdate
from server import Server
from storage import stream as storage
from tests.chat import UNBOUND, device, me, nodes, refused, say
from tests.community import community
from tests.conftest import Connector, Person, Starter


async def test_a_new_role_stands_right_above_everyones(ann: Person) -> None:
    club = await community(ann)
    first, second = await club.role("first"), await club.role("second")
    assert [(role.id, role.position) for role in (await club.seen(ann)).roles] == [
        (club.id, 0),
        (second, 1),
        (first, 2),
    ]


async def test_the_same_nonce_is_the_same_role(ann: Person) -> None:
    club = await community(ann)
    frame = RoleCreate(space=club.id, name="mods", nonce=uuid4(), permissions=["kick"])
    made = await asyncio.gather(*(ann.call(frame) for _ in range(5)))
    assert len({one.id for one in made}) == 1
    assert len((await club.seen(ann)).roles) == 2


async def test_a_role_is_told_to_all_members_when_it_changes(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    role = await club.role("mods")
    await club.seen(bob)
    await ann.call(RoleUpdate(space=club.id, role=role, name="curators", colour=0x336699, apart=True))
    told = await bob.wait_for(SpaceChanged)
    (shown,) = told.roles
    assert (shown.id, shown.name, shown.colour, shown.apart) == (role, "curators", 0x336699, True)
    await ann.call(RoleUpdate(space=club.id, role=role, colour=-1))
    assert (await bob.wait_for(SpaceChanged)).roles[0].colour is None
    await ann.call(RoleDelete(space=club.id, role=role))
    assert (await bob.wait_for(SpaceChanged)).gone == [role]


async def test_who_gets_a_role_may_do_what_it_allows_at_once_on_all_nodes(start: Starter, connect: Connector) -> None:
    here, there = await nodes(start)
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    club = await community(ann, bob)
    role = await club.role("managers", "manage_space")
    await club.grant(role, bob)
    assert (await bob.call(SpaceUpdate(space=club.id, name="Ours"))).name == "Ours"
    assert (await bob.wait_for(MemberChanged)).member.roles == [role]
    await ann.call(RoleRevoke(space=club.id, role=role, user=me(bob)))
    assert await refused(bob, SpaceUpdate(space=club.id, name="Mine")) == "forbidden"
    assert (await bob.wait_for(MemberChanged)).member.roles == []


async def test_after_a_role_is_taken_nothing_is_sent_by_its_right_on_any_node(
    start: Starter, connect: Connector
) -> None:
    here, there = await nodes(start, **UNBOUND)
    ann, bob = await connect("ann", to=here), await connect("bob", to=there)
    club = await community(ann, bob)
    room = await club.room()
    writers = await club.role("writers", to=bob)
    await club.overwrite(room, deny=["send"])
    await club.overwrite(room, role=writers, allow=["send"])
    for _ in range(20):
        await say(bob, room)
        sends = [asyncio.create_task(bob.call(_message(room))) for _ in range(20)]
        await ann.call(RoleRevoke(space=club.id, role=writers, user=me(bob)))
        head = (await ann.call(_message(room))).seq
        for result in await asyncio.gather(*sends, return_exceptions=True):
            assert isinstance(result, Refusal) or result.seq < head, "stored after the right was gone"
        await club.grant(writers, bob)


async def test_a_role_that_decides_nothing_makes_nobody_be_looked_at_again(
    server: Server, ann: Person, bob: Person
) -> None:
    club = await community(ann, bob)
    room = await club.room()
    colour, writers = await club.role("colour", "send"), await club.role("writers", "kick")
    painted = await club.role("painted")
    await club.overwrite(room, role=painted, allow=["pin"])

    async def moved(role: UUID) -> list[bool]:
        """Whether the space's version moves when bob gets a role, and when it is taken from him."""
        versions = [await storage.access(server.pool, room)]
        for kind in (RoleGrant, RoleRevoke):
            await ann.call(kind(space=club.id, role=role, user=me(bob)))
            versions.append(await storage.access(server.pool, room))
        return [after > before for before, after in pairwise(versions)]

    assert await moved(colour) == [False, False], "everybody may send"
    assert await moved(writers) == [True, True]
    assert await moved(painted) == [True, True], "a channel says something about it"
    assert await club.roles(bob) == []


def _message(room: object) -> MessageSend:
    return MessageSend(channel=room, text="x", nonce=uuid4())  # type: ignore[arg-type]


# Above and below


async def test_nobody_makes_or_changes_a_role_beyond_their_own_permissions(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    low = await club.role("low")
    await club.role("admins of roles", "manage_roles", "kick", to=bob)
    lower = await bob.call(RoleCreate(space=club.id, name="kickers", nonce=uuid4(), permissions=["kick"]))
    wrong = [
        RoleCreate(space=club.id, name="x", nonce=uuid4(), permissions=["ban"]),
        RoleCreate(space=club.id, name="x", nonce=uuid4(), permissions=["administrator"]),
        RoleUpdate(space=club.id, role=lower.id, permissions=["kick", "ban"]),
        RoleUpdate(space=club.id, role=club.id, permissions=["administrator"]),
    ]
    assert [await refused(bob, frame) for frame in wrong] == ["forbidden"] * len(wrong)
    assert await refused(bob, RoleUpdate(space=club.id, role=low, name="fine")) == "forbidden", "it stands above"


async def test_nobody_touches_a_role_as_high_as_their_own(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    mine = await club.role("mine", "manage_roles", to=bob)
    high = await club.role("high")
    await ann.call(RoleReorder(space=club.id, roles=[high, mine]))
    low = (await bob.call(RoleCreate(space=club.id, name="low", nonce=uuid4()))).id
    for role in (mine, high):
        for frame in (
            RoleUpdate(space=club.id, role=role, name="x"),
            RoleDelete(space=club.id, role=role),
            RoleGrant(space=club.id, role=role, user=me(bob)),
            RoleRevoke(space=club.id, role=role, user=me(bob)),
        ):
            assert await refused(bob, frame) == "forbidden"
    await bob.call(RoleUpdate(space=club.id, role=low, name="x"))
    await bob.call(RoleGrant(space=club.id, role=low, user=me(bob)))
    assert await refused(bob, RoleReorder(space=club.id, roles=[low, high, mine])) == "forbidden"
    assert await refused(bob, RoleReorder(space=club.id, roles=[high, low, mine])) == "forbidden"


async def test_roles_are_given_only_to_who_stands_lower(ann: Person, bob: Person, connect: Connector) -> None:
    cid = await connect("cid")
    club = await community(ann, bob, cid)
    role = await club.role("managers", "manage_roles", to=bob)
    await club.grant(role, cid)
    low = (await bob.call(RoleCreate(space=club.id, name="low", nonce=uuid4()))).id
    assert await refused(bob, RoleGrant(space=club.id, role=low, user=me(cid))) == "forbidden"
    assert await refused(bob, RoleGrant(space=club.id, role=low, user=me(ann))) == "forbidden"
    await ann.call(RoleRevoke(space=club.id, role=role, user=me(cid)))
    await bob.call(RoleGrant(space=club.id, role=low, user=me(cid)))
    assert await club.roles(cid) == [low]


async def test_roles_are_put_in_order_and_everyones_stays_below(ann: Person) -> None:
    club = await community(ann)
    roles = [await club.role(str(number)) for number in range(3)]
    await ann.call(RoleReorder(space=club.id, roles=roles))
    shown = {role.id: role.position for role in (await club.seen(ann)).roles}
    assert [shown[role] for role in roles] == [3, 2, 1]
    assert await refused(ann, RoleReorder(space=club.id, roles=roles[:2])) == "invalid"
    assert await refused(ann, RoleReorder(space=club.id, roles=[*roles, club.id])) == "invalid"
    assert await refused(ann, RoleReorder(space=club.id, roles=[*roles[:2], uuid4()])) == "missing"


async def test_everyones_role_is_neither_deleted_nor_given_nor_renamed(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    assert await refused(ann, RoleDelete(space=club.id, role=club.id)) == "forbidden"
    assert await refused(ann, RoleGrant(space=club.id, role=club.id, user=me(bob))) == "forbidden"
    assert await refused(ann, RoleUpdate(space=club.id, role=club.id, name="all")) == "invalid"
    await ann.call(RoleUpdate(space=club.id, role=club.id, permissions=["view", "history"]))
    room = await club.room()
    assert await refused(bob, MessageSend(channel=room, text="x", nonce=uuid4())) == "forbidden"


async def test_a_role_of_another_space_is_missing(ann: Person, bob: Person) -> None:
    club, other = await community(ann, bob), await community(ann)
    role = await other.role("there")
    for frame in (
        RoleUpdate(space=club.id, role=role, name="x"),
        RoleDelete(space=club.id, role=role),
        RoleGrant(space=club.id, role=role, user=me(bob)),
        RoleGrant(space=other.id, role=role, user=me(bob)),
    ):
        assert await refused(ann, frame) == "missing"


async def test_a_deleted_role_allows_nothing_any_more(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    role = await club.role("managers", "manage_space", to=bob)
    await ann.call(RoleDelete(space=club.id, role=role))
    assert await refused(bob, SpaceUpdate(space=club.id, name="x")) == "forbidden"


async def test_all_devices_of_a_member_are_told_of_their_roles(ann: Person, bob: Person, connect: Connector) -> None:
    club = await community(ann, bob)
    other = await device(connect, bob)
    role = await club.role("r", to=bob)
    for one in (bob, other):
        assert (await one.wait_for(MemberChanged)).member.roles == [role]


async def test_who_stands_low_still_puts_roles_in_order_when_others_were_deleted(ann: Person, bob: Person) -> None:
    club = await community(ann, bob)
    top, gone = await club.role("top", "manage_roles", to=bob), await club.role("gone")
    one, other = await club.role("one"), await club.role("other")
    await ann.call(RoleDelete(space=club.id, role=gone))
    await bob.call(RoleReorder(space=club.id, roles=[top, other, one]))
    assert [role.id for role in (await club.seen(ann)).roles] == [club.id, one, other, top]
    assert await refused(bob, RoleReorder(space=club.id, roles=[other, top, one])) == "forbidden"
