"""SQL of files in which a condition is missing."""

from tests.authorization.queries import each, query

QUERIES = (
    query("FROM file f WHERE f.owner = $1 AND f.id = $2", "f.owner = $1", "file.get"),
    query("FROM file f WHERE f.owner = $1 AND f.id = ANY", "f.owner = $1", "message.send: a file"),
    query("FROM file f WHERE f.owner = $1 AND f.id < $2", "f.owner = $1", "file.list"),
    query("FROM blob WHERE owner = $1 AND NOT gone", "owner = $1", "file.list"),
    query("FROM file WHERE owner = $1 AND state", "owner = $1", "file.list"),
    query("FROM file f WHERE f.owner = $1 AND f.id > $2", "f.owner = $1", "account.export"),
    query("FROM file_use WHERE file = $1", "file = $1", "file.delete"),
    *each("DELETE FROM file WHERE owner = $1 AND {id = ANY ($2::uuid[])}", "file.delete", "file.cancel"),
    *each("DELETE FROM file_use WHERE {channel = $1 AND seq = ANY ($2::bigint[])}", "message.delete"),
)
