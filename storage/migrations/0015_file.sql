-- Files: what people upload, and messages that carry it.

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

ALTER TABLE message ADD COLUMN files text;

CREATE OR REPLACE FUNCTION message_append(
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
