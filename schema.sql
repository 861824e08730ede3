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
    role              text NOT NULL DEFAULT 'member' CHECK (role IN ('owner', 'admin', 'moderator', 'member')),
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

-- Every three letters in a row of names, and what is left at the end: accounts are found by parts of them.
CREATE FUNCTION name_parts(names text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_to_tsvector(ARRAY(SELECT substr(folded, at, 3) FROM (SELECT lower(names) AS folded OFFSET 0) n,
                                          generate_series(1, length(folded)) AS at))
$$;

CREATE INDEX account_parts ON account USING gin (name_parts(username || ' ' || display_name)) WHERE deleted_at IS NULL;

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

-- stream: everything that durable events belong to: each channel, and each account for what concerns it alone

CREATE TABLE stream (
    id       uuid PRIMARY KEY,
    head     bigint NOT NULL DEFAULT 0,         -- the seq of its last fact
    access   bigint NOT NULL DEFAULT 1,         -- one more whenever somebody loses a right here
    kept     bigint NOT NULL DEFAULT 0,         -- facts up to here may be gone: older cursors are reset
    moved_at timestamptz NOT NULL DEFAULT now(),
    guard    uuid,                              -- the space whose access version counts here, too
    last     bigint NOT NULL DEFAULT 0          -- the seq of its last message
) WITH (fillfactor = 50);                       -- so that a moved head stays on its page

CREATE INDEX stream_guard ON stream (guard) WHERE guard IS NOT NULL;

-- The facts that are no messages, as they were told.
CREATE TABLE fact (
    stream uuid NOT NULL REFERENCES stream ON DELETE CASCADE,
    seq    bigint NOT NULL,
    kind   text NOT NULL,
    data   text NOT NULL,                       -- JSON of the event's own fields
    told   bigint,                              -- the message whose present state is told with it
    at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, seq)
);

CREATE INDEX fact_at ON fact (at);

-- space: communities; each is a stream, too, whose access version counts in all of its channels

CREATE TABLE space (
    id          uuid PRIMARY KEY REFERENCES stream ON DELETE CASCADE,
    name        text NOT NULL,
    description text NOT NULL DEFAULT '',
    avatar      text NOT NULL DEFAULT '',
    open        boolean NOT NULL DEFAULT false, -- found and entered by everybody
    owner       uuid REFERENCES account,
    creator     uuid REFERENCES account ON DELETE SET NULL,
    nonce       uuid NOT NULL,                  -- the creator's: the same again is a retry
    members     integer NOT NULL DEFAULT 0,
    keeps_for   integer,                        -- days: how long channels that say nothing else keep messages
    structure   bigint NOT NULL DEFAULT 1,      -- one more whenever roles, channels, overwrites or emoji change
    created_at  timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz,                    -- nobody has a right there any more; what is left goes bit by bit
    reported    bigint NOT NULL DEFAULT 0,      -- one more whenever a report is made or closed
    rules       bigint NOT NULL DEFAULT 0,      -- one more whenever what is looked for in messages changes; 0: nothing is
    summons     bigint NOT NULL DEFAULT 0       -- the number of its last one
);

CREATE UNIQUE INDEX space_nonce ON space (creator, nonce);
CREATE INDEX space_open ON space (members DESC, id) WHERE open AND deleted_at IS NULL;

-- channel

CREATE TABLE channel (
    id          uuid PRIMARY KEY REFERENCES stream ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN (
                    'direct', 'group', 'saved', 'text', 'broadcast', 'voice', 'stage', 'forum', 'category', 'thread')),
    name        text NOT NULL DEFAULT '',
    topic       text NOT NULL DEFAULT '',
    description text NOT NULL DEFAULT '',
    avatar      text NOT NULL DEFAULT '',
    open        boolean NOT NULL DEFAULT false,
    owner       uuid REFERENCES account,
    creator     uuid REFERENCES account ON DELETE SET NULL,
    nonce       uuid,                           -- the creator's: the same again is a retry
    members     integer NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    space       uuid REFERENCES space ON DELETE CASCADE,
    parent      uuid REFERENCES channel ON DELETE SET NULL,  -- its category; of a thread its channel
    position    integer NOT NULL DEFAULT 0,
    slow        integer NOT NULL DEFAULT 0,     -- seconds between two messages of one author
    disappears_after integer,                   -- seconds: how long what is said from now on stays
    keeps_for   integer,                        -- days: how long what is said stays, whenever it was said
    cleared     bigint NOT NULL DEFAULT 0,      -- up to here nothing is left of that but what was pinned
    seats       integer NOT NULL DEFAULT 0      -- of a voice or stage channel: how many may be in it; 0 for any
);

CREATE UNIQUE INDEX channel_nonce ON channel (creator, nonce);
CREATE INDEX channel_space ON channel (space) WHERE space IS NOT NULL AND kind <> 'thread';
CREATE INDEX channel_thread ON channel (space) WHERE kind = 'thread';
CREATE INDEX channel_parent ON channel (parent) WHERE parent IS NOT NULL;

-- Who is in it, and how far; positions never go back.
CREATE TABLE member (
    channel     uuid NOT NULL REFERENCES channel ON DELETE CASCADE,
    account     uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    joined_at   timestamptz NOT NULL DEFAULT now(),
    delivered   bigint NOT NULL DEFAULT 0,
    read        bigint NOT NULL DEFAULT 0,
    muted_until timestamptz,
    PRIMARY KEY (channel, account)
) WITH (fillfactor = 80);

CREATE INDEX member_account ON member (account, channel);

-- The two of a direct channel; a channel of one is that account's saved messages.
CREATE TABLE direct (
    low     uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    high    uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    channel uuid NOT NULL REFERENCES channel ON DELETE CASCADE,
    PRIMARY KEY (low, high),
    CHECK (low <= high)
);

CREATE UNIQUE INDEX direct_channel ON direct (channel);

