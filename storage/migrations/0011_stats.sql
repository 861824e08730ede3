-- Stats: how much is said in spaces and on the server, day by day; how many come and go.

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
