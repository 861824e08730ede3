"""SQL of notifications in which a condition is missing."""

from tests.authorization.queries import each, query

_GONE = "m.channel = n.channel AND m.seq = n.seq AND m.deleted_at IS NULL"
_HIDDEN = "h.account = n.account AND h.channel = n.channel AND h.seq = n.seq"
_OF_THESE = "account = ANY ($1::uuid[])"
_OWN_VIEW = "message.delete: out of one's own view"

QUERIES = (
    query("WHERE n.account = $1 AND n.id < $2", "n.account = $1", "notification.list"),
    query("AND (NOT $3 OR NOT n.read)", "(NOT $3 OR NOT n.read)", "notification.list: unread"),
    query(_GONE, "m.deleted_at IS NULL", "notification.list"),
    query(_HIDDEN, "h.account = n.account", "notification.list: of somebody else"),
    query("FROM notification\n                 WHERE account = $1 AND NOT read", "account = $1", "notification.counts"),
    *each("FROM notification n WHERE {account = $1 AND id = ANY ($2::bigint[])} RETURNING", "notification.list"),
    query("WHERE account = $1 AND NOT read AND id <= $2", "account = $1", "notification.mark_read: up to one"),
    query("AND ($3::uuid IS NULL OR channel = $3)", "($3::uuid IS NULL OR channel = $3)", "notification.mark_read"),
    query(f"WHERE {_OF_THESE} AND NOT read GROUP", "NOT read", "notification.mark_read"),
    query("WHERE account = $1 AND (place = $2 OR until <= now())", "account = $1", "notification.configure"),
    query("l.account = $1 AND (l.until", "l.account = $1", "notification.settings"),
    query("WHERE n.account = $1 AND n.id > $2", "n.account = $1", "account.export"),
    query(f"FROM notification_level l WHERE {_OF_THESE}", _OF_THESE, "channel.leave"),
    query(f"FROM notification n WHERE {_OF_THESE} AND (channel = $2 OR space = $2)", _OF_THESE, "channel.leave"),
    *each("FROM notification n WHERE {by = $1 AND account = ANY ($2::uuid[])}\n", "user.block"),
    query(f"n.seq = t.seq AND n.{_OF_THESE}", f"n.{_OF_THESE}", _OWN_VIEW),
)
