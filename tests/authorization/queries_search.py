"""SQL of search in which a condition is missing."""

from tests.authorization.queries import each, query

_DELETED = "WHERE m.deleted_at IS NULL AND NOT EXISTS (SELECT FROM hidden h WHERE h.channel"
_HIDDEN = "{h.channel = m.channel AND h.account = $1 AND h.seq = m.seq}"
_ANYWHERE = "search.messages: anywhere"

QUERIES = (
    query("FROM member WHERE account = $1 AND ($2", "account = $1", _ANYWHERE),
    query(
        "($2::uuid[] IS NULL OR channel = ANY ($2))", "($2::uuid[] IS NULL OR channel = ANY ($2))", "search.messages"
    ),
    query(_DELETED, "m.deleted_at IS NULL", _ANYWHERE),
    *each(_HIDDEN, _ANYWHERE),
)
