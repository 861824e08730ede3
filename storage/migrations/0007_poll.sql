-- poll: messages with a choice of answers; and what falls due: the ends of polls, messages that disappear, retention

ALTER TABLE message ADD COLUMN poll text, ADD COLUMN expires_at timestamptz;
CREATE INDEX message_expires ON message (channel, expires_at) WHERE expires_at IS NOT NULL;

ALTER TABLE channel ADD COLUMN disappears_after integer, ADD COLUMN keeps_for integer,
    ADD COLUMN cleared bigint NOT NULL DEFAULT 0;

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

-- Stores a batch of messages in one round trip: locks the channels in the order of their ids, looks at what has become
-- of the permissions and nonces meanwhile, numbers and stores what may be stored, and says what became of each row:
-- 0 stored, 1 stored before, 2 decided under an older access version, 3 the nonce stands for a message elsewhere,
-- 4 what it replies to is no message here, 5 who is mentioned is no member (in spaces that was decided before), 6 its
-- author has to wait: `earlier` tells until when.
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
                             poll, expires_at)
        SELECT p.channel, p.seq, p.author, p.nonce, at, p.text, (p.extra ->> 'reply_to')::bigint,
               CASE WHEN p.extra ? 'mentions' THEN
                   (SELECT array_agg(e::uuid) FROM jsonb_array_elements_text(p.extra -> 'mentions') AS t(e)) END,
               CASE WHEN p.extra ? 'hashtags' THEN
                   (SELECT array_agg(e) FROM jsonb_array_elements_text(p.extra -> 'hashtags') AS t(e)) END,
               coalesce((p.extra ->> 'silent')::boolean, false), p.extra ->> 'forwarded',
               p.extra ->> 'poll', at + make_interval(secs => (p.extra ->> 'lifetime')::integer)
          FROM placed p
    )
    SELECT array_agg(i.verdict ORDER BY i.k), array_agg(coalesce(i.stored, p.seq) ORDER BY i.k),
           CASE WHEN bool_or(i.verdict IN (1, 6)) THEN array_agg(i.sent_at ORDER BY i.k) END
      INTO verdicts, seqs, earlier FROM input i LEFT JOIN placed p USING (k);
    IF EXISTS (SELECT FROM unnest(extras) AS t(extra) WHERE extra ?| '{mentions,poll,lifetime}') THEN
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
    END IF;
    IF EXISTS (SELECT FROM unnest(extras) AS t(extra) WHERE extra ? 'slow') THEN
        INSERT INTO pace (channel, account, until)
        SELECT i.channel, i.author, at + make_interval(secs => (i.extra ->> 'slow')::integer)
          FROM unnest(channels, authors, extras) WITH ORDINALITY AS i(channel, author, extra, k)
         WHERE verdicts[i.k] = 0 AND i.extra ? 'slow'
        ON CONFLICT (channel, account) DO UPDATE SET until = excluded.until;
    END IF;
END $$;
