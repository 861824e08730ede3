"""SQL of emoji, stickers and summons in which a condition is missing."""

from tests.authorization.queries import each, query, swap

_SUMMONED = "notification.list: what was said to everyone"

QUERIES = (
    *each("FROM emoji e WHERE {e.space = $1 AND e.nonce = $2}", "emoji.create"),
    *each("FROM sticker e WHERE {e.space = $1 AND e.nonce = $2}", "sticker.create"),
    query("FROM space_member m WHERE m.account = $1", "m.account = $1", "message.mentions"),
    query("WHERE m.account = ANY ($1::uuid[]) AND p.summons", "m.account = ANY ($1::uuid[])", _SUMMONED),
    query("WHERE u.space = r.space AND u.number", "u.space = r.space", _SUMMONED),
    swap("AND (x.mention_everyone OR x.mention_roles && r.roles)", "", _SUMMONED),
)
