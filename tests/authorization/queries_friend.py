"""SQL of friends, and of who may turn to whom, in which a condition is missing."""

from tests.authorization.queries import each, query, swap

_BOTH = "IN (($1, $2), ($2, $1))"
_MUTUAL = "f.account = $1 AND f.state = 'friend' AND g.state = 'friend'"

QUERIES = (
    query("FROM friend WHERE account = $1 AND other = $2", "account = $1", "friend.accept"),
    query("FROM friend WHERE account = $1 AND other = $2", "other = $2", "friend.request"),
    swap(_BOTH, "IN (($1, $2))", "friend.remove", "friend.decline", "user.block: a friend"),
    swap(_BOTH, "IN (($2, $1))", "friend.remove", "friend.decline", "user.block: a friend"),
    query("f.account = $1 AND (f.state", "f.account = $1", "friend.list"),
    query("requests FROM friend_privacy WHERE account = $2", "account = $2", "friend.request"),
    *each("g ON {g.account = f.other AND g.other = $2}", "friend.request"),
    *each(f"{{{_MUTUAL}}}", "friend.request"),
    *each("FROM friend_privacy WHERE {account = $2 AND directs = 'friends'}", "channel.open_direct: a new one"),
    *each("{f.account = $2 AND f.other = $1 AND f.state = 'friend'}", "channel.open_direct"),
    query("directs FROM friend_privacy WHERE account = $1", "account = $1", "friend.privacy"),
    query("FROM friend WHERE account = $1 AND other > $2", "account = $1", "account.export"),
    query("DELETE FROM friend_privacy WHERE account = $1", "account = $1", "account.delete"),
)
