-- Moderation: the log of a space is read page by page; reports of messages and people.

-- `place`: the channel that it is about, or that the thread is in: who does not see it does not see this.
ALTER TABLE deed ADD COLUMN place uuid;
ALTER TABLE deed ADD COLUMN veiled boolean NOT NULL DEFAULT false;  -- its place is no more, and was not for everybody

CREATE INDEX deed_by ON deed (space, by, id DESC);
CREATE INDEX deed_target ON deed (target, id DESC);
CREATE INDEX deed_place ON deed (place) WHERE place IS NOT NULL;
CREATE INDEX deed_at ON deed (at);

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

-- One more whenever a report is made or closed.
ALTER TABLE space ADD COLUMN reported bigint NOT NULL DEFAULT 0;

-- One more whenever what is looked for in messages changes; 0: nothing is.
ALTER TABLE space ADD COLUMN rules bigint NOT NULL DEFAULT 0;

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
