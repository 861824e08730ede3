-- scheduled: messages that are sent at a time; there is no more of one that was sent

CREATE TABLE scheduled (
    account    uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    id         uuid NOT NULL,                   -- made by its author; the nonce of the message that it becomes
    channel    uuid NOT NULL,                   -- perhaps it is no more: that is told when its time has come
    text       text NOT NULL,
    reply_to   bigint,
    mentions   uuid[] NOT NULL DEFAULT '{}',
    silent     boolean NOT NULL DEFAULT false,
    at         timestamptz NOT NULL,
    due        timestamptz NOT NULL,            -- when a process takes it: at its time, and again if that one is gone
    begun      boolean NOT NULL DEFAULT false,  -- it may be a message already: neither changed nor cancelled any more
    failed     text,                            -- the code with which it was refused
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, id)
);

CREATE INDEX scheduled_due ON scheduled (due) WHERE failed IS NULL;
