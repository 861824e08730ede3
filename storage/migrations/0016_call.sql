-- call: calls that are going on; what has become of them stands with their messages

ALTER TABLE message ADD COLUMN call text;
ALTER TABLE channel ADD COLUMN seats integer NOT NULL DEFAULT 0;

CREATE TABLE call (
    channel  uuid PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
    id       uuid NOT NULL UNIQUE,
    seq      bigint NOT NULL,                   -- its message
    caller   uuid NOT NULL,
    nonce    uuid NOT NULL,
    until    timestamptz NOT NULL,              -- how long it rings
    answered boolean NOT NULL DEFAULT false
);

-- Whose devices ring.
CREATE TABLE ring (
    call    uuid NOT NULL REFERENCES call (id) ON DELETE CASCADE,
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    PRIMARY KEY (call, account)
);

CREATE INDEX ring_account ON ring (account);

-- Who is silenced in the voice channels of a space, or hears nothing there; also when they leave it and come back.
CREATE TABLE hush (
    space    uuid NOT NULL REFERENCES space ON DELETE CASCADE,
    account  uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    muted    boolean NOT NULL,
    deafened boolean NOT NULL,
    PRIMARY KEY (space, account)
);

CREATE INDEX hush_account ON hush (account);
