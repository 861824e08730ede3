-- tail: how far the work behind each channel's facts is done; a channel without a row begins at its first fact

CREATE TABLE tail (
    channel uuid PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
    seq     bigint NOT NULL
) WITH (fillfactor = 50);

-- What was there before has its search documents made newest first, beside the tail.
INSERT INTO tail (channel, seq) SELECT c.id, s.head FROM channel c JOIN stream s USING (id);

-- search: what messages can be found by (storage/words.py)

CREATE TABLE search (
    channel uuid NOT NULL,
    at      timestamptz NOT NULL,               -- when the message was sent
    seq     bigint NOT NULL,
    words   tsvector NOT NULL,
    PRIMARY KEY (channel, at, seq)
);

CREATE INDEX search_words ON search USING gin (words);

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

INSERT INTO search_backlog (channel, below)
SELECT c.id, s.head + 1 FROM channel c JOIN stream s USING (id) WHERE s.head > 0;

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