-- space: who is in it. Roles that are no more may still be named here: they mean nothing.
CREATE TABLE space_member (
    space       uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    account     uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    joined_at   timestamptz NOT NULL DEFAULT now(),
    nick        text NOT NULL DEFAULT '',
    name        text COLLATE "C" NOT NULL,      -- what they are listed by: the nick or the name, folded
    roles       uuid[] NOT NULL DEFAULT '{}',
    timeout_until timestamptz,
    summons     bigint NOT NULL DEFAULT 0,      -- up to which number they have looked at those of the space
    PRIMARY KEY (space, account)
) WITH (fillfactor = 90);

CREATE INDEX space_member_account ON space_member (account, space);
CREATE INDEX space_member_name ON space_member (space, name, account);
CREATE INDEX space_member_roles ON space_member USING gin (roles) WITH (fastupdate = off);

-- Everyone's role has the id of the space and position 0.
CREATE TABLE role (
    id          uuid PRIMARY KEY,
    space       uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    name        text NOT NULL,
    colour      integer,                        -- 0xRRGGBB
    position    integer NOT NULL,
    permissions bigint NOT NULL,
    apart       boolean NOT NULL DEFAULT false, -- its members are listed apart
    mentionable boolean NOT NULL DEFAULT false,
    nonce       uuid,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX role_space ON role (space, position);

-- What a channel or category allows and denies to a role or member.
CREATE TABLE overwrite (
    channel uuid NOT NULL REFERENCES channel ON DELETE CASCADE,
    target  uuid NOT NULL,
    member  boolean NOT NULL,                   -- of a member, not of a role
    allow   bigint NOT NULL,
    deny    bigint NOT NULL,
    PRIMARY KEY (channel, target),
    CHECK (allow & deny = 0)
);

CREATE TABLE ban (
    space   uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    by      uuid NOT NULL,
    reason  text NOT NULL DEFAULT '',
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space, account)
);

CREATE INDEX ban_page ON ban (space, at, account);

-- Until when who wrote into a slow channel has to wait.
CREATE TABLE pace (
    channel uuid NOT NULL REFERENCES channel ON DELETE CASCADE,
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    until   timestamptz NOT NULL,
    PRIMARY KEY (channel, account)
);

-- How far somebody is in a channel of a space. Who has no row there has not looked yet.
CREATE TABLE mark (
    channel     uuid NOT NULL REFERENCES channel ON DELETE CASCADE,
    account     uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    delivered   bigint NOT NULL DEFAULT 0,
    read        bigint NOT NULL DEFAULT 0,
    muted_until timestamptz,
    PRIMARY KEY (channel, account)
) WITH (fillfactor = 80);

CREATE INDEX mark_account ON mark (account, channel);

-- What was done in a space, by whom and why.
CREATE TABLE deed (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    space  uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    at     timestamptz NOT NULL DEFAULT now(),
    by     uuid,                                -- null: the server itself
    action text NOT NULL,
    target uuid,
    before text NOT NULL DEFAULT '{}',          -- JSON of what changed, as it was
    after  text NOT NULL DEFAULT '{}',
    reason text NOT NULL DEFAULT '',
    place  uuid,                                -- the channel that it is about, or that the thread is in: who does not
                                                -- see it does not see this
    veiled boolean NOT NULL DEFAULT false       -- its place is no more, and was not for everybody
);

CREATE INDEX deed_page ON deed (space, id DESC);
CREATE INDEX deed_by ON deed (space, by, id DESC);
CREATE INDEX deed_author ON deed (by, id);
CREATE INDEX deed_target ON deed (target, id DESC);
CREATE INDEX deed_place ON deed (place) WHERE place IS NOT NULL;
CREATE INDEX deed_at ON deed (at);

-- What banned members have said lately, which is taken back bit by bit.
CREATE TABLE purge (
    id          uuid PRIMARY KEY,
    space       uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    account     uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    since       timestamptz NOT NULL,
    taken_until timestamptz NOT NULL DEFAULT now()  -- until when a process is at it
);

-- Spaces that were deleted, of which something may be left.
CREATE TABLE ruin (
    space       uuid PRIMARY KEY REFERENCES space ON DELETE CASCADE,
    taken_until timestamptz NOT NULL DEFAULT now()  -- until when a process is at it
);

-- emoji: those that spaces have made; deleted ones may stand under messages, by their names

CREATE TABLE emoji (
    id    uuid PRIMARY KEY,
    space uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    name  text NOT NULL,
    file  uuid NOT NULL,                        -- what was uploaded
    nonce uuid NOT NULL                         -- of who made it: the same again is a retry
);

CREATE UNIQUE INDEX emoji_name ON emoji (space, name);
CREATE UNIQUE INDEX emoji_nonce ON emoji (space, nonce);

-- sticker: pictures that are sent as messages; of one that was sent the message keeps what it needs

CREATE TABLE sticker (
    id    uuid PRIMARY KEY,
    space uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    name  text NOT NULL,
    about text NOT NULL,
    file  uuid NOT NULL,
    nonce uuid NOT NULL
);

CREATE UNIQUE INDEX sticker_name ON sticker (space, name);
CREATE UNIQUE INDEX sticker_nonce ON sticker (space, nonce);

-- invite: ways into a space

CREATE TABLE invite (
    code       text PRIMARY KEY,
    space      uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    by         uuid REFERENCES account ON DELETE CASCADE,
    role       uuid REFERENCES role ON DELETE CASCADE,  -- given to who comes in by it
    uses       integer NOT NULL DEFAULT 0,
    most       integer,                         -- null: any number
    vanity     boolean NOT NULL DEFAULT false,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    nonce      uuid,                            -- of who made it: the same again is a retry
    CHECK (uses <= most)
);

CREATE INDEX invite_space ON invite (space, created_at);
CREATE UNIQUE INDEX invite_vanity ON invite (space) WHERE vanity;
CREATE UNIQUE INDEX invite_nonce ON invite (by, nonce);
CREATE INDEX invite_role ON invite (role) WHERE role IS NOT NULL;

