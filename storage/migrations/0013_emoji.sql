-- Emoji and stickers of spaces; mentions of roles and of everyone.

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

ALTER TABLE reaction ADD COLUMN custom uuid;
DROP INDEX reaction_once;
CREATE UNIQUE INDEX reaction_once ON reaction (channel, seq, account, emoji, custom) NULLS NOT DISTINCT;

ALTER TABLE message ADD COLUMN mention_roles uuid[], ADD COLUMN mention_everyone boolean NOT NULL DEFAULT false,
                    ADD COLUMN sticker text;
CREATE INDEX message_summons ON message (channel, seq) WHERE mention_everyone OR mention_roles IS NOT NULL;

ALTER TABLE space ADD COLUMN summons bigint NOT NULL DEFAULT 0;
ALTER TABLE space_member ADD COLUMN summons bigint NOT NULL DEFAULT 0;

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

ALTER TABLE notification_level DROP CONSTRAINT notification_level_level_check;
ALTER TABLE notification_level ADD CHECK (level IN ('all', 'mentions', 'personal', 'nothing'));

-- Stores a batch of messages in one round trip, as before; also what roles they mention, everyone, and stickers.
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
                             poll, expires_at, mention_roles, mention_everyone, sticker)
        SELECT p.channel, p.seq, p.author, p.nonce, at, p.text, (p.extra ->> 'reply_to')::bigint,
               CASE WHEN p.extra ? 'mentions' THEN
                   (SELECT array_agg(e::uuid) FROM jsonb_array_elements_text(p.extra -> 'mentions') AS t(e)) END,
               CASE WHEN p.extra ? 'hashtags' THEN
                   (SELECT array_agg(e) FROM jsonb_array_elements_text(p.extra -> 'hashtags') AS t(e)) END,
               coalesce((p.extra ->> 'silent')::boolean, false), p.extra ->> 'forwarded',
               p.extra ->> 'poll', at + make_interval(secs => (p.extra ->> 'lifetime')::integer),
               CASE WHEN p.extra ? 'mention_roles' THEN
                   (SELECT array_agg(e::uuid) FROM jsonb_array_elements_text(p.extra -> 'mention_roles') AS t(e)) END,
               coalesce((p.extra ->> 'mention_everyone')::boolean, false), p.extra ->> 'sticker'
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
