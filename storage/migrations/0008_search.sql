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