-- Holds streams until the transaction ends, in the order of their ids. Before that the spaces that count: who changes one
-- holds it alone, who changes one of its channels together with others; so a right taken away in a space is taken away
-- in all of its channels at once.
CREATE FUNCTION stream_lock(wanted uuid[], OUT id uuid, OUT head bigint, OUT access bigint)
RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    PERFORM CASE WHEN l.alone THEN pg_advisory_xact_lock(l.key) ELSE pg_advisory_xact_lock_shared(l.key) END FROM (
        SELECT g.key, bool_or(g.alone) AS alone FROM (
            SELECT uuid_hash_extended(s.guard, 0) AS key, false AS alone FROM stream s
             WHERE s.id = ANY (wanted) AND s.guard IS NOT NULL
            UNION ALL SELECT uuid_hash_extended(p.id, 0), true FROM space p WHERE p.id = ANY (wanted)) g
         GROUP BY g.key ORDER BY g.key) l;
    PERFORM FROM stream s WHERE s.id = ANY (wanted) ORDER BY s.id FOR NO KEY UPDATE;
    RETURN QUERY SELECT s.id, s.head, s.access + coalesce((SELECT g.access FROM stream g WHERE g.id = s.guard), 0)
                   FROM stream s WHERE s.id = ANY (wanted);
END $$;

-- message: the facts that are messages; message_append writes them (calls aside), so no foreign key is checked for each

CREATE TABLE message (
    channel   uuid NOT NULL,
    seq       bigint NOT NULL,
    author    uuid NOT NULL,
    nonce     uuid NOT NULL,
    sent_at   timestamptz NOT NULL,
    text      text NOT NULL,
    reply_to  bigint,
    mentions  uuid[],
    hashtags  text[],
    silent    boolean NOT NULL DEFAULT false,
    forwarded text,                             -- JSON of protocol.message.Forwarded
    edited_at timestamptz,
    deleted_at timestamptz,
    pinned_at timestamptz,
    reactions text,                             -- JSON of what protocol.message.Message tells of them
    poll      text,                             -- JSON of protocol.message.Poll
    expires_at timestamptz,                     -- when it is deleted
    thread    uuid,                             -- what has started from it
    mention_roles uuid[],
    mention_everyone boolean NOT NULL DEFAULT false,
    sticker   text,                             -- JSON of protocol.message.SentSticker
    files     text,                             -- JSON of what protocol.message.Message tells of them
    call      text,                             -- JSON of protocol.message.Call
    PRIMARY KEY (channel, seq)
);

