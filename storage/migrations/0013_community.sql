-- notification: an invite tells by which code

ALTER TABLE notification ADD COLUMN code text;

-- thread: when the tail has seen the last message in it, so that who follows it is told

ALTER TABLE thread ADD COLUMN moved_at timestamptz;
CREATE INDEX thread_moved ON thread (moved_at);

-- account: moderators of the server see reports of what is in no space

ALTER TABLE account DROP CONSTRAINT account_role_check;
ALTER TABLE account ADD CONSTRAINT account_role_check CHECK (role IN ('owner', 'admin', 'moderator', 'member'));
