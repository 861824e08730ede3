-- notification: what somebody is told of besides their channels, the newest thousand of each account

CREATE TABLE notification (
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    id      bigint NOT NULL,                    -- the seq of the fact that told it, in the account's stream
    kind    text NOT NULL,                      -- protocol.notification.Kind
    by      uuid NOT NULL,
    space   uuid,
    channel uuid,
    seq     bigint,                             -- the message; null where it is about none
    at      timestamptz NOT NULL DEFAULT now(),
    read    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (account, id)
);

CREATE INDEX notification_unread ON notification (account, id) WHERE NOT read;
CREATE UNIQUE INDEX notification_message ON notification (channel, seq, account) WHERE channel IS NOT NULL;

-- What somebody is notified of in a space or channel; until a time, if there is one.
CREATE TABLE notification_level (
    account uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    place   uuid NOT NULL REFERENCES stream ON DELETE CASCADE,
    level   text NOT NULL CHECK (level IN ('all', 'mentions', 'nothing')),
    until   timestamptz,
    PRIMARY KEY (account, place)
);

CREATE INDEX notification_level_place ON notification_level (place);

-- Whether who is mentioned was thought of: once. Whoever was mentioned before there were notifications was.
ALTER TABLE mention ADD COLUMN told boolean NOT NULL DEFAULT true;
ALTER TABLE mention ALTER COLUMN told SET DEFAULT false;