CREATE UNIQUE INDEX message_nonce ON message (author, nonce);
CREATE INDEX message_pinned ON message (channel, seq) WHERE pinned_at IS NOT NULL;
CREATE INDEX message_expires ON message (channel, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX message_summons ON message (channel, seq) WHERE mention_everyone OR mention_roles IS NOT NULL;

CREATE TABLE revision (
    channel uuid NOT NULL,
    seq     bigint NOT NULL,
    number  integer NOT NULL,
    text    text NOT NULL,
    until   timestamptz NOT NULL,
    PRIMARY KEY (channel, seq, number),
    FOREIGN KEY (channel, seq) REFERENCES message ON DELETE CASCADE
);

CREATE TABLE mention (
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    channel uuid NOT NULL,
    seq     bigint NOT NULL,
    told    boolean NOT NULL DEFAULT false,     -- whether it was thought of notifying them: once
    PRIMARY KEY (account, channel, seq),
    FOREIGN KEY (channel, seq) REFERENCES message ON DELETE CASCADE
);

CREATE INDEX mention_message ON mention (channel, seq);

-- What somebody took out of their own view.
CREATE TABLE hidden (
    channel uuid NOT NULL,
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    seq     bigint NOT NULL,
    PRIMARY KEY (account, channel, seq),
    FOREIGN KEY (channel, seq) REFERENCES message ON DELETE CASCADE
);

CREATE INDEX hidden_message ON hidden (channel, seq);

-- Stores a batch of messages in one round trip: locks the channels in the order of their ids, looks at what has become
-- of the permissions and nonces meanwhile, numbers and stores what may be stored, and says what became of each row:
-- 0 stored, 1 stored before, 2 decided under an older access version, 3 the nonce stands for a message elsewhere,
-- 4 what it replies to is no message here, 5 who is mentioned is no member (in spaces that was decided before), 6 its
-- author has to wait: `earlier` tells until when.
CREATE FUNCTION message_append(
    channels uuid[], accesses bigint[], authors uuid[], nonces uuid[], texts text[], extras jsonb[],
    OUT at timestamptz, OUT verdicts smallint[], OUT seqs bigint[], OUT earlier timestamptz[])
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(key) FROM (SELECT DISTINCT uuid_hash_extended(guard, 0) AS key FROM stream
        WHERE id = ANY (channels) AND guard IS NOT NULL ORDER BY 1) g;
    PERFORM FROM stream WHERE id = ANY (channels) ORDER BY id FOR NO KEY UPDATE;
    at := clock_timestamp();
    WITH input AS MATERIALIZED (
        SELECT i.*, s.head, m.seq AS stored, coalesce(m.sent_at, CASE WHEN i.extra ? 'slow' THEN
                   (SELECT p.until FROM pace p WHERE p.channel = i.channel AND p.account = i.author) END) AS sent_at,
               CASE WHEN m.seq IS NOT NULL THEN CASE WHEN m.channel = i.channel THEN 1 ELSE 3 END
                    WHEN s.access + coalesce((SELECT g.access FROM stream g WHERE g.id = s.guard), 0)
                         IS DISTINCT FROM i.access THEN 2
                    WHEN i.extra IS NULL THEN 0
                    WHEN i.extra ? 'reply_to' AND NOT EXISTS
                         (SELECT FROM message r WHERE r.channel = i.channel AND r.seq = (i.extra ->> 'reply_to')::bigint
                             AND r.deleted_at IS NULL) THEN 4
                    WHEN i.extra ? 'mentions' AND s.guard IS NULL AND EXISTS
                         (SELECT FROM jsonb_array_elements_text(i.extra -> 'mentions') AS t(account) WHERE NOT EXISTS
                             (SELECT FROM member r WHERE r.channel = i.channel AND r.account = t.account::uuid)) THEN 5
                    WHEN i.extra ? 'slow' AND (EXISTS
                         (SELECT FROM pace p WHERE p.channel = i.channel AND p.account = i.author AND p.until > at) OR EXISTS
                         (SELECT FROM unnest(channels, authors, extras) WITH ORDINALITY AS o(channel, author, extra, k)
                           WHERE o.channel = i.channel AND o.author = i.author AND o.k < i.k AND o.extra ? 'slow')) THEN 6
                    ELSE 0 END::smallint AS verdict
          FROM unnest(channels, accesses, authors, nonces, texts, extras)
               WITH ORDINALITY AS i(channel, access, author, nonce, text, extra, k)
          LEFT JOIN stream s ON s.id = i.channel
          LEFT JOIN message m ON m.author = i.author AND m.nonce = i.nonce
    ), placed AS MATERIALIZED (
        SELECT k, channel, author, nonce, text, extra, head + row_number() OVER (PARTITION BY channel ORDER BY k) AS seq
          FROM input WHERE verdict = 0
    ), bumped AS (
        UPDATE stream s SET head = p.head, last = p.head, moved_at = at
          FROM (SELECT channel, max(seq) AS head FROM placed GROUP BY channel) p WHERE s.id = p.channel
    ), written AS (
        INSERT INTO message (channel, seq, author, nonce, sent_at, text, reply_to, mentions, hashtags, silent, forwarded,
                             poll, expires_at, mention_roles, mention_everyone, sticker, files)
        SELECT p.channel, p.seq, p.author, p.nonce, at, p.text, (p.extra ->> 'reply_to')::bigint,
               CASE WHEN p.extra ? 'mentions' THEN
                   (SELECT array_agg(e::uuid) FROM jsonb_array_elements_text(p.extra -> 'mentions') AS t(e)) END,
               CASE WHEN p.extra ? 'hashtags' THEN
                   (SELECT array_agg(e) FROM jsonb_array_elements_text(p.extra -> 'hashtags') AS t(e)) END,
               coalesce((p.extra ->> 'silent')::boolean, false), p.extra ->> 'forwarded',
               p.extra ->> 'poll', at + make_interval(secs => (p.extra ->> 'lifetime')::integer),
               CASE WHEN p.extra ? 'mention_roles' THEN
                   (SELECT array_agg(e::uuid) FROM jsonb_array_elements_text(p.extra -> 'mention_roles') AS t(e)) END,
               coalesce((p.extra ->> 'mention_everyone')::boolean, false), p.extra ->> 'sticker', p.extra ->> 'files'
          FROM placed p
    )
    SELECT array_agg(i.verdict ORDER BY i.k), array_agg(coalesce(i.stored, p.seq) ORDER BY i.k),
           CASE WHEN bool_or(i.verdict IN (1, 6)) THEN array_agg(i.sent_at ORDER BY i.k) END
      INTO verdicts, seqs, earlier FROM input i LEFT JOIN placed p USING (k);
    IF EXISTS (SELECT FROM unnest(extras) AS t(extra) WHERE extra ?| '{mentions,poll,lifetime,files}') THEN
        INSERT INTO mention (account, channel, seq)
        SELECT t.account::uuid, i.channel, seqs[i.k]
          FROM unnest(channels, authors, extras) WITH ORDINALITY AS i(channel, author, extra, k),
               jsonb_array_elements_text(i.extra -> 'mentions') AS t(account)
         WHERE verdicts[i.k] = 0 AND t.account::uuid <> i.author
        ON CONFLICT DO NOTHING;
        INSERT INTO due (kind, stream, seq, at)
        SELECT 'poll', i.channel, seqs[i.k], (i.extra #>> '{poll,closes_at}')::timestamptz
          FROM unnest(channels, extras) WITH ORDINALITY AS i(channel, extra, k)
         WHERE verdicts[i.k] = 0 AND i.extra #>> '{poll,closes_at}' IS NOT NULL;
        INSERT INTO due (kind, stream, at)
        SELECT 'disappearing', i.channel, at + make_interval(secs => min((i.extra ->> 'lifetime')::integer))
          FROM unnest(channels, extras) WITH ORDINALITY AS i(channel, extra, k)
         WHERE verdicts[i.k] = 0 AND i.extra ? 'lifetime' GROUP BY i.channel
        ON CONFLICT (kind, stream, seq) DO UPDATE SET at = excluded.at WHERE due.at > excluded.at;
        INSERT INTO file_use (file, channel, seq)
        SELECT f.id, i.channel, seqs[i.k]
          FROM unnest(channels, extras) WITH ORDINALITY AS i(channel, extra, k),
               jsonb_array_elements(i.extra -> 'files') AS t(one) JOIN file f ON f.id = (t.one ->> 'id')::uuid
         WHERE verdicts[i.k] = 0 FOR KEY SHARE OF f  -- one that was deleted meanwhile is left out
        ON CONFLICT DO NOTHING;
    END IF;
    IF EXISTS (SELECT FROM unnest(extras) AS t(extra) WHERE extra ? 'slow') THEN
        INSERT INTO pace (channel, account, until)
        SELECT i.channel, i.author, at + make_interval(secs => (i.extra ->> 'slow')::integer)
          FROM unnest(channels, authors, extras) WITH ORDINALITY AS i(channel, author, extra, k)
         WHERE verdicts[i.k] = 0 AND i.extra ? 'slow'
        ON CONFLICT (channel, account) DO UPDATE SET until = excluded.until;
    END IF;
END $$;

-- message_append for those channels that nobody else holds; the others are left out, and told as `held`. Waits only for
-- `awaited`, for as long as lock_timeout says, before anything is held.
CREATE FUNCTION message_append_free(
    channels uuid[], accesses bigint[], authors uuid[], nonces uuid[], texts text[], extras jsonb[], awaited uuid,
    OUT at timestamptz, OUT verdicts smallint[], OUT seqs bigint[], OUT earlier timestamptz[], OUT held uuid[])
LANGUAGE plpgsql AS $$
DECLARE
    free uuid[];
BEGIN
    IF awaited IS NOT NULL THEN
        BEGIN
            PERFORM pg_advisory_xact_lock_shared(uuid_hash_extended(guard, 0)) FROM stream
              WHERE id = awaited AND guard IS NOT NULL;
            PERFORM FROM stream WHERE id = awaited FOR NO KEY UPDATE;
        EXCEPTION WHEN lock_not_available THEN
            NULL;                               -- it is told below
        END;
    END IF;
    free := ARRAY(SELECT id FROM stream WHERE id = ANY (channels)
                     AND CASE WHEN guard IS NULL THEN true
                              ELSE pg_try_advisory_xact_lock_shared(uuid_hash_extended(guard, 0)) END);
    free := ARRAY(SELECT id FROM stream WHERE id = ANY (free) FOR NO KEY UPDATE SKIP LOCKED);
    held := ARRAY(SELECT id FROM stream WHERE id = ANY (channels) AND id <> ALL (free));
    SELECT array_agg(channel ORDER BY k), array_agg(access ORDER BY k), array_agg(author ORDER BY k),
           array_agg(nonce ORDER BY k), array_agg(text ORDER BY k), array_agg(extra ORDER BY k)
      INTO channels, accesses, authors, nonces, texts, extras
      FROM unnest(channels, accesses, authors, nonces, texts, extras)
           WITH ORDINALITY AS i(channel, access, author, nonce, text, extra, k)
     WHERE channel <> ALL (held);
    IF channels IS NOT NULL THEN
        SELECT a.at, a.verdicts, a.seqs, a.earlier INTO at, verdicts, seqs, earlier
          FROM message_append(channels, accesses, authors, nonces, texts, extras) a;
    END IF;
END $$;

-- thread: channels within a channel of a space

CREATE TABLE thread (
    id          uuid PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
    parent      uuid NOT NULL,                  -- the channel that it is in; perhaps that is no more
    origin      bigint,                         -- the message there that it has started from
    locked      boolean NOT NULL DEFAULT false,
    archived_at timestamptz,
    due         timestamptz NOT NULL,           -- when to look whether nobody has written for long
    moved_at    timestamptz                     -- when the tail has seen its last message; who follows it is told then
);

CREATE INDEX thread_page ON thread (parent, archived_at DESC, id DESC);
CREATE UNIQUE INDEX thread_origin ON thread (parent, origin);
CREATE INDEX thread_moved ON thread (moved_at);
CREATE INDEX thread_due ON thread (due) WHERE archived_at IS NULL;

-- Who opens one or writes there follows it.
CREATE TABLE follow (
    account  uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    thread   uuid NOT NULL REFERENCES thread ON DELETE CASCADE,
    followed boolean NOT NULL,                  -- false: not any more, and not again by writing there
    PRIMARY KEY (account, thread)
);

CREATE INDEX follow_thread ON follow (thread, account);

-- file: what people have uploaded. Its bytes are a blob, which several files of one owner may share.

CREATE TABLE file (
    id         uuid PRIMARY KEY,
    owner      uuid NOT NULL REFERENCES account,
    purpose    text NOT NULL CHECK (purpose IN ('attachment', 'voice', 'avatar', 'emoji', 'sticker', 'backup')),
    name       text NOT NULL,
    type       text NOT NULL,
    size       bigint NOT NULL,
    hash       bytea NOT NULL,
    state      text NOT NULL CHECK (state IN ('uploading', 'processing', 'ready', 'refused')),
    blob       uuid,                            -- null while it is uploaded
    details    text,                            -- JSON of protocol.file.Details
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((state = 'uploading') = (blob IS NULL))
);

CREATE INDEX file_owner ON file (owner, id DESC);
CREATE INDEX file_processing ON file (id) WHERE state = 'processing';
CREATE INDEX file_uploading ON file (owner, hash) WHERE state = 'uploading';
CREATE INDEX file_blob ON file (blob);

-- Bytes that are kept, under their id, in the store.
CREATE TABLE blob (
    id    uuid PRIMARY KEY,
    owner uuid NOT NULL REFERENCES account,
    hash  bytea NOT NULL,
    size  bigint NOT NULL,
    gone  boolean NOT NULL DEFAULT false        -- no file has them any more: they are about to be removed
);

CREATE UNIQUE INDEX blob_hash ON blob (owner, hash, size) WHERE NOT gone;
CREATE INDEX blob_gone ON blob (id) WHERE gone;
ALTER TABLE file ADD FOREIGN KEY (blob) REFERENCES blob;

-- What else there is of a blob: smaller pictures, …
CREATE TABLE variant (
    blob uuid NOT NULL REFERENCES blob ON DELETE CASCADE,
    name text NOT NULL,
    type text NOT NULL,
    size bigint NOT NULL,
    PRIMARY KEY (blob, name)
);

-- Bytes on their way; they become the blob `key`.
CREATE TABLE upload (
    key      uuid PRIMARY KEY,
    file     uuid REFERENCES file ON DELETE SET NULL,  -- null: what has come is to be removed
    writer   uuid NOT NULL,                     -- the transfer that may write: the last that has begun
    place    text NOT NULL DEFAULT '',          -- what the store calls it
    parts    text[] NOT NULL DEFAULT '{}',      -- what the store calls what it has of it
    moved_at timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX upload_file ON upload (file);
CREATE INDEX upload_moved ON upload (moved_at);

-- Which messages carry a file.
CREATE TABLE file_use (
    channel uuid NOT NULL,
    seq     bigint NOT NULL,
    file    uuid NOT NULL REFERENCES file ON DELETE CASCADE,
    PRIMARY KEY (channel, seq, file),
    FOREIGN KEY (channel, seq) REFERENCES message ON DELETE CASCADE
);

CREATE INDEX file_use_file ON file_use (file);

-- Files that no message carries, perhaps; when it is time, those go.
CREATE TABLE file_loose (
    file uuid PRIMARY KEY REFERENCES file ON DELETE CASCADE,
    due  timestamptz NOT NULL
);

CREATE INDEX file_loose_due ON file_loose (due);

-- However a message goes: what it has carried is looked at, when who is forwarding it is done.
CREATE FUNCTION file_let_go() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO file_loose (file, due)
    SELECT DISTINCT f.id, now() + interval '1 minute' FROM gone g JOIN file f ON f.id = g.file
    ON CONFLICT (file) DO NOTHING;
    RETURN NULL;
END $$;

CREATE TRIGGER file_let_go AFTER DELETE ON file_use REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION file_let_go();

-- reaction

CREATE TABLE reaction (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel uuid NOT NULL,
    seq     bigint NOT NULL,
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    emoji   text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    custom  uuid,                               -- one of the space's, which may be no more
    FOREIGN KEY (channel, seq) REFERENCES message ON DELETE CASCADE
);

CREATE UNIQUE INDEX reaction_once ON reaction (channel, seq, account, emoji, custom) NULLS NOT DISTINCT;
CREATE INDEX reaction_account ON reaction (account, id);

-- vote: who has chosen what in polls; the message's row tells the counts

CREATE TABLE vote (
    channel uuid NOT NULL,
    seq     bigint NOT NULL,
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    options smallint[] NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (channel, seq, account),
    FOREIGN KEY (channel, seq) REFERENCES message ON DELETE CASCADE
);

CREATE INDEX vote_account ON vote (account, channel, seq);

-- draft

CREATE TABLE draft (
    account  uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    channel  uuid NOT NULL REFERENCES channel ON DELETE CASCADE,
    text     text NOT NULL,
    reply_to bigint,
    saved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, channel)
);

CREATE INDEX draft_channel ON draft (channel);

-- call: calls that are going on; what has become of them stands with their messages

CREATE TABLE call (
    channel  uuid PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
    id       uuid NOT NULL UNIQUE,
    seq      bigint NOT NULL,                   -- its message
    caller   uuid NOT NULL,
    nonce    uuid NOT NULL,
    until    timestamptz NOT NULL,              -- how long it rings
    answered boolean NOT NULL DEFAULT false
);

-- Whose devices ring.
CREATE TABLE ring (
    call    uuid NOT NULL REFERENCES call (id) ON DELETE CASCADE,
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    PRIMARY KEY (call, account)
);

CREATE INDEX ring_account ON ring (account);

-- hush: who is silenced in the voice channels of a space, or hears nothing there; also who leaves it and comes back

CREATE TABLE hush (
    space    uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    account  uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    muted    boolean NOT NULL,
    deafened boolean NOT NULL,
    PRIMARY KEY (space, account)
);

CREATE INDEX hush_account ON hush (account);

-- scheduled: messages that are sent at a time; there is no more of one that was sent

CREATE TABLE scheduled (
    account    uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    id         uuid NOT NULL,                   -- made by its author; the nonce of the message that it becomes
    channel    uuid NOT NULL,                   -- perhaps it is no more: that is told when its time has come
    text       text NOT NULL,
    reply_to   bigint,
    mentions   uuid[] NOT NULL DEFAULT '{}',
    silent     boolean NOT NULL DEFAULT false,
    at         timestamptz NOT NULL,
    due        timestamptz NOT NULL,            -- when a process takes it: at its time, and again if that one is gone
    begun      boolean NOT NULL DEFAULT false,  -- it may be a message already: neither changed nor cancelled any more
    failed     text,                            -- the code with which it was refused
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, id)
);

CREATE INDEX scheduled_due ON scheduled (due) WHERE failed IS NULL;

-- due: what is to be done at a time, by whichever process has time

CREATE TABLE due (
    kind   text NOT NULL,                       -- storage.due.Kind
    stream uuid NOT NULL REFERENCES stream ON DELETE CASCADE,
    seq    bigint NOT NULL DEFAULT 0,           -- which of that kind, where there may be several
    at     timestamptz NOT NULL,                -- when a process takes it; again if that one is gone
    PRIMARY KEY (kind, stream, seq)
);

CREATE INDEX due_stream ON due (stream);
CREATE INDEX due_at ON due (at);

-- report: what somebody, or a rule of a space, has told the moderators of

CREATE TABLE report (
    id         uuid PRIMARY KEY,
    space      uuid REFERENCES space ON DELETE CASCADE,  -- null: of no space, for the server's own moderators
    reporter   uuid REFERENCES account,         -- null: a rule, or an account that was deleted
    account    uuid NOT NULL REFERENCES account,  -- who is reported
    channel    uuid,
    seq        bigint,                          -- of the message; null: the account as such, or what was refused
    place      uuid,                            -- as in `deed`
    veiled     boolean NOT NULL DEFAULT false,
    category   text NOT NULL,
    text       text NOT NULL,                   -- the reporter's words, or the name of the rule
    message    text,                            -- JSON of the message as it was then
    person     text,                            -- JSON of the account as others saw it then
    at         timestamptz NOT NULL DEFAULT now(),
    outcome    text CHECK (outcome IN ('dismissed', 'acted')),  -- null: open
    note       text NOT NULL DEFAULT '',
    closed_by  uuid,
    closed_at  timestamptz,
    CHECK ((outcome IS NULL) = (closed_at IS NULL)),
    CHECK (seq IS NULL OR channel IS NOT NULL)
);

CREATE UNIQUE INDEX report_message ON report (reporter, channel, seq) WHERE seq IS NOT NULL;
CREATE UNIQUE INDEX report_account ON report (reporter, account, space) NULLS NOT DISTINCT
 WHERE seq IS NULL AND outcome IS NULL AND reporter IS NOT NULL;
CREATE INDEX report_open ON report (space, id) WHERE outcome IS NULL;
CREATE INDEX report_closed ON report (space, id) WHERE outcome IS NOT NULL;
CREATE INDEX report_subject ON report (account, id);
CREATE INDEX report_place ON report (place) WHERE place IS NOT NULL;

-- automod: what is looked for in the messages of a space, and what follows when it is found

CREATE TABLE automod (
    id       uuid PRIMARY KEY,
    space    uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    nonce    uuid NOT NULL,
    enabled  boolean NOT NULL,
    name     text NOT NULL,
    kind     text NOT NULL,
    terms    text[] NOT NULL,                   -- words, parts of words, patterns or hosts
    allow    boolean NOT NULL,                  -- of links: only these hosts, instead of all but these
    most     integer NOT NULL,
    seconds  integer NOT NULL,
    refuse   boolean NOT NULL,
    report   boolean NOT NULL,
    timeout  integer NOT NULL,                  -- seconds; 0: none
    message  text NOT NULL,                     -- what the author is told
    roles    uuid[] NOT NULL,                   -- exempt; those that are no more mean nothing
    channels uuid[] NOT NULL
);

CREATE UNIQUE INDEX automod_nonce ON automod (space, nonce);

-- consequence: what is to follow from what automod has found, until it was done

CREATE TABLE consequence (
    id      uuid PRIMARY KEY,
    account uuid NOT NULL REFERENCES account,   -- who has written that
    body    text NOT NULL,                      -- JSON of storage.consequence.Finding
    due     timestamptz NOT NULL                -- when whoever has time does it
);

CREATE INDEX consequence_due ON consequence (due);
CREATE INDEX consequence_account ON consequence (account);

-- stats: how much is said in channels of spaces, day by day; a thread counts for the channel that it is in

CREATE TABLE stats (
    space    uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    channel  uuid NOT NULL,                     -- perhaps it is no more
    day      date NOT NULL,
    messages bigint NOT NULL,
    PRIMARY KEY (channel, day)
);

CREATE INDEX stats_space ON stats (space, day);
CREATE INDEX stats_day ON stats (day);

-- Who has said something there on that day.
CREATE TABLE stats_active (
    space   uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    channel uuid NOT NULL,
    day     date NOT NULL,
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    PRIMARY KEY (channel, day, account)
);

CREATE INDEX stats_active_space ON stats_active (space, day, account);
CREATE INDEX stats_active_account ON stats_active (account);
CREATE INDEX stats_active_day ON stats_active (day);

-- How many have come to a space, and gone.
CREATE TABLE stats_member (
    space    uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    day      date NOT NULL,
    joined   integer NOT NULL DEFAULT 0,
    departed integer NOT NULL DEFAULT 0,
    PRIMARY KEY (space, day)
);

-- How much is said on the whole server; in parts, so that nobody waits for the others who count.
CREATE TABLE stats_server (
    day      date NOT NULL,
    part     smallint NOT NULL,
    messages bigint NOT NULL,
    PRIMARY KEY (day, part)
);

-- friend: what two are to each other, as each of them sees it

CREATE TABLE friend (
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    other   uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    state   text NOT NULL CHECK (state IN ('friend', 'asked', 'waiting')),
    since   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, other),
    CHECK (account <> other)
);

