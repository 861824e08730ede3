"""SQL of calls and voice channels in which a condition is missing."""

from tests.authorization.queries import each, query, swap

QUERIES = (
    swap("FROM call c WHERE c.channel = $1", "FROM call c WHERE $1::uuid IS NOT NULL", "call.get"),
    *each("FROM call c WHERE {c.channel = $1 AND c.id = $2}", "call.answer"),
    *each("WHERE {m.channel = $2 AND m.account <> $1} AND NOT EXISTS", "call.start: in a group"),
    swap("(m.account, $1), ($1, m.account)", "($1, m.account)", "call.start: in a group"),
    query("UPDATE call SET answered = true WHERE id = $1", "id = $1", "call.answer"),
    query("DELETE FROM call c WHERE c.id = $1", "c.id = $1", "call.end"),
    *each("DELETE FROM ring WHERE {call = $1 AND account = ANY ($2::uuid[])}", "call.answer"),
    *each("UPDATE message SET call = $3 WHERE {channel = $1 AND seq = $2}", "call.answer"),
    query("stream SET last = $2, moved_at = $5 WHERE id = $1", "id = $1", "call.start"),
)
OF_SPACES = (
    *each("FROM hush WHERE {space = $1 AND account = $2}", "voice.join: not silenced", "voice.mute: taking it back"),
)
