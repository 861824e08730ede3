-- notification: an invite tells by which code

ALTER TABLE notification ADD COLUMN code text;

-- thread: when the tail has seen the last message in it, so that who follows it is told

ALTER TABLE thread ADD COLUMN moved_at timestamptz;
CREATE INDEX thread_moved ON thread (moved_at);

-- account: moderators of the server see reports of what is in no space

ALTER TABLE account DROP CONSTRAINT account_role_check;
ALTER TABLE account ADD CONSTRAINT account_role_check CHECK (role IN ('owner', 'admin', 'moderator', 'member'));

-- consequence: what is to follow from what automod has found, until it was done

CREATE TABLE consequence (
    id      uuid PRIMARY KEY,
    account uuid NOT NULL REFERENCES account,   -- who has written that
    body    text NOT NULL,                      -- JSON of storage.consequence.Finding
    due     timestamptz NOT NULL                -- when whoever has time does it
);

CREATE INDEX consequence_due ON consequence (due);
CREATE INDEX consequence_account ON consequence (account);

-- deed: what an account has done, for its export

CREATE INDEX deed_author ON deed (by, id);
