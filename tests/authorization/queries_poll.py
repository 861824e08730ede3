"""SQL of polls, and of what falls due, in which a condition is missing."""

from tests.authorization.queries import each, query

QUERIES = (
    *each("SELECT options FROM vote WHERE {channel = $1 AND seq = $2 AND account = $3}", "poll.vote"),
    *each("DELETE FROM vote WHERE {channel = $1 AND seq = $2 AND account = $3}", "poll.vote: taking it back"),
    *each("ON {v.channel = s.id AND v.seq = $2} AND v.account = $3", "poll.get"),
    query("v.seq = $2 AND v.account = $3", "v.account = $3", "poll.get: of who has not voted"),
    query("v.account = $3 WHERE s.id = $1", "s.id = $1", "poll.get"),
    *each("WHERE {channel = s.id AND seq = $2} AND account > $3", "poll.voters"),
    query("AND seq = $2 AND account > $3", "account > $3", "poll.voters: behind the last"),
    query("v ON true\n         WHERE s.id = $1", "s.id = $1", "poll.voters"),
    *each("poll = $3 WHERE {channel = $1 AND seq = $2}", "poll.vote"),
    *each("DELETE FROM vote WHERE {channel = $1 AND seq = ANY ($2::bigint[])}", "message.delete"),
    *each("DELETE FROM due WHERE kind = $1 AND {stream = $2 AND seq = $3}", "poll.close"),
    query("FROM vote WHERE account = $1 AND (channel", "account = $1", "account.export"),
    *each("cleared = $2 - 1 WHERE {id = $1 AND cleared >= $2}", "message.unpin"),
)
