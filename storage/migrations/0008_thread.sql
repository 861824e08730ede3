-- Invites: the same nonce again is the same one; never more uses than allowed; found by who made them, and by role.

ALTER TABLE invite ADD COLUMN nonce uuid;
ALTER TABLE invite ADD CHECK (uses <= most);
CREATE UNIQUE INDEX invite_nonce ON invite (by, nonce);
CREATE INDEX invite_role ON invite (role) WHERE role IS NOT NULL;

-- Threads, and who follows them.

CREATE TABLE thread (
    id          uuid PRIMARY KEY REFERENCES channel ON DELETE CASCADE,
    parent      uuid NOT NULL,                  -- the channel that it is in; perhaps that is no more
    origin      bigint,                         -- the message there that it has started from
    locked      boolean NOT NULL DEFAULT false,
    archived_at timestamptz,
    due         timestamptz NOT NULL            -- when to look whether nobody has written for long
);

CREATE INDEX thread_page ON thread (parent, archived_at DESC, id DESC);
CREATE UNIQUE INDEX thread_origin ON thread (parent, origin);
CREATE INDEX thread_due ON thread (due) WHERE archived_at IS NULL;
CREATE INDEX channel_thread ON channel (space) WHERE kind = 'thread';

CREATE TABLE follow (
    account  uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    thread   uuid NOT NULL REFERENCES thread ON DELETE CASCADE,
    followed boolean NOT NULL,                  -- false: not any more, and not again by writing there
    PRIMARY KEY (account, thread)
);

CREATE INDEX follow_thread ON follow (thread, account);

ALTER TABLE message ADD COLUMN thread uuid;
