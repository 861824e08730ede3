"""SQL of channels, and of what stands in them, in which a condition is missing."""

from tests.authorization.queries import each, query, swap

_MEMBER = "{m.channel = t.channel AND m.account = t.account}"
_BETWEEN = "IN ((d.low, d.high), (d.high, d.low))"
_HIDDEN = "h.channel = m.channel AND h.account = $1 AND h.seq = m.seq"
_IN_VIEW = f"NOT EXISTS (SELECT FROM hidden h WHERE {_HIDDEN})"
_HIDERS = "ARRAY(SELECT h.account FROM hidden h WHERE h.channel = m.channel AND h.seq = m.seq)"
_HIDDEN_UNREAD = "h.channel = x.channel AND h.account = $1 AND h.seq = x.seq"
_MARKED = "m.account = $1 AND m.channel = $2 FOR UPDATE"
_DELETED = "message.delete"

_STANDING = (
    *each(_MEMBER, "typing.start", "message.history", "message.get"),
    query("(c.members <> 2 OR ", "c.members <> 2 OR ", "typing.start", "message.send"),
    swap("(c.members <> 2 OR", "(false AND", "typing.start", "message.send", "message.edit", "reaction.add"),
    swap(_BETWEEN, "IN ((d.low, d.high))", "typing.start", "message.send"),
    swap(_BETWEEN, "IN ((d.high, d.low))", "typing.start", "message.send"),
    query("WHERE d.channel = c.id", "d.channel = c.id", "message.forward"),
    query("WHERE c.id = $2", "c.id = $2", "channel.get", "channel.join"),
    swap("c.open OR EXISTS", "true OR EXISTS", "channel.get", "channel.join"),
    *each("{m.channel = c.id AND m.account = $1}", "channel.get"),
    query("FROM channel c WHERE c.id = $1", "c.id = $1", "channel.update"),
)
_MEMBERSHIP = (
    *each("{m.account = $1 AND m.channel = $2}\n    ", "channel.get"),
    query("WHERE m.account = $1 AND (s.moved_at", "m.account = $1", "channel.list"),
    query("WHERE m.channel = c.id ORDER BY", "m.channel = c.id", "channel.list"),
    query("WHERE m.deleted_at IS NULL AND NOT EXISTS\n", "m.deleted_at IS NULL", "channel.list"),
    *each(f"{{{_HIDDEN}}}", "channel.list"),
    *each("FROM message x\n                      WHERE {x.channel = m.channel AND x.seq > m.read}", "channel.get"),
    query("x.author <> $1 AND x.deleted_at IS NULL", "x.author <> $1", "channel.get"),
    query("x.author <> $1 AND x.deleted_at IS NULL", "x.deleted_at IS NULL", "channel.get"),
    *each(f"{{{_HIDDEN_UNREAD}}}", "channel.get"),
    *each("{x.account = $1 AND x.channel = m.channel AND x.seq > m.read}", "channel.get"),
)
_GROUPS = (
    *each("{creator = $1 AND nonce = $2}", "channel.create"),
    *each("{low = $1 AND high = $2}", "channel.open_direct"),
    query("members + $2 WHERE id = $1", "id = $1", "channel.add_member"),
    *each("DELETE FROM member WHERE {channel = $1 AND account = $2}", "channel.leave"),
    *each("DELETE FROM draft WHERE {channel = $1 AND account = $2}", "channel.leave"),
    *each("DELETE FROM mention WHERE {channel = $1 AND account = $2}", "channel.leave"),
    query("members - 1 WHERE id = $1", "id = $1", "channel.leave"),
    query("WHERE m.channel = $1 AND a.deleted_at IS NULL ORDER BY m.joined_at", "m.channel = $1", "channel.leave"),
    query("WHERE id = $1 RETURNING owner", "id = $1", "channel.leave"),
    query("WHERE a.id = ANY ($2::uuid[]) AND a.deleted_at", "a.id = ANY ($2::uuid[])", "channel.add_member"),
    *each("{m.channel = $1 AND m.account = a.id}", "channel.add_member"),
    query("DELETE FROM member WHERE channel = $1 RETURNING", "channel = $1", "channel.delete"),
    query("space = NULL, parent = NULL\n         WHERE id = $1", "id = $1", "channel.delete"),
    query("DELETE FROM draft WHERE channel = $1 AND account = ANY", "channel = $1", "channel.delete"),
    query("seats = $10\n         WHERE id = $1", "id = $1", "channel.update"),
    *(
        query(f"SELECT ctid FROM {table} WHERE channel = $1", "channel = $1", "channel.delete")
        for table in ("reaction", "vote", "revision", "mention", "hidden", "message")
    ),
    query("SELECT ctid FROM fact WHERE stream = $1", "stream = $1", "channel.delete"),
    query("DELETE FROM stream WHERE id = $1", "id = $1", "channel.delete"),
    *each("muted_until = $3 WHERE {channel = $1 AND account = $2}", "channel.mute"),
    swap(_MARKED, _MARKED.replace("m.account =", "m.account <>"), "message.mark_read: not so far"),
    swap(_MARKED, _MARKED.replace("m.channel =", "m.channel <>"), "message.mark_read: not so far"),
    *each("{account = $1 AND channel = $2} RETURNING", "message.mark_read"),
)
_MESSAGES = (
    query("m.channel = s.id AND m.seq = ANY", "m.channel = s.id", "message.get", "message.revisions"),
    query("m.seq = ANY ($3::bigint[])", "m.seq = ANY ($3::bigint[])", "message.get"),
    query("AND m.deleted_at IS NULL AND NOT EXISTS", "m.deleted_at IS NULL", "message.get", "reaction.list"),
    *each(f"{{{_HIDDEN}}}", "message.get"),
    query("WHERE m.channel = $1 AND m.seq = ANY ($2::bigint[])", "m.channel = $1", _DELETED),
    query("WHERE m.channel = $1 AND m.seq = ANY ($2::bigint[])", "m.seq = ANY ($2::bigint[])", _DELETED),
    query("m.channel = s.id AND m.seq > $3 AND", "m.channel = s.id", "message.history: before a seq"),
    query("m.seq > $3 AND m.seq < $4", "m.seq > $3", "message.history: after a seq"),
    query("m.seq > $3 AND m.seq < $4", "m.seq < $4", "message.history: before a seq"),
    query(_IN_VIEW, _IN_VIEW, "message.history: before a seq", "message.around", "message.pins"),
    query("m.channel = s.id AND m.seq < $3", "m.channel = s.id", "message.around"),
    query("m.channel = s.id AND m.seq >= $3", "m.channel = s.id", "message.around"),
    query("m.channel = s.id AND m.pinned_at", "m.channel = s.id", "message.pins"),
    query("AND m.pinned_at IS NOT NULL AND", "m.pinned_at IS NOT NULL", "message.pins"),
    query(
        "ON true\n         WHERE s.id = $2",
        "s.id = $2",
        "message.history: before a seq",
        "message.around",
        "message.pins",
    ),
    swap(_HIDERS, "ARRAY[]::uuid[]", "message.history"),
    query("WHERE m.channel = s.id ORDER BY m.seq DESC", "m.channel = s.id", "message.history"),
    query("ON true\n         WHERE s.id = $1", "s.id = $1", "message.history"),
    *each("mention_everyone = $8\n         WHERE {channel = $1 AND seq = $2}", "message.edit"),
    *each("FROM revision WHERE {channel = $1 AND seq = $2} AND number", "message.revisions"),
    *each("WHERE {channel = $1 AND seq = ANY ($2::bigint[])}\n", "message.delete"),
    *each("DELETE FROM revision WHERE {channel = $1 AND seq = ANY ($2::bigint[])}", "message.delete"),
    *each("DELETE FROM mention WHERE {channel = $1 AND seq = ANY ($2::bigint[])}", "message.delete"),
    *each("DELETE FROM reaction WHERE {channel = $1 AND seq = ANY ($2::bigint[])}", "message.delete"),
    *each("pinned_at = $3 WHERE {channel = $1 AND seq = $2}", "message.pin"),
    *each("{channel = $1 AND delivered >= $2 AND account <> $3}", "message.readers"),
)
_STREAMS = (
    query("FROM stream WHERE id = $1", "id = $1", "session.resume"),
    query("ON s.id = m.channel WHERE m.account = $1", "s.id = m.channel", "session.resume"),
    query("ON s.id = m.channel WHERE m.account = $1", "m.account = $1", "session.resume"),
    swap("m.account = $1 AND m.channel = $2\n", "m.account = $1 AND m.channel <> $2\n", "channel.join"),
    *each("FROM fact WHERE {stream = $1 AND seq > $2}", "session.resume: from somewhere in the middle"),
    *each("WHERE {channel = $1 AND seq > $2}", "session.resume: from somewhere in the middle"),
    *each("{m.channel = s.id AND m.seq = f.told}", "session.resume"),
    query("WHERE s.id = $1 ORDER BY", "s.id = $1", "session.resume"),
    query("AS n(id, head, withdrawn) WHERE s.id = n.id", "s.id = n.id", "message.pin"),
)
_OTHERS = (
    *each("WHERE {channel = $1 AND seq = $2 AND account = $3 AND emoji = $4}", "reaction.remove"),
    *each("FROM reaction WHERE {channel = $1 AND seq = $2} GROUP", "reaction.add", "reaction.remove"),
    *each("reactions = $3 WHERE {channel = $1 AND seq = $2}", "reaction.add"),
    *each("WHERE {channel = $1 AND seq = $2 AND id > $3}", "reaction.list"),
    *each("DELETE FROM draft WHERE {account = $1 AND channel = $2}", "draft.clear"),
    query("FROM draft d WHERE account = $1 ORDER", "account = $1", "draft.list"),
    *each("DELETE FROM scheduled WHERE {account = $1 AND id = $2}", "scheduled.cancel"),
    *each("p.begun FROM scheduled p WHERE {p.account = $1 AND p.id = $2}", "scheduled.update"),
    *each("FROM scheduled p WHERE {p.account = $1 AND p.id = $2}", "scheduled.create"),
    query("FROM scheduled p WHERE p.account = $1 AND (p.at", "p.account = $1", "scheduled.list"),
    query("WHERE m.channel = s.id AND a.deleted_at IS NULL AND lower", "m.channel = s.id", "channel.members"),
    query("WHERE m.channel = s.id AND a.deleted_at IS NULL AND lower", "a.deleted_at IS NULL", "channel.members"),
    query("WHERE a.id = ANY ($2::uuid[]) AND", "a.id = ANY ($2::uuid[])", "channel.create"),
)
QUERIES = (*_STANDING, *_MEMBERSHIP, *_GROUPS, *_MESSAGES, *_STREAMS, *_OTHERS)
