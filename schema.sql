-- onesocket: today's schema. How a database gets here: storage/migrations/ (a test proves that both agree).
-- Ids are UUIDv7 made by the server; times are UTC; names in here are the names in frames and in Python.

-- migration

CREATE TABLE migration (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- instance: one row; which keys this database was made with

CREATE TABLE instance (
    single     boolean PRIMARY KEY DEFAULT true CHECK (single),
    id         uuid NOT NULL,
    key_id     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- account: everybody; what is private of it is never in a row that leaves to others

CREATE TABLE account (
    id                uuid PRIMARY KEY,
    username          text NOT NULL,
    name_key          text,                     -- what it looks like: unique, null once deleted
    display_name      text NOT NULL DEFAULT '',
    bio               text NOT NULL DEFAULT '',
    avatar            text NOT NULL DEFAULT '',
    email             text,
    email_verified_at timestamptz,
    password_hash     text,                     -- argon2id; null: logs in from outside only
    role              text NOT NULL DEFAULT 'member' CHECK (role IN ('owner', 'admin', 'member')),
    locale            text NOT NULL DEFAULT 'en',
    theme             text NOT NULL DEFAULT 'system',
    notifications     text NOT NULL DEFAULT '{}',
    interests         text[] NOT NULL DEFAULT '{}',
    city              text NOT NULL DEFAULT '',
    latitude          double precision,
    longitude         double precision,
    created_at        timestamptz NOT NULL DEFAULT now(),
    deleted_at        timestamptz
);

CREATE UNIQUE INDEX account_name ON account (name_key) WHERE name_key IS NOT NULL;
-- An address counts once it is confirmed; until then anybody may claim it, and learns nothing by that.
CREATE UNIQUE INDEX account_email ON account (lower(email)) WHERE email_verified_at IS NOT NULL;
CREATE INDEX account_search ON account (lower(username) text_pattern_ops) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX account_owner ON account (role) WHERE role = 'owner';

-- identity: outside accounts that log in to an account

CREATE TABLE identity (
    issuer     text NOT NULL,
    subject    text NOT NULL,
    account    uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    provider   text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer, subject)
);

CREATE UNIQUE INDEX identity_account ON identity (account, provider);

-- device: one login, with its chain of refresh tokens; only their hashes are kept

CREATE TABLE device (
    id             uuid PRIMARY KEY,
    account        uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    name           text NOT NULL,
    address        text NOT NULL,
    refresh_hash   bytea NOT NULL,
    previous_hash  bytea,                       -- the token before, for a retry with the same nonce
    previous_nonce uuid,
    rotated_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    seen_at        timestamptz NOT NULL DEFAULT now(),
    push           text,                        -- JSON of protocol.device.WebPush or FcmPush
    revoked_at     timestamptz
);

CREATE INDEX device_account ON device (account, seen_at DESC) WHERE revoked_at IS NULL;
CREATE INDEX device_revoked ON device (revoked_at) WHERE revoked_at IS NOT NULL;

-- two_factor: the authenticator's secret, sealed with the server's key

CREATE TABLE two_factor (
    account      uuid PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    secret       bytea NOT NULL,
    confirmed_at timestamptz,
    last_step    bigint NOT NULL DEFAULT 0      -- a code is good once
);

CREATE TABLE recovery_code (
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    hash    bytea NOT NULL,
    PRIMARY KEY (account, hash)
);

-- api_key

CREATE TABLE api_key (
    id         uuid PRIMARY KEY,
    account    uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    name       text NOT NULL,
    hash       bytea NOT NULL,
    scopes     text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    used_at    timestamptz,
    revoked_at timestamptz
);

CREATE UNIQUE INDEX api_key_hash ON api_key (hash);
CREATE INDEX api_key_account ON api_key (account, created_at DESC) WHERE revoked_at IS NULL;
CREATE INDEX api_key_revoked ON api_key (revoked_at) WHERE revoked_at IS NOT NULL;

-- block: neither sees the other

CREATE TABLE block (
    account    uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    blocked    uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, blocked),
    CHECK (account <> blocked)
);

CREATE INDEX block_blocked ON block (blocked);

-- ticket: secrets that are good once, for links and second steps; only their hashes are kept

CREATE TABLE ticket (
    hash       bytea PRIMARY KEY,
    kind       text NOT NULL,
    account    uuid REFERENCES account ON DELETE CASCADE,
    data       text NOT NULL DEFAULT '',
    tries      integer NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL
);

CREATE INDEX ticket_account ON ticket (account, kind);
CREATE INDEX ticket_expires ON ticket (expires_at);

-- mail: what is to be sent; the text is sealed, since it holds tickets

CREATE TABLE mail (
    id         uuid PRIMARY KEY,
    recipient  text NOT NULL,
    subject    text NOT NULL,
    sealed     bytea NOT NULL,
    attempts   integer NOT NULL DEFAULT 0,
    next_at    timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX mail_next ON mail (next_at);

-- audit: security events; they outlive the account's other rows only as long as the account itself

CREATE TABLE audit (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    at      timestamptz NOT NULL DEFAULT now(),
    action  text NOT NULL,
    address text NOT NULL DEFAULT '',
    device  uuid,
    detail  text NOT NULL DEFAULT '{}'
);

CREATE INDEX audit_account ON audit (account, id DESC);
