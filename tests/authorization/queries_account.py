"""SQL of accounts, logins and who sees whom in which a condition is missing."""

from tests.authorization.queries import query

_SEEN = ("user.get", "user.list", "user.search")
_BEFRIENDED = ("friend.request", "friend.accept", "friend.decline", "friend.remove", "friend.list")
_NAMED = (*_SEEN, *_BEFRIENDED, "channel.create", "channel.open_direct", "channel.add_member")
_LIVING = tuple(op for op in _NAMED if op != "user.search")  # that looks at it twice: its indexes are of the living
_TICKETS = ("account.verify_email", "account.reset_password", "account.claim", "account.link_external")
_TRIED = (*_TICKETS, "account.login_second_step")
QUERIES = (
    # who may see whom
    query("a.deleted_at IS NULL AND NOT EXISTS", "a.deleted_at IS NULL", *_LIVING),
    query("(b.account = a.id AND b.blocked = $1) OR (b.account", "(b.account = a.id AND b.blocked = $1) OR ", *_NAMED),
    query(" OR (b.account = $1 AND b.blocked = a.id)", " OR (b.account = $1 AND b.blocked = a.id)", *_NAMED),
    query(" AND a.deleted_at IS NULL", "a.deleted_at IS NULL", "user.block"),  # twice: again when streams are held
    query(
        "NOT EXISTS (SELECT FROM block b WHERE b.account = a.id AND b.blocked = $1)",
        "NOT EXISTS (SELECT FROM block b WHERE b.account = a.id AND b.blocked = $1)",
        "user.block",
    ),
    query("k.account = $1 AND k.blocked = $2", "k.account = $1", "user.unblock"),
    query("k.account = $1 AND lower", "k.account = $1", "user.blocked"),
    query("FROM block WHERE account = $1 AND blocked", "account = $1", "user.unblock"),
    # whose a thing is
    query("id = $2 AND account = $1 AND revoked_at", "account = $1", "device.revoke", "api_key.revoke"),
    query("WHERE account = $1 AND revoked_at IS NULL AND expires_at", "account = $1", "device.list"),
    query("WHERE account = $1 AND revoked_at IS NULL ORDER BY created_at", "account = $1", "api_key.list"),
    query("WHERE account = $1 AND id < $2", "account = $1", "audit.list"),
    query("WHERE account = $1 AND provider = $2", "account = $1", "account.unlink_external"),
    query("FROM account a WHERE a.id = $1 AND", "a.id = $1", "account.get", "account.export"),
    query("bio = $3 WHERE id = $1", "id = $1", "account.update"),
    query("SET password_hash = $2 WHERE id = $1", "id = $1", "account.reset_password"),
    query("SET push = $2 WHERE id = $1", "id = $1", "device.set_push"),
    query("account = $1 AND revoked_at IS NULL AND id IS DISTINCT", "account = $1", "device.revoke_others"),
    query("DELETE FROM audit WHERE account = $1", "account = $1", "account.delete"),
    query("DELETE FROM two_factor WHERE account = $1", "account = $1", "two_factor.disable"),
    # whether it still counts
    query("id = $2 AND account = $1 AND revoked_at IS NULL", "revoked_at IS NULL", "device.revoke", "api_key.revoke"),
    query("account = $2 AND revoked_at IS NULL AND expires_at", "account = $2", "session.open"),
    query("account = $2 AND revoked_at IS NULL AND expires_at", "revoked_at IS NULL", "session.open"),
    query("AND expires_at > now() RETURNING true", "expires_at > now()", "session.open"),
    query("a.id = $1 AND a.deleted_at IS NULL", "a.deleted_at IS NULL", "session.open"),
    query("k.revoked_at IS NULL", "k.revoked_at IS NULL", "session.open"),
    query(
        "(k.expires_at IS NULL OR k.expires_at > now())", "k.expires_at IS NULL OR k.expires_at > now()", "session.open"
    ),
    query("d.revoked_at IS NULL AND d.expires_at", "d.revoked_at IS NULL", "account.refresh"),
    query("d.expires_at > now() AND a.deleted_at", "d.expires_at > now()", "account.refresh"),
    query("a.deleted_at IS NULL AS alive", "a.deleted_at IS NULL", "account.refresh"),
    query("hash = $1 AND kind = $2", "kind = $2", *_TRIED),
    query("kind = $2 AND expires_at > now()", "expires_at > now()", *_TRIED),
    query("AND tries < $3", "tries < $3", "account.login_second_step"),
    query("a.deleted_at IS NULL AND\n", "a.deleted_at IS NULL", "account.login"),
    query("lower($2) AND a.email_verified_at IS NOT NULL", "a.email_verified_at IS NOT NULL", "account.login"),
    query(
        "lower($1) AND a.email_verified_at IS NOT NULL", "a.email_verified_at IS NOT NULL", "account.forgot_password"
    ),
    query(
        "last_step = 0 WHERE two_factor.confirmed_at IS NULL", "two_factor.confirmed_at IS NULL", "two_factor.enable"
    ),
)
