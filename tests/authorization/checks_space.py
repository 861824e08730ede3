"""Functions that decide about spaces, without one of their checks."""

from server import access, grant, group, outline, posting, space
from server.fact import Change
from server.handlers import channel, member, message, permission, reaction, role, scheduled
from server.handlers import session as sessions
from server.handlers import space as spaces
from server.reach import Reach
from server.space import Ruling
from server.structure import Structure
from tests.authorization.checks import Text

_TOUCHING = ("member.kick", "member.ban", "member.timeout", "member.update", "role.grant", "role.revoke")
_GIVING, _OVERWRITING = ("role.grant", "role.revoke"), ("permission.set", "permission.clear")
_SHAPING = ("role.update", "role.delete", "role.grant", "role.revoke")
TEXTS = (
    # the algorithm, as far as it is not in a table of its own (tests/test_permission.py)
    Text(space, "may_touch", "member.height > other.height", "member.height >= other.height", _TOUCHING),
    Text(space, "may_touch", "member.height > other.height", "True", _TOUCHING),
    Text(access, "may_shape", "given & ~had == 0 and", "", ("role.create", "role.update")),
    Text(access, "may_shape", "role.position < member.height", "role.position <= member.height", _SHAPING),
    Text(access, "may_overwrite", "changed & ~had == 0 and", "", _OVERWRITING),
    Text(access, "may_overwrite", "height < member.height", "height <= member.height", ("permission.set",)),
    Text(
        access,
        "standing",
        "elif not allowed & VIEW:",
        "elif False:",
        ("channel.get",),
    ),
    Text(access, "standing", 'footing.kind in ("category", "forum")', "False", ("message.send",)),
    Text(Structure, "layers", "return [*above, ", "return [", ("channel.get", "message.send")),
    Text(Structure, "member", "timed_out)", "False)", ("message.send", "member.kick")),
    Text(Structure, "member", "account == self.space.owner", "False", ("space.delete",)),
    Text(Structure, "seen_by", "member.timed_out, alone", "alone", ("space.get",)),
    Text(outline, "_visible", "if allowed & access.VIEW:", "if True:", ("space.get", "space.update")),
    # who changes what
    Text(Ruling, "below", "not may_touch(self.me.member, found.member)", "False", _TOUCHING),
    Text(spaces, "delete", "not rule.me.member.owner", "False", ("space.delete",)),
    Text(spaces, "delete", "frame.name != (await _held(rule)).name", "False", ("space.delete",)),
    Text(spaces, "transfer", "not rule.me.member.owner", "False", ("space.transfer",)),
    Text(spaces, "leave", "me.member.owner", "False", ("space.leave",)),
    Text(channel, "add_channel", '("view",) if private else ()', "()", ("channel.create",)),
    Text(member, "update", 'check(rule.me.allowed, bits(["change_nick"]))', "pass", ("member.update",)),
    Text(member, "update", 'check(rule.me.allowed, bits(["manage_nicks"]))', "pass", ("member.update",)),
    Text(member, "update", "await rule.below(user.account)", "pass", ("member.update",)),
    Text(member, "kick", "await rule.below(user.account)", "pass", ("member.kick",)),
    Text(member, "ban", "await rule.below(user.id)", "pass", ("member.ban",)),
    Text(member, "ban", "user.id == ctx.user", "False", ("member.ban",)),
    Text(member, "timeout", "await rule.below(user.account)", "await rule.resident(user.account)", ("member.timeout",)),
    Text(member, "timeout", 'below.allowed & bits(["administrator"])', "False", ("member.timeout",)),
    Text(member, "suggest", "if standing is not None", "if True", ("member.suggest",)),
    Text(role, "create", "_check_shape(rule, None, role)", "pass", ("role.create",)),
    Text(role, "update", "_check_shape(rule, rule.structure.roles[role.id], after)", "pass", ("role.update",)),
    Text(role, "update", "role.id == space.id and", "False and", ("role.update",)),
    Text(role, "delete", "_check_shape(rule, rule.structure.roles[role.id], None)", "pass", ("role.delete",)),
    Text(role, "delete", "role.id == space.id", "False", ("role.delete",)),
    Text(role, "reorder", "known[was].position >= height", "False", ("role.reorder",)),
    Text(role, "_assignable", "role == rule.id", "False", _GIVING),
    Text(
        role, "_assignable", "await rule.below(account)", "await rule.resident(account)", ("role.grant", "role.revoke")
    ),
    Text(role, "_assignable", "not access.may_shape(", "False and access.may_shape(", _GIVING),
    Text(permission, "list_", "not resident.allowed & _EITHER", "False", ("permission.list",)),
    Text(permission, "set_", "or (allow | deny) & ~permission.OF_CHANNELS", "", ("permission.set",)),
    Text(
        permission,
        "_overwrite",
        "not access.may_overwrite(",
        "False and access.may_overwrite(",
        _OVERWRITING,
    ),
    Text(permission, "explain", "check(me.allowed, _MANAGE_ROLES)", "pass", ("permission.explain",)),
    # what is done in channels
    Text(message, "edit", 'channel.id, "send")', "channel.id)", ("message.edit",)),
    Text(message, "pin", 'channel.id, "pin")', "channel.id)", ("message.pin",)),
    Text(message, "unpin", 'channel.id, "pin")', "channel.id)", ("message.unpin",)),
    Text(reaction, "add", 'channel.id, "react")', "channel.id)", ("reaction.add",)),
    Text(reaction, "remove", 'channel.id, "react")', "channel.id)", ("reaction.remove",)),
    Text(scheduled, "create", 'channel.id, "send")', "channel.id)", ("scheduled.create",)),
    Text(message, "_tell_receipt", "and channel.space is None", "", ("message.mark_read",)),
    Text(channel, "_update_in", ', "manage_channels")', ")", ("channel.update",)),
    Text(group, "update", 'check(standing.allowed, bits(["manage_channels"]))', "pass", ("channel.update",)),
    Text(channel, "_residents", "if one is not None", "if True", ("channel.members",)),
    Text(Change, "check_seeing", "None in found", "False", ("message.edit",)),
    Text(grant.Grants, "_mentioning_others", "if one is None", "if False", ("message.send",)),
    Text(posting, "_decided", " or not (more.mentions or more.poll or more.files)", " or True", ("message.send",)),
    # who hears what
    Text(Reach, "watchable", "not bits(needs) & ~standing.allowed", "True", ("session.resume",)),
    Text(Reach, "places", ', "history")', ")", ("session.resume",)),
    Text(Reach, "_seeing", "if standing is not None", "if True", ("permission.set",)),
    Text(sessions, "_enter", 'session.allows("space.list")', "True", ("session.resume",)),
)
