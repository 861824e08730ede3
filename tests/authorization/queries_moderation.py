"""SQL of the logs of spaces, of reports and of automod, in which a condition is missing."""

from tests.authorization.queries import query, swap

_IN_QUEUE = "report.list"

QUERIES = (
    query("FROM deed\n         WHERE space = $1", "space = $1", "audit.space"),
    swap("(place IS NULL OR place <> ALL ($3::uuid[]))", "$3::uuid[] IS NOT NULL", "audit.space"),
    swap("(NOT veiled OR $4)", "$4::bool IS NOT NULL", "audit.space"),
    query("r.space = $1 AND r.account <> $2", "r.space = $1", _IN_QUEUE, "report.get"),
    query("r.account <> $2 AND (r.place", "r.account <> $2", _IN_QUEUE, "report.get"),
    swap("(r.place IS NULL OR r.place <> ALL ($3::uuid[]))", "$3::uuid[] IS NOT NULL", _IN_QUEUE, "report.get"),
    swap("(NOT r.veiled OR $4)", "$4::bool IS NOT NULL", _IN_QUEUE, "report.get"),
    query("r.id = $5 AND r.outcome IS NULL", "r.id = $5", "report.resolve"),
    query("r.id = $5 AND r.outcome IS NULL", "r.outcome IS NULL", "report.resolve"),
    query(
        "WHERE id = $1 AND role IN ('owner', 'admin', 'moderator')",
        "role IN ('owner', 'admin', 'moderator')",
        "report.list: of the server",
        "report.get: of the server",
    ),
    query("WHERE id = $1 AND role IN ('owner', 'admin', 'moderator')", "id = $1", "report.list: of the server"),
    query("r.space IS NULL AND $1::uuid IS NULL", "r.space IS NULL", "report.list: of the server"),
    query("reported = reported + 1 WHERE id = $1", "id = $1", "report.create"),
    query("r.space = $1 AND r.id > $2", "r.space = $1", "automod.list"),
    query("r.space = $1 AND r.id = $2", "r.space = $1", "automod.update", "automod.delete"),
    query("FROM deed WHERE by = $1 AND id > $2", "by = $1", "account.export"),
    query("FROM report\n         WHERE reporter = $1", "reporter = $1", "account.export"),
    swap("(channel) WHERE m.account = $1 AND", "(channel) WHERE $1::uuid IS NOT NULL AND", "report.create: a person"),
    swap("WHERE m.account = $1 AND n.account = $2))", "WHERE n.account = $2))", "report.create: a person"),
)
