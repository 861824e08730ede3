"""audit: what was done in a space, by whom and why, for those who may see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from protocol.account import AccountExport
from protocol.audit import AuditSpace, Deed, Deeds
from protocol.automod import AutomodCreate, AutomodDelete, AutomodUpdate
from protocol.channel import ChannelCreate, ChannelDelete, ChannelReorder, ChannelUpdate
from protocol.emoji import EmojiCreate, EmojiDelete, EmojiUpdate
from protocol.error import Forbidden, Missing
from protocol.invite import InviteAccept, InviteCreate, InviteRevoke
from protocol.member import MemberBan, MemberKick, MemberTimeout, MemberUnban, MemberUpdate
from protocol.message import MessageDelete, MessageDeleteMany
from protocol.permission import PermissionClear, PermissionSet
from protocol.report import ReportCreate, ReportList, ReportResolve
from protocol.role import RoleCreate, RoleDelete, RoleReorder, RoleRevoke, RoleUpdate
from protocol.space import SpaceCreate, SpaceJoin, SpaceLeave, SpaceTransfer, SpaceUpdate
from protocol.sticker import StickerCreate, StickerDelete, StickerUpdate
from protocol.thread import ThreadDelete, ThreadOpen, ThreadUpdate
from protocol.voice import VoiceJoin, VoiceMove, VoiceMute
from server import Server
from storage import deed
from tests.chat import me, say
from tests.club import Club, club
from tests.conftest import Person


async def log(person: Person, space: UUID, **fields: Any) -> list[Deed]:
    """But for who has come, unless that is asked for."""
    deeds = (await person.call(AuditSpace(space=space, **fields))).deeds
    return [one for one in deeds if one.action != "member.joined" or fields.get("action") == one.action]


async def test_what_one_has_done_in_spaces_is_in_ones_own_export_alone(ann: Person, bob: Person) -> None:
    at = await club(ann, bob)
    await ann.call(MemberUpdate(space=at.id, user=me(bob), nick="Bobby", reason="as he is called"))
    mine, his = [(await one.call(AccountExport())).deeds for one in (ann, bob)]
    assert [(one.action, one.target, one.reason) for one in mine] == [
        ("space.create", at.id, ""),
        ("member.update", me(bob), "as he is called"),
    ]
    assert [(one.space, one.action, one.target) for one in his] == [(at.id, "member.joined", me(bob))]


async def test_who_enters_an_open_space_is_in_its_log_once(ann: Person, bob: Person) -> None:
    at = await club(ann, bob)
    await bob.call(SpaceJoin(space=at.id))
    [joined] = await log(ann, at.id, action="member.joined")
    assert (joined.by, joined.target, joined.differences) == (me(bob), me(bob), [])


def changed(one: Deed) -> dict[str, tuple[Any, Any]]:
    """What was before and after."""
    return {
        part.name: tuple(text and msgspec.json.decode(text) for text in (part.before, part.after))
        for part in one.differences
    }


async def test_a_log_says_who_has_done_what_and_why_and_what_was_before(ann: Person, bob: Person) -> None:
    at = await club(ann, bob)
    await ann.call(SpaceUpdate(space=at.id, name="The club"))
    await ann.call(MemberUpdate(space=at.id, user=me(bob), nick="Bobby", reason="as he is called"))
    renamed, updated, created = await log(ann, at.id)
    assert (renamed.by, renamed.action, renamed.target) == (me(ann), "member.update", me(bob))
    assert (renamed.reason, changed(renamed)) == ("as he is called", {"nick": ("", "Bobby")})
    assert (updated.action, updated.target) == ("space.update", at.id)
    assert changed(updated) == {"name": ("Club", "The club")}
    assert (created.action, changed(created)["name"]) == ("space.create", (None, "Club"))
    assert renamed.at > updated.at > created.at


async def test_a_log_is_narrowed_by_who_what_and_to_whom(ann: Person, bob: Person) -> None:
    at = await club(ann, bob)
    role = await at.role("manage_nicks", "see_audit", to=bob)
    await ann.call(MemberUpdate(space=at.id, user=me(bob), nick="Bobby"))
    assert {one.action for one in await log(ann, at.id, target=me(bob))} == {"role.grant", "member.update"}
    assert [one.action for one in await log(ann, at.id, action="role.create")] == ["role.create"]
    assert await log(ann, at.id, by=me(bob)) == []
    assert [one.target for one in await log(ann, at.id, by=me(ann), action="role.create", target=role)] == [role]
    assert await log(ann, at.id, action="role.delete") == []


async def test_pages_of_a_log_follow_each_other_without_gap_or_repetition(ann: Person) -> None:
    at = await club(ann)
    for number in range(9):
        await ann.call(SpaceUpdate(space=at.id, name=f"Club {number}"))
    whole = await log(ann, at.id, limit=100)
    assert len(whole) == 10
    for limit in (1, 3, 9, 10):
        page, paged = Deeds(deeds=[], next=None), []
        while not paged or page.next is not None:
            page = await ann.call(AuditSpace(space=at.id, limit=limit, before=page.next))
            paged += page.deeds
        assert paged == whole


async def test_only_who_may_see_the_log_sees_it(ann: Person, bob: Person, connect: Any) -> None:
    at, cid = await club(ann, bob), await connect("cid")
    with pytest.raises(Forbidden, match="see_audit"):
        await log(bob, at.id)
    with pytest.raises(Missing):
        await log(cid, at.id)
    role = await at.role("see_audit", to=bob)
    assert len(await log(bob, at.id)) == 3
    await ann.call(RoleRevoke(space=at.id, role=role, user=me(bob)))
    with pytest.raises(Forbidden, match="see_audit"):
        await log(bob, at.id)


async def test_what_was_done_to_a_hidden_channel_is_in_no_log_also_when_it_is_no_more(ann: Person, bob: Person) -> None:
    at = await club(ann, bob)
    await at.role("see_audit", to=bob)
    before = await log(bob, at.id)
    secret = await at.channel("secret", private=True)
    await ann.call(PermissionSet(channel=secret, role=at.id, deny=["view", "send"]))
    await ann.call(ChannelUpdate(channel=secret, topic="hidden"))
    assert await log(bob, at.id) == before
    await ann.call(ChannelReorder(space=at.id, channels=[secret, at.general]))
    [reordered] = await log(bob, at.id, action="channel.reorder")
    assert changed(reordered) == {"channels": ([str(at.general)], [str(at.general)])}
    await ann.call(ChannelDelete(channel=secret))
    assert await log(bob, at.id, target=secret) == []
    assert [one.action for one in await log(ann, at.id, target=secret)] == [
        "channel.delete",
        "channel.update",
        "permission.set",
        "channel.create",
    ]
    seen = await at.channel("seen")
    await ann.call(ChannelDelete(channel=seen))
    assert [one.action for one in await log(bob, at.id, target=seen)] == ["channel.delete", "channel.create"]


async def test_a_log_forgets_after_a_year(ann: Person, server: Server) -> None:
    at = await club(ann)
    await server.pool.execute("UPDATE deed SET at = now() - interval '366 days'")
    await ann.call(SpaceUpdate(space=at.id, name="Another"))
    await deed.prune(server.pool, 365)
    assert [one.action for one in await log(ann, at.id)] == ["space.update"]


async def test_a_log_of_a_space_tells_nothing_of_another(ann: Person, bob: Person) -> None:
    mine, theirs = await club(ann, name="mine"), await club(bob, name="theirs")
    await ann.call(SpaceUpdate(space=mine.id, description="new"))
    assert {one.target for one in await log(bob, theirs.id)} == {theirs.id}


# Whatever changes something in a space is in its log

# Ops about spaces, or channels that may be in one, that leave nothing in the log, and why.
_READS = "changes nothing"
_OWN = "changes only how it is for oneself"
_TOLD = "everybody in the channel is told of it as a fact, which is kept"
_SAID = "somebody's own words"
_PASSING = "passes"
UNLOGGED = {
    "audit.space": _READS,
    "automod.list": _READS,
    "call.answer": "groups only",
    "call.decline": "groups only",
    "call.end": "groups only",
    "call.get": "groups only",
    "call.signal": "groups only",
    "call.start": "groups only",
    "channel.add_member": "groups only",
    "channel.get": _READS,
    "channel.join": "groups only",
    "channel.leave": "groups only",
    "channel.members": _READS,
    "channel.mute": _OWN,
    "channel.remove_member": "groups only",
    "channel.watch": _OWN,
    "draft.clear": _OWN,
    "draft.save": _OWN,
    "member.bans": _READS,
    "member.get": _READS,
    "member.list": _READS,
    "member.search": _READS,
    "member.suggest": _READS,
    "emoji.list": _READS,
    "file.link": _READS,
    "hashtag.list": _READS,
    "hashtag.top": _READS,
    "invite.get": _READS,
    "invite.list": _READS,
    "invite.send": "the way in is in the log already",
    "message.around": _READS,
    "message.edit": _SAID,
    "message.forward": _SAID,
    "message.get": _READS,
    "message.history": _READS,
    "message.mark_delivered": _OWN,
    "message.mark_read": _OWN,
    "message.mentions": _READS,
    "message.pin": _TOLD,
    "message.pins": _READS,
    "message.readers": _READS,
    "message.revisions": _READS,
    "message.send": _SAID,
    "message.unpin": _TOLD,
    "notification.configure": _OWN,
    "notification.mark_read": _OWN,
    "permission.explain": _READS,
    "permission.list": _READS,
    "poll.close": _TOLD,
    "poll.get": _READS,
    "poll.vote": _OWN,
    "poll.voters": _READS,
    "reaction.add": _OWN,
    "reaction.list": _READS,
    "reaction.remove": _OWN,
    "report.create": "moderators are told, and nobody else",
    "report.get": _READS,
    "report.list": _READS,
    "scheduled.create": _SAID,
    "search.messages": _READS,
    "space.delete": "the log goes with it",
    "space.get": _READS,
    "space.leave": "everybody may",
    "sticker.list": _READS,
    "stats.channel": _READS,
    "stats.space": _READS,
    "thread.follow": _OWN,
    "thread.followed": _READS,
    "thread.get": _READS,
    "thread.list": _READS,
    "thread.open": _TOLD,
    "thread.unfollow": _OWN,
    "stage.invite": _PASSING,
    "stage.mute": _PASSING,
    "stage.request": _OWN,
    "typing.start": _PASSING,
    "typing.stop": _PASSING,
    "voice.join": _OWN,
    "voice.leave": _OWN,
    "voice.list": _READS,
    "voice.signal": _PASSING,
    "voice.update": _OWN,
}

Play = Callable[[Club, Person], Awaitable[Any]]


async def _role(at: Club) -> UUID:
    return await at.role("kick")


async def _update_role(at: Club, bob: Person) -> None:
    await at.owner.call(RoleUpdate(space=at.id, role=await _role(at), name="other"))


async def _delete_role(at: Club, bob: Person) -> None:
    await at.owner.call(RoleDelete(space=at.id, role=await _role(at)))


async def _reorder_roles(at: Club, bob: Person) -> None:
    first, second = await _role(at), await _role(at)
    await at.owner.call(RoleReorder(space=at.id, roles=[second, first]))
    await at.owner.call(RoleReorder(space=at.id, roles=[first, second]))


async def _revoke_role(at: Club, bob: Person) -> None:
    await at.owner.call(RoleRevoke(space=at.id, role=await at.role(to=bob), user=me(bob)))


async def _unban(at: Club, bob: Person) -> None:
    await at.owner.call(MemberBan(space=at.id, user=me(bob)))
    await at.owner.call(MemberUnban(space=at.id, user=me(bob), reason="why"))


async def _delete_words(at: Club, bob: Person) -> None:
    await at.owner.call(MessageDelete(channel=at.general, seq=await say(bob, at.general)))


async def _delete_many_words(at: Club, bob: Person) -> None:
    seqs = [await say(one, at.general) for one in (bob, at.owner, bob)]
    await at.owner.call(MessageDeleteMany(channel=at.general, seqs=seqs))


async def _overwrite(at: Club, bob: Person) -> None:
    await at.owner.call(PermissionSet(channel=at.general, role=at.id, deny=["send"]))


async def _clear(at: Club, bob: Person) -> None:
    await _overwrite(at, bob)
    await at.owner.call(PermissionClear(channel=at.general, role=at.id))


async def _automod(at: Club) -> UUID:
    frame = AutomodCreate(space=at.id, name="rule", nonce=uuid4(), kind="words", terms=["heck"])
    return (await at.owner.call(frame)).id


async def _delete_automod(at: Club, bob: Person) -> None:
    await at.owner.call(AutomodDelete(space=at.id, rule=await _automod(at)))


async def _update_automod(at: Club, bob: Person) -> None:
    await at.owner.call(AutomodUpdate(space=at.id, rule=await _automod(at), name="new"))


async def _join(at: Club, bob: Person) -> None:
    await bob.call(SpaceLeave(space=at.id))
    await bob.call(SpaceJoin(space=at.id))


async def _invite(at: Club) -> str:
    return (await at.owner.call(InviteCreate(space=at.id, nonce=uuid4()))).code


async def _revoke(at: Club, bob: Person) -> None:
    await at.owner.call(InviteRevoke(code=await _invite(at)))


async def _accept(at: Club, bob: Person) -> None:
    await bob.call(SpaceLeave(space=at.id))
    await bob.call(InviteAccept(code=await _invite(at)))


async def _thread(at: Club, bob: Person) -> UUID:
    return (await bob.call(ThreadOpen(channel=at.general, name="thread", nonce=uuid4(), text="hello"))).id


async def _update_thread(at: Club, bob: Person) -> None:
    await at.owner.call(ThreadUpdate(thread=await _thread(at, bob), name="another"))


async def _delete_thread(at: Club, bob: Person) -> None:
    await at.owner.call(ThreadDelete(thread=await _thread(at, bob)))


async def _resolve(at: Club, bob: Person) -> None:
    await at.owner.call(ReportCreate(user=me(bob), space=at.id, category="spam"))
    [report] = (await at.owner.call(ReportList(space=at.id))).reports
    await at.owner.call(ReportResolve(space=at.id, report=report.id, outcome="acted"))


async def _reorder(at: Club, bob: Person) -> None:
    await at.owner.call(ChannelReorder(space=at.id, channels=[await at.channel(), at.general]))


async def _emoji(at: Club) -> UUID:
    return (await at.owner.call(EmojiCreate(space=at.id, name="wave", file=uuid4(), nonce=uuid4()))).id


async def _update_emoji(at: Club, bob: Person) -> None:
    await at.owner.call(EmojiUpdate(space=at.id, emoji=await _emoji(at), name="hello"))


async def _delete_emoji(at: Club, bob: Person) -> None:
    await at.owner.call(EmojiDelete(space=at.id, emoji=await _emoji(at)))


async def _sticker(at: Club) -> UUID:
    return (await at.owner.call(StickerCreate(space=at.id, name="cat", file=uuid4(), nonce=uuid4()))).id


async def _update_sticker(at: Club, bob: Person) -> None:
    await at.owner.call(StickerUpdate(space=at.id, sticker=await _sticker(at), about="a cat"))


async def _delete_sticker(at: Club, bob: Person) -> None:
    await at.owner.call(StickerDelete(space=at.id, sticker=await _sticker(at)))


async def _move(at: Club, bob: Person) -> None:
    voice = await at.channel("voice", kind="voice")
    await bob.call(VoiceJoin(channel=voice))
    await at.owner.call(VoiceMove(channel=voice, user=me(bob), reason="why"))


async def _mute(at: Club, bob: Person) -> None:
    voice = await at.channel("voice", kind="voice")
    await at.owner.call(VoiceMute(channel=voice, user=me(bob), muted=True, reason="why"))


def _ask(make: Callable[[Club, Person], Any]) -> Play:
    return lambda at, bob: at.owner.call(make(at, bob))


def _later() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


# What is done, what is in the log of it, and what is told of before and after.
LOGGED: dict[str, tuple[Play, str, set[str], set[str]]] = {
    "automod.create": (lambda at, bob: _automod(at), "automod.create", set(), {"name", "terms"}),
    "automod.delete": (_delete_automod, "automod.delete", {"name", "terms"}, set()),
    "automod.update": (_update_automod, "automod.update", {"name"}, {"name"}),
    "channel.create": (
        _ask(lambda at, bob: ChannelCreate(space=at.id, name="new", nonce=uuid4())),
        "channel.create",
        set(),
        {"name", "kind"},
    ),
    "channel.delete": (
        _ask(lambda at, bob: ChannelDelete(channel=at.general)),
        "channel.delete",
        {"name", "kind"},
        set(),
    ),
    "channel.reorder": (_reorder, "channel.reorder", {"channels"}, {"channels"}),
    "channel.update": (
        _ask(lambda at, bob: ChannelUpdate(channel=at.general, topic="new")),
        "channel.update",
        {"topic"},
        {"topic"},
    ),
    "emoji.create": (lambda at, bob: _emoji(at), "emoji.create", set(), {"name", "file"}),
    "emoji.delete": (_delete_emoji, "emoji.delete", {"name", "file"}, set()),
    "emoji.update": (_update_emoji, "emoji.update", {"name"}, {"name"}),
    "invite.accept": (_accept, "member.joined", set(), {"via"}),
    "invite.create": (lambda at, bob: _invite(at), "invite.create", set(), {"code"}),
    "invite.revoke": (_revoke, "invite.revoke", {"code"}, set()),
    "member.ban": (
        _ask(lambda at, bob: MemberBan(space=at.id, user=me(bob), reason="why", purge=60)),
        "member.ban",
        {"roles", "nick"},
        {"purge"},
    ),
    "member.kick": (
        _ask(lambda at, bob: MemberKick(space=at.id, user=me(bob), reason="why")),
        "member.kick",
        {"roles", "nick"},
        set(),
    ),
    "member.timeout": (
        _ask(lambda at, bob: MemberTimeout(space=at.id, user=me(bob), until=_later(), reason="why")),
        "member.timeout",
        {"timeout_until"},
        {"timeout_until"},
    ),
    "member.unban": (_unban, "member.unban", {"reason", "by"}, set()),
    "member.update": (
        _ask(lambda at, bob: MemberUpdate(space=at.id, user=me(bob), nick="new", reason="why")),
        "member.update",
        {"nick"},
        {"nick"},
    ),
    "message.delete": (_delete_words, "message.delete", {"channel", "messages"}, set()),
    "message.delete_many": (_delete_many_words, "message.delete", {"channel", "messages"}, set()),
    "permission.clear": (_clear, "permission.clear", {"deny"}, {"deny"}),
    "permission.set": (_overwrite, "permission.set", {"deny"}, {"deny"}),
    "report.resolve": (_resolve, "report.resolve", {"outcome"}, {"outcome"}),
    "role.create": (
        _ask(lambda at, bob: RoleCreate(space=at.id, name="new", nonce=uuid4())),
        "role.create",
        set(),
        {"name"},
    ),
    "role.delete": (_delete_role, "role.delete", {"name", "permissions"}, set()),
    "role.grant": (lambda at, bob: at.role(to=bob), "role.grant", set(), {"name"}),
    "role.reorder": (_reorder_roles, "role.reorder", {"roles"}, {"roles"}),
    "role.revoke": (_revoke_role, "role.revoke", {"name"}, set()),
    "role.update": (_update_role, "role.update", {"name"}, {"name"}),
    "space.create": (
        _ask(lambda at, bob: SpaceCreate(name="another", nonce=uuid4())),
        "space.create",
        set(),
        {"name", "owner"},
    ),
    "space.join": (_join, "member.joined", set(), set()),
    "space.transfer": (
        _ask(lambda at, bob: SpaceTransfer(space=at.id, user=me(bob))),
        "space.transfer",
        {"owner"},
        {"owner"},
    ),
    "sticker.create": (lambda at, bob: _sticker(at), "sticker.create", set(), {"name", "file"}),
    "sticker.delete": (_delete_sticker, "sticker.delete", {"name", "file"}, set()),
    "sticker.update": (_update_sticker, "sticker.update", {"about"}, {"about"}),
    "thread.delete": (_delete_thread, "thread.delete", {"name"}, set()),
    "thread.update": (_update_thread, "thread.update", {"name"}, {"name"}),
    "space.update": (_ask(lambda at, bob: SpaceUpdate(space=at.id, name="new")), "space.update", {"name"}, {"name"}),
    "voice.move": (_move, "voice.move", set(), set()),
    "voice.mute": (_mute, "voice.mute", {"muted"}, {"muted"}),
}


_ABOUT = {"space", "channel", "role", "invite", "thread"}


def test_every_op_that_changes_something_in_a_space_is_known_here(server: Server) -> None:
    """An op that is in neither table: say there what the log has of it, or why nothing."""
    about = {
        name
        for name, op in server.router.ops.items()
        if {bind.kind for bind in op.access.binds} & _ABOUT or name == "space.create"
    }
    assert about - LOGGED.keys() - UNLOGGED.keys() == set()
    assert LOGGED.keys() & UNLOGGED.keys() == set()
    assert LOGGED.keys() | UNLOGGED.keys() <= about


@pytest.mark.parametrize("op", LOGGED)
async def test_what_changes_something_in_a_space_is_in_its_log(
    op: str, ann: Person, bob: Person, server: Server
) -> None:
    play, action, before, after = LOGGED[op]
    at = await club(ann, bob)
    await play(at, bob)
    row = await server.pool.fetchrow(
        "SELECT by, reason, before, after FROM deed WHERE action = $1 ORDER BY id DESC LIMIT 1", action
    )
    assert row is not None
    assert row["by"] == me(bob if op in ("invite.accept", "space.join") else ann)
    was, now = msgspec.json.decode(row["before"]), msgspec.json.decode(row["after"])
    assert (was.keys() >= before, now.keys() >= after) == (True, True), (was, now)
    assert (bool(was), bool(now)) == (bool(before), bool(after)), "what is the same before and after is not told"
    assert row["reason"] == ("why" if "reason" in server.router.ops[op].frame.__struct_fields__ else "")