CREATE INDEX friend_page ON friend (account, state, since, other);
CREATE INDEX friend_other ON friend (other, account);

-- Who may ask somebody, and who may open a channel with them; who has no row has not chosen.
CREATE TABLE friend_privacy (
    account  uuid PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    requests text NOT NULL DEFAULT 'everyone' CHECK (requests IN ('everyone', 'friends_of_friends', 'nobody')),
    directs  text NOT NULL DEFAULT 'everyone' CHECK (directs IN ('everyone', 'friends'))
);

-- presence: how somebody chose to be seen, and when they were last there

CREATE TABLE presence (
    account        uuid PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    status         text NOT NULL DEFAULT 'online' CHECK (status IN ('online', 'away', 'dnd', 'invisible')),
    text           text NOT NULL DEFAULT '',
    show_last_seen boolean NOT NULL DEFAULT true,
    seen_at        timestamptz
);

-- notification: what somebody is told of besides their channels, the newest thousand of each account

CREATE TABLE notification (
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    id      bigint NOT NULL,                    -- the seq of the fact that told it, in the account's stream
    kind    text NOT NULL,                      -- protocol.notification.Kind
    by      uuid NOT NULL,
    space   uuid,
    channel uuid,
    seq     bigint,                             -- the message; null where it is about none
    at      timestamptz NOT NULL DEFAULT now(),
    read    boolean NOT NULL DEFAULT false,
    code    text,                               -- of an invite
    PRIMARY KEY (account, id)
);

