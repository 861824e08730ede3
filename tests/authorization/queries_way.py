"""SQL of invites and threads in which a condition is missing."""

from tests.authorization.queries import each, query, swap

_INVITES = (
    query("p.id = i.space AND p.deleted_at IS NULL\n      LEFT", "p.deleted_at IS NULL", "invite.get"),
    query("p.id = i.space AND p.deleted_at IS NULL\n      LEFT", "p.id = i.space", "invite.get"),
    query("i.code = $2 AND (m.account", "i.code = $2", "invite.get"),
    query("WHERE b.space = p.id AND b.account = $1)\n", "b.space = p.id", "invite.get"),
    query("WHERE b.space = p.id AND b.account = $1)\n", "b.account = $1", "invite.get: into a space that is not open"),
    swap("i.expires_at > now()) AND", "true) AND", "invite.get"),
    swap("i.uses < i.most)", "true)", "invite.get"),
    query("m.account = $1 WHERE i.code = $2 AND (i.expires", "i.code = $2", "invite.send"),
    query("WHERE i.by = $1 AND i.nonce = $2", "i.nonce = $2", "invite.create: by a host"),
    query("WHERE i.by = $1 AND i.nonce = $2", "i.by = $1", "invite.create: with somebody else's nonce"),
    query("FROM invite i WHERE i.space = $1 AND (i.created_at", "i.space = $1", "invite.list"),
    query("(i.by = $2 AND NOT i.vanity)", "i.by = $2", "invite.list: one's own"),
    query("DELETE FROM invite WHERE space = $1 AND vanity", "space = $1", "invite.create: of one's own choice"),
    query("uses = uses + 1 WHERE code = $1", "code = $1", "invite.accept"),
    query("DELETE FROM invite WHERE code = $1", "code = $1", "invite.revoke"),
    query("WHERE i.by = $1 AND i.code > $2", "i.by = $1", "account.export"),
    query("WHERE space = $1 AND by = $2 AND NOT vanity", "space = $1", "space.leave"),
    query("WHERE space = $1 AND by = $2 AND NOT vanity", "by = $2", "space.leave"),
)
_THREADS = (
    *each("{k.channel = t.id AND k.account = $1}\n", "thread.get"),
    query("f.thread = t.id AND f.account = $1", "f.thread = t.id", "thread.list: what was put away"),
    query("f.thread = t.id AND f.account = $1", "f.account = $1", "thread.get: by who does not follow it"),
    query("WHERE t.parent = $2 AND t.archived_at", "t.parent = $2", "thread.list"),
    query("WHERE f.account = $1 AND f.followed", "f.account = $1", "thread.followed"),
    query("AND f.followed AND c.space = $2", "f.followed", "thread.followed"),
    query("AND f.followed AND c.space = $2", "c.space = $2", "thread.followed: by who is in another space, too"),
    query(
        "t.id = c.id WHERE c.creator = $1 AND c.nonce",
        "c.creator = $1",
        "thread.open: with a nonce of somebody else's",
    ),
    query("t.id = c.id WHERE c.creator = $1 AND c.nonce = $2", "c.nonce = $2", "thread.open"),
    *each("WHERE {t.parent = $1 AND t.origin = $2}", "thread.open"),
    query("author <> $2 AND deleted_at IS NULL)", "author <> $2", "thread.delete: one's own"),
    query("author <> $2 AND deleted_at IS NULL)", "deleted_at IS NULL", "thread.delete: one's own"),
    query("UPDATE channel SET name = $2 WHERE id = $1", "id = $1", "thread.update"),
    query("due = now() + interval '7 days' WHERE id = $1", "id = $1", "thread.update"),
    query("WHERE h.id = c.id AND h.locked)", "h.locked", "message.send: in a thread"),
    query("WHERE h.id = c.id AND h.locked)", "h.id = c.id", "message.send: in a thread"),
    query("c.id = f.thread AND c.space = $1 AND f.account = $2", "f.account = $2", "space.leave"),
    query("WHERE f.account = $1 AND f.thread > $2", "f.account = $1", "account.export"),
    query("DELETE FROM thread WHERE id = $1", "id = $1", "thread.delete"),
)
QUERIES = (*_INVITES, *_THREADS)
