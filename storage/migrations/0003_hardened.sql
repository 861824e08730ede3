-- What a review of messages found wanting.

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
            PERFORM FROM stream WHERE id = awaited FOR NO KEY UPDATE;
        EXCEPTION WHEN lock_not_available THEN
            NULL;                               -- it is told below
        END;
    END IF;
    free := ARRAY(SELECT id FROM stream WHERE id = ANY (channels) FOR NO KEY UPDATE SKIP LOCKED);
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

CREATE INDEX draft_channel ON draft (channel);

-- What is old is forgotten in the order in which it came.
CREATE INDEX fact_at ON fact (at);

-- Words of drafts are not kept in facts.
UPDATE fact SET data = json_build_object('channel', data::json -> 'draft' ->> 'channel')::text
 WHERE kind = 'draft.saved' AND data::json -> 'draft' IS NOT NULL;

-- Accounts that came to be in a channel while they were deleted leave it like the others.
INSERT INTO erasure (account) SELECT DISTINCT m.account FROM member m JOIN account a ON a.id = m.account
 WHERE a.deleted_at IS NOT NULL ON CONFLICT DO NOTHING;