CREATE INDEX notification_unread ON notification (account, id) WHERE NOT read;
CREATE INDEX notification_thread ON notification (channel, account) WHERE kind = 'thread' AND NOT read;
CREATE UNIQUE INDEX notification_message ON notification (channel, seq, account) WHERE channel IS NOT NULL;

-- What somebody is notified of in a space or channel; until a time, if there is one.
CREATE TABLE notification_level (
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    place   uuid NOT NULL REFERENCES stream ON DELETE CASCADE,
    level   text NOT NULL CHECK (level IN ('all', 'mentions', 'personal', 'nothing')),
    until   timestamptz,
    PRIMARY KEY (account, place)
);

CREATE INDEX notification_level_place ON notification_level (place);

-- Messages that mention roles or everyone, numbered in their space: members look at them when they come by.
CREATE TABLE summons (
    space    uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    number   bigint NOT NULL,
    channel  uuid NOT NULL,
    seq      bigint NOT NULL,
    roles    uuid[] NOT NULL,                   -- those that were mentioned when it was numbered
    everyone boolean NOT NULL,
    PRIMARY KEY (space, number),
    FOREIGN KEY (channel, seq) REFERENCES message ON DELETE CASCADE
);

CREATE UNIQUE INDEX summons_message ON summons (channel, seq);

