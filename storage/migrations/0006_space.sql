-- Spaces: communities with roles and channels of many kinds.

-- Whose access version counts besides the stream's own: that of the space that a channel is in.
ALTER TABLE stream ADD COLUMN guard uuid;
-- The seq of its last message.
ALTER TABLE stream ADD COLUMN last bigint NOT NULL DEFAULT 0;

UPDATE stream s SET last = m.seq FROM (SELECT channel, max(seq) AS seq FROM message GROUP BY channel) m
 WHERE s.id = m.channel;

CREATE INDEX stream_guard ON stream (guard) WHERE guard IS NOT NULL;

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
    structure   bigint NOT NULL DEFAULT 1,      -- one more whenever roles, channels or overwrites change
    created_at  timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz                     -- nobody has a right there any more; what is left goes bit by bit
);

CREATE UNIQUE INDEX space_nonce ON space (creator, nonce);
CREATE INDEX space_open ON space (members DESC, id) WHERE open AND deleted_at IS NULL;

-- Who is in it. Roles that are no more may still be named here: they mean nothing.
CREATE TABLE space_member (
    space       uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    account     uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    joined_at   timestamptz NOT NULL DEFAULT now(),
    nick        text NOT NULL DEFAULT '',
    name        text COLLATE "C" NOT NULL,      -- what they are listed by: the nick or the name, folded
    roles       uuid[] NOT NULL DEFAULT '{}',
    timeout_until timestamptz,
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
    reason text NOT NULL DEFAULT ''
);

CREATE INDEX deed_page ON deed (space, id DESC);

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
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX invite_space ON invite (space, created_at);
CREATE UNIQUE INDEX invite_vanity ON invite (space) WHERE vanity;

ALTER TABLE channel DROP CONSTRAINT channel_kind_check;
ALTER TABLE channel ADD CONSTRAINT channel_kind_check CHECK (kind IN (
    'direct', 'group', 'saved', 'text', 'broadcast', 'voice', 'stage', 'forum', 'category', 'thread'));
ALTER TABLE channel ADD COLUMN space uuid REFERENCES space ON DELETE CASCADE;
ALTER TABLE channel ADD COLUMN parent uuid REFERENCES channel ON DELETE SET NULL;  -- its category; of a thread its channel
ALTER TABLE channel ADD COLUMN position integer NOT NULL DEFAULT 0;
ALTER TABLE channel ADD COLUMN slow integer NOT NULL DEFAULT 0;  -- seconds between two messages of one author

CREATE INDEX channel_space ON channel (space) WHERE space IS NOT NULL AND kind <> 'thread';
CREATE INDEX channel_parent ON channel (parent) WHERE parent IS NOT NULL;

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

DROP FUNCTION message_append(uuid[], bigint[], uuid[], uuid[], text[], jsonb[]);

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
        INSERT INTO message (channel, seq, author, nonce, sent_at, text, reply_to, mentions, hashtags, silent, forwarded)
        SELECT p.channel, p.seq, p.author, p.nonce, at, p.text, (p.extra ->> 'reply_to')::bigint,
               CASE WHEN p.extra ? 'mentions' THEN
                   (SELECT array_agg(e::uuid) FROM jsonb_array_elements_text(p.extra -> 'mentions') AS t(e)) END,
               CASE WHEN p.extra ? 'hashtags' THEN
                   (SELECT array_agg(e) FROM jsonb_array_elements_text(p.extra -> 'hashtags') AS t(e)) END,
               coalesce((p.extra ->> 'silent')::boolean, false), p.extra ->> 'forwarded'
          FROM placed p
    )
    SELECT array_agg(i.verdict ORDER BY i.k), array_agg(coalesce(i.stored, p.seq) ORDER BY i.k),
           CASE WHEN bool_or(i.verdict IN (1, 6)) THEN array_agg(i.sent_at ORDER BY i.k) END
      INTO verdicts, seqs, earlier FROM input i LEFT JOIN placed p USING (k);
    IF EXISTS (SELECT FROM unnest(extras) AS t(extra) WHERE extra ? 'mentions') THEN
        INSERT INTO mention (account, channel, seq)
        SELECT t.account::uuid, i.channel, seqs[i.k]
          FROM unnest(channels, authors, extras) WITH ORDINALITY AS i(channel, author, extra, k),
               jsonb_array_elements_text(i.extra -> 'mentions') AS t(account)
         WHERE verdicts[i.k] = 0 AND t.account::uuid <> i.author
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

DROP FUNCTION message_append_free(uuid[], bigint[], uuid[], uuid[], text[], jsonb[], uuid);

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
