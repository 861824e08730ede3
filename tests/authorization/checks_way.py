"""Functions that decide about invites and threads, without one of their checks."""

from server import access, invite, thread
from server.handlers import channel
from server.handlers import invite as invites
from tests.authorization.checks import Text

TEXTS = (
    Text(invite, "_check_role", "role == rule.id or ", "", ("invite.create",)),
    Text(invite, "_check_role", "not may_shape(rule.me.member, found, found)", "False", ("invite.create",)),
    Text(invite, "_create_vanity", "check(rule.me.allowed, _MANAGE)", "pass", ("invite.create: by a host",)),
    Text(invite, "_create_vanity", "frame.role is not None or", "", ("invite.create",)),
    Text(invite, "may_revoke", "and not invite.vanity", "", ("invite.revoke: one's own",)),
    Text(invite, "may_revoke", "bool(me.allowed & _MANAGE)", "True", ("invite.revoke",)),
    Text(invite, "send", "await friend.check_opening(rule.change, me, user)", "pass", ("invite.send",)),
    Text(invite, "send", "await members.get(tx, rule.id, user) is not None", "False", ("invite.send",)),
    Text(invite, "send", "await members.banned(tx, rule.id, user)", "False", ("invite.send",)),
    Text(invites, "list_", 'None if space.allowed & bits(["manage_space"]) else ctx.user', "None", ("invite.list",)),
    Text(thread, "open_", "channel.kind not in _IN", "False", ("thread.open",)),
    Text(thread, "update", "if frame.locked is not None:", "if False:", ("thread.update: one's own",)),
    Text(thread, "update", "before.owner != user or not standing.writes", "not standing.writes", ("thread.update",)),
    Text(
        thread,
        "update",
        "before.owner != user or not standing.writes",
        "before.owner != user",
        ("thread.update: one's own",),
    ),
    Text(thread, "delete", "gone.owner != user or not standing.writes", "False", ("thread.delete: one's own",)),
    Text(thread, "delete", "await threads.others_wrote(change.tx, id, user)", "False", ("thread.delete: one's own",)),
    Text(
        access, "standing", "(allowed & _MANAGE_THREADS or not footing.locked)", "True", ("message.send: in a thread",)
    ),
    Text(access, "standing", "allowed & _IN_THREADS and", "", ("message.send: in a thread",)),
    Text(
        channel,
        "_check_no_thread",
        'channel.kind == "thread"',
        "False",
        ("channel.update: in a space", "channel.delete: in a space"),
    ),
)