-- erasure: accounts that were deleted, of whose messages and memberships something may be left

CREATE TABLE erasure (
    account     uuid PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    asked_at    timestamptz NOT NULL DEFAULT now(),
    taken_until timestamptz NOT NULL DEFAULT now()  -- until when a process is at it
);

-- grave: channels that were deleted, of which something may be left, and who is still to be told

CREATE TABLE grave (
    channel     uuid PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
    by          uuid NOT NULL,                  -- who has deleted it, as those who were in it are told
    taken_until timestamptz NOT NULL DEFAULT now()  -- until when a process is at it
);

-- Who was in it and has not been told yet. Very many at once, so no foreign key is checked for each.
CREATE TABLE departed (
    channel uuid NOT NULL,
    account uuid NOT NULL,
    PRIMARY KEY (channel, account)
);

-- tail: how far the work behind each channel's facts is done; a channel without a row begins at its first fact

CREATE TABLE tail (
    channel uuid PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
    seq     bigint NOT NULL
) WITH (fillfactor = 50);

-- search: what messages can be found by (storage/words.py)

CREATE TABLE search (
    channel uuid NOT NULL,
    at      timestamptz NOT NULL,               -- when the message was sent
    seq     bigint NOT NULL,
    words   tsvector NOT NULL,
    PRIMARY KEY (channel, at, seq)
);

