"""user: others, as far as they can be seen."""

from protocol.user import UserBlock, UserBlocked, UserGet, UserList, UserSearch, UserUnblock
from tests.authorization.kinds import EVERYBODY_ELSE
from tests.authorization.people import EVERYBODY
from tests.authorization.sample import Sample

SAMPLES = {
    "get": Sample(lambda world: UserGet(user=world.tom.id), proves=lambda reply: "username" in reply),
    "list": Sample(lambda world: UserList(limit=100), proves=lambda reply: len(reply["users"]) > 3),
    "search": Sample(lambda world: UserSearch(text=EVERYBODY, limit=100), proves=lambda reply: len(reply["users"]) > 3),
    "block": Sample(
        lambda world: UserBlock(user=world.tom.id),
        touches=frozenset({"ann+tom", "tom"}),  # own is his friend
        told={"notification.removed": frozenset({"ann"})},
        reaches=frozenset({"somebody I block"}),
        insiders=frozenset({"blocker"}),
    ),
    "block: a friend": Sample(
        lambda world: UserBlock(user=world.adm.id),
        outsiders=frozenset(),
        touches=frozenset({"adm"}),
        told={"friend.removed": frozenset({"ann", "adm"})},
    ),
    "unblock": Sample(
        lambda world: UserUnblock(user=world.tom.id),
        by="kim",
        reaches=frozenset({"somebody I block"}),
        outsiders=EVERYBODY_ELSE,
    ),
    "blocked": Sample(lambda world: UserBlocked(), shows_blocked=True, proves=lambda reply: len(reply["users"]) == 1),
}
