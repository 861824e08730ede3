-- Messages: streams and their facts, channels, messages, reactions, drafts, presence.

-- stream: everything that durable events belong to: each channel, and each account for what concerns it alone

CREATE TABLE stream (
    id       uuid PRIMARY KEY,
    head     bigint NOT NULL DEFAULT 0,         -- the seq of its last fact
    access   bigint NOT NULL DEFAULT 1,         -- one more whenever somebody loses a right here
    kept     bigint NOT NULL DEFAULT 0,         -- facts up to here may be gone: older cursors are reset
    moved_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);                       -- so that a moved head stays on its page

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

INSERT INTO stream (id) SELECT id FROM account;

-- channel

CREATE TABLE channel (
    id          uuid PRIMARY KEY REFERENCES stream ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('direct', 'group', 'saved')),
    name        text NOT NULL DEFAULT '',
    topic       text NOT NULL DEFAULT '',
    description text NOT NULL DEFAULT '',
    avatar      text NOT NULL DEFAULT '',
    open        boolean NOT NULL DEFAULT false,
    owner       uuid REFERENCES account,
    creator     uuid REFERENCES account ON DELETE SET NULL,
    nonce       uuid,                           -- the creator's: the same again is a retry
    members     integer NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX channel_nonce ON channel (creator, nonce);

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

-- message: the facts that are messages; message_append alone writes them, so no foreign key is checked for each

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
    PRIMARY KEY (channel, seq)
);

CREATE UNIQUE INDEX message_nonce ON message (author, nonce);
CREATE INDEX message_pinned ON message (channel, seq) WHERE pinned_at IS NOT NULL;

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
-- 4 what it replies to is no message here, 5 who is mentioned is no member.
CREATE FUNCTION message_append(
    channels uuid[], accesses bigint[], authors uuid[], nonces uuid[], texts text[], extras jsonb[],
    OUT at timestamptz, OUT verdicts smallint[], OUT seqs bigint[], OUT earlier timestamptz[])
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM stream WHERE id = ANY (channels) ORDER BY id FOR NO KEY UPDATE;
    at := clock_timestamp();
    WITH input AS MATERIALIZED (
        SELECT i.*, s.head, m.seq AS stored, m.sent_at,
               CASE WHEN m.seq IS NOT NULL THEN CASE WHEN m.channel = i.channel THEN 1 ELSE 3 END
                    WHEN s.access IS DISTINCT FROM i.access THEN 2
                    WHEN i.extra IS NULL THEN 0
                    WHEN i.extra ? 'reply_to' AND NOT EXISTS
                         (SELECT FROM message r WHERE r.channel = i.channel AND r.seq = (i.extra ->> 'reply_to')::bigint
                             AND r.deleted_at IS NULL) THEN 4
                    WHEN i.extra ? 'mentions' AND EXISTS
                         (SELECT FROM jsonb_array_elements_text(i.extra -> 'mentions') AS t(account) WHERE NOT EXISTS
                             (SELECT FROM member r WHERE r.channel = i.channel AND r.account = t.account::uuid)) THEN 5
                    ELSE 0 END::smallint AS verdict
          FROM unnest(channels, accesses, authors, nonces, texts, extras)
               WITH ORDINALITY AS i(channel, access, author, nonce, text, extra, k)
          LEFT JOIN stream s ON s.id = i.channel
          LEFT JOIN message m ON m.author = i.author AND m.nonce = i.nonce
    ), placed AS MATERIALIZED (
        SELECT k, channel, author, nonce, text, extra, head + row_number() OVER (PARTITION BY channel ORDER BY k) AS seq
          FROM input WHERE verdict = 0
    ), bumped AS (
        UPDATE stream s SET head = p.head, moved_at = at
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
           CASE WHEN bool_or(i.stored IS NOT NULL) THEN array_agg(i.sent_at ORDER BY i.k) END
      INTO verdicts, seqs, earlier FROM input i LEFT JOIN placed p USING (k);
    IF EXISTS (SELECT FROM unnest(extras) AS t(extra) WHERE extra ? 'mentions') THEN
        INSERT INTO mention (account, channel, seq)
        SELECT t.account::uuid, i.channel, seqs[i.k]
          FROM unnest(channels, authors, extras) WITH ORDINALITY AS i(channel, author, extra, k),
               jsonb_array_elements_text(i.extra -> 'mentions') AS t(account)
         WHERE verdicts[i.k] = 0 AND t.account::uuid <> i.author
        ON CONFLICT DO NOTHING;
    END IF;
END $$;

-- reaction

CREATE TABLE reaction (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel uuid NOT NULL,
    seq     bigint NOT NULL,
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    emoji   text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (channel, seq) REFERENCES message ON DELETE CASCADE
);

CREATE UNIQUE INDEX reaction_once ON reaction (channel, seq, account, emoji);
CREATE INDEX reaction_account ON reaction (account, id);

-- draft

CREATE TABLE draft (
    account  uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    channel  uuid NOT NULL REFERENCES channel ON DELETE CASCADE,
    text     text NOT NULL,
    reply_to bigint,
    saved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, channel)
);

-- presence: how somebody chose to be seen, and when they were last there

CREATE TABLE presence (
    account        uuid PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    status         text NOT NULL DEFAULT 'online' CHECK (status IN ('online', 'away', 'dnd', 'invisible')),
    text           text NOT NULL DEFAULT '',
    show_last_seen boolean NOT NULL DEFAULT true,
    seen_at        timestamptz
);

-- erasure: accounts that were deleted, of whose messages and memberships something may be left

CREATE TABLE erasure (
    account     uuid PRIMARY KEY REFERENCES account ON DELETE CASCADE,
    asked_at    timestamptz NOT NULL DEFAULT now(),
    taken_until timestamptz NOT NULL DEFAULT now()  -- until when a process is at it
);