CREATE INDEX search_words ON search USING gin (words) WITH (gin_pending_list_limit = 8192);

-- Every longer word that stands in a message, so that it is found by its parts.
CREATE TABLE search_word (
    word  text COLLATE "C" PRIMARY KEY,
    grams tsvector NOT NULL,                    -- every three letters of it in a row
    doubt boolean NOT NULL DEFAULT false        -- it was taken out of a message: perhaps it stands in none any more
);

CREATE INDEX search_word_grams ON search_word USING gin (grams);
CREATE INDEX search_word_doubt ON search_word (word) WHERE doubt;
CREATE SEQUENCE search_forgotten;               -- one more whenever words were forgotten

-- Channels whose older messages have no documents yet.
CREATE TABLE search_backlog (
    channel     uuid PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
    below       bigint NOT NULL,                -- those with a lower seq
    taken_until timestamptz NOT NULL DEFAULT now()  -- until when a process is at it
);

-- The newest documents of some channels that have what is wanted, newest first: what was said in the last hour is looked
-- at, then further back, until there are `enough` or `most` were looked at. `bottom_…` is the place above which none was
-- left out, below the top in any case; NULL when all were looked at.
CREATE FUNCTION search_newest(
    channels uuid[], wanted tsquery, patterns text[], since timestamptz,
    top_at timestamptz, top_channel uuid, top_seq bigint, enough integer, most integer,
    OUT ats timestamptz[], OUT places uuid[], OUT seqs bigint[],
    OUT bottom_at timestamptz, OUT bottom_channel uuid, OUT bottom_seq bigint)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    below_ats timestamptz[]; below_seqs bigint[];  -- of each channel, below which place it was not looked at
    total numeric; newest timestamptz; back timestamptz; far interval := '1 hour';
    each integer := 200; found integer; looked integer := 0; sure integer := 0;
BEGIN
    SELECT sum(head), max(moved_at) INTO total, newest FROM stream WHERE id = ANY (channels);
    SELECT array_agg(top_at), array_agg(CASE WHEN c < top_channel THEN 1::bigint << 62
                                             WHEN c = top_channel THEN top_seq ELSE 0 END)
      INTO below_ats, below_seqs FROM unnest(channels) AS t(c);
    newest := least(newest, top_at);
    back := greatest(newest - far, since);
    IF total <= most THEN
        back := since;
        each := most;
    END IF;
    LOOP
        WITH state AS (
            SELECT * FROM unnest(channels, below_ats, below_seqs) WITH ORDINALITY AS t(id, at, seq, k)
        ), looked AS MATERIALIZED (
            SELECT s.id, s.k, x.* FROM state s, LATERAL (
                SELECT count(*) AS n, min(at) AS at, min(seq) AS seq,
                       array_agg(at) FILTER (WHERE hit) AS ats, array_agg(seq) FILTER (WHERE hit) AS seqs
                  FROM (SELECT d.at, d.seq, (wanted IS NULL OR words @@ wanted)
                               AND (patterns IS NULL OR words::text LIKE ALL (patterns)) AS hit
                          FROM search d
                         WHERE d.channel = s.id AND (d.at, d.seq) < (s.at, s.seq) AND d.at >= back
                         ORDER BY d.at DESC, d.seq DESC LIMIT each) y) x
             WHERE (s.at, s.seq) > (back, 0)
        ), hits AS (
            SELECT h.at, l.id, h.seq FROM looked l, unnest(l.ats, l.seqs) AS h(at, seq)
            UNION ALL
            SELECT * FROM unnest(search_newest.ats, search_newest.places, search_newest.seqs)
        ), sorted AS (
            SELECT array_agg(at ORDER BY at DESC, id DESC, seq DESC), array_agg(id ORDER BY at DESC, id DESC, seq DESC),
                   array_agg(seq ORDER BY at DESC, id DESC, seq DESC) FROM hits
        ), lower AS (
            SELECT array_agg(CASE WHEN l.n = each THEN l.at ELSE least(s.at, back) END ORDER BY s.k),
                   array_agg(CASE WHEN l.n = each THEN l.seq WHEN s.at < back THEN s.seq ELSE 0 END ORDER BY s.k)
              FROM state s LEFT JOIN looked l USING (k)
        )
        SELECT *, (SELECT coalesce(sum(n), 0) FROM looked) INTO ats, places, seqs, below_ats, below_seqs, found
          FROM sorted, lower;
        looked := looked + found;
        SELECT f.at, f.id, f.seq INTO bottom_at, bottom_channel, bottom_seq
          FROM unnest(below_ats, channels, below_seqs) AS f(at, id, seq)
         WHERE f.at > back OR f.at = back AND f.seq > 0 ORDER BY 1 DESC, 2 DESC, 3 DESC LIMIT 1;
        IF bottom_at IS NULL AND back <= since THEN
            RETURN;
        END IF;
        sure := CASE WHEN bottom_at IS NULL THEN coalesce(cardinality(ats), 0) ELSE
            (SELECT count(*) FROM unnest(ats, places, seqs) AS h(at, id, seq)
              WHERE (at, id, seq) >= (bottom_at, bottom_channel, bottom_seq)) END;
        EXIT WHEN sure >= enough OR looked >= most;
        IF bottom_at IS NOT NULL THEN
            each := 2 * each;                   -- in these there was more than that: they catch up first
        ELSE
            -- As far as it probably takes, but not much further than there is room for.
            far := far * greatest(2, least(CASE WHEN sure > 0 THEN 1.5 * enough / sure ELSE 8 END,
                                           (most - looked) * 1.2 / greatest(found, 1), 64));
            back := CASE WHEN far > interval '20 years' THEN since ELSE greatest(newest - far, since) END;
        END IF;
    END LOOP;
    IF bottom_at IS NULL THEN
        bottom_at := back; bottom_channel := '00000000-0000-0000-0000-000000000000'; bottom_seq := 0;
    END IF;
    ats := ats[:sure]; places := places[:sure]; seqs := seqs[:sure];
END $$;
