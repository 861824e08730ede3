"""SQL of spaces, and of what is in them, in which a condition is missing.

Not here is what an access version or a structure only looks for: the same conditions decide again when it was found.
"""

from tests.authorization.queries import each, query, swap

_NOT_KEPT_OUT = "space.join: not kept out of this one"

_STANDING = (
    query("p.id = c.space AND p.deleted_at IS NULL", "p.id = c.space", "channel.get", "message.send"),
    *each("{r.space = p.id AND r.account = t.account}", "message.send"),
    swap("m.account IS NOT NULL OR r.account IS NOT NULL", "true", "channel.get"),
    query("p.id = t.space AND p.deleted_at IS NULL", "p.deleted_at IS NULL", "space.get", "space.leave"),
    *each("{m.space = p.id AND m.account = t.account}", "space.get", "member.search"),
    query("FROM role r WHERE r.space = p.id", "r.space = p.id", "space.update"),
    query("WHERE c.space = p.id AND c.kind <> 'thread'", "c.space = p.id", "space.update"),
)
_SPACES = (
    query("WHERE p.id = $2 AND p.deleted_at IS NULL\n", "p.id = $2", "space.join"),
    swap("(p.open AND NOT EXISTS", "(true AND NOT EXISTS", "space.join"),
    query(
        "b.space = p.id AND b.account = $1)\n                OR",
        "b.space = p.id",
        _NOT_KEPT_OUT,
    ),
    *each("{m.space = p.id AND m.account = $1}))\n", "space.join"),
    *each("{p.creator = $1 AND p.nonce = $2}", "space.create"),
    query("WHERE p.open AND p.deleted_at", "p.open", "space.discover"),
    *each("WHERE {b.space = p.id AND b.account = $1})\n         ORDER", "space.discover"),
    *each("{r.space = $2 AND r.account = $1}", "space.get"),
    *each("{k.channel = s.id AND k.account = $1}\n         WHERE s.id = ANY", "space.get"),
    *each("{x.account = $1 AND x.channel = s.id}\n", "space.get"),
    query("keeps_for = $7 WHERE id = $1", "id = $1", "space.update"),
    query("structure = structure + 1 WHERE id = $1", "id = $1", "space.update"),
    *each("DELETE FROM overwrite WHERE {channel = $1 AND target = $2}", "permission.clear"),
    query("WHERE c.id = n.id", "c.id = n.id", "channel.reorder"),
    query("owner = NULL WHERE id = $1", "id = $1", "space.delete"),
    query("DELETE FROM space_member WHERE space = $1 AND account = ANY", "space = $1", "space.delete"),
)
_ROLES = (
    query("WHERE space = $1 AND position >= $2", "space = $1", "role.create"),
    *each("SELECT id FROM role WHERE {space = $1 AND nonce = $2}", "role.create"),
    query("WHERE space = $1 AND id = $2\n", "id = $2", "role.update"),
    query("c.space = $1 AND o.target = $2", "o.target = $2", "role.delete", "member.kick"),
    query("DELETE FROM role WHERE space = $1 AND id = $2", "id = $2", "role.delete"),
    *each("array_append(array_remove(roles, $3), $3) WHERE {space = $1 AND account = $2}", "role.grant"),
    *each("array_remove(roles, $3) WHERE {space = $1 AND account = $2}", "role.revoke"),
)
_MEMBERS = (
    query("FROM space_member m WHERE m.space = $1 ", "m.space = $1", "member.list"),
    swap("AND m.roles @> ARRAY[$4::uuid]", "AND $4::uuid IS NOT NULL", "member.list: with a role"),
    query("m.space = $1 AND m.name >= lower($2)", "m.space = $1", "member.search"),
    query("m.space = $1 AND m.account = b.id", "m.space = $1", "member.search: by username"),
    query("WHERE m.account = $1 AND m.space > $2", "m.account = $1", "space.list"),
    query("WHERE a.id = $2 AND a.deleted_at IS NULL\n        ON CONFLICT", "a.id = $2", "space.join"),
    *each("DELETE FROM space_member WHERE {space = $1 AND account = $2}", "space.leave", "member.kick"),
    query("members + 1 WHERE id = $1", "id = $1", "space.join"),
    query("members - 1 WHERE id = $1", "id = $1", "space.leave"),
    *each("c.id = t.channel AND {c.space = $1 AND t.account = $2}", "member.kick"),
    *each("WHERE {m.space = $1 AND m.account = $2} AND a.id = m.account", "member.update"),
    *each("timeout_until = $3 WHERE {space = $1 AND account = $2}", "member.timeout"),
    *each("DELETE FROM ban WHERE {space = $1 AND account = $2}", "member.unban"),
    *each("SELECT EXISTS (SELECT FROM ban WHERE {space = $1 AND account = $2}", "member.unban"),
    query("WHERE b.space = $1 AND (b.at", "b.space = $1", "member.bans"),
)
_CHANNELS = (
    query("r.account = $2 WHERE s.id = $1", "r.account = $2", "message.mark_read: in a space, for the first time"),
    query("r.account = $2 WHERE s.id = $1", "s.id = $1", "message.mark_read: in a space, for the first time"),
    query("m.author = p.account AND m.sent_at", "m.author = p.account", "member.ban: and take back what they said"),
    query("c.id = m.channel AND c.space = p.space", "c.space = p.space", "member.ban: and take back what they said"),
    query("m.sent_at >= p.since", "m.sent_at >= p.since", "member.ban: and take back what they said last"),
)
QUERIES = (*_STANDING, *_SPACES, *_ROLES, *_MEMBERS, *_CHANNELS)
